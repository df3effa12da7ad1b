// What part of the world the canvas shows, and how the mouse changes it: drag pans, the wheel zooms about the pointer.
import type { Bounds } from "../../../workers/typescript/src/browser.js";

export class Camera {
  /** The world's place in the middle of the canvas, and metres a CSS pixel. North is up. */
  x = 0;
  y = 0;
  metresPerPixel = 1;
  /** Where the pointer is, in CSS pixels; undefined while it is elsewhere or drags. */
  pointer: { x: number; y: number } | undefined;

  constructor(private readonly canvas: HTMLCanvasElement, changed: () => void) {
    const on = <K extends keyof HTMLElementEventMap>(name: K, act: (event: HTMLElementEventMap[K]) => void) =>
      canvas.addEventListener(name, (event) => { act(event); changed(); }, { passive: false });
    on("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); this.pointer = undefined; });
    on("pointerleave", () => { this.pointer = undefined; });
    on("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return void (this.pointer = { x: event.clientX, y: event.clientY });
      [this.x, this.y] = [this.x - event.movementX * this.metresPerPixel, this.y + event.movementY * this.metresPerPixel];
    });
    on("wheel", (event) => {
      event.preventDefault();
      const before = this.at(event.clientX, event.clientY);
      const turned = Math.max(-300, Math.min(300, event.deltaY * (event.deltaMode === 1 ? 16 : 1)));
      this.metresPerPixel = Math.min(1e6, Math.max(0.005, this.metresPerPixel * Math.exp(turned * 0.0025)));
      const after = this.at(event.clientX, event.clientY);
      [this.x, this.y] = [this.x + before.x - after.x, this.y + before.y - after.y];
    });
  }
  /** The place in the world under a CSS pixel. */
  at(px: number, py: number): { x: number; y: number } {
    const { clientWidth, clientHeight } = this.canvas;
    return { x: this.x + (px - clientWidth / 2) * this.metresPerPixel, y: this.y - (py - clientHeight / 2) * this.metresPerPixel };
  }
  visible(): Bounds {
    const [min, max] = [this.at(0, this.canvas.clientHeight), this.at(this.canvas.clientWidth, 0)];
    return { minX: min.x, minY: min.y, maxX: max.x, maxY: max.y };
  }
  /** Shows all of the box. */
  fit({ minX, minY, maxX, maxY }: Bounds): void {
    [this.x, this.y] = [(minX + maxX) / 2, (minY + maxY) / 2];
    this.metresPerPixel = Math.max((maxX - minX) / this.canvas.clientWidth, (maxY - minY) / this.canvas.clientHeight, 0.01) * 1.06;
  }
}
