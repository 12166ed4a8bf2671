/** Compare: a grid over two settings, every cell by the same seeds. */

import { Trouble } from "../api.js";
import { closer } from "../closer.js";
import * as controls from "../controls.js";
import { announce, field, fill, h } from "../dom.js";
import { draw } from "../drawing.js";
import { place, surroundings } from "../items.js";
import { STEPS, knows, state } from "../settings.js";

const MOST = 64; // cells
const AXES = {
  steps: { name: "Steps", first: "4 8 16 30", parse: (word) => (/^\d+$/.test(word) && Number(word) > 0 ? { steps: Number(word) } : null), all: () => STEPS },
  sampler: { name: "Sampler", first: "ddim heun dpmpp_2m ddpm", parse: (word) => (knows(state.model, word) ? { sampler: word, grid: null, options: "" } : null), all: () => state.controls.sampler.names },
  guidance: { name: "Guidance", first: "0 1 2 4", parse: (word) => (Number.isFinite(Number(word)) ? { guidance: Number(word) } : null), there: () => state.controls.guidance },
  label: { name: "Label", parse: (word) => (state.controls.label?.names.includes(word) ? { label: word } : null), there: () => state.controls.label, all: () => state.controls.label.names },
  grid: { name: "Grid", first: "karras logsnr time quadratic", parse: (word) => (state.controls.grid.names.includes(word) ? { grid: word } : null), all: () => state.controls.grid.names },
  seed: { name: "Seed", parse: (word) => (/^\d{1,20}$/.test(word) ? { seed: word } : null) },
};
const asked = { across: "steps", down: "sampler", words: {} };
const parts = {};
let go;
let under = [];

function mount(root, goes) {
  go = goes;
  parts.button = h("button.primary.draw", { type: "button", onclick: () => (under.length ? cancel() : begin()) }, "Compare");
  parts.axes = h("div", {});
  parts.place = h("div.stage-place", {});
  parts.line = h("p.line", {});
  root.classList.add("split");
  root.append(
    h("aside.settings", { "aria-label": "Settings" }, controls.modelControl(), parts.axes, controls.seedControl(() => 1), controls.labelControl({ turn: false }), controls.toldControls(), h("details.more", {}, h("summary", {}, "What all cells share"), h("div.held", {}, controls.stepsControl(), controls.samplerControl(), controls.guidanceControl())), h("div.go", {}, parts.button)),
    h("section.canvas", { "aria-label": "The grid" }, h("header.stage-head", {}, parts.line), parts.place));
  axes();
  empty();
  state.addEventListener("change", ({ detail }) => {
    if (!detail.includes("model")) return;
    asked.words = {};
    axes();
    empty();
  });
}

const there = () => Object.keys(AXES).filter((name) => !AXES[name].there || AXES[name].there());

/** The words of an axis, as they were given or as they begin. */
function words(name) {
  const own = { label: () => (state.controls.label?.names || []).slice(0, 6).join(" "), seed: () => state.seeds(4).join(" ") }[name];
  return asked.words[name] ?? (own ? own() : AXES[name].first);
}

function axes() {
  if (!there().includes(asked.down)) asked.down = "sampler";
  fill(parts.axes, ["across", "down"].map((side) => {
    const input = h("input", { value: words(asked[side]), autocomplete: "off", spellcheck: "false", "aria-label": `Values ${side}`, onchange: (event) => (asked.words[asked[side]] = event.target.value) });
    const choose = h("select", { onchange: (event) => { const other = side === "across" ? "down" : "across"; if (asked[other] === event.target.value) asked[other] = asked[side]; asked[side] = event.target.value; axes(); } }, there().map((name) => h("option", { value: name, selected: name === asked[side] }, AXES[name].name)));
    return h("div.axis-field", {}, field(side === "across" ? "Across" : "Down", choose), input);
  }));
}

function empty() {
  fill(parts.line, h("strong", {}, "Equal seeds, two settings apart."));
  fill(parts.place, h("div.empty", {}, h("div.dither", { "aria-hidden": "true" }), h("p", {}, "What does a setting do?"), h("p.muted", {}, "Choose two settings and their values, with spaces between them. Every cell begins with the same noise, so what differs is theirs.")));
}

