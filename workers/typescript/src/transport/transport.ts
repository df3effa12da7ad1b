// What a session and one-off calls need of a network, whichever it is.
//
// Responsible for: the two interfaces that http2.ts (Node) and web.ts (browsers) fulfil.

import type { Hello } from "../gen/spatialdb/v1/worker_pb.js";
import type { SpatialdbError } from "../errors.js";

export interface Transport {
  /** Calls a method with one request; yields the answers. Throws a SpatialdbError. */
  call(path: string, request: Uint8Array, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Opens a session: says Hello, which is message 1. All that follows comes through `listener`. */
  open(hello: Hello, listener: LinkListener): Link;
  /** Ends every connection. */
  close(): void;
}

/** Is called in order, never from inside a call of Link. */
export interface LinkListener {
  /** One encoded ServerMessage. */
  message(bytes: Uint8Array): void;
  /** There is room to write again. */
  room(): void;
  /** The last call: the session is over, politely if there is no error. */
  end(error: SpatialdbError | undefined): void;
}

/** The way to the server of one session. */
export interface Link {
  /** Whether the transport takes more now. It also takes a message when it has no room: the bound is kept above. */
  readonly hasRoom: boolean;
  /** Queues one encoded ClientMessage. */
  write(message: Uint8Array): void;
  /** No more messages follow; the server then ends the session. */
  finish(): void;
  /** Gives up at once. `end` is not called. */
  abort(): void;
}

/** Bytes handed to a transport and not yet written to the network; beyond it `hasRoom` is false. */
export const OUTGOING_BYTES_MAX = 2 << 20;

/** One message of the server. A frame is at most 1 MiB unless the server is set otherwise. */
export const MESSAGE_BYTES_MAX = 64 << 20;
