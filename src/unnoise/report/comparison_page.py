"""comparison.html: what won and whether that is more than noise, then why: tables, pictures, fronts, curves.

The frame, the policy and the care are those of report.html: one file, no script, nothing fetched.
"""

import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from unnoise import files
from unnoise.config import UserError
from unnoise.report import convergence, embed, fronts, grids, multiples, panels, ranked
from unnoise.report.comparison import Comparison, Entry, Scale, Value
from unnoise.report.grids import Picture
from unnoise.report.page import PAGE, STYLE, note, section
from unnoise.report.ranked import Column
from unnoise.report.words import BETTER, called, figure_of

ROWS = 14  # rows of pictures shown at once; the others unfold
CLOUDS = 12  # clouds of points in one picture


def save(comparison: Comparison, path: str | Path) -> Path:
    """The page at `path`, written beside and renamed."""
    return files.put(path, page(comparison))


def page(comparison: Comparison) -> str:
    """The whole page as text."""
    if not comparison.title or not comparison.verdict:
        raise UserError("a comparison needs a title and a verdict: one sentence that says what won")
    costs = _costs(comparison)
    sections = [
        _quality(comparison),
        _pictures(comparison),
        _multiples(comparison),
        _fronts(comparison),
        _convergence(comparison),
        costs,
        _recipe(comparison),
    ]
    rules = ranked.style("quality", 1 + len(comparison.measures)) + "\n" + ranked.style("cost", 1 + len(_COSTS))
    return PAGE.format(
        title=escape(comparison.title),
        style=STYLE + ranked.STYLE + _STYLE + rules,
        head=_head(comparison),
        body="\n".join(part for part in sections if part),
    )


def _head(comparison: Comparison) -> str:
    advice = "".join(f'\n<p class="advice">{escape(sentence)}</p>' for sentence in comparison.advice)
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in comparison.facts.items()
    )
    return f'<h1>{escape(comparison.title)}</h1>\n<p class="verdict">{escape(comparison.verdict)}</p>{advice}' + (
        f'\n<dl class="facts">{facts}</dl>' if facts else ""
    )


def _name(comparison: Comparison, entry: Entry) -> str:
    """The entry's name as HTML, how it did, and what a reader must know of it."""
    badge = ""
    if entry.won:
        badge = ' <span class="badge">best</span>'
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


def _quality(comparison: Comparison) -> str:
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
            [_name(comparison, entry) for entry in entries],
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
    return told + (", and what real items score as a grey tick in its band." if real else ".")


_COSTS: Sequence[tuple[str, str, Callable[[Entry], float | None], Callable[[float], str]]] = (
    ("parameters", "", lambda e: e.parameters, lambda v: amount(v)),
    ("multiply–adds", "one evaluation", lambda e: e.multiply_adds, lambda v: amount(v)),
    ("evaluations", "one sample", lambda e: e.evaluations, lambda v: f"{v:g}"),
    (
        "multiply–adds a sample",
        "",
        lambda e: e.cost("multiply_adds_per_sample"),
        lambda v: amount(v),
    ),
    ("time a sample", "on this machine", lambda e: e.seconds_per_sample, lambda v: duration(v)),
    ("items trained", "", lambda e: e.items, lambda v: amount(v)),
    ("training", "one seed", lambda e: e.train_seconds, lambda v: duration(v)),
)


def _costs(comparison: Comparison) -> str:
    """A table of what differs; what all share is said below it."""
    entries = comparison.ranked
    columns: list[Column] = []
    shared: list[str] = []
    for name, unit, of, text in _COSTS:
        found = [of(entry) for entry in entries]
        known = [math.nan if value is None else float(value) for value in found]
        if not any(map(math.isfinite, known)):
            continue
        texts = [text(value) if math.isfinite(value) else "–" for value in known]
        if len(set(texts)) == 1 and len(entries) > 1:
            shared.append(f"{texts[0]} {name}" if not unit or name == "evaluations" else f"{texts[0]} {name} ({unit})")
            continue
        values = [Value(value) if math.isfinite(value) else None for value in known]
        columns.append(Column(name=name, note=unit, texts=texts, values=values, order=known, bar=True))
    if not columns and not shared:
        return ""
    names = [_name(comparison, entry) for entry in entries]
    given = Column(name="entry", note="best first", order=list(range(len(entries))))
    best = [row for row, entry in enumerate(entries) if entry.won]
    return section(
        "What each costs",
        ranked.table("cost", names, given, columns, best=best) if columns else "",
        note(f"The same for all: {', '.join(shared)}.") if shared else "",
    )


