// Proves the page in a real browser against real worlds, and measures it. Prints one JSON object.
//
//   node test/page.mjs [--aircraft 20000] [--seconds 10] [--screenshots DIR] [--fresh]
//
// With --fresh the page comes from dist/ and not out of the server. SPATIALDB_BIN is the folder of the programs.
//
// It checks: dots of every kind are drawn and move, panning and zooming change the view, hovering tells what is there,
// ids above 2^32 survive, the page attaches again when the server comes back, and the longest task of the main thread
// takes less than LIMIT_MS of the processor while dots move. (By the clock it is longer when others use the machine.)
import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { fly, launch, openBrowser, openPage, root, run, stopAll } from "./world.mjs";

const LIMIT_MS = 50;
const { values: options } = parseArgs({
  options: {
    aircraft: { type: "string", default: "20000" },
    seconds: { type: "string", default: "10" },
    screenshots: { type: "string" },
    fresh: { type: "boolean", default: false },
  },
});
const aircraft = Number(options.aircraft);
const result = { page: options.fresh ? "dist" : "server" };

/** Waits until `check` holds in the page. */
const until = (page, check, argument) => page.waitForFunction(check, argument, { timeout: 30_000, polling: 100 });

/** What the page knows of itself. */
const look = (page) => page.evaluate(() => {
  const { worker, dots, camera, rates } = globalThis.spatialdbPage;
  return {
    size: worker.replica.size, drawn: dots.last.drawn, moving: dots.last.moving, frame: worker.replica.frame, session: worker.isConnected,
    metresPerPixel: camera.metresPerPixel, movesHz: rates.movesHz, drawMs: rates.drawMs,
  };
});

/** How many pixels of the canvas have the colour of the component: as it is drawn bright, or dim in any level. */
const pixelsOf = (page, component, how) => page.evaluate(([component, how]) => {
  const { worker, bright, dim } = globalThis.spatialdbPage;
  const own = [...worker.components].filter(([id]) => id >= 1000).sort(([a], [b]) => a - b);
  const kind = own.findIndex(([, name]) => name === component);
  const colours = new Set(how === "bright" ? [bright[kind]] : dim[kind]);
  const canvas = document.getElementById("dots");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Uint32Array(data.buffer).reduce((found, pixel) => found + (colours.has(pixel) ? 1 : 0), 0);
}, [component, how]);

/** Where the moving dots are, as one text: changes when they move. */
const movers = (page) => page.evaluate(() => {
  const { rows } = globalThis.spatialdbPage.worker.replica;
  let sum = 0;
  for (let row = 0; row < rows.end; row++) if (rows.placed[row] === 1 && rows.movedAt[row] !== 0) sum += rows.x[row] + rows.y[row];
  return sum;
});

const shoot = async (page, name) => {
  if (options.screenshots !== undefined) await page.screenshot({ path: `${options.screenshots}/${name}.png` });
};

/** The longest tasks of the page's main thread while `during` runs, in ms: by the clock, and of the processor. */
async function longestTask(browser, page, during) {
  const categories = ["toplevel", "disabled-by-default-devtools.timeline", "blink.user_timing", "__metadata"];
  await browser.startTracing(undefined, { categories });
  await during();
  // Says which of the browser's processes is the page's.
  await page().evaluate(() => performance.mark("spatialdb-page"));
  const { traceEvents } = JSON.parse(String(await browser.stopTracing()));
  const { pid } = traceEvents.find((event) => event.name === "spatialdb-page");
  const { tid } = traceEvents.find((event) => event.pid === pid && event.name === "thread_name" && event.args.name === "CrRendererMain");
  const tasks = traceEvents.filter((event) => event.pid === pid && event.tid === tid && event.ph === "X" && event.name.endsWith("RunTask"));
  assert.ok(tasks.length > 0, "no tasks in the trace");
  const most = (of) => Math.max(...tasks.map(of)) / 1000;
  return { wallMs: most((task) => task.dur), cpuMs: most((task) => task.tdur ?? 0) };
}

