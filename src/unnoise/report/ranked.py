"""A table that sorts by any column without a script, each number above a small range on its column's scale.

Hidden radio buttons stand before the table, a column's heading is the label of its button, and each row knows
its place under every column: the style sheet puts rows in the order of the button that is on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from unnoise.report import scales
from unnoise.report.comparison import Value
from unnoise.report.words import figure_of

LONG = 18  # rows from which on the table scrolls within itself
DENSE = 5  # columns from which on an interval stands below its number
WIDE = 8  # columns from which on it scrolls sideways


@dataclass(frozen=True, kw_only=True)
class Column:
    """One number of every row.

    cells: (text, value) of each row; order: what rows are sorted by, ascending, nan last.
    floor: what real items score; bar: amounts from zero, drawn as bars rather than as ranges.
    """

    name: str
    note: str  # below the name: which end is better, or the unit
    order: Sequence[float | int]
    texts: Sequence[str] = ()
    values: Sequence[Value | None] = ()
    floor: Value | None = None
    floor_text: str = ""
    bar: bool = False

    def place(self) -> list[int]:
        """The rank of each row by this column, from 1; equal rows keep their order."""
        by = sorted(range(len(self.order)), key=lambda row: (math.isnan(self.order[row]), self.order[row]))
        ranks = [0] * len(by)
        for rank, row in enumerate(by, 1):
            ranks[row] = rank
        return ranks


@dataclass(frozen=True)
class Axis:
    """From numbers to shares of the width, linear or logarithmic.

    The floor is on it unless it lies so far off that the entries could not be told apart.
    """

    low: float
    high: float
    log: bool

    @staticmethod
    def of(column: Column) -> "Axis":
        told = [value for value in column.values if value is not None]
        if column.bar:
            return Axis(0.0, max(scales.finite([value.mean for value in told]), default=1.0) or 1.0, False)
        known = scales.finite([end for value in told for end in (value.mean, value.low, value.high, *value.seeds)])
        means = scales.finite([value.mean for value in told])
        if column.floor is not None:
            near = scales.near(known, column.floor.mean)
            known += scales.finite(column.floor[:3]) if near else []
            means += [column.floor.mean] if near else []
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if scales.far_apart(means) and low > 0:
            return Axis(math.log(low), math.log(high), True)
        return Axis(low, high, False)

    def beyond(self, value: float) -> int:
        """−1 or 1 where a value lies below or above the axis, else 0."""
        place = math.log(max(value, 1e-300)) if self.log else value
        room = 1e-9 * (self.high - self.low)
        return (place > self.high + room) - (place < self.low - room)

    def share(self, value: float) -> float:
        """Between 3 and 97: per cent of the width, so that dots at the ends are whole."""
        if self.log:
            value = math.log(max(value, 1e-300))
        wide = self.high - self.low
        return 50.0 if wide <= 0 else 3 + 94 * min(1.0, max(0.0, (value - self.low) / wide))


def table(
    key: str,
    names: Sequence[str],
    given: Column,
    columns: Sequence[Column],
    by: int = 0,
    first: str = "",
    best: Sequence[int] = (),
) -> str:
    """The table as HTML; names are HTML, one a row.

    key: an id of this table on its page; given: heads the names and sorts by an order of its own; by: the place
    of the column that sorts at first, 0 being `given`; first: HTML of a row above all others, such as what real
    items score, "" for none; best: rows drawn in the accent.
    """
    every = [given, *columns]
    buttons = "".join(
        f'<input type="radio" name="{key}" id="{key}-{j}"{" checked" if j == by else ""}>' for j in range(len(every))
    )
    head = "".join(
        f'<th role="columnheader" scope="col"><label for="{key}-{j}">{escape(column.name)}</label>'
        f"<small>{escape(column.note)}</small></th>"
        for j, column in enumerate(every)
    )
    places = [column.place() for column in every]
    axes = [Axis.of(column) for column in columns]
    rows = "\n".join(
        f'<tr role="row"{_BEST if row in best else ""} style="{_order(key, places, row)}">'
        f'<th role="rowheader" scope="row">{name}</th>'
        + "".join(_cell(column, axis, row) for column, axis in zip(columns, axes, strict=True))
        + "</tr>"
        for row, name in enumerate(names)
    )
    if first:
        real = "".join(
            f'<td role="cell" data-name="{escape(column.name)}">{_text(column.floor_text)}'
            f"{_range(axis, None, column.floor, '')}</td>"
            for column, axis in zip(columns, axes, strict=True)
        )
        rows = f'<tr role="row" class="floor"><th role="rowheader" scope="row">{first}</th>{real}</tr>\n{rows}'
    kinds = [
        kind
        for kind, many in (("long", len(names) > LONG), ("dense", len(columns) > DENSE), ("wide", len(columns) > WIDE))
        if many
    ]
    return (
        f'<div class="{" ".join(["sorted", *kinds])}" style="--count:{len(columns)}">'
        f'{buttons}\n<div class="frame"{_FOCUS if {"long", "wide"} & {*kinds} else ""}>'
        f'<table role="table"><thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{rows}\n</tbody></table></div></div>'
    )


def _order(key: str, places: Sequence[Sequence[int]], row: int) -> str:
    return ";".join(f"--{key}-{j}:{place[row]}" for j, place in enumerate(places))


_BEST = ' class="best"'
_FOCUS = ' tabindex="0" role="region" aria-label="table, scrolls"'


def style(key: str, count: int) -> str:
    """The rules that sort the table `key` by one of so many columns, the names' among them."""
    return "\n".join(
        f"#{key}-{j}:checked ~ .frame tbody tr {{ order: var(--{key}-{j}) }}\n"
        f"#{key}-{j}:checked ~ .frame label[for={key}-{j}] {{ color: var(--accent); font-weight: 600 }}\n"
        f'#{key}-{j}:checked ~ .frame label[for={key}-{j}]::after {{ content: "\\a0▾" }}\n'
        f"#{key}-{j}:focus-visible ~ .frame label[for={key}-{j}] {{ outline: 2px solid var(--accent) }}"
        for j in range(count)
    )