function read(side) {
  const axis = AXES[asked[side]];
  const found = words(asked[side]).split(/[\s,]+/).filter(Boolean);
  if (!found.length) throw new Trouble(400, "invalid_request", `${axis.name} ${side} has no values.`);
  return found.map((word) => {
    const changes = axis.parse(word);
    if (changes) return { word, changes };
    const all = axis.all?.();
    throw new Trouble(400, "invalid_request", `“${word}” is no ${axis.name.toLowerCase()}${all && all.length < 12 ? `: expected ${all.join(", ")}` : ""}.`);
  });
}

async function begin() {
  cancel();
  try {
    const [across, down] = [read("across"), read("down")];
    if (across.length * down.length > MOST) throw new Trouble(400, "invalid_request", `${across.length} × ${down.length} is more than ${MOST} cells: leave some out.`);
    await compare(across, down);
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  } finally {
    under = [];
    parts.button.textContent = "Compare";
    parts.button.classList.remove("cancel");
  }
}

async function compare(across, down) {
  const around = state.pictures ? null : await surroundings(state.model);
  const count = state.pictures ? 1 : 64;
  parts.button.textContent = "Cancel";
  parts.button.classList.add("cancel");
  let left = across.length * down.length;
  const all = left;
  const tell = () => fill(parts.line, h("strong", {}, `${AXES[asked.across].name} by ${AXES[asked.down].name.toLowerCase()}`), ` seed ${state.now.seed} · ${left ? `${all - left} of ${all}` : `${all} cells`}`);
  const waits = [];
  const rows = down.map((row) => h("tr", {}, h("th", { scope: "row" }, row.word), across.map((column) => {
    const changes = { ...column.changes, ...row.changes };
    const now = { ...state.now, ...changes };
    const seeds = Array.from({ length: count }, (_, i) => String(BigInt.asUintN(64, BigInt(now.seed) + BigInt(i))));
    const label = now.label === "turn" ? null : now.label;
    const labels = state.controls.label && label !== null ? seeds.map(() => label) : null;
    const kept = new Map();
    const made = place(state.model, around, { seeds, labels, small: true, pick: (i) => kept.has(i) && closer(i, kept.get(i), go) });
    const cell = h("td", {}, made.element);
    const drawing = draw({ body: state.request(changes), seeds, labels, most: state.controls.samples.most }, {
      preview: made.preview,
      done: (i, item) => {
        kept.set(i, item);
        made.done(i, item);
        const tile = cell.querySelector("button");
        tile?.setAttribute("aria-label", `${AXES[asked.across].name} ${column.word}, ${AXES[asked.down].name} ${row.word}`);
      },
    });
    under.push(drawing);
    waits.push(drawing.finished.then(() => { left--; tell(); }, (error) => {
      if (error.name === "AbortError") throw error;
      left--;
      tell();
      fill(cell, h("p.reason", {}, error.message));
    }));
    return cell;
  })));
  const head = h("tr", {}, h("td", {}), across.map((column) => h("th", { scope: "col" }, column.word)));
  fill(parts.place, h("div.scroll", { tabindex: 0, role: "region", "aria-label": "The grid of samples" }, h("table.compare", {}, h("caption", {}, `${AXES[asked.across].name} across, ${AXES[asked.down].name.toLowerCase()} down`), h("thead", {}, head), h("tbody", {}, rows))));
  parts.place.scrollIntoView({ block: "nearest" });
  tell();
  announce(`Drawing ${all} cells.`);
  await Promise.all(waits);
  announce("The grid stands.");
}

function cancel() {
  for (const drawing of under) drawing.cancel();
  under = [];
}

function failed(error) {
  const told = error instanceof Trouble ? error : new Trouble(0, "page", `The page has made a mistake: ${error.message}.`);
  fill(parts.place, h("div.card.failed", {}, h("h2", {}, told.message), h("p", {}, told.remedy)));
  announce(told.message);
  if (!(error instanceof Trouble)) throw error;
}

export const view = { mount, key: (name) => (name === "d" ? (begin(), true) : name === "Escape" ? (cancel(), true) : false) };
