"""comparison.html: what won and whether that is more than noise, then why: tables, pictures, fronts, curves.

The frame, the policy and the care are those of report.html: one file, no script, nothing fetched.
"""

import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from unnoise import files
from unnoise.config import UserError
from unnoise.report import comparison_samples, convergence, embed, fronts, multiples
from unnoise.report import comparison_tables as tables
from unnoise.report.comparison import Comparison, Entry
from unnoise.report.page import PAGE, STYLE, note, section
from unnoise.report.words import called

_STYLE = "\n.drawings { row-gap: 2rem }\n"


def save(comparison: Comparison, path: str | Path) -> Path:
    """The page at `path`, written beside and renamed."""
    return files.put(path, page(comparison))


def page(comparison: Comparison) -> str:
    """The whole page as text."""
    if not comparison.title or not comparison.verdict:
        raise UserError("a comparison needs a title and a verdict: one sentence that says what won")
    sections = [
        tables.quality(comparison),
        comparison_samples.samples(comparison),
        _multiples(comparison),
        _fronts(comparison),
        _convergence(comparison),
        tables.costs(comparison),
        _recipe(comparison),
    ]
    return PAGE.format(
        title=escape(comparison.title),
        style=STYLE + tables.style(comparison) + comparison_samples.STYLE + _STYLE,
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


def _beside(drawings: Sequence[str]) -> str:
    return '<div class="drawings">\n' + "\n".join(drawings) + "\n</div>"


def _multiples(comparison: Comparison) -> str:
    plan = multiples.Arrangement.of(comparison)
    if plan is None:
        return ""
    told = [comparison.judged]
    told += [comparison.diversity] if comparison.diversity else []
    along = "the evaluations" if plan.along == "steps" else plan.along
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
        f"Along {along}",
        "\n".join(drawings) if plan.panels else _beside(drawings),
        note(f"Bands are 95 % intervals over {comparison.seeds}{ringed}.") if comparison.count > 1 else "",
    )


def _fronts(comparison: Comparison) -> str:
    priced = fronts.costs_differ(comparison)
    known = any(math.isfinite(entry.cost(comparison.cost)) for entry in comparison.entries)
    wide = bool(comparison.diversity) and any(comparison.diversity in entry.values for entry in comparison.entries)
    judged, cost = called(comparison.judged), fronts.COSTS[comparison.cost]
    drawings: list[str] = []
    if priced:
        title = "Quality against cost" if wide else ""
        told = f"{judged} over {cost}; on the front: {_on(comparison, lambda entry: entry.front)}"
        drawings.append(embed.drawing(lambda theme: fronts.cost(comparison, theme, title), told))
    if wide:
        name = "Quality against diversity" if priced else ""
        front = _on(comparison, lambda entry: entry.diverse)
        told = f"{judged} over {called(comparison.diversity)}; on the front: {front}"
        drawings.append(embed.drawing(lambda theme: fronts.diversity(comparison, theme, name), told))
    if not drawings:
        return ""
    same = f" By {cost} all cost the same." if known and not priced else ""
    return section(
        f"Quality against {' and '.join(['cost'] * priced + ['diversity'] * wide)}",
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


__all__ = ["page", "save"]
