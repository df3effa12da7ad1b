// Where things are kept: rows of entities in typed arrays, values of one component in one block of bytes.
//
// Responsible for: finding the row of an id, giving rows out and taking them back, storing bytes without an
// object for each.
// Not responsible for: what frames mean (replica.ts).

// Ids come in blocks, so a page of neighbours costs one look-up. A lone id costs one page of 1 KiB.
// The last number of a page counts the ids in it.
const PAGE_IDS = 256;

/** From ids to row numbers. */
export class RowIndex {
  readonly #pages = new Map<number, Int32Array>();
  #lastKey = -1;
  #lastPage: Int32Array | undefined;

  /** The row of the id, or -1. */
  get(id: number): number {
    const key = Math.floor(id / PAGE_IDS);
    const page = this.#page(key);
    return page === undefined ? -1 : page[id - key * PAGE_IDS]! - 1;
  }

  set(id: number, row: number): void {
    const key = Math.floor(id / PAGE_IDS);
    let page = this.#page(key);
    if (page === undefined) {
      page = new Int32Array(PAGE_IDS + 1);
      this.#pages.set(key, page);
      this.#lastKey = key;
      this.#lastPage = page;
    }
    const at = id - key * PAGE_IDS;
    if (page[at] === 0) page[PAGE_IDS]!++;
    page[at] = row + 1;
  }

  delete(id: number): void {
    const key = Math.floor(id / PAGE_IDS);
    const page = this.#page(key);
    if (page === undefined) return;
    const at = id - key * PAGE_IDS;
    if (page[at] === 0) return;
    page[at] = 0;
    page[PAGE_IDS]!--;
    // Pages of an empty block go, so that panning over a world does not collect them.
    if (page[PAGE_IDS] === 0) {
      this.#pages.delete(key);
      this.#lastKey = -1;
      this.#lastPage = undefined;
    }
  }

  #page(key: number): Int32Array | undefined {
    if (key === this.#lastKey) return this.#lastPage;
    const page = this.#pages.get(key);
    if (page !== undefined) {
      this.#lastKey = key;
      this.#lastPage = page;
    }
    return page;
  }
}

/** The typed arrays of a replica; replaced by longer ones as it grows, so take them anew for each use. */
export class Rows {
  /** Rows 0..end-1 may be in use. */
  end = 0;
  /** The entity in the row; 0 for a row that is free. */
  ids = new Float64Array(1024);
  /** 1 where the row's entity has a position that is in view. */
  placed = new Uint8Array(1024);
  spaces = new Uint32Array(1024);
  x = new Float64Array(1024);
  y = new Float64Array(1024);
  z = new Float64Array(1024);
  /** The revision of the position. */
  revisions = new Float64Array(1024);
  /** The number of the frame that set the position last; says what moves. */
  movedAt = new Float64Array(1024);
  readonly #free: number[] = [];

  take(id: number): number {
    const row = this.#free.pop() ?? this.#grow();
    this.ids[row] = id;
    return row;
  }

  release(row: number): void {
    this.ids[row] = 0;
    this.placed[row] = 0;
    this.#free.push(row);
  }

  #grow(): number {
    if (this.end === this.ids.length) {
      const length = this.end * 2;
      this.ids = longer(this.ids, new Float64Array(length));
      this.placed = longer(this.placed, new Uint8Array(length));
      this.spaces = longer(this.spaces, new Uint32Array(length));
      this.x = longer(this.x, new Float64Array(length));
      this.y = longer(this.y, new Float64Array(length));
      this.z = longer(this.z, new Float64Array(length));
      this.revisions = longer(this.revisions, new Float64Array(length));
      this.movedAt = longer(this.movedAt, new Float64Array(length));
    }
    return this.end++;
  }
}

/** The values of one component by row. */
export class ValueColumn {
  /** How many rows have the component. */
  count = 0;
  /** 1 where the row has the component. */
  present = new Uint8Array(1024);
  revisions = new Float64Array(1024);
  #starts = new Uint32Array(1024);
  #lengths = new Uint32Array(1024);
  #bytes = new Uint8Array(4096);
  #used = 0;
  #garbage = 0;

  has(row: number): boolean {
    return this.present[row] === 1;
  }

  /** The bytes of the row's value: valid until the next frame. */
  get(row: number): Uint8Array | undefined {
    if (!this.has(row)) return undefined;
    const start = this.#starts[row]!;
    return this.#bytes.subarray(start, start + this.#lengths[row]!);
  }

  set(row: number, revision: number, source: Uint8Array, start: number, end: number): void {
    if (row >= this.present.length) this.#growRows(row);
    const length = end - start;
    if (!this.has(row)) {
      this.present[row] = 1;
      this.count++;
      this.#lengths[row] = 0;
    }
    this.revisions[row] = revision;
    if (length <= this.#lengths[row]!) {
      this.#garbage += this.#lengths[row]! - length;
    } else {
      this.#garbage += this.#lengths[row]!;
      this.#lengths[row] = 0;
      this.#room(length);
      this.#starts[row] = this.#used;
      this.#used += length;
    }
    this.#lengths[row] = length;
    const at = this.#starts[row]!;
    if (length > 32) this.#bytes.set(source.subarray(start, end), at);
    else for (let i = 0; i < length; i++) this.#bytes[at + i] = source[start + i]!;
  }

  /** Whether the row had the component. */
  delete(row: number): boolean {
    if (!this.has(row)) return false;
    this.present[row] = 0;
    this.count--;
    this.#garbage += this.#lengths[row]!;
    return true;
  }

  #growRows(row: number): void {
    const length = Math.max(this.present.length * 2, row + 1);
    this.present = longer(this.present, new Uint8Array(length));
    this.revisions = longer(this.revisions, new Float64Array(length));
    this.#starts = longer(this.#starts, new Uint32Array(length));
    this.#lengths = longer(this.#lengths, new Uint32Array(length));
  }

  /** Makes room for `more` bytes: squeezes out what is no longer used, or grows. */
  #room(more: number): void {
    if (this.#used + more <= this.#bytes.length) return;
    const live = this.#used - this.#garbage;
    const target = new Uint8Array(Math.max(4096, (live + more) * 2));
    let used = 0;
    for (let row = 0; row < this.present.length; row++) {
      if (this.present[row] !== 1) continue;
      const start = this.#starts[row]!;
      const length = this.#lengths[row]!;
      target.set(this.#bytes.subarray(start, start + length), used);
      this.#starts[row] = used;
      used += length;
    }
    this.#bytes = target;
    this.#used = used;
    this.#garbage = 0;
  }
}

function longer<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
