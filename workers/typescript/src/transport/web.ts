// gRPC-Web over fetch, for browsers. Works in Node too.
//
// Responsible for: calls; a session as Open, Frames and Send, with one Send at a time and its queue.
// Not responsible for: trying again (worker.ts).

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  FramesRequestSchema, OpenRequestSchema, OpenResponseSchema, type Hello,
} from "../gen/spatialdb/v1/worker_pb.js";
import { GrpcCode, ProtocolError, SpatialdbError } from "../errors.js";
import { WireWriter } from "../wire/writer.js";
import { framed, Splitter, statusOf } from "./grpc.js";
import { OUTGOING_BYTES_MAX, type Link, type LinkListener, type Transport } from "./transport.js";

const SERVICE = "/spatialdb.v1.WorkerService";
// Messages that wait are put into one Send up to this size, well below the server's message_bytes_max.
const SEND_BYTES_MAX = 1 << 20;
// Beyond this the rest of what has come waits for the next task.
const TASK_MS_MAX = 8;
// How long after a failed Send the stream of frames may take to say why.
const FRAMES_ENDS_MS = 1000;

export class WebTransport implements Transport {
  readonly #origin: string;
  readonly #token: string;
  readonly #closing = new AbortController();

  constructor(origin: string, token: string) {
    this.#origin = origin;
    this.#token = token;
  }

  async *call(path: string, request: Uint8Array, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const abort = new AbortController();
    const give = () => abort.abort();
    const signals = [this.#closing.signal, ...(signal ? [signal] : [])];
    for (const each of signals) {
      if (each.aborted) give();
      each.addEventListener("abort", give);
    }
    try {
      yield* this.#exchange(path, request, abort.signal);
    } catch (error) {
      if (error instanceof SpatialdbError) throw error;
      if (abort.signal.aborted) throw new SpatialdbError("ABORTED", "the caller gave up the call");
      throw this.#unreachable(error);
    } finally {
      for (const each of signals) each.removeEventListener("abort", give);
      give();
    }
  }

  open(hello: Hello, listener: LinkListener): Link {
    const abort = new AbortController();
    const link = new WebLink(this, listener, abort);
    void link.run(hello);
    return link;
  }

  close(): void {
    this.#closing.abort();
  }

  async *#exchange(path: string, request: Uint8Array, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const headers: Record<string, string> = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" };
    if (this.#token !== "") headers["authorization"] = `Bearer ${this.#token}`;
    const response = await fetch(this.#origin + path, { method: "POST", headers, body: framed(request), signal });
    if (!response.ok) throw this.#httpError(response.status);
    // A call that fails at once has its status in the headers and no body.
    if (response.headers.has("grpc-status")) {
      const error = statusOf((name) => response.headers.get(name));
      if (error !== undefined) throw error;
    }
    if (response.body === null) throw new ProtocolError("an answer without a body");
    const reader = response.body.getReader();
    const splitter = new Splitter();
    let trailers: Map<string, string> | undefined;
    let began = Date.now();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const ready: Uint8Array[] = [];
      splitter.push(value, (message) => ready.push(message), (block) => { trailers = parseTrailers(block); });
      for (const message of ready) {
        yield message;
        // What has come already would be read without a pause; a page must get to draw and hear its user in between.
        if (Date.now() - began > TASK_MS_MAX) {
          await nextTask();
          began = Date.now();
        }
      }
    }
    if (response.headers.has("grpc-status") && trailers === undefined) return;
    if (splitter.isInside) throw this.#unreachable("the stream ended inside a message");
    const error = statusOf((name) => trailers?.get(name));
    if (error !== undefined) throw error;
  }

  #unreachable(cause: unknown): SpatialdbError {
    // fetch puts what the network said into the cause.
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const detail = `cannot reach spatialdb at ${this.#origin || "this page's server"}: ${inner instanceof Error ? inner.message : String(inner)}`;
    return new SpatialdbError("UNREACHABLE", detail, GrpcCode.Unavailable, cause);
  }

