"""From real things to noise and back, as a picture: what went in, its noise, what came back, and the error."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from unnoise.report.grids import Picture, class_rows
from unnoise.report.style import WIDE, Theme, figure, themed

MOST = 12  # items that are shown
SHOWN = 3.0  # deviations of noise that are black and white


def gain(error: np.ndarray) -> float:
    """By what round number errors, of a range of 1, are multiplied to be seen: the largest below a half."""
    most = float(np.abs(error).max())
    if most == 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(0.5 / most))
    return float(max(1.0, power * max(part for part in (1, 2, 5) if part * power <= 0.5 / most)))


def pictures(
    inputs: Sequence[Picture],
    noise: Sequence[Picture],
    returns: Sequence[Picture],
    errors: Sequence[Picture],
    by: float,
) -> Image.Image:
    """Four rows: the pictures, their noise, what comes back, and the difference, `by` times as large, about grey."""
    rows = {"input": inputs, "noise": noise, "return": returns, f"error × {by:g}": errors}
    return class_rows({name: list(row)[:MOST] for name, row in rows.items()})


def points(
    inputs: np.ndarray,
    noise: np.ndarray,
    returns: np.ndarray,
    title: str,
    names: Sequence[str] = ("x", "y"),
    theme: str = "light",
) -> Figure:
    """Points in the plane (N, 2): what went in and came back, their noise, and the error of each.

    noise: of unit deviation; errors are distances in the units of the points.
    """
    with themed(theme) as look:
        fig = figure((WIDE[0], 3.6))
        fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        there, away, off = fig.subplots(1, 3)
        order = np.argsort(np.arctan2(*(inputs - inputs.mean(0)).T))
        colours = look.map(np.linspace(0.35, 1.0, len(inputs)))
        there.scatter(*inputs[order].T, s=18, c=colours, lw=0, label="input")
        there.scatter(*returns[order].T, s=34, facecolors="none", edgecolors=look.ink, lw=0.6, label="return")
        there.set(title="Input, and return (rings)", xlabel=names[0], ylabel=names[1], aspect="equal")
        away.scatter(*noise[order].T, s=18, c=colours, lw=0)
        _circles(away, look)
        away.set(title="Noise", xlabel="deviations", ylabel="deviations", aspect="equal")
        wrong = np.maximum(np.linalg.norm(returns - inputs, axis=1), 1e-9)
        off.plot(np.sort(wrong), (np.arange(len(wrong)) + 0.5) / len(wrong), color=look.accent)
        off.set(title="Error of the return", xlabel="distance, data units", ylabel="share of points", xscale="log")
        off.set_ylim(0, 1)
    return fig


def _circles(axes: object, look: Theme) -> None:
    """One, two and three deviations, faintly."""
    from matplotlib.axes import Axes
    from matplotlib.patches import Circle

    assert isinstance(axes, Axes)
    for radius in (1, 2, 3):
        axes.add_patch(Circle((0, 0), radius, fill=False, color=look.muted, lw=0.6, alpha=0.6))


__all__ = ["MOST", "SHOWN", "gain", "pictures", "points"]
