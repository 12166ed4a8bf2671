"""Variance-preserving schedules in closed form, and their textbook arrays."""

from dataclasses import dataclass

import numpy as np

from unnoise.config import UserError
from unnoise.process.schedule import CHAIN, Preserving
from unnoise.tensor import Array


def _between(first: float, last: float) -> None:
    if not 0 < first < last < 1:
        raise UserError(f"betas must satisfy 0 < beta_1 < beta_T < 1, got beta_1 = {first}, beta_T = {last}")


def _scaled(betas: Array, steps: int) -> Array:
    """Textbook betas stand for 1000 steps: other lengths keep the noise at the end; never above 0.999."""
    return np.minimum(betas * (CHAIN / steps), 0.999)


@dataclass(frozen=True)
class Linear(Preserving):
    """beta(t) linear; the arrays are linspace(beta_1, beta_T, T)  (Ho et al., 2020; Song et al., 2021)."""

    beta_1: float = 1e-4
    beta_T: float = 0.02

    def __post_init__(self) -> None:
        _between(self.beta_1, self.beta_T)

    def log_abar(self, t: Array) -> Array:
        return -CHAIN * (self.beta_1 * t + (self.beta_T - self.beta_1) * np.square(t) / 2)

    def decay(self, t: Array) -> Array:
        return CHAIN * (self.beta_1 + (self.beta_T - self.beta_1) * np.asarray(t))

    def _time_of(self, log_abar: Array) -> Array:
        first, rise, decay = self.beta_1, self.beta_T - self.beta_1, -log_abar / CHAIN
        return 2 * decay / (first + np.sqrt(first**2 + 2 * rise * decay))  # the root without cancellation

    def betas(self, steps: int) -> Array:
        return _scaled(np.linspace(self.beta_1, self.beta_T, steps), steps)


class _RootLinear(Preserving):
    """sqrt(beta(t)) linear between its ends."""

    beta_1: float
    beta_T: float

    def __post_init__(self) -> None:
        _between(self.beta_1, self.beta_T)

    def _root(self, t: Array) -> Array:
        return np.sqrt(self.beta_1) + np.asarray(t) * (np.sqrt(self.beta_T) - np.sqrt(self.beta_1))

    def log_abar(self, t: Array) -> Array:
        a, b = np.sqrt(self.beta_1), self._root(t)
        return -CHAIN * np.asarray(t) * (a * a + a * b + b * b) / 3  # (b³ − a³)/(3(b − a)/t)

    def decay(self, t: Array) -> Array:
        return CHAIN * np.square(self._root(t))

    def _time_of(self, log_abar: Array) -> Array:
        a = np.sqrt(self.beta_1)
        rise = np.sqrt(self.beta_T) - a
        # (a + rise·t)³ = a³ + 3·rise·decay, solved through expm1 and log1p to keep small times exact
        return a / rise * np.expm1(np.log1p(-3 * rise * log_abar / CHAIN / a**3) / 3)

    def betas(self, steps: int) -> Array:
        return _scaled(np.linspace(np.sqrt(self.beta_1), np.sqrt(self.beta_T), steps) ** 2, steps)


@dataclass(frozen=True)
class ScaledLinear(_RootLinear):
    """sqrt(beta(t)) linear, with the ends of latent diffusion  (Rombach et al., 2022)."""

    beta_1: float = 0.00085
    beta_T: float = 0.012


@dataclass(frozen=True)
class Quadratic(_RootLinear):
    """sqrt(beta(t)) linear, with the ends of the textbook  (Song, Meng & Ermon, 2021)."""

    beta_1: float = 1e-4
    beta_T: float = 0.02


@dataclass(frozen=True)
class Exponential(Preserving):
    """beta(t) = beta_1·(beta_T/beta_1)^t; the arrays are beta_1·(beta_T/beta_1)^(k/T), k = 1 .. T."""

    beta_1: float = 1e-4
    beta_T: float = 0.02

    def __post_init__(self) -> None:
        _between(self.beta_1, self.beta_T)

    @property
    def _log_ratio(self) -> float:
        return float(np.log(self.beta_T / self.beta_1))

    def log_abar(self, t: Array) -> Array:
        return -CHAIN * self.beta_1 * np.expm1(self._log_ratio * np.asarray(t)) / self._log_ratio

    def decay(self, t: Array) -> Array:
        return CHAIN * self.beta_1 * np.exp(self._log_ratio * np.asarray(t))

    def _time_of(self, log_abar: Array) -> Array:
        return np.log1p(-log_abar * self._log_ratio / (CHAIN * self.beta_1)) / self._log_ratio

    def betas(self, steps: int) -> Array:
        powers = np.arange(1, steps + 1) / steps
        return _scaled(self.beta_1 * (self.beta_T / self.beta_1) ** powers, steps)


