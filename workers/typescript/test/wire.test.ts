// The hand-written wire agrees with the generated code, and bytes that are no message give an error.

import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ErrorCode, LeaveReason, PositionColumnSchema, ServerMessageSchema, type ServerMessage } from "../src/gen/spatialdb/v1/worker_pb.js";
import { ProtocolError } from "../src/errors.js";
import { decodeServerMessage, type Frame } from "../src/wire/frame.js";
import { varintSize, WireWriter } from "../src/wire/writer.js";

const LARGE = 2n ** 53n - 1n;

export function frameMessage(): ServerMessage {
  return create(ServerMessageSchema, {
    body: {
      case: "frame",
      value: {
        frame: 7n, appliedSeq: 300n, durableSeq: 1n, worldTimeUs: 5n, unixTimeUs: 1_795_000_000_000_000n, more: true,
        entered: [1n, 300n, LARGE], left: [{ reason: LeaveReason.DELETED, entities: [9n] }], gone: [{ component: 1000, entities: [1n] }],
        positions: [{ space: 3, entities: [1n, LARGE], revisions: [5n, 6n], x: [1.5, -0.1], y: [2, 1e300], z: [] }],
        columns: [{ component: 2, entities: [300n, 1n], revisions: [1n, 2n], values: [new Uint8Array([1, 2]), new Uint8Array()] }],
        viewReady: [{ viewId: 4n, entityCount: 3n }],
        rejections: [{ seq: 2n, code: ErrorCode.NOT_FOUND, reason: "ENTITY_NOT_FOUND", entity: 5n }],
        rejectionsCollapsed: [{ reason: "X", count: 9n }],
        events: [{ component: 1000, event: 1, entities: [1n], payloads: [new Uint8Array([3])] }],
        eventsMissed: [{ component: 1000, event: 1, count: 6n }],
        densities: [{ viewId: 4n, squareM: 0.5, type: "post", x: [-1, 70_000], y: [2, -3], counts: [0n, 8n] }],
      },
    },
  });
}

function decoded(bytes: Uint8Array): Frame {
  const incoming = decodeServerMessage(bytes);
  assert.ok("frame" in incoming);
  return incoming.frame;
}

test("a frame decodes as the generated code wrote it", () => {
  const frame = decoded(toBinary(ServerMessageSchema, frameMessage()));
  assert.deepEqual([frame.frame, frame.appliedSeq, frame.durableSeq, frame.worldTimeUs, frame.unixTimeUs, frame.more], [7, 300, 1, 5, 1_795_000_000_000_000, true]);
  assert.deepEqual([...frame.entered], [1, 300, Number(LARGE)]);
  assert.deepEqual(frame.left, [{ reason: LeaveReason.DELETED, entities: Float64Array.of(9) }]);
  assert.deepEqual(frame.gone, [{ component: 1000, entities: Float64Array.of(1) }]);
  const [positions] = frame.positions;
  assert.deepEqual(positions, {
    space: 3, entities: Float64Array.of(1, Number(LARGE)), revisions: Float64Array.of(5, 6),
    x: Float64Array.of(1.5, -0.1), y: Float64Array.of(2, 1e300), z: new Float64Array(),
  });
  const [column] = frame.columns;
  const values = column!.starts.map((start, row) => [...column!.bytes.subarray(start, column!.ends[row])]);
  assert.deepEqual([column!.component, [...column!.entities], [...column!.revisions], values], [2, [300, 1], [1, 2], [[1, 2], []]]);
  assert.deepEqual([frame.viewReady[0]!.viewId, frame.rejections[0]!.reason, frame.collapsed[0]!.count], [4n, "ENTITY_NOT_FOUND", 9n]);
  const [[event], [missed], [squares]] = [frame.events, frame.eventsMissed, frame.densities];
  assert.deepEqual([event!.entities, event!.payloads, missed!.count], [[1n], [new Uint8Array([3])], 6n]);
  assert.deepEqual([squares!.x, squares!.y, squares!.counts, squares!.squareM, squares!.type], [[-1, 70_000], [2, -3], [0n, 8n], 0.5, "post"]);
});

test("every shortened frame gives an error or a shorter frame, and nothing hangs", () => {
  const bytes = toBinary(ServerMessageSchema, frameMessage());
  for (let length = 0; length < bytes.length; length++) {
    try {
      decodeServerMessage(bytes.subarray(0, length));
      assert.equal(length, 0, `${length} bytes decoded`);
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `${length}: ${String(error)}`);
    }
  }
});

