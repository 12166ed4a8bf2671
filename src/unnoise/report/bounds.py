"""The variational bound as a picture: what each step of a chain costs, and what chains of more steps cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unnoise.report.curves import plain_log
from unnoise.report.style import WIDE, Theme, figure, themed

NOISIEST = 3.5  # what steps cost beyond is next to nothing


@dataclass(frozen=True)
class Chain:
    """The bound by one way to the variance: bits and their standard errors (S,) of chains of so many steps (S,); of one
    of them, what each step costs (T,) at the noise level log(sigma/alpha) (T,) that it leaves, the data's own last."""

    name: str
    steps: Sequence[int]
    bits: Sequence[float]
    errors: Sequence[float]
    noise: Sequence[float]
    by_step: Sequence[float]


def bounds(chains: Sequence[Chain], unit: str = "bits a number", theme: str = "light") -> Figure:
    """By noise level, each step of the chain drawn; and by number of steps, beside each other."""
    with themed(theme) as look:
        fig = figure(WIDE)
        left, right = fig.subplots(1, 2)
        _by_step(left, look, chains, unit)
        _by_count(right, look, chains, unit)
    return fig


def _by_step(axes: Axes, look: Theme, chains: Sequence[Chain], unit: str) -> None:
    for line, chain in zip(look.series(len(chains)), chains, strict=True):
        noise, cost = np.asarray(chain.noise), np.asarray(chain.by_step)
        shown = (noise[:-1] < NOISIEST) & (cost[:-1] > 0)
        axes.plot(noise[:-1][shown], cost[:-1][shown], label=chain.name, **line)
        axes.plot(noise[-1], cost[-1], "o", ms=5, mfc="none", color=line["color"])
    axes.set_yscale("log")
    plain_log(axes)
    last = chains[0]
    axes.annotate("the data", (last.noise[-1], last.by_step[-1]), (0, -16), textcoords="offset points", fontsize=8)
    title = f"What each of {len(last.noise)} steps costs"
    axes.set(title=title, xlabel="noise level log(σ/α), clean to noisy →", ylabel=f"{unit}, one step")
    axes.legend(loc="lower left")


def _by_count(axes: Axes, look: Theme, chains: Sequence[Chain], unit: str) -> None:
    for line, chain in zip(look.series(len(chains)), chains, strict=True):
        axes.errorbar(chain.steps, chain.bits, chain.errors, marker="o", ms=4, capsize=2, label=chain.name, **line)
    axes.set_xscale("log")
    plain_log(axes, "x")
    axes.set(title="The whole bound", xlabel="steps of the chain", ylabel=unit)


__all__ = ["Chain", "bounds"]
