"""What a table is worth: the noise levels it really stands at, its order, its exactness, its error where people live.

All of it by algebra on Gaussian data, so that no number here has a standard error.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from unnoise.config import UserError
from unnoise.conformance.unrolled import Unrolled, local
from unnoise.process import Gaussian
from unnoise.process.schedule import Schedule
from unnoise.samplers import SAMPLERS, Plan
from unnoise.samplers import plan as write
from unnoise.samplers.moments import gaussian_moments
from unnoise.tensor import Array

DIRECTIONS, DECAY = 32, 1.5  # the Gaussian data: variances i^−1.5 of mean 1, as pictures have them, about a mean of 0.5
LOWEST = 0.1  # sigma/alpha down to which orders are read: below, the last jump onto 0 is near
STEPS = (10, 20, 40, 80)  # step counts that an order is read from
FEW = (5, 8, 10, 20)  # where people live


def spectrum() -> tuple[Array, Array]:
    """Mean and variance (d,) of the data that tables are judged on."""
    variance = np.arange(1, DIRECTIONS + 1) ** -DECAY
    return np.full(DIRECTIONS, 0.5), variance * (DIRECTIONS / variance.sum())


def spectrum_of(x: Array) -> tuple[Array, Array]:
    """Mean and variance (d,) of items (N, d) along the axes of their covariance: what algebra needs to know of them."""
    values, axes = np.linalg.eigh(np.atleast_2d(np.cov(x.T)))
    return x.mean(axis=0) @ axes, np.maximum(values, 0.0)


def levels(wide: Unrolled, schedule: Schedule) -> tuple[Array, Array]:
    """alpha and sigma at which each question and the sample really stand: (R + 1,), (R + 1,).

    Whatever is answered with the same x0 = c throughout must be at alpha·c + sigma·noise when the denoiser is asked
    at (alpha, sigma): the sum of the data columns is alpha, the root of the squares of start and noises is sigma.
    """
    data = wide.in_data().forms
    first = float(schedule.sigma(np.array(wide.start))), float(schedule.alpha(np.array(wide.start)))
    noise = np.hypot(data[:, 0] * first[0], np.linalg.norm(data[:, 1 + wide.rows :], axis=1))
    return data[:, 1 : 1 + wide.rows].sum(axis=1) + data[:, 0] * first[1], noise


def displaced(wide: Unrolled, schedule: Schedule) -> Array:
    """How far off each question's noise level is, log(sigma/alpha) as it stands less as it was told: (R,)."""
    alpha, sigma = levels(wide, schedule)
    with np.errstate(divide="ignore", invalid="ignore"):
        there = np.log(sigma[:-1] / alpha[:-1])
    off = there + schedule.logsnr(wide.t) / 2
    told = np.isfinite(schedule.logsnr(wide.t))  # at alpha = 0 nothing is told, so nothing is off
    return np.where(told, np.where(np.isfinite(off), off, np.inf), 0.0)


def worst_question(wide: Unrolled, schedule: Schedule, lowest: float = LOWEST) -> float:
    """The largest W2 of a question's law from the truth's, down to a noise level: root mean square over directions.

    Questions inside a step of several stages are rough by design: of each three in a row the nearest counts.
    """
    mean, variance = spectrum()
    center, spread = (part[:-1] for part in wide.on_gaussian(schedule, mean, variance))
    alpha, sigma = schedule.alpha(wide.t)[:, None], schedule.sigma(wide.t)[:, None]
    off = np.square(center - alpha * mean) + np.square(np.sqrt(spread) - np.sqrt(alpha**2 * variance + sigma**2))
    error = np.sqrt(off.mean(axis=1)) / np.sqrt(alpha**2 + sigma**2)[:, 0]
    nearest = np.minimum.reduce([error, np.append(error[1:], np.inf), np.append(np.inf, error[:-1])])
    kept = (sigma >= lowest * alpha)[:, 0]
    kept[:2] = False  # the first stands at the start itself, and the second's neighbours with it
    if not kept.any():
        raise UserError(f"no question stands above sigma/alpha = {lowest:g}: too few steps to tell an order")
    return float(nearest[kept].max())


def order(counts: Sequence[int], errors: Sequence[float], floor: float = 1e-11, last: bool = False) -> float:
    """The median slope of log error over step counts above a floor, or the last; nan where fewer than two are above."""
    x, y = np.log(np.asarray(counts, float)), np.asarray(errors, float)
    kept = np.isfinite(y) & (y > floor)
    if kept.sum() < 2:
        return float("nan")
    slopes = -np.diff(np.log(y[kept])) / np.diff(x[kept])
    return float(slopes[-1] if last else np.median(slopes))


def distance(plan: Plan, schedule: Schedule, mean: Array, variance: Array, from_prior: bool = False) -> float:
    """W2 of the law that a plan ends in from the truth's there, for data N(mean, diag(variance)), by algebra.

    Root mean square over the directions of (center − alpha·mean)² + (deviation − true deviation)²: no sampling, no
    network. mean, variance: (d,). from_prior: start from N(0, sigma²) as samplers do, else from the law itself, so that
    the error is the steps' alone.
    """
    center, spread = gaussian_moments(plan, schedule, mean, variance, exact_start=not from_prior)
    end = np.array(plan.end)
    alpha, sigma = schedule.alpha(end), schedule.sigma(end)
    deviation = np.sqrt(np.maximum(spread, 0)) - np.sqrt(alpha**2 * variance + sigma**2)
    return float(np.sqrt((np.square(center - alpha * mean) + np.square(deviation)).mean()))


