"""What a network is to answer to x_t: the item that was noised, or what all items together say of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.denoise.exact import Empirical
from unnoise.process import Gaussian, Level
from unnoise.tensor import Cond, Float, Tensor, align
from unnoise.train.order import Encode, Feed

MOST = 1 << 29  # numbers of all items together: 2 GiB as the network sees them, twice that on the host
PROBE = 256  # items that are looked for among those that are pooled
LABEL = "label"
OTHERWISE = "take objective.aim=item"


class Origin(NamedTuple):
    """Clean data and noise of which x_t = alpha·x0 + sigma·noise is made, each shaped like it."""

    x0: Tensor
    noise: Tensor


class Aim(ABC):
    """Of which clean data and noise the target F* = data·x_0 + noise·eps is made. Frozen, as all of a recipe is."""

    def knowing(self, process: Gaussian, items: Items, encode: Encode, feed: Feed) -> "Aim":
        """The aim that knows the training part, which training will see as `feed` gives it; itself, where it need not.

        UserError where it cannot be had of these items.
        """
        return self

    @abstractmethod
    def __call__(self, x: Float[Tensor, "B *dims"], origin: Origin, level: Level, cond: Cond) -> Origin | None:
        """What is aimed at where x (B, ...) was made as told; None: that itself."""


@dataclass(frozen=True)
class Item(Aim):
    """The item that was noised, and its noise: denoising score matching  (Vincent, 2011; Ho et al., 2020, Eq. 14)."""

    def __call__(self, x: Float[Tensor, "B *dims"], origin: Origin, level: Level, cond: Cond) -> None:
        """None."""
        return None


@dataclass(frozen=True)
class Stable(Aim):
    """E[x_0 | x_t] over all training items of the label: the same optimum, from gradients that vary less.

    E[x_0 | x_t] = sum_i r_i·y_i, r_i ∝ exp(−|x_t − alpha·y_i|²/(2 sigma²)) over the items y_i of the same label (all of
    them where it is the null): `denoise.Empirical`. The squared error has the same gradient on average, x_t given, and
    so the same optimum as that of the item. What is gone is the variance that x_0 has where x_t leaves it open: in much
    noise nearly all of it, in little noise nothing. A step costs B·N·d operations more for N items of d numbers, and
    all of these are held in memory. (Xu, Tong & Jaakkola, Stable target field for reduced variance score estimation in
    diffusion models, 2023, with the whole training part as the reference batch.)

    The loss that is told is of the item: it may be compared with the held-out one, and with other runs.
    """

    def knowing(self, process: Gaussian, items: Items, encode: Encode, feed: Feed) -> "Pooled":
        """The aim that pools these items.

        UserError where they are too many, where they do not come as they are each time, or where anything but a label
        is told of them: then what one stands for is not what the others are asked.
        """
        if items.windows is not None:
            raise UserError(f"objective.aim stable pools items of one shape, and these stand in buckets: {OTHERWISE}")
        x0, cond = feed(0, min(len(items), PROBE))
        for name in cond:
            if name != LABEL:
                raise UserError(
                    f"objective.aim stable pools items of one label, and '{name}' is told of these: {OTHERWISE}"
                )
        if len(items) * x0[0].numel() > MOST:
            raise UserError(
                f"objective.aim stable holds all items in memory, {len(items):,} of {x0[0].numel():,} numbers here, "
                f"and {MOST:,} numbers are the most: {OTHERWISE}"
            )
        raw, told = items.take(np.arange(len(items)))
        pooled = encode(raw, rng.host(0, "stable")).numpy()
        if {item.tobytes() for item in x0.cpu().numpy()}.difference(item.tobytes() for item in pooled):
            raise UserError(
                "objective.aim stable pools the items as they are, and training sees them changed or others beside "
                f"them (dequantise, augment, random crops, a prior): {OTHERWISE}"
            )
        return Pooled(Empirical(process, pooled, told.get(LABEL)))

    def __call__(self, x: Float[Tensor, "B *dims"], origin: Origin, level: Level, cond: Cond) -> Origin:
        """Raises UserError: of the items nothing is known yet."""
        raise UserError("objective.aim stable does not know the items that it pools: train with what `knowing` gives")


@dataclass(frozen=True)
class Pooled(Aim):
    """The belief of an exact denoiser: of the training items themselves, as `Stable` has it."""

    truth: Empirical

    def __call__(self, x: Float[Tensor, "B *dims"], origin: Origin, level: Level, cond: Cond) -> Origin:
        """E[x_0 | x_t], and the noise by which x_t is that: noise + (alpha/sigma)·(x_0 − E[x_0 | x_t])."""
        belief = self.truth(x, level, cond).x0
        ratio = torch.where(level.sigma > 0, level.alpha / level.sigma, 0.0)  # at sigma = 0 the belief is x_0
        return Origin(belief, origin.noise + align(ratio, x) * (origin.x0 - belief))


AIMS: dict[str, type[Aim]] = {"item": Item, "stable": Stable}


def asked(node: Mapping[str, Any]) -> dict[str, Any]:
    """The node of an objective as its held-out loss asks it: of the item, whatever training aims at."""
    return {key: value for key, value in node.items() if key != "aim"}


__all__ = ["AIMS", "Aim", "Item", "Origin", "Pooled", "Stable", "asked"]
