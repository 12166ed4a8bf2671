"""Which noise levels a batch trains on: laws of t, by their quantiles."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, ndtr, ndtri

from unnoise.config import UserError
from unnoise.process.schedule import Schedule
from unnoise.tensor import Array

LEAST = 1e-5  # the first time that is trained (Song et al., 2021, App. C): at t = 0 there is nothing to learn
TINY = 1e-12  # of quantiles: what lies outside is not asked for


def _positive(std: float) -> None:
    if not 0 < std < np.inf:
        raise UserError(f"std is a deviation and must be positive, got {std}")


class Levels(ABC):
    """A law of t in [LEAST, 1], given by its quantile function.

    Where `stratify` holds, a batch takes one item from each of B equally likely intervals of the law: each
    item still follows it, and the mean over the batch loses the variance between the intervals.
    """

    stratify: bool

    def at(self, items: int) -> "Levels":
        """The law in force after so many items of training: itself, unless it is one that changes."""
        return self

    @abstractmethod
    def quantile(self, u: Array, schedule: Schedule) -> Array:
        """The time below which a share u of the law lies: (B,) in (0, 1) → (B,) in [LEAST, 1], float64."""


@dataclass(frozen=True)
class Uniform(Levels):
    """t uniform on [LEAST, 1]; with `steps`, on the times k/steps of a chain, k = 1 .. steps (Ho et al., 2020)."""

    steps: int | None = None
    stratify: bool = True

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise UserError(f"steps counts the chain's steps, 1 or more, got {self.steps}")

    def quantile(self, u: Array, schedule: Schedule) -> Array:
        if self.steps is None:
            return LEAST + (1 - LEAST) * u
        return (np.minimum(np.floor(u * self.steps), self.steps - 1) + 1) / self.steps


@dataclass(frozen=True)
class LogitNormal(Levels):
    """log(t/(1 − t)) ~ N(mean, std²): the middle of the way more often than its ends  (Esser et al., 2024, Eq. 19)."""

    mean: float = 0.0
    std: float = 1.0
    stratify: bool = True

    def __post_init__(self) -> None:
        _positive(self.std)

    def quantile(self, u: Array, schedule: Schedule) -> Array:
        return np.clip(expit(self.mean + self.std * ndtri(u)), LEAST, 1.0)


@dataclass(frozen=True)
class LogNormal(Levels):
    """log(sigma/alpha) ~ N(mean, std²)  (Karras et al., 2022, Table 1), cut off where the schedule ends.

    The law is the normal one given that it falls into the schedule's range, so no level is heaped up at an
    end. It means the same noise on every schedule; that the schedule has a t for it is all that is asked.
    """

    mean: float = -1.2
    std: float = 1.2
    stratify: bool = True

    def __post_init__(self) -> None:
        _positive(self.std)

    def quantile(self, u: Array, schedule: Schedule) -> Array:
        ends = -schedule.logsnr(np.array([LEAST, 1.0])) / 2  # log(sigma/alpha), the last perhaps infinite
        low, high = ndtr((ends - self.mean) / self.std)
        if not high > low:
            raise UserError(
                f"noise levels around log(sigma/alpha) = {self.mean:g} ± {self.std:g} do not meet the schedule's, "
                f"{ends[0]:.3g} to {ends[1]:.3g}"
            )
        log_ratio = self.mean + self.std * ndtri(low + u * (high - low))
        return np.clip(schedule.time(-2 * log_ratio), LEAST, 1.0)


@dataclass(frozen=True)
class Curriculum(Levels):
    """One law for the first items, then another; over half as many items more the first gives way, down to `keep`.

    Whole pictures, and what a prompt says of places, are settled in much noise, where few steps of a usual law go: a
    network that begins there hears in a tenth of the items what it else hears last, and keeps it. As a law by itself it
    is what it ends in, its two parts one after the other.
    """

    first: Levels = LogNormal(1.8, 0.7)
    then: Levels = LogitNormal()
    items: int = 20_000
    keep: float = 0.1
    stratify: bool = True

    def __post_init__(self) -> None:
        if self.items < 1:
            raise UserError(f"a curriculum begins with 1 item or more, got {self.items}")
        if not 0 <= self.keep < 1:
            raise UserError(f"keep is the share of the first law that stays, in [0, 1), got {self.keep}")

    def at(self, items: int) -> Levels:
        if items <= self.items:
            return self.first.at(items)
        given_way = 2 * (items - self.items) / self.items
        return self if given_way >= 1 else replace(self, keep=1 - given_way * (1 - self.keep))

    def quantile(self, u: Array, schedule: Schedule) -> Array:
        late = (u - self.keep) / (1 - self.keep)
        t = self.then.quantile(np.clip(late, TINY, 1 - TINY), schedule)
        if not self.keep:
            return t
        early = self.first.quantile(np.clip(u / self.keep, TINY, 1 - TINY), schedule)
        return np.where(u < self.keep, early, t)


LEVELS: dict[str, type[Levels]] = {
    "uniform": Uniform,
    "logit_normal": LogitNormal,
    "log_normal": LogNormal,
    "curriculum": Curriculum,
}

__all__ = ["LEAST", "LEVELS", "Curriculum", "Levels", "LogNormal", "LogitNormal", "Uniform"]
