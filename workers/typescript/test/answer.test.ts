// Questions, events of entities and densities, with messages as a server sends them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { create, createFileRegistry, fromBinary, toBinary, setExtension, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Label, FieldDescriptorProto_Type, FileDescriptorProtoSchema, FileDescriptorSetSchema, MessageOptionsSchema } from "@bufbuild/protobuf/wkt";
import { MetadataSchema, PositionSchema } from "../src/gen/spatialdb/v1/components_pb.js";
import { event as eventOption } from "../src/gen/spatialdb/v1/schema_pb.js";
import {
  AskSchema, ClientMessageSchema, FrameSchema, ServerMessageSchema, UpdateSchema, WelcomeSchema, type AnswerSchema,
} from "../src/gen/spatialdb/v1/worker_pb.js";
import type { Answer } from "../src/answer.js";
import { Batch, Body } from "../src/batch.js";
import { all } from "../src/constraints.js";
import { SpatialdbError } from "../src/errors.js";
import { eventOf, type EntityEvent } from "../src/events.js";
import { Session } from "../src/session.js";
import { askOf } from "../src/views.js";

const VITALS = 1000;

/** The schema of a message that is event 1 of component 1000, made here in place of generated code. */
function hitSchema(): DescMessage {
  const options = create(MessageOptionsSchema);
  setExtension(options, eventOption, { $typeName: "spatialdb.v1.EventOptions", id: 1, component: VITALS });
  const power = { name: "power", number: 1, type: FieldDescriptorProto_Type.INT32, label: FieldDescriptorProto_Label.OPTIONAL };
  const file = create(FileDescriptorProtoSchema, { name: "hit.proto", package: "test", syntax: "proto3", messageType: [{ name: "Hit", field: [power], options }] });
  return createFileRegistry(create(FileDescriptorSetSchema, { file: [file] })).getMessage("test.Hit")!;
}

const Hit = hitSchema();
const hit = (power: number) => ({ power }) as unknown as MessageInitShape<typeof Hit>;
const powerOf = (event: EntityEvent) => (eventOf(Hit, event) as unknown as { power: number } | undefined)?.power;
const bytesOf = (power: number) => toBinary(Hit, create(Hit, hit(power)));

const components = [[1, PositionSchema.typeName], [2, MetadataSchema.typeName], [VITALS, "test.Vitals"]].map(([id, name]) => ({ id: Number(id), name: String(name) }));

function begun(): Session {
  const session = new Session();
  session.begin(create(WelcomeSchema, { components }));
  return session;
}

let frames = 0;
function frame(session: Session, value: MessageInitShape<typeof FrameSchema>): void {
  session.accept(toBinary(ServerMessageSchema, create(ServerMessageSchema, { body: { case: "frame", value: { frame: BigInt(++frames), ...value } } })));
}

function page(session: Session, value: MessageInitShape<typeof AnswerSchema>): void {
  session.accept(toBinary(ServerMessageSchema, create(ServerMessageSchema, { body: { case: "answer", value } })));
}

function ask(session: Session): Promise<Answer> {
  const bytes = toBinary(AskSchema, askOf({ where: all() }, session.table));
  const answer = new Promise<Answer>((resolve, reject) => {
    const message = fromBinary(ClientMessageSchema, session.ask(bytes, { resolve, reject }));
    assert.equal(message.body.case, "ask");
  });
  answer.catch(() => undefined);
  return answer;
}

test("answers come page by page, each to its call", async () => {
  const session = begun();
  const [one, two] = [ask(session), ask(session)];
  assert.equal(session.inFlight, 2);
  page(session, {
    seq: 2n, entities: [7n, 8n], distancesM: [1.5, 2.5],
    positions: [{ space: 3, entities: [8n], revisions: [1n], x: [5], y: [6] }],
    columns: [{ component: 2, entities: [7n], revisions: [1n], values: [toBinary(MetadataSchema, create(MetadataSchema, { name: "seven" }))] }],
  });
  page(session, { seq: 3n, matchCount: 40n, last: true });
  assert.deepEqual([(await two).matchCount, (await two).entities], [40, []]);
  page(session, { seq: 2n, entities: [9n], distancesM: [3.5], matchCount: 3n, last: true });
  frame(session, { appliedSeq: 3n });
  const answer = await one;
  assert.deepEqual([...answer].map(({ id, distanceM, components }) => [id, distanceM, components]), [[7n, 1.5, [2]], [8n, 2.5, [1]], [9n, 3.5, []]]);
  const [seven, eight, nine] = answer.entities;
  assert.deepEqual([seven!.get(MetadataSchema)!.name, seven!.position, nine!.get(MetadataSchema)], ["seven", undefined, undefined]);
  assert.deepEqual([eight!.position, eight!.get(PositionSchema)!.x], [{ space: 3, x: 5, y: 6, z: 0 }, 5]);
  assert.equal(session.inFlight, 0);
  await session.decided();
});

