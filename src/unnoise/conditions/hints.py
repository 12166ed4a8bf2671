"""What of an item may be shown to the model that draws it: made of the item itself, by a named rule."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from unnoise.tensor import Float, Tensor

POOL: dict[int, Any] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
MAXIMUM: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}

# (x (B, C, *sizes) as the model sees items, known (B, 1, *sizes): 1 where they are, 0 in holes, factor) → fields
Hint = Callable[[Tensor, Tensor, int], Tensor]


def low(x: Float[Tensor, "B C *sizes"], known: Tensor, factor: int) -> Float[Tensor, "B C *sizes"]:
    """Means over cells of `factor` a side, as large as the item again: what is to be drawn finer."""
    small = [max(1, -(-size // factor)) for size in x.shape[2:]]
    return F.interpolate(POOL[x.ndim - 2](x, small), x.shape[2:], mode="nearest")


def grey(x: Float[Tensor, "B C *sizes"], known: Tensor, factor: int) -> Float[Tensor, "B 1 *sizes"]:
    """The mean of the channels: what is to be coloured."""
    return x.mean(1, keepdim=True)


def edges(x: Float[Tensor, "B C *sizes"], known: Tensor, factor: int) -> Float[Tensor, "B 1 *sizes"]:
    """|∇x|, by differences to the next place along each axis, over all channels: where something begins and ends."""
    total = torch.zeros_like(x[:, :1])
    for axis in range(2, x.ndim):
        step = x.diff(dim=axis, append=x.narrow(axis, x.shape[axis] - 1, 1))
        total = total + step.square().sum(1, keepdim=True)
    return total.sqrt()


def hole(x: Float[Tensor, "B C *sizes"], known: Tensor, factor: int) -> Float[Tensor, "B D *sizes"]:
    """The item, 0 in the hole, and where it is known: what is to be filled in."""
    return torch.cat((x * known, known), dim=1)


def mask(x: Float[Tensor, "B C *sizes"], known: Tensor, factor: int) -> Float[Tensor, "B 1 *sizes"]:
    """1 where any channel is above the middle of its range, else 0: where something is, on a dark ground."""
    return (x.amax(1, keepdim=True) > 0).to(x.dtype)


def outline(x: Float[Tensor, "B C *sizes"], known: Tensor, factor: int) -> Float[Tensor, "B 1 *sizes"]:
    """The mask less its erosion, a line one place wide: the shape alone, whatever is inside."""
    inside = mask(x, known, factor)
    return inside - _eroded(inside)


def depth(x: Float[Tensor, "B C *sizes"], known: Tensor, factor: int) -> Float[Tensor, "B 1 *sizes"]:
    """How deep inside the mask a place lies, in places to its border over `factor`, 1 at most: a relief of it."""
    inside = mask(x, known, factor)
    total = inside
    for _ in range(factor - 1):
        inside = _eroded(inside)
        total = total + inside
    return total / factor


def _eroded(inside: Float[Tensor, "B 1 *sizes"]) -> Float[Tensor, "B 1 *sizes"]:
    """1 where all neighbours are inside; what lies beyond the border of the field is outside."""
    around = F.pad(1 - inside, (1, 1) * (inside.ndim - 2), value=1.0)
    return 1 - MAXIMUM[inside.ndim - 2](around, 3, 1)


HINTS: dict[str, tuple[Hint, Callable[[int], int]]] = {  # the rule, and how many channels it makes of so many
    "low": (low, lambda channels: channels),
    "grey": (grey, lambda channels: 1),
    "edges": (edges, lambda channels: 1),
    "mask": (mask, lambda channels: 1),
    "outline": (outline, lambda channels: 1),
    "depth": (depth, lambda channels: 1),
    "hole": (hole, lambda channels: channels + 1),
}

__all__ = ["HINTS", "Hint"]
