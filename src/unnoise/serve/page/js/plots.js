/** Curves as SVG: labelled axes, names at the curves' ends, dashes that stay apart without colour, numbers on hover. */

import { number } from "./dom.js";

const SPACE = "http://www.w3.org/2000/svg";

function s(name, given = {}, ...inside) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(given)) if (value !== null) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

/**
 * A plot that fills its place and is drawn anew when that changes.
 *
 * series: [{name, points: [[x, y]], strong, dots, faint}], null y left out; x, y: {label, log, low, high};
 * marks: [{x, y, name}]; uprights: xs of thin lines; height in pixels.
 */
export function plot({ title, series, x, y, marks = [], uprights = [], height = 240 }) {
  const holder = document.createElement("figure");
  holder.className = "plot";
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  const place = document.createElement("div");
  const readout = document.createElement("output");
  readout.className = "readout";
  holder.append(caption, place, readout);
  const kept = series.map((one) => ({ ...one, points: one.points.filter(([a, b]) => fine(a, x) && fine(b, y)) })).filter((one) => one.points.length);
  const drawn = () => draw(place, readout, { title, kept, x, y, marks, uprights, height });
  new ResizeObserver(drawn).observe(place);
  return holder;
}

const fine = (value, axis) => value !== null && Number.isFinite(value) && (!axis.log || value > 0);

function draw(place, readout, { title, kept, x, y, marks, uprights, height }) {
  const width = Math.max(220, place.clientWidth);
  const names = kept.length > 1 || kept[0]?.named;
  const right = names ? Math.min(0.3 * width, 12 + 6.6 * Math.max(...kept.map((one) => one.name.length))) : 14;
  const box = { left: 62, right: width - right, top: 10, bottom: height - 38 };
  const across = scale(kept.flatMap((one) => one.points.map((p) => p[0])), x, box.left, box.right);
  const up = scale([...kept.flatMap((one) => one.points.map((p) => p[1])), ...marks.map((m) => m.y)], y, box.bottom, box.top);
  const told = kept.map((one) => `${one.name}: from ${number(one.points[0][1])} at ${number(one.points[0][0])} to ${number(one.points.at(-1)[1])} at ${number(one.points.at(-1)[0])}`);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}. ${x.label} across, ${y.label} up. ${told.join("; ")}.` });
  for (const tick of across.ticks(Math.max(3, Math.floor((box.right - box.left) / 70)))) {
    svg.append(s("line", { class: "grid", x1: across(tick), x2: across(tick), y1: box.top, y2: box.bottom }), label(across(tick), box.bottom + 15, short(tick, x), "middle"));
  }
  for (const tick of up.ticks(Math.max(3, Math.floor((box.bottom - box.top) / 40)))) {
    svg.append(s("line", { class: "grid", x1: box.left, x2: box.right, y1: up(tick), y2: up(tick) }), label(box.left - 7, up(tick) + 4, short(tick, y), "end"));
  }
  for (const at of uprights) if (fine(at, x)) svg.append(s("line", { class: "upright", x1: across(at), x2: across(at), y1: box.top, y2: box.bottom }));
  svg.append(label((box.left + box.right) / 2, height - 4, x.label, "middle", "axis"));
  svg.append(s("text", { class: "axis", transform: `translate(12 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.label));
  const ends = [];
  kept.forEach((one, i) => {
    const path = one.points.map(([a, b], k) => `${k ? "L" : "M"}${across(a).toFixed(1)} ${up.inside(b).toFixed(1)}`).join("");
    const line = one.strong ? "strong" : one.faint ? "faint" : `line-${i % 4}`;
    if (one.points.length > 1 && !one.bare) svg.append(s("path", { class: `curve ${line}`, d: path }));
    if (one.dots || one.points.length === 1) for (const [a, b] of one.points) svg.append(s("circle", { class: `dot ${line}`, cx: across(a), cy: up.inside(b), r: one.bare ? 1.6 : 2.6 }));
    const [a, b] = one.points.at(-1);
    if (names) ends.push({ at: up.inside(b), x: across(a), name: one.name, strong: one.strong });
  });
  apart(ends, box).forEach((end) => svg.append(label(box.right + 6, end.at + 4, end.name, "start", end.strong ? "name strong-name" : "name")));
  for (const mark of marks) {
    if (!fine(mark.x, x) || !fine(mark.y, y)) continue;
    svg.append(s("circle", { class: "mark", cx: across(mark.x), cy: up(mark.y), r: 5.5 }));
    if (mark.name) svg.append(label(across(mark.x) + 9, up(mark.y) - 8, mark.name, "start", "name strong-name"));
  }
  const cross = s("line", { class: "cross", y1: box.top, y2: box.bottom, visibility: "hidden" });
  svg.append(cross);
  svg.addEventListener("pointermove", (event) => {
    const at = across.back((event.clientX - svg.getBoundingClientRect().left) * (width / svg.getBoundingClientRect().width));
    const near = kept.map((one) => [one.name, one.points.reduce((best, p) => (Math.abs(across(p[0]) - across(at)) < Math.abs(across(best[0]) - across(at)) ? p : best))]);
    if (!near.length) return;
    const here = near[0][1][0];
    cross.setAttribute("x1", across(here));
    cross.setAttribute("x2", across(here));
    cross.setAttribute("visibility", "visible");
    readout.textContent = `${number(here)}: ${near.map(([name, p]) => `${name} ${number(p[1])}`).join(" · ")}`;
  });
  svg.addEventListener("pointerleave", () => {
    cross.setAttribute("visibility", "hidden");
    readout.textContent = "";
  });
  place.replaceChildren(svg);
}

