/** One sample, looked at closely: large, with all that makes it again, and what can be done with it. */

import { dialog, h, save, toast } from "./dom.js";
import { fileName, gallery } from "./gallery.js";
import { called, picture } from "./items.js";
import { command } from "./settings.js";

const TOLD = ["run", "label", "seed", "sampler", "steps", "grid", "guidance", "evaluations", "strength", "plan", "weights"];

/** Settings as a list of terms. */
export function facts(settings) {
  const { bits, ...told } = settings;
  const names = [...TOLD.filter((name) => told[name] !== undefined && told[name] !== null), ...Object.keys(told).filter((name) => !TOLD.includes(name) && typeof told[name] !== "object")];
  return h("dl.facts", {}, names.map((name) => h("div", {}, h("dt", {}, name), h("dd", {}, String(told[name]).slice(0, 24)))));
}

/** What a sample looks like: its picture, or its numbers. */
export function look(item, alt) {
  if (item.png) return h("div.large", {}, picture(item.png, alt));
  return h("p.values", {}, item.values.map((value) => Number(value.toPrecision(5))).join("  "));
}

/** go(view, given): to another view with this sample. */
export function closer(i, item, go) {
  const { settings } = item;
  const title = called(i, settings.seed, settings.label);
  const act = (name, does, kind = "button") => h(kind, { type: "button", onclick: () => { box.close(); does(); } }, name);
  const line = command(settings);
  const box = dialog(
    title,
    h("div.closer", {},
      look(item, title),
      h("div", {}, facts(settings),
        h("div.actions", {},
          h("button.primary", { type: "button", onclick: () => keep(item).then(() => box.close()) }, "Keep"),
          act("Understand", () => go("understand", { item })),
          item.png ? act("Inpaint", () => go("inpaint", { item })) : null,
          item.png ? h("button", { type: "button", onclick: () => save(new Blob([item.png], { type: "image/png" }), `${fileName(item)}.png`) }, "Save PNG") : null,
        ),
        h("p.command", {}, h("code", {}, line), h("button.quiet", { type: "button", onclick: () => copied(line) }, "Copy")),
      ),
    ),
  );
  return box;
}

/** Into the gallery. */
export async function keep(item) {
  const { settings, png = null, values = null } = item;
  const id = await gallery.keep({ settings, png, values });
  toast("Kept.", { name: "Undo", does: () => gallery.forget(id) });
}

async function copied(text) {
  await navigator.clipboard.writeText(text).then(() => toast("Copied."), () => toast("The browser does not let this page copy."));
}
