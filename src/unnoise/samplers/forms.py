"""In which variable the answers are a polynomial: what is exact between two points, and what is interpolated.

Every form solves x_q = carry·x_p + (an integral over the answers) + noise exactly but for the answers themselves,
which it takes for a polynomial through the nodes at which they are known. So its weights integrate every
polynomial of its variable of degree below the number of nodes exactly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from unnoise.config import UserError
from unnoise.process.schedule import Schedule
from unnoise.samplers.integrals import exponential_moments, quadrature, rule
from unnoise.samplers.path import DATA, Point
from unnoise.tensor import Array


@runtime_checkable
class Form(Protocol):
    """A semilinear form of the way back."""

    def keep(self, p: Point) -> tuple[float, float]:
        """What is remembered of an answer asked at p."""
        ...

    def carry(self, p: Point, q: Point) -> float:
        """The factor on x_p in x_q."""
        ...

    def weights(self, p: Point, q: Point, nodes: Sequence[Point], exact: bool = False) -> Array:
        """The factor on the answer at each node; exact: none of a paper's simplifications, even where it has one."""
        ...

    def noise(self, p: Point, q: Point) -> float:
        """The deviation of the noise that comes in."""
        ...


def noise_answer(p: Point) -> tuple[float, float]:
    """eps = (x − alpha·x_0)/sigma, kept of an answer at p."""
    return 1 / p.sigma, -p.alpha / p.sigma


def _half(whole: float, height: float, p: Point, q: Point, nodes: Sequence[Point]) -> Array:
    """Weights on two nodes, p's first: whole·m_p + height/(2r)·(m_r − m_p), r where the other lies in units of h."""
    tilt = height / 2 * (q.lam - p.lam) / (nodes[1].lam - p.lam)
    return np.array([whole - tilt, tilt])


def check_b(b: str) -> None:
    """Raises where a name is none of the two functions B(h) of UniPC."""
    if b not in ("bh1", "bh2"):
        raise UserError(f"b must be 'bh1' (B(h) = h) or 'bh2' (B(h) = e^h − 1), got '{b}'")


@dataclass(frozen=True)
class DataForm:
    """x_q = (sigma_q/sigma_p)·e^{−eta·h}·x_p + alpha_q·(1 + eta)·∫ e^{−(1 + eta)(h − u)} D(u) du + noise, u = lambda.

    The data prediction is a polynomial in lambda  (Lu et al., 2022: DPM-Solver++, Eq. 8). eta: the intensity of
    the reverse SDE, 0 for the probability flow, 1 for the SDE of Song et al.; noise: sigma_q·sqrt(1 − e^{−2·eta·h}).
    b: the function B(h) with which two nodes are weighed by a_1 = 1/2 (Zhao et al., 2023, Sec. 3.3); None: exactly.
    """

    eta: float = 0.0
    b: str | None = None

    def keep(self, p: Point) -> tuple[float, float]:
        return DATA

    def carry(self, p: Point, q: Point) -> float:
        return q.sigma / p.sigma * (math.exp(-self.eta * (q.lam - p.lam)) if self.eta else 1.0)

    def weights(self, p: Point, q: Point, nodes: Sequence[Point], exact: bool = False) -> Array:
        h = q.lam - p.lam
        z = (1 + self.eta) * h
        if len(nodes) == 1:
            return np.array([-q.alpha * np.expm1(-z)])
        if len(nodes) == 2 and self.b is not None and not exact:
            return _half(-q.alpha * math.expm1(-z), q.alpha * (z if self.b == "bh1" else -math.expm1(-z)), p, q, nodes)
        return q.alpha * z * rule(exponential_moments(z, len(nodes)), [(node.lam - p.lam) / h for node in nodes])

    def noise(self, p: Point, q: Point) -> float:
        return float(q.sigma * np.sqrt(-np.expm1(-2 * self.eta * (q.lam - p.lam)))) if self.eta and q.sigma else 0.0


