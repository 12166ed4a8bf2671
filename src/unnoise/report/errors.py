"""Error against evaluations: what each sampler costs and what order it shows."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from unnoise.config import UserError
from unnoise.report.style import Numbers, Theme, figure, name_ends, themed


def slope(evaluations: Numbers, errors: Numbers) -> float:
    """The order shown by the last three doublings or fewer: −d log error / d log evaluations."""
    x, y = np.log(np.asarray(evaluations, dtype=float)), np.log(np.asarray(errors, dtype=float))
    kept = (x >= x[-1] - np.log(8) - 1e-9) & np.isfinite(y)
    return float(-np.polyfit(x[kept], y[kept], 1)[0]) if kept.sum() > 1 else float("nan")


def error(
    curves: Mapping[str, tuple[Numbers, Numbers]],
    slopes: Numbers = (1, 2, 3, 4),
    title: str = "Error of the sampler alone",
    measure: str = "distance to the exact solution",
    theme: str = "light",
) -> Figure:
    """Errors of several samplers on log–log axes, with a fan of guides of known slope.

    curves: name → (evaluations, errors), errors > 0; a point of error 0 is left out.
    """
    if not curves:
        raise UserError("there is no curve to draw: expected at least one sampler")
    cleaned = {name: _positive(name, *pair) for name, pair in curves.items()}
    with themed(theme) as look:
        fig = figure((7.2, 4.4))
        axes = fig.add_subplot()
        axes.set(xscale="log", yscale="log", title=title, xlabel="network evaluations", ylabel=measure)
        ends = []
        for (name, (x, y)), line in zip(cleaned.items(), look.series(len(curves)), strict=True):
            axes.plot(x, y, marker="o", ms=3.5, **line)
            shown = slope(x, y)
            order = f"  ({shown:.1f})" if np.isfinite(shown) else ""
            ends.append((float(x[-1]), float(y[-1]), name + order, line["color"]))
        every = np.concatenate([x for x, _ in cleaned.values()])
        values = np.concatenate([y for _, y in cleaned.values()])
        axes.set_xlim(every.min() / 1.12, every.max() * 1.12)
        axes.set_ylim(values.min() / 2.5, values.max() * 2.5)
        _ticks(axes, every)
        _fan(axes, look, slopes, float(every.min()), float(values.max()) * 1.6)
        fig.canvas.draw()
        name_ends(axes, ends)
        fig.text(0.995, 0.005, "in brackets: order shown", ha="right", va="bottom", fontsize=8, color=look.muted)
    return fig


def _positive(name: str, evaluations: Numbers, errors: Numbers) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(evaluations, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise UserError(f"evaluations and errors of '{name}' are of one length, got {x.shape} and {y.shape}")
    kept = np.isfinite(y) & (y > 0)
    if not kept.any():
        raise UserError(f"'{name}' has no positive error to draw on a logarithmic axis")
    order = np.argsort(x[kept])
    return x[kept][order], y[kept][order]


def _ticks(axes: Axes, every: np.ndarray) -> None:
    """The step counts that were run, thinned to be read."""
    kept: list[float] = []
    for value in np.unique(every):
        if not kept or value >= 1.38 * kept[-1]:
            kept.append(float(value))
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _fan(axes: Axes, look: Theme, slopes: Numbers, x0: float, y0: float) -> None:
    """Dashed lines of the given orders from one point, named where they leave the frame."""
    right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    for p in slopes:
        end = min(right, x0 * (y0 / bottom) ** (1 / p))
        axes.plot([x0, end], [y0, y0 * (end / x0) ** -p], ls=(0, (2, 3)), lw=0.9, color=look.muted, zorder=1)
        near = np.exp(np.log(x0) + 0.86 * np.log(end / x0))
        axes.annotate(
            f"order {p:g}",
            (near, y0 * (near / x0) ** -p),
            fontsize=7.5,
            color=look.muted,
            ha="center",
            va="center",
            bbox={"facecolor": look.paper, "edgecolor": "none", "pad": 1.2},
            zorder=2,
        )


__all__ = ["error", "slope"]
