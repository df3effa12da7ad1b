// How long a newcomer waits: from a clone of this repository to a picture of the earth world in a browser.
//
//   node test/first-picture.mjs PICTURE.png
//
// Prints one JSON object, in seconds. Cargo, pip and npm take from their caches what is there: empty them for the time
// of a fresh machine.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { openBrowser, root } from "./world.mjs";

const ADDRESS = "127.0.0.1:7533";
const [picture] = process.argv.slice(2);
if (picture === undefined) throw new Error("usage: node test/first-picture.mjs PICTURE.png");

const folder = await mkdtemp(`${tmpdir()}/spatialdb-clone-`);
const started = performance.now();
const seconds = () => Math.round((performance.now() - started) / 1000);
const script = `git clone -q "${root}" "${folder}/spatialdb" && cd "${folder}/spatialdb" && exec make run ARGS="--listen ${ADDRESS}"`;
// A group of its own, so that all of it can be ended; its words go to stderr.
const newcomer = spawn("bash", ["-c", script], { detached: true, stdio: ["ignore", 2, "inherit"] });
let code;
const ended = new Promise((resolve) => newcomer.on("exit", (status) => resolve(code = status)));
try {
  const answers = () => fetch(`http://${ADDRESS}/`).then(({ ok }) => ok, () => false);
  while (!(await answers())) {
    if (code !== undefined) throw new Error(`make run ended with ${code}`);
    await sleep(500);
  }
  const page = seconds();
  const browser = await openBrowser();
  const tab = await browser.newPage({ viewport: { width: 1200, height: 700 } });
  await tab.goto(`http://${ADDRESS}/`);
  await tab.waitForFunction(() => globalThis.spatialdbPage?.dots.last.drawn > 100_000, undefined, { timeout: 60_000 });
  await tab.screenshot({ path: picture });
  console.log(JSON.stringify({ page_s: page, picture_s: seconds() }));
  await browser.close();
} finally {
  if (code === undefined) process.kill(-newcomer.pid, "SIGTERM");
  await ended;
  await rm(folder, { recursive: true });
}
