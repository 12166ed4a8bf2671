"""Data at a glance: a contact sheet of pictures, a row for each label, and a histogram of every column."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from unnoise.report import grids
from unnoise.report.style import themed
from unnoise.report.tables import column, edges, lattice

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
        fig, places = lattice(len(chosen), 0.3, title)
        for axes, k in zip(places, chosen, strict=True):
            cells = edges(rows[:, k], rows[:, k])
            counts = np.histogram(np.clip(rows[:, k], cells[0], cells[-1]), cells)[0]
            axes.stairs(counts / len(rows), cells, fill=True, facecolor=look.accent, linewidth=0)
            column(axes, names[k])
    return fig


__all__ = ["histograms", "sheet"]
