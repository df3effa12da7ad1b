// Lets the sheep walk, ten times a second, and keeps them in the meadow. It moves those that it owns.
//
// spatialdb starts it with the world and tells it by the environment where the world is; it may as well be started by
// hand: `--replace shepherd-1` takes the place of the one that the world has started.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";
import { Authority, type Layer, type Word } from "./authority.js";

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
  rejections: { code: string; reason: string; detail: string }[];
}
interface ServerMessage {
  body?: "welcome" | "frame" | "authority" | "goodbye" | string;
  welcome?: { layers: Layer[] };
  frame?: Frame;
  authority?: Word;
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

/** It keeps nothing that is not in the world: another shepherd may go on with any sheep. */
class Shepherd {
  private seq = 0;
  private seenFrame = 0;
  private authority = new Authority([]);
  private isFilled = false;
  private readonly places = new Map<number, [number, number, number]>();
  private readonly sheep = new Map<number, Sheep>();

  constructor(private readonly call: grpc.ClientDuplexStream<object, ServerMessage>) {
    call.on("data", (message: ServerMessage) => {
      if (message.welcome) this.authority = new Authority(message.welcome.layers);
      if (message.frame) this.apply(message.frame);
      if (message.authority) this.report(this.authority.hear(message.authority));
      // Its view has all sheep, so it sees what is in the regions that it may get.
      if (this.isFilled) this.report(this.authority.warmed());
      if (message.goodbye) console.log("goodbye:", message.goodbye.reason, message.goodbye.detail);
      if (this.authority.isDrained) stop();
    });
  }

  private report(report: object | undefined): void {
    if (report) this.send({ authority_report: report });
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
    for (const ready of frame.view_ready) {
      this.isFilled = true;
      console.log("sheep in the meadow:", ready.entity_count);
    }
    for (const { code, reason, detail } of frame.rejections) {
      // Somebody else may have got the sheep while the write was on its way.
      if (code !== "ERROR_CODE_NOT_AUTHORITATIVE") console.log("refused:", reason, detail);
    }
  }

  /** Moves every sheep of its own by one step, from where the world has it. */
  step(): boolean {
    const started = performance.now();
    const [entities, x, y, z, values] = [[], [], [], [], []] as [number[], number[], number[], number[], Buffer[]];
    for (const [entity, sheep] of this.sheep) {
      const place = this.places.get(entity);
      if (!place || !this.authority.owns(entity, SHEEP)) continue;
      let heading_deg = (sheep.heading_deg + (Math.random() * 2 - 1) * TURN_DEG + 360) % 360;
      if (Math.max(Math.abs(place[0]), Math.abs(place[1])) > EDGE_M) {
        // Back towards the middle.
        heading_deg = ((Math.atan2(-place[0], -place[1]) * 180) / Math.PI + 360) % 360;
      }
      const heading = (heading_deg * Math.PI) / 180;
      entities.push(entity);
      x.push(place[0] + sheep.speed_mps * PERIOD_S * Math.sin(heading));
      y.push(place[1] + sheep.speed_mps * PERIOD_S * Math.cos(heading));
      z.push(place[2]);
      values.push(sheepType.serialize({ heading_deg }));
    }
    if (entities.length > 0) {
      // Only the heading is replaced; the other fields stay as they are in the world.
      const headings = { component: SHEEP, entities, values, fields: [HEADING_DEG] };
      const authority_seen = this.authority.seen;
      this.send({ update: { authority_seen, positions: [{ entities, x, y, z }], columns: [headings] } });
    }
    const tick_ms = performance.now() - started;
    const load = Math.min(1, tick_ms / 1000 / PERIOD_S);
    return this.send({ heartbeat: { load, tick_ms, seen_frame: this.seenFrame } });
  }
}

const { values: options } = parseArgs({ options: { replace: { type: "string" } } });
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
    name: options.replace ?? process.env["SPATIALDB_WORKER_NAME"] ?? "",
    token: process.env["SPATIALDB_TOKEN"] ?? "",
  },
});
// With its own updates it sees what the world has, and each step goes on from that.
shepherd.send({ subscribe: { view: { view_id: 1, constraint: { has_component: SHEEP }, own_updates: true } } });

// A step is left out while the connection has no room for it.
let hasRoom = true;
call.on("drain", () => (hasRoom = true));
const timer = setInterval(() => {
  if (hasRoom) hasRoom = shepherd.step();
}, PERIOD_S * 1000);

let isStopped = false;
function stop(): void {
  if (isStopped) return;
  isStopped = true;
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
