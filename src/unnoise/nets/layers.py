"""The parts of a U-Net: residual block, attention, halving and doubling, in one, two and three dimensions."""

from collections.abc import Sequence
from math import gcd
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.tensor import Float, Tensor

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Source(NamedTuple):
    """Where attention may look beside the field itself: keys and values, already as wide as the block.

    keys, values: (B, tokens, width); mask: (B, tokens), true where a token stands.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None = None


def convolution(dims: int, before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """A convolution that keeps the size (stride 1) or takes n to ceil(n/2) (stride 2)."""
    return CONVOLUTIONS[dims](before, after, kernel, stride=stride, padding=kernel // 2)


def zero(layer: nn.Module) -> nn.Module:
    """The layer with all its parameters set to 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Block(nn.Module):
    """x + conv(dropout(silu(norm(conv(silu(norm(x))) modulated by the embedding)))).

    modulation "add": h + e before the second norm (Ho et al., 2020); "scale_shift": norm(h)·(1 + scale) +
    shift after it (Dhariwal & Nichol, 2021). Its numbers come from outside, `modulated` of them, so that one
    product serves the blocks of a whole network.
    """

    def __init__(
        self,
        dims: int,
        before: int,
        after: int,
        *,
        groups: int,
        epsilon: float,
        modulation: str,
        dropout: float,
    ):
        super().__init__()
        self.scales = modulation == "scale_shift"
        self.modulated = 2 * after if self.scales else after
        self.norm1 = nn.GroupNorm(gcd(groups, before), before, epsilon)
        self.conv1 = convolution(dims, before, after)
        self.norm2 = nn.GroupNorm(gcd(groups, after), after, epsilon)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = convolution(dims, after, after)
        self.skip = convolution(dims, before, after, kernel=1) if before != after else None

    def forward(
        self, x: Float[Tensor, "B before *sizes"], modulation: Float[Tensor, "B modulated"]
    ) -> Float[Tensor, "B after *sizes"]:
        inplace = not torch.is_grad_enabled()
        h = self.conv1(F.silu(self.norm1(x), inplace=inplace))
        modulation = modulation.reshape(*modulation.shape, *(1,) * (x.ndim - 2))
        if self.scales:
            scale, shift = modulation.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        else:
            h = self.norm2(h + modulation)
        h = self.conv2(self.dropout(F.silu(h, inplace=inplace)))
        return h + (x if self.skip is None else self.skip(x))


class Attention(nn.Module):
    """x + project(Σ_s softmax(q·k_sᵀ/√d)·v_s) over a list of sources, the field itself first.

    Each source is attended by itself and the results are summed (Ye et al., IP-Adapter, 2023, Eq. 5): a
    source whose values are zero changes nothing.
    """

    def __init__(self, width: int, *, head_width: int, groups: int, epsilon: float):
        super().__init__()
        if width % head_width:
            raise ValueError(f"heads of {head_width} do not divide a width of {width}")
        self.width = width
        self.heads = width // head_width
        self.norm = nn.GroupNorm(gcd(groups, width), width, epsilon)
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "B width *sizes"], sources: Sequence[Source] = ()
    ) -> Float[Tensor, "B width *sizes"]:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        queries, keys, values = self.project_in(tokens).chunk(3, dim=2)
        queries = self.split(queries)
        answer = F.scaled_dot_product_attention(queries, self.split(keys), self.split(values))
        for source in sources:
            mask = None if source.mask is None else source.mask.unsqueeze(1).unsqueeze(2)
            answer = answer + F.scaled_dot_product_attention(
                queries, self.split(source.keys), self.split(source.values), mask
            )
        answer = self.project_out(answer.transpose(1, 2).flatten(2))
        return x + answer.transpose(1, 2).reshape(x.shape)

    def split(self, tokens: Float[Tensor, "B L width"]) -> Float[Tensor, "B heads L head"]:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class Double(nn.Module):
    """Nearest-neighbour doubling, cropped to the size that the skip has, then a convolution."""

    def __init__(self, dims: int, width: int):
        super().__init__()
        self.conv = convolution(dims, width, width)

    def forward(self, x: Float[Tensor, "B C *small"], sizes: Sequence[int]) -> Float[Tensor, "B C *large"]:
        doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
        for axis, size in enumerate(sizes, start=2):
            doubled = doubled.narrow(axis, 0, size)
        return self.conv(doubled)


__all__ = ["Attention", "Block", "Double", "Source", "convolution", "zero"]
