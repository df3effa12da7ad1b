// Calls that wait for room to send, first come first served.
//
// Responsible for: their order and their bound.
// Not responsible for: what room is.

import { GrpcCode, SpatialdbError } from "./errors.js";

// A program that goes on without awaiting its calls must not fill the memory.
const WAITING_CALLS_MAX = 4096;

interface Waiting {
  may: () => boolean;
  go: () => void;
  fail: (error: SpatialdbError) => void;
}

export class Gate {
  readonly #waiting: Waiting[] = [];

  /** Calls `run` now if it may and nobody waits before it; else later, in order. */
  pass<T>(may: () => boolean, run: () => T | Promise<T>): Promise<T> {
    if (this.#waiting.length === 0 && may()) {
      try {
        return Promise.resolve(run());
      } catch (error) {
        return Promise.reject(error);
      }
    }
    if (this.#waiting.length >= WAITING_CALLS_MAX) {
      const detail = `${WAITING_CALLS_MAX} calls wait for the server already: await them`;
      return Promise.reject(new SpatialdbError("LIMIT_REACHED", detail, GrpcCode.ResourceExhausted));
    }
    return new Promise((resolve, reject) => {
      const go = () => {
        try {
          resolve(run());
        } catch (error) {
          reject(error);
        }
      };
      this.#waiting.push({ may, go, fail: reject });
    });
  }

  /** Lets those go who may, until one may not. */
  wake(): void {
    while (this.#waiting.length > 0 && this.#waiting[0]!.may()) this.#waiting.shift()!.go();
  }

  /** Nobody will go any more. */
  fail(error: SpatialdbError): void {
    for (const waiting of this.#waiting.splice(0)) waiting.fail(error);
  }
}
