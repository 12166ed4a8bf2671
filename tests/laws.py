"""The whole law of a stochastic sampler on a line, carried from row to row with no Monte Carlo."""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from unnoise.process.gaussian import Gaussian
from unnoise.samplers.plan import Plan
from unnoise.tensor import Array

NODES, SHARES = (np.asarray(part) for part in np.polynomial.hermite_e.hermegauss(9))
SHARES = SHARES / SHARES.sum()
FINE = 8.0  # points in one deviation of the noise that spreads them


class Bells:
    """A mixture of normals on the line: its belief, its density and its distribution at every level."""

    def __init__(self, process: Gaussian, weights: Array, means: Array, deviations: Array) -> None:
        self.process, self.weights, self.means, self.deviations = process, weights, means, deviations

    def _at(self, t: float) -> tuple[float, float, Array]:
        alpha, sigma = (float(f(np.array(t))) for f in (self.process.schedule.alpha, self.process.schedule.sigma))
        return alpha, sigma, np.sqrt((alpha * self.deviations) ** 2 + sigma**2)

    def belief(self, x: Array, t: float) -> Array:
        alpha, _, wide = self._at(t)
        z = (x[..., None] - alpha * self.means) / wide
        log_w = np.log(self.weights / wide) - z**2 / 2
        share = np.exp(log_w - log_w.max(-1, keepdims=True))
        ours = self.means + alpha * self.deviations**2 / wide * z
        return (share * ours).sum(-1) / share.sum(-1)

    def density(self, x: Array, t: float) -> Array:
        alpha, _, wide = self._at(t)
        z = (x[:, None] - alpha * self.means) / wide
        return (self.weights / wide * np.exp(-(z**2) / 2)).sum(1) / np.sqrt(2 * np.pi)

    def below(self, x: Array, t: float) -> Array:
        alpha, _, wide = self._at(t)
        return (self.weights * ndtr((x[:, None] - alpha * self.means) / wide)).sum(1)


def carry(plan: Plan, truth: Bells, points: int = 2000) -> tuple[Array, Array]:
    """The law of the sample as points and their shares, from the law of the process at the plan's start.

    For plans that forget: those whose every interval begins from one state, with all older answers forgotten.
    """
    alpha, _, wide = truth._at(plan.start)
    reach = np.abs(alpha * truth.means).max() + 8 * wide.max()
    x = np.linspace(-reach, reach, points)
    share = truth.density(x, plan.start)
    share = share / share.sum()
    first = 0
    for row in range(plan.rows):
        if np.array_equal(plan.base[row], plan.ask[row]):
            mean, weight, spread = _interval(plan, range(first, row + 1), truth.belief, x)
            x, share = _spread(mean.ravel(), (weight * share).ravel(), spread)
            first = row + 1
    return x, share


