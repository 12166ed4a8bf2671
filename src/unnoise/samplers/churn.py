"""Deterministic steps with noise put back in: EDM's churn, and restart."""

import math

import numpy as np

from unnoise.config import UserError
from unnoise.samplers.euler import trapezoid
from unnoise.samplers.path import Path, Pen, Point
from unnoise.samplers.plan import Plan

MOST = math.sqrt(2) - 1  # the growth of sigma/alpha in one step that the noise is doubled by


def edm(path: Path, s_churn: float = 40.0, s_min: float = 0.05, s_max: float = 50.0, s_noise: float = 1.0) -> Plan:
    """Heun's steps with churn: noise first raised by 1 + min(s_churn/n, sqrt 2 − 1)  (Karras et al., 2022, Alg. 2).

    Where sigma/alpha lies in [s_min, s_max], never beyond t = 1, and not before the first step, where all is noise.
    s_noise: a factor on that noise; 1 keeps the law, the paper found 1.003 and 1.007 better for its networks.
    """
    if not (0 <= s_churn < math.inf and 0 <= s_min <= s_max and s_noise >= 0):
        raise UserError(
            "churn needs s_churn >= 0, 0 <= s_min <= s_max and s_noise >= 0, "
            f"got {s_churn}, {s_min}, {s_max}, {s_noise}"
        )
    pen, here, growth = Pen(path), path.points[0], min(s_churn / path.steps, MOST)
    for i in range(path.steps):
        q = path.points[i + 1]
        churns = i + 1 < path.steps and s_min <= q.ratio <= s_max and s_noise > 0
        after = _up(path, q, growth) if churns and growth > 0 else None
        trapezoid(pen, here, q, after, s_noise)
        here = after or q
    return pen.plan()


def _up(path: Path, q: Point, growth: float) -> Point | None:
    """The point where sigma/alpha is 1 + growth times as large, as far as the process reaches."""
    there = path.at(q.lam - math.log1p(growth))
    return there if there.lam < q.lam else None


def restart(path: Path, low: float = 0.06, high: float = 0.3, repeats: int = 4) -> Plan:
    """Heun's steps; arrived at sigma/alpha = low, noise back up to high, and the way once more, repeats times.

    Noise of the whole interval at once forgets the errors made before  (Xu et al., 2023, Alg. 2). Both ends are the
    grid's nearest times, and its own intervals between them are walked again; the paper walks a grid of its own.
    """
    if not (0 < low < high and repeats >= 0):
        raise UserError(f"restart needs 0 < low < high and repeats >= 0, got {low}, {high}, {repeats}")
    top, bottom = _turns(path, low, high)
    order = list(range(path.steps))
    if top < bottom:
        order[bottom:bottom] = list(range(top, bottom)) * repeats
    pen = Pen(path)
    for i, following in zip(order, [*order[1:], path.steps], strict=True):
        after = path.points[following] if following <= i else None
        trapezoid(pen, *path.interval(i), after)
    return pen.plan()


def _turns(path: Path, low: float, high: float) -> tuple[int, int]:
    """The points nearest in lambda to both ratios: the upper one before the lower one, both within the grid."""
    inner = [k for k, point in enumerate(path.points) if point.finite and k < path.steps]
    if len(inner) < 2:
        return 0, 0
    lam = np.array([path.points[k].lam for k in inner])
    bottom = max(int(np.abs(lam + math.log(low)).argmin()), 1)
    top = min(int(np.abs(lam + math.log(high)).argmin()), bottom - 1)
    return inner[top], inner[bottom]
