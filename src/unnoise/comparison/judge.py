"""Which differences are more than noise: intervals that hold for all pairs at once, and fronts of quality and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr

from unnoise.tensor import Array

Replicates: TypeAlias = Sequence[float] | Array

LEVEL = 0.95  # of every interval, and of all pairs' together
PAIRED = 5  # replicates from which pairs pay: of fewer, differences know their own spread too badly
LEAST = 3  # replicates below which no spread is known well enough to speak
NODES = 2000  # of the quadrature over the spread's law
FAR = 50  # seeds beyond which nobody is advised to train more


@dataclass(frozen=True)
class Pair:
    """How much worse `other` is than `best`, with an interval that holds for all pairs at once."""

    best: str
    other: str
    difference: float
    low: float
    high: float

    @property
    def apart(self) -> bool:
        """Whether the difference is more than the noise."""
        return self.low > 0 or self.high < 0


@lru_cache(maxsize=4096)
def bound(pairs: int, freedom: float, level: float = LEVEL) -> float:
    """The bound that max_i |z_i|/s keeps to with probability `level`, for so many normal z_i and one s² ~ chi²/freedom.

    The studentised maximum modulus; of one pair it is Student's t. Integrated over the quantiles of s.
    """
    share = (np.arange(NODES) + 0.5) / NODES
    share = share**2 * (3 - 2 * share)  # both ends finely: heavy tails come of the smallest s
    weight = np.diff(np.concatenate([[0.0], (share[1:] + share[:-1]) / 2, [1.0]]))
    s = np.sqrt(2 * gammaincinv(freedom / 2, share) / freedom)

    def excess(c: float) -> float:
        return float(weight @ (2 * ndtr(c * s) - 1) ** pairs) - level

    return float(brentq(excess, 0.1, 1e5, xtol=1e-6))  # pyright: ignore[reportArgumentType]


def bound_paired(pairs: int, freedom: float, level: float = LEVEL) -> float:
    """The same of ratios z_i/s_i whose spreads are each pair's own: Šidák's correction of Student's t."""
    return float(stats.t.ppf((1 + level ** (1 / pairs)) / 2, freedom))


def interval(values: Replicates) -> tuple[float, float]:
    """The 95 % interval of the mean of normal replicates, by Student's t; nan of fewer than two."""
    x = np.asarray(values, np.float64)
    if len(x) < 2:
        return float("nan"), float("nan")
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return float(x.mean()) - half, float(x.mean()) + half


def compared(values: Mapping[str, Replicates], paired: bool) -> list[Pair]:
    """The best of several (the least mean) beside each other one, in their order; values: name → replicates.

    All k(k − 1)/2 pairs are corrected for, since the best was chosen after looking. Not paired: Welch's interval
    with Dunnett's T3 (Dunnett, 1980), which needs no equal spreads; paired: Student's, of the differences, with
    Šidák's correction. benchmarks/verdicts.py counts how often either is wrong.
    """
    rows = {name: np.asarray(row, np.float64) for name, row in values.items()}
    order = sorted(rows, key=lambda name: float(rows[name].mean()))
    pairs = len(list(combinations(order, 2)))
    return [_pair(order[0], other, rows, pairs, paired) for other in order[1:]]


def _pair(best: str, other: str, rows: Mapping[str, Array], pairs: int, paired: bool) -> Pair:
    x, y = rows[best], rows[other]
    difference = float(y.mean() - x.mean())
    if paired:
        error = float((y - x).std(ddof=1) / np.sqrt(len(x)))
        half = bound_paired(pairs, len(x) - 1.0) * error
    else:
        shares = np.array([x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)])
        error = float(np.sqrt(shares.sum()))
        least = min(len(x), len(y)) - 1.0
        counted = (shares**2 / [len(x) - 1, len(y) - 1]).sum()
        freedom = float(shares.sum() ** 2 / counted) if counted > 0 else least  # Welch–Satterthwaite
        half = bound(pairs, round(freedom, 2)) * error
    return Pair(best, other, difference, difference - half, difference + half)


def seeds_needed(x: Replicates, y: Replicates, pairs: int) -> int | None:
    """How many seeds each would tell two apart, should means and spreads stay as they are; None: more than FAR."""
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    difference, spread = abs(float(a.mean() - b.mean())), float(np.sqrt(a.var(ddof=1) + b.var(ddof=1)))
    for n in range(max(len(a), len(b)) + 1, FAR + 1):
        if difference > bound(pairs, 2.0 * n - 2) * spread / np.sqrt(n):
            return n
    return None


def front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """The names that no other beats: none is as small in both numbers and smaller in one. nan is beaten by all."""
    known = {name: point for name, point in points.items() if np.isfinite(point).all()}

    def beaten(point: tuple[float, float]) -> bool:
        return any(a <= point[0] and b <= point[1] and (a, b) != point for a, b in known.values())

    return {name for name, point in known.items() if not beaten(point)}


__all__ = ["LEAST", "LEVEL", "PAIRED", "Pair", "bound", "bound_paired", "compared", "front", "interval", "seeds_needed"]
