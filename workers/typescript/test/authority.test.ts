// What a session owns, by messages as a server tells them, and what writes say of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { AuthoritySchema } from "../src/gen/spatialdb/v1/authority_pb.js";
import { ClientMessageSchema, LayerInfoSchema, ServerMessageSchema, WelcomeSchema } from "../src/gen/spatialdb/v1/worker_pb.js";
import { Authority, LossReason } from "../src/authority.js";
import { Body } from "../src/batch.js";
import { SpatialdbError } from "../src/errors.js";
import { Session } from "../src/session.js";

type TellBody = NonNullable<MessageInitShape<typeof AuthoritySchema>["body"]>;

const LAYERS = [
  create(LayerInfoSchema, { name: "bodies", workerType: "sim", writes: [1, 1000] }),
  create(LayerInfoSchema, { name: "tags", workerType: "sim", writes: [1001] }),
];

const gained = (region: bigint, epoch: bigint): TellBody => ({ case: "gained", value: { region, epoch, layer: "bodies", space: 0, minX: -5 } });
const words = (region: bigint, epoch: bigint, came: boolean, entities: bigint[]): TellBody =>
  ({ case: "entities", value: { changes: [{ layer: "bodies", region, epoch, gained: came, entities }] } });
const lost = (region: bigint, epoch: bigint): TellBody => ({ case: "lost", value: { region, epoch, reason: LossReason.HANDED_OVER } });
const imminent = (region: bigint, epoch: bigint): TellBody => ({ case: "lossImminent", value: { region, epoch, untilUs: 9n } });
const drain: TellBody = { case: "drain", value: {} };

class Told {
  readonly authority = new Authority(LAYERS);

  tell(body: TellBody) {
    return this.authority.accept(create(AuthoritySchema, { number: BigInt(this.authority.seen + 1), body }));
  }

  /** What it hears of entities: + for a gain. */
  hears(body: TellBody): string[] {
    return this.tell(body).flatMap(([name, event]) => {
      if (name !== "gained" && name !== "lost") return [];
      return [`${name === "gained" ? "+" : "-"}${event.ids.join(",")}`];
    });
  }

  get owned(): number[] {
    return [...this.authority.owned("bodies")].sort((a, b) => a - b);
  }
}

test("entities are owned from when they and their region came", () => {
  const told = new Told();
  assert.deepEqual(told.hears(words(1n, 3n, true, [7n, 8n])), []);
  assert.equal(told.authority.owns(7, "bodies"), false);
  assert.deepEqual(told.hears(gained(1n, 3n)), ["+7,8"]);
  assert.deepEqual(told.owned, [7, 8]);
  assert.deepEqual(told.hears(words(1n, 3n, true, [8n, 9n])), ["+9"]);
  assert.deepEqual(told.hears(words(1n, 3n, false, [7n, 40n])), ["-7"]);
  assert.deepEqual([1, 1000, 1001, "tags", "no"].map((scope) => told.authority.owns(8, scope)), [true, true, false, false, false]);
  const region = told.authority.regions.get(1)!;
  assert.deepEqual([region.layer, region.space, region.minX, region.epoch], ["bodies", 0, -5, 3]);
});

test("a lost region takes with it what came up to its grant", () => {
  const told = new Told();
  told.tell(gained(1n, 3n));
  told.tell(words(1n, 3n, true, [7n, 8n]));
  told.tell(words(1n, 5n, true, [8n]));
  assert.deepEqual(told.hears(lost(1n, 3n)), ["-7,8"]);
  assert.deepEqual(told.hears(gained(1n, 5n)), ["+8"]);
});

test("joined regions keep what both had", () => {
  const told = new Told();
  for (const [region, epoch] of [[1n, 3n], [2n, 4n]] as const) {
    told.tell(gained(region, epoch));
    told.tell(words(region, epoch, true, [region * 10n]));
  }
  assert.deepEqual(told.tell({ case: "joined", value: { gone: 2n, keep: 1n } }), []);
  assert.deepEqual(told.tell({ case: "shaped", value: { region: 1n, epoch: 4n, layer: "bodies" } }).map(([name]) => name), ["regionChanged"]);
  assert.deepEqual([told.owned, [...told.authority.regions.keys()]], [[10, 20], [1]]);
  assert.deepEqual(told.hears(lost(1n, 4n)), ["-10,20"]);
});

