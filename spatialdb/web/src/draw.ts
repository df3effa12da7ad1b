// Draws the replica as dots, pixel by pixel: one pass over its typed arrays and no object for a dot. What stands still is
// dim and glows where it is dense; what moves is bright and over it. The colour says which of the world's components it has.
import type { Replica } from "../../../workers/typescript/src/browser.js";
import type { Camera } from "./camera.js";

/** Red, green, blue by order of components; the last is for all further ones, and for entities without any. */
export const COLOURS = [[236, 190, 124], [126, 214, 150], [92, 214, 255], [255, 112, 150], [196, 150, 255], [240, 226, 120], [170, 180, 190]] as const;
const LEVELS = 10;
// As the image has it in memory: alpha, blue, green, red.
const abgr = (r: number, g: number, b: number) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const [BACKGROUND, GRID] = [abgr(7, 10, 16), abgr(16, 22, 32)];
export const DIM = COLOURS.map(([r, g, b]) => Uint32Array.from({ length: LEVELS + 1 }, (_, level) => {
  const light = 0.32 + 0.68 * (level / LEVELS) ** 0.7;
  return abgr(r * light, g * light, b * light);
}));
export const BRIGHT = Uint32Array.from(COLOURS, ([r, g, b]) => abgr(Math.min(255, r + 40), Math.min(255, g + 40), Math.min(255, b + 40)));

export class Dots {
  /** Of the last picture: the row nearest to the pointer or -1, how many dots, how many of them move. */
  last = { nearest: -1, drawn: 0, moving: 0 };
  private image = new ImageData(1, 1);
  private pixels = new Uint32Array(1);
  private levels = new Uint8Array(1);
  /** Of what moves, in pairs: where, and which colour. Drawn last. */
  private over = new Uint32Array(0);
  private sizedFor = 1;
  constructor(private readonly context: CanvasRenderingContext2D) {}

  draw(replica: Replica, components: readonly number[], camera: Camera, gridM: number): void {
    const { canvas } = this.context;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [Math.max(1, Math.round(canvas.clientWidth * ratio)), Math.max(1, Math.round(canvas.clientHeight * ratio))];
    if (this.image.width !== width || this.image.height !== height) {
      Object.assign(canvas, { width, height });
      this.image = new ImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.levels = new Uint8Array(width * height);
    }
    const [pixels, levels] = [this.pixels.fill(BACKGROUND), this.levels.fill(0)];
    const perMetre = ratio / camera.metresPerPixel;
    const [left, top] = [camera.x - width / 2 / perMetre, camera.y + height / 2 / perMetre];
    for (let px = (Math.ceil(left / gridM) * gridM - left) * perMetre; px < width; px += gridM * perMetre) {
      for (let at = Math.floor(px); at < pixels.length; at += width) pixels[at] = GRID;
    }
    for (let py = (top - Math.floor(top / gridM) * gridM) * perMetre; py < height; py += gridM * perMetre) {
      pixels.fill(GRID, Math.floor(py) * width, Math.floor(py + 1) * width);
    }
    const { end, placed, x, y, movedAt } = replica.rows;
    if (this.over.length < end * 2) this.over = new Uint32Array(end * 4);
    const has = components.map((id) => replica.column(id)?.present);
    // The fewer dots, the larger they are; a few more or less change nothing.
    if (Math.abs(Math.log2((this.last.drawn + 1) / this.sizedFor)) > 0.5) this.sizedFor = this.last.drawn + 1;
    const size = Math.round(ratio * Math.max(1, Math.min(5, 1 + Math.log2(60_000 / this.sizedFor) / 2)));
    const [still, mover, edge] = [disc(size, width), disc(size + 1, width), size + 2];
    const [pointerX, pointerY] = camera.pointer ? [camera.pointer.x * ratio, camera.pointer.y * ratio] : [-1e9, -1e9];
    let [over, drawn, nearest, nearestD] = [0, 0, -1, (10 * ratio) ** 2];
    for (let row = 0; row < end; row++) {
      if (placed[row] !== 1) continue;
      const [px, py] = [Math.floor((x[row]! - left) * perMetre), Math.floor((top - y[row]!) * perMetre)];
      if (px < edge || py < edge || px >= width - edge || py >= height - edge) continue;
      drawn++;
      let kind = 0;
      while (kind < has.length && has[kind]?.[row] !== 1) kind++;
      if (kind >= has.length || kind >= COLOURS.length) kind = COLOURS.length - 1;
      const d = (px - pointerX) ** 2 + (py - pointerY) ** 2;
      if (d < nearestD) [nearestD, nearest] = [d, row];
      const at = py * width + px;
      if (movedAt[row] !== 0) {
        this.over[over++] = at;
        this.over[over++] = kind;
      } else {
        const level = levels[at]! < LEVELS ? ++levels[at]! : LEVELS;
        const colour = DIM[kind]![size > 1 ? Math.max(level, 4) : level]!;
        for (let i = 0; i < still.length; i++) pixels[at + still[i]!] = colour;
      }
    }
    for (let entry = 0; entry < over; entry += 2) {
      const [at, colour] = [this.over[entry]!, BRIGHT[this.over[entry + 1]!]!];
      for (let i = 0; i < mover.length; i++) pixels[at + mover[i]!] = colour;
    }
    this.context.putImageData(this.image, 0, 0);
    if (nearest >= 0) {
      const ring = new Path2D();
      ring.arc((x[nearest]! - left) * perMetre, (top - y[nearest]!) * perMetre, size / 2 + 5 * ratio, 0, 2 * Math.PI);
      Object.assign(this.context, { lineWidth: 1.5 * ratio, strokeStyle: "#eef3f9" }).stroke(ring);
    }
    this.last = { nearest, drawn, moving: over / 2 };
  }
}

/** The pixels of a dot of that diameter, as steps from its middle. */
function disc(diameter: number, width: number): Int32Array {
  const [from, middle] = [-Math.floor((diameter - 1) / 2), diameter % 2 === 0 ? 0.5 : 0];
  const cells = Array.from({ length: diameter ** 2 }, (_, cell) => [from + (cell % diameter), from + Math.floor(cell / diameter)] as const);
  return Int32Array.from(cells.filter(([x, y]) => (x - middle) ** 2 + (y - middle) ** 2 <= diameter ** 2 / 4 + 0.1), ([x, y]) => y * width + x);
}
