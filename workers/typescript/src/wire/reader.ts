// Reads protobuf from bytes straight into numbers and typed arrays.
//
// Responsible for: varints, packed lists, doubles, skipping what is not known.
// Not responsible for: what the fields mean (frame.ts). The generated code reads everything that is not hot.
//
// Ids, revisions and sequence numbers stay below 2^53, so a number holds them exactly and a list of them is a
// Float64Array: no bigint is made for an entity that just moves.

import { ProtocolError } from "../errors.js";

export const NO_IDS: Float64Array = new Float64Array(0);

export class WireReader {
  pos: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, pos = 0, end = bytes.length, view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)) {
    this.bytes = bytes;
    this.#view = view;
    this.pos = pos;
    this.end = end;
  }

  /** A varint below 2^53. */
  varint(): number {
    const { bytes, end } = this;
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 10; count++) {
      if (this.pos >= end) throw malformed("a number ends too early");
      const byte = bytes[this.pos++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw malformed("a number is not below 2^53");
        return value;
      }
      scale *= 128;
    }
    throw malformed("a number has more than 10 bytes");
  }

  /** The end of the length-delimited field that starts here; the reader then stands at its first byte. */
  delimited(): number {
    const length = this.varint();
    const end = this.pos + length;
    if (end > this.end) throw malformed("a field is longer than its message");
    return end;
  }

  /** The bytes of a length-delimited field, not copied. */
  view(): Uint8Array {
    const end = this.delimited();
    const view = this.bytes.subarray(this.pos, end);
    this.pos = end;
    return view;
  }

  /** A reader of a length-delimited field, which is skipped here. */
  message(): WireReader {
    const end = this.delimited();
    const inner = new WireReader(this.bytes, this.pos, end, this.#view);
    this.pos = end;
    return inner;
  }

  text(): string {
    return TEXT.decode(this.view());
  }

  /** A packed list of varints, or one unpacked, after what was read before. */
  varints(wireType: number, before: Float64Array): Float64Array {
    if (wireType === 0) return joined(before, Float64Array.of(this.varint()));
    const end = expectDelimited(this, wireType);
    const { bytes } = this;
    let count = 0;
    for (let pos = this.pos; pos < end; pos++) if (bytes[pos]! < 0x80) count++;
    const out = new Float64Array(count);
    for (let row = 0; row < count; row++) out[row] = this.varint();
    if (this.pos !== end) throw malformed("a list of numbers ends too early");
    return joined(before, out);
  }

  /** A list of varints into `out` from `at` on; returns where it ends. */
  varintsInto(wireType: number, out: Float64Array, at: number): number {
    const isPacked = wireType !== 0;
    const end = isPacked ? expectDelimited(this, wireType) : this.pos + 1;
    let row = at;
    while (this.pos < end) {
      if (row === out.length) throw malformed("a list of numbers is longer than the other lists of its message");
      out[row++] = this.varint();
    }
    if (isPacked && this.pos !== end) throw malformed("a list of numbers ends too early");
    return row;
  }

  /** A list of doubles into `out` from `at` on; returns where it ends. */
  doublesInto(wireType: number, out: Float64Array, at: number): number {
    const end = wireType === 1 ? this.pos + 8 : expectDelimited(this, wireType);
    const rows = (end - this.pos) / 8;
    if (end > this.end || !Number.isInteger(rows) || at + rows > out.length) throw malformed("a list of doubles has a wrong length");
    for (let row = 0; row < rows; row++) out[at + row] = this.#view.getFloat64(this.pos + row * 8, true);
    this.pos = end;
    return at + rows;
  }

  skip(wireType: number): void {
    if (wireType === 0) this.#skipVarint();
    else if (wireType === 1) this.pos += 8;
    else if (wireType === 2) this.pos = this.delimited();
    else if (wireType === 5) this.pos += 4;
    else throw malformed(`wire type ${wireType} is not used`);
    if (this.pos > this.end) throw malformed("a field is longer than its message");
  }

  /** A varint of any size: what is not known may be a negative number. */
  #skipVarint(): void {
    while (this.pos < this.end) if (this.bytes[this.pos++]! < 0x80) return;
    throw malformed("a number ends too early");
  }
}

const TEXT = new TextDecoder();

export function malformed(what: string): ProtocolError {
  return new ProtocolError(`a message does not parse: ${what}`);
}

function expectDelimited(reader: WireReader, wireType: number): number {
  if (wireType !== 2) throw malformed(`a list has wire type ${wireType}`);
  return reader.delimited();
}

function joined(before: Float64Array, after: Float64Array): Float64Array {
  if (before.length === 0) return after;
  const out = new Float64Array(before.length + after.length);
  out.set(before);
  out.set(after, before.length);
  return out;
}
