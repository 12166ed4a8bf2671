/** How what is drawn is shown: pictures as tiles, points in the plane as a cloud, rows of a table as a table. */

import { json } from "./api.js";
import { fill, h, number } from "./dom.js";
import { base64 } from "./files.js";

const known = new Map();

/** What a model's numbers mean (names, ranges, real rows), asked once. */
export function surroundings(model) {
  if (!known.has(model.id)) known.set(model.id, json(`v1/studio/models/${model.id}`).catch((error) => { known.delete(model.id); throw error; }));
  return known.get(model.id);
}

/** An <img> of a picture in bytes or base64; small ones show their pixels. */
export function picture(data, alt) {
  return show(h("img", { alt, decoding: "sync" }), data);
}

/** Another picture in an <img>. */
export function show(image, data) {
  image.src = `data:image/png;base64,${typeof data === "string" ? data : base64(data)}`;
  image.onload = () => image.classList.toggle("pixels", Math.max(image.naturalWidth, image.naturalHeight) < 160);
  return image;
}

/** What a sample is, in a line. */
export const called = (i, seed, label) => [`Sample ${i + 1}`, label === null || label === undefined ? null : `label ${label}`, `seed ${seed}`].filter(Boolean).join(", ");

/** A place for samples on their way; pick(i) is called where one is chosen. Gives {element, preview, done, failed}. */
export function place(model, around, { seeds, labels, pick = null, small = false }) {
  if (model.draws !== "points") return tiles({ seeds, labels, pick, small, shape: model.shape });
  return around.columns.length === 2 ? cloud(around, { seeds, labels, pick, small }) : table(around, { seeds, labels, pick });
}

function tiles({ seeds, labels, pick, small, shape }) {
  const images = [];
  const cells = seeds.map((seed, i) => {
    const image = h("img", { alt: "", class: "pixels" });
    images.push(image);
    const cell = h("button.tile.forming", { type: "button", "aria-label": `${called(i, seed, labels?.[i])}, forming`, onclick: () => pick?.(i), disabled: true }, image);
    return cell;
  });
  const across = Math.max(1, Math.round(Math.sqrt(seeds.length * 1.25)));
  const element = h(small ? "div.tiles.small" : "div.tiles", {}, cells);
  element.style.setProperty("--across", across);
  element.style.setProperty("--ratio", (across * shape.at(-1)) / (Math.ceil(seeds.length / across) * shape.at(-2)));
  element.style.setProperty("--shape", `${shape.at(-1)} / ${shape.at(-2)}`);
  element.style.setProperty("--widest", `${small ? 150 : Math.round(Math.max(64, Math.min(260, 660 / across)))}px`);
  return {
    element,
    preview: (i, { png }) => {
      if (png && cells[i].classList.contains("forming")) show(images[i], png);
    },
    done: (i, { png }) => {
      show(images[i], png);
      cells[i].classList.remove("forming", "old");
      cells[i].disabled = !pick;
      cells[i].setAttribute("aria-label", called(i, seeds[i], labels?.[i]));
      if (labels && !small && !cells[i].querySelector(".told")) cells[i].append(h("span.told", { "aria-hidden": "true" }, labels[i]));
    },
    failed: (i, reason) => {
      cells[i].classList.remove("forming");
      fill(cells[i], h("span.reason", {}, reason));
    },
    again: (seedsNow, labelsNow) => {
      [seeds, labels] = [seedsNow, labelsNow];
      cells.forEach((cell, i) => {
        cell.classList.add("forming", "old");
        cell.querySelector(".told")?.remove();
        cell.setAttribute("aria-label", `${called(i, seeds[i], labels?.[i])}, forming`);
      });
    },
  };
}

const SHAPES = ["circle", "square", "triangle", "cross"];

