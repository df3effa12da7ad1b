// Launches this world with its worker on a free port, and sees that the sheep walk.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

/** Where each sheep is. */
function places(address) {
  const ask = ["query", "--has", "Sheep", "--json", "--limit", "0", "--address", address];
  const lines = execFileSync("spatialdb", ask, { encoding: "utf8" }).trim().split("\n");
  const sheep = lines.map((line) => JSON.parse(line));
  return new Map(sheep.map(({ entity, components }) => [entity, components["spatialdb.v1.Position"]]));
}

test("the sheep walk", { timeout: 60_000 }, async (t) => {
  const launch = ["launch", "--ephemeral", "--listen", "127.0.0.1:0", "--json"];
  const world = spawn("spatialdb", launch, { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => world.kill());
  // One line, once the world is up; nothing if it does not come up.
  const { value: line } = await createInterface({ input: world.stdout })[Symbol.asyncIterator]().next();
  assert.ok(line, "the world did not come up");
  const { address } = JSON.parse(line);

  const before = places(address);
  assert.equal(before.size, 30);
  const standStill = () => {
    const now = places(address);
    return [...before].some(([sheep, place]) => JSON.stringify(now.get(sheep)) === JSON.stringify(place));
  };
  while (standStill()) await sleep(100);
});
