"""What a plan does to Gaussian data, by algebra: no sampling, no Monte Carlo."""

import numpy as np

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
    for row in range(plan.rows):
        moves, shift, noise = _row(plan, row, schedule, mean, variance)
        center = np.einsum("dij,dj->di", moves, center) + shift
        spread = moves @ spread @ moves.transpose(0, 2, 1) + noise[:, None] * noise[None, :]
    return center[:, 0], spread[:, 0, 0]


def flow_factor(plan: Plan, schedule: Schedule, mean: Array, variance: Array) -> tuple[Array, Array]:
    """The map of a deterministic plan, x_end = factor·(x_start − alpha·mean) + center: factor and center, (d,)."""
    mean, variance = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(variance, np.float64))
    size = plan.memories + 2
    center, _ = _start(plan, schedule, mean, variance, True)
    factor = np.zeros((len(mean), size))
    factor[:, :2] = 1
    for row in range(plan.rows):
        moves, shift, _ = _row(plan, row, schedule, mean, variance)
        center = np.einsum("dij,dj->di", moves, center) + shift
        factor = np.einsum("dij,dj->di", moves, factor)
    return factor[:, 0], center[:, 0]


def exact_factor(plan: Plan, schedule: Schedule, variance: Array) -> Array:
    """The same factor of the exact probability flow: the ratio of the deviations at its two ends."""
    ends = np.array([plan.start, plan.end])
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    deviation = np.sqrt(np.square(alpha[:, None]) * variance + np.square(sigma[:, None]))
    return deviation[1] / deviation[0]


def _start(plan: Plan, schedule: Schedule, mean: Array, variance: Array, exact: bool) -> tuple[Array, Array]:
    t = np.array(plan.start)
    alpha, sigma = (float(schedule.alpha(t)), float(schedule.sigma(t)))
    size = plan.memories + 2  # base, question, memories
    center, spread = np.zeros((len(mean), size)), np.zeros((len(mean), size, size))
    center[:, :2] = (alpha * mean if exact else 0 * mean)[:, None]
    spread[:, :2, :2] = (alpha**2 * variance * exact + sigma**2)[:, None, None]
    return center, spread


def _row(plan: Plan, row: int, schedule: Schedule, mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """One row as an affine map of (base, question, m_0 ..) : moves (d, K, K), shift (d, K), noise (K,)."""
    t = plan.t[row]
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    gain = alpha * variance / (alpha**2 * variance + sigma**2)
    offset = mean * (1 - alpha * gain)
    size, slot = plan.memories + 2, 2 + int(plan.slot[row])
    remember = np.broadcast_to(np.eye(size), (len(mean), size, size)).copy()
    remember[:, slot] = 0
    remember[:, slot, 1] = plan.keep[row, 0] + plan.keep[row, 1] * gain
    told = np.zeros((len(mean), size))
    told[:, slot] = plan.keep[row, 1] * offset
    combine = np.eye(size)
    combine[0], combine[1] = 0, 0
    for line, table in enumerate((plan.base[row], plan.ask[row])):
        combine[line, 0], combine[line, 2:] = table[0], table[1:-1]
    noise = np.zeros(size)
    noise[:2] = plan.base[row, -1], plan.ask[row, -1]
    return combine @ remember, told @ combine.T, noise
