"""ER-SDE: extended reverse SDEs whose noise is a function of the noise level."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unnoise.samplers.adams import adams
from unnoise.samplers.integrals import quadrature, rule
from unnoise.samplers.path import DATA, Path, Point
from unnoise.samplers.plan import Plan
from unnoise.tensor import Array


def _log_scale(lam: Array) -> Array:
    """log of phi(s)/s, phi(s) = s·(e^{s^0.3} + 10), at s = e^{−lambda}  (Cui et al., 2023: ER SDE 5)."""
    return np.logaddexp(np.exp(-0.3 * lam), math.log(10.0))


def _log_scale_at(p: Point) -> float:
    grown = math.exp(-0.3 * p.lam)
    return grown + math.log1p(10 * math.exp(-grown))


def _moving(lam: Array, p: Point, q: Point, powers: Array) -> Array:
    """k·u^{k−1}·(phi_q/phi)·du/dlambda, u = (s − s_p)/(s_q − s_p): (K, N)."""
    u = np.expm1(p.lam - lam) / math.expm1(p.lam - q.lam)
    left = np.exp(_log_scale_at(q) - _log_scale(lam))
    return powers * u ** (powers - 1) * left / math.expm1(q.lam - p.lam)


@dataclass(frozen=True)
class ExtendedForm:
    """y_q = (phi_q/phi_p)·y_p + phi_q·∫ D d(1/phi) + noise, D a polynomial in s = sigma/alpha; y = x/alpha.

    noise: alpha_q·sqrt(s_q² − s_p²·(phi_q/phi_p)²)  (Cui et al., 2023, Eq. 10; the paper's integrals, by parts).
    """

    def keep(self, p: Point) -> tuple[float, float]:
        return DATA

    def _fade(self, p: Point, q: Point) -> float:
        """log of (phi_q/s_q)/(phi_p/s_p), below 0."""
        return _log_scale_at(q) - _log_scale_at(p)

    def carry(self, p: Point, q: Point) -> float:
        return q.sigma / p.sigma * math.exp(self._fade(p, q))

    def weights(self, p: Point, q: Point, nodes: Sequence[Point], exact: bool = False) -> Array:
        log_left = self._fade(p, q) + p.lam - q.lam  # log phi_q/phi_p
        moments = np.full(len(nodes), -math.expm1(log_left))
        width = math.expm1(p.lam - q.lam)  # (s_q − s_p)/s_p
        if len(nodes) > 1:
            powers, pieces = np.arange(1.0, len(nodes))[:, None], 1 + int((q.lam - p.lam) / 2)
            moments[1:] = 1 - quadrature(lambda lam: _moving(lam, p, q, powers), np.linspace(p.lam, q.lam, pieces + 1))
        return q.alpha * rule(moments, [math.expm1(p.lam - node.lam) / width for node in nodes])

    def noise(self, p: Point, q: Point) -> float:
        if not q.sigma:
            return 0.0
        return q.sigma * (math.sqrt(-math.expm1(2 * self._fade(p, q))) if p.finite else 1.0)


def er_sde(order: int) -> Callable[..., Plan]:
    """ER-SDE-Solver of an order."""

    def rule(path: Path) -> Plan:
        return adams(path, ExtendedForm(), order, "multistep")

    rule.__doc__ = f"""ER-SDE-Solver-{order}: a reverse SDE whose noise scales with s·(e^{{s^0.3}} + 10), with
    s = sigma/alpha and D told by {order} answer{"s" * (order > 1)} (Cui et al., 2023).

    The answers are a polynomial in s of degree {order - 1}, integrated exactly. The paper's third order takes a
    backward difference for the derivative at t, which leaves several times the error.
    """
    return rule
