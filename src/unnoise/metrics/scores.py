"""What class probabilities and likenesses say of one set: Inception Score, mean distance, Vendi Score."""

from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.metrics.distances import flat
from unnoise.metrics.kernels import distance, gaussian, mean_kernel, median_distance
from unnoise.tensor import Array

_TINY = 1e-300  # below every float64 probability that counts; 0·log 0 is 0


def inception_score(probabilities: Array, splits: int = 1) -> float:
    """exp E_x KL(p(y|x) ‖ p(y)), p(y) the mean of p(y|x): probabilities (N, K) → between 1 and K.

    Salimans et al., Improved techniques for training GANs (2016), who print the mean over ten splits of 50,000
    pictures: consecutive ones here. High where every item is of one clear class and all classes occur; blind to
    copies, and to all within a class.
    """
    if not 1 <= splits <= len(probabilities):
        raise ValueError(f"{len(probabilities)} items cannot be split in {splits} parts")
    parts = np.array_split(np.asarray(probabilities, np.float64), splits)
    return float(np.mean([np.exp(_divergence(part)) for part in parts]))


def _divergence(p: Array) -> float:
    """The mean KL divergence of rows (N, K) from their mean."""
    mean = p.mean(axis=0)
    return float((p * (np.log(np.maximum(p, _TINY)) - np.log(np.maximum(mean, _TINY)))).sum(axis=1).mean())


def mean_distance(x: npt.NDArray[Any]) -> float:
    """E|x − x'| of two different items of x (N, ...): 0 where all are one.

    It falls where a model draws variations of few things. More than real items have is no merit: noise has most.
    """
    if len(x) < 2:
        raise ValueError(f"a mean distance takes 2 items or more, got {len(x)}")
    rows = flat(x)
    return -mean_kernel(distance, rows, rows, different=True)


def vendi(x: npt.NDArray[Any], bandwidth: float | None = None) -> float:
    """The effective number of different items in x (N, ...): exp of the entropy of the eigenvalues of k(x, x')/N.

    Friedman & Dieng, The Vendi Score (2023), with a Gaussian kernel; silent: its bandwidth is the median distance.
    1 where all are one, N where none is like another. N³ operations.
    """
    rows = flat(x)
    values = np.linalg.eigvalsh(gaussian(bandwidth or median_distance(rows))(rows, rows) / len(rows))
    values = values[values > 0]
    return float(np.exp(-(values * np.log(values)).sum()))


__all__ = ["inception_score", "mean_distance", "vendi"]
