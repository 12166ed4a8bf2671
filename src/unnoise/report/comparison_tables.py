"""The tables of a comparison: what was measured of each entry, and what each costs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from unnoise.report import ranked
from unnoise.report.comparison import Comparison, Entry, Scale, Value
from unnoise.report.page import note, section
from unnoise.report.ranked import Column
from unnoise.report.words import BETTER, called, figure_of

SURE = 3  # seeds from which on the best may be called so


def name_of(comparison: Comparison, entry: Entry) -> str:
    """The entry's name as HTML, how it did, and what a reader must know of it."""
    badge = ""
    if entry.won:
        sure = comparison.count >= SURE and not any(other.tied for other in comparison.entries)
        badge = f' <span class="badge">{"best" if sure else "reads best"}</span>'
    elif entry.tied:
        badge = ' <span class="badge same">as good, within the noise</span>'
    return f"{_words(entry.name)}{badge}" + (f"<small>{escape(entry.note)}</small>" if entry.note else "")


def _words(name: str) -> str:
    """The name as HTML that breaks between its parts rather than within "guidance 2"."""
    parts = name.split(", ")
    kept = [escape(part).replace(" ", "&nbsp;") if len(part) <= 18 else escape(part) for part in parts]
    return ", ".join(kept) if len(parts) > 1 else escape(name)


def _measured(comparison: Comparison, scale: Scale, entries: Sequence[Entry]) -> Column:
    values = [entry.values.get(scale.name) for entry in entries]
    floor = Value(scale.floor, scale.floor_low, scale.floor_high)
    return Column(
        name=called(scale.name),
        note=BETTER[scale.better],
        texts=[_number(value) for value in values],
        values=values,
        order=[math.nan if value is None else scale.loss(value.mean) for value in values],
        floor=floor if math.isfinite(floor.mean) else None,
        floor_text=_number(floor),
    )


def _number(value: Value | None) -> str:
    if value is None:
        return "–"
    return figure_of(value.mean, (value.high - value.low) / 2)


def quality(comparison: Comparison) -> str:
    """A row for each entry, the best first, a column for each measure; above them what real items score."""
    entries = comparison.ranked
    scales = [comparison.scale(comparison.judged)]
    scales += [scale for scale in comparison.measures if scale.name != comparison.judged]
    columns = [_measured(comparison, scale, entries) for scale in scales]
    real = any(math.isfinite(scale.floor) for scale in scales)
    told = "".join(
        f"<dt>{escape(called(scale.name))}</dt><dd>{escape(scale.text)}</dd>" for scale in scales if scale.text
    )
    warned = [note(f"{called(scale.name)}: {scale.warning}") for scale in scales if scale.warning]
    return section(
        "Measured side by side",
        ranked.table(
            "quality",
            [name_of(comparison, entry) for entry in entries],
            Column(name="entry", note="as given", order=[list(comparison.entries).index(entry) for entry in entries]),
            columns,
            1,
            "real items" if real else "",
            [row for row, entry in enumerate(entries) if entry.won],
        ),
        note(_explained(comparison, real)),
        *warned,
        f"<details><summary>How each was measured</summary><dl>{told}</dl></details>" if told else "",
    )


def _explained(comparison: Comparison, real: bool) -> str:
    """How to read the table."""
    told = "A click on a column's name sorts by it. "
    values = [value for entry in comparison.entries for value in entry.values.values()]
    if any(value.high > value.low for value in values):
        of = f"over {comparison.count} {comparison.seeds}" if comparison.count > 1 else "of one run's own samples"
        rings = ", single ones as rings" if any(len(value.seeds) > 1 for value in values) else ""
        told += f"± is half the 95 % interval {of}; below each number its interval as a line, the mean as a dot{rings}"
    else:
        told += "Below each number its place on the column's own scale"
    return told + (", and what real items score as a grey tick in its band (‹ or › beyond the scale)." if real else ".")


@dataclass(frozen=True)
class _Cost:
    """A column of costs: its name and unit, where it is found, how it is written, how it is said of all."""

    name: str
    unit: str
    of: Callable[[Entry], float | None]
    text: Callable[[float], str]
    said: str


_COSTS = (
    _Cost("parameters", "", lambda e: e.parameters, lambda v: amount(v), "{} parameters"),
    _Cost(
        "multiply–adds",
        "one evaluation",
        lambda e: e.multiply_adds,
        lambda v: amount(v),
        "{} multiply–adds an evaluation",
    ),
    _Cost("evaluations", "one sample", lambda e: e.evaluations, lambda v: f"{v:g}", "{} evaluations a sample"),
    _Cost(
        "multiply–adds",
        "one sample",
        lambda e: e.cost("multiply_adds_per_sample"),
        lambda v: amount(v),
        "{} multiply–adds a sample",
    ),
    _Cost("time a sample", "on this machine", lambda e: e.seconds_per_sample, lambda v: duration(v), "{} a sample"),
    _Cost("items trained", "one seed", lambda e: e.items, lambda v: amount(v), "{} items of training"),
    _Cost("training", "one seed", lambda e: e.train_seconds, lambda v: duration(v), "{} of training"),
)


def costs(comparison: Comparison) -> str:
    """A table of what differs; what all share is said below it."""
    entries = comparison.ranked
    columns: list[Column] = []
    shared: list[str] = []
    for cost in _COSTS:
        known = [math.nan if (found := cost.of(entry)) is None else float(found) for entry in entries]
        if not any(map(math.isfinite, known)):
            continue
        texts = [cost.text(value) if math.isfinite(value) else "–" for value in known]
        if len(set(texts)) == 1 and len(entries) > 1:
            shared.append(cost.said.format(texts[0]))
            continue
        values = [Value(value) if math.isfinite(value) else None for value in known]
        columns.append(Column(name=cost.name, note=cost.unit, texts=texts, values=values, order=known, bar=True))
    if not columns and not shared:
        return ""
    names = [name_of(comparison, entry) for entry in entries]
    given = Column(name="entry", note="best first", order=[float(k) for k in range(len(entries))])
    best = [row for row, entry in enumerate(entries) if entry.won]
    return section(
        "What each costs",
        ranked.table("cost", names, given, columns, best=best) if columns else "",
        note(f"The same for all: {', '.join(shared)}.") if shared else "",
    )


def amount(value: float | int) -> str:
    """Three digits and a letter: 512 k, 1.02 M, 48.3 G."""
    for unit, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 0.9995 * unit:
            return f"{float(f'{value / unit:.3g}'):g}{letter}"
    return f"{float(f'{value:.3g}'):g}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it: 0.41 ms, 2.4 s, 61 s, 12 min, 3.5 h."""
    for limit, unit, name in ((1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms"), (120.0, 1.0, "s"), (7200.0, 60.0, "min")):
        if seconds < limit:
            return f"{float(f'{seconds / unit:.2g}' if seconds / unit < 10 else f'{seconds / unit:.0f}'):g} {name}"
    return f"{float(f'{seconds / 3600:.2g}'):g} h"


def style(comparison: Comparison) -> str:
    """The rules that sort both tables."""
    return (
        ranked.STYLE
        + ranked.style("quality", 1 + len(comparison.measures))
        + "\n"
        + ranked.style("cost", 1 + len(_COSTS))
    )


__all__ = ["SURE", "amount", "costs", "duration", "name_of", "quality", "style"]
