/** Understand: schedule and plan of the chosen sampler, the error they promise, the way of one sample, its neighbours. */

import { Trouble, json } from "../api.js";
import * as controls from "../controls.js";
import { announce, debounced, fill, h, number } from "../dom.js";
import { withSeeds } from "../drawing.js";
import { base64 } from "../files.js";
import { picture, probe, show, surroundings } from "../items.js";
import { plot } from "../plots.js";
import { state } from "../settings.js";

const parts = {};
let item = null; // the sample that is looked into; null: the first of the settings' seeds
let root;
let stale = true;

function mount(element) {
  root = element;
  for (const name of ["error", "schedule", "plan", "way", "near"]) parts[name] = h("section.panel", { id: `panel-${name}` });
  root.classList.add("split");
  root.append(
    h("aside.settings", { "aria-label": "Settings" }, controls.modelControl(), controls.stepsControl(), controls.samplerControl(), controls.labelControl({ turn: false }), controls.toldControls(), controls.guidanceControl(), controls.seedControl(() => 1), h("details.more", {}, h("summary", {}, "More"), controls.moreControls())),
    h("section.canvas.panels", { "aria-label": "Why it draws as it does" }, parts.error, parts.way, parts.schedule, parts.near, parts.plan));
  controls.whenChanged((changed) => {
    if (changed.some((name) => ["model", "seed", "label"].includes(name))) item = null;
    stale = true;
    if (root.isConnected) again();
  }, 250);
  addEventListener("theme", () => ((stale = true), (last = "")));
}

function enter(given) {
  if (given?.item) {
    item = given.item;
    const { settings } = item;
    state.set({ seed: String(settings.seed), label: settings.label === undefined ? null : state.named(state.model, settings.label) });
    item = given.item;
    stale = true;
  }
  if (stale) again();
}

let last = "";

const again = debounced(10, () => {
  stale = false;
  const asked = { ...state.request() };
  const now = JSON.stringify([asked, state.now.seed, state.now.label, item?.settings]);
  if (now === last) return;
  last = now;
  panel("error", "What error it promises", () => json("v1/studio/error", { body: asked }), errors);
  panel("schedule", "Where its steps fall", () => json("v1/studio/plan", { body: asked }), schedule);
  way();
});

/** Fills a panel with what the server says; a trouble is told in its place. */
async function panel(name, title, ask, make) {
  const mine = (parts[name].dataset.turn = String(Math.random()));
  parts[name].setAttribute("aria-busy", "true");
  if (!parts[name].children.length) fill(parts[name], h("h2", {}, title), h("p.muted", {}, "Computing …"));
  try {
    const told = await ask();
    if (parts[name].dataset.turn === mine) fill(parts[name], h("h2", {}, title), ...make(told));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    if (parts[name].dataset.turn === mine) fill(parts[name], h("h2", {}, title), h("p.reason", {}, error.message), h("p.muted", {}, error.remedy));
  } finally {
    if (parts[name].dataset.turn === mine) parts[name].removeAttribute("aria-busy");
  }
}

function errors({ here, curves, on, grid }) {
  const series = Object.entries(curves).map(([name, points]) => ({ name, points, dots: true, strong: name === here.sampler }));
  const share = here.error === null ? null : 100 * here.error;
  const none = here.sampler === "tuned"
    ? "This plan begins by a law of the data of its own, so its error is not told by algebra."
    : "At these settings the samples' law has no finite error: take more steps, or another sampler.";
  const said = share === null
    ? none
    : `With ${here.evaluations} evaluations ${here.sampler} misses the law of the data by ${number(share, 2)} % of its spread, if the network made no mistake of its own.`;
  const whose = on === "training data" ? "Gaussian data of the training data's own mean and covariance" : "Gaussian data of a model spectrum (the run's own data are not at hand)";
  return [
    h("p.said", {}, said),
    plot({
      title: "Exact error over evaluations", series,
      x: { label: "network evaluations", log: true }, y: { label: "error / deviation of the data", log: true, share: true },
      marks: here.error ? [{ x: here.evaluations, y: here.error, name: "here" }] : [],
    }),
    h("p.muted", {}, `By algebra, not by sampling: a plan is a table of numbers, and what it does to ${whose} follows exactly (2-Wasserstein distance, grid ${grid}).`),
  ];
}

