"""Noise as a function: the same for a seed and a place, whatever else is in the batch.

Three things are drawn from names alone, with no state to save:
- `generator` and `host`: ordinary generators for training, keyed by words such as (seed, "order", epoch);
- `normal`: standard normals for sampling, a counter hash of (seed, place, element) on any device;
- `fields`: the same for many places of a few seeds at once; `brownian.py` builds one path per seed of them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from unnoise.tensor import Float, Int, Tensor, send

PRIOR = 1 << 40  # the place where x_T is drawn; a path's nodes lie below, its single draws above
_CHUNK = 1 << 21  # elements drawn at once: bounds the memory
_CACHED = 1 << 16  # pairs hashed at once on a CPU: five arrays of them fit in its cache

# cos(pi·y) and sin(pi·y)/y as polynomials in y² over [0, 1], at Chebyshev's points: within 1.1e-8 and 2.4e-9.
_TURNS = (
    (1.0, -4.934801, 4.0586948, -1.3351585, 0.2350298, -0.025358984, 0.0015939107),
    (3.1415927, -5.1677127, 2.5501604, -0.59924233, 0.08208189, -0.007275316, 0.00039528045),
)


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
    batch, size = len(seeds), int(np.prod(shape, dtype=np.int64))
    used = np.flatnonzero(np.any(weights != 0, axis=0))
    words = _keys(seeds, places[:, used])
    factors = send(torch.from_numpy(weights[:, used].astype(np.float32)), like.device)
    total = torch.zeros(batch, size, device=like.device)
    step = max(1, _CHUNK // max(1, batch * size))
    for first in range(0, len(used), step):
        part = words[:, first : first + step]
        drawn = _hash_normal(send(torch.from_numpy(part.reshape(-1, 2)), like.device), size)
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
) -> Float[Tensor, "L B *shape"]:
    """For each place a field over all seeds, with its deviation: float32 (L, B, *shape) on the device of `like`.

    What is returned is the caller's to write to.
    """
    batch, size = len(seeds), int(np.prod(shape, dtype=np.int64))
    words = _keys(seeds, np.asarray(places, dtype=np.int64)[None, :])
    flat = torch.from_numpy(np.ascontiguousarray(words.swapaxes(0, 1)).reshape(-1, 2))
    scale = send(torch.from_numpy(np.asarray(deviations, dtype=np.float32).repeat(batch)[:, None]), like.device)
    return _hash_normal(send(flat, like.device), size, scale).reshape(len(places), batch, *shape)


def crowded(count: int, size: int) -> bool:
    """Whether so many fields of so many elements are too much to be hashed at once."""
    return count * size > _CHUNK


def _keys(seeds: Sequence[int], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Two 32-bit words for every (seed, id): (B, L) or (1, L) → (B, L, 2), by rounds of SplitMix64."""

    def mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:  # Steele et al., 2014
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

    seed = mix(np.array([s & 0xFFFFFFFFFFFFFFFF for s in map(int, seeds)], dtype=np.uint64))
    # The seed is mixed once more than the place: seed 3 at place 5 is not seed 5 at place 3.
    mixed = mix(mix(seed)[:, None] ^ mix(ids.astype(np.uint64)))
    return np.ascontiguousarray(mixed).view(np.int32).reshape(len(seeds), ids.shape[1], 2)


@dataclass(frozen=True)
class _Numbers:
    """The hash's constants where the words live: as tensors they cost half of what Python's numbers do."""

    shifts: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    factors: tuple[Tensor, ...]
    stride: Tensor
    byte: Tensor
    low: Tensor
    turns: tuple[Tensor, ...]

    @staticmethod
    @lru_cache
    def on(device: torch.device) -> "_Numbers":
        def words(*values: int) -> tuple[Tensor, ...]:
            return tuple(torch.tensor(value, dtype=torch.int32, device=device) for value in values)

        masks, factors = words(0xFFFF, 0x1FFFF, 0xFFFF), words(0x7FEB352D, 0x846CA68B - (1 << 32))
        turns = torch.tensor(_TURNS, dtype=torch.float32, device=device).T.reshape(len(_TURNS[0]), 2, 1, 1).flip(0)
        stride, byte, low = words(0x3C6EF372, 8, 0xFFFFFF)
        return _Numbers(words(16, 15, 16), masks, factors, stride, byte, low, turns.unbind(0))


def _mix32(x: Tensor, spare: Tensor, by: _Numbers) -> Tensor:
    """An in-place bijection of 32-bit words that spreads every bit (Wellons, 2018: lowbias32)."""
    for step, (shift, mask) in enumerate(zip(by.shifts, by.masks, strict=True)):
        torch.bitwise_right_shift(x, shift, out=spare)
        x.bitwise_xor_(spare.bitwise_and_(mask))  # the mask makes the arithmetic shift a logical one
        if step < len(by.factors):
            x.mul_(by.factors[step])
    return x


def _turn(out: Tensor, square: Tensor, by: _Numbers) -> None:
    """cos(pi·y) and sin(pi·y)/y at y² for y in [-1, 1], to 3e-7: out (2, ..). Half the cost of torch's own."""
    last, *rest = by.turns
    torch.mul(square, last, out=out).add_(rest[0])
    for coefficient in rest[1:]:
        torch.addcmul(coefficient, out, square, out=out)


def _hash_normal(
    words: Int[Tensor, "N 2"], size: int, deviation: Float[Tensor, "N 1"] | None = None
) -> Float[Tensor, "N size"]:
    """Normals of mean 0, a function of each row's words and the element alone (Box & Muller, 1958).

    In runs of rows that stay in a processor's cache, each written over the last.
    """
    count, pairs, device = len(words), (size + 1) // 2, words.device
    by = _Numbers.on(device)
    found = torch.empty(count, 2, pairs, device=device)
    step = max(1, _CACHED // max(1, pairs)) if device.type == "cpu" else max(1, count)
    hashes = torch.empty(3, min(step, count), pairs, dtype=torch.int32, device=device)
    polar = torch.empty(2, min(step, count), pairs, device=device)
    counter = torch.arange(pairs, dtype=torch.int32, device=device)
    for start in range(0, count, step):
        own, rows = words[start : start + step], min(step, count - start)
        first, second, spare = hashes[:, :rows].unbind(0)
        radius, angle = polar[:, :rows].unbind(0)
        torch.bitwise_xor(counter, own[:, :1], out=first)
        _mix32(_mix32(first, spare, by).add_(own[:, 1:]), spare, by)
        _mix32(torch.add(first, by.stride, out=second), spare, by)
        # 24 bits in the middle of their interval: log never sees 0, and the tail ends at 5.9 deviations.
        radius.copy_(first.bitwise_right_shift_(by.byte).bitwise_and_(by.low)).add_(0.5).mul_(2.0**-24)
        radius.log_().mul_(-2).sqrt_()
        angle.copy_(second).mul_(2.0**-31)  # of pi, from -1 to 1
        if deviation is not None:
            radius.mul_(deviation[start : start + step])
        turned, square = hashes[:2, :rows].view(torch.float32), spare.view(torch.float32)  # the words have served
        _turn(turned, torch.mul(angle, angle, out=square), by)
        both = found[start : start + step]
        torch.mul(turned[0], radius, out=both[:, 0])
        torch.mul(turned[1], angle.mul_(radius), out=both[:, 1])
    return found.reshape(count, 2 * pairs)[:, :size]


__all__ = ["combine", "crowded", "fields", "generator", "host", "key", "normal", "prior"]
