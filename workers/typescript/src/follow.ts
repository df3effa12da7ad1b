// A view that follows a camera: it shows what is visible, and a margin around it.
//
// Responsible for: when to change the view, and to what. One change at a time; the latest wish wins.
// Not responsible for: where the camera is.

import { box as boxOf } from "./constraints.js";
import type { Constraint } from "./gen/spatialdb/v1/query_pb.js";
import { SpatialdbError } from "./errors.js";
import type { ViewOptions } from "./views.js";
import type { View } from "./worker.js";

/** A rectangle in metres; its height is open. */
export interface Bounds {
  minX: number;
  minY: number;
  maxX: number;
  maxY: number;
}

// A view much wider than what is visible costs what nobody sees.
const WIDER_MAX = 3;

export class Follower {
  /** What the view shows; set it to undefined to have it asked for again. */
  shown: Bounds | undefined;
  readonly #view: View;
  readonly #options: (where: Constraint) => ViewOptions;
  readonly #margin: number;
  readonly #space: number;
  #changing = false;

  /** `margin` is added on each side, as a share of the size. `options` makes the view of a box. */
  constructor(view: View, margin: number, options: (where: Constraint) => ViewOptions, space = 0) {
    this.#view = view;
    this.#margin = margin;
    this.#options = options;
    this.#space = space;
  }

  /**
   * Changes the view if it does not show the box, or far too much around it; resolves with whether it did, once it
   * is filled. Does nothing while a change is on its way or there is no session: call it again and again.
   */
  async to(box: Bounds): Promise<boolean> {
    if (this.#changing || this.#fits(box)) return false;
    this.#changing = true;
    const [marginX, marginY] = [(box.maxX - box.minX) * this.#margin, (box.maxY - box.minY) * this.#margin];
    const wanted = { minX: box.minX - marginX, minY: box.minY - marginY, maxX: box.maxX + marginX, maxY: box.maxY + marginY };
    try {
      const where = boxOf({ x: wanted.minX, y: wanted.minY }, { x: wanted.maxX, y: wanted.maxY }, this.#space);
      await this.#view.change(this.#options(where));
      this.shown = wanted;
      return true;
    } catch (error) {
      if (error instanceof SpatialdbError && error.reason === "DISCONNECTED") return false;
      throw error;
    } finally {
      this.#changing = false;
    }
  }

  #fits(box: Bounds): boolean {
    const { shown } = this;
    return shown !== undefined && shown.minX <= box.minX && shown.minY <= box.minY && shown.maxX >= box.maxX &&
      shown.maxY >= box.maxY && shown.maxX - shown.minX < WIDER_MAX * (box.maxX - box.minX);
  }
}