@dataclass(frozen=True)
class NoiseForm:
    """x_q = (alpha_q/alpha_p)·x_p − sigma_q·∫ e^{h − u} eps(u) du, the noise prediction a polynomial in lambda.

    (Lu et al., 2022: DPM-Solver, Eq. 3.4.) b: as in DataForm.
    """

    b: str | None = None

    def keep(self, p: Point) -> tuple[float, float]:
        return noise_answer(p)

    def carry(self, p: Point, q: Point) -> float:
        return q.alpha / p.alpha

    def weights(self, p: Point, q: Point, nodes: Sequence[Point], exact: bool = False) -> Array:
        h = q.lam - p.lam
        if len(nodes) == 1:
            return np.array([-q.sigma * math.expm1(h)])
        if len(nodes) == 2 and self.b is not None and not exact:
            return _half(-q.sigma * math.expm1(h), -q.sigma * (h if self.b == "bh1" else math.expm1(h)), p, q, nodes)
        return -q.sigma * h * rule(exponential_moments(-h, len(nodes)), [(node.lam - p.lam) / h for node in nodes])

    def noise(self, p: Point, q: Point) -> float:
        return 0.0


@dataclass(frozen=True)
class RatioForm:
    """x_q = (alpha_q/alpha_p)·x_p + alpha_q·∫ eps d(sigma/alpha), the noise prediction a polynomial in sigma/alpha.

    The probability flow in y = x/alpha is dy = eps d(sigma/alpha)  (Karras et al., 2022, Eq. 4 at s = alpha).
    """

    def keep(self, p: Point) -> tuple[float, float]:
        return noise_answer(p)

    def carry(self, p: Point, q: Point) -> float:
        return q.alpha / p.alpha

    def weights(self, p: Point, q: Point, nodes: Sequence[Point], exact: bool = False) -> Array:
        width = _fall(p, q)
        places = [_fall(p, node) / width for node in nodes]
        return q.alpha * width * rule(1 / np.arange(1, len(nodes) + 1), places)

    def noise(self, p: Point, q: Point) -> float:
        return 0.0


@dataclass(frozen=True)
class TimeForm:
    """The same flow, the noise prediction a polynomial in t  (Zhang & Chen, 2023: tAB-DEIS, Eq. 15).

    Moments ∫ s^k d(sigma/alpha), s = (t − t_p)/(t_q − t_p), by parts, by pieces no longer than a step of the
    chain: between the integers of a discrete schedule sigma/alpha is smooth, across them it has kinks.
    """

    schedule: Schedule

    def keep(self, p: Point) -> tuple[float, float]:
        return noise_answer(p)

    def carry(self, p: Point, q: Point) -> float:
        return q.alpha / p.alpha

    def weights(self, p: Point, q: Point, nodes: Sequence[Point], exact: bool = False) -> Array:
        powers, width = np.arange(1.0, len(nodes)), q.t - p.t
        moments = np.full(len(nodes), _fall(p, q))
        if len(powers):
            inner = quadrature(lambda t: self._risen(t, p, width, powers), self._knots(p.t, q.t))
            moments[1:] -= inner / width
        return q.alpha * rule(moments, [(node.t - p.t) / width for node in nodes])

    def noise(self, p: Point, q: Point) -> float:
        return 0.0

    def _risen(self, t: Array, p: Point, width: float, powers: Array) -> Array:
        """k·s^{k−1}·(ratio(t) − ratio(p)): (K, N)."""
        rise = np.exp(-self.schedule.logsnr(t) / 2) - p.ratio
        s = (t - p.t) / width
        return powers[:, None] * s ** (powers[:, None] - 1) * rise

    def _knots(self, start: float, end: float) -> Array:
        steps = self.schedule.steps
        inner = np.arange(math.floor(start * steps), math.ceil(end * steps) - 1, -1) / steps
        return np.array([start, *inner[(inner > end + 1e-12) & (inner < start - 1e-12)], end])


def _fall(p: Point, q: Point) -> float:
    """sigma_q/alpha_q − sigma_p/alpha_p, exact where they are near."""
    return p.ratio * math.expm1(p.lam - q.lam)


__all__ = ["DataForm", "Form", "NoiseForm", "RatioForm", "TimeForm", "check_b", "noise_answer"]
