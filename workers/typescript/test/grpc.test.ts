// The framing and statuses of gRPC, and the small parts around connecting.

import assert from "node:assert/strict";
import { test } from "node:test";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { GrpcCode, SpatialdbError } from "../src/errors.js";
import { Gate } from "../src/gate.js";
import { Backoff, originOf } from "../src/options.js";
import { framed, Splitter, statusOf } from "../src/transport/grpc.js";
import { WireWriter } from "../src/wire/writer.js";

test("messages come whole however they are cut", () => {
  const messages = [0, 1, 5, 300, 70_000].map((length) => Uint8Array.from({ length }, (_, at) => at % 251));
  const stream = Uint8Array.from(messages.flatMap((message) => [...framed(message)]));
  for (const step of [1, 2, 3, 7, 1000, 16_384, stream.length]) {
    const splitter = new Splitter();
    const got: Uint8Array[] = [];
    for (let at = 0; at < stream.length; at += step) {
      splitter.push(stream.subarray(at, at + step), (message) => got.push(message.slice()), () => assert.fail("no trailers"));
    }
    assert.deepEqual(got, messages, `in steps of ${step}`);
    assert.equal(splitter.isInside, false);
  }
});

test("a message that is too long or compressed is refused", () => {
  const push = (bytes: number[]) => new Splitter().push(Uint8Array.from(bytes), () => undefined, () => undefined);
  assert.throws(() => push([0, 255, 255, 255, 255]), /a message of 4294967295 bytes is over/);
  assert.throws(() => push([1, 0, 0, 0, 1, 9]), /compressed/);
});

test("a status tells reason and detail of ErrorInfo", () => {
  const entry = new WireWriter();
  entry.text(1, "detail");
  entry.text(2, "the name \"x y\"");
  const info = new WireWriter();
  info.text(1, "NAME_INVALID");
  info.bytes(3, entry.finish());
  const any = new WireWriter();
  any.text(1, "type.googleapis.com/google.rpc.ErrorInfo");
  any.bytes(2, info.finish());
  const status = new WireWriter();
  status.number(1, 3);
  status.bytes(3, any.finish());
  const headers = new Map([["grpc-status", "3"], ["grpc-message", "NAME%20bad"], ["grpc-status-details-bin", base64Encode(status.finish())]]);
  const error = statusOf((name) => headers.get(name));
  assert.deepEqual([error?.reason, error?.detail, error?.code, error?.isFinal], ["NAME_INVALID", "the name \"x y\"", GrpcCode.InvalidArgument, true]);
  headers.delete("grpc-status-details-bin");
  assert.equal(statusOf((name) => headers.get(name))?.detail, "NAME bad");
  assert.equal(statusOf((name) => ({ "grpc-status": "0" })[name]), undefined);
  assert.equal(statusOf(() => undefined)?.isFinal, false);
});

test("delays double to the cap, within their jitter", () => {
  for (const random of [0, 0.5, 0.999]) {
    const backoff = new Backoff({ firstMs: 100, maxMs: 3000 }, () => random);
    for (let attempt = 0; attempt < 50; attempt++) {
      const ceiling = Math.min(100 * 2 ** attempt, 3000);
      const delay = backoff.nextMs();
      assert.ok(delay <= ceiling && delay >= ceiling / 2, `attempt ${attempt}: ${delay}`);
    }
    backoff.reset();
    assert.ok(backoff.nextMs() <= 100);
  }
});

test("addresses become origins", () => {
  assert.equal(originOf("127.0.0.1:7400"), "http://127.0.0.1:7400");
  assert.equal(originOf("https://world.example/x"), "https://world.example");
  assert.throws(() => originOf("not an address"), /ARGUMENT_INVALID: address not an address/);
});

test("the gate keeps the order and its bound", async () => {
  const gate = new Gate();
  let room = 0;
  const done: number[] = [];
  const may = () => room > 0;
  const calls = [1, 2, 3].map((call) => gate.pass(may, () => { room--; done.push(call); return call; }));
  room = 2;
  gate.wake();
  assert.deepEqual(done, [1, 2]);
  // Who comes later waits too, although there is room for it alone.
  const last = gate.pass(() => true, () => { done.push(4); return 4; });
  room = 1;
  gate.wake();
  assert.deepEqual(await Promise.all([...calls, last]), [1, 2, 3, 4]);
  assert.deepEqual(done, [1, 2, 3, 4]);
  const waiting = Array.from({ length: 4096 }, () => gate.pass(() => false, () => 0));
  await assert.rejects(gate.pass(() => true, () => 0), /LIMIT_REACHED: 4096 calls wait/);
  gate.fail(new SpatialdbError("DISCONNECTED", "gone"));
  for (const call of waiting) await assert.rejects(call, /DISCONNECTED/);
});
