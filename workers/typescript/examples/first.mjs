// Shows what is around Paris, and sends up a balloon there that drifts east until ctrl-c.
import { box, component, connect, MetadataSchema } from "@spatialdb/sdk";

const worker = await connect({ workerType: "first" });
const paris = { x: 261_000, y: 5_431_000 };
const view = worker.subscribe({ where: box({ x: paris.x - 20_000, y: paris.y - 20_000 }, { x: paris.x + 20_000, y: paris.y + 20_000 }) });
console.log("in view:", await view.ready);
for (const [id, { type, name }] of worker.replica.with(MetadataSchema)) console.log(id, type, name);

const [balloon] = await worker.create([{ position: paris, components: [component(MetadataSchema, { type: "balloon", name: "Ballon rouge" })] }]);
await worker.update(balloon, MetadataSchema, { name: "Le ballon rouge" }); // the type stays
let running = true;
process.once("SIGINT", () => (running = false)).once("SIGTERM", () => (running = false));
for (let tick = 0; running; tick++) {
  await worker.move([balloon], Float64Array.of(paris.x + tick), Float64Array.of(paris.y), Float64Array.of(300));
  if (tick % 10 === 0) worker.heartbeat();
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await worker.delete(balloon);
await worker.close();
