"""Noise as a function: the same for a seed and a place, whatever else is in the batch.

Three things are drawn from names alone, with no state to save:
- `generator` and `host`: ordinary generators for training, keyed by words such as (seed, "order", epoch);
- `normal`: standard normals for sampling, a counter hash of (seed, place, element) on any device;
- `fields`: the same for many places of a few seeds at once; `brownian.py` builds one path per seed of them.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from unnoise import hashed
from unnoise.tensor import Float, Tensor, send

PRIOR = 1 << 40  # the place where x_T is drawn; a path's nodes lie below, its single draws above
_CHUNK = 1 << 21  # elements drawn at once: bounds the memory
# SplitMix64's numbers (Steele et al., 2014), as arrays without axes, which NumPy takes soonest.
_GOLDEN = np.array(0x9E3779B97F4A7C15, np.uint64)
_SHIFTS = tuple(np.array(shift, np.uint64) for shift in (30, 27, 31))
_FACTORS = tuple(np.array(factor, np.uint64) for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


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
    words = _keys(seeds, places[:, used])
    factors = send(torch.from_numpy(weights[:, used].astype(np.float32)), like.device)
    total = torch.zeros(batch, size, device=like.device)
    step = max(1, _CHUNK // max(1, batch * size))
    for first in range(0, len(used), step):
        part = words[:, first : first + step]
        drawn = hashed.normals(part.reshape(-1, 2), size, like.device)
        drawn = drawn.reshape(batch, part.shape[1], size)
        for column in range(part.shape[1]):
            total += factors[:, first + column, None] * drawn[:, column]
    return total.to(like.dtype).reshape(batch, *shape)


def fields(
    seeds: Sequence[int],
    places: Sequence[int] | npt.NDArray[np.int64],
    deviations: Sequence[float] | npt.NDArray[np.float64],
    shape: Sequence[int],
    like: Tensor,
    more: int = 0,
) -> Float[Tensor, "L B *shape"]:
    """For each place a field over all seeds, with its deviation: float32 (L, B, *shape) on the device of `like`.

    What is returned is the caller's to write to. more: so many fields follow that are not written yet.
    """
    batch, size = len(seeds), math.prod(shape)
    words = _keys(seeds, np.asarray(places, dtype=np.int64)[None, :])
    flat = np.ascontiguousarray(words.swapaxes(0, 1)).reshape(-1, 2)
    scale = np.asarray(deviations, dtype=np.float32).repeat(batch)
    drawn = hashed.normals(flat, size, like.device, scale, more * batch)
    return drawn.reshape(len(places) + more, batch, *shape)


def crowded(count: int, size: int) -> bool:
    """Whether so many fields of so many elements are too much to be hashed at once."""
    return count * size > _CHUNK


def _keys(seeds: Sequence[int], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Two 32-bit words for every (seed, id): (B, L) or (1, L) → (B, L, 2), by rounds of SplitMix64."""

    def mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        x = x + _GOLDEN
        x ^= x >> _SHIFTS[0]
        x *= _FACTORS[0]
        x ^= x >> _SHIFTS[1]
        x *= _FACTORS[1]
        x ^= x >> _SHIFTS[2]
        return x

    numbers = np.array([s & 0xFFFFFFFFFFFFFFFF for s in map(int, seeds)], dtype=np.uint64)
    once = mix(np.concatenate([numbers, ids.astype(np.uint64).ravel()]))
    # The seed is mixed once more than the place: seed 3 at place 5 is not seed 5 at place 3.
    mixed = mix(mix(once[: len(seeds)])[:, None] ^ once[len(seeds) :].reshape(ids.shape))
    return np.ascontiguousarray(mixed).view(np.int32).reshape(len(seeds), ids.shape[1], 2)


__all__ = ["combine", "crowded", "fields", "generator", "host", "key", "normal", "prior"]
