"""A tuned plan beside its ancestor: both tables, where their questions fall, and what each row costs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from unnoise.report.plans import cells, table
from unnoise.report.style import figure, themed
from unnoise.samplers import Plan


def beside(
    tuned: Plan,
    ancestor: Plan,
    names: tuple[str, str],
    budget: Sequence[float],
    before: float,
    logsnr: Callable[[np.ndarray], np.ndarray],
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Left the two tables; right the questions of both over logSNR, and the error budget.

    budget (R + 1,): the distance to the fine solution if the flow were followed exactly from each question on, and of
    the plan itself; before: the ancestor's.
    """
    with themed(theme) as look:
        groups = [table(plan) for plan in (tuned, ancestor)]
        widest = max(sum(len(columns) for _, columns, _ in group) for group in groups)
        across, high = max(4.2, 0.6 * (widest + 2) + 0.6), max(2.1, 0.24 * tuned.rows + 1.3)
        fig = figure((across + 3.9, 2 * high + 0.4))
        axes = fig.subplots(2, 2, width_ratios=(across, 3.5))
        for place, (plan, group, name) in enumerate(zip((tuned, ancestor), groups, names, strict=True)):
            cells(axes[place, 0], look, group, plan.t, plan.slot)
            axes[place, 0].set_ylim(plan.rows - 0.5, -0.5)
            axes[place, 0].set_title(name, pad=24)
        where = axes[0, 1]
        styles = ({"color": look.accent, "marker": "o"}, {"color": look.ink, "marker": "s", "linestyle": (0, (5, 1.5))})
        for plan, name, style in zip((tuned, ancestor), ("tuned", "ancestor"), styles, strict=True):
            where.plot(_shown(logsnr(np.asarray(plan.t))), np.arange(plan.rows), ms=4, lw=1.2, label=name, **style)
        where.invert_yaxis()
        where.set(xlabel="logSNR, nats (noise → clean)", ylabel="question", title="Where it asks")
        where.legend(loc="lower left")
        _budget(axes[1, 1], look, budget, before, tuned.head is not None)
        fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return fig


def _budget(axes: Any, look: Any, budget: Sequence[float], before: float, headed: bool) -> None:
    """How the distance grows from question to question, beside the ancestor's."""
    rows = np.arange(len(budget))
    axes.bar(rows, budget, color=look.accent, width=0.62)
    axes.axhline(before, color=look.ink, linestyle=(0, (5, 1.5)), lw=1.2)
    axes.annotate(
        "its ancestor", (rows[0] - 0.4, before), xytext=(0, 3), textcoords="offset points", fontsize=8, color=look.ink
    )
    last = len(budget) - 1
    names = ["head" if headed else "start", *(str(row) for row in range(last - 1)), "sample"]
    axes.set_xticks(rows, names)
    axes.set(
        xlabel="with no error after row",
        ylabel="distance to the fine solution",
        title="What the rows cost",
        ylim=(0, 1.15 * max(before, *budget)),
    )
    axes.grid(False, axis="x")


def _shown(values: np.ndarray) -> np.ndarray:
    """Pure noise stands at the left end."""
    finite = values[np.isfinite(values)]
    return np.where(np.isfinite(values), values, finite.min() - 2 if len(finite) else 0.0)


def strips(rows: Mapping[str, Sequence[Any]], title: str, theme: str = "light") -> Figure:
    """Pictures in rows, one below the other, each row with its name: the same seeds drawn in several ways."""
    with themed(theme):
        count = len(next(iter(rows.values())))
        fig = figure((0.62 * count + 0.3, 0.92 * len(rows) + 0.45))
        grid = fig.subplots(len(rows), count, squeeze=False)
        for line, (name, pictures) in zip(grid, rows.items(), strict=True):
            for axes, picture in zip(line, pictures, strict=True):
                shown = np.asarray(picture)
                axes.imshow(shown, cmap="gray" if shown.ndim == 2 else None, vmin=0, vmax=255)
                axes.axis("off")
            named = line[0].text(0, 1.06, name, transform=line[0].transAxes, va="bottom", fontsize=9)
            named.set_in_layout(False)  # wider than its picture
        fig.set_layout_engine("constrained", hspace=0.28)
        fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return fig


__all__ = ["beside", "strips"]