function schedule(told) {
  const { t, alpha, sigma, logsnr } = told.schedule;
  const rows = told.rows;
  const spread = Math.max(...sigma.filter((v) => v !== null)) > 3;
  fillPlan(told);
  const order = told.order ? `order ${told.order}` : "no order";
  const walks = told.sampler === "tuned"
    ? `This plan was tuned to the run: ${told.evaluations} evaluations${told.head ? " after a head start by the data's own mean and covariance" : ""}, at times that were fitted too`
    : `${told.sampler} walks ${told.steps} steps of the ${told.grid} grid in ${told.evaluations} evaluations; ${order}`;
  return [
    h("p.said", {}, `${walks}, ${told.stochastic ? "with fresh noise on its way" : "without noise on its way"}.`),
    plot({
      title: "Signal and noise, and the times that are asked about", height: 200,
      series: spread
        ? [{ name: "log₁₀ σ/α", strong: true, points: t.map((at, i) => [at, sigma[i] > 0 && alpha[i] > 0 ? Math.log10(sigma[i] / alpha[i]) : null]) }]
        : [{ name: "α signal", strong: true, points: t.map((at, i) => [at, alpha[i]]) }, { name: "σ noise", points: t.map((at, i) => [at, sigma[i]]) }],
      x: { label: "time t: clean (0) to noise (1)", low: 0, high: 1 }, y: { label: spread ? "log₁₀ of noise over signal" : "share" }, uprights: rows.t,
    }),
    plot({
      title: "The noise of each question", height: 200,
      series: [{ name: "logSNR", strong: true, dots: rows.t.length <= 80, points: rows.logsnr.map((at, i) => [i, at]) }],
      x: { label: "question to the network" }, y: { label: "logSNR, nats" },
    }),
  ];
}

