// The entry for Node: gRPC over HTTP/2, one bidirectional stream a session.

import { readFileSync } from "node:fs";
import { invalid } from "./errors.js";
import { originOf, type ConnectOptions } from "./options.js";
import { Http2Transport, type TlsOptions } from "./transport/http2.js";
import { WebTransport } from "./transport/web.js";
import type { Transport } from "./transport/transport.js";
import { Worker } from "./worker.js";
import { World } from "./world.js";

export * from "./common.js";

export interface NodeConnectOptions extends ConnectOptions {
  /** What is in the files of TLS: whom to trust, what to show. With it, host:port means https. */
  tls?: TlsOptions;
  /**
   * "attach", the default: HTTP/2. "web": what browsers use, gRPC-Web; slower, for tests and for proxies. It trusts whom
   * Node's fetch trusts: NODE_EXTRA_CA_CERTS.
   */
  transport?: "attach" | "web";
}

const ADDRESS_DEFAULT = "127.0.0.1:7400";

/**
 * Connects to a world. `spatialdb launch` tells its workers by SPATIALDB_ADDRESS, SPATIALDB_WORKER_TYPE,
 * SPATIALDB_WORKER_NAME, SPATIALDB_TOKEN and SPATIALDB_CA: they are used for what the options leave out. So are
 * SPATIALDB_CERT and SPATIALDB_KEY, for servers that want a certificate of workers.
 */
export function connect(options: NodeConnectOptions): Promise<Worker> {
  const { env } = process;
  const settled = {
    ...options,
    workerType: env["SPATIALDB_WORKER_TYPE"] || options.workerType,
    name: options.name ?? env["SPATIALDB_WORKER_NAME"] ?? "",
    instance: options.instance ?? `pid ${process.pid}`,
  };
  return Worker.connect(transportOf(options), settled);
}

/** A world without a session: one-off calls only. Call `close` of what it returns when done. */
export function openWorld(options: Omit<NodeConnectOptions, "workerType"> = {}): World & { close(): void } {
  const transport = transportOf(options);
  return Object.assign(new World(transport), { close: () => transport.close() });
}

/**
 * The name after `--replace` among the arguments: whose place the worker takes, say in a debugger. Undefined if there is none:
 * then the name is what `connect` finds otherwise.
 */
export function replacedName(args: readonly string[] = process.argv.slice(2)): string | undefined {
  const at = args.findIndex((arg) => arg === "--replace" || arg.startsWith("--replace="));
  if (at < 0) return undefined;
  const name = args[at] === "--replace" ? args[at + 1] : args[at]!.slice("--replace=".length);
  if (!name || name.startsWith("--")) throw invalid("--replace needs the name of a worker, e.g. --replace flight-1");
  return name;
}

function transportOf(options: Omit<NodeConnectOptions, "workerType">): Transport {
  const tls = options.tls ?? tlsOfEnvironment();
  const origin = originOf(options.address || process.env["SPATIALDB_ADDRESS"] || ADDRESS_DEFAULT, tls ? "https" : "http");
  const token = options.token ?? process.env["SPATIALDB_TOKEN"] ?? "";
  if (options.transport === "web") return new WebTransport(origin, token);
  return new Http2Transport(origin, token, tls ?? {});
}

function tlsOfEnvironment(): TlsOptions | undefined {
  const text = (name: string): { [key: string]: Buffer } => {
    const path = process.env[`SPATIALDB_${name.toUpperCase()}`];
    try {
      return path ? { [name]: readFileSync(path) } : {};
    } catch (error) {
      throw invalid(`SPATIALDB_${name.toUpperCase()} ${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  return process.env["SPATIALDB_CA"] ? { ...text("ca"), ...text("cert"), ...text("key") } : undefined;
}