test("a worker lets go, flushes, and may keep the region", () => {
  const told = new Told();
  told.tell(gained(1n, 3n));
  told.tell(words(1n, 3n, true, [7n]));
  const region = told.authority.regions.get(1)!;
  assert.deepEqual(told.tell(imminent(1n, 3n)), [["lossImminent", { region, untilUs: 9 }]]);
  assert.deepEqual(told.owned, [7], "it still writes");
  told.authority.letGo(region);
  assert.deepEqual([told.owned, told.authority.isUrgent], [[], false]);
  told.authority.flush(region);
  assert.deepEqual(told.authority.takeReport().flushed.map(({ region, epoch }) => [region, epoch]), [[1n, 3n]]);
  assert.equal(told.authority.isUrgent || told.authority.isUnseen, false);
  assert.deepEqual(told.tell({ case: "kept", value: { region: 1n, epoch: 3n } }).map(([name]) => name), ["kept"]);
  assert.deepEqual(told.owned, [7]);
  told.authority.flush(region);
  assert.equal(told.authority.isUrgent, false, "nothing is to be flushed any more");
});

test("what is warm is urgent, what is seen is not", () => {
  const told = new Told();
  told.tell(gained(1n, 3n));
  assert.deepEqual([told.authority.isUnseen, told.authority.isUrgent], [true, false]);
  told.tell({ case: "warm", value: { region: 9n, epoch: 4n } });
  assert.equal(told.authority.isUrgent, true);
  const report = told.authority.takeReport();
  assert.deepEqual([report.authoritySeen, report.warmed], [2n, [9n]]);
});

test("who drains is done when nothing is left", () => {
  const told = new Told();
  told.tell(gained(1n, 3n));
  assert.deepEqual(told.tell(drain), [["draining", undefined]]);
  assert.deepEqual(told.tell(lost(1n, 3n)).at(-1), ["drained", undefined]);
  assert.deepEqual(told.tell(words(1n, 3n, false, [7n])), []);
});

test("a gap is noticed, and without layers anybody may write anything", () => {
  const open = new Authority();
  assert.equal(open.isOpen && open.owns(7, 1) && open.owns(7, "any"), true);
  assert.throws(() => open.accept(create(AuthoritySchema, { number: 2n })), /message 2 came where 1 was due/);
});

test("writes say what was seen, creates that are repeated nothing, and a lost session owns nothing", () => {
  const session = new Session();
  const welcome = create(WelcomeSchema, { layers: LAYERS });
  session.begin(welcome);
  const heard: string[] = [];
  session.events.on("regionGained", ({ id }) => heard.push(`region ${id}`));
  const tell = (number: bigint, body: TellBody) =>
    session.accept(toBinary(ServerMessageSchema, create(ServerMessageSchema, { body: { case: "authority", value: { number, body } } })));
  tell(1n, gained(1n, 3n));
  tell(2n, imminent(1n, 3n));
  assert.deepEqual([heard, session.losses.map(({ region }) => region.id)], [["region 1"], [1]]);
  const wire = (bytes: Uint8Array) => fromBinary(ClientMessageSchema, bytes).body;
  const stamped = wire(session.stamp({ body: Body.Update, bytes: new Uint8Array(), authoritySeen: 2 }));
  assert.ok(stamped.case === "update" && stamped.value.authoritySeen === 2n);
  const nobody = { resolve: () => undefined, reject: () => undefined };
  const asked = wire(session.request({ body: Body.Create, bytes: new Uint8Array(), authoritySeen: 2 }, nobody));
  assert.ok(asked.case === "create" && asked.value.authoritySeen === 2n);
  session.lose(new SpatialdbError("UNREACHABLE", "gone"));
  assert.deepEqual([session.authority.regions.size, session.losses], [0, []]);
  const again = wire(session.begin(welcome)[0]!);
  assert.ok(again.case === "create" && again.value.authoritySeen === 0n);
  tell(1n, gained(1n, 3n));
  assert.equal(session.authority.regions.size, 1);
});