def exactness(wide: Unrolled, schedule: Schedule, degrees: int = 4) -> Array:
    """What each step makes of D(lambda) = ((lambda − lambda_r)/h)^k over what it should, k = 0 .. : (R, degrees).

    With x = 0 at question r the exact state at r + 1 is sigma·∫ e^lambda·D(lambda) d lambda. A step whose ratios are 1
    up to k = p − 1 is of order p; nan where lambda is infinite or the integral is 0.
    """
    table, lam = local(wide), schedule.logsnr(np.append(wide.t, wide.end)) / 2
    sigma = schedule.sigma(np.append(wide.t, wide.end))
    found = np.full((wide.rows, degrees), np.nan)
    for row in range(wide.rows):
        h = lam[row + 1] - lam[row]
        if not np.isfinite(h) or h == 0:
            continue
        back = [row - k for k in range(table.shape[1] - 2) if row - k >= 0]
        places = (lam[back] - lam[row]) / h
        for k in range(degrees):
            used = table[row, 1 : 1 + len(back)]
            with np.errstate(invalid="ignore"):
                made = float(np.where(used != 0, used * places**k, 0.0).sum())
            found[row, k] = made / (sigma[row + 1] * np.exp(lam[row]) * _moment(k, h))
    return found


def _moment(k: int, h: float) -> float:
    """∫ over a step of e^(lambda − lambda_r)·((lambda − lambda_r)/h)^k = h·∫_0^1 e^(h·u)·u^k du, by series."""
    total, term = 0.0, 1.0
    for n in range(400):
        total += term / (n + k + 1)
        term *= h / (n + 1)
        if abs(term) < 1e-18 * abs(total) and n > abs(h):
            break
    return h * total


@dataclass(frozen=True)
class Departure:
    """Cells in which a table is not the rule that it names, both in the normal form of `local`."""

    rule: str
    theirs: Array  # (R, columns)
    ours: Array

    @property
    def cells(self) -> list[tuple[int, int, float, float]]:
        """(row, column, theirs, ours) where they differ by more than rounding, the largest difference first."""
        size = np.maximum(np.abs(self.theirs), np.abs(self.ours))
        far = np.abs(self.theirs - self.ours) > 1e-3 * np.maximum(size, 1e-2 * size.max(axis=1, keepdims=True))
        rows, columns = np.nonzero(far)
        found = [
            (int(r), int(c), float(self.theirs[r, c]), float(self.ours[r, c]))
            for r, c in zip(rows, columns, strict=True)
        ]
        return sorted(found, key=lambda cell: -abs(cell[2] - cell[3]))


def over(
    wide: Unrolled, rule: str, process: Gaussian, settings: Mapping[str, Any] | None = None, fitted: float = 0.02
) -> Unrolled | None:
    """The rule of that name over the very times that a table asked at; None where it asks at others.

    settings: the rule's options; fitted: how far apart, in log(sigma/alpha), two questions may be and still be one.
    """
    if rule not in SAMPLERS:
        return None
    schedule = process.schedule
    unique = [t for i, t in enumerate(wide.t) if i == 0 or t < wide.t[i - 1] - 1e-9]
    starts: list[dict[str, Any]] = [{}, {"start": "multistep"}]
    for stride, options in product((1, 2, 3), starts):
        try:
            grid = [*unique[::stride], wide.end]
            ours = Unrolled.of(write(rule, process, grid=grid, **{**(settings or {}), **options}))
        except UserError:
            continue
        if ours.rows != wide.rows:
            continue
        told = schedule.logsnr(np.stack([ours.t, wide.t])) / 2
        with np.errstate(invalid="ignore"):
            apart = np.abs(told[0] - told[1])
        if np.all(~np.isfinite(told).all(axis=0) | (apart <= fitted)):
            return ours
    return None


def departure(
    wide: Unrolled, rule: str, process: Gaussian, settings: Mapping[str, Any] | None = None
) -> Departure | None:
    """A table beside the rule that it names, over the same times; None where the rule asks at others."""
    ours = over(wide, rule, process, settings)
    return None if ours is None else Departure(rule, local(wide), local(ours))


def finite(write_at: Callable[[int], Unrolled], counts: Sequence[int]) -> dict[int, str]:
    """What went wrong at each of these step counts; "" where nothing did."""
    return {steps: _failure(write_at, steps) for steps in counts}


def _failure(write_at: Callable[[int], Unrolled], steps: int) -> str:
    try:
        return "" if np.isfinite(write_at(steps).forms).all() else "not finite"
    except Exception as error:  # theirs may raise anything
        return (str(error).splitlines() or [type(error).__name__])[0]


__all__ = [
    "FEW",
    "STEPS",
    "Departure",
    "departure",
    "displaced",
    "distance",
    "exactness",
    "finite",
    "levels",
    "order",
    "over",
    "spectrum",
    "spectrum_of",
    "worst_question",
]
