"""One way from noise to data: the state and what is believed of the end, step by step."""

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from unnoise.config import UserError
from unnoise.report.films import chosen, frame_of
from unnoise.report.grids import Picture
from unnoise.report.panels import clouds, strip
from unnoise.report.style import Numbers, figure, themed

COLUMNS = 12  # moments that one strip shows
TITLE = "From noise to data: state and belief"


def image_strip(
    states: Sequence[Sequence[Picture]],
    beliefs: Sequence[Sequence[Picture]] | None,
    times: Numbers,
    most: int = COLUMNS,
    theme: str = "light",
    title: str = TITLE,
) -> Figure:
    """states[row][item] and beliefs[row][item] as images: for each item a row of x_t and one of E[x₀ | x_t].

    times: t of each row; at most `most` rows are shown, the first and the last among them.
    """
    if len(states) != len(times) or (beliefs is not None and len(beliefs) != len(times)):
        raise UserError(f"a trajectory has one time for each row: {len(states)} states, {len(times)} times")
    shown = chosen(len(states), most)
    rows, names = [], []
    for item in range(len(states[0])):
        rows.append([states[row][item] for row in shown])
        names.append("state $x_t$")
        if beliefs is not None:
            rows.append([beliefs[row][item] for row in shown])
            names.append("belief $x_0$")
    return strip(
        rows,
        [f"{float(times[row]):.2f}" for row in shown],
        names,
        title,
        "time t",
        theme,
        together=1 if beliefs is None else 2,
    )


def point_panels(
    states: np.ndarray,
    beliefs: np.ndarray | None,
    times: Numbers,
    truth: np.ndarray | None = None,
    most: int = 4,
    theme: str = "light",
    title: str = TITLE,
) -> Figure:
    """Points (R, N, 2): the states in the first row of panels, the beliefs in the second."""
    shown = chosen(len(states), most)
    named = {f"state, t = {float(times[row]):.2f}": states[row] for row in shown}
    if beliefs is not None:
        named |= {f"belief, t = {float(times[row]):.2f}": beliefs[row] for row in shown}
    return clouds(named, title, behind=truth, columns=len(shown), theme=theme)


def paths(
    states: np.ndarray,
    truth: np.ndarray | None = None,
    most: int = 150,
    theme: str = "light",
    title: str = "Paths from noise to data",
) -> Figure:
    """The ways of at most `most` points (R, N, 2), darker towards the end; dots where they end."""
    if states.ndim != 3 or states.shape[2] != 2:
        raise UserError(f"paths are drawn of points in the plane (R, N, 2), got {states.shape}")
    with themed(theme) as look:
        fig = figure((4.7, 4.9))
        axes = fig.add_subplot()
        kept = states[:, :most].astype(np.float64)
        if truth is not None:
            size = float(np.clip(3000 / max(1, len(truth)), 0.6, 6))
            axes.scatter(*truth.T, s=size, color=look.muted, alpha=0.25, linewidths=0, rasterized=True)
        pieces = np.stack([kept[:-1], kept[1:]], axis=2)  # (R − 1, N, 2 ends, 2)
        depth = np.broadcast_to(np.linspace(0.2, 0.75, len(pieces))[:, None], pieces.shape[:2])
        axes.add_collection(
            LineCollection(list(pieces.reshape(-1, 2, 2)), array=depth.ravel(), cmap=look.map, lw=0.7, alpha=0.8)
        ).set_clim(0, 1)
        axes.collections[-1].set_rasterized(True)
        axes.scatter(*kept[-1].T, s=7, color=look.accent, linewidths=0, zorder=3)
        x0, x1, y0, y1 = frame_of(kept.reshape(-1, 2), margin=0.03)
        axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal", title=title)
        axes.set(xlabel="x (data units)", ylabel="y (data units)")
    return fig


__all__ = ["COLUMNS", "image_strip", "paths", "point_panels"]
