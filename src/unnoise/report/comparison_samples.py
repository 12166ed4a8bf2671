"""The samples of a comparison side by side: a row for each entry, a column for each seed; points as clouds."""

from collections.abc import Sequence
from html import escape

import numpy as np

from unnoise.report import embed, grids, panels
from unnoise.report.comparison import Comparison, Entry
from unnoise.report.comparison_tables import name_of
from unnoise.report.grids import Picture
from unnoise.report.page import note, section

ROWS = 14  # rows of pictures shown at once; the others unfold
CLOUDS = 12  # clouds of points in one picture


def samples(comparison: Comparison) -> str:
    """All that was drawn with the same seeds, the best first, real items above."""
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
        _row(name_of(comparison, entry), rows[entry.name], f"samples of {entry.name}", factor, entry.won)
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


STYLE = """
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
@media (max-width: 40rem) {
  .row { grid-template-columns: minmax(0, 1fr) }
  .row > div:first-child { text-align: left }
  .row .badge { display: inline-block }
  .row.head > div:first-child { display: none }
  .names.crowded span:nth-child(even) { visibility: hidden }
  .names.crowded span { overflow: visible }
}
"""

__all__ = ["CLOUDS", "ROWS", "STYLE", "samples"]
