/** Watch: trainings in the folder, as they go on. */

import { Trouble, bytes, json } from "../api.js";
import { fill, h, number } from "../dom.js";
import { plot } from "../plots.js";

const EVERY = 3000; // milliseconds between looks
const STATES = { training: "● training", finished: "✓ finished", stopped: "‖ stopped", damaged: "! cannot be read" };
const parts = {};
let chosen = null;
let timer = 0;
let root;
let last = "";
let player = null;

function mount(element) {
  root = element;
  parts.list = h("ul.runs", {});
  parts.run = h("section.canvas", { "aria-label": "The training" });
  root.classList.add("split");
  root.append(h("aside.settings", { "aria-label": "Runs" }, h("h2.aside-head", {}, "Runs"), parts.list), parts.run);
  addEventListener("theme", () => (last = ""));
}

function enter() {
  chosen = location.hash.split("/")[1] || chosen;
  look();
}

const leave = () => clearTimeout(timer);

async function look() {
  clearTimeout(timer);
  try {
    const { data } = await json("v1/runs");
    if (!data.length) return void fill(parts.run, h("div.empty", {}, h("p", {}, "No training is here yet."), h("p.muted", {}, "Begin one with ", h("code", {}, "unnoise train digits"), "; it appears by itself.")));
    chosen = data.some((run) => run.name === chosen) ? chosen : (data.find((run) => run.state === "training") ?? data[0]).name;
    fill(parts.list, data.map(entry));
    show(await json(`v1/runs/${chosen}`));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    if (error.code !== "offline") fill(parts.run, h("div.card.failed", {}, h("h2", {}, error.message), h("p", {}, error.remedy)));
  } finally {
    clearTimeout(timer);
    timer = setTimeout(() => (root.isConnected && document.visibilityState === "visible" ? look() : (timer = setTimeout(look, EVERY))), EVERY);
  }
}

function entry(run) {
  const share = run.of ? Math.min(1, run.items / run.of) : 0;
  return h("li", {}, h("button.run", { type: "button", "aria-pressed": String(run.name === chosen), onclick: () => { chosen = run.name; last = ""; history.replaceState(null, "", `#watch/${chosen}`); look(); } },
    h("strong", {}, run.name), h("span", {}, STATES[run.state]), h("progress", { max: 1, value: share, "aria-label": `${run.name}: share of its items seen` }), h("small", {}, run.trouble ?? `${number(run.items)} of ${number(run.of)} items${run.loss ? ` · loss ${number(run.loss)}` : ""}`)));
}

/** 75 as 1 min 15 s. */
const span = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);

function show(run) {
  const { quiet, ...rest } = run;
  const now = JSON.stringify(rest);
  if (now === last) return;
  const changed = JSON.stringify([run.name, run.film, run.shots]) !== player?.of;
  last = now;
  if (run.trouble) return void fill(parts.run, h("div.card.failed", {}, h("h2", {}, `${run.name} cannot be read.`), h("p", {}, run.trouble)));
  const left = run.state === "training" && run.rate ? `, about ${span((run.of - run.items) / run.rate)} left` : "";
  const pace = run.rate ? ` at ${number(run.rate)} items a second` : "";
  const said = { training: `Training: ${number(run.items)} of ${number(run.of)} items${pace}${left}.`, finished: `Finished: ${number(run.items)} items${run.seconds ? ` in ${span(run.seconds)}` : ""}.`, stopped: `Stopped at ${number(run.items)} of ${number(run.of)} items. Go on with: unnoise train … --resume` }[run.state];
  if (changed) player = { of: JSON.stringify([run.name, run.film, run.shots]), element: film(run) };
  fill(parts.run,
    h("header.stage-head", {}, h("h1", {}, run.name), h("p.line", {}, said)),
    h("div.training", {}, h("div", {}, words(run), loss(run), levels(run)), player.element));
}

function words(run) {
  const verdict = run.verdict ? h("p.verdict", {}, run.verdict.sentence, h("small", {}, ` (measured after ${number(run.verdict.items)} items)`)) : null;
  const advice = run.advice.map((one) => h("p.advice", {}, one.sentence, one.change.length ? h("span", {}, " To change: ", one.change.map((word, i) => [i ? ", " : "", h("code", {}, word)])) : null));
  const none = verdict || run.state === "training" ? null : h("p.muted", {}, "Not measured yet: ", h("code", {}, `unnoise evaluate runs/${run.name}`), " says how good it is.");
  return h("div.words", {}, verdict, advice, none);
}

function loss(run) {
  if (!run.loss_curve.length) return h("p.muted", {}, "No loss is written yet; the first comes within moments.");
  const series = [{ name: "training", points: run.loss_curve, strong: true }];
  if (run.held_out.length) series.push({ name: "held out", points: run.held_out, dots: true });
  return plot({ title: "Loss", series, x: { label: "items seen", low: 0 }, y: { label: "weighted squared error" } });
}

function levels({ levels: told }) {
  if (!told) return h("p.muted", {}, "The error by noise level comes with the first held-out measurement.");
  const series = told.curves.map((one, i) => ({ name: `${number(one.items / 1000)} k items`, strong: i === told.curves.length - 1, points: told.noise.map((at, k) => [at, one.error[k]]) }));
  if (told.least) series.push({ name: "least possible", faint: true, points: told.noise.map((at, k) => [at, told.least[k]]) });
  return plot({ title: "Held-out error by noise level", series: series.map((one) => ({ ...one, named: true })), x: { label: "log(σ/α): clean to noisy" }, y: { label: "squared error of x₀", log: true } });
}

/** The samples that were drawn as it trained, the newest first seen, as a film with a slider. */
function film(run) {
  const kind = run.film.length > 1 ? "frames" : "samples";
  const shots = run.film.length > 1 ? run.film : run.shots;
  if (!shots.length) return h("p.muted", {}, "No samples are drawn as this run trains (train.sample_every=0); draw from it when it is served.");
  const image = h("img.shot", { alt: "" });
  const out = h("output", {});
  const slider = h("input", { type: "range", min: 0, max: shots.length - 1, value: shots.length - 1, "aria-label": "Samples after so many items", oninput: () => at(Number(slider.value)) });
  const urls = new Map();
  async function at(i) {
    out.textContent = `after ${number(shots[i])} items`;
    slider.setAttribute("aria-valuetext", out.textContent);
    image.alt = `Samples of the same seeds ${out.textContent}`;
    if (!urls.has(i)) urls.set(i, bytes(`v1/runs/${run.name}/${kind}/${shots[i]}.png`).then((data) => URL.createObjectURL(new Blob([data], { type: "image/png" })), () => null));
    const url = await urls.get(i);
    if (url && Number(slider.value) === i) image.src = url;
  }
  let playing = 0;
  const play = h("button", { type: "button", onclick: () => {
    clearInterval(playing);
    let i = 0;
    slider.value = 0;
    at(0);
    playing = setInterval(() => {
      if (++i >= shots.length || !slider.isConnected) return clearInterval(playing);
      slider.value = i;
      at(i);
    }, Math.max(80, 4000 / shots.length));
  } }, "Play");
  at(shots.length - 1);
  return h("figure.film", {}, h("figcaption", {}, "Samples of the same seeds, as it trained"), image, h("div.slide", {}, play, slider, out));
}

export const view = { mount, enter, leave };
