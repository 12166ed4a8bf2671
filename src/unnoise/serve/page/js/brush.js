/** A picture with a mask to paint on it, by pointer or by keys. */

import { announce, h } from "./dom.js";

/** Gives {element, mask(), source(), clear, invert, undo, set size, load(image)}; hear: called when the mask changes. */
export class Brush {
  constructor([height, width], hear = () => {}) {
    Object.assign(this, { height, width, hear, size: 0.12, erases: false, past: [], cursor: null });
    this.known = h("canvas", { width, height });
    this.marks = h("canvas", { width, height });
    this.marks.getContext("2d", { willReadFrequently: true });
    this.zoom = Math.max(1, Math.floor(480 / Math.max(width, height)));
    this.board = h("canvas.board", { width: width * this.zoom, height: height * this.zoom, tabindex: 0, role: "application", "aria-label": "The picture, with the region to draw anew. Arrow keys move, space paints, Delete clears." });
    this.element = h("div.brush", {}, this.board);
    this.loaded = false;
    this.listen();
    this.paint();
  }

  /** A picture under the mask: cut in the middle to the model's proportions, as the server would. */
  load(image) {
    const pen = this.known.getContext("2d");
    const [w, hh] = [image.naturalWidth || image.width, image.naturalHeight || image.height];
    const scale = Math.max(this.width / w, this.height / hh);
    const [sw, sh] = [this.width / scale, this.height / scale];
    pen.imageSmoothingQuality = "high";
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, this.width, this.height);
    pen.drawImage(image, (w - sw) / 2, (hh - sh) / 2, sw, sh, 0, 0, this.width, this.height);
    this.loaded = true;
    this.clear(false);
  }

  get empty() {
    return !this.marks.getContext("2d").getImageData(0, 0, this.width, this.height).data.some((v, i) => i % 4 === 3 && v > 0);
  }

  /** The mask as a picture: white where it is drawn anew. */
  mask() {
    const made = h("canvas", { width: this.width, height: this.height });
    const [pen, from] = [made.getContext("2d"), this.marks.getContext("2d").getImageData(0, 0, this.width, this.height)];
    for (let i = 0; i < from.data.length; i += 4) {
      const on = from.data[i + 3] > 127 ? 255 : 0;
      from.data.set([on, on, on, 255], i);
    }
    pen.putImageData(from, 0, 0);
    return made.toDataURL("image/png").split(",")[1];
  }

  source() {
    return this.known.toDataURL("image/png").split(",")[1];
  }

  clear(remember = true) {
    if (remember) this.remember();
    this.marks.getContext("2d").clearRect(0, 0, this.width, this.height);
    this.changed();
  }

  invert() {
    this.remember();
    const pen = this.marks.getContext("2d");
    const data = pen.getImageData(0, 0, this.width, this.height);
    for (let i = 0; i < data.data.length; i += 4) data.data.set([0, 0, 0, data.data[i + 3] > 127 ? 0 : 255], i);
    pen.putImageData(data, 0, 0);
    this.changed();
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    this.marks.getContext("2d").putImageData(before, 0, 0);
    this.changed();
  }

  remember() {
    this.past.push(this.marks.getContext("2d").getImageData(0, 0, this.width, this.height));
    this.past = this.past.slice(-30);
  }

  changed() {
    this.paint();
    this.hear();
  }

  /** A round mark in the picture's own pixels; every pixel is marked or not. */
  mark(x, y) {
    const pen = this.marks.getContext("2d");
    const r = Math.max(0.5, (this.size * Math.max(this.width, this.height)) / 2);
    for (let j = Math.floor(y - r); j <= y + r; j++) {
      for (let i = Math.floor(x - r); i <= x + r; i++) {
        const inside = Math.hypot(i + 0.5 - x, j + 0.5 - y) <= r || (i === Math.floor(x) && j === Math.floor(y));
        if (!inside) continue;
        if (this.erases) pen.clearRect(i, j, 1, 1);
        else pen.fillRect(i, j, 1, 1);
      }
    }
  }

  listen() {
    const at = (event) => [(event.offsetX / this.board.clientWidth) * this.width, (event.offsetY / this.board.clientHeight) * this.height];
    let before = null;
    this.board.addEventListener("pointerdown", (event) => {
      if (!this.loaded) return;
      this.board.setPointerCapture(event.pointerId);
      this.remember();
      before = at(event);
      this.mark(...before);
      this.changed();
    });
    this.board.addEventListener("pointermove", (event) => {
      if (!before) return;
      const now = at(event);
      const pieces = Math.max(1, Math.ceil(2 * Math.hypot(now[0] - before[0], now[1] - before[1])));
      for (let k = 1; k <= pieces; k++) this.mark(...before.map((v, d) => v + ((now[d] - v) * k) / pieces));
      before = now;
      this.changed();
    });
    for (const kind of ["pointerup", "pointercancel"]) this.board.addEventListener(kind, () => (before = null));
    this.board.addEventListener("keydown", (event) => this.pressed(event));
    this.board.addEventListener("blur", () => { this.cursor = null; this.paint(); });
  }

  pressed(event) {
    if (!this.loaded) return;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const step = Math.max(1, Math.round(Math.max(this.width, this.height) / 32));
    if (move) {
      const [x, y] = this.cursor ?? [this.width / 2, this.height / 2];
      this.cursor = [Math.min(this.width - 0.5, Math.max(0.5, x + step * move[0])), Math.min(this.height - 0.5, Math.max(0.5, y + step * move[1]))];
      announce(`Column ${Math.ceil(this.cursor[0])}, row ${Math.ceil(this.cursor[1])}`);
    } else if (event.key === " " && this.cursor) {
      this.remember();
      this.mark(...this.cursor);
      this.hear();
      announce(this.erases ? "Erased" : "Painted");
    } else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
    this.paint();
  }

  /** The board: the picture, hatched where it is drawn anew, so that no colour is needed to see it. */
  paint() {
    const pen = this.board.getContext("2d");
    const [w, hh] = [this.board.width, this.board.height];
    pen.imageSmoothingEnabled = Math.max(this.width, this.height) > 128;
    pen.clearRect(0, 0, w, hh);
    pen.drawImage(this.known, 0, 0, w, hh);
    const over = h("canvas", { width: w, height: hh });
    const ink = over.getContext("2d");
    ink.imageSmoothingEnabled = false;
    ink.drawImage(this.marks, 0, 0, w, hh);
    ink.globalCompositeOperation = "source-in";
    ink.fillStyle = "rgba(20, 103, 184, 0.55)";
    ink.fillRect(0, 0, w, hh);
    ink.globalCompositeOperation = "source-atop";
    ink.strokeStyle = "rgba(255, 255, 255, 0.85)";
    ink.lineWidth = 2;
    ink.beginPath();
    for (let x = -hh; x < w; x += 14) {
      ink.moveTo(x, hh);
      ink.lineTo(x + hh, 0);
    }
    ink.stroke();
    pen.drawImage(over, 0, 0);
    if (this.cursor) {
      pen.strokeStyle = "#d33";
      pen.lineWidth = 3;
      pen.strokeRect(Math.floor(this.cursor[0]) * this.zoom, Math.floor(this.cursor[1]) * this.zoom, this.zoom, this.zoom);
    }
  }
}