def _cell(column: Column, axis: Axis, row: int) -> str:
    value, text = column.values[row], column.texts[row]
    drawn = "" if value is None else _bar(axis, value) if column.bar else _range(axis, value, column.floor, column.name)
    return f'<td role="cell" data-name="{escape(column.name)}">{_text(text)}{drawn}</td>'


def _text(text: str) -> str:
    """A number, and its interval in small print that moves below it where the column is narrow."""
    number, sign, half = text.partition(" ± ")
    return f"<span><b>{escape(number)}</b>" + (f" <small>± {escape(half)}</small>" if sign else "") + "</span>"


def _range(axis: Axis, value: Value | None, floor: Value | None, name: str) -> str:
    """The interval as a line, its mean as a dot, single seeds as rings; the floor as a tick in a band."""
    parts = ['<line class="base" x1="0" x2="100%" y1="9" y2="9"/>']
    if floor is not None and (side := axis.beyond(floor.mean)):
        place, anchor, sign = ("0", "start", "‹") if side < 0 else ("100%", "end", "›")
        parts.append(f'<text class="off" x="{place}" y="13" text-anchor="{anchor}">{sign}</text>')
    elif floor is not None and math.isfinite(floor.mean):
        if math.isfinite(floor.low) and math.isfinite(floor.high):
            left, right = axis.share(floor.low), axis.share(floor.high)
            parts.append(f'<rect class="band" x="{left:.2f}%" width="{right - left:.2f}%" y="1" height="16"/>')
        at = axis.share(floor.mean)
        parts.append(f'<line class="real" x1="{at:.2f}%" x2="{at:.2f}%" y1="1" y2="17"/>')
    told = "what real items score"
    if value is not None and math.isfinite(value.mean):
        told = f"{name} {figure_of(value.mean)}"
        if math.isfinite(value.low) and math.isfinite(value.high):
            parts.append(
                f'<line class="interval" x1="{axis.share(value.low):.2f}%" x2="{axis.share(value.high):.2f}%" '
                'y1="9" y2="9"/>'
            )
            told += f", 95 % interval {figure_of(value.low)} to {figure_of(value.high)}"
        if len(value.seeds) > 1:
            parts += [f'<circle class="seed" cx="{axis.share(seed):.2f}%" cy="9" r="2.4"/>' for seed in value.seeds]
            told += f"; single ones {', '.join(map(figure_of, value.seeds))}"
        parts.append(f'<circle class="mean" cx="{axis.share(value.mean):.2f}%" cy="9" r="3.4"/>')
        if floor is not None and math.isfinite(floor.mean):
            told += f"; real {figure_of(floor.mean)}"
    return f'<svg class="range" role="img" aria-label="{escape(told)}" height="18">{"".join(parts)}</svg>'


