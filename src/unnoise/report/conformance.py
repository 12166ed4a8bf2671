"""Orders of all samplers, a panel each order; a foreign sampler beside the rule that it names, and its table."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unnoise.conformance.account import Account
from unnoise.conformance.proof import Proof
from unnoise.report.style import Theme, figure, name_ends, themed

SHOWN = 24  # rows of the table that are drawn
ROUNDING = 1e-6  # of the largest in a row
CELLS = ("state", "newest", "−1", "−2", "−3", "−4", "−5", "noise")


def proofs(rows: Sequence[Proof], theme: str = "light") -> Figure:
    """Error over evaluations on Gaussian data, a panel for each order promised (4 and more in one), with its slope."""
    drawn = [row for row in rows if row.drawn and row.promised]
    orders = sorted({min(row.promised, 4) for row in drawn})
    with themed(theme) as look:
        fig = figure((11, 4.6 * -(-len(orders) // 2)))
        panels = fig.subplots(-(-len(orders) // 2), 2, sharex=True, sharey=True, squeeze=False).ravel()
        ends: list[list[tuple[float, float, str, str]]] = []
        for axes, order in zip(panels, orders, strict=False):
            own = [row for row in drawn if min(row.promised, 4) == order]
            ends.append(_panel(axes, own, order, look))
        for axes in panels[len(orders) :]:
            axes.set_visible(False)
        fig.supxlabel("network evaluations", fontsize=9)
        fig.supylabel("W2 to the truth, rms over directions", fontsize=9)
        fig.suptitle("Exact error of the deterministic samplers, by algebra", x=0.01, ha="left", fontweight="bold")
        fig.canvas.draw()
        for axes, names in zip(panels, ends, strict=False):
            name_ends(axes, names)
    return fig


def _panel(axes: Axes, rows: Sequence[Proof], order: int, look: Theme) -> list[tuple[float, float, str, str]]:
    """The curves of one order and a dashed line of its slope above them; where each curve ends."""
    axes.set(xscale="log", yscale="log")
    more = " and more" if order == 4 else ""
    axes.set_title(f"order {order}{more}: {len(rows)} rule{'s' if len(rows) > 1 else ''}", loc="left")
    axes.tick_params(labelbottom=True)
    ends: list[tuple[float, float, str, str]] = []
    for row, line in zip(rows, look.series(len(rows)), strict=True):
        axes.plot(row.evaluations, row.errors, marker="o", ms=2.5, **line)
        ends.append((float(row.evaluations[-1]), float(row.errors[-1]), row.name, str(line["color"])))
    x = np.array([rows[0].evaluations[-3], rows[0].evaluations[-1]], dtype=float)
    y = max(row.errors[-3] for row in rows) * 3 * (x / x[0]) ** -order
    axes.plot(x, y, ls=(0, (2, 3)), color=look.muted, lw=1.2)
    axes.annotate(f"slope {order}", (x[0], y[0]), fontsize=8, color=look.muted, va="bottom")
    return ends


def account(found: Account, theme: str = "light") -> Figure:
    """Left: law error over evaluations, theirs and ours over the same times. Right: the normal form, cell by cell."""
    with themed(theme) as look:
        fig = figure((10.4, 4.8))
        left, right = fig.subplots(1, 2, width_ratios=(1, 1.25))
        _errors(left, found, look)
        _table(right, found, look)
        fig.suptitle(f"{found.reading.name}: {found.reading.steps} steps", x=0.01, ha="left", fontweight="bold")
    return fig


def _errors(axes: Axes, found: Account, look: Theme) -> None:
    curves = [(found.reading.name.partition(":")[2] or found.reading.name, found.errors, found.order)]
    if found.ours:
        curves.append((f"our {found.reading.rule}, same times", found.ours, found.own_order))
    axes.set(xscale="log", yscale="log", xlabel="network evaluations", ylabel="W2 of the law, rms over directions")
    axes.set_title("error on Gaussian data, by algebra", loc="left")
    for (name, points, order), line, marker in zip(curves, look.series(len(curves)), "os", strict=False):
        x, y = (np.array(column, dtype=float) for column in zip(*points.values(), strict=True)) if points else ([], [])
        axes.plot(x, y, marker=marker, label=f"{name}: order {order:.2f}", **line)
    ticks = sorted({rows for rows, _ in found.errors.values()})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8)


def _table(axes: Axes, found: Account, look: Theme) -> None:
    from unnoise.conformance.unrolled import local

    compared = found.departure
    theirs = (local(found.reading.wide) if compared is None else compared.theirs)[:SHOWN]
    theirs = np.where(np.abs(theirs) > ROUNDING * np.abs(theirs).max(axis=1, keepdims=True), theirs, 0.0)
    used = np.flatnonzero(np.abs(theirs).max(axis=0) > 0)
    wrong = set() if compared is None else {(row, column) for row, column, _, _ in compared.cells}
    strength = np.abs(theirs) / (np.abs(theirs) + 0.35)
    axes.imshow(strength[:, used], cmap=look.map, vmin=0, vmax=1, aspect="auto", interpolation="none")
    for row in range(len(theirs)):
        for place, column in enumerate(used):
            value, colour = theirs[row, column], look.over(look.map(float(strength[row, column]))[:3])
            off = (row, int(column)) in wrong
            if value or off:
                text, weight = f"{value:.3g}".replace("-", "−"), "bold" if off else "normal"
                told = f"{text} ≠" if off else text
                axes.text(place, row, told, ha="center", va="center", fontsize=7, color=colour, fontweight=weight)
    axes.set_xticks(range(len(used)), [CELLS[column] for column in used])
    axes.set_yticks(range(len(theirs)), [str(row + 2) for row in range(len(theirs))])
    axes.set(xlabel="made of the state, the answers (newest first) and fresh noise", ylabel="question")
    axes.grid(False)
    axes.tick_params(length=0)
    if compared is None:
        axes.set_title("its table, in data predictions", loc="left")
    else:
        count = len(compared.cells)
        axes.set_title(f"its table; ≠ where it is not {compared.rule} ({count} cells)", loc="left")


__all__ = ["account", "proofs"]
