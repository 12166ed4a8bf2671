/** Draw: settings on one side, samples forming on the other. */

import { Trouble } from "../api.js";
import { closer, keep } from "../closer.js";
import * as controls from "../controls.js";
import { announce, fill, h, number, save, toast } from "../dom.js";
import { draw } from "../drawing.js";
import { zip } from "../files.js";
import { fileName, gallery } from "../gallery.js";
import { csv, place, surroundings } from "../items.js";
import { randomSeed, state } from "../settings.js";

let go;
let under = null; // the drawing under way
let shown = null; // the place of the last, and what it was for
let items = new Map();
let around = null;
let last = ""; // what was asked for last
const parts = {};

function mount(root, goes) {
  go = goes;
  parts.button = h("button.primary.draw", { type: "button", onclick: () => (under ? cancel() : begin()) }, "Draw");
  parts.line = h("p.line", {});
  parts.bar = h("progress", { max: 1, value: 0, "aria-label": "Drawn so far", class: "idle" });
  parts.tools = h("div.actions", {});
  parts.place = h("div.stage-place", {});
  const settings = h("aside.settings", { "aria-label": "Settings" },
    controls.modelControl(), controls.labelControl(), controls.toldControls(), controls.stepsControl(), controls.samplerControl(), controls.guidanceControl(), controls.seedControl(), controls.countControl(),
    h("details.more", {}, h("summary", {}, "More"), controls.moreControls()),
    h("label.check", {}, h("input", { type: "checkbox", checked: state.now.live, onchange: (event) => state.set({ live: event.target.checked }) }), " Draw as I change things"),
    h("div.go", {}, parts.button));
  root.classList.add("split");
  root.append(settings, h("section.canvas", { "aria-label": "Samples" }, h("header.stage-head", {}, parts.line, parts.bar, parts.tools), parts.place));
  empty();
  controls.whenChanged((changed) => {
    if (changed.includes("model")) return;
    if (root.isConnected && state.now.live && (shown || changed.includes("seed")) && asked() !== last) begin(true);
    else describe();
  });
  state.addEventListener("change", ({ detail }) => detail.includes("model") && (cancel(), empty()));
  addEventListener("theme", () => shown?.place.repaint?.());
}

function enter(given) {
  if (given?.count) state.set({ count: given.count });
  if (given?.draw) begin(true);
}

function empty() {
  shown = null;
  items = new Map();
  around = null;
  describe();
  fill(parts.tools);
  fill(parts.place, h("div.empty", {}, h("div.dither", { "aria-hidden": "true" }), h("p", {}, "Nothing is drawn yet."), h("p.muted", {}, "Press ", h("kbd", {}, "D"), " or Draw. Or drop a picture that was drawn here, and its settings come back.")));
}

function describe() {
  const { now } = state;
  const told = now.label === null || !state.controls.label ? null : now.label === "turn" ? "each label in turn" : `label ${now.label}`;
  const seeds = state.seeds();
  const range = seeds.length > 1 ? `seeds ${seeds[0]} to ${seeds.at(-1)}` : `seed ${seeds[0]}`;
  fill(parts.line, h("strong", {}, `${state.count} ${state.count > 1 ? "samples" : "sample"} of ${state.model.id}`), ` ${[told, `${state.value("sampler")}, ${state.value("steps")} ${state.value("sampler") === "tuned" ? "evaluations" : "steps"}`, range].filter(Boolean).join(" · ")}`);
}

/** All that a drawing depends on, to tell one from another. */
const asked = () => JSON.stringify([state.request(), state.now.seed, state.now.label, state.count]);

