"""The score of data in the plane: arrows over the density, exact and learned, the error, and one point explained."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from unnoise.config import UserError
from unnoise.metrics.field import Field, Relation
from unnoise.report.panels import settle
from unnoise.report.style import Theme, figure, themed

SHOWN = 3000  # items about the one point
WORST = 1.0  # sigma·|error of the score| at which the colour is full: as wrong as if nothing were known


def scores(fields: Sequence[Field], theme: str = "light", title: str = "") -> Figure:
    """A row for each noise level: the exact score; where there is a network, its score and its error; one point.

    Arrows point along the score; their length grows with that of sigma²·score = alpha·E[x_0|x_t] − x, up to
    that of a cell.
    """
    if not fields:
        raise UserError("there is no noise level to draw the score at: expected at least one")
    with_network = fields[0].learned is not None
    columns = 4 if with_network else 2
    with themed(theme) as look:
        fig = figure((2.75 * columns + 0.3, 3.35 * len(fields) + 0.4))
        grid = fig.subplots(len(fields), columns, squeeze=False)
        for row, found in zip(grid, fields, strict=True):
            panels = iter(row)
            _arrows(next(panels), found, found.exact, look, "exact score")
            if with_network:
                _arrows(next(panels), found, found.learned, look, "learned score")
                _error(fig, next(panels), found, look)
            _point(next(panels), found, look)
            named = f"σ/α = {found.ratio:.3g}   (t = {found.t:.2f})"
            place = {"xycoords": "axes fraction", "textcoords": "offset points"}
            row[0].annotate(named, (0, 1), (0, 20), **place, fontsize=9.5, weight="bold")
        if title:
            fig.suptitle(f"{title}\n", x=0.01, ha="left", fontsize=10.5, fontweight="bold")  # a line for the level
        settle(fig)
    return fig


def _frame(axes: Axes, found: Field) -> None:
    x0, x1, y0, y1 = found.box
    axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal")
    axes.grid(False)


def _named(axes: Axes, name: str) -> None:
    axes.set_title(name, fontsize=9, fontweight="normal", pad=4)


def _arrows(axes: Axes, found: Field, arrows: np.ndarray | None, look: Theme, name: str) -> None:
    assert arrows is not None
    shade = np.sqrt(found.density / found.density.max())
    axes.imshow(shade, extent=found.box, origin="lower", cmap=look.map, vmin=0, vmax=1.5, interpolation="bilinear")
    cell = (found.box[1] - found.box[0]) / round(np.sqrt(len(found.places)))
    length = np.linalg.norm(arrows, axis=1, keepdims=True)
    drawn = arrows * (0.95 * cell / (length + 0.6 * min(cell, float(np.median(length)))))
    axes.quiver(
        *(found.places - drawn / 2).T, *drawn.T, angles="xy", scale_units="xy", scale=1, color=look.ink,
        width=0.0052, headwidth=4, headlength=4.5, headaxislength=4,
    )  # fmt: skip
    _frame(axes, found)
    _named(axes, name)


def _error(fig: Figure, axes: Axes, found: Field, look: Theme) -> None:
    assert found.error is not None
    assert found.off is not None
    shown = axes.imshow(
        np.minimum(found.error, WORST), extent=found.box, origin="lower", cmap=look.map, vmin=0, vmax=WORST
    )
    within = _holding(found.density, 0.99)
    middle = (np.arange(len(found.density)) + 0.5) / len(found.density)
    x, y = (low + middle * (high - low) for low, high in (found.box[:2], found.box[2:]))
    axes.contour(x, y, found.density, levels=[within], colors=look.ink, linewidths=0.9)
    bar = fig.colorbar(shown, ax=axes, shrink=0.75, pad=0.02, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["0", "0.5", "≥ 1"])
    bar.outline.set_visible(False)  # type: ignore[operator]
    _frame(axes, found)
    _named(axes, f"error σ·|Δ score|: {100 * found.off:.2g} % over the data")


def _holding(density: np.ndarray, share: float) -> float:
    """The density above which so large a share of all lies."""
    falling = np.sort(density.ravel())[::-1]
    kept = np.cumsum(falling)
    return float(falling[np.searchsorted(kept, share * kept[-1])])


def _point(axes: Axes, found: Field, look: Theme) -> None:
    point, sigma = found.point, found.sigma
    pull = point.mean - point.at
    half = max(2.6 * sigma, 1.35 * float(np.linalg.norm(pull)))
    middle = point.at + pull / 2
    near = np.flatnonzero(np.all(np.abs(point.items - middle) < half, axis=1))[:SHOWN]
    items, likely = point.items[near], point.weights[near] / point.weights[near].max(initial=1e-300)
    axes.scatter(*items.T, s=2, color=look.muted, alpha=0.35, linewidths=0, rasterized=True)
    axes.scatter(*items.T, s=2 + 10 * likely, color=look.accent, alpha=0.8 * likely, linewidths=0, rasterized=True)
    x, mean = ((float(place[0]), float(place[1])) for place in (point.at, point.mean))
    axes.add_patch(Circle(x, sigma, fill=False, ls=(0, (4, 3)), lw=0.8, ec=look.muted))
    arrow = {"arrowstyle": "-|>", "color": look.ink, "lw": 1.5, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", mean, x, arrowprops=arrow)
    axes.plot(*x, "o", color=look.ink, ms=5)
    axes.plot(*mean, "D", color=look.accent, mec=look.ink, mew=0.8, ms=5)
    side = -1 if pull[0] > 0 else 1
    for place, name, way in ((x, "x", side), (mean, "α·E[x₀|x]", -side)):
        axes.annotate(
            name, place, (7 * way, 7), textcoords="offset points", ha="left" if way > 0 else "right", fontsize=8.5,
            bbox={"boxstyle": "round,pad=0.15", "fc": look.paper, "ec": "none", "alpha": 0.75},
        )  # fmt: skip
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal")
    axes.grid(False)
    _named(axes, "one point: the arrow is σ²·score")
    axes.set_xlabel(_told(point), fontsize=7.2, family="DejaVu Sans Mono", ha="left", x=0.0, linespacing=1.5)


def _told(point: Relation) -> str:
    """The score of the point in each way, a line each."""
    rows = [("∇ log p(x)", point.slope), ("−E[ε|x]/σ", point.noise), ("(α·E[x₀|x] − x)/σ²", point.pull)]
    rows += [] if point.learned is None else [("the network's", point.learned)]
    return "\n".join(f"{name:<18} = ({_number(v[0])}, {_number(v[1])})" for name, v in rows)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−") if abs(value) < 1000 else f"{value:.0f}".replace("-", "−")


__all__ = ["scores"]
