"""Small multiples of a comparison along several axes: a measure over evaluations, a line for each sampler."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from unnoise.report import scales
from unnoise.report.comparison import Comparison, Entry
from unnoise.report.marks import Marks, key, number, running, widest
from unnoise.report.style import Theme, figure, themed

ACROSS = 3  # panels beside each other


@dataclass(frozen=True)
class Arrangement:
    """What runs along x, what tells the lines apart, and what the panels differ in."""

    along: str  # an axis of numbers
    lines: str  # an axis, or "" for one line
    panels: tuple[str, ...]  # the axes left

    @staticmethod
    def of(comparison: Comparison) -> "Arrangement | None":
        """Steps along x where they were varied, else the longest axis of numbers; None where there is none."""
        along = running(comparison)
        if not along:
            return None
        lines = widest(comparison, along)
        left = [name for name, values in comparison.axes.items() if name not in (along, lines) and len(values) > 1]
        return Arrangement(along, lines, tuple(left))

    def place(self, entry: Entry, by_cost: bool) -> float:
        """Where an entry stands along x: its evaluations where the axis is of steps."""
        if by_cost:
            return float(entry.evaluations or 0)
        found = number(entry.settings.get(self.along, ""))
        return float("nan") if found is None else found

    def panel(self, entry: Entry) -> tuple[str, ...]:
        return tuple(entry.settings.get(name, "") for name in self.panels)


def multiples(comparison: Comparison, measure: str, theme: str = "light") -> Figure:
    """A panel for each setting of the axes that are left, all on one scale."""
    plan = Arrangement.of(comparison)
    if plan is None:
        raise ValueError("small multiples need an axis of at least three numbers")
    marks, scale = Marks.of(comparison) if plan.lines else Marks(()), comparison.scale(measure)
    by_cost = plan.along == "steps" and all(entry.evaluations for entry in comparison.entries)
    told = [entry for entry in comparison.entries if measure in entry.values]
    panels = list(dict.fromkeys(plan.panel(entry) for entry in told))
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    names = [name for name in marks.names if any(marks.family(entry) == name for entry in told)]
    with themed(theme) as look:
        fig = figure((max(4.7, 3.1 * across + 0.5), 2.6 * down + 0.45))
        grid = fig.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        every = [plan.place(entry, by_cost) for entry in told]
        ends = scales.finite([end for entry in told for end in entry.values[measure][:3]])
        for axes, panel in zip(grid.flat, panels, strict=False):
            _panel(axes, look, [entry for entry in told if plan.panel(entry) == panel], plan, marks, measure, by_cost)
            text = ", ".join(f"{name} {value}" for name, value in zip(plan.panels, panel, strict=True))
            axes.set_title(text, fontsize=9, fontweight="normal", pad=5)
        scales.scaled(grid.flat[0], "y", scales.with_floor(ends, scale))
        _ticks(grid.flat[0], every)
        for place, axes in enumerate(grid.flat):
            if place >= len(panels):
                axes.set_visible(False)
                continue
            scales.floor(axes, look, scale, name="real" if place == 0 else "")
            if place % across == 0:
                scales.named(axes, "y", scale)
            if place + across >= len(panels):
                axes.set_xlabel("evaluations a sample" if by_cost else plan.along)
                axes.tick_params(labelbottom=True)
        key(fig, look, marks, names)
    return fig


def _panel(
    axes: Axes, look: Theme, entries: Sequence[Entry], plan: Arrangement, marks: Marks, measure: str, by_cost: bool
) -> None:
    alone: dict[str, Any] = {"color": look.accent, "marker": "o", "markersize": 5.5}
    for family in dict.fromkeys(marks.family(entry) for entry in entries):
        kept = sorted(
            (entry for entry in entries if marks.family(entry) == family), key=lambda e: plan.place(e, by_cost)
        )
        drawn = marks.look(look, family) if marks.names else alone
        x = [plan.place(entry, by_cost) for entry in kept]
        mean, low, high = np.array([entry.values[measure][:3] for entry in kept], np.float64).T
        low, high = (np.where(np.isfinite(end), end, mean) for end in (low, high))
        axes.fill_between(x, low, high, color=drawn["color"], alpha=0.14, linewidth=0)
        axes.add_line(Line2D(x, mean, **{**drawn, "markersize": 0.8 * drawn["markersize"]}, linewidth=1.4))
        for place, entry in zip(x, kept, strict=True):
            if entry.won:
                axes.plot(
                    place,
                    entry.values[measure].mean,
                    "o",
                    ms=13,
                    mfc="none",
                    mec=look.ink,
                    mew=1.1,
                    zorder=5,
                    clip_on=False,
                )


def _ticks(axes: Axes, every: Sequence[float]) -> None:
    """The values that were run, thinned to be read."""
    known = np.unique(scales.finite(every))
    if scales.far_apart(known.tolist()) or (known.min() > 0 and known.max() >= 4 * known.min()):
        axes.set_xscale("log")
    where = axes.transScale.transform(np.column_stack([known, np.full(len(known), max(axes.get_ylim()))]))[:, 0]
    least = 0.09 * (where[-1] - where[0])
    kept: list[int] = []
    for place in range(len(known)):
        if not kept or where[place] - where[kept[-1]] >= least:
            kept.append(place)
    axes.xaxis.set_major_locator(FixedLocator(known[kept].tolist()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


__all__ = ["ACROSS", "Arrangement", "multiples"]
