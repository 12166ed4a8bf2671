"""Processes, samplers and closed forms that the laws of the samplers are tested over."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from unnoise.conformance.proof import open_grid as open_grid
from unnoise.denoise.denoiser import Belief
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.process.schedule import Schedule
from unnoise.process.schedules import SCHEDULES, Discrete, Flow, Linear, SubVP, ZeroTerminal
from unnoise.samplers.table import SAMPLERS
from unnoise.tensor import Array, Cond, Tensor, align

PROCESSES: dict[str, Gaussian] = {
    **{
        name: Gaussian(kind())
        for name, kind in SCHEDULES.items()
        if name not in ("zero_terminal", "sub_vp", "discrete")
    },
    "flow_shifted": Gaussian(Flow(3.0)),
    "zero_terminal": Gaussian(ZeroTerminal(Linear())),
    "sub_vp": Gaussian(SubVP(Linear())),
    "discrete": Gaussian(Discrete(Linear())),
    "discrete_zero_terminal": Gaussian(Discrete(ZeroTerminal(SCHEDULES["cosine"]()))),
}

# Options that a sampler is tested with besides its defaults; a sampler without an entry is tested as it is.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "ddim": [{"eta": 0.5}, {"eta": 1.0}],
    "ddpm": [{"variance": "beta"}],
    "deis_3": [{"variable": "lambda"}],
    "dpmpp_2m_sde": [{"eta": 0.5}],
    "dpmpp_2s_ancestral": [{"eta": 0.5}],
    "dpmpp_sde": [{"eta": 0.0, "r": 0.7}],
    "edm": [{"s_churn": 0.0}],
    "predictor_corrector": [{"predictor": "reverse_diffusion", "corrections": 2}],
    "sa_solver": [{"tau": 0.0}, {"predictor": 3, "corrector": 4}, {"predictor": 1, "corrector": 0}],
    "unip_2": [{"b": "bh1"}],
    "unipc_2": [{"b": "bh1", "predicts": "noise"}],
}


# One of every shape that a table takes: what runs tables is tested over these, what a table says over every one.
SHAPES = ("ddpm", "ddim", "heun", "dpmpp_2m", "unipc_3", "dpmpp_sde", "sa_solver", "edm", "predictor_corrector")


def rules(stochastic: bool | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """A sampler of every shape, DDPM and DDIM with their options: all, or the (non-)stochastic ones."""
    for name, options in every(stochastic):
        if name in SHAPES and (not options or name in ("ddpm", "ddim")):
            yield name, options


def every(stochastic: bool | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every sampler of the table with every set of options: all, or the (non-)stochastic ones."""
    for name, entry in SAMPLERS.items():
        for options in ({}, *OPTIONS.get(name, [])):
            if stochastic is None or entry.stochastic(**options) == stochastic:
                yield name, options


def named(rule: tuple[str, dict[str, Any]]) -> str:
    """A test's name of a rule."""
    return "-".join([rule[0], *(f"{k}={v}" for k, v in rule[1].items())])


def slopes(error: Callable[[int], float], first: int = 16, doublings: int = 5, floor: float = 1e-12) -> list[float]:
    """log2 of the ratios of errors from one doubling of the step count to the next, above the floor."""
    errors = [error(first * 2**k) for k in range(doublings + 1)]
    kept = [e for e in errors if e > floor]
    assert len(kept) >= min(5, doublings + 1), f"errors fell to the floor at once: {errors}"
    return [float(np.log2(a / b)) for a, b in itertools.pairwise(kept)][-3:]


@dataclass(frozen=True)
class Scalar:
    """The belief about data N(mean, variance) in every element: x0 = mean + g·(x − alpha·mean)."""

    process: Gaussian
    mean: float = 0.0
    variance: float = 1.0

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        alpha, sigma = align(level.alpha, x), align(level.sigma, x)
        gain = alpha * self.variance / (alpha**2 * self.variance + sigma**2)
        return Belief(self.mean + gain * (x - alpha * self.mean))


def fine_flow(
    denoise: Callable[[Array, float], Array], schedule: Schedule, x: Array, start: float, end: float
) -> Array:
    """The probability flow dy/ds = eps in y = x/alpha, s = sigma/alpha, by an eighth-order solver of scipy.

    denoise: (x (N, d), t) → x_0, float64.
    """
    ends = np.array([start, end])
    ratio, scale = np.exp(-schedule.logsnr(ends) / 2), schedule.alpha(ends)

    def slope(s: float, y: Array) -> Array:
        t = float(schedule.time(np.array(-2 * np.log(s))))
        alpha = float(schedule.alpha(np.array(t)))
        x_t = alpha * y.reshape(x.shape)
        return ((x_t - alpha * denoise(x_t, t)) / (alpha * s)).ravel()

    solved = solve_ivp(slope, tuple(ratio), (x / scale[0]).ravel(), method="DOP853", rtol=1e-11, atol=1e-12)
    return scale[1] * solved.y[:, -1].reshape(x.shape)
