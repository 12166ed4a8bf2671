"""Where a network's beliefs fall short of the exact ones: excess risk by noise level."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import trapezoid

from unnoise.report.curves import plain_log
from unnoise.report.style import WIDE, Numbers, figure, themed


@dataclass(frozen=True)
class Excess:
    """By noise level; the law of the data being known, 0 is perfect."""

    noise: Numbers  # (K,) log(sigma/alpha), ascending
    excess: Numbers  # (K,) (L − L*)/L*
    low: Numbers  # (K,) the ends of its 95 % interval
    high: Numbers  # (K,)
    bits: Numbers  # (K,) what it costs: bits for each number of an item and unit of log(sigma/alpha)

    @property
    def told(self) -> str:
        """Both curves in a sentence."""
        worst, dear = int(np.argmax(self.excess)), int(np.argmax(self.bits))
        return (
            f"The beliefs err most beyond the least possible, {100 * self.excess[worst]:.3g} %, at "
            f"σ/α = {np.exp(self.noise[worst]):.2g}, and most of their cost lies about σ/α = "
            f"{np.exp(self.noise[dear]):.2g}."
        )


def excess(found: Excess, theme: str = "light", title: str = "") -> Figure:
    """Left the relative excess with its interval; right what it costs in bits, the area being the whole of it."""
    x = np.asarray(found.noise, np.float64)
    with themed(theme) as look:
        fig = figure(WIDE)
        left, right = fig.add_subplot(1, 2, 1), fig.add_subplot(1, 2, 2)
        low, high, middle = (100 * np.asarray(v, np.float64) for v in (found.low, found.high, found.excess))
        left.fill_between(x, low, high, color=look.accent, alpha=0.25, linewidth=0)
        left.plot(x, middle, "o-", color=look.accent, ms=3.5)
        if low.min() > 0 and high.max() > 10 * low.min():
            left.set_yscale("log")
            plain_log(left)
        else:
            left.set_ylim(bottom=0)
        left.set(title="Error beyond the least possible", ylabel="(L − L*)/L*, %")
        right.fill_between(x, np.asarray(found.bits, np.float64), color=look.accent, alpha=0.2, linewidth=0)
        right.plot(x, found.bits, "o-", color=look.accent, ms=3.5)
        right.set_ylim(bottom=0)
        whole = float(trapezoid(found.bits, x))
        right.set(title=f"What it costs: {whole:.2g} bits a number in all", ylabel="bits a number and unit of log(σ/α)")
        for axes in (left, right):
            axes.set_xlabel("noise level log(σ/α), clean to noisy →")
        if title:
            fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return fig


__all__ = ["Excess", "excess"]
