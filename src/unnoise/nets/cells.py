"""Cells of a field: its pixels taken together a few at a time, and laid out again."""

from collections.abc import Sequence
from math import sqrt

import torch
from torch.nn import functional as F

from unnoise.tensor import Float, Tensor

OCTAVES = 4  # of the waves that say where in a field a cell lies: the shortest is a quarter of the side long


def cells(x: Float[Tensor, "B C *sizes"], patch: int) -> Float[Tensor, "B numbers *counts"]:
    """The cells of `patch` pixels a side: (B, C, n, ..) → (B, C·patch^dims, ceil(n/patch), ..).

    What a last cell lacks at the far edge of an axis is 0.
    """
    if patch == 1:
        return x
    batch, channels, *sizes = x.shape
    missing = [side for size in reversed(sizes) for side in (0, -size % patch)]
    if any(missing):
        x = F.pad(x, missing)
    counts = [-(-size // patch) for size in sizes]
    split = x.reshape(batch, channels, *(side for count in counts for side in (count, patch)))
    # (B, C, n, p, m, p) → (B, C, p, p, n, m)
    first = range(2, split.ndim, 2)
    return split.permute(0, 1, *(axis + 1 for axis in first), *first).reshape(batch, -1, *counts)


def field(h: Float[Tensor, "B numbers *counts"], patch: int, sizes: Sequence[int]) -> Float[Tensor, "B C *sizes"]:
    """The field of given sizes whose cells are h: what `cells` took apart, without what it added."""
    if patch == 1:
        return h
    batch, numbers, *counts = h.shape
    dims = len(counts)
    split = h.reshape(batch, numbers // patch**dims, *(patch,) * dims, *counts)
    # (B, C, p, p, n, m) → (B, C, n, p, m, p)
    order = [axis for place in range(dims) for axis in (2 + dims + place, 2 + place)]
    x = split.permute(0, 1, *order).reshape(batch, -1, *(count * patch for count in counts))
    for axis, size in enumerate(sizes, start=2):
        x = x.narrow(axis, 0, size)
    return x


def coordinates(counts: Sequence[int], device: torch.device) -> Float[Tensor, "L dims"]:
    """The place of each cell along each axis, counted from 0, in the order in which a field is flattened."""
    axes = [torch.arange(count, device=device, dtype=torch.float32) for count in counts]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], dim=1)


def waves(counts: Sequence[int], like: Tensor) -> Float[Tensor, "L features"]:
    """Where in a field of so many cells an axis each lies: √2·(cos, sin) of π·2^(k−1)·u, u from −1 to 1."""
    places = coordinates(counts, like.device)
    u = torch.stack([(2 * place + 1) / n - 1 for place, n in zip(places.unbind(1), counts, strict=True)], dim=1)
    angles = torch.cat([u * (torch.pi * 2.0 ** (k - 1)) for k in range(OCTAVES)], dim=1)
    return (sqrt(2) * torch.cat((angles.cos(), angles.sin()), dim=1)).to(like.dtype)


__all__ = ["OCTAVES", "cells", "coordinates", "field", "waves"]
