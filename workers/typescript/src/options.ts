// How a worker connects.
//
// Responsible for: the settings, their defaults and bounds.

import { invalid } from "./errors.js";

export interface ConnectOptions {
  /**
   * host:port, or a URL. In Node the default is SPATIALDB_ADDRESS, else 127.0.0.1:7400; in a browser the page's server.
   */
  address?: string;
  /** What kind of worker this is: 1 to 64 of a-z, 0-9, "_", "-", ".". In Node SPATIALDB_WORKER_TYPE wins over it. */
  workerType: string;
  /** Unique among workers of the type; a newer session of the same name replaces the older. Empty: the server gives one. */
  name?: string;
  /** Who the worker is, where the server asks. */
  token?: string;
  /** Free text for people. */
  instance?: string;
  /** How long connect keeps trying to reach a server that is not there yet. */
  patienceMs?: number;
  /** How long one attempt may take, from dialling to Welcome. */
  attemptTimeoutMs?: number;
  /** The longest first delay between attempts, and the longest ever. */
  backoff?: { firstMs: number; maxMs: number };
  /** Messages sent and not yet decided; more wait. */
  inFlightMax?: number;
}

export interface Settings {
  workerType: string;
  name: string;
  token: string;
  instance: string;
  patienceMs: number;
  attemptTimeoutMs: number;
  backoff: { firstMs: number; maxMs: number };
  inFlightMax: number;
}

export function settingsOf(options: ConnectOptions): Settings {
  const settings: Settings = {
    workerType: options.workerType,
    name: options.name ?? "",
    token: options.token ?? "",
    instance: options.instance ?? "",
    patienceMs: options.patienceMs ?? 10_000,
    attemptTimeoutMs: options.attemptTimeoutMs ?? 10_000,
    backoff: options.backoff ?? { firstMs: 100, maxMs: 10_000 },
    inFlightMax: options.inFlightMax ?? 64,
  };
  if (!(settings.inFlightMax >= 1)) throw invalid(`inFlightMax is ${settings.inFlightMax}; it must be at least 1`);
  return settings;
}

/** The URL of an address; `scheme` is for host:port. */
export function originOf(address: string, scheme: "http" | "https" = "http"): string {
  const url = /^https?:\/\//.test(address) ? address : `${scheme}://${address}`;
  try {
    return new URL(url).origin;
  } catch {
    throw invalid(`address ${address} is neither host:port nor a URL`);
  }
}

/** Delays that double up to a cap, each from the upper half of its range: workers do not all come back at once. */
export class Backoff {
  readonly #limits: { firstMs: number; maxMs: number };
  readonly #random: () => number;
  #attempts = 0;

  constructor(limits: { firstMs: number; maxMs: number }, random: () => number = Math.random) {
    this.#limits = limits;
    this.#random = random;
  }

  nextMs(): number {
    const ceiling = Math.min(this.#limits.firstMs * 2 ** Math.min(this.#attempts++, 30), this.#limits.maxMs);
    return ceiling * (0.5 + 0.5 * this.#random());
  }

  /** Starts again with the first delay: a session has proved to work. */
  reset(): void {
    this.#attempts = 0;
  }
}
