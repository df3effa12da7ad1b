// The session without a network: what is owed, what is said again after a reconnect, what refusals mean.

import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { ClientMessageSchema, ErrorCode, FrameSchema, ReserveIdsSchema, ServerMessageSchema, WelcomeSchema } from "../src/gen/spatialdb/v1/worker_pb.js";
import { Body, createBodies } from "../src/batch.js";
import { all, has } from "../src/constraints.js";
import { SpatialdbError } from "../src/errors.js";
import { Session } from "../src/session.js";

const LIMITS = { rows: 100, bytes: 1 << 20 };
const welcome = create(WelcomeSchema, { name: "a", sessionId: 7n, components: [{ id: 1, name: "spatialdb.v1.Position" }], flags: { a: "b" }, limits: { message_rows_max: 5n } });
const GONE = new SpatialdbError("UNREACHABLE", "gone");

function begun(): Session {
  const session = new Session();
  assert.deepEqual(session.begin(welcome), []);
  return session;
}

let frames = 0;
function frame(session: Session, value: MessageInitShape<typeof FrameSchema>): void {
  const numbered = { frame: BigInt(++frames), ...value };
  session.accept(toBinary(ServerMessageSchema, create(ServerMessageSchema, { body: { case: "frame", value: numbered } })));
}

const reset = (session: Session) => session.accept(toBinary(ServerMessageSchema, create(ServerMessageSchema, { body: { case: "reset", value: {} } })));
const wire = (bytes: Uint8Array) => fromBinary(ClientMessageSchema, bytes);
const ask = (session: Session, body: Body, bytes: Uint8Array) => {
  let message: Uint8Array | undefined;
  const answer = new Promise<bigint[]>((resolve, reject) => { message = session.request({ body, bytes }, { resolve, reject }); });
  return { message: wire(message!), answer };
};

test("Welcome gives limits, flags and components", () => {
  const session = begun();
  assert.deepEqual([session.welcomed.limits.get("message_rows_max"), session.flags.get("a"), session.table.names.get(1)], [5, "b", "spatialdb.v1.Position"]);
});

test("seqs have no gaps; decided waits for all of them and tells refusals once", async () => {
  const session = begun();
  const empty = new Uint8Array();
  assert.deepEqual([session.stamp({ body: Body.Update, bytes: empty }), session.stamp({ body: Body.Heartbeat, bytes: empty }), session.stamp({ body: Body.Delete, bytes: empty })].map((bytes) => wire(bytes).seq), [2n, 3n, 4n]);
  assert.equal(session.inFlight, 2);
  let done = false;
  const decided = session.decided().then(() => { done = true; });
  frame(session, { appliedSeq: 3n, rejections: [{ seq: 2n, reason: "ENTITY_NOT_FOUND", code: ErrorCode.NOT_FOUND, entity: 9n, component: 1 }] });
  await Promise.resolve();
  assert.equal(done, false);
  frame(session, { appliedSeq: 4n });
  await decided;
  assert.deepEqual(session.takeRejections().map(({ reason, entity, component }) => [reason, entity, component]), [["ENTITY_NOT_FOUND", 9n, "spatialdb.v1.Position"]]);
  assert.deepEqual(session.takeRejections(), []);
});

test("a create is said again after a reconnect, with its request id, before the views", async () => {
  const session = begun();
  const [body] = createBodies([{ position: { x: 1, y: 2 } }], "once", session.table, LIMITS);
  const first = ask(session, Body.Create, body!.outgoing.bytes);
  const view = wire(session.view({ viewId: 1n, constraint: all() }));
  assert.deepEqual([first.message.seq, view.seq, view.body.case], [2n, 3n, "subscribe"]);
  const decided = session.decided();
  assert.equal(session.lose(GONE), 0);
  const again = session.begin(welcome).map(wire);
  assert.deepEqual(again.map(({ seq, body }) => [seq, body.case]), [[2n, "create"], [3n, "subscribe"]]);
  assert.ok(again[0]!.body.case === "create" && again[0]!.body.value.requestId === "once");
  reset(session);
  session.accept(toBinary(ServerMessageSchema, create(ServerMessageSchema, { body: { case: "created", value: { seq: 2n, entities: [44n] } } })));
  assert.deepEqual(await first.answer, [44n]);
  frame(session, { appliedSeq: 3n, viewReady: [{ viewId: 1n, entityCount: 5n }] });
  assert.equal(await session.readyOf(1), 5);
  await decided;
});

test("what was lost is counted and told to who waits", async () => {
  const session = begun();
  session.stamp({ body: Body.Update, bytes: new Uint8Array() });
  const decided = session.decided();
  assert.equal(session.lose(GONE), 1);
  await assert.rejects(decided, /DISCONNECTED: .* 1 messages/);
});

test("a refused subscribe is forgotten, a refused change goes back", async () => {
  const session = begun();
  const refuse = (seq: bigint) => frame(session, { appliedSeq: seq, rejections: [{ seq, reason: "QUERY_INVALID", detail: "no" }] });
  session.view({ viewId: 1n, constraint: all() });
  const refused = session.readyOf(1)!;
  refuse(2n);
  await assert.rejects(refused, /QUERY_INVALID: no/);
  assert.equal(session.hasView(1), false);
  session.view({ viewId: 1n, constraint: all() });
  frame(session, { appliedSeq: 3n, viewReady: [{ viewId: 1n, entityCount: 2n }] });
  assert.equal(wire(session.view({ viewId: 1n, constraint: has("x") })).body.case, "changeView");
  const changed = session.readyOf(1)!;
  refuse(4n);
  await assert.rejects(changed, /QUERY_INVALID/);
  assert.deepEqual(session.takeRejections(), []);
  session.lose(GONE);
  const [again] = session.begin(welcome).map(wire);
  assert.ok(again!.body.case === "subscribe" && again!.body.value.view?.constraint?.kind.case === "all");
});

test("a view that was changed is not ready by the fill of its old self", async () => {
  const session = begun();
  session.view({ viewId: 1n, constraint: all() });
  const first = session.readyOf(1)!;
  session.view({ viewId: 1n, constraint: has("x") });
  frame(session, { appliedSeq: 2n, viewReady: [{ viewId: 1n, entityCount: 100n }] });
  frame(session, { appliedSeq: 3n, viewReady: [{ viewId: 1n, entityCount: 4n }] });
  assert.deepEqual(await Promise.all([first, session.readyOf(1)]), [4, 4]);
});

test("frames that belong together are told once", () => {
  const session = begun();
  const told: bigint[][] = [];
  session.events.on("frame", ({ entered }) => told.push(entered));
  frame(session, { entered: [1n], more: true });
  frame(session, { entered: [2n], more: true });
  assert.deepEqual(told, []);
  frame(session, { entered: [3n] });
  frame(session, {});
  assert.deepEqual(told, [[1n, 2n, 3n]]);
});

test("a refused reservation rejects, and a replaced session ends for good", async () => {
  const session = begun();
  const { answer } = ask(session, Body.ReserveIds, toBinary(ReserveIdsSchema, create(ReserveIdsSchema, { count: 1 })));
  frame(session, { appliedSeq: 2n, rejections: [{ seq: 2n, reason: "LIMIT_REACHED", detail: "reserve_ids_max" }] });
  await assert.rejects(answer, /LIMIT_REACHED: reserve_ids_max/);
  const goodbye = create(ServerMessageSchema, { body: { case: "goodbye", value: { reason: "SESSION_REPLACED", detail: "a" } } });
  assert.throws(() => session.accept(toBinary(ServerMessageSchema, goodbye)), (error: SpatialdbError) => error.isFinal);
});
