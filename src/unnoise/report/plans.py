"""A plan as a picture: its table of numbers, and where its rows fall on the logSNR axis."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from unnoise.report.style import Theme, figure, themed
from unnoise.samplers import Plan

NUMBERED = 26  # rows up to which every cell shows its number


def table(plan: Plan) -> list[tuple[str, list[str], np.ndarray]]:
    """The groups of columns (name, column names, values (R, columns)); columns of zeros alone are left out.

    `ask` and `base` are one group where they are equal: the next question is then the new base itself.
    """
    memories = [f"m{i}" for i in range(plan.base.shape[1] - 2)]
    state = ["base", *memories, "noise"]
    groups = [("keep", ["x", "x₀"], np.asarray(plan.keep))]
    if np.array_equal(plan.base, plan.ask):
        groups.append(("new base = next question", state, np.asarray(plan.base)))
    else:
        groups.append(("new base", state, np.asarray(plan.base)))
        groups.append(("next question", state, np.asarray(plan.ask)))
    groups.append(("variance", ["spread"], plan.spread[:, None]))  # only where it is learned
    shown = []
    for name, columns, values in groups:
        used = [j for j in range(values.shape[1]) if np.any(values[:, j] != 0)]
        if used:
            shown.append((name, [columns[j] for j in used], values[:, used]))
    return shown


def plan(
    plan: Plan,
    name: str = "",
    logsnr: Callable[[np.ndarray], np.ndarray] | None = None,
    theme: str = "light",
) -> Figure:
    """The table as numbered cells (ground: magnitude), beside it each row's place on the logSNR axis.

    logsnr: the schedule's; without it rows are placed by t. One row is one network evaluation.
    """
    groups, rows = table(plan), len(plan.t)
    with themed(theme) as look:
        count = sum(len(columns) for _, columns, _ in groups)
        high = min(11.0, max(2.9, 0.24 * min(rows, 60) + 1.35))
        across = max(3.0, 0.62 * (count + 2) + 0.25 * len(groups))
        fig = figure((across + 3.6, high))
        left, right = fig.subplots(1, 2, width_ratios=(across, 3.0), sharey=True)
        cells(left, look, groups, plan.t, plan.slot)
        _places(right, look, plan.t, logsnr)
        left.set_ylim(rows - 0.5, -0.5)
        fig.suptitle(
            f"{name or 'Plan'}: {rows} evaluation{'s' if rows > 1 else ''}",
            x=0.01,
            ha="left",
            fontsize=10.5,
            fontweight="bold",
        )
    return fig


def cells(
    axes: Axes,
    look: Theme,
    groups: list[tuple[str, list[str], np.ndarray]],
    t: np.ndarray,
    slot: np.ndarray,
) -> None:
    """Every number of the table in its place; the ground tells its size."""
    rows, numbered = len(t), len(t) <= NUMBERED
    ramp: Colormap = look.map
    place, ticks, names = 0.0, [], []
    for column, texts in (
        ("t", [f"{x:.3f}" if x >= 0.0995 else f"{x:.2g}" for x in t]),
        ("slot", [f"m{int(s)}" for s in slot]),
    ):
        if numbered:
            for i, text in enumerate(texts):
                axes.text(place, i, text, ha="center", va="center", fontsize=7.5, color=look.muted)
            ticks.append(place)
            names.append(column)
            place += 1
    for name, columns, values in groups:
        place += 0.35
        # The ground is the magnitude on one scale for all plans, near-linear below 1 and bounded above, so that
        # a memory kept as 1/sigma = 500 does not blanch the rest; the number tells the sign.
        strength = np.abs(values) / (np.abs(values) + 0.35)
        extent = (place - 0.5, place + len(columns) - 0.5, rows - 0.5, -0.5)
        axes.imshow(strength, cmap=ramp, vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="none")
        axes.text(place - 0.5, -0.62, name, fontsize=8.5, fontweight="bold", va="bottom", color=look.ink, clip_on=False)
        for j, column in enumerate(columns):
            ticks.append(place + j)
            names.append(column)
            for i in range(rows if numbered else 0):
                if values[i, j] != 0:
                    colour = look.over(ramp(float(strength[i, j]))[:3])
                    text = _number(values[i, j])
                    axes.text(place + j, i, text, ha="center", va="center", fontsize=7.5, color=colour)
        place += len(columns)
    axes.set_xlim(-0.6, place - 0.4)
    axes.set_xticks(ticks, names)
    axes.set_ylabel("row (one question to the network)")
    axes.set_yticks(range(0, rows, 1 if numbered else max(1, 5 * round(rows / 60))))
    axes.set_xlabel("coefficients (stronger colour: larger)")
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _places(axes: Axes, look: Theme, t: np.ndarray, logsnr: Callable[[np.ndarray], np.ndarray] | None) -> None:
    where = np.asarray(t if logsnr is None else logsnr(np.asarray(t, dtype=np.float64)), dtype=np.float64)
    finite = np.isfinite(where)
    rows = np.arange(len(t))
    axes.plot(where[finite], rows[finite], "o-", color=look.accent, ms=3.5 if len(t) <= 60 else 2, lw=1)
    if logsnr is None:
        axes.set(xlabel="time t, clean (0) to noise (1)")
        axes.invert_xaxis()
    else:
        axes.set(xlabel="logSNR, nats (noise → clean)")
        if finite.any():
            low, high = float(where[finite].min()), float(where[finite].max())
            room = 0.05 * (high - low) + 0.5
            axes.set_xlim(low - (0.22 * (high - low + 2) if not finite.all() else room), high + room)
        else:
            axes.set_xticks([])
        for i in rows[~finite]:
            axes.annotate(
                "pure noise" if where[i] < 0 else "clean",
                (axes.get_xlim()[0 if where[i] < 0 else 1], float(i)),
                xytext=(4 if where[i] < 0 else -4, 0),
                textcoords="offset points",
                ha="left" if where[i] < 0 else "right",
                va="center",
                fontsize=7.5,
                color=look.muted,
            )
    axes.tick_params(labelleft=False)


def _number(value: float) -> str:
    size = abs(value)
    if size >= 1000 or size < 0.001:
        mantissa, power = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(power)}".replace("-", "−")
    return f"{value:.{3 if size < 10 else 1 if size < 100 else 0}f}".replace("-", "−")


__all__ = ["NUMBERED", "cells", "plan", "table"]
