/** Keep: what was kept, found again. */

import { facts, look } from "../closer.js";
import { announce, debounced, dialog, fill, h, save, toast } from "../dom.js";
import { zip } from "../files.js";
import { fileName, gallery, matches } from "../gallery.js";
import { called, picture } from "../items.js";
import { state } from "../settings.js";

let go;
const parts = {};
const asked = { words: "", favourites: false };
let seen = [];

function mount(root, goes) {
  go = goes;
  parts.search = h("input", { type: "search", placeholder: "Search: seed 7, heun, label=3 …", "aria-label": "Search what is kept", oninput: debounced(120, () => { asked.words = parts.search.value; show(); }) });
  parts.favourites = h("button.toggle", { type: "button", "aria-pressed": "false", onclick: () => { asked.favourites = !asked.favourites; parts.favourites.setAttribute("aria-pressed", String(asked.favourites)); show(); } }, "★ Favourites");
  parts.count = h("p.muted", { "aria-live": "polite" });
  parts.zip = h("button", { type: "button", onclick: saveAll }, "Save zip");
  parts.place = h("div", {});
  root.append(h("header.view-head", {}, h("h1", {}, "Kept"), parts.search, parts.favourites, parts.zip, parts.count), parts.place);
  gallery.addEventListener("change", () => root.isConnected && show());
}

async function show() {
  const all = await gallery.all().catch(() => null);
  if (all === null) return fill(parts.place, h("div.card.failed", {}, h("h2", {}, "This browser keeps nothing for this page."), h("p", {}, "Private windows often do not. Open the page in an ordinary one, or save pictures as files.")));
  seen = all.filter((item) => (!asked.favourites || item.favourite) && matches(item, asked.words));
  parts.count.textContent = all.length ? (seen.length === all.length ? `${all.length} kept in this browser` : `${seen.length} of ${all.length}`) : "";
  parts.zip.disabled = !seen.length;
  if (!all.length) return fill(parts.place, h("div.empty", {}, h("div.dither", { "aria-hidden": "true" }), h("p", {}, "Nothing is kept yet."), h("p.muted", {}, "Draw something, choose a sample, and press Keep; or press ", h("kbd", {}, "K"), " to keep all that is shown. It stays in this browser.")));
  if (!seen.length) return fill(parts.place, h("div.empty", {}, h("p", {}, "Nothing kept is like that."), h("p.muted", {}, "Search by seed, label, sampler, model, or a note; every word counts.")));
  fill(parts.place, h("ul.kept", {}, seen.map(card)));
}

function card(item) {
  const { settings } = item;
  const title = [settings.label ?? null, `seed ${settings.seed}`].filter((part) => part !== null).join(" · ");
  const star = h("button.quiet.star", { type: "button", "aria-pressed": String(item.favourite), "aria-label": `Favourite: ${title}`, onclick: () => gallery.change(item.id, { favourite: !item.favourite }) }, item.favourite ? "★" : "☆");
  const inside = item.png ? picture(item.png, "") : h("span.values", {}, item.values.slice(0, 4).map((v) => Number(v.toPrecision(3))).join(" "));
  return h("li", {}, h("button.tile", { type: "button", "aria-label": `Look closely: ${title}`, onclick: () => closely(item) }, inside),
    h("div.under", {}, h("span", {}, title), star), h("small", {}, `${settings.sampler}, ${settings.steps} steps${item.note ? ` · ${item.note}` : ""}`));
}

function closely(item) {
  const { settings } = item;
  const title = called(0, settings.seed, settings.label).replace(/^Sample 1, /, "");
  const note = h("input", { value: item.note, placeholder: "A note to find it by", "aria-label": "Note", onchange: (event) => gallery.change(item.id, { note: event.target.value }) });
  const act = (name, does, kind = "") => h(`button${kind}`, { type: "button", onclick: () => { box.close(); does(); } }, name);
  const drawable = state.models.length > 0;
  const box = dialog(title.charAt(0).toUpperCase() + title.slice(1), h("div.closer", {}, look(item, title), h("div", {}, facts(settings), note,
    h("div.actions", {},
      drawable ? act("Use its settings", () => { const lost = state.take(settings); go("draw", { draw: true, count: 1 }); if (lost.length) toast(`But for ${lost.join(" and ")}.`); }, ".primary") : null,
      drawable ? act("Understand", () => go("understand", { item })) : null,
      drawable && item.png ? act("Inpaint", () => go("inpaint", { item })) : null,
      item.png ? act("Save PNG", () => save(new Blob([item.png], { type: "image/png" }), `${fileName(item)}.png`)) : null,
      act("Delete", () => remove(item), ".danger")))));
}

async function remove(item) {
  await gallery.forget(item.id);
  toast("Deleted.", { name: "Undo", does: () => gallery.keep(item) });
}

function saveAll() {
  const named = new Map();
  for (const item of seen) {
    const base = fileName(item);
    let name = base;
    for (let i = 2; named.has(`${name}.png`) || named.has(`${name}.json`); i++) name = `${base}-${i}`;
    if (item.png) named.set(`${name}.png`, item.png);
    else named.set(`${name}.json`, new TextEncoder().encode(JSON.stringify({ ...item.settings, values: item.values })));
  }
  save(zip([...named]), "unnoise-kept.zip");
  announce(`Saved ${named.size} files.`);
}

export const view = { mount, enter: show };
