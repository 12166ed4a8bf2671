"""The axis of a measure: its name and better end, its floor as a band, logarithmic where values lie far apart."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from unnoise.report.comparison import Scale
from unnoise.report.curves import plain_log
from unnoise.report.style import Theme, short
from unnoise.report.words import called

SPAN = 8.0  # a ratio of the largest to the smallest from which on an axis is logarithmic
BETTER = {"y": {"lower": "↓ better", "higher": "↑ better"}, "x": {"lower": "← better", "higher": "better →"}}


def far_apart(values: Sequence[float]) -> bool:
    """Whether values are told apart better by their ratios: all positive, the largest SPAN times the smallest."""
    return len(values) > 0 and min(values) > 0 and max(values) > SPAN * min(values)


def finite(values: Sequence[float]) -> list[float]:
    """The values that are numbers."""
    return [value for value in values if math.isfinite(value)]


def scaled(axes: Axes, which: str, values: Sequence[float], room: float = 0.12) -> None:
    """Limits around the values, a share `room` beyond them at each end; logarithmic where they lie far apart."""
    known = finite(values)
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    axis = axes.yaxis if which == "y" else axes.xaxis
    set_limits = axes.set_ylim if which == "y" else axes.set_xlim
    if far_apart(known):
        (axes.set_yscale if which == "y" else axes.set_xscale)("log")
        wide = (high / low) ** room
        set_limits(low / wide, high * wide)
        plain_log(axes, which)
        if 100 < high / low < 5000:
            axis.set_major_locator(LogLocator(subs=(1, 3), numticks=12))
    else:
        wide = room * (high - low) or 0.05 * abs(high) or 1.0
        set_limits(low - wide, high + wide)
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    if max(map(abs, known), default=0) >= 1e4:
        axis.set_major_formatter(lambda value, _: short(float(f"{value:.3g}")))
    elif axes.get_yscale() == "log" if which == "y" else axes.get_xscale() == "log":
        axis.set_major_formatter(lambda value, _: f"{value:g}")


def named(axes: Axes, which: str, scale: Scale) -> None:
    """The measure's name on an axis, and which end is better."""
    text = f"{called(scale.name)}  ({BETTER[which].get(scale.better, '½ is best')})"
    (axes.set_ylabel if which == "y" else axes.set_xlabel)(text)


def floor(axes: Axes, look: Theme, scale: Scale, which: str = "y", name: str = "real") -> None:
    """What real items score, as a line with its interval behind it; call it when the limits stand."""
    if not math.isfinite(scale.floor):
        return
    line, band = (axes.axhline, axes.axhspan) if which == "y" else (axes.axvline, axes.axvspan)
    if math.isfinite(scale.floor_low) and math.isfinite(scale.floor_high):
        band(scale.floor_low, scale.floor_high, color=look.muted, alpha=0.16, lw=0, zorder=0)
    line(scale.floor, color=look.muted, lw=1.0, ls=(0, (1, 2)), zorder=1)
    if not name:
        return
    place = {"y": (0.995, scale.floor), "x": (scale.floor, 0.995)}[which]
    offset = {"y": (0, 2), "x": (2, 0)}[which]
    made = axes.annotate(
        name,
        place,
        xycoords=("axes fraction", "data") if which == "y" else ("data", "axes fraction"),
        xytext=offset,
        textcoords="offset points",
        ha="right" if which == "y" else "left",
        va="bottom" if which == "y" else "top",
        fontsize=7.5,
        color=look.muted,
    )
    made.set_in_layout(False)


def near(values: Sequence[float], floor: float) -> bool:
    """Whether a floor can share an axis with the values without pressing them together."""
    known = finite(values)
    if not known or not math.isfinite(floor):
        return False
    reach = max(known) - min(known) or 0.1 * abs(max(known)) or 1.0
    return min(known) - 4 * reach <= floor <= max(known) + 4 * reach


def with_floor(values: Sequence[float], scale: Scale) -> list[float]:
    """The values and the floor, so that an axis shows both; without the floor where it lies far off."""
    return [*finite(values), scale.floor] if near(values, scale.floor) else finite(values)


def steady(values: np.ndarray, share: float = 0.98) -> np.ndarray:
    """The values without their few largest: an early spike shall not flatten the rest."""
    return values[values <= np.quantile(values, share)] if len(values) > 20 else values


__all__ = ["SPAN", "far_apart", "finite", "floor", "named", "near", "scaled", "steady", "with_floor"]
