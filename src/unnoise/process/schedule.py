"""How fast data is destroyed: alpha(t) and sigma(t) in closed form, float64 on the host.

Every schedule runs over t in [0, 1]: t = 0 is clean (alpha 1, sigma 0), t = 1 is the prior. Ladders that
begin at a least noise (geometric, Karras) jump from it to exactly 0 at t = 0.
"""

from abc import ABC, abstractmethod

import numpy as np

from unnoise.tensor import Array

FINEST = 0.002  # sigma/alpha below which data of unit scale is all told (Karras et al., 2022)
COARSEST = 80.0  # sigma/alpha above which less than 1e-4 of the variance is told (Karras et al., 2022)
CHAIN = 1000  # steps that textbooks count from data to noise


class Schedule(ABC):
    """alpha, sigma and logSNR = 2·log(alpha/sigma) as functions of t in [0, 1], on float64 arrays."""

    @abstractmethod
    def alpha(self, t: Array) -> Array:
        """The factor on the data."""

    @abstractmethod
    def sigma(self, t: Array) -> Array:
        """The deviation of the noise."""

    @abstractmethod
    def slope(self, t: Array) -> Array:
        """d logSNR / dt, negative; −inf where logSNR is not finite."""

    @abstractmethod
    def time(self, logsnr: Array) -> Array:
        """The inverse of logsnr, clipped to [0, 1]."""

    def logsnr(self, t: Array) -> Array:
        """2·log(alpha/sigma): +inf at t = 0, −inf where alpha is 0."""
        with np.errstate(divide="ignore"):
            return 2 * (np.log(self.alpha(t)) - np.log(self.sigma(t)))

    @property
    def steps(self) -> int:
        """How many steps its chain has; one step back is 1/steps."""
        return CHAIN

    @property
    def span(self) -> tuple[float, float]:
        """The finite range of sigma/alpha over which grids run, least first."""
        return FINEST, min(COARSEST, float(np.exp(-self.logsnr(np.array(1.0)) / 2)))


class Preserving(Schedule):
    """alpha² + sigma² = 1, given by log abar = 2·log alpha; expm1 keeps sigma exact near t = 0."""

    @abstractmethod
    def log_abar(self, t: Array) -> Array:
        """log of abar = alpha²: 0 at t = 0, falling."""

    @abstractmethod
    def decay(self, t: Array) -> Array:
        """−d log abar / dt: the noise rate beta(t) of the continuous chain."""

    @abstractmethod
    def _time_of(self, log_abar: Array) -> Array: ...

    def alpha(self, t: Array) -> Array:
        return np.exp(self.log_abar(t) / 2)

    def sigma(self, t: Array) -> Array:
        return np.sqrt(0 - np.expm1(self.log_abar(t)))  # 0 −, so that sigma(0) is +0

    def logsnr(self, t: Array) -> Array:
        log_abar = self.log_abar(t)
        with np.errstate(divide="ignore"):
            return log_abar - np.log(-np.expm1(log_abar))

    def slope(self, t: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return -self.decay(t) / (0 - np.expm1(self.log_abar(t)))  # 0 −, as in sigma

    def time(self, logsnr: Array) -> Array:
        log_abar = -np.logaddexp(0, -np.asarray(logsnr, dtype=np.float64))
        last = self.log_abar(np.array(1.0))
        return np.where(log_abar > last, np.clip(self._time_of(np.maximum(log_abar, last)), 0, 1), 1.0)

    def betas(self, steps: int) -> Array:
        """The chain's noise variances beta_1 .. beta_T, from the closed form, at most 0.999."""
        log_abar = self.log_abar(np.arange(steps + 1) / steps)
        with np.errstate(invalid="ignore"):
            return np.minimum(-np.expm1(np.diff(log_abar)), 0.999)
