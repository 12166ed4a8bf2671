"""What the network's answer means: x_0 = skip·x + out·F(inp·x), one line of coefficients each."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch

from unnoise.config import UserError, choose
from unnoise.process.level import Level
from unnoise.process.schedule import Schedule
from unnoise.tensor import Float, Tensor, align

GAIN = 1000.0  # error gain |out| beyond which single precision suffers


class Coefficients(NamedTuple):
    """x_0 = skip·x + out·F and the network hears inp·x; conversely F = data·x_0 + noise·eps. Each (B,)."""

    skip: Float[Tensor, "B"]
    out: Float[Tensor, "B"]
    inp: Float[Tensor, "B"]
    data: Float[Tensor, "B"]
    noise: Float[Tensor, "B"]


@runtime_checkable
class Target(Protocol):
    """A meaning of F. Frozen, with its parameters as fields."""

    def __call__(self, level: Level) -> Coefficients:
        """Its coefficients at the level of each item."""
        ...


@dataclass(frozen=True)
class Data:
    """F = x_0."""

    def __call__(self, level: Level) -> Coefficients:
        """skip = 0, out = 1."""
        one, zero = torch.ones_like(level.alpha), torch.zeros_like(level.alpha)
        return Coefficients(zero, one, one, one, zero)


@dataclass(frozen=True)
class Noise:
    """F = eps  (Ho et al., 2020, Eq. 11). The gain sigma/alpha is unbounded as alpha → 0."""

    def __call__(self, level: Level) -> Coefficients:
        """skip = 1/alpha, out = −sigma/alpha."""
        one, zero = torch.ones_like(level.alpha), torch.zeros_like(level.alpha)
        return Coefficients(1 / level.alpha, -level.sigma / level.alpha, one, zero, one)


@dataclass(frozen=True)
class Velocity:
    """F = alpha·eps − sigma·x_0  (Salimans & Ho, 2022, Eq. 10)."""

    def __call__(self, level: Level) -> Coefficients:
        """skip = alpha/(alpha² + sigma²), out = −sigma/(alpha² + sigma²)."""
        alpha, sigma = level.alpha, level.sigma
        power = alpha.square() + sigma.square()
        return Coefficients(alpha / power, -sigma / power, torch.ones_like(alpha), -sigma, alpha)


@dataclass(frozen=True)
class Score:
    """F = grad log p(x_t | x_0) = −eps/sigma  (Vincent, 2011; Song & Ermon, 2019)."""

    def __call__(self, level: Level) -> Coefficients:
        """skip = 1/alpha, out = sigma²/alpha."""
        alpha, sigma = level.alpha, level.sigma
        one, zero = torch.ones_like(alpha), torch.zeros_like(alpha)
        return Coefficients(1 / alpha, sigma.square() / alpha, one, zero, -1 / sigma)


@dataclass(frozen=True)
class Flow:
    """F = eps − x_0: dx/dt where alpha = 1 − t, sigma = t  (Lipman et al., 2023; Liu et al., 2023)."""

    def __call__(self, level: Level) -> Coefficients:
        """skip = 1/(alpha + sigma), out = −sigma/(alpha + sigma)."""
        alpha, sigma = level.alpha, level.sigma
        one, power = torch.ones_like(alpha), alpha + sigma
        return Coefficients(1 / power, -sigma / power, one, -one, one)


@dataclass(frozen=True)
class Mean:
    """F = E[x_{t−1} | x_t, x_0] = c_data·x_0 + c_here·x_t, one step back  (Ho et al., 2020, Eq. 7)."""

    def __call__(self, level: Level) -> Coefficients:
        """skip = −c_here/c_data, out = 1/c_data."""
        c_data, c_here = level.c_data, level.c_here
        one = torch.ones_like(c_data)
        data, noise = c_data + c_here * level.alpha, c_here * level.sigma
        return Coefficients(-c_here / c_data, 1 / c_data, one, data, noise)


@dataclass(frozen=True)
class EDM:
    """F of unit variance in, unit variance out, for data of deviation sd  (Karras et al., 2022, Table 1).

    With v = alpha²·sd² + sigma²: regular at alpha = 0 and at sigma = 0.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise UserError(f"sigma_data is the deviation of the data and must be positive, got {self.sigma_data}")

    def __call__(self, level: Level) -> Coefficients:
        """skip = alpha·sd²/v, out = sigma·sd/sqrt(v), inp = 1/sqrt(v)."""
        alpha, sigma, sd = level.alpha, level.sigma, self.sigma_data
        power = alpha.square() * sd**2 + sigma.square()
        root = power.sqrt()
        return Coefficients(alpha * sd**2 / power, sigma * sd / root, 1 / root, sigma / (sd * root), -alpha * sd / root)


Kind: TypeAlias = Data | Noise | Velocity | Score | Flow | Mean | EDM

TARGETS: dict[str, type[Kind]] = {
    "data": Data,
    "noise": Noise,
    "velocity": Velocity,
    "score": Score,
    "flow": Flow,
    "mean": Mean,
    "edm": EDM,
}


def named(kind: str | Target) -> Target:
    """A target by name with its defaults, or the target itself."""
    return choose("target", kind, TARGETS)() if isinstance(kind, str) else kind


def gain(kind: Target, schedule: Schedule, t: float) -> float:
    """|out| at time t: the factor from an error of the answer to an error of x_0, in float64."""
    level = Level.at(schedule, np.array([t]), torch.zeros(1, dtype=torch.float64))
    return abs(float(kind(level).out))


def to_data(value: Tensor, x: Tensor, level: Level, kind: str | Target) -> Float[Tensor, "B *dims"]:
    """x_0 from the value of a target: skip·x + out·value. Refuses where out is not finite."""
    c = named(kind)(level)
    _refuse(kind, level, torch.isfinite(c.out), "x_0 cannot be told from it")
    return align(c.skip, x) * x + align(c.out, x) * value


def from_data(x0: Tensor, x: Tensor, level: Level, kind: str | Target) -> Float[Tensor, "B *dims"]:
    """The value of a target from x_0: data·x_0 + (noise/sigma)·(x − alpha·x_0).

    The same as (x_0 − skip·x)/out, and regular at alpha = 0; refuses where sigma is 0 and noise is wanted.
    """
    c = named(kind)(level)
    share = torch.where(c.noise == 0, c.noise, c.noise / level.sigma)
    _refuse(kind, level, torch.isfinite(share), "it cannot be told from x_0")
    return align(c.data, x) * x0 + align(share, x) * (x - align(level.alpha, x) * x0)


def convert(
    value: Tensor, x: Tensor, level: Level, given: str | Target, wanted: str | Target
) -> Float[Tensor, "B *dims"]:
    """The value of one target from the value of another, at the same x and level."""
    return from_data(to_data(value, x, level, given), x, level, wanted)


def _refuse(kind: str | Target, level: Level, fine: Tensor, why: str) -> None:
    if not bool(fine.all()):
        name = kind if isinstance(kind, str) else type(kind).__name__.lower()
        t = float(level.times[int((~fine).nonzero()[0])])
        raise UserError(f"target '{name}' is singular at t = {t:g}: {why} there")
