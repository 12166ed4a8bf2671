"""A head start: where the mean and the covariance of the data carry noise to, at no evaluation."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unnoise.config import UserError
from unnoise.tensor import Array, Cond, Tensor

WHOLE = 256  # numbers in an item up to which its covariance is kept whole
RANK = 64  # directions kept of larger items; the rest share one variance
FEW = 8  # items of a class below which it has the law of all


@dataclass(frozen=True, eq=False)
class Law:
    """Normal laws of the data: one for each class, and the last for all of it.

    mean (K + 1, d); axes (K + 1, d, k), orthonormal columns; values (K + 1, k), the variance along each axis;
    rest (K + 1,), the one variance across them all  (Tipping & Bishop, Probabilistic PCA, 1999). float64.
    """

    mean: Array
    axes: Array
    values: Array
    rest: Array
    _there: dict[tuple[torch.device, torch.dtype], tuple[Tensor, ...]] = field(
        default_factory=dict[tuple[torch.device, torch.dtype], tuple[Tensor, ...]], repr=False
    )

    @staticmethod
    def of(x0: Tensor, labels: npt.NDArray[np.int64] | None = None, classes: int = 0) -> "Law":
        """The laws of encoded items (n, ...), their labels (n,) among so many classes."""
        flat = x0.detach().cpu().flatten(1).double().numpy()
        groups = [flat if labels is None else flat[labels == c] for c in range(classes)]
        fitted = [_normal(own if len(own) >= FEW else flat) for own in (*groups, flat)]
        least = min(axes.shape[1] for _, axes, _, _ in fitted)
        parts = [_narrowed(part, least) for part in fitted]
        mean, axes, values, rest = (np.stack([np.asarray(part[i]) for part in parts]) for i in range(4))
        return Law(mean, axes, values, rest)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process has the numbers, and moves them to its own devices."""
        return Law, (self.mean, self.axes, self.values, self.rest)

    @property
    def classes(self) -> int:
        """Laws beside that of all items."""
        return len(self.mean) - 1

    @property
    def size(self) -> int:
        """Numbers in an item."""
        return self.mean.shape[1]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the numbers."""
        return hashlib.sha256(b"".join(part.tobytes() for part in self.arrays().values())).hexdigest()

    def arrays(self) -> dict[str, Array]:
        """Its numbers by name."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in ("mean", "axes", "values", "rest")}

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array]) -> "Law":
        """The law that `arrays` wrote."""
        mean, axes, values, rest = (np.asarray(arrays[name], np.float64) for name in ("mean", "axes", "values", "rest"))
        return Law(mean, axes, values, rest)

    def on(self, like: Tensor) -> tuple[Tensor, ...]:
        """mean, axes, values and rest where `like` lives; moved there once."""
        key = (like.device, like.dtype)
        if key not in self._there:
            self._there[key] = tuple(torch.from_numpy(part).to(like.dtype).to(like.device) for part in self._parts)
        return self._there[key]

    @property
    def _parts(self) -> tuple[Array, ...]:
        return (self.mean, self.axes, self.values, self.rest)

    def carry(self, y: Tensor, here: Tensor, there: Tensor, label: Tensor, weight: Tensor | float = 1.0) -> Tensor:
        """The probability flow of the class's law from noise `here` to `there`, both sigma/alpha; y = x/alpha (B, ...).

        y_s = mu + sqrt((v + r_s²)/(v + r_t²))·(y_t − mu) along each axis of variance v. weight: of guidance; the mean
        is then mu_all + w·(mu_class − mu_all), which is exact where the covariances of the class and of all agree.
        """
        mean, axes, values, rest = self.on(y)
        centre = mean[-1] + weight * (mean[label] - mean[-1]) if self.classes else mean[label]
        off = y.flatten(1) - centre
        along = (off[:, None] @ axes[label])[:, 0]  # (B, k)
        across = torch.sqrt((rest[label] + there**2) / (rest[label] + here**2))[:, None]
        stretch = torch.sqrt((values[label] + there**2) / (values[label] + here**2)) - across
        moved = centre + across * off + (axes[label] @ (stretch * along)[..., None])[..., 0]
        return moved.reshape(y.shape)

    def fades(self, error: Tensor, ratio: float) -> Tensor:
        """What becomes of an error (.., d) of y at noise `ratio` on the way to 0: sqrt(v/(v + ratio²)) along each axis.

        By the law of all items.
        """
        if ratio == 0:
            return error
        _, axes, values, rest = (part[-1] for part in self.on(error))
        across = torch.sqrt(rest / (rest + ratio**2))
        stretch = torch.sqrt(values / (values + ratio**2)) - across
        return across * error + ((error @ axes) * stretch) @ axes.T


@dataclass(frozen=True, eq=False)
class Head:
    """Carries x_T, drawn where x = alpha·x_0 + sigma·noise has the ends `here` = (alpha, sigma), to the ends `there`.

    weight: of the guidance that the plan was tuned for; a leaf cond["guidance"] stands above it.
    """

    law: Law
    here: tuple[float, float]
    there: tuple[float, float]
    weight: float = 1.0

    def __call__(self, x: Tensor, cond: Cond) -> Tensor:
        """x (B, ...) at the first question."""
        if x[0].numel() != self.law.size:
            raise UserError(
                f"this plan was tuned with a head start for items of {self.law.size} numbers, got {x[0].numel()}"
            )
        label = cond.get("label")
        which = torch.full((len(x),), self.law.classes, device=x.device) if label is None else label.to(x.device).long()
        given = cond.get("guidance")
        weight = self.weight if given is None else given.to(x.device, x.dtype)[:, None]
        here, there = (x.new_tensor(sigma / alpha) for alpha, sigma in (self.here, self.there))
        return self.there[0] * self.law.carry(x / self.here[0], here, there, which, weight)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that it does."""
        ends = np.array([*self.here, *self.there, self.weight]).tobytes()
        return hashlib.sha256(bytes.fromhex(self.law.digest) + ends).hexdigest()


def _normal(x: Array) -> tuple[Array, Array, Array, Array]:
    """Mean, axes, their variances, and the mean variance across them, of rows (n, d)."""
    n, d = x.shape
    mean = x.mean(axis=0)
    rank = min(d if d <= WHOLE else RANK, n - 1)
    if d <= n:
        values, axes = np.linalg.eigh(np.cov(x.T, bias=True).reshape(d, d))
        values, axes = values[::-1], axes[:, ::-1]
    else:
        _, singular, lines = np.linalg.svd(x - mean, full_matrices=False)
        values, axes = singular**2 / n, lines.T
    total = float(np.square(x - mean).sum() / n)
    values = np.maximum(values[:rank], 0.0)
    rest = max(total - float(values.sum()), 0.0) / (d - rank) if d > rank else 0.0
    return mean, axes[:, :rank], values, np.array(rest)


def _narrowed(part: tuple[Array, Array, Array, Array], rank: int) -> tuple[Array, Array, Array, Array]:
    """A law of fewer axes: what the least of them had joins the rest."""
    mean, axes, values, rest = part
    size, had = axes.shape
    if had == rank:
        return part
    spread = (float(rest) * (size - had) + values[rank:].sum()) / (size - rank)
    return mean, axes[:, :rank], values[:rank], np.array(spread)


__all__ = ["Head", "Law"]
