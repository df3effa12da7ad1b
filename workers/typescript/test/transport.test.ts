// What servers can do to a worker: say nothing, refuse, vanish, never decide. Nothing hangs and nothing grows.

import assert from "node:assert/strict";
import { createServer as createHttp1, type Server as Http1Server } from "node:http";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { ServerMessageSchema } from "../src/gen/spatialdb/v1/worker_pb.js";
import { connect, GrpcCode, SpatialdbError } from "../src/node.js";
import { framed } from "../src/transport/grpc.js";

const message = (init: MessageInitShape<typeof ServerMessageSchema>) => framed(toBinary(ServerMessageSchema, create(ServerMessageSchema, init)));
const WELCOME = message({ body: { case: "welcome", value: { name: "a", components: [{ id: 1, name: "spatialdb.v1.Position" }] } } });
const HEADERS = { ":status": 200, "content-type": "application/grpc" };

/** A server that does that with each stream; gives its address and how to stop it. */
async function serve(act: (stream: ServerHttp2Stream) => void): Promise<{ address: string; stop: () => void }> {
  const server = createServer();
  const streams = new Set<ServerHttp2Stream>();
  server.on("stream", (stream) => {
    streams.add(stream);
    stream.on("error", () => undefined);
    act(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    for (const stream of streams) stream.session?.destroy();
    server.close();
  };
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, stop };
}

const quick = (address: string) => ({ address, workerType: "t", patienceMs: 0, attemptTimeoutMs: 300 });

test("a server that never welcomes is given up in time", async () => {
  const { address, stop } = await serve((stream) => stream.respond(HEADERS));
  await assert.rejects(connect(quick(address)), /WELCOME_TIMEOUT: .* within 300 ms/);
  stop();
});

test("a server that is not there is named", async () => {
  const { address, stop } = await serve(() => undefined);
  stop();
  for (const transport of ["attach", "web"] as const) {
    await assert.rejects(connect({ ...quick(address), transport }), (error: SpatialdbError) =>
      error.reason === "UNREACHABLE" && error.detail.includes(address) && !error.isFinal);
  }
});

test("a refusal in the headers alone is told, and not tried again", async () => {
  let attempts = 0;
  const { address, stop } = await serve((stream) => {
    attempts++;
    stream.respond({ ...HEADERS, "grpc-status": "16", "grpc-message": "no%20token" }, { endStream: true });
  });
  await assert.rejects(connect({ ...quick(address), patienceMs: 5000 }), (error: SpatialdbError) => error.code === GrpcCode.Unauthenticated && error.detail === "no token");
  assert.equal(attempts, 1);
  stop();
});

test("what is no gRPC is refused with its HTTP status", async () => {
  const server: Http1Server = createHttp1((_, answer) => { answer.statusCode = 404; answer.end("no"); });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  await assert.rejects(connect({ ...quick(address), transport: "web" }), /answered with HTTP 404/);
  server.close();
});

test("a stream that ends inside a message is a lost connection, and the worker attaches again", async () => {
  let attempts = 0;
  const { address, stop } = await serve((stream) => {
    stream.respond(HEADERS);
    stream.write(WELCOME);
    if (++attempts === 1) stream.end(WELCOME.subarray(0, WELCOME.length - 2));
  });
  const worker = await connect({ ...quick(address), backoff: { firstMs: 1, maxMs: 1 } });
  const events: string[] = [];
  worker.on("disconnected", () => events.push("disconnected"));
  await new Promise<void>((resolve) => worker.on("reconnected", () => { events.push("reconnected"); resolve(); }));
  assert.deepEqual(events, ["disconnected", "reconnected"]);
  assert.equal(attempts, 2);
  stop();
  await worker.close();
});

test("a server that never decides holds a bounded number of messages and calls; a lost connection frees all", async () => {
  const { address, stop } = await serve((stream) => {
    stream.respond(HEADERS);
    stream.write(WELCOME);
    stream.resume();
  });
  const worker = await connect({ ...quick(address), inFlightMax: 10, backoff: { firstMs: 1000, maxMs: 1000 } });
  const move = () => worker.move([1n], Float64Array.of(1), Float64Array.of(1));
  await Promise.all(Array.from({ length: 10 }, move));
  assert.equal(worker.inFlight, 10);
  const decided = worker.decided();
  const waiting = Array.from({ length: 4096 }, () => move().then(() => "sent", (error: SpatialdbError) => error.reason));
  await assert.rejects(move(), /LIMIT_REACHED/);
  assert.equal(worker.inFlight, 10);
  const lost = new Promise<number>((resolve) => worker.on("disconnected", ({ lost }) => resolve(lost)));
  stop();
  assert.equal(await lost, 10);
  await assert.rejects(decided, /DISCONNECTED/);
  assert.deepEqual(new Set(await Promise.all(waiting)), new Set(["DISCONNECTED"]));
  await assert.rejects(move(), /DISCONNECTED/);
  await worker.close();
  await assert.rejects(move(), /CLOSED/);
});
