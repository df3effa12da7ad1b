// Writes protobuf from numbers and typed arrays.
//
// Responsible for: varints, packed lists, doubles, nested messages.
// Not responsible for: what the fields mean (batch.ts).

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

export class WireWriter {
  #bytes: Uint8Array;
  #pos = 0;

  constructor(capacity = 64) {
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#pos;
  }

  /** What was written, not copied: write no more afterwards. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#pos);
  }

  /** A field that is left out when 0. */
  number(field: number, value: number): void {
    if (value === 0) return;
    this.#tag(field, 0);
    this.#room(10);
    this.#varint(value);
  }

  /** A text, or a message: its parts one after the other. */
  bytes(field: number, ...parts: readonly Uint8Array[]): void {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.#tag(field, 2);
    this.#room(10 + length);
    this.#varint(length);
    for (const part of parts) {
      this.#bytes.set(part, this.#pos);
      this.#pos += part.length;
    }
  }

  text(field: number, value: string): void {
    if (value !== "") this.bytes(field, TEXT.encode(value));
  }

  /** A packed list of whole numbers below 2^53, left out when empty. */
  varints(field: number, values: ArrayLike<number>): void {
    if (values.length === 0) return;
    let size = 0;
    for (let row = 0; row < values.length; row++) size += varintSize(values[row]!);
    this.#tag(field, 2);
    this.#room(10 + size);
    this.#varint(size);
    for (let row = 0; row < values.length; row++) this.#varint(values[row]!);
  }

  /** A packed list of doubles, left out when empty. */
  doubles(field: number, values: Float64Array): void {
    if (values.length === 0) return;
    this.#tag(field, 2);
    this.#room(10 + values.byteLength);
    this.#varint(values.byteLength);
    if (LITTLE_ENDIAN) {
      this.#bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), this.#pos);
    } else {
      const view = new DataView(this.#bytes.buffer, this.#pos);
      for (let row = 0; row < values.length; row++) view.setFloat64(row * 8, values[row]!, true);
    }
    this.#pos += values.byteLength;
  }

  #tag(field: number, wireType: number): void {
    this.#room(5);
    this.#varint((field << 3) | wireType);
  }

  #varint(value: number): void {
    const bytes = this.#bytes;
    let rest = value;
    while (rest > 0x7fffffff) {
      bytes[this.#pos++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest > 127) {
      bytes[this.#pos++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[this.#pos++] = rest;
  }

  #room(more: number): void {
    if (this.#pos + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#pos + more));
    grown.set(this.#bytes.subarray(0, this.#pos));
    this.#bytes = grown;
  }
}

const TEXT = new TextEncoder();

export function varintSize(value: number): number {
  let size = 1;
  for (let limit = 128; value >= limit; limit *= 128) size++;
  return size;
}
