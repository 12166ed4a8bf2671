"""Data at a glance: a contact sheet of pictures, a row for each label, and a histogram of every column."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from unnoise.report import grids
from unnoise.report.style import figure, themed
from unnoise.report.tables import edges

SHOWN = 24  # histograms in one picture
CELL = 64  # pixels that a picture of a sheet fills, about


def sheet(rows: Mapping[str, Sequence[grids.Picture]]) -> Image.Image:
    """Pictures of each label in a row; one unnamed row becomes a grid."""
    factor = grids.whole_factor([item for row in rows.values() for item in row], CELL)
    if len(rows) == 1 and "" in rows:
        return grids.grid(list(rows[""]), factor=factor, gap=2)
    return grids.class_rows(rows, factor, 2)


def histograms(rows: npt.NDArray[np.float64], names: Sequence[str], title: str = "", theme: str = "light") -> Figure:
    """Of each column of rows (N, D) its histogram, as shares of the rows; the first SHOWN columns."""
    chosen = range(min(SHOWN, rows.shape[1]))
    with themed(theme) as look:
        across = min(4, len(chosen))
        down = -(-len(chosen) // across)
        fig = figure((2.35 * across + 0.2, 1.5 * down + 0.3 + 0.3 * bool(title)))
        grid = fig.subplots(down, across, squeeze=False)
        for axes, k in zip(grid.flat, chosen, strict=False):
            cells = edges(rows[:, k], rows[:, k])
            counts = np.histogram(np.clip(rows[:, k], cells[0], cells[-1]), cells)[0]
            axes.stairs(counts / len(rows), cells, fill=True, facecolor=look.accent, linewidth=0)
            name = names[k]
            axes.set_title(name if len(name) <= 30 else f"{name[:29]}…", fontsize=8.5, fontweight="normal", pad=3)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.grid(False)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.tick_params(labelsize=7.5)
        for axes in list(grid.flat)[len(chosen) :]:
            axes.set_visible(False)
        if title:
            fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return fig


__all__ = ["histograms", "sheet"]