test("flipped bytes never give anything but a message or an error", () => {
  const bytes = toBinary(ServerMessageSchema, frameMessage());
  let refused = 0;
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [0x01, 0x80, 0xff]) {
      const broken = bytes.slice();
      broken[at]! ^= flip;
      try {
        decodeServerMessage(broken);
      } catch (error) {
        refused++;
        assert.ok(error instanceof Error);
      }
    }
  }
  assert.ok(refused > 20);
});

test("a frame may come in a Buffer at any offset", () => {
  const bytes = toBinary(ServerMessageSchema, frameMessage());
  for (let offset = 0; offset < 9; offset++) {
    const buffer = Buffer.alloc(bytes.length + offset);
    buffer.set(bytes, offset);
    assert.deepEqual([...decoded(buffer.subarray(offset)).positions[0]!.y], [2, 1e300]);
  }
});

test("what is not known is skipped; lists may be unpacked or in pieces", () => {
  const column = new WireWriter();
  column.number(1, 1);
  for (const id of [5, 6]) column.number(2, id);
  column.varints(2, [7]);
  column.varints(3, [1, 1, 1]);
  column.doubles(4, Float64Array.of(1));
  column.doubles(4, Float64Array.of(2, 3));
  column.doubles(5, Float64Array.of(4, 5, 6));
  column.text(99, "from a later version");
  const frame = new WireWriter();
  frame.bytes(10, column.finish());
  frame.text(31, "unknown");
  const message = new WireWriter();
  message.bytes(4, frame.finish());
  const [positions] = decoded(message.finish()).positions;
  assert.deepEqual([[...positions!.entities], [...positions!.x], [...positions!.y]], [[5, 6, 7], [1, 2, 3], [4, 5, 6]]);
});

test("columns of positions of a space are one, apart from those with heights", () => {
  const columns = [
    { entities: [1n], revisions: [9n], x: [1], y: [2] }, { entities: [2n, 3n], revisions: [8n, 7n], x: [3, 5], y: [4, 6] },
    { entities: [4n], revisions: [6n], x: [7], y: [8], z: [9] }, { space: 2, entities: [5n], revisions: [5n], x: [-1], y: [-2] },
  ];
  const message = create(ServerMessageSchema, { body: { case: "frame", value: { positions: columns } } });
  const { positions } = decoded(toBinary(ServerMessageSchema, message));
  assert.deepEqual(positions.map(({ space, entities, revisions, x, y, z }) => [space, ...[entities, revisions, x, y, z].map((list) => [...list])]), [
    [0, [1, 2, 3], [9, 8, 7], [1, 3, 5], [2, 4, 6], []], [0, [4], [6], [7], [8], [9]], [2, [5], [5], [-1], [-2], []],
  ]);
});

test("a list of ids longer than the lists beside it is refused, however long", () => {
  for (const entities of [2, 40, 4000]) {
    const column = create(PositionColumnSchema, { entities: Array(entities).fill(1n), revisions: [1n], x: [1], y: [1] });
    const message = create(ServerMessageSchema, { body: { case: "frame", value: { positions: [column] } } });
    assert.throws(() => decodeServerMessage(toBinary(ServerMessageSchema, message)), ProtocolError, String(entities));
  }
});

test("columns of different lengths are refused", () => {
  const column = create(PositionColumnSchema, { entities: [1n, 2n], revisions: [1n, 2n], x: [1], y: [1, 2] });
  const message = create(ServerMessageSchema, { body: { case: "frame", value: { positions: [column] } } });
  assert.throws(() => decodeServerMessage(toBinary(ServerMessageSchema, message)), /different lengths/);
});

test("ids of 2^53 and more are refused instead of rounded", () => {
  const message = create(ServerMessageSchema, { body: { case: "frame", value: { entered: [2n ** 53n] } } });
  assert.throws(() => decodeServerMessage(toBinary(ServerMessageSchema, message)), /2\^53/);
});

test("written varints and doubles read back", () => {
  const ids = [1, 127, 128, 16_383, 16_384, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 35 + 1, 2 ** 49, Number(LARGE)];
  const doubles = ids.map((id) => id / 3);
  const writer = new WireWriter(1);
  writer.varints(2, ids);
  writer.doubles(4, Float64Array.from(doubles));
  const column = fromBinary(PositionColumnSchema, writer.finish());
  assert.deepEqual(column.entities, ids.map(BigInt));
  assert.deepEqual(column.x, doubles);
  assert.deepEqual([0, 127, 128, 2 ** 49, Number(LARGE)].map(varintSize), [1, 1, 2, 8, 8]);
});
