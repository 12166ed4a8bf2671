"""Batches of pictures of one shape each, in an order that is a function of (seed, epoch, size of the batch)."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.tensor import Tensor, send
from unnoise.train.order import CPU, Encode, Feed, Shuffled, tensors

Rows = npt.NDArray[np.int64]


class Bucketed:
    """Epoch after epoch of pictures in buckets of one shape, each batch from one bucket.

    A bucket k of n_k pictures is an endless stream of its own, one shuffle after the other, of which batches of B take
    their turn: after e epochs floor((e·n_k + p_k)/B) of them, p_k drawn from 0 .. B − 1. So every picture is seen
    equally often, none is dropped and none filled in; within an epoch the batches of all buckets are shuffled.
    encode: as in Shuffled; it is given pictures of any bucket's shape.
    """

    def __init__(self, items: Items, encode: Encode, seed: int = 0, device: torch.device | str = "cpu"):
        if items.windows is None or len(items) == 0:
            raise ValueError("there is no picture in buckets to train on")
        self._items, self._windows, self._encode, self._seed = items, items.windows, encode, seed
        self._device = torch.device(device)
        shapes, which = np.unique(self._windows.sizes, axis=0, return_inverse=True)
        self._shapes = [(int(height), int(width)) for height, width in shapes]
        self._rows: list[Rows] = [np.flatnonzero(which.reshape(-1) == k) for k in range(len(shapes))]
        self._counts = np.array([len(rows) for rows in self._rows], np.int64)
        self._orders: dict[int, tuple[int, Rows]] = {}
        self._phases: tuple[int, Rows] = 0, np.empty(0, np.int64)
        self._epoch: tuple[int, int, Rows] | None = None

    def indices(self, first: int, size: int) -> Rows:
        """Which items come at the places first .. first + size − 1, a batch: (size,), all of one shape."""
        if first % size:
            raise UserError(f"buckets are trained on in whole batches: {size} items are asked for from place {first}")
        bucket, turn = self._turn(first // size, size)
        place, parts, left = turn * size, list[Rows](), size
        while left:
            pass_, start = divmod(place, int(self._counts[bucket]))
            part = self._order(bucket, pass_)[start : start + left]
            parts.append(part)
            place, left = place + len(part), left - len(part)
        return np.concatenate(parts)

    def __call__(self, first: int, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        rows = self.indices(first, size)
        raw = self._windows.whole(rows)
        x0 = self._encode(raw, rng.host(self._seed, "encode", first))
        cond = {name: leaf[rows] for name, leaf in self._items.cond.items()}
        return send(x0, self._device), tensors(cond, self._device)

    def _turn(self, batch: int, size: int) -> tuple[int, int]:
        """The bucket of a batch of the training, and how many of that bucket's batches came before it."""
        epoch = self._find(batch, size)
        before, after = self._taken(epoch, size), self._taken(epoch + 1, size)
        if self._epoch is None or self._epoch[:2] != (epoch, size):
            turns = np.repeat(np.arange(len(self._counts)), after - before)
            self._epoch = epoch, size, rng.host(self._seed, "batches", epoch).permutation(turns)
        turns = self._epoch[2]
        place = batch - int(before.sum())
        bucket = int(turns[place])
        return bucket, int(before[bucket]) + int((turns[:place] == bucket).sum())

    def _find(self, batch: int, size: int) -> int:
        """The epoch that a batch belongs to: the last e with no more than `batch` batches before it."""
        total = int(self._counts.sum())
        low = max(0, (batch - len(self._counts)) * size // total - 1)
        high = (batch + len(self._counts) + 1) * size // total + 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if int(self._taken(middle, size).sum()) <= batch else (low, middle)
        return low

    def _taken(self, epoch: int, size: int) -> Rows:
        """How many batches of each bucket come before an epoch."""
        if self._phases[0] != size:
            self._phases = size, rng.host(self._seed, "phases").integers(size, size=len(self._counts))
        return (epoch * self._counts + self._phases[1]) // size

    def _order(self, bucket: int, pass_: int) -> Rows:
        known = self._orders.get(bucket)
        if known is None or known[0] != pass_:
            words: tuple[Any, ...] = (self._seed, "order", *self._shapes[bucket], pass_)
            known = pass_, self._rows[bucket][rng.host(*words).permutation(len(self._rows[bucket]))]
            self._orders[bucket] = known
        return known[1]


def feed(items: Items, encode: Encode, seed: int = 0, device: torch.device | str = CPU) -> Feed:
    """Where batches of these items come from: shuffled, and bucket by bucket where they lie in buckets."""
    return (Bucketed if items.bucketed else Shuffled)(items, encode, seed, device)


__all__ = ["Bucketed", "feed"]
