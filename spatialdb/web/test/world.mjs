// Starts real worlds and a real browser for the test of the page.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = fileURLToPath(new URL("../../../", import.meta.url));
const web = fileURLToPath(new URL("../", import.meta.url));
const built = process.env.SPATIALDB_BIN ?? `${process.env.CARGO_TARGET_DIR ?? `${root}target`}/release`;
const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const READY_MS = 20_000;

const children = [];

export function program(name) {
  const path = `${built}/${name}`;
  if (!existsSync(path)) throw new Error(`${path} is not there: build it, or set SPATIALDB_BIN to its folder`);
  return path;
}

/** Starts a server of a snapshot, on a free port if none is given; resolves with its address and how to kill it. */
export async function launch(snapshot, listen = "127.0.0.1:0") {
  const child = spawn(program("spatialdb"), ["launch", snapshot, "--listen", listen, "--log", "warn"], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const ready = (async () => {
    for await (const line of createInterface({ input: child.stdout })) if (line.startsWith("ready ")) return line.slice(6).trim();
    throw new Error(`spatialdb launch ${snapshot} ended before it was ready`);
  })();
  const address = await withDeadline(ready, READY_MS, "the server to be ready");
  const kill = () => new Promise((resolve) => {
    child.on("exit", resolve);
    child.kill("SIGKILL");
  });
  return { address, kill };
}

/** Starts the flight worker on the world. */
export function fly(address, aircraft) {
  const env = { ...process.env, SPATIALDB_ADDRESS: address, SPATIALDB_WORKER_TYPE: "flight", RUST_LOG: "warn" };
  children.push(spawn(program("spatialdb-flight"), ["--aircraft", String(aircraft), "--rate-hz", "10"], { env, stdio: ["ignore", "ignore", "inherit"] }));
}

export async function run(name, args) {
  const child = spawn(program(name), args, { stdio: ["ignore", "ignore", "inherit"] });
  const code = await new Promise((resolve) => child.on("exit", resolve));
  if (code !== 0) throw new Error(`${name} ${args.join(" ")} ended with ${code}`);
}

export async function openBrowser() {
  const executablePath = BROWSERS.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined) throw new Error("no Chromium found: install chromium, or set CHROMIUM to its path");
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/**
 * Opens the page of the server. With `fresh` the files of src/ and dist/ are given to the browser in its place, under the same
 * origin: a changed page is tried without building the server.
 */
export async function openPage(browser, address, fresh) {
  const page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
  const url = `http://${address}/`;
  if (fresh) {
    for (const [path, file, contentType] of [["/", "src/index.html", "text/html"], ["/page.js", "dist/page.js", "text/javascript"]]) {
      const body = await readFile(web + file);
      await page.route((asked) => asked.host === address && asked.pathname === path, (route) => route.fulfill({ body, contentType }));
    }
  }
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  await page.goto(url);
  return { page, errors };
}

export function withDeadline(promise, limitMs, what) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`waited ${limitMs} ms for ${what}`)), limitMs); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Ends what was started here. */
export async function stopAll() {
  for (const child of children.reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.on("exit", resolve));
    child.kill("SIGTERM");
    await withDeadline(ended, 8000, "a process to end").catch(() => child.kill("SIGKILL"));
  }
}
