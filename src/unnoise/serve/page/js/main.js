/** The page begins: what the server offers, which view is seen, theme, keys, what is dropped. */

import { Trouble, isOnline, json, key, link } from "./api.js";
import { announce, dialog, fill, h, toast } from "./dom.js";
import { settingsOf } from "./files.js";
import { state } from "./settings.js";

const stage = document.getElementById("stage");
const VIEWS = {
  draw: ["Draw", () => import("./views/draw.js")],
  compare: ["Compare", () => import("./views/compare.js")],
  keep: ["Keep", () => import("./views/keep.js")],
  understand: ["Understand", () => import("./views/understand.js")],
  inpaint: ["Inpaint", () => import("./views/inpaint.js")],
  watch: ["Watch", () => import("./views/watch.js")],
};
const made = new Map();
let offered = Object.keys(VIEWS);
let current = null;

/** Shows a view, with something for it to begin with. */
export async function go(name, given = null) {
  if (!offered.includes(name)) name = offered[0];
  if (location.hash.slice(1).split("/")[0] !== name) history.pushState(null, "", `#${name}`);
  for (const link of document.querySelectorAll("#views a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  current?.view.leave?.();
  if (!made.has(name)) {
    const { view } = await VIEWS[name][1]();
    const root = h("div.view", { id: `view-${name}` });
    made.set(name, { name, view, root });
    view.mount(root, go);
  }
  current = made.get(name);
  document.title = `${VIEWS[name][0]} · unnoise`;
  fill(stage, current.root);
  current.view.enter?.(given);
}

async function begin() {
  theme();
  document.getElementById("help").addEventListener("click", help);
  window.addEventListener("popstate", () => go(location.hash.slice(1) || offered[0]));
  document.addEventListener("keydown", pressed);
  dropped();
  lost();
  await start();
}

/** Asks until the server answers; a key, where one is wanted. */
async function start() {
  try {
    const page = await json("v1/page");
    offered = page.views;
    const names = document.getElementById("views");
    fill(names, offered.map((name, i) => h("a", { href: `#${name}`, title: `${VIEWS[name][0]} (${i + 1})`, onclick: (event) => { event.preventDefault(); go(name); } }, VIEWS[name][0])));
    if (offered.includes("draw")) state.begin((await json("v1/models")).data);
    await go(location.hash.slice(1) || offered[0]);
    if (offered.includes("draw")) welcome();
  } catch (error) {
    if (error instanceof Trouble && error.status === 401) return;
    const told = error instanceof Trouble ? [error.message, error.remedy] : [String(error), "Load the page anew."];
    fill(stage, h("div.card.failed", {}, h("h2", {}, told[0]), h("p", {}, told[1]), h("button", { type: "button", onclick: start }, "Try again")));
  }
}

/** What a new visitor reads, once. */
function welcome() {
  if (localStorage.getItem("unnoise.met")) return;
  const close = () => {
    localStorage.setItem("unnoise.met", "1");
    box.remove();
    document.querySelector("button.draw")?.focus();
  };
  const box = h("section.welcome", { "aria-label": "Welcome" },
    h("p", {}, "A model has learned to turn noise into ", state.pictures ? "pictures" : "points", " like those it was shown; press ", h("strong", {}, "Draw"), " and watch it do so, step by step."),
    h("p", {}, "A seed names the noise: the same seed draws the same ", state.pictures ? "picture" : "point", ", so change one setting at a time and see what it does."),
    h("p", {}, h("strong", {}, "Keep"), " what you like; it stays in this browser and carries all that makes it again."),
    h("button.primary", { type: "button", onclick: close }, "Begin"));
  (document.querySelector("#view-draw .canvas") ?? stage).prepend(box);
}

function theme() {
  const button = document.getElementById("theme");
  const order = ["auto", "light", "dark"];
  let now = localStorage.getItem("unnoise.theme") || "auto";
  const apply = () => {
    document.documentElement.dataset.theme = now;
    button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[now];
    button.title = "Colours: as the system has them, light, dark (T)";
    button.setAttribute("aria-label", `Colours: ${now}. Change.`);
    localStorage.setItem("unnoise.theme", now);
    dispatchEvent(new Event("theme"));
  };
  button.addEventListener("click", () => {
    now = order[(order.indexOf(now) + 1) % 3];
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("theme")));
  apply();
}

function lost() {
  const banner = document.getElementById("offline");
  const shown = document.getElementById("link");
  const tell = () => {
    banner.hidden = isOnline();
    shown.textContent = isOnline() ? "" : "Offline";
    if (!isOnline()) fill(banner, h("strong", {}, "The server does not answer."), " Is ", h("code", {}, "unnoise serve"), " still running in its terminal? What you keep is safe here; the page goes on by itself when the server is back.");
  };
  link.addEventListener("online", () => {
    tell();
    if (!isOnline()) return;
    announce("The server answers again.");
    if (!current) start();
  });
  link.addEventListener("key", askKey);
}

let asking = null;

function askKey() {
  if (asking) return;
  const input = h("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); key.set(input.value); asking.close(); start(); } },
    h("p", {}, "This server lets in those who bring a key. Its keeper makes one with ", h("code", {}, "unnoise serve --new-key NAME"), "."),
    h("div.field", {}, h("label", { htmlFor: "key" }, "Key"), input), h("button.primary", {}, "Enter"));
  asking = dialog(key.get() ? "That key does not fit" : "A key, please", form);
  asking.addEventListener("close", () => (asking = null));
}

/** Pictures that are dropped anywhere give their settings back. */
function dropped() {
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  document.addEventListener("dragenter", () => document.body.classList.add("over"));
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("over");
    const file = [...(event.dataTransfer?.files || [])][0];
    if (file) taken(file);
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files || [])][0];
    if (file) taken(file);
  });
}