  #httpError(status: number): SpatialdbError {
    const forbidden = status === 401 || status === 403;
    const code = forbidden ? GrpcCode.PermissionDenied : status === 404 || status === 415 ? GrpcCode.Unimplemented : GrpcCode.Unavailable;
    const reason = forbidden ? "FORBIDDEN" : GrpcCode[code]!.toUpperCase();
    return new SpatialdbError(reason, `${this.#origin || "the server"} answered with HTTP ${status}`, code);
  }
}

class WebLink implements Link {
  readonly #transport: WebTransport;
  readonly #listener: LinkListener;
  readonly #abort: AbortController;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #key = "";
  #sending = false;
  #over = false;
  #finished = false;

  constructor(transport: WebTransport, listener: LinkListener, abort: AbortController) {
    this.#transport = transport;
    this.#listener = listener;
    this.#abort = abort;
  }

  get hasRoom(): boolean {
    return this.#queuedBytes < OUTGOING_BYTES_MAX;
  }

  async run(hello: Hello): Promise<void> {
    try {
      const request = toBinary(OpenRequestSchema, create(OpenRequestSchema, { hello }));
      const signal = this.#abort.signal;
      for await (const answer of this.#transport.call(`${SERVICE}/Open`, request, signal)) {
        this.#key = fromBinary(OpenResponseSchema, answer).sessionKey;
      }
      void this.#pump();
      const frames = toBinary(FramesRequestSchema, create(FramesRequestSchema, { sessionKey: this.#key }));
      for await (const message of this.#transport.call(`${SERVICE}/Frames`, frames, signal)) {
        if (this.#over) return;
        this.#listener.message(message);
      }
      this.#end(undefined);
    } catch (error) {
      this.#end(error instanceof SpatialdbError ? error : new SpatialdbError("INTERNAL", String(error), GrpcCode.Internal, error));
    }
  }

  write(message: Uint8Array): void {
    if (this.#over || this.#finished) return;
    this.#queue.push(message);
    this.#queuedBytes += message.length;
    void this.#pump();
  }

  /** The goodbye in the queue ends the session; there is no stream of ours to close. */
  finish(): void {
    this.#finished = true;
  }

  abort(): void {
    this.#over = true;
    this.#abort.abort();
  }

  /** Sends what waits, one Send at a time: one that overtakes another would be a gap. */
  async #pump(): Promise<void> {
    if (this.#sending || this.#key === "") return;
    this.#sending = true;
    try {
      while (this.#queue.length > 0 && !this.#over) {
        const [request, bytes] = this.#nextSend();
        for await (const _ of this.#transport.call(`${SERVICE}/Send`, request, this.#abort.signal)) { /* empty */ }
        this.#queuedBytes -= bytes;
        if (!this.#over) this.#listener.room();
      }
    } catch (error) {
      // After a goodbye the session may be gone before the answer. Else Frames knows better why it ended: let it speak.
      if (!this.#finished) setTimeout(() => this.#end(error as SpatialdbError), FRAMES_ENDS_MS);
    } finally {
      this.#sending = false;
    }
  }

  #nextSend(): [Uint8Array, number] {
    const writer = new WireWriter(256);
    writer.text(1, this.#key);
    let count = 0;
    let bytes = 0;
    for (const message of this.#queue) {
      if (count > 0 && bytes + message.length > SEND_BYTES_MAX) break;
      writer.bytes(2, message);
      bytes += message.length;
      count++;
    }
    this.#queue.splice(0, count);
    return [writer.finish(), bytes];
  }

  #end(error: SpatialdbError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#abort.abort();
    this.#listener.end(error);
  }
}

/** Not a timer: those of a page in the background run once a second. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

function parseTrailers(block: Uint8Array): Map<string, string> {
  const lines = new TextDecoder().decode(block).split("\r\n");
  return new Map(lines.filter((line) => line.includes(":")).map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
  }));
}
