"""Prior preservation: what the base draws is learned again beside the new items, so that it is not forgotten."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from unnoise.config import UserError
from unnoise.rng import host
from unnoise.tensor import Tensor


@dataclass(frozen=True)
class Prior:
    """Samples of the base, learned again beside the new items, so that it is not forgotten.

    count: how many, drawn once at the start, a label of each in turn; share: of every batch, which they take.
    (Ruiz et al., DreamBooth, 2023, Eq. 2: the sum of two losses with weights 1 − share and share.)
    """

    count: int = 0
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UserError(f"count of the prior is a number of samples, 0 for none, got {self.count}")
        if not 0 <= self.share < 1:
            raise UserError(f"share of the prior is from 0 to below 1, got {self.share}")


class Preserved:
    """The feed within, of whose batches a share is taken by given items, in an order of their own.

    x0 (N, ...), cond: leaves (N, ...) on the host; nulls: the leaf of an item of which the feed tells nothing. How many
    they are changes by one from batch to batch, so that over a training the share is exact; which they are is a
    function of (seed, first).
    """

    def __init__(
        self, feed: Any, x0: Tensor, cond: Mapping[str, Tensor], nulls: Mapping[str, Any], share: float, seed: int
    ):
        self._feed, self._x0, self._cond, self._nulls = feed, x0, dict(cond), dict(nulls)
        self._share, self._seed = share, seed

    def __call__(self, first: int, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        before, after = int(first * self._share), int((first + size) * self._share)
        old = after - before
        if not old:
            return self._feed(first - before, size)
        rows = torch.from_numpy(host(self._seed, "prior", first).integers(0, len(self._x0), old))
        kept, told = self._x0[rows], {name: leaf[rows] for name, leaf in self._cond.items()}
        if old == size:
            return kept, told
        x0, cond = self._feed(first - before, size - old)
        if x0.shape[1:] != kept.shape[1:]:
            raise UserError(f"items of shape {tuple(x0.shape[1:])} stand in no batch with the prior's, of "
                            f"{tuple(kept.shape[1:])}: give pictures of one size")  # fmt: skip
        both = {name: torch.cat([cond.get(name, self._null(name, leaf, len(x0))), leaf]) for name, leaf in told.items()}
        return torch.cat([x0, kept]), both

    def _null(self, name: str, like: Tensor, count: int) -> Tensor:
        null = torch.as_tensor(self._nulls[name], dtype=like.dtype)
        return null.expand(count, *like.shape[1:])


__all__ = ["Preserved", "Prior"]
