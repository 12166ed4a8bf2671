/** Inpaint: a region of a picture drawn anew, or the whole of it begun with. */

import { Trouble } from "../api.js";
import { Brush } from "../brush.js";
import { closer } from "../closer.js";
import * as controls from "../controls.js";
import { announce, field, fill, h, number, toast } from "../dom.js";
import { draw } from "../drawing.js";
import { settingsOf } from "../files.js";
import { gallery } from "../gallery.js";
import { picture, place } from "../items.js";
import { randomSeed, state } from "../settings.js";

const COUNT = 6;
const parts = {};
let go;
let brush = null;
let mode = "region";
let strength = 0.6;
let under = null;
let tried = false;

function mount(root, goes) {
  go = goes;
  parts.button = h("button.primary.draw", { type: "button", onclick: () => (under ? under.cancel?.() : begin()) }, "Redraw");
  parts.file = h("input.unseen", { type: "file", accept: "image/*", id: "upload", tabindex: -1, "aria-label": "A picture from this machine", onchange: () => parts.file.files[0] && upload(parts.file.files[0]) });
  parts.side = h("div", {});
  parts.board = h("div.board-place", {});
  parts.tools = h("div.actions", {});
  parts.found = h("div.stage-place", {});
  parts.line = h("p.line", { role: "status" });
  root.classList.add("split");
  root.append(
    h("aside.settings", { "aria-label": "Settings" }, controls.modelControl(), parts.side, controls.labelControl({ turn: false }), controls.toldControls(), controls.stepsControl(), controls.samplerControl(), controls.guidanceControl(), controls.seedControl(() => COUNT), h("div.go", {}, parts.button)),
    h("section.canvas", { "aria-label": "The picture" }, parts.line, h("div.bench", {}, h("div", {}, parts.board, parts.tools), parts.found), parts.file));
  side();
  tools();
  nothing();
  state.addEventListener("change", ({ detail }) => detail.includes("model") && nothing());
}

async function enter(given) {
  if (given?.item?.png) {
    const { label } = given.item.settings;
    if (label !== undefined) state.set({ label: state.named(state.model, label) });
    return use(given.item.png);
  }
  if (given?.upload) return upload(given.upload);
  if (!brush && !tried) nothing();
}

const possible = () => Boolean(state.controls.image);

async function nothing() {
  brush = null;
  parts.button.disabled = true;
  fill(parts.found);
  parts.tools.hidden = true;
  if (!possible()) return fill(parts.board, h("div.empty", {}, h("p", {}, `${state.model.id} draws no pictures.`), h("p.muted", {}, "Inpainting is for models of pictures: choose another, or draw points in Draw.")));
  const kept = (await gallery.all().catch(() => [])).filter((item) => item.png).slice(0, 8);
  if (brush) return; // chosen meanwhile
  fill(parts.line, h("strong", {}, "Choose a picture to begin with."));
  fill(parts.board, h("div.empty", {}, h("div.dither", { "aria-hidden": "true" }), h("p", {}, "A picture to change: one of yours, one that you kept, or a new sample."),
    h("div.actions", {}, h("button.primary", { type: "button", onclick: () => parts.file.click() }, "Choose a file"), h("button", { type: "button", onclick: fromSample }, "Draw a sample")),
    kept.length ? h("div.strip", {}, kept.map((item) => h("button.tile", { type: "button", "aria-label": `Kept: seed ${item.settings.seed}`, onclick: () => enter({ item }) }, picture(item.png, "")))) : null));
}

async function fromSample() {
  fill(parts.line, "Drawing one …");
  try {
    const made = await draw({ body: state.request(), seeds: state.seeds(1), labels: single(1) }).finished;
    await use(made.items.get(0).png);
  } catch (error) {
    failed(error);
  }
}

const single = (count) => (state.controls.label && state.now.label !== null && state.now.label !== "turn" ? new Array(count).fill(state.now.label) : null);

async function upload(file) {
  tried = true;
  try {
    await use(new Uint8Array(await file.arrayBuffer()), file.type || "image/png");
  } catch {
    toast("That file is no picture that this browser can read: try a PNG or a JPEG.");
  }
}