test("a question that is refused or lost is an error of its own", async () => {
  const session = begun();
  const [refused, counted, lost] = [ask(session), ask(session), ask(session)];
  frame(session, { appliedSeq: 3n, rejections: [{ seq: 2n, reason: "QUERY_INVALID", detail: "no" }], rejectionsCollapsed: [{ reason: "QUERY_INVALID", count: 1n }] });
  await assert.rejects(refused, /QUERY_INVALID: no/);
  await assert.rejects(counted, /only counts/);
  assert.deepEqual(session.takeRejections().map(({ count, detail }) => [count, detail]), [[1, ""]], "but for what was only counted");
  assert.equal(session.lose(new SpatialdbError("UNREACHABLE", "gone")), 0, "its promise tells");
  await assert.rejects(lost, /DISCONNECTED: .*before the answer/);
  assert.deepEqual(session.begin(create(WelcomeSchema, { components })), [], "it is not asked again");
});

test("a page that does not fit breaks the protocol", () => {
  const broken: MessageInitShape<typeof AnswerSchema>[] = [
    { distancesM: [1] }, { positions: [{ entities: [8n], x: [1], y: [1] }] }, { columns: [{ component: 2, entities: [7n] }] },
  ];
  for (const parts of broken) {
    const session = begun();
    void ask(session);
    assert.throws(() => page(session, { seq: 2n, entities: [7n, 9n], ...parts }), /PROTOCOL_BROKEN/);
  }
});

test("events travel behind values, and keep their order", () => {
  const batch = new Batch(begun().table, { rows: 100, bytes: 1 << 20 });
  batch.emit(1n, Hit, hit(3)).set(1n, MetadataSchema, { name: "a" }).emit(2n, Hit, hit(4));
  const [message, ...rest] = batch.take(Body.Update);
  const update = fromBinary(UpdateSchema, message!.bytes);
  assert.deepEqual(update.events.map(({ component, event, entities, payloads }) => [component, event, entities, payloads]), [[VITALS, 1, [1n, 2n], [bytesOf(3), bytesOf(4)]]]);
  assert.deepEqual([update.columns.length, rest.length, batch.isEmpty], [1, 0, true]);
  assert.throws(() => batch.emit(1n, MetadataSchema), /spatialdb.v1.Metadata is no event/);
});

test("events come behind the changes of their frames", () => {
  const session = begun();
  const told: unknown[] = [];
  session.events.on("frame", ({ entered, left }) => told.push([entered, left.map(({ id }) => id)]));
  session.events.on("event", (event) => told.push([event.id, event.event, powerOf(event), event.payload.length]));
  session.events.on("eventsMissed", (missed) => told.push(missed));
  const column = { component: VITALS, event: 1, entities: [7n, 8n], payloads: [bytesOf(5), bytesOf(0)] };
  frame(session, { entered: [7n, 8n], events: [column, { component: VITALS, event: 2, entities: [7n], payloads: [new Uint8Array(3)] }], more: true });
  assert.deepEqual(told, []);
  frame(session, { left: [{ entities: [8n] }], eventsMissed: [{ component: VITALS, event: 1, count: 9n }] });
  assert.deepEqual(told.splice(0), [[[7n, 8n], [8n]], [7n, 1, 5, 2], [8n, 1, 0, 0], [7n, 2, undefined, 3], { component: VITALS, event: 1, count: 9 }]);
  // Without a change there is no news of one.
  frame(session, { events: [column] });
  assert.deepEqual(told.map((one) => (one as unknown[])[0]), [7n, 8n]);
  assert.throws(() => frame(session, { events: [{ component: VITALS, event: 1, entities: [7n] }] }), /event 1 of component 1000 has lists/);
});

test("squares are kept per view until it ends", () => {
  const session = begun();
  session.view({ viewId: 4n, densities: { squareM: 100 } });
  const changed: unknown[] = [];
  session.events.on("densities", ({ view, squares }) => changed.push([view, squares]));
  const count = (squares: [number, number, bigint][], squareM = 100, type = "") => frame(session, {
    densities: [{ viewId: 4n, squareM, type, x: squares.map(([x]) => x), y: squares.map(([, y]) => y), counts: squares.map(([, , count]) => count) }],
  });
  count([[0, 0, 3n], [-1, 2, 1n]]);
  count([[0, 0, 2n]], 100, "boat");
  count([[-1, 2, 0n]]);
  const shown = session.replica.densities(4);
  assert.deepEqual([...shown], [[{ x: 0, y: 0, type: "" }, 3], [{ x: 0, y: 0, type: "boat" }, 2]]);
  assert.deepEqual([shown.squareM, shown.size, shown.total, shown.count(0, 0, "boat"), shown.count(-1, 2)], [100, 2, 5, 2, 0]);
  assert.deepEqual(changed.slice(1), [[4, [{ x: 0, y: 0, type: "boat" }]], [4, [{ x: -1, y: 2, type: "" }]]]);
  count([[5, 5, 1n]], 200);
  assert.deepEqual([[...shown], shown.squareM], [[[{ x: 5, y: 5, type: "" }, 1]], 200]);
  session.endView(4);
  count([[1, 1, 1n]]);
  assert.equal(session.replica.densities(4).size, 0, "what was on its way is not shown");
  const other = begun();
  other.view({ viewId: 4n, densities: { squareM: 100 } });
  assert.throws(() => frame(other, { densities: [{ viewId: 4n, x: [1] }] }), /densities of view 4/);
});