def carry_two(plan: Plan, truth: Bells, fine: float = 1.3) -> tuple[Array, Array]:
    """The same for plans that remember one answer: of a row an interval, asked where the base stands.

    The state is (x now, x before), on a grid; p(x'', x') = ∫ p(x', x)·N(x''; mean(x', x), s²) dx. All is smooth on the
    scale of the noise s, so sums of points s/1.3 apart are integrals to rounding.
    """
    if not np.array_equal(plan.base, plan.ask):
        raise ValueError("the plan asks beside its base")
    times = np.append(plan.t, plan.end)
    x, before, law = np.zeros(0), np.zeros(0), np.zeros((0, 0))
    for row in range(plan.rows):
        (carried, *told, deviation), slot = plan.base[row], int(plan.slot[row])
        if row == 0:  # nothing is remembered yet: one state before, of weight 1
            alpha, _, wide = truth._at(plan.start)
            x = _lattice(np.abs(alpha * truth.means).max() + 8 * wide.max(), deviation / fine)
            before, law = np.zeros(1), truth.density(x, plan.start)[:, None]
        mine, old = _kept(plan, row, x, truth), np.zeros(1)
        others = [k for k in range(plan.memories) if k != slot and told[k]]
        if others:
            if row == 0 or len(others) > 1 or others[0] != int(plan.slot[row - 1]):
                raise ValueError("the plan remembers more than one answer")
            old = told[others[0]] * _kept(plan, row - 1, before, truth)
        mean = (carried * x + told[slot] * mine)[:, None] + old
        alpha, _, wide = truth._at(float(times[row + 1]))
        ahead = plan.base[row + 1, -1] if row + 1 < plan.rows else deviation
        y = _lattice(np.abs(alpha * truth.means).max() + 8 * wide.max(), min(deviation, ahead) / fine)
        found = np.empty((len(y), len(x)))
        for i, (share, at) in enumerate(zip(law, np.broadcast_to(mean, law.shape), strict=True)):
            kept = share > 1e-15 * law.max()
            found[:, i] = np.exp(-(((y[:, None] - at[kept]) / deviation) ** 2) / 2) @ share[kept]
        x, before, law = y, x, found / found.sum()
    return x, law.sum(axis=1)


def _kept(plan: Plan, row: int, x: Array, truth: Bells) -> Array:
    """What a row remembers of its answer about x."""
    return plan.keep[row, 0] * x + plan.keep[row, 1] * truth.belief(x, plan.t[row])


def _lattice(reach: float, apart: float) -> Array:
    return np.linspace(-reach, reach, int(2 * reach / apart) + 2)


def _interval(plan: Plan, rows: range, belief: Callable[[Array, float], Array], x: Array) -> tuple[Array, Array, float]:
    """Where each point goes over the rows of one interval: means (K, N), shares of K (K, 1), the noise's deviation.

    Noise that a later question of the interval hears is taken at the nodes of Gauss and Hermite, K of them.
    """
    base = ask = x[None, :]
    weight, late, memory = np.ones((1, 1)), 0.0, [np.zeros((1, 1))] * plan.memories
    for row in rows:
        memory[int(plan.slot[row])] = plan.keep[row, 0] * ask + plan.keep[row, 1] * belief(ask, plan.t[row])
        (to_base, *base_m, base_z), (to_ask, *ask_m, ask_z) = plan.base[row], plan.ask[row]
        told = [sum(c * m for c, m in zip(line, memory, strict=True)) for line in (base_m, ask_m)]
        base, ask, late = to_base * base + told[0], to_ask * base + told[1], to_base * late
        if row == rows[-1] or ask_z == 0:  # nobody is asked about it: it spreads the end
            late = float(np.hypot(late, base_z))
            continue
        z = NODES[:, None]
        base, ask, weight = base + base_z * z, ask + ask_z * z, SHARES[:, None] * weight
        memory = [np.broadcast_to(m, base.shape) for m in memory]
    return base, weight, late


def _spread(x: Array, share: Array, deviation: float) -> tuple[Array, Array]:
    kept = share > 1e-14
    x, share = x[kept], share[kept] / share[kept].sum()
    if deviation == 0:
        return x, share
    count = int((np.ptp(x) + 14 * deviation) / deviation * FINE) + 1
    y = np.linspace(x.min() - 7 * deviation, x.max() + 7 * deviation, count)
    found = np.empty(count)
    for part in np.array_split(np.arange(count), count // 200 + 1):
        found[part] = np.exp(-(((y[part, None] - x) / deviation) ** 2) / 2) @ share
    return y, found / found.sum()


def wasserstein(x: Array, share: Array, truth: Bells, t: float) -> float:
    """W1 between points with shares and the truth at t: the integral of |F − G|."""
    order = np.argsort(x)
    x, below = x[order], np.cumsum(share[order]) - share[order] / 2
    off = np.abs(below - truth.below(x, t))
    return float(np.sum((off[1:] + off[:-1]) / 2 * np.diff(x)))
