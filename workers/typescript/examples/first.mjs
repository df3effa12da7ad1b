// Shows what is around Paris, and sends up a balloon there that drifts east until ctrl-c.
import { box, component, connect, MetadataSchema, PositionSchema } from "@spatialdb/sdk";

const worker = await connect({ workerType: "first" });
const paris = { x: 261_000, y: 5_431_000 };
const view = worker.subscribe({ where: box({ x: paris.x - 20_000, y: paris.y - 20_000 }, { x: paris.x + 20_000, y: paris.y + 20_000 }) });
console.log("in view:", await view.ready);
for (const [id, { type, name }] of worker.replica.with(MetadataSchema)) console.log(id, type, name);

const [balloon] = await worker.create([{ position: paris, components: [component(MetadataSchema, { type: "balloon", name: "Ballon rouge" })] }]);
await worker.update(balloon, MetadataSchema, { name: "Le ballon rouge" }); // the type stays

// Until ctrl-c. In a world with layers another worker may own the balloon: this one then leaves it alone.
let x = paris.x;
const tick = async () => {
  if (worker.owns(balloon, PositionSchema)) await worker.move([balloon], Float64Array.of(x++), Float64Array.of(paris.y), Float64Array.of(300));
};
const beforeLoss = async (_, regions) => {
  if (regions.length === 0) await worker.delete(balloon); // the world is open, and the worker is about to end
};
await worker.run({ tick, beforeLoss });
