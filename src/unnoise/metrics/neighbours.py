"""Questions to nearest neighbours: are two sets one law, is one covered by the other, are items copied?

Every function takes raw items or features, (N, ...) arrays of any shape, and flattens them. Distances
are Euclidean. In few dimensions a tree answers; else all distances are formed, a part at a time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from unnoise.metrics.distances import flat
from unnoise.tensor import Array

_CHUNK = 1 << 22  # distances held at once
_TREE = 6  # most dimensions in which a tree is the faster way


def squared_distances(x: Array, y: Array) -> Array:
    """|x_i − y_j|² of rows (N, D) and (M, D) → (N, M); exact for whole numbers below 2^26."""
    gram = x @ y.T
    gram *= -2
    gram += (x**2).sum(axis=1)[:, None]
    gram += (y**2).sum(axis=1)
    return np.maximum(gram, 0, out=gram)


def nearest(x: npt.NDArray[Any], to: npt.NDArray[Any], k: int = 1) -> Array:
    """The distance from each item of x (N, ...) to its k-th nearest of `to` (M, ...): (N,)."""
    if k > len(to):
        raise ValueError(f"there is no neighbour number {k} among {len(to)} items")
    rows, others = flat(x), to.reshape(len(to), -1)
    if rows.shape[1] <= _TREE:
        return np.asarray(KDTree(others).query(rows, k=k)[0]).reshape(len(rows), -1)[:, -1]
    step = max(1, _CHUNK // max(len(rows), rows.shape[1]))
    best = np.full((len(rows), 0), np.inf)
    for first in range(0, len(others), step):
        part = squared_distances(rows, flat(others[first : first + step]))
        best = np.concatenate([best, part], axis=1)
        if best.shape[1] > k:
            best = np.partition(best, k - 1, axis=1)[:, :k]
    return np.sqrt(best.max(axis=1))


def nearest_within(x: npt.NDArray[Any], k: int = 1) -> Array:
    """The distance from each item to its k-th nearest of the others in the same set: (N,).

    An item is its own nearest at distance 0, so this is the (k + 1)-th of all.
    """
    return nearest(x, x, k + 1)


def two_sample(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    """Accuracy of telling x from y by the nearest other item, leave one out: 1/2 if they are one law.

    Lopez-Paz & Oquab, Revisiting classifier two-sample tests (2017). 1 where the sets are apart, 0 where
    one copies the other. x and y hold equally many items. A tie (whole numbers have many) counts half.
    """
    if len(x) != len(y):
        raise ValueError(f"the two-sample test takes two sets of one size, got {len(x)} and {len(y)} items")
    own = np.concatenate([nearest_within(x), nearest_within(y)])
    other = np.concatenate([nearest(x, y), nearest(y, x)])
    return float((own < other).mean() + 0.5 * (own == other).mean())


def coverage(real: npt.NDArray[Any], fake: npt.NDArray[Any], k: int = 5) -> float:
    """Share of real items with a fake one nearer than their k-th nearest real neighbour.

    Naeem et al., Reliable fidelity and diversity metrics for generative models (2020), Eq. 6. For n real
    and n fake items of one law it is 1 − 2^{−k} on average, nearly (their Eq. 8): 0.969 for k = 5.
    """
    return float((nearest(real, fake) < nearest_within(real, k)).mean())


def density(real: npt.NDArray[Any], fake: npt.NDArray[Any], k: int = 5) -> float:
    """How many of the real items' k-th neighbour balls hold a fake item, over k: 1 if they are one law.

    Naeem et al. (2020), Eq. 5. Not bounded by 1: a set that huddles where data are dense exceeds it.
    """
    return float(_inside(fake, real, nearest_within(real, k)).mean() / k)


def precision(real: npt.NDArray[Any], fake: npt.NDArray[Any], k: int = 5) -> float:
    """Share of fake items inside some real item's k-th neighbour ball: are they plausible?

    Kynkäänniemi et al., Improved precision and recall metric for assessing generative models (2019).
    """
    return float((_inside(fake, real, nearest_within(real, k)) > 0).mean())


def recall(real: npt.NDArray[Any], fake: npt.NDArray[Any], k: int = 5) -> float:
    """Share of real items inside some fake item's k-th neighbour ball: is everything reached?

    Kynkäänniemi et al. (2019).
    """
    return precision(fake, real, k)


def _inside(items: npt.NDArray[Any], centres: npt.NDArray[Any], radii: Array) -> npt.NDArray[np.int64]:
    """In how many of the open balls around the centres (M, ...) each item (N, ...) lies: (N,)."""
    rows, others, squares = flat(items), flat(centres), radii**2
    step = max(1, _CHUNK // max(1, len(others)))
    parts = [
        (squared_distances(rows[first : first + step], others) < squares).sum(axis=1)
        for first in range(0, len(rows), step)
    ]
    return np.concatenate(parts)


def match(
    x: npt.NDArray[Any], to: npt.NDArray[Any], seen: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = np.asarray
) -> tuple[npt.NDArray[np.int64], Array]:
    """The nearest of `to` (M, ...) to each item of x (N, ...): its index (N,) and distance (N,).

    Cover & Hart (1967) read a label off it; the distance tells a copy. seen: what distances are read in, of items of
    `to`, which may be mapped from a file: they are taken a part at a time.
    """
    rows = flat(x)
    if rows.shape[1] <= _TREE:
        distance, index = KDTree(flat(seen(to))).query(rows)
        return np.asarray(index, np.int64), np.asarray(distance, np.float64)
    best, index = np.full(len(rows), np.inf), np.zeros(len(rows), np.int64)
    step = max(1, _CHUNK // max(len(rows), rows.shape[1]))
    for first in range(0, len(to), step):
        part = squared_distances(rows, flat(seen(to[first : first + step])))
        place = part.argmin(axis=1)
        square = part[np.arange(len(rows)), place]
        closer = square < best
        best[closer], index[closer] = square[closer], first + place[closer]
    return index, np.sqrt(best)


def copy_threshold(train: npt.NDArray[Any], test: npt.NDArray[Any], quantile: float = 0.01) -> float:
    """The distance to the nearest training item that a share `quantile` of test items falls below."""
    return float(np.quantile(match(test, train)[1], quantile))


def near_copies(samples: npt.NDArray[Any], train: npt.NDArray[Any], threshold: float) -> float:
    """Share of samples nearer to a training item than the threshold of `copy_threshold`.

    The share, because a mean distance hides a few verbatim copies behind many ordinary samples.
    """
    return float(copied(match(samples, train)[1], threshold).mean())


def copied(distance: Array, threshold: float) -> npt.NDArray[np.bool_]:
    """Which distances to the nearest training item (N,) are those of near-copies: below the threshold, or 0.

    The threshold itself is 0 where one in a hundred held-out items is a training item: a verbatim copy is one still.
    """
    return (distance < threshold) | (distance == 0)


__all__ = [
    "copied",
    "copy_threshold",
    "coverage",
    "density",
    "match",
    "near_copies",
    "nearest",
    "nearest_within",
    "precision",
    "recall",
    "squared_distances",
    "two_sample",
]