const label = (x, y, text, anchor, kind = "tick") => s("text", { class: kind, x, y, "text-anchor": anchor }, text);

/** A map from values to pixels, with its ticks and its way back. */
function scale(values, axis, from, to) {
  const f = axis.log ? Math.log10 : (v) => v;
  let [low, high] = [axis.low ?? Math.min(...values), axis.high ?? Math.max(...values)];
  if (!(high > low)) [low, high] = axis.log ? [low / 2, low * 2] : [low - 1, low + 1];
  let [a, b] = [f(low), f(high)];
  const room = 0.04 * (b - a);
  if (axis.low === undefined) a -= room;
  if (axis.high === undefined) b += room;
  const map = (v) => from + ((f(v) - a) / (b - a)) * (to - from);
  map.back = (pixel) => { const v = a + ((pixel - from) / (to - from)) * (b - a); return axis.log ? 10 ** v : v; };
  map.inside = (v) => Math.min(Math.max(map(v), Math.min(from, to)), Math.max(from, to));
  map.ticks = (most) => (axis.log ? powers(a, b, most) : evenly(a, b, most));
  return map;
}

function evenly(a, b, most) {
  const raw = (b - a) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw);
  const found = [];
  for (let v = Math.ceil(a / step - 1e-9) * step; v <= b + 1e-9 * step; v += step) found.push(Math.abs(v) < 1e-9 * step ? 0 : v);
  return found;
}

function powers(a, b, most) {
  const wide = b - a;
  const parts = wide < 1.2 ? [1, 2, 5] : wide < 2.6 ? [1, 3] : [1];
  const stride = Math.max(1, Math.ceil(wide / most));
  const found = [];
  for (let k = Math.floor(a); k <= Math.ceil(b); k++) {
    if (k % stride) continue;
    for (const part of parts) {
      const at = Math.log10(part) + k;
      if (at >= a - 1e-9 && at <= b + 1e-9) found.push(10 ** at);
    }
  }
  return found;
}

function short(value, axis) {
  const size = Math.abs(value);
  if (axis.share) return `${number(100 * value, 2)} %`;
  if (size >= 1e6) return `${number(value / 1e6)} M`;
  if (size >= 1e3) return `${number(value / 1e3)} k`;
  return size !== 0 && size < 1e-3 ? value.toExponential(0).replace("-", "−") : String(Number(value.toPrecision(3))).replace("-", "−");
}

/** Names at the curves' ends, pushed apart to the height of a line. */
function apart(ends, box, gap = 14) {
  const found = [...ends].sort((p, q) => p.at - q.at);
  for (let turn = 0; turn < 60; turn++) {
    for (let i = 1; i < found.length; i++) {
      const over = gap - (found[i].at - found[i - 1].at);
      if (over > 0) {
        found[i - 1].at -= over / 2;
        found[i].at += over / 2;
      }
    }
    for (const end of found) end.at = Math.min(Math.max(end.at, box.top), box.bottom);
  }
  return found;
}
