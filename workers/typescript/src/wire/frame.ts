// Decodes what the server sends. Frames go into typed arrays; all other messages through the generated code.
//
// Responsible for: the fields of Frame and Column and their lengths.
// Not responsible for: applying a frame (replica.ts), columns of positions (positions.ts).

import { fromBinary } from "@bufbuild/protobuf";
import {
  DensityColumnSchema, EventColumnSchema, EventsMissedSchema, RejectionCountSchema, RejectionSchema, ServerMessageSchema, ViewReadySchema,
  type DensityColumn, type EventColumn, type EventsMissed, type LeaveReason, type Rejection, type RejectionCount, type ServerMessage, type ViewReady,
} from "../gen/spatialdb/v1/worker_pb.js";
import { PositionRows, type Positions } from "./positions.js";
import { malformed, NO_IDS, WireReader } from "./reader.js";

/** Values of one component: value r is bytes[starts[r] .. ends[r]]. `bytes` is the whole message. */
export interface Values {
  component: number;
  entities: Float64Array;
  revisions: Float64Array;
  bytes: Uint8Array;
  starts: number[];
  ends: number[];
}

export interface Frame {
  frame: number;
  appliedSeq: number;
  durableSeq: number;
  worldTimeUs: number;
  unixTimeUs: number;
  more: boolean;
  entered: Float64Array;
  left: { reason: LeaveReason; entities: Float64Array }[];
  gone: { component: number; entities: Float64Array }[];
  positions: Positions[];
  columns: Values[];
  viewReady: ViewReady[];
  rejections: Rejection[];
  collapsed: RejectionCount[];
  events: EventColumn[];
  eventsMissed: EventsMissed[];
  densities: DensityColumn[];
}

export type Incoming = { frame: Frame } | { message: ServerMessage };

const FRAME_FIELD = 4;

export function decodeServerMessage(bytes: Uint8Array): Incoming {
  const reader = new WireReader(bytes);
  if (reader.end > 0 && reader.varint() === ((FRAME_FIELD << 3) | 2)) {
    const inner = reader.message();
    if (reader.pos === reader.end) return { frame: decodeFrame(inner) };
  }
  try {
    return { message: fromBinary(ServerMessageSchema, bytes) };
  } catch (error) {
    throw malformed(String(error));
  }
}

export function emptyFrame(): Frame {
  return {
    frame: 0, appliedSeq: 0, durableSeq: 0, worldTimeUs: 0, unixTimeUs: 0, more: false,
    entered: NO_IDS, left: [], gone: [], positions: [], columns: [], viewReady: [], rejections: [], collapsed: [],
    events: [], eventsMissed: [], densities: [],
  };
}

function decodeFrame(reader: WireReader): Frame {
  const frame = emptyFrame();
  let positions: PositionRows | undefined;
  while (reader.pos < reader.end) {
    const tag = reader.varint();
    const wireType = tag & 7;
    switch (tag >>> 3) {
      case 1: frame.frame = reader.varint(); break;
      case 2: frame.appliedSeq = reader.varint(); break;
      case 3: frame.durableSeq = reader.varint(); break;
      case 4: frame.worldTimeUs = reader.varint(); break;
      case 5: frame.unixTimeUs = reader.varint(); break;
      case 6: frame.more = reader.varint() !== 0; break;
      case 7: frame.entered = reader.varints(wireType, frame.entered); break;
      case 8: { const [reason, entities] = decodeIds(reader.message()); frame.left.push({ reason, entities }); break; }
      case 9: { const [component, entities] = decodeIds(reader.message()); frame.gone.push({ component, entities }); break; }
      case 10: (positions ??= new PositionRows(reader.end - reader.pos)).read(reader.message()); break;
      case 11: frame.columns.push(decodeValues(reader.message())); break;
      case 12: frame.viewReady.push(fromBinary(ViewReadySchema, reader.view())); break;
      case 13: frame.rejections.push(fromBinary(RejectionSchema, reader.view())); break;
      case 14: frame.collapsed.push(fromBinary(RejectionCountSchema, reader.view())); break;
      case 15: frame.events.push(decodeEvents(reader.view())); break;
      case 16: frame.eventsMissed.push(fromBinary(EventsMissedSchema, reader.view())); break;
      case 17: frame.densities.push(fromBinary(DensityColumnSchema, reader.view())); break;
      default: reader.skip(wireType);
    }
  }
  if (positions !== undefined) frame.positions = positions.finish();
  return frame;
}

function decodeEvents(bytes: Uint8Array): EventColumn {
  const column = fromBinary(EventColumnSchema, bytes);
  if (column.entities.length !== column.payloads.length) {
    throw malformed(`a column of event ${column.event} of component ${column.component} has lists of different lengths`);
  }
  return column;
}

/** Left and ComponentEntities alike: a number, then ids. */
function decodeIds(reader: WireReader): [number, Float64Array] {
  let what = 0;
  let entities: Float64Array = NO_IDS;
  while (reader.pos < reader.end) {
    const tag = reader.varint();
    if (tag >>> 3 === 1) what = reader.varint();
    else if (tag >>> 3 === 2) entities = reader.varints(tag & 7, entities);
    else reader.skip(tag & 7);
  }
  return [what, entities];
}

function decodeValues(reader: WireReader): Values {
  const column: Values = {
    component: 0, entities: NO_IDS, revisions: NO_IDS, bytes: reader.bytes, starts: [], ends: [],
  };
  while (reader.pos < reader.end) {
    const tag = reader.varint();
    const wireType = tag & 7;
    switch (tag >>> 3) {
      case 1: column.component = reader.varint(); break;
      case 2: column.entities = reader.varints(wireType, column.entities); break;
      case 3: column.revisions = reader.varints(wireType, column.revisions); break;
      case 4: {
        const end = reader.delimited();
        column.starts.push(reader.pos);
        column.ends.push(end);
        reader.pos = end;
        break;
      }
      default: reader.skip(wireType);
    }
  }
  const rows = column.entities.length;
  if (column.revisions.length !== rows || column.starts.length !== rows) {
    throw malformed(`a column of component ${column.component} has lists of different lengths`);
  }
  return column;
}
