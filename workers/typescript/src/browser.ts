// The entry for browsers: gRPC-Web over fetch.

import { originOf, type ConnectOptions } from "./options.js";
import { WebTransport } from "./transport/web.js";
import { Worker } from "./worker.js";
import { World } from "./world.js";

export * from "./common.js";

/** Connects to a world; without an address to the server that this page came from. */
export function connect(options: ConnectOptions): Promise<Worker> {
  return Worker.connect(transportOf(options), options);
}

/** A world without a session: one-off calls only. Call `close` of what it returns when done. */
export function openWorld(options: Omit<ConnectOptions, "workerType"> = {}): World & { close(): void } {
  const transport = transportOf(options);
  return Object.assign(new World(transport), { close: () => transport.close() });
}

function transportOf({ address, token }: Omit<ConnectOptions, "workerType">): WebTransport {
  return new WebTransport(address === undefined ? "" : originOf(address), token ?? "");
}
