// The parts of gRPC that both transports share.
//
// Responsible for: the five bytes before a message, putting chunks together again, statuses and their details.
// Not responsible for: sockets and headers.

import { BinaryReader, base64Decode } from "@bufbuild/protobuf/wire";
import { GrpcCode, ProtocolError, SpatialdbError } from "../errors.js";
import { MESSAGE_BYTES_MAX } from "./transport.js";

const HEADER_BYTES = 5;
/** In the first byte: the message is compressed; this is the block of trailers (gRPC-Web only). */
const COMPRESSED = 0x01;
const TRAILERS = 0x80;

/** The message with its header before it. */
export function framed(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(HEADER_BYTES + message.length);
  new DataView(out.buffer).setUint32(1, message.length);
  out.set(message, HEADER_BYTES);
  return out;
}

/** Turns chunks, as they come from the network, into messages. */
export class Splitter {
  #chunks: Uint8Array[] = [];
  #size = 0;

  /** Calls `message` for each message that is complete now, `trailers` for a block of trailers. */
  push(chunk: Uint8Array, message: (bytes: Uint8Array) => void, trailers: (bytes: Uint8Array) => void): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= HEADER_BYTES) {
      const header = this.#peek(HEADER_BYTES);
      const flags = header[0]!;
      const length = new DataView(header.buffer, header.byteOffset).getUint32(1);
      if (flags & COMPRESSED) throw new ProtocolError("a message is compressed, which was not asked for");
      if (length > MESSAGE_BYTES_MAX) {
        throw new ProtocolError(`a message of ${length} bytes is over the ${MESSAGE_BYTES_MAX} that this SDK takes`);
      }
      if (this.#size < HEADER_BYTES + length) return;
      const whole = this.#peek(HEADER_BYTES + length);
      this.#drop(HEADER_BYTES + length);
      (flags & TRAILERS ? trailers : message)(whole.subarray(HEADER_BYTES, HEADER_BYTES + length));
    }
  }

  /** Whether a message has begun and not ended. */
  get isInside(): boolean {
    return this.#size > 0;
  }

  /** The first `count` bytes in one piece, and perhaps more. */
  #peek(count: number): Uint8Array {
    const first = this.#chunks[0]!;
    if (first.length >= count) return first;
    // Only as many chunks as are needed, so that a long message is put together once.
    const out = new Uint8Array(count);
    let filled = 0;
    for (const chunk of this.#chunks) {
      const part = chunk.subarray(0, count - filled);
      out.set(part, filled);
      filled += part.length;
      if (filled === count) break;
    }
    return out;
  }

  #drop(count: number): void {
    this.#size -= count;
    let rest = count;
    let whole = 0;
    while (rest > 0 && this.#chunks[whole]!.length <= rest) rest -= this.#chunks[whole++]!.length;
    this.#chunks.splice(0, whole);
    if (rest > 0) this.#chunks[0] = this.#chunks[0]!.subarray(rest);
  }
}

/** What trailers say: an error, or undefined for OK. */
export function statusOf(header: (name: string) => string | undefined | null): SpatialdbError | undefined {
  const status = header("grpc-status");
  if (status === undefined || status === null) {
    return new SpatialdbError("UNREACHABLE", "the stream ended without a status", GrpcCode.Unavailable);
  }
  const code: GrpcCode = Number(status);
  if (code === GrpcCode.Ok) return undefined;
  const message = decoded(header("grpc-message") ?? "");
  const details = header("grpc-status-details-bin");
  const info = details ? errorInfo(details) : undefined;
  if (info !== undefined) return new SpatialdbError(info.reason, info.metadata.get("detail") ?? message, code);
  return new SpatialdbError(GrpcCode[code] ?? `GRPC_${code}`, message, code);
}

function decoded(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

interface ErrorInfo {
  reason: string;
  metadata: Map<string, string>;
}

/** The ErrorInfo in a google.rpc.Status. Both are read by hand: their .proto files are not ours to carry. */
function errorInfo(base64: string): ErrorInfo | undefined {
  try {
    for (const any of fields(base64Decode(base64)).get(3) ?? []) {
      const detail = fields(any);
      if (!text(detail.get(1)?.[0]).endsWith("/google.rpc.ErrorInfo")) continue;
      const info = fields(detail.get(2)?.[0] ?? new Uint8Array());
      const pairs = (info.get(3) ?? []).map((pair): [string, string] => {
        const entry = fields(pair);
        return [text(entry.get(1)?.[0]), text(entry.get(2)?.[0])];
      });
      return { reason: text(info.get(1)?.[0]), metadata: new Map(pairs) };
    }
  } catch {
    // Details that do not parse take nothing from the error itself.
  }
  return undefined;
}

/** The length-delimited fields of a message, by number. */
function fields(bytes: Uint8Array): Map<number, Uint8Array[]> {
  const out = new Map<number, Uint8Array[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType !== 2) {
      reader.skip(wireType, field);
      continue;
    }
    const list = out.get(field) ?? [];
    list.push(reader.bytes());
    out.set(field, list);
  }
  return out;
}

function text(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : new TextDecoder().decode(bytes);
}
