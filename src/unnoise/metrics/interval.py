"""How well a measured mean is known: 95 % intervals over draws, over halves of one draw, and of a share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from unnoise.rng import host

LEVEL = 0.95
RESAMPLES = 2000
HALVES = 40  # a deviation of so many is known to 11 %
PART = 1000  # items that are more than a half's worth of time
_NORMAL = 1.959963984540054  # the normal law's quantile at (1 + LEVEL)/2


def over_draws(values: npt.ArrayLike) -> tuple[float, float] | None:
    """The bootstrap interval of the mean of independent draws (n,): (low, high); None for a single one.

    The percentiles of resampled means (Efron, 1979), their distances from the mean stretched by
    (t_{n−1}/z)·sqrt(n/(n − 1)): the bare ones are as narrow as a deviation with divisor n and a normal quantile make
    them, and of five normal draws hold the mean in 84 % of cases, not in 95 (Hesterberg, What teachers should know
    about the bootstrap, 2015).
    """
    draws = np.asarray(values, np.float64)
    n = len(draws)
    if n < 2:
        return None
    means = draws[host("bootstrap", n).integers(0, n, (RESAMPLES, n))].mean(axis=1)
    mean = draws.mean()
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    stretch = float(stdtrit(n - 1, (1 + LEVEL) / 2)) / _NORMAL * np.sqrt(n / (n - 1))
    return float(mean + stretch * (low - mean)), float(mean + stretch * (high - mean))


def over_halves(
    of: Callable[[Any, Any], float], x: npt.NDArray[Any], y: npt.NDArray[Any], halves: int = HALVES
) -> float:
    """The standard deviation of of(x, y) from one draw of items alone, x and y (N, ...).

    Both are halved at random, without replacement, and the deviation of the values of the halves is taken as it is: a
    half scatters about the whole by σ²(2/N − 1/N) = σ²/N (McCarthy, Pseudo-replication: half samples, 1969; Politis,
    Romano & Wolf, Subsampling, 1999). Drawing with replacement would not do: a neighbour at distance 0 is none.
    Of many items smaller parts are taken, b of N, and their variance times b/(N − b).
    """
    n, rng = min(len(x), len(y)), host("halves", len(x), len(y))
    share = max(1, min(n // 2, PART)) / n
    values = np.array([of(x[_part(rng, len(x), share)], y[_part(rng, len(y), share)]) for _ in range(halves)])
    return float(values.std(ddof=1) * np.sqrt(share / (1 - share)))


def halved(count: int) -> str:
    """What over_halves takes of so many items, in words."""
    return f"halves of {count:,} items" if count <= 2 * PART else f"parts of {PART:,} of {count:,} items"


def _part(rng: np.random.Generator, n: int, share: float) -> npt.NDArray[np.int64]:
    return np.sort(rng.permutation(n)[: max(1, round(n * share))])


def about(value: float, spread: float) -> tuple[float, float]:
    """value ± 1.96·spread."""
    return value - _NORMAL * spread, value + _NORMAL * spread


def of_share(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval (1927) of a share counted among so many independent items: honest at 0 and at 1 too."""
    z2 = _NORMAL**2 / count
    middle = (share + z2 / 2) / (1 + z2)
    half = np.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def clipped(ends: tuple[float, float] | None, span: tuple[float, float]) -> tuple[float | None, float | None]:
    """An interval within what the measure can read at all; (None, None) where there is none."""
    if ends is None:
        return None, None
    low, high = np.clip(ends, *span)
    return float(low), float(high)


__all__ = ["about", "clipped", "halved", "of_share", "over_draws", "over_halves"]
