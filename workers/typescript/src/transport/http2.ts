// gRPC over HTTP/2, for Node.
//
// Responsible for: the connection, its windows and pings, one stream a session or call.
// Not responsible for: trying again (worker.ts).

import {
  connect as connectHttp2,
  type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type SecureClientSessionOptions,
} from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { ClientMessageSchema, type Hello } from "../gen/spatialdb/v1/worker_pb.js";
import { GrpcCode, SpatialdbError } from "../errors.js";
import { framed, Splitter, statusOf } from "./grpc.js";
import { OUTGOING_BYTES_MAX, type Link, type LinkListener, type Transport } from "./transport.js";

/** Files of TLS, as Node's tls.connect takes them. */
export type TlsOptions = Pick<SecureClientSessionOptions, "ca" | "cert" | "key">;

// Several full frames in flight, so that the wire never waits for a window.
const STREAM_WINDOW_BYTES = 4 << 20;
const CONNECTION_WINDOW_BYTES = 8 << 20;
// Notices a server that vanished without closing.
const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 20_000;
const NODE_SESSION_MEMORY_MIB = 128;

export class Http2Transport implements Transport {
  readonly #origin: string;
  readonly #token: string;
  readonly #tls: TlsOptions;
  #session: ClientHttp2Session | undefined;

  constructor(origin: string, token: string, tls: TlsOptions) {
    this.#origin = origin;
    this.#token = token;
    this.#tls = tls;
  }

  async *call(path: string, request: Uint8Array, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const exchange = this.#exchange(path);
    const abort = () => exchange.abort();
    signal?.addEventListener("abort", abort);
    exchange.stream.end(framed(request));
    let ready: Uint8Array[] = [];
    const splitter = new Splitter();
    try {
      // Reading the stream as an iterable stops it while the caller is busy.
      for await (const chunk of exchange.stream as AsyncIterable<Uint8Array>) {
        splitter.push(chunk, (message) => ready.push(message), () => undefined);
        const messages = ready;
        ready = [];
        yield* messages;
      }
      // Its status comes with the end, which an iterable tells a little early.
      const error = await exchange.ended;
      if (error !== undefined) throw error;
    } catch (error) {
      if (signal?.aborted) throw new SpatialdbError("ABORTED", "the caller gave up the call");
      if (error instanceof SpatialdbError) throw error;
      throw (await exchange.ended) ?? unreachable(this.#origin, error);
    } finally {
      signal?.removeEventListener("abort", abort);
      exchange.abort();
    }
  }

  open(hello: Hello, listener: LinkListener): Link {
    const { stream, ended, abort } = this.#exchange("/spatialdb.v1.WorkerService/Attach");
    const splitter = new Splitter();
    let over = false;
    const end = (error: SpatialdbError | undefined) => {
      if (over) return;
      over = true;
      listener.end(error);
    };
    stream.on("data", (chunk: Uint8Array) => {
      try {
        splitter.push(chunk, (message) => { if (!over) listener.message(message); }, () => undefined);
      } catch (error) {
        end(error instanceof SpatialdbError ? error : unreachable(this.#origin, error));
        abort();
      }
    });
    stream.on("drain", () => { if (!over) listener.room(); });
    void ended.then(end);
    const link: Link = {
      get hasRoom() { return stream.writableLength < OUTGOING_BYTES_MAX; },
      write(message) { if (!stream.destroyed && !stream.writableEnded) stream.write(framed(message)); },
      finish() { stream.end(); },
      abort() { over = true; abort(); },
    };
    link.write(toBinary(ClientMessageSchema, create(ClientMessageSchema, { seq: 1n, body: { case: "hello", value: hello } })));
    return link;
  }

  close(): void {
    this.#session?.close();
    this.#session = undefined;
  }

  #exchange(path: string): { stream: ClientHttp2Stream; ended: Promise<SpatialdbError | undefined>; abort: () => void } {
    const headers = {
      ":method": "POST", ":path": path, te: "trailers", "content-type": "application/grpc+proto",
      ...(this.#token === "" ? {} : { authorization: `Bearer ${this.#token}` }),
    };
    const stream = this.#live().request(headers);
    let answer: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders | undefined;
    let cause: unknown;
    stream.on("response", (received) => { answer = received; });
    stream.on("trailers", (received) => { trailers = received; });
    stream.on("error", (error) => { cause = error; });
    const ended = new Promise<SpatialdbError | undefined>((resolve) => {
      stream.on("close", () => {
        const http = Number(answer[":status"] ?? 0);
        const from = trailers ?? answer;
        const status = from["grpc-status"];
        if (status !== undefined) resolve(statusOf((name) => text(from[name])));
        else if (http !== 0 && http !== 200) resolve(httpError(this.#origin, http));
        else resolve(unreachable(this.#origin, cause ?? "the connection closed"));
      });
    });
    return { stream, ended, abort: () => { if (!stream.destroyed) stream.close(8); } };
  }

  /** The connection, made anew if it is gone. */
  #live(): ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const session = connectHttp2(this.#origin, {
      ...this.#tls,
      settings: { initialWindowSize: STREAM_WINDOW_BYTES, enablePush: false },
      maxSessionMemory: NODE_SESSION_MEMORY_MIB,
    });
    session.on("connect", () => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
    session.on("goaway", () => { if (this.#session === session) this.#session = undefined; });
    // Streams tell their own end; without a listener Node would throw.
    session.on("error", () => undefined);
    keepAlive(session);
    this.#session = session;
    return session;
  }
}

function keepAlive(session: ClientHttp2Session): void {
  let heardAt = Date.now();
  const timer = setInterval(() => {
    if (session.destroyed) return clearInterval(timer);
    if (Date.now() - heardAt > PING_INTERVAL_MS + PING_TIMEOUT_MS) {
      return session.destroy(new Error(`no answer to a ping for ${PING_TIMEOUT_MS} ms`));
    }
    if (!session.connecting) session.ping((error) => { if (error === null) heardAt = Date.now(); });
  }, PING_INTERVAL_MS);
  timer.unref();
  session.on("close", () => clearInterval(timer));
}

function unreachable(origin: string, cause: unknown): SpatialdbError {
  const detail = `cannot reach spatialdb at ${origin}: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new SpatialdbError("UNREACHABLE", detail, GrpcCode.Unavailable, cause);
}

function httpError(origin: string, status: number): SpatialdbError {
  const forbidden = status === 401 || status === 403;
  const code = forbidden ? GrpcCode.PermissionDenied : GrpcCode.Unavailable;
  return new SpatialdbError(forbidden ? "FORBIDDEN" : "UNREACHABLE", `${origin} answered with HTTP ${status}`, code);
}

function text(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
