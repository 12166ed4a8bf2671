"""Tables of numbers, real beside drawn: a histogram of every column, and how the columns hang together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from unnoise.config import UserError
from unnoise.report.panels import bare
from unnoise.report.style import figure, themed

SHOWN = 24  # histograms in one picture
FEW = 12  # different values of a column that are shown one by one
NAMED = 16  # columns of a matrix whose names stand beside it
TAIL = 0.005  # the share at each end of a column that its histogram may leave out

Rows = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Drawn and real rows in their units, (N, D) and (M, D), and what the columns are called."""

    drawn: Rows
    real: Rows
    names: Sequence[str]

    def __post_init__(self) -> None:
        width = len(self.names)
        if self.drawn.ndim != 2 or {self.drawn.shape[1], self.real.shape[1]} != {width}:
            raise UserError(f"{width} names for rows of the shapes {self.drawn.shape} and {self.real.shape}")

    @property
    def shown(self) -> list[int]:
        """Which columns are drawn: all in their order, or the SHOWN whose two laws are furthest apart."""
        width = len(self.names)
        if width <= SHOWN:
            return list(range(width))
        return np.argsort([-apart(self.drawn[:, k], self.real[:, k]) for k in range(width)], kind="stable")[
            :SHOWN
        ].tolist()

    @property
    def note(self) -> str:
        """What the pictures show, in a sentence or two, and the numbers that the eye does not read off."""
        gaps = [apart(self.drawn[:, k], self.real[:, k]) for k in range(len(self.names))]
        worst = int(np.argmax(gaps))
        said = (
            f"{len(self.drawn):,} drawn rows, {len(self.real):,} real ones. Of all columns '{self.names[worst]}' is "
            f"furthest off: the shares of rows below some value differ by {gaps[worst]:.2g}."
        )
        if len(self.names) > SHOWN:
            said += f" Shown are the {SHOWN} of {len(self.names)} columns that are furthest off."
        if len(self.names) < 2:
            return said
        difference = np.abs(correlations(self.drawn) - correlations(self.real))
        a, b = divmod(int(np.argmax(difference)), len(difference))
        return (
            f"{said} Correlations differ by {difference[np.triu_indices(len(difference), 1)].mean():.2g} on average, "
            f"most between '{self.names[a]}' and '{self.names[b]}': {correlations(self.drawn)[a, b]:.2f} where real "
            f"rows have {correlations(self.real)[a, b]:.2f}."
        )


def apart(x: Rows, y: Rows) -> float:
    """max over v of |share of x up to v − share of y up to v| (Kolmogorov, 1933; Smirnov, 1939): 0 to 1."""
    at = np.concatenate([x, y])
    shares = (np.searchsorted(np.sort(rows), at, side="right") / len(rows) for rows in (x, y))
    first, second = shares
    return float(np.abs(first - second).max())


def correlations(rows: Rows) -> Rows:
    """Pearson's correlations of the columns (D, D); 0 where a column does not vary."""
    centred = rows - rows.mean(axis=0)
    size = np.linalg.norm(centred, axis=0)
    centred = centred / np.where(size > 0, size, 1)
    return np.clip(centred.T @ centred, -1, 1)


