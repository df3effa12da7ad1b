// Decodes the columns of positions of one frame into rows of one set of typed arrays.
//
// Responsible for: PositionColumn and its lengths.
// Not responsible for: applying them (replica.ts).
//
// A server sends what it has encoded once for all who see it: a column for each cell, often of a single row. Arrays of
// their own for each took four fifths of the time of a frame.

import { malformed, NO_IDS, type WireReader } from "./reader.js";

/** Positions of one space: row r of each list is about entities[r]. `z` may be empty, which means 0. */
export interface Positions {
  space: number;
  entities: Float64Array;
  revisions: Float64Array;
  x: Float64Array;
  y: Float64Array;
  z: Float64Array;
}

/** Rows that follow each other, alike in space and in whether they have a z. */
interface Run {
  space: number;
  flat: boolean;
  from: number;
  to: number;
}

// An id and a revision of a byte each, x and y.
const ROW_BYTES_MIN = 18;

export class PositionRows {
  readonly #entities: Float64Array;
  readonly #revisions: Float64Array;
  readonly #x: Float64Array;
  readonly #y: Float64Array;
  /** Made when the first row has a z. */
  #z = NO_IDS;
  readonly #runs: Run[] = [];
  #rows = 0;

  /** For all columns that fit into so many bytes. */
  constructor(bytes: number) {
    const rows = Math.floor(bytes / ROW_BYTES_MIN);
    [this.#entities, this.#revisions, this.#x, this.#y] = [new Float64Array(rows), new Float64Array(rows), new Float64Array(rows), new Float64Array(rows)];
  }

  /** Takes in the column that `reader` is. */
  read(reader: WireReader): void {
    const from = this.#rows;
    let [space, entities, revisions, x, y, z] = [0, from, from, from, from, from];
    while (reader.pos < reader.end) {
      const tag = reader.varint();
      const wireType = tag & 7;
      switch (tag >>> 3) {
        case 1: space = reader.varint(); break;
        case 2: entities = reader.varintsInto(wireType, this.#entities, entities); break;
        case 3: revisions = reader.varintsInto(wireType, this.#revisions, revisions); break;
        case 4: x = reader.doublesInto(wireType, this.#x, x); break;
        case 5: y = reader.doublesInto(wireType, this.#y, y); break;
        case 6:
          if (this.#z.length === 0) this.#z = new Float64Array(this.#x.length);
          z = reader.doublesInto(wireType, this.#z, z);
          break;
        default: reader.skip(wireType);
      }
    }
    const flat = z === from;
    if (revisions !== entities || x !== entities || y !== entities || (!flat && z !== entities)) {
      throw malformed("a column of positions has lists of different lengths");
    }
    this.#rows = entities;
    const run = this.#runs[this.#runs.length - 1];
    if (run !== undefined && run.space === space && run.flat === flat) run.to = entities;
    else this.#runs.push({ space, flat, from, to: entities });
  }

  finish(): Positions[] {
    return this.#runs.map(({ space, flat, from, to }) => ({
      space,
      entities: this.#entities.subarray(from, to),
      revisions: this.#revisions.subarray(from, to),
      x: this.#x.subarray(from, to),
      y: this.#y.subarray(from, to),
      z: flat ? NO_IDS : this.#z.subarray(from, to),
    }));
  }
}
