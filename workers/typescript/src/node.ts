// The entry for Node: gRPC over HTTP/2, one bidirectional stream a session.

import { originOf, type ConnectOptions } from "./options.js";
import { Http2Transport, type TlsOptions } from "./transport/http2.js";
import { WebTransport } from "./transport/web.js";
import type { Transport } from "./transport/transport.js";
import { Worker } from "./worker.js";
import { World } from "./world.js";

export * from "./common.js";

export interface NodeConnectOptions extends ConnectOptions {
  /** Files of TLS for an https:// address. */
  tls?: TlsOptions;
  /** "attach", the default: HTTP/2. "web": what browsers use, gRPC-Web; slower, for tests and for proxies. */
  transport?: "attach" | "web";
}

const ADDRESS_DEFAULT = "127.0.0.1:7400";

/**
 * Connects to a world. `spatialdb launch` tells its workers by SPATIALDB_ADDRESS, SPATIALDB_WORKER_TYPE,
 * SPATIALDB_WORKER_NAME and SPATIALDB_TOKEN: they are used for what the options leave out.
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

function transportOf(options: Omit<NodeConnectOptions, "workerType">): Transport {
  const origin = originOf(options.address || process.env["SPATIALDB_ADDRESS"] || ADDRESS_DEFAULT);
  const token = options.token ?? process.env["SPATIALDB_TOKEN"] ?? "";
  if (options.transport === "web") return new WebTransport(origin, token);
  return new Http2Transport(origin, token, options.tls ?? {});
}