@dataclass(frozen=True)
class Sigmoid(Preserving):
    """beta(t) = beta_1 + (beta_T − beta_1)·sigmoid(12t − 6)  (Xu et al., 2022)."""

    beta_1: float = 1e-4
    beta_T: float = 0.02

    def __post_init__(self) -> None:
        _between(self.beta_1, self.beta_T)

    def log_abar(self, t: Array) -> Array:
        # softplus(x) − softplus(−6) = log1p(sigmoid(−6)·expm1(x + 6)), exact near t = 0
        area = np.log1p(np.expm1(12 * np.asarray(t)) / (1 + np.exp(6))) / 12
        return -CHAIN * (self.beta_1 * np.asarray(t) + (self.beta_T - self.beta_1) * area)

    def decay(self, t: Array) -> Array:
        gate = 1 / (1 + np.exp(6 - 12 * np.asarray(t)))
        return CHAIN * (self.beta_1 + (self.beta_T - self.beta_1) * gate)

    def _time_of(self, log_abar: Array) -> Array:
        # log abar is concave (beta rises), so Newton from t = 1 descends to the root without overshoot.
        t = np.ones_like(np.asarray(log_abar, dtype=np.float64))
        for _ in range(60):
            t = np.clip(t + (self.log_abar(t) - log_abar) / self.decay(t), 0, 1)
        return t

    def betas(self, steps: int) -> Array:
        gate = 1 / (1 + np.exp(-np.linspace(-6, 6, steps)))
        return _scaled(self.beta_1 + (self.beta_T - self.beta_1) * gate, steps)


@dataclass(frozen=True)
class Cosine(Preserving):
    """abar(t) = cos²(π/2·(t + s)/(1 + s)), divided by its value at 0  (Nichol & Dhariwal, 2021, Eq. 17).

    alpha(1) is exactly 0. The arrays clip beta above at 0.999 as the paper does; `least` clips below.
    """

    s: float = 0.008
    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.s < 1 or not 0 <= self.least < 0.999:
            raise UserError(f"cosine needs 0 <= s < 1 and 0 <= least < 0.999, got {self.s}, {self.least}")

    def _angle(self, t: Array) -> Array:
        return np.pi / 2 * (np.asarray(t) + self.s) / (1 + self.s)

    @property
    def _first(self) -> float:
        return np.pi / 2 * self.s / (1 + self.s)

    def log_abar(self, t: Array) -> Array:
        t = np.asarray(t, dtype=np.float64)
        angle, first = self._angle(t), self._first
        lost = np.sin(angle - first) * np.sin(angle + first) / np.cos(first) ** 2  # 1 − abar, exact near 0
        kept = np.sin(np.pi / 2 * (1 - t) / (1 + self.s)) / np.cos(first)  # alpha, exact near 1
        with np.errstate(divide="ignore"):
            return np.where(t < 0.5, np.log1p(-np.minimum(lost, 0.999)), 2 * np.log(kept))

    def decay(self, t: Array) -> Array:
        t = np.asarray(t, dtype=np.float64)
        rest = np.pi / 2 * (1 - t) / (1 + self.s)
        with np.errstate(divide="ignore"):
            return np.pi / (1 + self.s) / np.tan(rest)

    def _time_of(self, log_abar: Array) -> Array:
        first = self._first
        sine = np.sqrt(np.sin(first) ** 2 - np.expm1(log_abar) * np.cos(first) ** 2)
        angle = np.arctan2(sine, np.cos(first) * np.exp(log_abar / 2))
        return (angle - first) / (np.pi / 2) * (1 + self.s)

    def betas(self, steps: int) -> Array:
        return np.maximum(super().betas(steps), self.least)