function fillPlan(told) {
  const columns = told.groups.map((group) => group.columns.map((name) => h("th", { scope: "col" }, name)));
  const heads = told.groups.map((group) => h("th", { scope: "colgroup", colspan: group.columns.length }, group.name));
  const count = told.groups[0]?.values.length ?? 0;
  const body = Array.from({ length: count }, (_, i) => h("tr", {}, h("th", { scope: "row" }, number(told.rows.t[i])), h("td", {}, `m${told.rows.slot[i]}`), told.groups.map((group) => group.values[i].map(cell))));
  const left = told.evaluations - count;
  fill(parts.plan, h("h2", {}, "Its plan, as a table"),
    h("p.said", {}, "All that a sampler does stands here: what it remembers of each answer, and how the next question is put together from the base, the memories and fresh noise."),
    h("div.scroll", { tabindex: 0, role: "region", "aria-label": "The plan's table" }, h("table.plan", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col", rowspan: 2 }, "t"), h("th", { scope: "col", rowspan: 2 }, "slot"), heads), h("tr", {}, columns)), h("tbody", {}, body))),
    left > 0 ? h("p.muted", {}, `And ${left} rows more.`) : null);
}

function cell(value) {
  const made = h("td", {}, value === 0 ? "" : number(value));
  const size = Math.abs(value);
  made.style.setProperty("--m", `${Math.round((70 * size) / (size + 0.35))}%`);
  return made;
}

async function way() {
  const { settings = {} } = item ?? {};
  const mine = item;
  const seed = mine ? String(settings.seed) : state.seeds(1)[0];
  const label = mine ? settings.label : state.now.label === "turn" ? null : state.now.label;
  const asked = { ...state.request(), ...(label !== null && label !== undefined ? { label } : {}) };
  if (settings.image) {
    fill(parts.way, h("h2", {}, "From noise to a sample"), h("p.muted", {}, "This sample began with a picture, so its way is not that of its seed alone."));
    return near(mine);
  }
  const around = state.pictures ? null : await surroundings(state.model).catch(() => null);
  let last = null;
  await panel("way", "From noise to a sample", async () => (last = await json("v1/studio/trajectory", { body: withSeeds(asked, [seed]) })), (told) => film(told, seed, label, around));
  if (mine) near(mine);
  else if (last) near(last.states.at(-1));
}

/** The way as a slider: what was asked about, and what was believed of it. */
function film(told, seed, label, around) {
  const plane = around?.columns.length === 2;
  const [state_, belief] = told.states[0].png ? [frame(), frame()] : plane ? [canvas(), canvas()] : [numbers(around), numbers(around)];
  const end = told.times.length - 1;
  const out = h("output", {});
  const slider = h("input", { type: "range", min: 0, max: end, value: end, step: 1, "aria-label": "Moment on the way from noise to the sample", oninput: () => at(Number(slider.value)) });
  function at(i) {
    const moment = `t = ${number(told.times[i])}, logSNR ${told.logsnr[i] === null ? "∞" : number(told.logsnr[i])}`;
    out.textContent = i === end ? "The sample" : `Question ${i + 1}: ${moment}`;
    slider.setAttribute("aria-valuetext", out.textContent);
    if (told.states[0].png) {
      show(state_, told.states[i].png);
      show(belief, told.beliefs[i].png);
    } else if (!plane) {
      for (const [holder, moments] of [[state_, told.states], [belief, told.beliefs]]) holder.querySelectorAll("dd").forEach((one, k) => (one.textContent = number(moments[i].values[k], 4)));
    } else {
      path(state_, told.states, i, around);
      path(belief, told.beliefs, i, around);
    }
  }
  let timer = 0;
  const play = h("button", { type: "button", onclick: () => {
    clearInterval(timer);
    let i = 0;
    at((slider.value = 0));
    timer = setInterval(() => {
      if (++i > end || !slider.isConnected) return clearInterval(timer);
      slider.value = i;
      at(i);
    }, Math.max(40, 2500 / (end + 1)));
  } }, "Play");
  at(end);
  return [
    h("p.said", {}, `Seed ${seed}${label !== null && label !== undefined ? `, label ${label}` : ""}: on the left what the network is asked about, on the right the clean item that it believes lies behind it.`),
    h("div.way", {}, h("figure", {}, state_, h("figcaption", {}, "asked about")), h("figure", {}, belief, h("figcaption", {}, "believed"))),
    h("div.slide", {}, play, slider, out),
  ];
}

const frame = () => h("img.frame", { alt: "" });
const canvas = () => h("canvas.frame", { width: 440, height: 440, role: "img", "aria-label": "The point on its way" });

const numbers = (around) => h("dl.facts", {}, around.columns.map((name) => h("div", {}, h("dt", {}, name.replaceAll("_", " ")), h("dd", {}))));

function path(place, moments, upTo, around) {
  const pen = place.getContext("2d");
  pen.clearRect(0, 0, place.width, place.height);
  const [x0, x1, y0, y1] = around.box;
  const spot = ([x, y]) => [((x - x0) / (x1 - x0)) * place.width, (1 - (y - y0) / (y1 - y0)) * place.height];
  pen.fillStyle = probe("--faint-ink");
  for (const row of around.real) pen.fillRect(...spot(row), 3, 3);
  pen.strokeStyle = pen.fillStyle = probe("--accent");
  pen.lineWidth = 2;
  pen.beginPath();
  moments.slice(0, upTo + 1).forEach(({ values }, i) => pen[i ? "lineTo" : "moveTo"](...spot(values)));
  pen.stroke();
  pen.beginPath();
  pen.arc(...spot(moments[upTo].values), 8, 0, 7);
  pen.fill();
}

function near(thing) {
  const image = thing.png ? (typeof thing.png === "string" ? thing.png : base64(thing.png)) : null;
  const body = { model: state.model.id, ...(image ? { image } : { values: thing.values }) };
  return panel("near", "Is it a copy?", () => json("v1/studio/nearest", { body }), (told) => {
    const first = told.items[0].distance;
    const said = told.copy
      ? `Yes, nearly: the nearest training item is ${number(first)} away, nearer than 99 of 100 unseen real items come to theirs (${number(told.threshold)}).`
      : `No: the nearest training item is ${number(first)} away; only below ${number(told.threshold)}, where 1 of 100 unseen real items comes, would it be called a copy.`;
    announce(said);
    const looked = h("p.muted", {}, `The nearest of ${number(told.looked)}${told.looked < told.of ? ` of ${number(told.of)}` : ""} training items, by Euclidean distance.`);
    if (!image) return [h("p.said", {}, said), neighbours(thing.values, told.items), looked];
    const own = h("figure", {}, picture(image, "The sample"), h("figcaption", {}, "the sample"));
    const others = told.items.map((one) => h("figure", {}, picture(one.png, "A training item"), h("figcaption", {}, number(one.distance))));
    return [h("p.said", {}, said), h("div.near", {}, own, others), looked];
  });
}

/** Rows beside their nearest, the sample first. */
function neighbours(values, items) {
  const row = (name, numbers_) => h("tr", {}, h("th", { scope: "row" }, name), numbers_.map((value) => h("td", {}, number(value))));
  return h("div.scroll", { tabindex: 0, role: "region", "aria-label": "The nearest training rows" }, h("table.rows", {}, h("tbody", {}, row("the sample", values), items.map((one) => row(`${number(one.distance)} away`, one.values)))));
}

export const view = { mount, enter };
