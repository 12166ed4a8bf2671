"""What a plan does to Gaussian data, by algebra: no sampling, no Monte Carlo."""

import numpy as np

from unnoise.config import UserError
from unnoise.process.schedule import Schedule
from unnoise.samplers.plan import Plan
from unnoise.tensor import Array


def gaussian_moments(
    plan: Plan, schedule: Schedule, mean: Array, variance: Array, exact_start: bool = True
) -> tuple[Array, Array]:
    """Mean and variance of the sample for data N(mean, variance) in each direction: (d,), (d,) → (d,), (d,).

    The exact belief about such data is affine, D = mean + g·(x − alpha·mean) with
    g = alpha·variance/(alpha²·variance + sigma²), so the state (base, question, memories) stays Gaussian and
    its mean and covariance follow row by row. Data with a full covariance is this in its eigenbasis.
    exact_start: x at plan.start has the law of the process there; else it is the prior's N(0, sigma²).
    """
    mean, variance = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(variance, np.float64))
    center, spread = _start(plan, schedule, mean, variance, exact_start)
    for moves, shift, noise in zip(*_rows(plan, schedule, mean, variance), strict=True):
        center = (moves @ center[..., None])[..., 0] + shift
        spread = moves @ spread @ moves.transpose(0, 2, 1) + noise
    return center[:, 0], spread[:, 0, 0]


def flow_factor(plan: Plan, schedule: Schedule, mean: Array, variance: Array) -> tuple[Array, Array]:
    """The map of a deterministic plan, x_end = factor·(x_start − alpha·mean) + center: factor and center, (d,)."""
    mean, variance = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(variance, np.float64))
    center, _ = _start(plan, schedule, mean, variance, True)
    state = np.stack([np.zeros_like(center), center], axis=2)  # what is linear in x_start, and what is not
    state[:, :2, 0] = 1
    for moves, shift, _ in zip(*_rows(plan, schedule, mean, variance), strict=True):
        state = moves @ state
        state[..., 1] += shift
    return state[:, 0, 0], state[:, 0, 1]


def exact_factor(plan: Plan, schedule: Schedule, variance: Array) -> Array:
    """The same factor of the exact probability flow: the ratio of the deviations at its two ends."""
    ends = np.array([plan.start, plan.end])
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    deviation = np.sqrt(np.square(alpha[:, None]) * variance + np.square(sigma[:, None]))
    return deviation[1] / deviation[0]


def _start(plan: Plan, schedule: Schedule, mean: Array, variance: Array, exact: bool) -> tuple[Array, Array]:
    if plan.head is not None:
        raise UserError("the moments of a plan with a head start are not told: it knows its data by another law")
    t = np.array(plan.start)
    alpha, sigma = (float(schedule.alpha(t)), float(schedule.sigma(t)))
    size = plan.memories + 2  # base, question, memories
    center, spread = np.zeros((len(mean), size)), np.zeros((len(mean), size, size))
    center[:, :2] = (alpha * mean if exact else 0 * mean)[:, None]
    spread[:, :2, :2] = (alpha**2 * variance * exact + sigma**2)[:, None, None]
    return center, spread


def _rows(plan: Plan, schedule: Schedule, mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """Every row as an affine map of (base, question, m_0 ..) with K entries, in each of d directions.

    moves (R, d, K, K), shift (R, d, K), covariance of the noise (R, 1, K, K)
    """
    alpha, sigma = (f(plan.t)[:, None] for f in (schedule.alpha, schedule.sigma))
    gain = alpha * variance / (alpha**2 * variance + sigma**2)
    offset = mean * (1 - alpha * gain)
    size, rows, slot = plan.memories + 2, np.arange(plan.rows), 2 + plan.slot.astype(np.int64)
    remember = np.broadcast_to(np.eye(size), (plan.rows, len(mean), size, size)).copy()
    remember[rows, :, slot] = 0
    remember[rows, :, slot, 1] = plan.keep[:, :1] + plan.keep[:, 1:] * gain
    told = np.zeros((plan.rows, len(mean), size))
    told[rows, :, slot] = plan.keep[:, 1:] * offset
    combine = np.broadcast_to(np.eye(size), (plan.rows, size, size)).copy()
    noise = np.zeros((plan.rows, size))
    for line, table in enumerate((plan.base, plan.ask)):
        combine[:, line] = 0
        combine[:, line, 0], combine[:, line, 2:], noise[:, line] = table[:, 0], table[:, 1:-1], table[:, -1]
    shift = told @ combine.transpose(0, 2, 1)
    return combine[:, None] @ remember, shift, (noise[:, :, None] * noise[:, None, :])[:, None]
