// The page at /: one view of the world as dots. Connects, keeps the view to what is visible, says what is under the pointer.
import { connect, Follower, has, type DecodedComponent } from "../../../workers/typescript/src/browser.js";
import { Camera } from "./camera.js";
import { BRIGHT, COLOURS, DIM, Dots } from "./draw.js";
const [POSITION, METADATA] = ["spatialdb.v1.Position", "spatialdb.v1.Metadata"];
// The view reaches further than the canvas, so that a short drag shows no empty edge.
const [RATE_HZ, MARGIN, OWN_COMPONENTS_FROM] = [20, 0.25, 1000];
const byId = (id: string) => document.getElementById(id)!;
let dirty = true;
const [canvas, changed] = [byId("dots") as HTMLCanvasElement, () => { dirty = true; }];
const [camera, dots] = [new Camera(canvas, changed), new Dots(canvas.getContext("2d", { alpha: false })!)];
addEventListener("resize", changed);
const count = (value: number) => Math.round(value).toLocaleString("en");
const length = (metres: number) => Math.abs(metres) >= 1000 ? `${Math.round(metres / 100) / 10} km` : `${Math.round(metres * 100) / 100} m`;
const element = (tag: string, textContent: string, className = "") => Object.assign(document.createElement(tag), { textContent, className });
const brief = (value: unknown) => typeof value === "number" ? String(+value.toFixed(3)) : typeof value === "object" ? JSON.stringify(value) : String(value);
/** Pairs of a name and a value, as terms of a list; a third text is the colour of a dot before the name. */
const terms = (rows: readonly (readonly string[])[]) => rows.flatMap(([name, value, colour]) => {
  const term = element("dt", name!);
  if (colour !== undefined) term.style.setProperty("--dot", colour);
  return [term, element("dd", value!)];
});
const say = (light: "up" | "down", state: string) => { byId("light").className = light; byId("state").textContent = state; };
async function run(): Promise<void> {
  /** Of http://HOST/#token=TOKEN, and of this tab since: what follows # is never sent. */ const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token") ?? ""; sessionStorage.setItem("token", token);
  const worker = await connect({ workerType: "viewer", token, instance: navigator.userAgent.slice(0, 120), patienceMs: Infinity });
  let schema = await worker.world.schema();
  /** The world's own components, in order: they give the colours. */
  const own = () => [...worker.components].filter(([id]) => id >= OWN_COMPONENTS_FROM).sort(([a], [b]) => a - b);
  byId("world").textContent = document.title = (await worker.world.get()).name || "a world";
  const rates = { frames: 0, moves: 0, since: performance.now(), framesHz: 0, movesHz: 0, drawMs: 0 };
  worker.on("frame", (changes) => { rates.frames++; for (const ids of changes.moved) rates.moves += ids.length; changed(); });
  worker.on("disconnected", ({ error }) => say("down", `connecting again: ${error.detail}`));
  worker.on("reconnected", () => say("up", "connected"));
  worker.on("closed", (error) => say("down", error?.message ?? "closed"));
  // The view follows the camera: first all there is, then what is visible.
  say("up", "connected, filling");
  const look = (where = has(POSITION!)) => ({ where, components: [POSITION!, ...own().map(([id]) => id)], rateHz: RATE_HZ });
  const view = worker.subscribe(look());
  await view.ready;
  const [x, y, metresPerPixel] = location.hash.slice(1).split(",").map(Number);
  if (x !== undefined && y !== undefined && metresPerPixel! > 0) Object.assign(camera, { x, y, metresPerPixel });
  else camera.fit(worker.replica.bounds() ?? { minX: -1000, minY: -1000, maxX: 1000, maxY: 1000 });
  say("up", "connected");
  const follower = new Follower(view, MARGIN, look);
  worker.on("schema", () => void worker.world.schema().then((read) => { [schema, follower.shown] = [read, undefined]; }, () => undefined));
  const follow = () => follower.to(camera.visible()).then((changed) => {
    if (changed) history.replaceState(null, "", `#${camera.x.toFixed(1)},${camera.y.toFixed(1)},${camera.metresPerPixel.toPrecision(4)}`);
  }, (error: Error) => say("down", error.message));
  // What is under the pointer: asked for once it changes, then twice a second.
  let [hovered, described, describing] = [0n, 0n, false];
  async function describe(): Promise<void> {
    if (hovered === 0n || describing) return;
    const id = hovered;
    describing = true;
    await worker.world.describe(id, schema).then((components) => { showCard(id, components); described = id; }, () => undefined);
    [describing, dirty] = [false, true];
    if (id !== hovered) void describe();
  }
  function showCard(id: bigint, components: readonly DecodedComponent[]): void {
    const { type = "", name = "" } = components.find(({ name }) => name === METADATA)?.fields ?? {};
    byId("card").replaceChildren(element("h2", String(name || type || "entity")), element("div", `${String(type)} ${id}`.trim(), "id"));
    for (const { name, fields } of components.filter(({ name }) => name !== METADATA)) {
      byId("card").append(element("h3", name), element("dl", ""));
      byId("card").lastElementChild!.append(...terms(Object.entries(fields).map(([field, value]) => [field, brief(value)])));
    }
  }
  function hover(): void {
    const id = dots.last.nearest < 0 ? 0n : BigInt(worker.replica.rows.ids[dots.last.nearest]!);
    const card = byId("card");
    card.style.display = id !== 0n && described === id ? "block" : "none";
    if (camera.pointer !== undefined) {
      const [{ x, y }, place] = [camera.pointer, camera.at(camera.pointer.x, camera.pointer.y)];
      card.style.left = `${x + 320 > innerWidth ? x - 316 : x + 16}px`;
      card.style.top = `${Math.max(8, Math.min(y + 16, innerHeight - card.offsetHeight - 8))}px`;
      byId("place").textContent = `x ${length(place.x)}   y ${length(place.y)}`;
    }
    if (id !== hovered) void ([hovered] = [id], describe());
  }
  function step(): void {
    requestAnimationFrame(step);
    if (!dirty) return;
    const began = performance.now();
    dirty = false;
    // The grid's step, which the scale shows: 1, 2 or 5 times a power of ten.
    const power = 10 ** Math.floor(Math.log10(120 * camera.metresPerPixel));
    const grid = power * ([5, 2].find((times) => times * power <= 120 * camera.metresPerPixel) ?? 1);
    dots.draw(worker.replica, own().map(([id]) => id), camera, grid);
    hover();
    [byId("length").textContent, byId("bar").style.width] = [length(grid), `${grid / camera.metresPerPixel}px`];
    rates.drawMs = performance.now() - began;
  }
  function tell(): void {
    const seconds = (performance.now() - rates.since) / 1000;
    Object.assign(rates, { framesHz: rates.frames / seconds, movesHz: rates.moves / seconds, frames: 0, moves: 0, since: performance.now() });
    byId("counters").replaceChildren(...terms([
      ["entities in view", count(worker.replica.size)], ["moving", count(dots.last.moving)], ["positions / s", count(rates.movesHz)],
      ["frames / s", rates.framesHz.toFixed(1)], ["frame", count(worker.replica.frame)], ["drawing", `${rates.drawMs.toFixed(1)} ms`],
    ]));
    const seen = own().map(([id, name], index) => ({ name, amount: worker.replica.column(id)?.count ?? 0, colour: COLOURS[index] ?? COLOURS.at(-1)! }));
    byId("legend").replaceChildren(...terms(seen.filter(({ amount }) => amount > 0).map(({ name, amount, colour }) => [name, count(amount), `rgb(${colour.join(" ")})`])));
    worker.heartbeat(rates.drawMs * rates.framesHz / 1000, rates.drawMs);
  }
  for (const start of [step, tell]) start();
  for (const [act, everyMs] of [[follow, 120], [describe, 500], [tell, 1000]] as const) setInterval(() => void act(), everyMs);
  Object.assign(globalThis, { spatialdbPage: { worker, camera, dots, rates, changed, dim: DIM, bright: BRIGHT } });
}
// Once attached the worker connects again by itself; before, the page starts anew.
run().catch((error: Error) => { say("down", error.message); setTimeout(() => location.reload(), 5000); });
