"""A Gaussian mixture whose every number is known: the truth that excess risk is read against."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from unnoise.config import UserError
from unnoise.data.source import Items, World
from unnoise.rng import host
from unnoise.tensor import Array


@dataclass(frozen=True, kw_only=True)
class Mixture(World):
    """p(x) = sum over k of w_k·N(x; mu_k, Sigma_k) in `dim` dimensions, items (N, dim) float32.

    Every Sigma_k has eigenvalues proportional to i^−decay, i = 1 .. dim (pictures have a decay between 1
    and 2), along random axes of its own; the means have the same spectrum along axes that they share,
    turned at random too, so no coordinate is special. The mean is 0 and the mean variance of the
    coordinates is 1; the means carry the share `between` of it.
    `weights` (K,), `means` (K, dim) and `covariances` (K, dim, dim) are float64 and exact.
    `truth` is the seed of these numbers, `seed` that of the draws.
    """

    dim: int = 64
    components: int = 9
    decay: float = 1.5
    between: float = 0.5
    truth: int = 0

    name: ClassVar[str] = "mixture"

    @property
    def raw(self) -> str:
        return "points"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim < 1 or self.components < 1:
            raise UserError(f"a mixture has at least 1 dimension and 1 component, got {self.dim} and {self.components}")
        if not 0 <= self.between < 1:
            raise UserError(f"between is a share of the variance, from 0 to below 1, got {self.between}")
        if not 0 <= self.decay < np.inf:
            raise UserError(f"decay is an exponent, 0 or more, got {self.decay}")

    @property
    def weights(self) -> Array:
        """(K,), sum 1, the largest a few times the smallest."""
        return self._numbers[0]

    @property
    def means(self) -> Array:
        """(K, dim); their weighted mean is 0."""
        return self._numbers[1]

    @property
    def covariances(self) -> Array:
        """(K, dim, dim), symmetric and positive definite."""
        roots = self._numbers[2]
        return roots @ np.swapaxes(roots, 1, 2)

    @cached_property
    def _numbers(self) -> tuple[Array, Array, Array]:
        """Weights (K,), means (K, dim) and roots (K, dim, dim) of the covariances."""
        rng = host(self.name, "truth", self.truth, self.dim, self.components)
        weights = np.exp(rng.uniform(-0.7, 0.7, self.components))
        weights /= weights.sum()
        spectrum = np.arange(1, self.dim + 1) ** -self.decay
        spectrum *= self.dim / spectrum.sum()
        turn = _rotation(rng, self.dim)
        means = rng.standard_normal((self.components, self.dim)) * np.sqrt(spectrum)
        means -= weights @ means
        spread = weights @ (means**2).sum(axis=1) / self.dim
        between = self.between if self.components > 1 else 0.0
        means *= np.sqrt(between / spread) if between else 0.0
        axes = np.stack([_rotation(rng, self.dim) for _ in range(self.components)])
        roots = np.sqrt((1 - between) * spectrum) * axes  # columns are axes times deviations
        return weights, means @ turn, roots

    def _make(self, n: int, *words: int | str) -> Items:
        weights, means, roots = self._numbers
        which = np.searchsorted(np.cumsum(weights)[:-1], host(*words, "place").random(n), side="right")
        points = host(*words, "noise").standard_normal((n, self.dim))
        for k in range(self.components):
            rows = which == k
            points[rows] = means[k] + points[rows] @ roots[k].T
        return Items(points.astype(np.float32))


def _rotation(rng: np.random.Generator, dim: int) -> Array:
    """An orthogonal matrix, uniform in the sense of Haar (Mezzadri, 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
    return q * np.sign(r.diagonal())


__all__ = ["Mixture"]
