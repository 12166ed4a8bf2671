"""Schedules made of schedules: zero terminal signal, the sub-VP process, and the textbook chain of T steps."""

from dataclasses import dataclass

import numpy as np

from unnoise.config import UserError
from unnoise.process.schedule import CHAIN, FINEST, Preserving, Schedule
from unnoise.tensor import Array

BLIND = 1000.0  # sigma/alpha where a grid starts whose chain ends with no signal at all; others start at their own end


@dataclass(frozen=True)
class ZeroTerminal(Preserving):
    """Any variance-preserving schedule shifted and stretched in alpha so that alpha(1) = 0 exactly.

    alpha'(t) = (alpha(t) − alpha(1))/(1 − alpha(1))  (Lin et al., 2024, Alg. 1, with alpha(0) = 1).
    """

    schedule: Schedule

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Preserving):
            raise UserError(
                "zero-terminal rescaling needs a variance-preserving schedule (alpha² + sigma² = 1), "
                f"got {type(self.schedule).__name__.lower()}"
            )

    @property
    def _base(self) -> Preserving:
        assert isinstance(self.schedule, Preserving)
        return self.schedule

    @property
    def _last(self) -> float:
        return float(self._base.alpha(np.array(1.0)))

    @property
    def steps(self) -> int:
        return self.schedule.steps

    def log_abar(self, t: Array) -> Array:
        lost = -np.expm1(self._base.log_abar(t) / 2) / (1 - self._last)  # 1 − alpha'
        lost = np.where(np.asarray(t) < 1, np.minimum(lost, 1), 1.0)  # exactly nothing is left at t = 1
        with np.errstate(divide="ignore"):
            return 2 * np.log1p(-lost)

    def decay(self, t: Array) -> Array:
        alpha = self._base.alpha(t)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(self._last > 0, alpha / (alpha - self._last), 1.0)
        return self._base.decay(t) * share

    def _time_of(self, log_abar: Array) -> Array:
        lost = -np.expm1(log_abar / 2) * (1 - self._last)
        with np.errstate(divide="ignore"):
            return self._base._time_of(2 * np.log1p(-lost))

    def betas(self, steps: int) -> Array:
        """The paper's own arrays: sqrt(abar_1) is kept, sqrt(abar_T) becomes 0; beta_T = 1."""
        alphas = np.sqrt(np.cumprod(1 - self._base.betas(steps)))
        alphas = (alphas - alphas[-1]) * (alphas[0] / (alphas[0] - alphas[-1]))
        return 1 - np.square(alphas) / np.square(np.concatenate([[1.0], alphas[:-1]]))


@dataclass(frozen=True)
class SubVP(Schedule):
    """alpha of a variance-preserving schedule, sigma = 1 − alpha²: the sub-VP SDE  (Song et al., 2021, Eq. 12 and 29).

    dx = −beta/2·x dt + sqrt(beta·(1 − exp(−2·integral of beta))) dw. The square of the VP's deviation: less noise
    at every t, and the same data and prior at the ends.
    """

    schedule: Schedule

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Preserving):
            raise UserError(
                "the sub-VP process is made of a variance-preserving schedule (alpha² + sigma² = 1), "
                f"got {type(self.schedule).__name__.lower()}"
            )

    @property
    def _base(self) -> Preserving:
        assert isinstance(self.schedule, Preserving)
        return self.schedule

    @property
    def steps(self) -> int:
        return self.schedule.steps

    def alpha(self, t: Array) -> Array:
        return self._base.alpha(t)

    def sigma(self, t: Array) -> Array:
        return 0 - np.expm1(self._base.log_abar(t))  # 0 −, so that sigma(0) is +0

    def logsnr(self, t: Array) -> Array:
        log_abar = self._base.log_abar(t)
        with np.errstate(divide="ignore"):
            return log_abar - 2 * np.log(-np.expm1(log_abar))

    def slope(self, t: Array) -> Array:
        log_abar = self._base.log_abar(t)
        with np.errstate(divide="ignore", invalid="ignore"):
            return -self._base.decay(t) * (1 + np.exp(log_abar)) / (0 - np.expm1(log_abar))

    def time(self, logsnr: Array) -> Array:
        # sigma/alpha = (1 − alpha²)/alpha = 2·sinh(−log alpha), so log abar = −2·asinh(sigma/(2·alpha))
        logsnr = np.asarray(logsnr, dtype=np.float64)
        with np.errstate(over="ignore"):
            log_abar = -2 * np.arcsinh(np.exp(-logsnr / 2) / 2)
        with np.errstate(divide="ignore"):
            return self._base.time(log_abar - np.log(-np.expm1(log_abar)))


