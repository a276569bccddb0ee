// @ts-check
/** A mask that is painted over a picture: with mouse, pen, finger or keys; it can be undone. */
import { el } from "../dom.js";

const UNDO = 60;

export class Mask {
  /**
   * @param {string} image Address of the picture.
   * @param {number} width In pixels of the mask.
   * @param {number} height
   * @param {() => void} changed
   * @param {boolean} [smooth]
   */
  constructor(image, width, height, changed, smooth = false) {
    this.width = width;
    this.height = height;
    this.changed = changed;
    this.size = Math.max(1, Math.round(Math.max(width, height) / 10));
    this.erasing = false;
    /** @type {Uint8Array} */
    this.bits = new Uint8Array(width * height);
    /** @type {Uint8Array[]} */
    this.past = [];
    this.at = { x: width / 2, y: height / 2 };
    this.under = el("img", { src: image, alt: "", class: smooth ? "" : "pixels" });
    this.over = el("canvas", {
      width,
      height,
      tabIndex: 0,
      role: "application",
      class: "pixels",
      "aria-label": "Paint what is to be drawn anew. Arrow keys move, space paints, + and − change the brush, U undoes.",
    });
    this.cursor = el("div", { class: "brush", "aria-hidden": "true" });
    this.node = el("div", { class: "paint" }, this.under, this.over, this.cursor);
    this.listen();
    this.draw();
  }

  listen() {
    const { over } = this;
    /** @type {{x: number, y: number} | undefined} */
    let last;
    const spot = (/** @type {PointerEvent} */ event) => {
      const box = over.getBoundingClientRect();
      return { x: ((event.clientX - box.left) / box.width) * this.width, y: ((event.clientY - box.top) / box.height) * this.height };
    };
    over.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      over.setPointerCapture(event.pointerId);
      this.remember();
      last = this.at = spot(event);
      this.line(last, last);
    });
    over.addEventListener("pointermove", (event) => {
      this.at = spot(event);
      this.point();
      if (!over.hasPointerCapture(event.pointerId) || !last) return;
      this.line(last, this.at);
      last = this.at;
    });
    for (const name of /** @type {const} */ (["pointerup", "pointercancel"])) over.addEventListener(name, () => (last = undefined));
    over.addEventListener("focus", () => this.point());
    over.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = Math.max(1, Math.round(this.size / 2));
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (move) {
      const before = { ...this.at };
      this.at = { x: Math.min(this.width, Math.max(0, this.at.x + move[0])), y: Math.min(this.height, Math.max(0, this.at.y + move[1])) };
      if (event.shiftKey) this.line(before, this.at);
    } else if (event.key === " " || event.key === "Enter") {
      this.remember();
      this.line(this.at, this.at);
    } else if (event.key === "+" || event.key === "=") this.resize(this.size + 1);
    else if (event.key === "-") this.resize(this.size - 1);
    else if (event.key.toLowerCase() === "u" || (event.key === "z" && (event.ctrlKey || event.metaKey))) this.undo();
    else return;
    event.preventDefault();
    this.point();
  }

  /** @param {number} size */
  resize(size) {
    this.size = Math.min(Math.max(this.width, this.height), Math.max(1, size));
    this.changed();
  }

  /** Show where the brush is. */
  point() {
    const { style } = this.cursor;
    style.setProperty("--x", `${(100 * this.at.x) / this.width}%`);
    style.setProperty("--y", `${(100 * this.at.y) / this.height}%`);
    style.setProperty("--size", `${(100 * this.size) / this.width}%`);
  }

  remember() {
    this.past.push(this.bits.slice());
    if (this.past.length > UNDO) this.past.shift();
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    this.bits = before;
    this.draw();
  }

  clear() {
    this.remember();
    this.bits = new Uint8Array(this.width * this.height);
    this.draw();
  }

  /**
   * Mark a box, in shares of the sides.
   * @param {number} left @param {number} top @param {number} right @param {number} bottom
   */
  box(left, top, right, bottom) {
    this.remember();
    this.bits = new Uint8Array(this.width * this.height);
    for (let y = Math.round(top * this.height); y < Math.round(bottom * this.height); y++)
      this.bits.fill(1, y * this.width + Math.round(left * this.width), y * this.width + Math.round(right * this.width));
    this.draw();
  }

  /** @param {{x: number, y: number}} a @param {{x: number, y: number}} b */
  line(a, b) {
    const steps = Math.max(1, Math.ceil(Math.hypot(b.x - a.x, b.y - a.y) / Math.max(0.5, this.size / 4)));
    for (let i = 0; i <= steps; i++) this.disc(a.x + ((b.x - a.x) * i) / steps, a.y + ((b.y - a.y) * i) / steps);
    this.draw();
  }

  /** @param {number} x @param {number} y */
  disc(x, y) {
    const r = this.size / 2;
    let any = false;
    for (let j = Math.max(0, Math.floor(y - r)); j <= Math.min(this.height - 1, Math.ceil(y + r)); j++)
      for (let i = Math.max(0, Math.floor(x - r)); i <= Math.min(this.width - 1, Math.ceil(x + r)); i++)
        if (Math.hypot(i + 0.5 - x, j + 0.5 - y) <= r) {
          this.bits[j * this.width + i] = this.erasing ? 0 : 1;
          any = true;
        }
    const [i, j] = [Math.floor(x), Math.floor(y)]; // the smallest brush is the pixel under it
    if (!any && i >= 0 && j >= 0 && i < this.width && j < this.height) this.bits[j * this.width + i] = this.erasing ? 0 : 1;
  }

  /** How many pixels are marked. */
  get count() {
    return this.bits.reduce((a, b) => a + b, 0);
  }

  draw() {
    const pen = this.over.getContext("2d");
    if (!pen) return;
    const image = pen.createImageData(this.width, this.height);
    const [r, g, b] = [236, 72, 153];
    for (let i = 0; i < this.bits.length; i++) if (this.bits[i]) image.data.set([r, g, b, 190], 4 * i);
    pen.putImageData(image, 0, 0);
    this.changed();
  }

  /** The mask as a PNG: white is drawn anew. @returns {Promise<Blob>} */
  png() {
    const canvas = el("canvas", { width: this.width, height: this.height });
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const image = pen.createImageData(this.width, this.height);
    for (let i = 0; i < this.bits.length; i++) image.data.set(this.bits[i] ? [255, 255, 255, 255] : [0, 0, 0, 255], 4 * i);
    pen.putImageData(image, 0, 0);
    return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The mask cannot be written."))), "image/png"));
  }
}