def edges(x: Rows, y: Rows) -> Rows:
    """The edges of a histogram of both: a cell for each value where these are few, else of one width.

    The width is Freedman & Diaconis's (1981) for y, 8 to 32 cells in all; the range leaves out the outermost TAIL
    of both sets, whose rows are counted in the last cells.
    """
    values = np.unique(y)
    if len(values) <= FEW:
        if len(values) == 1:
            return values[0] + np.array([-0.5, 0.5])
        middle = (values[1:] + values[:-1]) / 2
        return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])
    ends = [np.quantile(rows, (TAIL, 1 - TAIL)) for rows in (x, y)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    quarter, rest = np.quantile(y, (0.25, 0.75))
    width = 2 * (rest - quarter) / len(y) ** (1 / 3)
    cells = int(np.clip(np.ceil((high - low) / width) if width > 0 else 32, 8, 32))
    steps = np.diff(values)
    if steps.min() > 0 and np.allclose(steps / steps.min(), np.rint(steps / steps.min()), atol=1e-3):
        # A rounded column: cells of a whole number of steps, lest some hold more of them than others.
        step = float(steps.min())
        width = step * max(1, round((high - low) / cells / step))
        low, cells = float(values[0]) - step / 2 + width * np.floor((low - values[0]) / width), 0
        while low + cells * width < high + step / 2:
            cells += 1
        return low + width * np.arange(cells + 1)
    return np.linspace(low, high, cells + 1)


def lattice(count: int, foot: float, title: str) -> tuple[Figure, list[Axes]]:
    """A figure with `count` small axes, four in a row; foot: inches below them."""
    across = min(4, count)
    down = -(-count // across)
    fig = figure((2.35 * across + 0.2, 1.5 * down + foot + 0.3 * bool(title)))
    places: list[Axes] = list(fig.subplots(down, across, squeeze=False).flat)
    for axes in places[count:]:
        axes.set_visible(False)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return fig, places[:count]


def column(axes: Axes, name: str) -> None:
    """The dress of one column's histogram: its name above, its units below, no heights."""
    axes.set_title(_short(name, 30), fontsize=8.5, fontweight="normal", pad=3)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=7.5)


def histograms(columns: Columns, theme: str = "light", title: str = "") -> Figure:
    """A histogram of each column, real filled and drawn as a line, both as shares of their rows."""
    chosen = columns.shown
    with themed(theme) as look:
        fig, places = lattice(len(chosen), 0.4, title)
        for axes, k in zip(places, chosen, strict=True):
            x, y = columns.drawn[:, k], columns.real[:, k]
            cells = edges(x, y)
            styles: list[tuple[Rows, dict[str, Any]]] = [
                (y, {"fill": True, "facecolor": look.muted, "alpha": 0.35, "linewidth": 0}),
                (x, {"fill": False, "edgecolor": look.accent, "linewidth": 1.4}),
            ]
            for rows, style in styles:
                counts = np.histogram(np.clip(rows, cells[0], cells[-1]), cells)[0]
                axes.stairs(counts / len(rows), cells, **style)
            column(axes, columns.names[k])
            axes.set_ylim(bottom=0)
            values = np.unique(y)
            if len(values) <= 6:
                axes.xaxis.set_major_locator(FixedLocator(values.tolist()))
        key = [Patch(facecolor=look.muted, alpha=0.35), Line2D([], [], color=look.accent, lw=1.4)]
        fig.legend(key, ["real", "drawn"], loc="outside lower center", ncols=2)
    return fig


def matrices(columns: Columns, theme: str = "light", title: str = "") -> Figure:
    """The correlations of all columns, real and drawn side by side, on one scale."""
    width = len(columns.names)
    named = width <= NAMED
    letters = 0.055 * max(len(_short(name, 22)) for name in columns.names) if named else 0.1
    each = 2.4 if width <= 8 else 3.0
    with themed(theme):
        fig = figure((2 * each + letters + 1.0, each + 0.45 + letters * named + 0.3 * bool(title)))
        panels: list[Axes] = list(fig.subplots(1, 2, sharey=True))
        drawn = None
        for axes, (name, rows) in zip(panels, (("real", columns.real), ("drawn", columns.drawn)), strict=True):
            drawn = axes.imshow(correlations(rows), vmin=-1, vmax=1, cmap="cividis", interpolation="none")
            axes.set_title(name, fontsize=9, fontweight="normal", pad=4)
            bare(axes)
            ticks = list(range(width)) if named else []
            texts = [_short(columns.names[k], 22) for k in ticks]
            axes.set_xticks(ticks, texts, rotation=90, fontsize=7.5)
            axes.set_yticks(ticks, texts, fontsize=7.5)
        if drawn is not None:
            bar = fig.colorbar(drawn, ax=panels, shrink=0.8, ticks=[-1, -0.5, 0, 0.5, 1], label="correlation")
            bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        if title:
            fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return fig


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


__all__ = ["Columns", "apart", "column", "correlations", "edges", "histograms", "lattice", "matrices"]
