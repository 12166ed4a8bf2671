/** The controls of what is to be drawn; each view takes those that it needs, and all show the same state. */

import { debounced, field, fill, h } from "./dom.js";
import { COMMON, STEPS, randomSeed, state } from "./settings.js";

/** A control that is made anew from the state whenever that changes in what it shows. */
function live(make, shows) {
  const holder = h("div.held", {});
  const again = () => fill(holder, make());
  state.addEventListener("change", ({ detail }) => {
    if (detail.some((name) => name === "model" || name === "all" || shows.includes(name)) && !holder.contains(document.activeElement)) again();
  });
  again();
  return holder;
}

export const modelControl = () => live(() => {
  if (state.models.length < 2) return h("p.model", {}, h("span.label", {}, "Model"), h("strong", {}, state.model.id));
  const options = state.models.map((model) => h("option", { value: model.id, selected: model.id === state.model.id }, model.id));
  return field("Model", h("select", { onchange: (event) => { event.target.blur(); state.set({ model: event.target.value, sampler: null, steps: null, grid: null, guidance: null, options: "", size: "", count: null }); } }, options));
}, []);

export const labelControl = ({ turn = true } = {}) => live(() => {
  const names = state.controls.label?.names;
  if (!names) return [];
  const choices = [...(turn ? [["turn", "each in turn"]] : []), [null, "any"], ...names.map((name) => [name, name])];
  const chosen = !turn && state.now.label === "turn" ? null : state.now.label;
  if (names.length > 16) {
    const options = choices.map(([value, name]) => h("option", { value: JSON.stringify(value), selected: value === chosen }, name));
    return field("Told", h("select", { onchange: (event) => state.set({ label: JSON.parse(event.target.value) }) }, options));
  }
  const group = `told-${Math.random().toString(36).slice(2)}`;
  return h("fieldset.chips", {}, h("legend", {}, "Told"), choices.map(([value, name]) =>
    h("label.chip", {}, h("input", { type: "radio", name: group, checked: value === chosen, onchange: () => state.set({ label: value }) }), h("span", {}, name))));
}, ["label"]);

/** A prompt, and what else a model can be told, each in a field of its own. */
export const toldControls = () => live(() => {
  const { text, tell = {} } = state.controls;
  const made = [];
  if (text) made.push(field("Prompt", h("textarea", { rows: 2, value: state.now.text, placeholder: "say nothing", onchange: (event) => state.set({ text: event.target.value }) }), text.expects));
  for (const [name, control] of Object.entries(tell)) {
    const change = (event) => state.set({ tell: { ...state.now.tell, [name]: event.target.value } });
    const value = state.now.tell[name] ?? "";
    if (control.kind === "choice" && !control.many) {
      made.push(field(name, h("select", { onchange: change }, [h("option", { value: "" }, "any"), control.names.map((word) => h("option", { value: word, selected: word === value }, word))])));
    } else made.push(field(name, h("input", { value, autocomplete: "off", placeholder: "any", onchange: change }), control.expects));
  }
  return made;
}, ["text", "tell"]);

const NOTES = { ddpm: "noise on its way", dpmpp_2m_sde: "noise on its way", euler_ancestral: "noise on its way", ddim: "order 1", heun: "order 2, asks twice", dpmpp_2m: "order 2", unipc_3: "order 3" };

export const samplerControl = () => live(() => {
  const { names, default: own } = state.controls.sampler;
  const option = (name) => h("option", { value: name, selected: name === state.value("sampler") }, name === own ? `${name} (the recipe’s)` : NOTES[name] ? `${name} – ${NOTES[name]}` : name);
  const common = COMMON.filter((name) => names.includes(name));
  if (!common.includes(own)) common.unshift(own);
  return field("Sampler", h("select", { onchange: (event) => state.set({ sampler: event.target.value, grid: null, options: "" }) },
    state.controls.tuned ? h("optgroup", { label: "For this run" }, h("option", { value: "tuned", selected: state.value("sampler") === "tuned" }, "tuned – few evaluations")) : null,
    h("optgroup", { label: "Often taken" }, common.map(option)),
    h("optgroup", { label: "All others" }, names.filter((name) => !common.includes(name)).sort().map(option))));
}, ["sampler"]);

/** How many evaluations, of the plans tuned to the run. */
function evaluations() {
  const { plans } = state;
  const line = ({ evaluations: n, share, untuned }) => h("option", { value: n, selected: n === state.now.steps }, `${n} – ${share} of ${untuned}’s error`);
  if (!plans.length) return field("Evaluations", h("output", {}, "none"), "No plan is tuned for this guidance: move it, or run unnoise tune.");
  return field("Evaluations", h("select", { onchange: (event) => state.set({ steps: Number(event.target.value) }) }, plans.map(line)), "Each plan was fitted to this run’s own fine solution.");
}

