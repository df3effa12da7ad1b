// The loop of a worker that goes by ticks.
//
// Responsible for: ticks, heartbeats, letting go of regions, the end of the program: by a signal, or because the worker was
// drained. Not responsible for: what is simulated.

import type { Region } from "./authority.js";
import { invalid, SpatialdbError } from "./errors.js";
import type { Worker } from "./worker.js";

// Well below the shortest `lease_ttl` that a world may have (750 ms).
const HEARTBEAT_MS = 250;

export interface RunOptions {
  /**
   * One step: reads the replica, and writes what `owned` gives. Called only while the worker `isReady`. It keeps nothing
   * that is not in the world as well: another worker may have what it owns at any moment. What it throws ends the worker,
   * but for DISCONNECTED.
   */
  tick: (worker: Worker) => void | Promise<void>;
  /** From tick to tick, 100 if left out; one that takes longer puts the next ones off. */
  periodMs?: number;
  /**
   * Others are about to get these regions: writes what is not in the world yet. When it is done the worker has let go of
   * them. Also called, with all regions, before the worker ends.
   */
  beforeLoss?: (worker: Worker, regions: readonly Region[]) => void | Promise<void>;
  /** The worker ends, and may still write what it owns: the last call of all. */
  beforeEnd?: (worker: Worker) => void | Promise<void>;
  /** Ends the worker when it is aborted. */
  stop?: AbortSignal;
}

/** See `Worker.run`. @internal */
export async function run(worker: Worker, options: RunOptions): Promise<void> {
  const { tick, periodMs = 100, beforeLoss, beforeEnd, stop } = options;
  if (!(periodMs > 0)) throw invalid(`periodMs is ${periodMs}; it must be more than 0`);
  const turns = new Turns();
  const end = new End(worker, stop);
  const forget = worker.on("lossImminent", async ({ region }) => {
    await turns.take(() => beforeLoss?.(worker, [region])).catch((error) => end.fail(error));
  });
  let [tickAt, beatAt, busyMs] = [performance.now(), performance.now(), 0];
  try {
    while (!end.isOver) {
      const started = performance.now();
      if (started >= tickAt) {
        if (worker.isReady) {
          await turns.take(() => tick(worker));
          busyMs = performance.now() - started;
        }
        tickAt = Math.max(performance.now(), started + periodMs);
      }
      if (performance.now() >= beatAt) {
        worker.heartbeat(Math.min(1, busyMs / periodMs), busyMs);
        beatAt = performance.now() + HEARTBEAT_MS;
      }
      await end.orAfter(Math.min(tickAt, beatAt) - performance.now());
    }
    await turns.take(() => beforeLoss?.(worker, [...worker.regions.values()]));
    await turns.take(() => beforeEnd?.(worker));
  } finally {
    forget();
    end.forget();
    await worker.close();
  }
  if (end.error !== undefined) throw end.error;
}

/** What the worker does it does one after the other. */
class Turns {
  #last: Promise<unknown> = Promise.resolve();

  take(act: () => void | Promise<void>): Promise<void> {
    const turn = this.#last.then(act).catch((error: unknown) => {
      // Without a session nobody can write: what the world has counts, and the next tick goes on from there.
      if (!(error instanceof SpatialdbError) || error.reason !== "DISCONNECTED") throw error;
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** The part of Node's `process` that browsers lack. */
interface Signals {
  on?(signal: string, listener: () => void): unknown;
  off?(signal: string, listener: () => void): unknown;
}

/** The end of a run. */
class End {
  isOver = false;
  error: unknown;
  #tell: () => void = () => undefined;
  readonly #come = new Promise<void>((resolve) => { this.#tell = resolve; });
  readonly #forget: (() => void)[];

  constructor(worker: Worker, stop: AbortSignal | undefined) {
    const over = () => this.#over();
    stop?.addEventListener("abort", over);
    const { process } = globalThis as { process?: Signals };
    for (const signal of ["SIGTERM", "SIGINT"] as const) process?.on?.(signal, over);
    this.#forget = [
      worker.on("drained", over),
      worker.on("closed", (error) => error === undefined ? over() : this.fail(error)),
      () => stop?.removeEventListener("abort", over),
      () => { for (const signal of ["SIGTERM", "SIGINT"] as const) process?.off?.(signal, over); },
    ];
    if (stop?.aborted) over();
  }

  fail(error: unknown): void {
    this.error ??= error;
    this.#over();
  }

  forget(): void {
    for (const forget of this.#forget) forget();
  }

  /** Waits so long, or until the end has come. */
  async orAfter(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([this.#come, new Promise((resolve) => { timer = setTimeout(resolve, Math.max(0, ms)); })]);
    clearTimeout(timer);
  }

  #over(): void {
    this.isOver = true;
    this.#tell();
  }
}
