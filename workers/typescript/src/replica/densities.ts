// How many entities there are where, as a view of densities shows it.
//
// Responsible for: taking columns of squares in, reading them.
// Not responsible for: which views there are (session.ts).

import { ProtocolError } from "../errors.js";
import type { DensityColumn } from "../gen/spatialdb/v1/worker_pb.js";

/** A square of a view: from (x, y) times `squareM` to (x + 1, y + 1) times `squareM`. */
export interface Square {
  x: number;
  y: number;
  /** The Metadata.type that is counted if the view counts each apart; empty otherwise, and for entities without. */
  type: string;
}

/** The counts of one view by square; those without entities are not in it. */
export class DensityMap implements Iterable<[Square, number]> {
  /** The side of a square in metres. */
  squareM = 0;
  readonly #counts = new Map<string, [Square, number]>();

  /** How many squares have entities. */
  get size(): number {
    return this.#counts.size;
  }

  /** How many entities there are in all squares. */
  get total(): number {
    let total = 0;
    for (const [, count] of this) total += count;
    return total;
  }

  /** How many entities are in the square. */
  count(x: number, y: number, type = ""): number {
    return this.#counts.get(keyOf({ x, y, type }))?.[1] ?? 0;
  }

  [Symbol.iterator](): Iterator<[Square, number]> {
    return this.#counts.values();
  }

  /** Takes a column in. Squares of another size replace all. @internal */
  apply(column: DensityColumn): void {
    const { viewId, squareM, x, y, counts } = column;
    if (x.length !== y.length || x.length !== counts.length) {
      throw new ProtocolError(`a column of densities of view ${viewId} has lists of different lengths`);
    }
    if (squareM !== this.squareM) {
      this.squareM = squareM;
      this.#counts.clear();
    }
    squaresOf(column).forEach((square, row) => {
      const count = Number(counts[row]);
      if (count === 0) this.#counts.delete(keyOf(square));
      else this.#counts.set(keyOf(square), [square, count]);
    });
  }
}

/** The squares that a column tells of. */
export function squaresOf({ x, y, type }: DensityColumn): Square[] {
  return x.map((x, row) => ({ x, y: y[row]!, type }));
}

function keyOf({ x, y, type }: Square): string {
  return `${x},${y},${type}`;
}