export const stepsControl = () => live(() => {
  if (state.value("sampler") === "tuned") return evaluations();
  const most = state.controls.steps.most;
  const stops = STEPS.filter((n) => n <= most);
  const near = (n) => stops.reduce((best, stop, i) => (Math.abs(Math.log(stop / n)) < Math.abs(Math.log(stops[best] / n)) ? i : best), 0);
  const out = h("input.figure", { type: "number", min: 1, max: most, value: state.value("steps"), "aria-label": "Steps, as a number", onchange: (event) => state.set({ steps: Math.max(1, Math.min(most, Math.round(Number(event.target.value)) || 1)) }) });
  const slider = h("input", {
    type: "range", min: 0, max: stops.length - 1, step: 1, value: near(state.value("steps")), "aria-valuetext": `${state.value("steps")} steps`,
    oninput: (event) => {
      const steps = stops[Number(event.target.value)];
      out.value = steps;
      event.target.setAttribute("aria-valuetext", `${steps} steps`);
      state.set({ steps });
    },
  });
  return field("Steps", slider, "The same seed keeps its picture at any number of steps.", out);
}, ["steps", "sampler", "guidance"]);

export const guidanceControl = () => live(() => {
  if (!state.controls.guidance) return [];
  const own = Number(state.value("guidance"));
  const value = Number.isFinite(own) ? own : 1;
  const out = h("output.figure", {}, value.toFixed(2));
  return field("Guidance", h("input", {
    type: "range", min: 0, max: 8, step: 0.25, value,
    oninput: (event) => {
      out.textContent = Number(event.target.value).toFixed(2);
      state.set({ guidance: Number(event.target.value) });
    },
  }), "1: as learned. More: truer to what it is told, and less varied.", out);
}, ["guidance"]);

export const seedControl = (count = () => state.count) => live(() => {
  const lock = h("button.quiet.toggle", { type: "button", "aria-pressed": String(state.now.locked), title: "Locked: Draw keeps the seed (L)", onclick: (event) => { event.currentTarget.blur(); state.set({ locked: !state.now.locked }); } }, state.now.locked ? "Locked" : "Lock");
  const input = h("input.seed", { inputmode: "numeric", pattern: "[0-9]*", autocomplete: "off", value: state.now.seed, onchange: (event) => /^\d{1,20}$/.test(event.target.value.trim()) ? state.set({ seed: event.target.value.trim() }) : (event.target.value = state.now.seed) });
  const step = (name, title, does) => h("button", { type: "button", title, onclick: (event) => { event.currentTarget.blur(); does(); } }, name);
  return h("div", {}, field("Seed", input, null, lock), h("div.pair", {},
    step("Next", "The next seeds (N)", () => nextSeed(count())), step("Random", "A random seed (R)", () => state.set({ seed: randomSeed() }))));
}, ["seed", "locked"]);

/** The seeds after those shown. */
export const nextSeed = (count) => state.set({ seed: String(BigInt.asUintN(64, BigInt(state.now.seed) + BigInt(count))) });

export const countControl = () => live(() => {
  const sizes = state.pictures ? [1, 4, 9, 16, 25, 36, 64] : [16, 64, 128, 256, 512];
  const options = [...new Set([...sizes, state.count])].sort((a, b) => a - b).map((n) => h("option", { value: n, selected: n === state.count }, n));
  return field("How many", h("select", { onchange: (event) => state.set({ count: Number(event.target.value) }) }, options));
}, ["count"]);

export const moreControls = () => live(() => {
  const grids = [[null, "the sampler’s own"], ...state.controls.grid.names.map((name) => [name, name])];
  const grid = h("select", { onchange: (event) => state.set({ grid: JSON.parse(event.target.value) }) }, grids.map(([value, name]) => h("option", { value: JSON.stringify(value), selected: value === state.now.grid }, name)));
  const options = h("input", { value: state.now.options, placeholder: "eta=0.5", autocomplete: "off", spellcheck: "false", onchange: (event) => state.set({ options: event.target.value }) });
  const size = h("input", { value: state.now.size, placeholder: `${state.model.shape.at(-2)}x${state.model.shape.at(-1)}`, autocomplete: "off", onchange: (event) => state.set({ size: event.target.value }) });
  return [field("Grid", grid, "Where the steps fall between noise and data."), field("Options", options, "The sampler’s own, such as eta=0.5."), state.model.any_size ? field("Size", size, "Height by width; other sizes than it learned are an adventure.") : null];
}, ["grid", "options", "size", "sampler"]);

/** Calls `work` a moment after anything that is drawn by has changed. */
export function whenChanged(work, quiet = 180) {
  const soon = debounced(quiet, work);
  state.addEventListener("change", ({ detail }) => detail.some((name) => !["locked", "live"].includes(name)) && soon(detail));
}
