/** Elements made by hand, things said aloud, things shown for a moment. */

/** h("button.quiet", {onclick}, "Keep"): an element; names that begin with "on" are heard, the rest are attributes. */
export function h(what, given = {}, ...inside) {
  const [name, ...classes] = what.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in PROPERTIES) made[key] = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...inside.flat(4).filter((part) => part !== null && part !== undefined && part !== false));
  return made;
}

const PROPERTIES = { value: 1, checked: 1, disabled: 1, hidden: 1, htmlFor: 1, selected: 1, indeterminate: 1, open: 1 };

/** Empties an element and fills it. */
export function fill(element, ...inside) {
  element.replaceChildren(...inside.flat(4).filter((part) => part !== null && part !== undefined && part !== false));
  return element;
}

let said = 0;

/** Tells who listens to the page rather than sees it; the same sentence twice is heard twice. */
export function announce(text) {
  const live = document.getElementById("live");
  live.textContent = said++ % 2 ? text : `${text}\u00a0`;
}

/** A sentence at the foot of the page for a few seconds, with something to do about it. */
export function toast(text, action = null) {
  const close = () => shown.remove();
  const shown = h("div.toast", {}, h("span", {}, text));
  if (action) shown.append(h("button.quiet", { type: "button", onclick: () => { close(); action.does(); } }, action.name));
  document.getElementById("toasts").append(shown);
  announce(text);
  setTimeout(close, action ? 8000 : 4000);
}

let numbered = 0;

/** A fresh id. */
export const fresh = (word) => `${word}-${++numbered}`;

/** A label with its control, and a word of help under it. */
export function field(name, control, help = null, beside = null) {
  const id = control.id || (control.id = fresh("field"));
  const hint = help ? h("small", { id: `${id}-help` }, help) : null;
  if (hint) control.setAttribute("aria-describedby", hint.id);
  return h("div.field", {}, h("div.field-head", {}, h("label", { htmlFor: id }, name), beside), control, hint);
}

/** A modal dialog with a title; it leaves the page when it is closed. */
export function dialog(title, ...inside) {
  const id = fresh("dialog");
  const close = h("button.quiet.close", { type: "button", "aria-label": "Close", onclick: () => box.close() }, "×");
  const box = h("dialog.dialog", { "aria-labelledby": id }, h("header", {}, h("h2", { id }, title), close), ...inside);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}

/** Bytes as a file that the browser saves. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Calls once, when it has been quiet for so many milliseconds. */
export function debounced(milliseconds, work) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

/** 12345 as 12,345; 0.01234 as 0.0123. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en-GB");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(digits - 1).replace("-", "−").replace("+", "");
  return Number(value.toPrecision(digits)).toString().replace("-", "−");
}
