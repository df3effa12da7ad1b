// The loop of a worker, around a worker that has no connection.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Region } from "../src/authority.js";
import { disconnected, SpatialdbError } from "../src/errors.js";
import { Emitter, type WorkerEvents } from "../src/events.js";
import { replacedName } from "../src/node.js";
import { run } from "../src/run.js";
import type { Worker } from "../src/worker.js";

const REGION: Region = { id: 1, layer: "all", space: 0, player: "", minX: 0, minY: 0, maxX: 1, maxY: 1, epoch: 1, borders: [] };

/** What the loop needs of a worker. */
class Fake {
  readonly said: string[] = [];
  readonly events = new Emitter();
  readonly regions = new Map([[1, REGION]]);
  isReady = true;

  on<K extends keyof WorkerEvents>(name: K, listener: (event: WorkerEvents[K]) => void): () => void {
    return this.events.on(name, listener);
  }

  heartbeat(): void { this.said.push("heartbeat"); }

  async close(): Promise<void> { this.said.push("close"); }

  get worker(): Worker { return this as unknown as Worker; }
}

test("a drained worker lets go of what it has and closes", async () => {
  const fake = new Fake();
  let ticks = 0;
  await run(fake.worker, {
    periodMs: 5,
    tick: () => {
      if (++ticks !== 3) return;
      void fake.events.settle("lossImminent", { region: REGION, untilUs: 0 })?.then(() => {
        fake.said.push("flushed");
        fake.events.emit("drained", undefined);
      });
    },
    beforeLoss: async (_, regions) => { fake.said.push(`lose ${regions.map(({ id }) => id)}`); },
  });
  assert.deepEqual(fake.said, ["heartbeat", "lose 1", "flushed", "lose 1", "close"]);
});

test("it ends when it is told to, and ticks only while it is ready", async () => {
  const fake = new Fake();
  fake.isReady = false;
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 30);
  await run(fake.worker, { periodMs: 5, tick: () => assert.fail("not ready"), stop: stop.signal });
  const signalled = new Fake();
  setTimeout(() => process.kill(process.pid, "SIGTERM"), 30);
  await run(signalled.worker, { periodMs: 5, tick: () => undefined, beforeEnd: () => { signalled.said.push("end"); } });
  assert.deepEqual([fake.said, signalled.said], [["heartbeat", "close"], ["heartbeat", "end", "close"]]);
  assert.equal(process.listenerCount("SIGTERM"), 0);
});

test("a tick that finds no session is left out, and one that fails ends the worker", async () => {
  const fake = new Fake();
  let ticks = 0;
  const tick = () => { throw ++ticks < 3 ? disconnected() : new Error("a bug"); };
  await assert.rejects(run(fake.worker, { periodMs: 5, tick }), /a bug/);
  assert.deepEqual([ticks, fake.said.at(-1)], [3, "close"]);
  const ended = new Fake();
  setTimeout(() => ended.events.emit("closed", new SpatialdbError("SESSION_REPLACED", "another")), 10);
  await assert.rejects(run(ended.worker, { periodMs: 5, tick: () => undefined }), /SESSION_REPLACED/);
});

test("whose place is taken stands on the command line", () => {
  assert.equal(replacedName(["--fast", "--replace", "flight-1"]), "flight-1");
  assert.deepEqual([replacedName(["--replace=flight-2"]), replacedName([])], ["flight-2", undefined]);
  for (const wrong of [["--replace"], ["--replace="], ["--replace", "--fast"]]) {
    assert.throws(() => replacedName(wrong), /the name of a worker/);
  }
});
