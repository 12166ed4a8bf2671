"""How fast each entry of a comparison came to what it reached: curves over items and over seconds, with bands."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unnoise.report import scales
from unnoise.report.comparison import Comparison, Entry, Point
from unnoise.report.marks import Marks, key
from unnoise.report.style import Theme, count_axis, figure, themed
from unnoise.report.words import called

SIZE = (4.7, 3.2)  # inches
Against = Literal["items", "seconds"]
Of = Literal["curve", "quality_curve"]


def curves(comparison: Comparison, against: Against, of: Of = "curve", theme: str = "light", title: str = "") -> Figure:
    """A curve for each entry with its interval behind it, named below from the highest end down.

    Of many entries only those with a colour of their own are named; the others stay pale in the background.
    """
    marks = Marks.of(comparison)
    with themed(theme) as look:
        fig = figure(SIZE)
        axes = fig.add_subplot()
        lines = [(entry, _columns(points, against)) for entry in comparison.entries if (points := getattr(entry, of))]
        _frame(axes, look, comparison, of, [line for _, line in lines])
        told: dict[str, float] = {}  # family → where its first curve ends
        for entry, (x, y, low, high) in lines:
            family = marks.family(entry)
            drawn = marks.look(look, family)
            drawn["markersize"] *= 0.75
            strength = 1.0 if family else 0.35
            axes.fill_between(x, low, high, color=drawn["color"], alpha=0.16 * strength, linewidth=0)
            axes.add_line(Line2D(x, y, **drawn, markevery=_ends(x), alpha=strength))
            if family:
                told.setdefault(family, float(y[-1]))
        axes.set(title=title, xlabel="items seen" if against == "items" else "seconds of training")
        axes.set_xlim(0, 1.02 * max(x[-1] for _, (x, *_) in lines))
        count_axis(axes)
        key(fig, look, marks, sorted(told, key=lambda name: -told[name]))
    return fig


def _columns(points: Sequence[Point], against: Against) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, the mean, and the ends of its interval; the mean itself where there is none."""
    table = np.array([[getattr(point, against), point.value, point.low, point.high] for point in points], np.float64)
    x, y, low, high = table.T
    return x, y, np.where(np.isfinite(low), low, y), np.where(np.isfinite(high), high, y)


def _frame(axes: Axes, look: Theme, comparison: Comparison, of: Of, lines: Sequence[tuple[np.ndarray, ...]]) -> None:
    """The axis of values; what the first twentieth of a training reads does not set its limits."""
    late = [end[x >= 0.05 * x[-1]] for x, y, low, high in lines for end in (y, low, high)]
    values = scales.steady(np.concatenate(late)).tolist() if late else []
    if of == "curve":
        best = [comparison.curve_best] if np.isfinite(comparison.curve_best) else []
        scales.scaled(axes, "y", [*values, *best], 0.08)
        axes.set_ylabel(f"{comparison.curve_of}  (↓ better)")
        if best:
            axes.axhline(best[0], color=look.muted, lw=1.0, ls=(0, (1, 2)))
            axes.annotate("least possible", (0.02, best[0]), xycoords=("axes fraction", "data"), xytext=(0, 2),
                          textcoords="offset points", fontsize=7.5, color=look.muted)  # fmt: skip
    else:
        judged = comparison.scale(comparison.judged)
        scales.scaled(axes, "y", scales.with_floor(values, judged), 0.08)
        axes.set_ylabel(called(judged.name))
        scales.floor(axes, look, judged)


def _ends(x: np.ndarray) -> list[int]:
    """Where markers stand: the end, and a few places on the way."""
    return sorted({len(x) - 1, *range(0, len(x), max(1, len(x) // 5))})


def shown(comparison: Comparison, of: Of) -> list[Entry]:
    """The entries that have a curve of at least two places."""
    return [entry for entry in comparison.entries if len(getattr(entry, of)) > 1]


__all__ = ["Against", "Of", "curves", "shown"]