def amount(value: float) -> str:
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


# --- pictures ------------------------------------------------------------------------------------------------


def _pictures(comparison: Comparison) -> str:
    named = comparison.pictures
    shown = [entry for entry in comparison.ranked if len(named.get(entry.name, ()))]
    if not shown:
        return ""
    if isinstance(named[shown[0].name], np.ndarray):
        return _clouds(comparison, shown)
    rows = {entry.name: list(named[entry.name]) for entry in shown}
    real = list(comparison.real) if comparison.real is not None else []
    longest = max(map(len, rows.values()))
    factor = grids.whole_factor([item for row in rows.values() for item in row], max(32, min(64, 740 // longest)))
    lines = [
        _row(_name(comparison, entry), rows[entry.name], f"samples of {entry.name}", factor, entry.won)
        for entry in shown
    ]
    if real:
        lines.insert(0, _row("real items", real[:longest], "real items, for the eye", factor))
    head = _columns(comparison.columns[:longest], rows[shown[0].name], factor)
    rest = "\n".join(lines[ROWS:])
    return section(
        "Samples side by side",
        f'<div class="rows">\n{head}' + "\n".join(lines[:ROWS]) + "\n</div>",
        f'<details><summary>The other {len(lines) - ROWS}</summary><div class="rows">\n{rest}\n</div></details>'
        if rest
        else "",
        note(f"Every column shares {comparison.shared}: what differs along it is the entry's own doing. Not chosen."),
    )


def _row(name: str, items: Sequence[Picture], alt: str, factor: int, best: bool = False) -> str:
    picture = embed.pixels(grids.rows_of([items], 1, 1), f"{len(items)} {alt}", factor)
    return f'<div class="row{" best" if best else ""}"><div>{name}</div><div>{picture}</div></div>'


def _columns(names: Sequence[str], items: Sequence[Picture], factor: int) -> str:
    """A line of short names above the columns, as wide as the pictures below it; none where they have no room."""
    first, _, _ = names[0].partition(" ") if names else ("", "", "")
    alike = bool(first) and all(name.startswith(f"{first} ") for name in names)  # "seed 0", "seed 1"
    told = [name[len(first) + 1 :] for name in names] if alike else list(names)
    pitch = factor * (grids.image(items[0]).width + 1)
    if not told or 8 * max(map(len, told)) > pitch:
        return ""
    cells = "".join(f"<span>{escape(name)}</span>" for name in told)
    crowded = " crowded" if len(told) * max(map(len, told)) > 24 else ""
    return (
        f'<div class="row head" aria-hidden="true"><div>{escape(first) if alike else ""}</div>'
        f'<div class="names{crowded}" style="max-width:{len(items) * pitch - factor}px;'
        f'grid-template-columns:repeat({len(items)},1fr)">{cells}</div></div>\n'
    )


def _clouds(comparison: Comparison, shown: Sequence[Entry]) -> str:
    """Points in the plane, an entry a panel, the best first, real points faintly behind."""
    kept = {entry.name: np.asarray(comparison.pictures[entry.name]) for entry in shown[:CLOUDS]}
    real = None if comparison.real is None else np.asarray(comparison.real)
    few = f" The {CLOUDS} best of {len(shown)}." if len(shown) > CLOUDS else ""
    return section(
        "Samples side by side",
        embed.drawing(
            lambda theme: panels.clouds(kept, "", behind=real, columns=min(4, len(kept)), theme=theme),
            f"Clouds of points, one for each of {len(kept)} entries, on one scale",
            wide=len(kept) > 2,
            dots=True,
        ),
        note(
            f"Every point of a panel shares {comparison.shared} with one of every other panel"
            f"{'; real points stand faintly behind' if real is not None else ''}.{few}"
        ),
    )


# --- drawings ------------------------------------------------------------------------------------------------


def _beside(drawings: Sequence[str]) -> str:
    return '<div class="drawings">\n' + "\n".join(drawings) + "\n</div>"


def _multiples(comparison: Comparison) -> str:
    plan = multiples.Arrangement.of(comparison)
    if plan is None:
        return ""
    told = [comparison.judged]
    told += [comparison.diversity] if comparison.diversity else []
    along = "evaluations" if plan.along == "steps" else plan.along
    drawings = [
        embed.drawing(
            lambda theme, name=name: multiples.multiples(comparison, name, theme),
            f"{called(name)} over {along}{f', a line for each {plan.lines}' if plan.lines else ''}",
            wide=bool(plan.panels),
        )
        for name in told
    ]
    ringed = ", the best ringed" if any(entry.won for entry in comparison.entries) else ""
    return section(
        f"Along the {along}",
        "\n".join(drawings) if plan.panels else _beside(drawings),
        note(f"Bands are 95 % intervals over {comparison.seeds}{ringed}.") if comparison.count > 1 else "",
    )


def _fronts(comparison: Comparison) -> str:
    drawings: list[str] = []
    same = ""
    if fronts.costs_differ(comparison):
        drawings.append(
            embed.drawing(
                lambda theme: fronts.cost(comparison, theme, "Quality against cost"),
                f"{called(comparison.judged)} over {fronts.COSTS[comparison.cost]}; "
                f"on the front: {_on(comparison, lambda entry: entry.front)}",
            )
        )
    elif any(math.isfinite(entry.cost(comparison.cost)) for entry in comparison.entries):
        same = f" By {fronts.COSTS[comparison.cost]} all cost the same."
    if comparison.diversity and any(comparison.diversity in entry.values for entry in comparison.entries):
        drawings.append(
            embed.drawing(
                lambda theme: fronts.diversity(comparison, theme, "Quality against diversity"),
                f"{called(comparison.judged)} over {called(comparison.diversity)}; "
                f"on the front: {_on(comparison, lambda entry: entry.diverse)}",
            )
        )
    if not drawings:
        return ""
    return section(
        "Quality against cost and diversity" if len(drawings) > 1 else "What is paid for quality",
        _beside(drawings),
        note(f"Filled marks are on the front: nothing here is better in one without being worse in the other.{same}"),
    )


def _on(comparison: Comparison, kept: Callable[[Entry], bool]) -> str:
    return ", ".join(entry.name for entry in comparison.entries if kept(entry)) or "none"


def _convergence(comparison: Comparison) -> str:
    rows: list[str] = []
    kinds: tuple[tuple[convergence.Of, str], ...] = (
        ("curve", comparison.curve_of),
        ("quality_curve", called(comparison.judged)),
    )
    for of, name in kinds:
        if not convergence.shown(comparison, of):
            continue
        title = name[:1].upper() + name[1:]
        rows += [
            embed.drawing(
                lambda theme, of=of, title=title: convergence.curves(
                    comparison, "items", of, theme, f"{title} over items"
                ),
                f"{title} of each entry over the items seen in training",
            ),
            embed.drawing(
                lambda theme, of=of, title=title: convergence.curves(
                    comparison, "seconds", of, theme, f"{title} over time"
                ),
                f"{title} of each entry over the seconds spent in training",
            ),
        ]
    if not rows:
        return ""
    several = f" Bands are 95 % intervals over {comparison.count} {comparison.seeds}." if comparison.count > 1 else ""
    return section("How fast each learns", _beside(rows), note(f"Seconds are of this machine, one seed.{several}"))


def _recipe(comparison: Comparison) -> str:
    parts: list[str] = []
    if comparison.command:
        parts.append(f'<pre tabindex="0"><code>{escape(comparison.command)}</code></pre>')
    if comparison.recipe.strip():
        parts.append(
            "<details><summary>What was compared, as a file</summary>"
            f'<pre tabindex="0"><code>{escape(comparison.recipe.strip())}</code></pre></details>'
        )
    return section("Do it again", *parts) if parts else ""


_STYLE = """
.rows { display: grid; gap: .5rem }
.row { display: grid; grid-template-columns: minmax(6rem, 11rem) minmax(0, 1fr); gap: .2rem 1.25rem;
  align-items: center }
.row > div:first-child { text-align: right; overflow-wrap: anywhere; line-height: 1.25; font-size: .95rem }
.row.best > div:first-child { font-weight: 600 }
.row small { display: block; color: var(--muted); font-weight: 400; font-size: .8rem }
.row .badge { display: block }
.row.head { color: var(--muted); font-size: .8rem }
.names { display: grid; text-align: center }
.names span { overflow: hidden; white-space: nowrap }
details .rows { margin-top: .75rem }
.drawings { row-gap: 2rem }
@media (max-width: 40rem) {
  .row { grid-template-columns: minmax(0, 1fr) }
  .row > div:first-child { text-align: left }
  .row .badge { display: inline-block }
  .row.head > div:first-child { display: none }
  .names.crowded span:nth-child(even) { visibility: hidden }
  .names.crowded span { overflow: visible }
}
"""

__all__ = ["CLOUDS", "ROWS", "amount", "duration", "page", "save"]
