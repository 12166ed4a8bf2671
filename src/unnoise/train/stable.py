"""Regression on what all items together say of x_t, not on the one that was noised: the same optimum, less noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.denoise.exact import Empirical
from unnoise.process import Gaussian, Level
from unnoise.tensor import Cond, Float, Tensor, align
from unnoise.train.objective import Regression
from unnoise.train.order import Encode, Feed

MOST = 1 << 29  # numbers of all items together: 2 GiB as the network sees them, twice that on the host
PROBE = 256  # items that are looked for among those that are pooled
LABEL = "label"
OTHERWISE = "take objective=regression"


@dataclass(frozen=True)
class Stable(Regression):
    """weight(t)·|F_theta(x_t) − F*|² with F* of E[x_0 | x_t] over the training items, not of the x_0 that was noised.

    E[x_0 | x_t] = sum_i r_i·y_i, r_i ∝ exp(−|x_t − alpha·y_i|²/(2 sigma²)) over the items y_i of the same label (all of
    them where it is the null): `denoise.Empirical`. The squared error has the same gradient on average, x_t given, and
    so the same optimum as regression. What is gone is the variance that x_0 has where x_t leaves it open: in much noise
    nearly all of it, in little noise nothing. A step costs B·N·d operations more for N items of d numbers, and all of
    these are held in memory. (Xu, Tong & Jaakkola, Stable target field for reduced variance score estimation in
    diffusion models, 2023, with the whole training part as the reference batch.)

    The loss that is told is regression's: it may be compared with the held-out one, and with other runs.
    """

    def knowing(self, process: Gaussian, items: Items, encode: Encode, feed: Feed) -> "Pooled":
        """The objective that pools these items, which training will see as `feed` gives them.

        UserError where they are too many, where they do not come as they are each time, or where anything but a label
        is told of them: then what one stands for is not what the others are asked.
        """
        if items.windows is not None:
            raise UserError(f"objective stable pools items of one shape, and these stand in buckets: {OTHERWISE}")
        x0, cond = feed(0, min(len(items), PROBE))
        for name in cond:
            if name != LABEL:
                raise UserError(
                    f"objective stable pools items of one label, and '{name}' is told of these: {OTHERWISE}"
                )
        if len(items) * x0[0].numel() > MOST:
            raise UserError(
                f"objective stable holds all items in memory, {len(items):,} of {x0[0].numel():,} numbers here, and "
                f"{MOST:,} numbers are the most: {OTHERWISE}"
            )
        raw, told = items.take(np.arange(len(items)))
        pooled = encode(raw, rng.host(0, "stable")).numpy()
        known = {item.tobytes() for item in pooled}
        if any(item.tobytes() not in known for item in x0.cpu().numpy()):
            raise UserError(
                "objective stable pools the items as they are, and training sees them changed or others beside them "
                f"(dequantise, augment, random crops, a prior): {OTHERWISE}"
            )
        return Pooled(self.levels, self.weight, Empirical(process, pooled, told.get(LABEL)))

    def aim(
        self,
        x: Float[Tensor, "B *dims"],
        x0: Float[Tensor, "B *dims"],
        noise: Float[Tensor, "B *dims"],
        level: Level,
        cond: Cond,
    ) -> tuple[Float[Tensor, "B *dims"], Float[Tensor, "B *dims"]]:
        """Raises UserError: of the items nothing is known yet."""
        raise UserError("objective stable does not know the items that it pools: train with what its `knowing` gives")


@dataclass(frozen=True)
class Pooled(Regression):
    """Regression on the belief of an exact denoiser: of the training items themselves, as `Stable` has it."""

    truth: Empirical | None = None

    def aim(
        self,
        x: Float[Tensor, "B *dims"],
        x0: Float[Tensor, "B *dims"],
        noise: Float[Tensor, "B *dims"],
        level: Level,
        cond: Cond,
    ) -> tuple[Float[Tensor, "B *dims"], Float[Tensor, "B *dims"]]:
        """E[x_0 | x_t], and the noise by which x_t is that: noise + (alpha/sigma)·(x_0 − E[x_0 | x_t])."""
        assert self.truth is not None
        belief = self.truth(x, level, cond).x0
        ratio = torch.where(level.sigma > 0, level.alpha / level.sigma, 0.0)  # at sigma = 0 the belief is x_0
        return belief, noise + align(ratio, x) * (x0 - belief)


def asked(node: Mapping[str, Any]) -> dict[str, Any]:
    """The node of an objective as its held-out loss asks it: of a stable one, regression's."""
    return {**node, "kind": "regression"} if node.get("kind") == "stable" else dict(node)


__all__ = ["Pooled", "Stable", "asked"]
