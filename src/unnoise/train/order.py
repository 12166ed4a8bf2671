"""The order of the data: a function of (seed, epoch), so that one number of items says where a training stands."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from unnoise import rng
from unnoise.data import Items
from unnoise.tensor import Tensor, send

CPU = torch.device("cpu")
Encode = Callable[[Any, np.random.Generator], Tensor]
Made = Callable[[Tensor, np.random.Generator], dict[str, Tensor]]  # of x0 (B, ...), leaves that are made of it


@runtime_checkable
class Feed(Protocol):
    """Where batches come from."""

    def __call__(self, first: int, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The items first .. first + size − 1 of an endless training: x0 (B, ...) and cond, leaves (B, ...)."""
        ...


class Shuffled:
    """Epoch after epoch of a data set, each in an order of its own; a batch may span two.

    encode: raw batch and generator → x0 (B, ...) float32; its generator, for dequantisation and augmentation, and
    that of taking, for random crops, are functions of (seed, first).
    """

    def __init__(self, items: Items, encode: Encode, seed: int = 0, device: torch.device | str = "cpu"):
        if len(items) == 0:
            raise ValueError("there is no item to train on")
        self._items, self._encode, self._seed = items, encode, seed
        self._device = torch.device(device)
        self._epoch = -1, np.empty(0, dtype=np.int64)

    def indices(self, first: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Which item of the data set comes at each place of the training."""
        parts: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
        while size > 0:
            epoch, place = divmod(first, len(self._items))
            part = self._order(epoch)[place : place + size]
            parts.append(part)
            first, size = first + len(part), size - len(part)
        return np.concatenate(parts)

    def __call__(self, first: int, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        raw, cond = self._items.take(self.indices(first, size), rng.host(self._seed, "take", first))
        x0 = self._encode(raw, rng.host(self._seed, "encode", first))
        return send(x0, self._device), tensors(cond, self._device)

    def _order(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        if self._epoch[0] != epoch:
            self._epoch = epoch, rng.host(self._seed, "order", epoch).permutation(len(self._items))
        return self._epoch[1]


def tensors(cond: Any, device: torch.device = CPU) -> dict[str, Tensor]:
    """Conditions as tensors; floating ones in float32. Text is none: whoever hears it makes numbers of it first."""
    numbers = {name: leaf for name, leaf in cond.items() if leaf.dtype.kind != "U"}
    leaves = {name: torch.from_numpy(np.ascontiguousarray(leaf)) for name, leaf in numbers.items()}
    return {
        name: send(leaf.to(torch.float32 if leaf.is_floating_point() else leaf.dtype), device)
        for name, leaf in leaves.items()
    }


__all__ = ["Encode", "Feed", "Made", "Shuffled", "tensors"]