def _bar(axis: Axis, value: Value) -> str:
    wide = 0.0 if axis.high <= 0 else 100 * value.mean / axis.high
    return (
        '<svg class="range" aria-hidden="true" height="6"><rect class="track" width="100%" height="6" rx="3"/>'
        f'<rect class="bar" width="{wide:.2f}%" height="6" rx="3"/></svg>'
    )


STYLE = """
.sorted { position: relative }
.sorted input { position: absolute; opacity: 0; width: 1px; height: 1px; margin: 0; pointer-events: none }
.sorted table, .sorted thead { display: block }
.sorted tbody { display: flex; flex-direction: column }
.sorted tr { display: grid; grid-template-columns: minmax(9rem, 1.25fr) repeat(var(--count), minmax(0, 1fr));
  column-gap: clamp(.7rem, 7.5rem / var(--count), 1.25rem); align-items: start;
  border-bottom: 1px solid var(--line); padding: .6rem 0 .45rem }
.sorted th, .sorted td { border: 0; padding: 0; min-width: 0 }
.sorted thead th { line-height: 1.3 }
.sorted thead tr { align-items: end }
.sorted thead th { font-weight: 400 }
.sorted thead small { display: block; font-size: .8rem }
.sorted label { cursor: pointer; text-decoration: underline; text-decoration-color: var(--line);
  text-underline-offset: .25em }
.sorted label:hover { color: var(--accent) }
.sorted td { font-variant-numeric: tabular-nums; white-space: nowrap }
.sorted td b { font-weight: 400 }
.sorted td > span { display: flex; flex-wrap: wrap; column-gap: .35em; align-items: baseline }
.sorted.dense td > span { flex-direction: column }
.sorted td small { color: var(--muted); font-size: .85rem }
.sorted tbody th { overflow-wrap: anywhere; line-height: 1.35 }
.sorted .floor { order: -1; color: var(--muted) }
.sorted .floor th { font-weight: 400 }
.sorted.long .frame { max-height: 40rem; overflow-y: auto; border-bottom: 1px solid var(--line) }
.sorted.long thead { position: sticky; top: 0; background: var(--paper); z-index: 1 }
.sorted.wide .frame { overflow-x: auto }
.sorted.wide table { min-width: calc(9rem + var(--count) * 6.5rem) }
.sorted.wide tbody th { position: sticky; left: 0; background: var(--paper) }
.badge { display: inline-block; color: var(--accent); font-weight: 600; font-size: .8rem }
.badge.same { font-weight: 400 }
.range { display: block; width: 100%; overflow: visible; margin-top: .15rem }
.range .base { stroke: var(--line); stroke-width: 1 }
.range .band { fill: var(--muted); opacity: .2 }
.range .real { stroke: var(--muted); stroke-width: 1.5 }
.range .off { fill: var(--muted); font-size: 14px }
.range .interval { stroke: var(--ink); stroke-width: 2.5; opacity: .45; stroke-linecap: round }
.range .seed { fill: none; stroke: var(--ink); stroke-width: 1; opacity: .6 }
.range .mean { fill: var(--ink) }
.range .track { fill: var(--line) }
.range .bar { fill: var(--muted) }
.best .mean, .best .bar { fill: var(--accent) }
.best .interval { stroke: var(--accent) }
@media (min-width: 40.01rem) {
  .sorted.dense tbody tr { align-items: stretch }
  .sorted.dense td { display: flex; flex-direction: column; justify-content: space-between }
}
@media (max-width: 40rem) {
  .sorted thead small { display: none }
  .sorted thead tr { display: flex; flex-wrap: wrap; gap: .5rem .9rem; padding: 0 0 .6rem }
  .sorted thead tr::before { content: "sort by"; color: var(--muted); font-size: .85rem }
  .sorted tbody tr { display: block; padding: .9rem 0 }
  .sorted td { display: grid; grid-template-columns: 6.5em 8em 1fr; column-gap: .6rem; align-items: center;
    font-size: .9rem; margin-top: .35rem }
  .sorted td::before { content: attr(data-name); color: var(--muted); font-size: .85rem; white-space: normal;
    line-height: 1.25 }
  .sorted td .range { margin: 0 }
  .sorted td > span, .sorted.dense td > span { flex-flow: row nowrap }
  .sorted.long .frame { max-height: 80vh }
  .sorted.wide table { min-width: 0 }
}
@media print { .sorted.long .frame { max-height: none } }
"""

__all__ = ["DENSE", "LONG", "STYLE", "WIDE", "Axis", "Column", "style", "table"]