async function earth(browser) {
  const { address } = await launch(`${root}snapshots/earth.snapshot`);
  let opened;
  result.longestTaskFilling = await longestTask(browser, () => opened.page, async () => {
    opened = await openPage(browser, address, options.fresh);
    await until(opened.page, () => globalThis.spatialdbPage?.dots.last.drawn > 0);
  });
  const { page, errors } = opened;
  const still = await look(page);
  assert.ok(still.drawn > 140_000, `${still.drawn} dots drawn of the cities and airports`);
  fly(address, aircraft);
  await until(page, (most) => globalThis.spatialdbPage.dots.last.moving > most, aircraft * 0.95);
  const full = await look(page);
  result.inView = full.size;
  result.movingDots = full.moving;
  result.pixels = { aircraft: await pixelsOf(page, "earth.Aircraft", "bright"), cities: await pixelsOf(page, "earth.City", "dim") };
  assert.ok(result.pixels.aircraft > aircraft, "aircraft are drawn bright");
  assert.ok(result.pixels.cities > 20_000, "cities are drawn dim");
  const before = await movers(page);
  await page.waitForTimeout(1500);
  assert.notEqual(await movers(page), before, "aircraft move");
  await shoot(page, "world");

  const atRest = () => longestTask(browser, () => page, () => page.waitForTimeout(Number(options.seconds) * 1000));
  result.longestTask = await atRest();
  // A machine that others use has bad moments; a page that is slow is slow twice.
  if (result.longestTask.cpuMs >= LIMIT_MS) result.longestTask = await atRest();
  result.positionsHz = Math.round((await look(page)).movesHz);
  result.drawMs = (await look(page)).drawMs;

  // Zoom about Europe: the place under the pointer stays, and the view narrows to what is visible.
  const at = { x: 820, y: 260 };
  await page.mouse.move(at.x, at.y);
  const place = () => page.evaluate(({ x, y }) => globalThis.spatialdbPage.camera.at(x, y), at);
  const held = await place();
  const zoom = longestTask(browser, () => page, async () => {
    for (let turn = 0; turn < 8; turn++) {
      await page.mouse.wheel(0, -200);
      await page.waitForTimeout(120);
    }
    await until(page, (size) => globalThis.spatialdbPage.worker.replica.size < size / 4, full.size);
  });
  result.longestTaskZooming = await zoom;
  const after = await place();
  const close = await look(page);
  assert.ok(Math.hypot(after.x - held.x, after.y - held.y) < close.metresPerPixel, "the place under the pointer stays");
  result.zoomed = { inView: close.size, metresPerPixel: close.metresPerPixel };

  // Drag: the world goes with the pointer, and what comes into view is filled.
  const centre = await page.evaluate(() => globalThis.spatialdbPage.camera.x);
  await page.mouse.move(1200, 450);
  await page.mouse.down();
  await page.mouse.move(500, 450, { steps: 10 });
  await page.mouse.up();
  const moved = await page.evaluate(() => globalThis.spatialdbPage.camera.x);
  assert.ok(Math.abs(moved - centre - 700 * close.metresPerPixel) < 2 * close.metresPerPixel, "dragging pans by what the pointer moved");
  await until(page, () => {
    const { worker, camera } = globalThis.spatialdbPage;
    const { minX, maxX } = camera.visible();
    const { rows } = worker.replica;
    let [inRight, outside] = [0, 0];
    for (let row = 0; row < rows.end; row++) {
      if (rows.placed[row] !== 1) continue;
      if (rows.x[row] > (minX + maxX) / 2 && rows.x[row] < maxX) inRight++;
      if (rows.x[row] < minX - (maxX - minX) || rows.x[row] > maxX + (maxX - minX)) outside++;
    }
    return inRight > 50 && outside === 0;
  });

  // Hover over something that stands still: a city or an airport.
  const target = await page.evaluate(() => {
    const { worker, camera } = globalThis.spatialdbPage;
    const { rows } = worker.replica;
    const column = worker.replica.column("earth.City");
    for (let row = 0; row < rows.end; row++) {
      if (rows.placed[row] !== 1 || !column.has(row)) continue;
      const x = 800 + (rows.x[row] - camera.x) / camera.metresPerPixel;
      const y = 450 - (rows.y[row] - camera.y) / camera.metresPerPixel;
      if (x > 900 && x < 1200 && y > 200 && y < 700) return { x, y };
    }
    throw new Error("no city is on the canvas");
  });
  await page.mouse.move(target.x, target.y);
  await until(page, () => getComputedStyle(document.getElementById("card")).display === "block" && document.querySelector("#card h3") !== null);
  const card = await page.locator("#card").innerText();
  result.card = card.split("\n").slice(0, 3);
  assert.match(card, /spatialdb\.v1\.Position/);
  assert.match(card, /earth\.(City|Airport|Aircraft)/);
  assert.match(card, /population|icao|callsign/, "fields show by name");
  await shoot(page, "hover");
  assert.deepEqual(errors, []);
  await page.close();
}

/** A world of one entity whose id is near 2^53, as it would lose its last digits as a double of JSON. */
async function largeId(browser) {
  const id = 2n ** 53n - 1n - 10n;
  const folder = await mkdtemp(`${tmpdir()}/spatialdb-page-`);
  const entity = { id: String(id), components: { "spatialdb.v1.Position": { x: 10, y: 20 }, "spatialdb.v1.Metadata": { type: "lighthouse", name: "far out" }, "earth.City": { population: 7 } } };
  await writeFile(`${folder}/one.jsonl`, `${JSON.stringify(entity)}\n`);
  await run("spatialdb", ["snapshot", "convert", `${folder}/one.jsonl`, `${folder}/one.snapshot`, "--schema", `${root}snapshots/earth/schema`]);
  const server = await launch(`${folder}/one.snapshot`);
  const { page, errors } = await openPage(browser, server.address, options.fresh);
  await until(page, () => globalThis.spatialdbPage?.dots.last.drawn === 1);
  await page.mouse.move(800, 450);
  await until(page, () => document.querySelector("#card h2")?.textContent === "far out" && getComputedStyle(document.getElementById("card")).display === "block");
  assert.equal(await page.locator("#card .id").innerText(), `lighthouse ${id}`);
  assert.match(await page.locator("#card").innerText(), /population\s+7/);
  result.largeId = await page.evaluate(() => String([...globalThis.spatialdbPage.worker.replica.keys()][0]));
  assert.equal(result.largeId, String(id));
  await shoot(page, "one");
  assert.deepEqual(errors, []);

  // The server dies and comes back under its address: the page says so, attaches again, and shows what there is.
  await server.kill();
  await until(page, () => document.getElementById("light").className === "down");
  await shoot(page, "down");
  await launch(`${folder}/one.snapshot`, server.address);
  await until(page, () => document.getElementById("light").className === "up" && globalThis.spatialdbPage.dots.last.drawn === 1);
  assert.equal(await page.evaluate(() => String([...globalThis.spatialdbPage.worker.replica.keys()][0])), String(id));
  result.reconnected = true;
  await page.close();
}

const browser = await openBrowser();
try {
  await largeId(browser);
  await earth(browser);
  assert.ok(result.longestTask.cpuMs < LIMIT_MS, `the longest task took ${result.longestTask.cpuMs} ms of the processor, the limit is ${LIMIT_MS}`);
  console.log(JSON.stringify(result));
} catch (error) {
  console.error(JSON.stringify(result));
  throw error;
} finally {
  await browser.close();
  await stopAll();
}
