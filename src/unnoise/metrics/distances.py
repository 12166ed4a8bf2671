"""Distances between two sets of items as two laws: Fréchet on features, Wasserstein along lines."""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.rng import host
from unnoise.tensor import Array

_CHUNK = 1 << 22  # numbers held at once


def flat(items: npt.NDArray[Any]) -> Array:
    """Items (N, ...) as float64 rows (N, D)."""
    return items.reshape(len(items), prod(items.shape[1:])).astype(np.float64)


def frechet(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    """Fréchet distance (squared) between the normal laws fitted to features x (N, F) and y (M, F).

    Dowson & Landau (1982); on a classifier's features: Heusel et al., TTUR (2017). Biased upwards for
    small sets: compare only at one count, and against the floor.
    """
    rows, others = flat(x), flat(y)
    if max(len(rows), len(others)) < rows.shape[1]:
        return _frechet_of_few(rows, others)
    laws = [(lot.mean(axis=0), np.atleast_2d(np.cov(lot.T))) for lot in (rows, others)]
    return frechet_normal(*laws[0], *laws[1])


def _frechet_of_few(x: Array, y: Array) -> float:
    """The same of fewer rows than columns, without a covariance: of N × M numbers, not of F × F.

    With cov_x = AᵀA and cov_y = BᵀB the eigenvalues of cov_x·cov_y that are not 0 are those of (A·Bᵀ)(A·Bᵀ)ᵀ, so the
    trace of the root is the sum of the singular values of A·Bᵀ.
    """
    a, b = ((rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (x, y))
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return max(float(shift + (a**2).sum() + (b**2).sum() - 2 * cross), 0.0)


def frechet_normal(mean_x: Array, cov_x: Array, mean_y: Array, cov_y: Array) -> float:
    """|mean_x − mean_y|² + tr(cov_x + cov_y − 2·(cov_x^{1/2}·cov_y·cov_x^{1/2})^{1/2}), means (F,), covs (F, F).

    The last trace is the sum of the singular values of cov_x^{1/2}·cov_y^{1/2}: no root of a matrix that
    is not symmetric, and no root of rounding noise where a covariance is singular.
    """
    cross = np.linalg.svd(_root(cov_x) @ _root(cov_y), compute_uv=False).sum()
    square = float(((mean_x - mean_y) ** 2).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * cross)
    return max(square, 0.0)


def _root(cov: Array) -> Array:
    values, vectors = np.linalg.eigh(cov)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def sliced_wasserstein(
    x: npt.NDArray[Any], y: npt.NDArray[Any], p: float = 2.0, projections: int = 128, seed: int = 0
) -> float:
    """(mean over directions θ of W_p(θ·x, θ·y)^p)^{1/p}, each W_p exact: x (N, ...) and y (M, ...).

    Bonneel et al., Sliced and Radon Wasserstein barycenters (2015). In the plane the directions are
    evenly spaced, which integrates over the half circle nearly exactly; in more dimensions they are
    uniform, a function of the seed.
    """
    x, y = flat(x), flat(y)
    directions = _directions(x.shape[1], projections, seed)
    step = max(1, _CHUNK // (len(x) + len(y)))
    parts = [
        _wasserstein_power(directions[first : first + step] @ x.T, directions[first : first + step] @ y.T, p)
        for first in range(0, len(directions), step)
    ]
    return float(np.concatenate(parts).mean() ** (1 / p))


def _directions(dim: int, count: int, seed: int) -> Array:
    """Unit vectors (count, dim); one in one dimension, where all are the same."""
    if dim == 1:
        return np.ones((1, 1))
    if dim == 2:
        angle = np.pi * (np.arange(count) + 0.5) / count
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    vectors = host("directions", seed).standard_normal((count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _wasserstein_power(x: Array, y: Array, p: float) -> Array:
    """W_p^p on the line = ∫ |F_x^{-1}(q) − F_y^{-1}(q)|^p dq for every row: (R, N) and (R, M) → (R,)."""
    x, y = np.sort(x, axis=1), np.sort(y, axis=1)
    n, m = x.shape[1], y.shape[1]
    if n == m:
        return (np.abs(x - y) ** p).mean(axis=1)
    # Both quantile functions are constant between the levels i/n and j/m; counted in units of 1/(n·m).
    levels = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    weight, left = np.diff(levels) / (n * m), levels[:-1]
    return (np.abs(x[:, left // m] - y[:, left // n]) ** p) @ weight


__all__ = ["flat", "frechet", "frechet_normal", "sliced_wasserstein"]