@dataclass(frozen=True)
class Discrete(Preserving):
    """The textbook chain of T steps: t = k/T, abar_0 = 1, abar_k = prod of (1 − beta_i).

    Between integers logSNR is interpolated; before the first, where it is infinite, log abar is, and after
    the last but one of a chain that ends at alpha = 0, alpha is.
    """

    schedule: Schedule
    T: int = CHAIN

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Preserving) or isinstance(self.schedule, Discrete):
            raise UserError(
                f"{type(self.schedule).__name__.lower()} has no betas: a chain of steps is made of a "
                "variance-preserving schedule"
            )
        if self.T < 2:
            raise UserError(f"a chain needs at least 2 steps, got T = {self.T}")
        betas = self.schedule.betas(self.T)
        with np.errstate(divide="ignore"):
            nodes = np.concatenate([[0.0], np.cumsum(np.log1p(-betas))])
        nodes.setflags(write=False)
        object.__setattr__(self, "_betas", betas)
        object.__setattr__(self, "_nodes", nodes)

    @property
    def steps(self) -> int:
        return self.T

    @property
    def beta(self) -> Array:
        """beta_1 .. beta_T: (T,)."""
        return self._betas  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def abar(self) -> Array:
        """abar_0 .. abar_T: (T + 1,)."""
        return np.exp(self._knots)

    @property
    def _knots(self) -> Array:
        return self._nodes  # pyright: ignore[reportAttributeAccessIssue]

    def _piece(self, t: Array) -> tuple[Array, Array, Array]:
        place = np.asarray(t, dtype=np.float64) * self.T
        rounding = 8 * np.finfo(np.float64).eps * self.T  # t is known to its last digits: k/T·T is k
        place = np.where(np.abs(place - np.rint(place)) < rounding, np.rint(place), place)
        index = np.clip(np.floor(place), 0, self.T - 1).astype(np.int64)
        part = np.asarray(place - index, dtype=np.float64)
        return part, self._knots[index], self._knots[index + 1]

    def log_abar(self, t: Array) -> Array:
        part, left, right = self._piece(t)
        with np.errstate(divide="ignore", invalid="ignore"):
            between = -np.logaddexp(0, -((1 - part) * _odds(left) + part * _odds(right)))
            fading = left + 2 * np.log1p(-part)
            first = np.where(part == 0, 0.0, part * right)
        inner = np.where(np.isinf(right), fading, between)
        return np.select([left == 0, part == 0, part == 1], [first, left, right], inner)

    def decay(self, t: Array) -> Array:
        part, left, right = self._piece(t)
        with np.errstate(divide="ignore", invalid="ignore"):
            between = (_odds(left) - _odds(right)) * -np.expm1(self.log_abar(t))
            fading = 2 / (1 - part)
        return self.T * np.select([left == 0, np.isinf(right)], [-right, fading], between)

    def _time_of(self, log_abar: Array) -> Array:
        value = np.asarray(log_abar, dtype=np.float64)
        index = np.clip(np.searchsorted(-self._knots, -value, side="right") - 1, 0, self.T - 1)
        left, right = self._knots[index], self._knots[index + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            between = (_odds(left) - _odds(value)) / (_odds(left) - _odds(right))
            fading = -np.expm1((value - left) / 2)
            part = np.select([left == 0, np.isinf(right)], [value / right, fading], between)
        return (index + np.clip(part, 0, 1)) / self.T

    @property
    def span(self) -> tuple[float, float]:
        least = float(np.exp(-self.logsnr(np.array(1 / self.T)) / 2))
        return max(FINEST, least), min(BLIND, float(np.exp(-self.logsnr(np.array(1.0)) / 2)))


def _odds(log_abar: Array) -> Array:
    """logSNR = log(abar/(1 − abar))."""
    return log_abar - np.log(-np.expm1(log_abar))
