"""Noise as a function: the same for a seed and a place, whatever else is in the batch.

Three things are drawn from names alone, with no state to save:
- `generator` and `host`: ordinary generators for training, keyed by words such as (seed, "order", epoch);
- `normal`: standard normals for sampling, a counter hash of (seed, place, element) on any device;
- `fields`: the same for many places of a few seeds at once; `brownian.py` builds one path per seed of them.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unnoise import hashed
from unnoise.tensor import Float, Tensor, send

PRIOR = 1 << 40  # the place where x_T is drawn; a path's nodes lie below, its single draws above
_CHUNK = 1 << 21  # elements drawn at once: bounds the memory
# SplitMix64's numbers (Steele et al., 2014), as arrays without axes, which NumPy takes soonest.
_GOLDEN = np.array(0x9E3779B97F4A7C15, np.uint64)
_ROUNDS = tuple(
    (np.array(shift, np.uint64), np.array(factor, np.uint64))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
)
_LAST = np.array(31, np.uint64)


def key(*words: int | str) -> int:
    """A 64-bit number from words; stable across runs, machines and versions."""
    plain = tuple(word if isinstance(word, str) else int(word) for word in words)  # a NumPy integer too
    return int.from_bytes(hashlib.blake2b(repr(plain).encode(), digest_size=8).digest(), "little")


def generator(*words: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator that depends on the words alone."""
    return torch.Generator(device).manual_seed(key(*words) >> 1)


def host(*words: int | str) -> np.random.Generator:
    """A NumPy generator that depends on the words alone."""
    return np.random.Generator(np.random.Philox(key=key(*words)))


def normal(
    seeds: Sequence[int],
    places: Sequence[int] | npt.NDArray[np.int64],
    shape: Sequence[int],
    like: Tensor,
) -> Float[Tensor, "B *shape"]:
    """Standard normals for each (seed, place): (B, *shape) on the device and in the dtype of `like`."""
    ids = np.asarray(places, dtype=np.int64)[:, None]
    return combine(seeds, ids, np.ones(ids.shape), shape, like)


def prior(seeds: Sequence[int], shape: Sequence[int], like: Tensor) -> Float[Tensor, "B *shape"]:
    """The standard normal x_T of each seed."""
    return normal(seeds, [PRIOR] * len(seeds), shape, like)


def combine(
    seeds: Sequence[int],
    places: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    shape: Sequence[int],
    like: Tensor,
) -> Float[Tensor, "B *shape"]:
    """sum over l of weights[b, l]·normal(seeds[b], places[b, l]): (B, *shape) as `like`; a weight of 0 costs nothing.

    Terms are added one after the other, and a term that others need adds an exact zero: so no item's bits
    depend on its company.
    """
    batch, size = len(seeds), math.prod(shape)
    used = np.flatnonzero(np.any(weights != 0, axis=0))
    keys = _keys(seeds, places[:, used])
    factors = send(torch.from_numpy(weights[:, used].astype(np.float32)), like.device)
    total = torch.zeros(batch, size, device=like.device)
    step = max(1, _CHUNK // max(1, batch * size))
    for first in range(0, len(used), step):
        part = keys[:, first : first + step]
        drawn = _normals(part, np.full((part.size, 1), -2, np.float32), size, like.device)
        drawn = hashed.operations(like.device).tensor(drawn).reshape(batch, part.shape[1], size)
        for column in range(part.shape[1]):
            total += factors[:, first + column, None] * drawn[:, column]
    return total.to(like.dtype).reshape(batch, *shape)


@dataclass(frozen=True, eq=False)
class Fields:
    """At each of L places a field over any seeds, with a deviation of its own: what does not depend on the seeds.

    names: the places, mixed, (L, 1); factors: −2·deviation², (L, 1).
    """

    names: npt.NDArray[np.uint64]
    factors: npt.NDArray[np.float32]

    @staticmethod
    def at(
        places: Sequence[int] | npt.NDArray[np.int64], deviations: Sequence[float] | npt.NDArray[np.float64]
    ) -> "Fields":
        """The fields at places, (L,) each."""
        names = _mixed(np.asarray(places, dtype=np.int64).astype(np.uint64)[:, None])
        return Fields(names, -2 * np.square(np.asarray(deviations, dtype=np.float32))[:, None])

    def draw(self, seeds: Sequence[int], size: int, device: torch.device, more: int = 0) -> Any:
        """The fields of items of `size` elements: float32 (L + more, B·size), as `hashed.operations(device)` take them.

        They are the caller's to write to; the last ones, `more` of them, are not written yet.
        """
        batch, count = len(seeds), len(self.names)
        keys = _mixed(self.names ^ _seeds(tuple(seeds)))
        factors = self.factors if batch == 1 else self.factors.repeat(batch, 0)
        return _normals(keys, factors, size, device, more * batch).reshape(count + more, batch * size)


def fields(
    seeds: Sequence[int],
    places: Sequence[int] | npt.NDArray[np.int64],
    deviations: Sequence[float] | npt.NDArray[np.float64],
    shape: Sequence[int],
    like: Tensor,
) -> Float[Tensor, "L B *shape"]:
    """For each place a field over all seeds, with its deviation: float32 (L, B, *shape) on the device of `like`.

    What is returned is the caller's to write to.
    """
    drawn = Fields.at(places, deviations).draw(seeds, math.prod(shape), like.device)
    return hashed.operations(like.device).tensor(drawn).reshape(len(places), len(seeds), *shape)


def crowded(count: int, size: int) -> bool:
    """Whether so many fields of so many elements are too much to be hashed at once."""
    return count * size > _CHUNK


def _keys(seeds: Sequence[int], places: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """A key for every (seed, place): (B, L) → (B, L)."""
    return _mixed(_mixed(places.astype(np.uint64)) ^ _seeds(tuple(seeds))[:, None])


@lru_cache(maxsize=32)  # a batch's seeds are asked for at its start, and then at every step
def _seeds(seeds: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """Seeds, mixed once more than the places are: seed 3 at place 5 is not seed 5 at place 3."""
    return _mixed(_mixed(np.array([int(seed) & 0xFFFFFFFFFFFFFFFF for seed in seeds], dtype=np.uint64)))


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A round of SplitMix64, a bijection of 64-bit words that spreads every bit."""
    x = x + _GOLDEN
    for shift, factor in _ROUNDS:
        x ^= x >> shift
        x *= factor
    x ^= x >> _LAST
    return x


def _normals(
    keys: npt.NDArray[np.uint64], factors: npt.NDArray[np.float32], size: int, device: torch.device, more: int = 0
) -> Any:
    """A row of normals for each of N keys, of any shape: their halves are the words of `hashed.normals`."""
    return hashed.normals(keys.reshape(-1, 1).view(np.uint32), factors, size, device, more)


__all__ = ["Fields", "combine", "crowded", "fields", "generator", "host", "key", "normal", "prior"]
