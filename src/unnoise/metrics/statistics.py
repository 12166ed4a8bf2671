"""Count, mean and covariance of a data set's features: gathered in one pass, merged, kept and shared as one file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from unnoise import files
from unnoise.config import UserError
from unnoise.metrics.distances import flat, frechet_normal
from unnoise.tensor import Array

KIND = "unnoise statistics of features"  # what the file says it is


@dataclass(frozen=True, eq=False)
class Statistics:
    """The normal law of a set of features: `count` items, mean (F,), covariance (F, F) with the divisor count − 1.

    features and digest: which features, and of what weights; of: what the items are. Statistics of other features
    have nothing to say to each other, and are not merged or compared. count 0: nothing was seen yet, or (`stated`)
    the law is stated and nobody knows of how many items.
    """

    count: int
    mean: Array
    covariance: Array
    features: str = ""
    digest: str = ""
    of: str = ""
    notes: Mapping[str, str] = field(default_factory=dict[str, str])  # what else is worth knowing: size, resizing

    def __post_init__(self) -> None:
        if self.count < 0 or self.mean.ndim != 1 or self.covariance.shape != (len(self.mean),) * 2:
            raise ValueError(
                f"statistics are a count, a mean (F,) and a covariance (F, F), got {self.count}, "
                f"{self.mean.shape} and {self.covariance.shape}"
            )

    @classmethod
    def empty(cls, columns: int, features: str = "", digest: str = "", of: str = "", **notes: str) -> "Statistics":
        """Of nothing yet, for so many columns."""
        return cls(0, np.zeros(columns), np.zeros((columns, columns)), features, digest, of, notes)

    @classmethod
    def gather(
        cls, batches: Iterable[npt.NDArray[Any]], features: str = "", digest: str = "", of: str = ""
    ) -> "Statistics":
        """Of batches (N, F) of features, one after the other: memory for one batch and for F² numbers."""
        found: Statistics | None = None
        for batch in batches:
            found = (found or cls.empty(flat(batch).shape[1], features, digest, of)).update(batch)
        if found is None:
            raise UserError("there is nothing to make statistics of: no item was given")
        return found

    @property
    def stated(self) -> bool:
        """Whether the law is known without its count, as files of other programs have it."""
        return self.count == 0 and bool(self.covariance.any())

    def update(self, batch: npt.NDArray[Any]) -> "Statistics":
        """With the rows (N, F) of one more batch."""
        rows = flat(batch)
        if not len(rows):
            return self
        mean = rows.mean(axis=0)
        off = rows - mean
        return self.merge(replace(self, count=len(rows), mean=mean, covariance=off.T @ off / max(len(rows) - 1, 1)))

    def merge(self, other: "Statistics") -> "Statistics":
        """Of both sets as one. Chan, Golub & LeVeque, Updating formulae (1979): no sums of squares to cancel.

        Scatter S = S_a + S_b + (n_a·n_b/n)·δ·δᵀ, δ = mean_b − mean_a.
        """
        self.comparable(other)
        if self.stated or other.stated:
            raise UserError("statistics without their count cannot be merged")
        total = self.count + other.count
        if not total:
            return self
        shift, share = other.mean - self.mean, other.count / total
        scatter = self._scatter + other._scatter + (self.count * share) * np.outer(shift, shift)
        of = self.of if self.of == other.of or not other.of else f"{self.of} and {other.of}" if self.of else other.of
        return replace(self, count=total, mean=self.mean + share * shift, covariance=scatter / max(total - 1, 1), of=of)

    @property
    def _scatter(self) -> Array:
        return self.covariance * max(self.count - 1, 0)

    def comparable(self, other: "Statistics") -> None:
        """Nothing, or a UserError that says why these two have nothing to say to each other."""
        if len(self.mean) != len(other.mean):
            raise UserError(f"statistics of {len(self.mean)} and of {len(other.mean)} features cannot be held together")
        if self.features and other.features and self.features != other.features:
            raise UserError(f"statistics of the features {self.features} and {other.features} cannot be held together")
        if self.digest and other.digest and self.digest != other.digest:
            raise UserError(
                f"statistics of {self.features or 'features'} of different weights cannot be held together: "
                f"{self.digest[:12]} and {other.digest[:12]}"
            )

    def frechet(self, other: "Statistics") -> float:
        """The Fréchet distance (squared) between the two normal laws, as distances.frechet of the features."""
        self.comparable(other)
        if any(not s.count and not s.stated for s in (self, other)):
            raise UserError("statistics of no item have no distance")
        return frechet_normal(self.mean, self.covariance, other.mean, other.covariance)

    def save(self, path: str | Path) -> Path:
        """One safetensors file: mean and covariance, and in its header where they come from."""
        told = {
            "kind": KIND,
            "count": str(self.count),
            "features": self.features,
            "digest": self.digest,
            "of": self.of,
            "notes": json.dumps(dict(self.notes), sort_keys=True),
        }
        tensors = {"mean": np.asarray(self.mean), "covariance": np.ascontiguousarray(self.covariance)}
        return files.put(path, save(tensors, told))

    @classmethod
    def load(cls, path: str | Path) -> "Statistics":
        """From such a file, or from the .npz with `mu` and `sigma` that others write, whose count is unknown."""
        path = Path(path)
        if not path.exists():
            raise UserError(f"there are no statistics at {path}")
        return _npz(path) if path.suffix == ".npz" else _safetensors(path)


def is_statistics(path: str | Path) -> bool:
    """Whether a file holds statistics, told by its header alone."""
    path = Path(path)
    if path.suffix == ".safetensors":
        return path.is_file() and _header(path).get("kind") == KIND
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with np.load(path, allow_pickle=False) as told:
            return {"mu", "sigma"} <= set(told.files)
    except (OSError, ValueError, BadZipFile):
        return False


def _header(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file: eight bytes of length, then JSON; empty where there is none."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            return dict(json.loads(file.read(min(size, 1 << 20))).get("__metadata__", {}))
        except (ValueError, AttributeError):
            return {}


def _safetensors(path: Path) -> Statistics:
    told = _header(path)
    if told.get("kind") != KIND:
        raise UserError(f"{path} holds no statistics of features: `unnoise statistics` writes such files")
    try:
        held = load(path.read_bytes())
        notes = {str(key): str(value) for key, value in json.loads(told.get("notes", "{}")).items()}
        return Statistics(
            int(told["count"]), held["mean"], held["covariance"], told["features"], told["digest"], told["of"], notes
        )
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from None


def _npz(path: Path) -> Statistics:
    try:
        with np.load(path, allow_pickle=False) as held:
            mean, covariance = (np.asarray(held[name], np.float64) for name in ("mu", "sigma"))
        return Statistics(0, mean, covariance, of=path.name)
    except KeyError:
        raise UserError(f"{path} holds no statistics of features: expected the arrays mu and sigma") from None
    except (OSError, ValueError, BadZipFile) as error:
        raise UserError(f"{path} is damaged: {error}") from None


__all__ = ["Statistics", "is_statistics"]
