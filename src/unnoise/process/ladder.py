"""Schedules that are not variance preserving: noise ladders at alpha = 1, and rectified flow."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from unnoise.config import UserError
from unnoise.process.schedule import Schedule
from unnoise.tensor import Array

FIRST = 2.0**-60  # the time of sigma_min: t = 0 itself is clean


class _Ladder(Schedule):
    """alpha = 1 and sigma from a least to a largest noise (variance exploding); 0 at t = 0 exactly."""

    sigma_min: float
    sigma_max: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < np.inf:
            raise UserError(f"needs 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}")

    @abstractmethod
    def _noise(self, t: Array) -> Array: ...

    @abstractmethod
    def _time_of(self, sigma: Array) -> Array: ...

    def alpha(self, t: Array) -> Array:
        return np.ones_like(np.asarray(t, dtype=np.float64))

    def sigma(self, t: Array) -> Array:
        t = np.asarray(t, dtype=np.float64)
        return np.where(t > 0, self._noise(t), 0.0)

    def time(self, logsnr: Array) -> Array:
        with np.errstate(over="ignore"):
            sigma = np.exp(-np.asarray(logsnr, dtype=np.float64) / 2)
        within = np.clip(sigma, self.sigma_min, self.sigma_max)
        return np.where(sigma > 0, np.clip(self._time_of(within), FIRST, 1), 0.0)

    @property
    def span(self) -> tuple[float, float]:
        return self.sigma_min, self.sigma_max


@dataclass(frozen=True)
class Geometric(_Ladder):
    """sigma(t) = sigma_min·(sigma_max/sigma_min)^t  (Song & Ermon, 2019; Song et al., 2021: VE)."""

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def _noise(self, t: Array) -> Array:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def slope(self, t: Array) -> Array:
        rate = -2 * np.log(self.sigma_max / self.sigma_min)
        return np.where(np.asarray(t) > 0, rate, -np.inf)

    def _time_of(self, sigma: Array) -> Array:
        return np.log(sigma / self.sigma_min) / np.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class Karras(_Ladder):
    """sigma(t)^(1/rho) linear from sigma_min to sigma_max  (Karras et al., 2022, Eq. 5)."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rho > 0:
            raise UserError(f"rho must be positive, got {self.rho}")

    def _ends(self) -> tuple[float, float]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)

    def _noise(self, t: Array) -> Array:
        first, last = self._ends()
        return (first + np.asarray(t) * (last - first)) ** self.rho

    def slope(self, t: Array) -> Array:
        first, last = self._ends()
        rate = -2 * self.rho * (last - first) / (first + np.asarray(t) * (last - first))
        return np.where(np.asarray(t) > 0, rate, -np.inf)

    def _time_of(self, sigma: Array) -> Array:
        first, last = self._ends()
        return (sigma ** (1 / self.rho) - first) / (last - first)


@dataclass(frozen=True)
class Flow(Schedule):
    """alpha = 1 − t', sigma = t' with t' = shift·t/(1 + (shift − 1)·t)  (Liu et al., 2023)."""

    shift: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.shift < np.inf:
            raise UserError(f"shift must be positive, got {self.shift}")

    def alpha(self, t: Array) -> Array:
        t = np.asarray(t, dtype=np.float64)
        return (1 - t) / (1 + (self.shift - 1) * t)

    def sigma(self, t: Array) -> Array:
        t = np.asarray(t, dtype=np.float64)
        return self.shift * t / (1 + (self.shift - 1) * t)

    def slope(self, t: Array) -> Array:
        t = np.asarray(t, dtype=np.float64)
        with np.errstate(divide="ignore"):
            return -2 / (t * (1 - t))  # the shift multiplies sigma/alpha by a constant

    def time(self, logsnr: Array) -> Array:
        ratio_log = -np.asarray(logsnr, dtype=np.float64) / 2 - np.log(self.shift)  # log t/(1 − t)
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-ratio_log))
