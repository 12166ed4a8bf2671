"""How well prompts are followed, and how much samples of one prompt differ, by the weight of guidance."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from unnoise.metrics import Measure
from unnoise.report.style import WIDE, figure, themed
from unnoise.report.words import called

SHARES = ("attributes_of_one", "attributes_of_two", "attributes_of_three", "relations", "unseen_pairs")


def by_weight(
    weights: Sequence[float], measures: Sequence[Mapping[str, Measure]], title: str = "", theme: str = "light"
) -> Figure:
    """Left the shares of what is told that is shown, right the variety; with 95 % over prompts. Measures by name."""
    with themed(theme) as look:
        fig = figure(WIDE)
        left, right = fig.subplots(1, 2, width_ratios=(3, 2))
        there = [name for name in SHARES if all(name in found for found in measures)]
        for name, style in zip(there, [*look.series(min(len(there), 4)), {"color": look.muted}], strict=False):
            rows = [found[name] for found in measures]
            left.plot(weights, [row.value for row in rows], marker="o", ms=3, label=called(name), **style)
            left.fill_between(weights, *_ends(rows), color=style["color"], alpha=0.12, lw=0)
        left.set(xlabel="weight of guidance", ylabel="share of what is told that is shown", ylim=(None, 1.01))
        left.legend(loc="lower right", fontsize=8)
        left.set_title("Accuracy")
        rows = [found["variety"] for found in measures]
        right.plot(weights, [row.value for row in rows], marker="o", ms=3, color=look.accent, label="samples")
        right.fill_between(weights, *_ends(rows), color=look.accent, alpha=0.12, lw=0)
        right.axhline(rows[0].floor, color=look.ink, ls=(0, (5, 1.5)), lw=1.2, label="real pictures of the prompts")
        right.set(xlabel="weight of guidance", ylabel="mean distance of two of one prompt", ylim=(0, None))
        right.legend(loc="lower left", fontsize=8)
        right.set_title("Variety")
        fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return fig


def _ends(rows: Sequence[Measure]) -> tuple[list[float], list[float]]:
    ends = [(np.nan if row.low is None else row.low, np.nan if row.high is None else row.high) for row in rows]
    return [low for low, _ in ends], [high for _, high in ends]


__all__ = ["by_weight"]
