"""Quality against what it costs, and against diversity: points with their intervals, and the front of the best."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from unnoise.report import scales
from unnoise.report.comparison import Comparison, Cost, Entry, Value
from unnoise.report.marks import Marks, beside, key, short_name
from unnoise.report.style import Theme, figure, themed

SIZE = (4.7, 3.7)  # inches
NAMED = 10  # entries that are all named beside their points; of more, only those on the front
COSTS: Mapping[Cost, str] = {
    "seconds_per_sample": "seconds a sample",
    "multiply_adds_per_sample": "multiply–adds a sample",
    "evaluations": "evaluations a sample",
    "train_seconds": "seconds of training",
}
SAME = 1.1  # a ratio of costs up to which all cost the same


def costs_differ(comparison: Comparison) -> bool:
    """Whether the entries cost enough apart for a picture to say anything."""
    found = scales.finite([entry.cost(comparison.cost) for entry in comparison.entries])
    return len(found) > 1 and max(found) > SAME * max(min(found), 1e-300)


def cost(comparison: Comparison, theme: str = "light", title: str = "") -> Figure:
    """The judged measure against Comparison.cost; a stair leads through the entries of the front."""
    points = [(entry, Value(entry.cost(comparison.cost)), value) for entry, value in _judged(comparison)]
    with themed(theme) as look:
        fig, axes = _axes(comparison, look, points)
        scales.scaled(axes, "x", [x.mean for _, x, _ in points])
        axes.set(title=title, xlabel=f"{COSTS[comparison.cost]}  (← cheaper)")
        _points(fig, axes, look, comparison, points, [entry.front for entry, _, _ in points], float)
    return fig


def diversity(comparison: Comparison, theme: str = "light", title: str = "") -> Figure:
    """The judged measure against the measure of diversity; real items stand where the floors of both cross."""
    wide = comparison.scale(comparison.diversity)
    points = [(entry, entry.values[wide.name], y) for entry, y in _judged(comparison) if wide.name in entry.values]
    with themed(theme) as look:
        fig, axes = _axes(comparison, look, points)
        scales.scaled(axes, "x", scales.with_floor(_reach([x for _, x, _ in points]), wide))
        scales.named(axes, "x", wide)
        scales.floor(axes, look, wide, "x", "")
        axes.set_title(title)
        _points(fig, axes, look, comparison, points, [entry.diverse for entry, _, _ in points], wide.loss)
    return fig


_Placed = tuple[Entry, Value, Value]


def _judged(comparison: Comparison) -> list[tuple[Entry, Value]]:
    found = [(entry, entry.values.get(comparison.judged)) for entry in comparison.entries]
    return [(entry, value) for entry, value in found if value is not None and math.isfinite(value.mean)]


def _reach(values: Sequence[Value]) -> list[float]:
    return scales.finite([end for value in values for end in (value.mean, value.low, value.high)])


def _axes(comparison: Comparison, look: Theme, points: Sequence[_Placed]) -> tuple[Figure, Axes]:
    judged = comparison.scale(comparison.judged)
    fig = figure(SIZE)
    axes = fig.add_subplot()
    scales.scaled(axes, "y", scales.with_floor(_reach([y for _, _, y in points]), judged))
    scales.named(axes, "y", judged)
    scales.floor(axes, look, judged)
    return fig, axes


def _points(
    fig: Figure,
    axes: Axes,
    look: Theme,
    comparison: Comparison,
    points: Sequence[_Placed],
    chosen: Sequence[bool],
    loss: Callable[[float], float],
) -> None:
    """Filled where chosen for the front, hollow elsewhere; the stair, the intervals, the names.

    loss: of the number along x, less being better; the stair shows what is reached at no more of it.
    """
    marks, judged = Marks.of(comparison), comparison.scale(comparison.judged)
    on = [point for point, kept in zip(points, chosen, strict=True) if kept]
    on.sort(key=lambda point: (loss(point[1].mean), judged.loss(point[2].mean)))
    stair = [(x.mean, y.mean) for _, x, y in on]
    if len(on) > 1:
        axes.step(*zip(*stair, strict=True), where="post", color=look.muted, lw=1.1, ls=(0, (3, 2)), zorder=2)
    texts: list[tuple[float, float, str, str, bool]] = []
    shown: set[str] = set()
    for (entry, x, y), kept in zip(points, chosen, strict=True):
        family = marks.family(entry)
        drawn = marks.look(look, family)
        drawn["linestyle"] = ""
        shown.add(family)
        told = len(points) <= NAMED or kept
        for line in (([x.low, x.high], [y.mean] * 2), ([x.mean] * 2, [y.low, y.high])) if told else ():
            axes.plot(*line, color=drawn["color"], lw=1.1, alpha=0.5, solid_capstyle="butt")  # nothing where nan
        filled = drawn["color"] if kept else look.paper
        axes.add_line(Line2D([x.mean], [y.mean], **drawn, markerfacecolor=filled, markeredgewidth=1.2, zorder=4))
        if told or entry.won:
            colour = drawn["color"] if family else look.ink
            texts.append((x.mean, y.mean, _short(entry, marks), colour, entry.won))
    if marks.axis:
        key(fig, look, marks, [name for name in marks.names if name in shown], lines=False)
    beside(axes, texts, _bars(axes, points, stair))


def _short(entry: Entry, marks: Marks) -> str:
    """The entry's name, or where its family is told by its mark, the settings that its family leaves open."""
    left = {axis: value for axis, value in entry.settings.items() if axis != marks.axis}
    if not marks.axis or not left:
        return short_name(entry.name)
    return ", ".join(f"{value} steps" if axis == "steps" else f"{axis} {value}" for axis, value in left.items())


def _bars(axes: Axes, points: Sequence[_Placed], stair: Sequence[tuple[float, float]]) -> Callable[[], list[Bbox]]:
    """Where the intervals and the stair stand, in pixels, asked for when the layout stands."""
    lines = [ends for _, x, y in points for ends in ((x.mean, y.low, x.mean, y.high), (x.low, y.mean, x.high, y.mean))]
    for (x0, y0), (x1, y1) in pairwise(stair):
        lines += [(x0, y0, x1, y0), (x1, y0, x1, y1)]
    kept = [line for line in lines if all(map(math.isfinite, line))]
    return lambda: [Bbox(axes.transData.transform([line[:2], line[2:]])).padded(2) for line in kept]


__all__ = ["COSTS", "NAMED", "cost", "costs_differ", "diversity"]
