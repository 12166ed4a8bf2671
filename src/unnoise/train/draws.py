"""The random numbers of one training step: a function of its words alone, for the whole batch and its parts."""

import numpy as np
import torch

from unnoise import rng
from unnoise.tensor import Array, Float, Tensor


def stratified(batch: int, generator: np.random.Generator) -> Array:
    """(permutation + U)/B: uniform in [0, 1), one number in each of B equal intervals; (B,) float64."""
    return (generator.permutation(batch) + generator.random(batch)) / batch


class Draws:
    """Named random numbers for a batch of `batch` items.

    Each name is drawn once for the whole batch; a part sees its rows of the same numbers. So a step that is
    computed in parts has the gradient of the step in one piece, and what one name gives does not depend on
    what was drawn before it. items: how many training has seen before the batch.
    """

    def __init__(self, *words: int | str, batch: int, items: int = 0):
        self._words, self.items = words, items
        self._batch = batch
        self._rows = slice(0, batch)
        self._host: dict[tuple[str, bool], Array] = {}
        self._device: dict[str, Tensor] = {}

    def part(self, first: int, size: int) -> "Draws":
        """The same numbers, for the items first .. first + size − 1 of the batch."""
        view = Draws(*self._words, batch=self._batch, items=self.items)
        view._rows = slice(first, first + size)
        view._host, view._device = self._host, self._device
        return view

    def uniform(self, name: str, stratify: bool = True) -> Array:
        """Uniform in [0, 1), stratified over the whole batch or independent: (B,) float64 on the host."""
        if (name, stratify) not in self._host:
            generator = rng.host(*self._words, name)
            drawn = stratified(self._batch, generator) if stratify else generator.random(self._batch)
            self._host[name, stratify] = drawn
        return self._host[name, stratify][self._rows]

    def normal(self, name: str, like: Float[Tensor, "B *dims"]) -> Float[Tensor, "B *dims"]:
        """Standard normals shaped like x, on its device and in its dtype."""
        if name not in self._device:
            generator = rng.generator(*self._words, name, device=like.device)
            shape = (self._batch, *like.shape[1:])
            self._device[name] = torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
        return self._device[name][self._rows]


__all__ = ["Draws", "stratified"]