/** A picture from outside: back to how it was made, or, where it says nothing of that, a picture to begin with. */
export async function taken(file) {
  const data = new Uint8Array(await file.arrayBuffer());
  const told = settingsOf(data);
  if (!told) {
    if (!offered.includes("inpaint")) return toast("This picture does not say how it was made.");
    await go("inpaint", { upload: file });
    return toast("This picture does not say how it was made; it can be begun with.");
  }
  const lost = state.take(told);
  await go("draw", { draw: true, count: 1 });
  toast(lost.length ? `Its settings are back, but for ${lost.join(" and ")}.` : "Its settings are back.");
}

const KEYS = [
  ["D", "Draw"], ["N", "The next seeds"], ["R", "Random seeds"], ["L", "Lock or unlock the seed"], ["K", "Keep all that is shown"], ["Esc", "Cancel what is drawn"],
  ["1 – 6", "The views"], ["T", "Light, dark, or as the system has it"], ["?", "This"],
];

function help() {
  const on = localStorage.getItem("unnoise.keys") !== "off";
  const rows = KEYS.map(([name, does]) => h("div", {}, h("dt", {}, h("kbd", {}, name)), h("dd", {}, does)));
  dialog("Help", h("p", {}, "Drop a picture that was drawn here anywhere on the page: its settings come back. Drop any other: it is begun with."),
    h("p", {}, "Everything is drawn on the machine that serves this page; what you keep stays in this browser, and nothing is asked of any other host."),
    h("h3", {}, "Keys"), h("dl.keys", {}, rows),
    h("label.check", {}, h("input", { type: "checkbox", checked: on, onchange: (event) => localStorage.setItem("unnoise.keys", event.target.checked ? "on" : "off") }), " Keys are heard"));
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "Escape") return void current?.view.key?.("Escape");
  if (event.target.closest("input:not([type=range],[type=radio],[type=checkbox]), textarea, select, dialog, [contenteditable]")) return;
  if (localStorage.getItem("unnoise.keys") === "off") return;
  if (event.key === "?") return help();
  if (event.key === "t" || event.key === "T") return document.getElementById("theme").click();
  const view = offered[Number(event.key) - 1];
  if (view) return void go(view);
  if (current?.view.key?.(event.key.toLowerCase())) event.preventDefault();
}

begin();