/** keepSeed: what is shown is drawn anew by other settings, not other samples. */
async function begin(keepSeed = false) {
  under?.cancel();
  if (!keepSeed && shown && !state.now.locked && shown.seed === state.now.seed) state.set({ seed: randomSeed() });
  const [seeds, labels] = [state.seeds(), state.labels()];
  const mine = {};
  under = mine;
  last = asked();
  describe();
  busy(true);
  items = new Map();
  fill(parts.tools);
  try {
    if (!state.pictures) around ??= await surroundings(state.model);
    if (under !== mine) return;
    const like = JSON.stringify([state.model.id, seeds.length, Boolean(labels), state.pictures]);
    if (!shown || shown.like !== like) {
      const made = place(state.model, around, { seeds, labels, pick: (i) => items.has(i) && closer(i, items.get(i), go) });
      shown = { place: made, like };
      fill(parts.place, made.element);
    } else shown.place.again(seeds, labels);
    shown.seed = state.now.seed;
    const made = shown.place;
    let quarter = 0;
    const drawing = draw({ body: state.request(), seeds, labels, most: state.controls.samples.most }, {
      preview: (i, told) => under === mine && made.preview(i, told),
      done: (i, item) => {
        if (under !== mine) return;
        items.set(i, item);
        made.done(i, item);
      },
      failed: (i, reason) => made.failed(i, reason),
      place: (n) => under === mine && fill(parts.tools, h("span.muted", {}, n === "full" ? "The server is full; trying again …" : n ? `${n} before this` : "Next in line")),
      progress: (done, of) => {
        if (under !== mine || !of) return;
        parts.bar.value = done / of;
        const now = Math.floor((4 * done) / of);
        if (now > quarter && now < 4) announce(`${25 * (quarter = now)} percent`);
      },
    });
    under.cancel = drawing.cancel;
    if (!keepSeed) announce(`Drawing ${seeds.length} samples.`);
    const told = await drawing.finished;
    if (under !== mine) return;
    finished(told);
  } catch (error) {
    if (under !== mine) return;
    if (error.name === "AbortError") stopped();
    else failed(error);
  } finally {
    if (under === mine) {
      under = null;
      busy(false);
    }
  }
}

function busy(now) {
  parts.button.textContent = now ? "Cancel" : "Draw";
  parts.button.classList.toggle("cancel", now);
  parts.bar.classList.toggle("idle", !now);
  parts.bar.value = 0;
  parts.place.setAttribute("aria-busy", String(now));
}

function cancel() {
  under?.cancel?.();
}

function stopped() {
  announce("Cancelled.");
  fill(parts.tools, h("span.muted", {}, "Cancelled. What is seen are its last beliefs."));
}

function finished({ seconds, first }) {
  const done = `${items.size} drawn in ${number(seconds, 2)} s`;
  announce(`${done}.`);
  parts.place.dataset.first = first ?? seconds;
  fill(parts.tools,
    h("span.muted", {}, done),
    state.pictures || items.size <= 64 ? h("button", { type: "button", onclick: keepAll, title: "Keep all (K)" }, items.size > 1 ? "Keep all" : "Keep") : null,
    h("button", { type: "button", onclick: saveAll }, state.pictures ? (items.size > 1 ? "Save zip" : "Save PNG") : "Save CSV"),
    h("button", { type: "button", onclick: () => go("understand", { item: items.get(0) }) }, "Understand"));
}

function failed(error) {
  const told = error instanceof Trouble ? error : new Trouble(0, "page", `The page has made a mistake: ${error.message}.`);
  announce(`It failed. ${told.message}`);
  shown = null;
  fill(parts.tools);
  fill(parts.place, h("div.card.failed", {}, h("h2", {}, told.message), h("p", {}, told.remedy), h("button", { type: "button", onclick: () => begin(true) }, "Try again")));
  if (!(error instanceof Trouble)) throw error;
}

async function keepAll() {
  if (!items.size || (!state.pictures && items.size > 64)) return;
  if (items.size === 1) return keep(items.get(0));
  const ids = [];
  for (const { settings, png = null, values = null } of items.values()) ids.push(await gallery.keep({ settings, png, values }));
  toast(`Kept ${ids.length}.`, { name: "Undo", does: () => ids.forEach((id) => gallery.forget(id)) });
}

function saveAll() {
  const all = [...items.values()];
  if (!state.pictures) return save(csv(around, all), `${state.model.id}.csv`);
  if (all.length === 1) return save(new Blob([all[0].png], { type: "image/png" }), `${fileName(all[0])}.png`);
  save(zip(all.map((item) => [`${fileName(item)}.png`, item.png])), `${state.model.id}.zip`);
}

function key(name) {
  const does = {
    d: () => begin(),
    n: () => controls.nextSeed(state.count),
    r: () => state.set({ seed: randomSeed() }),
    l: () => state.set({ locked: !state.now.locked }),
    k: keepAll,
    Escape: cancel,
  }[name];
  does?.();
  return Boolean(does);
}

export const view = { mount, enter, key };
