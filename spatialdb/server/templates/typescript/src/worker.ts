// Lets the sheep walk, ten times a second, and keeps them in the meadow.
//
// spatialdb starts it with the world and tells it by the environment where the world is; it may as well be started by
// hand.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";

interface Sheep {
  heading_deg: number;
  speed_mps: number;
  colour: string;
}

/** As much of the messages as this worker reads; schema/ and proto/ have all of it. */
interface Frame {
  frame: number;
  left: { entities: number[] }[];
  positions: { entities: number[]; x: number[]; y: number[]; z: number[] }[];
  columns: { component: number; entities: number[]; values: Buffer[] }[];
  view_ready: { entity_count: number }[];
  rejections: { reason: string; detail: string }[];
}
interface ServerMessage {
  body?: "frame" | "goodbye" | string;
  frame?: Frame;
  goodbye?: { reason: string; detail: string };
}

// The id of the component and the number of its field, as in schema/meadow.proto.
const SHEEP = 1000;
const HEADING_DEG = 1;
const PERIOD_S = 0.1;
const EDGE_M = 100;
const TURN_DEG = 15;

// The .proto files are read when the worker starts, so there is no generated code to keep up to date.
// Ids stay below 2^53, so numbers hold them.
const folder = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const definitions = loader.loadSync(["spatialdb/v1/worker.proto", "meadow.proto"], {
  includeDirs: [folder("proto"), folder("schema")],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
});
const service = definitions["spatialdb.v1.WorkerService"] as loader.ServiceDefinition;
const sheepType = definitions["meadow.Sheep"] as loader.MessageTypeDefinition<Partial<Sheep>, Sheep>;

class Shepherd {
  private seq = 0;
  private seenFrame = 0;
  private readonly places = new Map<number, [number, number, number]>();
  private readonly sheep = new Map<number, Sheep>();

  constructor(private readonly call: grpc.ClientDuplexStream<object, ServerMessage>) {
    call.on("data", (message: ServerMessage) => {
      if (message.body === "frame" && message.frame) this.apply(message.frame);
      if (message.body === "goodbye") console.log("goodbye:", message.goodbye?.reason, message.goodbye?.detail);
    });
  }

  /** Says what it has to say; false while the connection has no room. */
  send(body: object): boolean {
    this.seq += 1; // from 1, without gaps
    return this.call.write({ seq: this.seq, ...body });
  }

  private apply(frame: Frame): void {
    this.seenFrame = frame.frame;
    for (const entity of frame.left.flatMap((left) => left.entities)) {
      this.places.delete(entity);
      this.sheep.delete(entity);
    }
    for (const column of frame.positions) {
      column.entities.forEach((entity, row) => {
        this.places.set(entity, [column.x[row] ?? 0, column.y[row] ?? 0, column.z[row] ?? 0]);
      });
    }
    for (const column of frame.columns.filter((column) => column.component === SHEEP)) {
      column.entities.forEach((entity, row) => {
        const value = column.values[row];
        if (value) this.sheep.set(entity, sheepType.deserialize(value));
      });
    }
    for (const ready of frame.view_ready) console.log("sheep in the meadow:", ready.entity_count);
    for (const rejection of frame.rejections) console.log("refused:", rejection.reason, rejection.detail);
  }

  /** Moves every sheep by one step. */
  step(): boolean {
    const started = performance.now();
    const [entities, x, y, z, values] = [[], [], [], [], []] as [number[], number[], number[], number[], Buffer[]];
    for (const [entity, sheep] of this.sheep) {
      const place = this.places.get(entity);
      if (!place) continue;
      sheep.heading_deg = (sheep.heading_deg + (Math.random() * 2 - 1) * TURN_DEG + 360) % 360;
      if (Math.max(Math.abs(place[0]), Math.abs(place[1])) > EDGE_M) {
        // Back towards the middle.
        sheep.heading_deg = ((Math.atan2(-place[0], -place[1]) * 180) / Math.PI + 360) % 360;
      }
      const heading = (sheep.heading_deg * Math.PI) / 180;
      place[0] += sheep.speed_mps * PERIOD_S * Math.sin(heading);
      place[1] += sheep.speed_mps * PERIOD_S * Math.cos(heading);
      entities.push(entity);
      x.push(place[0]);
      y.push(place[1]);
      z.push(place[2]);
      values.push(sheepType.serialize({ heading_deg: sheep.heading_deg }));
    }
    if (entities.length > 0) {
      // Only the heading is replaced; the other fields stay as they are in the world.
      const headings = { component: SHEEP, entities, values, fields: [HEADING_DEG] };
      this.send({ update: { positions: [{ entities, x, y, z }], columns: [headings] } });
    }
    const tick_ms = performance.now() - started;
    const load = Math.min(1, tick_ms / 1000 / PERIOD_S);
    return this.send({ heartbeat: { load, tick_ms, seen_frame: this.seenFrame } });
  }
}

const address = process.env["SPATIALDB_ADDRESS"] || "127.0.0.1:7400";
const WorkerService = grpc.makeClientConstructor(service as unknown as grpc.ServiceDefinition, "WorkerService");
// With TLS where the environment names the certificates to trust.
const ca = process.env["SPATIALDB_CA"];
const credentials = ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure();
const client = new WorkerService(address, credentials);
const call = (client["Attach"] as () => grpc.ClientDuplexStream<object, ServerMessage>).call(client);
const shepherd = new Shepherd(call);
shepherd.send({
  hello: {
    protocol_min: 1,
    protocol_max: 1,
    worker_type: process.env["SPATIALDB_WORKER_TYPE"] || "shepherd",
    name: process.env["SPATIALDB_WORKER_NAME"] ?? "",
    token: process.env["SPATIALDB_TOKEN"] ?? "",
  },
});
shepherd.send({ subscribe: { view: { view_id: 1, constraint: { has_component: SHEEP } } } });

// A step is left out while the connection has no room for it.
let hasRoom = true;
call.on("drain", () => (hasRoom = true));
const timer = setInterval(() => {
  if (hasRoom) hasRoom = shepherd.step();
}, PERIOD_S * 1000);

function stop(): void {
  clearInterval(timer);
  shepherd.send({ goodbye: {} });
  call.end();
}
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
call.on("error", (error: grpc.ServiceError) => {
  console.error(`worker: ${grpc.status[error.code]}: ${error.details}`);
  process.exitCode = 1;
});
// However the session ends, nothing is left to do.
call.on("status", () => {
  clearInterval(timer);
  client.close();
});
