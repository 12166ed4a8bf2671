"""Distances between two laws by a kernel: maximum mean discrepancy, KID, CMMD, energy distance.

With k positive definite, MMD² = E k(x, x') + E k(y, y') − 2·E k(x, y) is the squared distance of the two laws'
mean embeddings (Gretton et al., A kernel two-sample test, 2012). Without bias the pairs of an item with itself are
left out (their Lemma 6): then it is 0 on average for one law at any count, and now and then below 0.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from unnoise.metrics.distances import flat
from unnoise.metrics.neighbours import squared_distances
from unnoise.rng import host
from unnoise.tensor import Array

Raw: TypeAlias = npt.NDArray[Any]
Kernel: TypeAlias = Callable[[Array, Array], Array]  # rows (N, D) and (M, D) → (N, M)

SUBSETS, SIZE = 100, 1000  # KID as published: the mean over so many subsets of so many items
CLIP_BANDWIDTH, CLIP_SCALE = 10.0, 1000.0  # CMMD as published
ENOUGH = 1000  # items whose distances a median is taken of
_CHUNK = 1 << 22  # values of a kernel held at once


def polynomial(degree: int = 3, offset: float = 1.0) -> Kernel:
    """k(x, y) = (x·y/D + offset)^degree, D the number of columns."""
    return lambda x, y: (x @ y.T / x.shape[1] + offset) ** degree


def gaussian(bandwidth: float) -> Kernel:
    """k(x, y) = exp(−|x − y|²/(2·bandwidth²))."""
    if not bandwidth > 0:
        raise ValueError(f"the bandwidth of a Gaussian kernel is above 0, got {bandwidth:g}")
    return lambda x, y: np.exp(_squares(x, y) * (-0.5 / bandwidth**2))


def distance(x: Array, y: Array) -> Array:
    """k(x, y) = −|x − y|, positive definite on what sums to 0: MMD² is then the energy distance."""
    return -np.sqrt(_squares(x, y))


def _squares(x: Array, y: Array) -> Array:
    """Squared distances about the mean of y: far from the origin the root of a small one would be rounding alone."""
    centre = y.mean(axis=0)
    return squared_distances(x - centre, y - centre)


def median_distance(items: Raw, seed: int = 0) -> float:
    """The median distance of two different items (N, ...): the usual bandwidth. 1 where all are one.

    Of more than ENOUGH items a random thousand is taken.
    """
    rows = flat(items)
    if len(rows) > ENOUGH:
        rows = rows[host("median", seed).permutation(len(rows))[:ENOUGH]]
    square = _squares(rows, rows)[np.triu_indices(len(rows), 1)]
    middle = float(np.sqrt(np.median(square))) if len(square) else 0.0
    return middle if middle > 0 else float(np.sqrt(square.mean())) if square.any() else 1.0


def mmd(x: Raw, y: Raw, kernel: Kernel | None = None, unbiased: bool = True) -> float:
    """MMD² between items x (N, ...) and y (M, ...); silent: a Gaussian kernel, its bandwidth the median distance in y.

    Gretton et al. (2012), Eq. 3 (unbiased) and Eq. 5 (biased: the law of the very items).
    """
    rows, others = flat(x), flat(y)
    least = 2 if unbiased else 1
    if min(len(rows), len(others)) < least:
        raise ValueError(f"MMD takes two sets of {least} items or more, got {len(rows)} and {len(others)}")
    kernel = kernel or gaussian(median_distance(others))
    within = mean_kernel(kernel, rows, rows, unbiased) + mean_kernel(kernel, others, others, unbiased)
    return within - 2 * mean_kernel(kernel, rows, others)


def mean_kernel(kernel: Kernel, x: Array, y: Array, different: bool = False) -> float:
    """The mean of the kernel over all pairs of rows (N, D) and (M, D), or of different rows where x is y."""
    step, total = max(1, _CHUNK // max(len(y), x.shape[1])), 0.0
    for first in range(0, len(x), step):
        part = kernel(x[first : first + step], y)
        total += part.sum() - (np.trace(part[:, first : first + step]) if different else 0.0)
    return float(total / (len(x) * (len(y) - 1 if different else len(y))))


def kid(x: Raw, y: Raw) -> float:
    """Kernel Inception distance: unbiased MMD² of features (N, F) and (M, F) with the kernel (x·y/F + 1)³.

    Bińkowski et al., Demystifying MMD GANs (2018). Over all pairs: what the mean over the published subsets
    estimates, with less chance in it. Times 1000 it is what many papers print.
    """
    return mmd(x, y, polynomial())


def kid_subsets(x: Raw, y: Raw, subsets: int = SUBSETS, size: int = SIZE, seed: int = 0) -> Array:
    """KID as published: its value on each of `subsets` random subsets of `size` items a side: (subsets,).

    Published are their mean and standard deviation. Sets of fewer items are taken whole, once.
    """
    size = min(size, len(x), len(y))
    if size == len(x) == len(y):
        return np.array([kid(x, y)])
    rng = host("kid", seed)
    rows = [(rng.choice(len(x), size, replace=False), rng.choice(len(y), size, replace=False)) for _ in range(subsets)]
    return np.array([kid(x[i], y[j]) for i, j in rows])


def cmmd(x: Raw, y: Raw) -> float:
    """CMMD of embeddings (N, F) and (M, F): 1000 times MMD² with a Gaussian kernel of bandwidth 10, rows of norm 1.

    Jayasumana et al., Rethinking FID (2024): on CLIP's embeddings of pictures, with the biased estimate, as published.
    """
    rows, others = (row / np.maximum(np.linalg.norm(row, axis=1, keepdims=True), 1e-12) for row in (flat(x), flat(y)))
    return CLIP_SCALE * mmd(rows, others, gaussian(CLIP_BANDWIDTH), unbiased=False)


def energy(x: Raw, y: Raw, unbiased: bool = True) -> float:
    """2·E|x − y| − E|x − x'| − E|y − y'|, items (N, ...) and (M, ...).

    Székely & Rizzo, Energy statistics (2013); MMD² with the kernel −|x − y| (Sejdinovic et al., 2013). In the data's
    own unit, and free of any choice of bandwidth.
    """
    return mmd(x, y, distance, unbiased)


__all__ = [
    "Kernel",
    "cmmd",
    "distance",
    "energy",
    "gaussian",
    "kid",
    "kid_subsets",
    "mean_kernel",
    "median_distance",
    "mmd",
    "polynomial",
]
