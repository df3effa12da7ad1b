// How many positions one process writes and receives a second. Prints JSON lines.
//
//   SPATIALDB_ADDRESS=127.0.0.1:7400 node bench.mjs [--entities 20000] [--seconds 5] [--web]
//
// On a world of its own: it creates entities and deletes them at the end. To prepare: npm ci && npm run build.
import { parseArgs } from "node:util";
import { all, connect } from "./dist/src/node.js";

const { values } = parseArgs({ options: { entities: { type: "string", default: "20000" }, seconds: { type: "string", default: "5" }, web: { type: "boolean", default: false } } });
const count = Number(values.entities);
const transport = values.web ? "web" : "attach";
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const writer = await connect({ workerType: "bench", name: "writer" });
const ids = Float64Array.from(await writer.create(Array.from({ length: count }, (_, row) => ({ position: { x: row, y: 0 } }))), Number);
const [x, y] = [Float64Array.from(ids), new Float64Array(count)];
const reader = await connect({ workerType: "bench", name: "reader", transport });
let received = 0;
reader.on("frame", ({ moved }) => { for (const ids of moved) received += ids.length; });
await reader.subscribe({ where: all(), components: ["spatialdb.v1.Position"] }).ready;

const cpu = () => process.cpuUsage().user + process.cpuUsage().system;
let [written, rounds] = [0, 0];
received = 0;
const [began, cpuBegan] = [performance.now(), cpu()];
while (performance.now() - began < Number(values.seconds) * 1000) {
  x.fill(++rounds);
  await writer.move(ids, x, y);
  written += count;
  // Lets frames in; the writer alone would keep the loop.
  await new Promise(setImmediate);
}
await writer.decided();
const seconds = (performance.now() - began) / 1000;
const cpuS = (cpu() - cpuBegan) / 1e6;
for (let wait = 0; wait < 100 && reader.replica.get(BigInt(ids[count - 1])).position.x !== rounds; wait++) await sleep(20);
const last = ids.every((id) => reader.replica.get(BigInt(id)).position.x === rounds);
console.log(JSON.stringify({ transport, entities: count, seconds, writtenHz: Math.round(written / seconds), receivedHz: Math.round(received / seconds), cpuShare: cpuS / seconds, lastPositionsRight: last }));
await writer.delete(ids);
await Promise.all([writer.close(), reader.close()]);
if (!last) process.exitCode = 1;