async function use(data, type = "image/png") {
  if (!possible()) return nothing();
  const image = await createImageBitmap(new Blob([data], { type }));
  const size = /^(\d+)x(\d+)$/.exec(state.now.size);
  brush = new Brush(size ? [Number(size[1]), Number(size[2])] : state.model.shape.slice(-2), ready);
  brush.load(image);
  const told = settingsOf(data);
  if (told?.label !== undefined) state.set({ label: state.named(state.model, told.label) });
  fill(parts.board, brush.element);
  fill(parts.found, h("p.muted", {}, "What is drawn anew appears here, a few to choose from."));
  parts.tools.hidden = false;
  ready();
}

function ready() {
  const missing = mode === "region" && (!brush || brush.empty);
  parts.button.disabled = !brush || missing;
  parts.button.textContent = mode === "region" ? "Redraw the region" : "Draw from it";
  if (brush) fill(parts.line, mode === "region" ? (missing ? "Paint over what is to be drawn anew." : "The hatched region is drawn anew; the rest stays as it is, to the pixel.") : `The last ${Math.round(100 * strength)} % of the way is walked again from this picture.`);
  parts.tools.hidden = !brush || mode !== "region";
}

function side() {
  const choose = (value, name) => h("label.chip", {}, h("input", { type: "radio", name: "how", checked: mode === value, onchange: () => { mode = value; side(); ready(); } }), h("span", {}, name));
  const out = h("output.figure", {}, strength.toFixed(2));
  fill(parts.side, h("fieldset.chips", {}, h("legend", {}, "How"), choose("region", "a region"), choose("whole", "the whole, by strength")),
    mode === "whole" ? field("Strength", h("input", { type: "range", min: 0.05, max: 1, step: 0.05, value: strength, oninput: (event) => { strength = Number(event.target.value); out.textContent = strength.toFixed(2); ready(); } }), "Little: nearly the picture. 1: noise alone.", out) : null);
}

function tools() {
  const out = h("output.figure", {}, "12 %");
  const size = field("Brush", h("input", { type: "range", min: 4, max: 50, value: 12, oninput: (event) => { if (brush) brush.size = Number(event.target.value) / 100; out.textContent = `${event.target.value} %`; } }), null, out);
  const erase = h("button.toggle", { type: "button", "aria-pressed": "false", onclick: () => { brush.erases = !brush.erases; erase.setAttribute("aria-pressed", String(brush.erases)); } }, "Erase");
  const act = (name, does) => h("button", { type: "button", onclick: () => brush && does() }, name);
  fill(parts.tools, size, erase, act("Undo", () => brush.undo()), act("Clear", () => brush.clear()), act("Invert", () => brush.invert()), act("Another picture", nothing));
}

async function begin() {
  if (!brush || parts.button.disabled) return;
  if (!state.now.locked && under === null && parts.found.dataset.seed === state.now.seed) state.set({ seed: randomSeed() });
  parts.found.dataset.seed = state.now.seed;
  const [seeds, labels] = [state.seeds(COUNT), single(COUNT)];
  const rest = { image: brush.source(), ...(mode === "region" ? { mask: brush.mask(), strength: 1 } : { strength }) };
  const kept = new Map();
  const made = place(state.model, null, { seeds, labels, pick: (i) => kept.has(i) && closer(i, kept.get(i), go) });
  fill(parts.found, made.element);
  const drawing = draw({ body: state.request(), seeds, labels, rest }, { preview: made.preview, done: (i, item) => { kept.set(i, item); made.done(i, item); }, failed: made.failed });
  under = drawing;
  parts.button.textContent = "Cancel";
  announce("Drawing anew.");
  try {
    const { seconds } = await drawing.finished;
    parts.found.append(h("p.muted", {}, `${COUNT} drawn in ${number(seconds, 2)} s. Choose one to look closely, keep it, or go on from it.`));
    announce("Drawn anew.");
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  } finally {
    under = null;
    ready();
  }
}

function failed(error) {
  const told = error instanceof Trouble ? error : new Trouble(0, "page", `The page has made a mistake: ${error.message}.`);
  fill(parts.found, h("div.card.failed", {}, h("h2", {}, told.message), h("p", {}, told.remedy)));
  announce(told.message);
}

export const view = { mount, enter, key: (name) => (name === "d" ? (begin(), true) : name === "Escape" ? (under?.cancel(), true) : false) };
