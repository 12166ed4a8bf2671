"""Small multiples: a strip of images under a labelled axis, clouds of points side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unnoise.config import UserError
from unnoise.report.films import frame_of
from unnoise.report.grids import Picture, layout, rows_of, whole_factor
from unnoise.report.style import Theme, figure, themed


def strip(
    rows: Sequence[Sequence[Picture]],
    columns: Sequence[str],
    names: Sequence[str],
    title: str,
    xlabel: str,
    theme: str = "light",
    together: int = 0,
) -> Figure:
    """Rows of images as one picture; `columns` name the columns below, `names` the rows on the left.

    together: rows that belong together; a wider gap follows each group (0: none).
    """
    if len(columns) != max(map(len, rows)) or len(names) != len(rows):
        raise UserError(
            f"a strip of {len(rows)} rows and {max(map(len, rows))} columns needs as many names, "
            f"got {len(names)} and {len(columns)}"
        )
    with themed(theme):
        factor = whole_factor([item for row in rows for item in row])
        placed = layout(rows, factor)
        pixels = np.asarray(rows_of(rows, factor))
        tops = np.array([placed.corner(i, 0)[1] for i in range(placed.rows)])
        if together:
            breaks = tops[together::together]
            wide = 2 * placed.gap
            pixels = np.insert(pixels, np.repeat(breaks, wide), 0, axis=0)
            tops = tops + wide * (np.arange(placed.rows) // together)
        width = min(11.0, max(4.7, 0.62 * placed.columns + 1.5))
        inner = width - 1.3
        fig = figure((width, inner * pixels.shape[0] / pixels.shape[1] + 0.95))
        axes = fig.add_subplot()
        axes.imshow(pixels, interpolation="none")
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        middles = [placed.corner(0, j)[0] + placed.width / 2 - 0.5 for j in range(placed.columns)]
        axes.set_xticks(middles, list(columns))
        axes.set_yticks(list(tops + placed.height / 2 - 0.5), list(names))
        bare(axes)
    return fig


def bare(axes: Axes) -> None:
    """No frame, no grid, no tick marks; the tick labels stay."""
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def clouds(
    named: Mapping[str, np.ndarray],
    title: str,
    labels: Mapping[str, np.ndarray] | None = None,
    classes: Sequence[str] = (),
    behind: np.ndarray | None = None,
    units: str = "data units",
    columns: int | None = None,
    theme: str = "light",
) -> Figure:
    """Clouds of points (N, 2), one panel each, all on one scale.

    labels: by the same names, class numbers (N,) that colour the points; classes: the names of these
    numbers, for the key; behind: the truth (M, 2), faintly under every panel.
    """
    for name, points in named.items():
        if points.ndim != 2 or points.shape[1] != 2:
            raise UserError(f"clouds are drawn of points (N, 2), got {points.shape} for '{name}'")
    with themed(theme) as look:
        columns = columns or min(len(named), 4 if len(named) != 5 else 5)
        down = -(-len(named) // columns)
        each = 2.35 if len(named) > 2 else 2.9
        fig = figure((each * columns + 0.5, (each - 0.08) * down + (0.75 if title else 0.5) + (0.3 if labels else 0)))
        grid = fig.subplots(down, columns, sharex=True, sharey=True, squeeze=False)
        scale = next(iter(named.values())) if behind is None else behind
        x0, x1, y0, y1 = frame_of(scale)
        for axes, (name, points) in zip(grid.flat, named.items(), strict=False):
            if behind is not None:
                _scatter(axes, behind, look.muted, 0.5)
            label = None if labels is None else labels.get(name)
            if label is None:
                _scatter(axes, points, look.accent, 1.0)
            else:
                for number, line in zip(np.unique(label), look.series(len(np.unique(label))), strict=True):
                    _scatter(axes, points[label == number], line["color"], 1.0)
            axes.set_title(name, fontsize=9, fontweight="normal", pad=4)
            axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal")
        for axes in list(grid.flat)[len(named) :]:
            axes.set_visible(False)
        for place in range(len(named)):
            if place + columns >= len(named):
                grid.flat[place].set_xlabel(f"x ({units})")
                grid.flat[place].tick_params(labelbottom=True)
            if place % columns == 0:
                grid.flat[place].set_ylabel(f"y ({units})")
        if title:
            fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        if labels and len(classes) > 1:
            _key(fig, look, classes)
        settle(fig)
    return fig


def settle(fig: Figure) -> None:
    """Runs the layout until it stands: panels of fixed aspect need more than the one pass of a drawing."""
    engine = fig.get_layout_engine()
    for _ in range(2):
        if engine is not None:
            engine.execute(fig)


def _scatter(axes: Axes, points: np.ndarray, colour: str, strength: float) -> None:
    # The more points, the smaller and clearer: a cloud of 200 and one of 20,000 both show their shape.
    size = float(np.clip(4000 / max(1, len(points)), 0.6, 9))
    alpha = strength * float(np.clip(1500 / max(1, len(points)), 0.35, 0.9))
    axes.scatter(*points.T, s=size, color=colour, alpha=alpha, linewidths=0, rasterized=True)


def _key(fig: Figure, look: Theme, classes: Sequence[str]) -> None:
    lines = look.series(len(classes))
    handles = [Line2D([], [], marker="o", ls="", color=line["color"], ms=5) for line in lines]
    columns = min(len(classes), 6)
    fig.legend(handles, list(classes), loc="outside lower center", ncols=columns, columnspacing=1.2)


__all__ = ["bare", "clouds", "settle", "strip"]
