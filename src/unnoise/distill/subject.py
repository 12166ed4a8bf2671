"""What a plan is tuned for: a denoiser, the items it draws, and what they are told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unnoise import rng
from unnoise.denoise import Denoiser
from unnoise.distill.head import Law
from unnoise.loop.generate import home, sample
from unnoise.samplers import Plan
from unnoise.tensor import Cond, Tensor

LOT = 128  # items asked about at a time


@dataclass(frozen=True)
class Subject:
    """A denoiser of items of a shape, and the normal laws of its data.

    classes: how many labels there are; items are drawn of every one and of none, in turn. guidance: the least and the
    largest weight that items are drawn with, evenly between; they go as a leaf of cond where they differ.
    """

    denoiser: Denoiser
    shape: tuple[int, ...]
    law: Law
    classes: int = 0
    guidance: tuple[float, float] = (1.0, 1.0)
    device: str | torch.device | None = None

    @property
    def like(self) -> Tensor:
        """Lives where the denoiser does."""
        return torch.zeros(0, device=self.device or home(self.denoiser))

    def seeds(self, part: str, count: int) -> list[int]:
        """The seeds of a part ("fit", "judge"): no two parts have one in common, nor one that people type."""
        return [rng.key("tuned plans", part, i) for i in range(count)]

    def cond(self, first: int, last: int) -> dict[str, Tensor]:
        """What items first .. last − 1 of a part are told."""
        told: dict[str, Tensor] = {}
        places = np.arange(first, last)
        if self.classes:
            told["label"] = torch.from_numpy(places % (self.classes + 1)).to(self.like.device)
        least, most = self.guidance
        if least != most:
            share = np.modf((places + 0.5) * (np.sqrt(5) - 1) / 2)[0]  # evenly, in any order, for any label
            told["guidance"] = torch.from_numpy(least + (most - least) * share).float()
        return told

    def lots(self, count: int, size: int = LOT) -> Iterator[slice]:
        """Places 0 .. count − 1, a lot at a time."""
        return (slice(first, min(first + size, count)) for first in range(0, count, size))

    def draw(self, plan: Plan, seeds: Sequence[int]) -> Iterator[Tensor]:
        """The samples of a plan, a lot at a time, on the host."""
        for lot in self.lots(len(seeds)):
            cond: Cond = self.cond(lot.start, lot.stop)
            yield sample(self.denoiser, plan, self.shape, seeds[lot], cond, device=self.like.device).cpu()


def distance(x: Tensor, y: Tensor) -> Tensor:
    """How far items (B, ...) lie apart, per number: |x − y|/sqrt(d), (B,)."""
    return (x - y).flatten(1).square().mean(1).sqrt()


__all__ = ["LOT", "Subject", "distance"]
