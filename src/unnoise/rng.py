"""Noise as a function: the same for a seed and a place, whatever else is in the batch.

Three things are drawn from names alone, with no state to save:
- `generator` and `host`: ordinary generators for training, keyed by words such as (seed, "order", epoch);
- `normal`: standard normals for sampling, a counter hash of (seed, place, element) on any device;
- `brownian`: increments of one Brownian path per seed. Its clock is logistic(lambda / 4), a bounded
  function of the half log signal-to-noise ratio lambda, so the whole line is one path: the increments
  over the intervals of any grid belong together, and a sample keeps when the number of steps changes.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from unnoise.tensor import Array, Float, Int, Tensor, send

DEPTH = 18  # the path is known on 2^18 equal parts of its clock; a grid of 1000 steps has parts to spare
PRIOR = 1 << 40  # where x_T is drawn; places of the path's tree lie below, single draws above
SINGLE = 1 << 41
_CHUNK = 1 << 21  # elements hashed at once: bounds the memory


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
    return _combine(seeds, ids, np.ones(ids.shape), shape, like)


def prior(seeds: Sequence[int], shape: Sequence[int], like: Tensor) -> Float[Tensor, "B *shape"]:
    """The standard normal x_T of each seed."""
    return normal(seeds, [PRIOR] * len(seeds), shape, like)


def brownian(
    seeds: Sequence[int],
    start: Array,
    end: Array,
    rows: Sequence[int],
    shape: Sequence[int],
    like: Tensor,
) -> Float[Tensor, "B *shape"]:
    """The increment of each seed's path from lambda = start to end > start, divided by its own deviation.

    start, end: (B,) half logSNR, infinite ends allowed. Increments over disjoint intervals are independent,
    and those of a refined grid add up to the coarse one. Where an interval does not go forward (a correction
    at one level, noise put back in) the draw is a single one, known by the number of its row.
    """
    left, right = _cell(start), _cell(end)
    forward = right > left
    ids, weights = _tree(np.where(forward, left, 0), np.where(forward, right, 1))
    scale = np.sqrt(np.where(forward, right - left, 1) / 2.0**DEPTH)
    weights = np.where(forward[:, None], weights / scale[:, None], 0.0)
    single = SINGLE + (left << 20) * (end > start) + np.asarray(rows, dtype=np.int64)
    ids[:, 0] = np.where(forward, ids[:, 0], single)
    weights[:, 0] = np.where(forward, weights[:, 0], 1.0)
    return _combine(seeds, ids, weights, shape, like)


def _cell(lam: Array) -> npt.NDArray[np.int64]:
    return np.rint((1 + np.tanh(np.asarray(lam, dtype=np.float64) / 8)) / 2 * 2.0**DEPTH).astype(np.int64)


def _tree(
    left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Nodes (B, 1 + 2·DEPTH) and weights of W(right) − W(left) in the Schauder basis of Brownian motion.

    W(x) = x·z_root + sum over levels l of 2^{−l/2 − 1}·hat(2^l x − i)·z_{l, i}, i = floor(2^l x), where
    hat rises from 0 to 1 and falls again over the unit interval (Lévy, 1948; Ciesielski, 1961).
    """
    (node_l, weight_l), (node_r, weight_r) = _point(left), _point(right)
    shared = node_l == node_r
    weight_r = np.where(shared, weight_r - weight_l, weight_r)
    weight_l = np.where(shared, 0.0, -weight_l)
    root = ((right - left) / 2.0**DEPTH)[:, None]
    ids = np.concatenate([np.zeros_like(left)[:, None], node_l, node_r], axis=1)
    return ids, np.concatenate([root, weight_l, weight_r], axis=1)


def _point(cell: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The nodes above a point of the clock and their weights in W there: (B, DEPTH) each."""
    level = np.arange(DEPTH)
    x = cell[:, None] / 2.0 ** (DEPTH - level)  # exact: a power of two divides
    index = np.minimum(np.floor(x), 2.0**level - 1)
    hat = 1 - np.abs(2 * (x - index) - 1)
    return (1 << level) + index.astype(np.int64), hat * 2.0 ** (-level / 2 - 1)


def _combine(
    seeds: Sequence[int],
    ids: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    shape: Sequence[int],
    like: Tensor,
) -> Tensor:
    """sum over l of weights[b, l]·normal(seeds[b], ids[b, l]), each a field of the given shape."""
    batch, size = len(seeds), int(np.prod(shape, dtype=np.int64))
    # Columns that no item uses are dropped; a column used by one adds an exact zero to the others, and
    # columns are added one after the other: so no item's bits depend on its company.
    used = np.flatnonzero(np.any(weights != 0, axis=0))
    words = _keys(seeds, ids[:, used])
    factors = send(torch.from_numpy(weights[:, used].astype(np.float32)), like.device)
    total = torch.zeros(batch, size, device=like.device)
    step = max(1, _CHUNK // max(1, batch * size))
    for first in range(0, len(used), step):
        part = words[:, first : first + step]
        fields = _hash_normal(send(torch.from_numpy(part.reshape(-1, 2)), like.device), size)
        fields = fields.reshape(batch, part.shape[1], size)
        for column in range(part.shape[1]):
            total += factors[:, first + column, None] * fields[:, column]
    return total.to(like.dtype).reshape(batch, *shape)


def _keys(seeds: Sequence[int], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Two 32-bit words for every (seed, id): (B, L) → (B, L, 2), by rounds of SplitMix64."""

    def mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:  # Steele et al., 2014
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

    with np.errstate(over="ignore"):
        seed = mix(np.array([s & 0xFFFFFFFFFFFFFFFF for s in map(int, seeds)], dtype=np.uint64))
        # The seed is mixed once more than the place: seed 3 at place 5 is not seed 5 at place 3.
        mixed = mix(mix(seed)[:, None] ^ mix(ids.astype(np.uint64)))
    return np.ascontiguousarray(mixed).view(np.int32).reshape(*ids.shape, 2)


def _mix32(x: Tensor) -> Tensor:
    """An in-place bijection of 32-bit words that spreads every bit (Wellons, 2018: lowbias32)."""
    x ^= (x >> 16) & 0xFFFF  # the mask makes the arithmetic shift a logical one
    x *= 0x7FEB352D
    x ^= (x >> 15) & 0x1FFFF
    x *= 0x846CA68B - (1 << 32)
    x ^= (x >> 16) & 0xFFFF
    return x


def _hash_normal(words: Int[Tensor, "N 2"], size: int) -> Float[Tensor, "N size"]:
    """Standard normals, a function of each row's words and the element alone (Box & Muller, 1958)."""
    pairs = (size + 1) // 2
    counter = torch.arange(pairs, dtype=torch.int32, device=words.device)
    first = _mix32(_mix32(counter ^ words[:, :1]) + words[:, 1:])
    second = _mix32(first + 0x3C6EF372)
    # 24 bits in the middle of their interval: log never sees 0, and the tail ends at 5.9 deviations.
    radius = ((first >> 8) & 0xFFFFFF).float().add_(0.5).mul_(2.0**-24).log_().mul_(-2).sqrt_()
    angle = ((second >> 8) & 0xFFFFFF).float().mul_(2 * np.pi * 2.0**-24)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :size]


__all__ = ["brownian", "generator", "host", "key", "normal", "prior"]