function cloud(around, { seeds, labels, pick, small }) {
  const size = small ? 180 : 560;
  const canvas = h("canvas.cloud", { width: 2 * size, height: 2 * size, role: "img", tabindex: pick ? 0 : null });
  const points = new Array(seeds.length).fill(null);
  const names = labels ? [...new Set(labels)].sort() : [];
  const key = names.length > 1 && !small ? h("ul.key", {}, names.map((name, k) => h("li", {}, h(`span.shape.${SHAPES[k % 4]}`, { "aria-hidden": "true" }), ` ${name}`))) : null;
  const [x0, x1, y0, y1] = around.box;
  const spot = ([x, y]) => [((x - x0) / (x1 - x0)) * canvas.width, (1 - (y - y0) / (y1 - y0)) * canvas.height];
  let waiting = false;
  function paint() {
    waiting = false;
    const pen = canvas.getContext("2d");
    const look = getComputedStyle(document.documentElement);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = pen.strokeStyle = probe("--faint-ink");
    for (const row of around.real) dot(pen, spot(row), small ? 1.6 : 2.4, 0);
    pen.fillStyle = pen.strokeStyle = probe("--accent");
    points.forEach((point, i) => point && dot(pen, spot(point), small ? 3 : 5, names.length > 1 ? names.indexOf(labels[i]) : 0));
    const here = points.filter(Boolean).length;
    canvas.setAttribute("aria-label", `${here} drawn points among ${around.real.length} real ones; ${around.columns[0]} across from ${number(x0)} to ${number(x1)}, ${around.columns[1]} up from ${number(y0)} to ${number(y1)}.`);
    return look;
  }
  const soon = () => {
    if (!waiting) requestAnimationFrame(paint);
    waiting = true;
  };
  canvas.addEventListener("click", (event) => {
    if (!pick) return;
    const at = [(event.offsetX / canvas.clientWidth) * canvas.width, (event.offsetY / canvas.clientHeight) * canvas.height];
    const far = points.map((p) => (p ? Math.hypot(...spot(p).map((v, k) => v - at[k])) : Infinity));
    const best = far.indexOf(Math.min(...far));
    if (far[best] < 40) pick(best);
  });
  canvas.addEventListener("keydown", (event) => event.key === "Enter" && pick?.(0));
  soon();
  const element = h("figure.cloud-place", {}, canvas, small ? null : h("figcaption", {}, "Strong: drawn. Faint: held-out data. Choose a point to look at it closely."), key);
  return {
    element,
    preview: (i, { values }) => {
      if (!values || values.length !== 2) return;
      points[i] = values.map((v, k) => v * around.scale[k] + around.mean[k]); // as the model sees it → raw units
      soon();
    },
    done: (i, { values }) => {
      points[i] = values;
      soon();
    },
    failed: () => {},
    again: () => points.fill(null) && soon(),
    repaint: soon,
  };
}

/** A colour of the theme as it is now. */
export function probe(name) {
  const one = h("i.unseen", {});
  one.style.color = `var(${name})`;
  document.body.append(one);
  const found = getComputedStyle(one).color;
  one.remove();
  return found;
}

function dot(pen, [x, y], r, kind) {
  pen.beginPath();
  if (kind % 4 === 1) pen.rect(x - r, y - r, 2 * r, 2 * r);
  else if (kind % 4 === 2) { pen.moveTo(x, y - 1.3 * r); pen.lineTo(x + 1.2 * r, y + r); pen.lineTo(x - 1.2 * r, y + r); }
  else if (kind % 4 === 3) {
    pen.lineWidth = r * 0.7;
    pen.moveTo(x - r, y - r); pen.lineTo(x + r, y + r); pen.moveTo(x + r, y - r); pen.lineTo(x - r, y + r);
    return pen.stroke();
  } else pen.arc(x, y, r, 0, 2 * Math.PI);
  pen.fill();
}

const SHOWN = 100;

function table(around, { seeds, labels, pick }) {
  const rows = seeds.slice(0, SHOWN).map((seed, i) => {
    const cells = around.columns.map(() => h("td", {}, "·"));
    const head = pick ? h("button.quiet", { type: "button", onclick: () => pick(i) }, seed) : seed;
    return { cells, row: h("tr", {}, h("th", { scope: "row" }, head), labels ? h("td", {}, labels[i]) : null, cells) };
  });
  const write = (i, values) => {
    if (!rows[i] || values.length !== around.columns.length) return;
    values.forEach((value, k) => {
      const cell = rows[i].cells[k];
      const [low, high] = [around.low[k], around.high[k]];
      const places = around.decimals[k];
      cell.textContent = Number.isInteger(places) ? value.toFixed(places) : number(value, 4);
      cell.style.setProperty("--at", `${100 * Math.min(1, Math.max(0, (value - low) / (high - low || 1)))}%`);
      cell.classList.add("placed");
    });
  };
  const head = h("tr", {}, h("th", { scope: "col" }, "seed"), labels ? h("th", { scope: "col" }, "label") : null, around.columns.map((name) => h("th", { scope: "col" }, name.replaceAll("_", " "))));
  return {
    element: h("div.scroll", { tabindex: 0, role: "region", "aria-label": "Rows drawn" }, h("table.rows", {}, h("caption", {}, "A mark in a cell shows where its number lies in the range of the real data."), h("thead", {}, head), h("tbody", {}, rows.map((one) => one.row)))),
    preview: (i, { values }) => values && write(i, values.map((v, k) => v * around.scale[k] + around.mean[k])),
    done: (i, { values }) => write(i, values),
    failed: (i, reason) => rows[i] && fill(rows[i].row, h("td", { colspan: around.columns.length + 2 }, reason)),
    again: () => {},
  };
}

/** Rows as CSV. */
export function csv(around, items) {
  const lines = [["seed", "label", ...around.columns].join(",")];
  for (const { settings, values } of items) lines.push([settings.seed, settings.label ?? "", ...values].join(","));
  return new Blob([`${lines.join("\n")}\n`], { type: "text/csv" });
}
