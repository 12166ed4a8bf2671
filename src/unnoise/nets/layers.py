"""The parts of a U-Net: residual block, halving and doubling, in one, two and three dimensions."""

from math import gcd
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.config import choose
from unnoise.tensor import Float, Tensor

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
Layer = TypeVar("Layer", bound=nn.Module)
MODULATIONS = {"add": 1, "scale_shift": 2}  # numbers from the embedding for each channel


def convolution(dims: int, before: int, after: int, kernel: int = 3, stride: int = 1) -> Any:
    """A convolution that keeps the size (stride 1) or takes n to ceil(n/2) (stride 2)."""
    return CONVOLUTIONS[dims](before, after, kernel, stride=stride, padding=kernel // 2)


def zero(layer: Layer) -> Layer:
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
        self.scales = choose("modulation", modulation, MODULATIONS) == 2
        self.modulated = MODULATIONS[modulation] * after
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


class Double(nn.Module):
    """A convolution of the field doubled by nearest neighbours: (B, C, n, ..) → (B, D, 2n, ..).

    Three taps over a field whose neighbours are equal in pairs are two taps over the field itself, so this is
    a transposed convolution with stride 2 and four taps, sums of the three: the same answer from 4/9 of the
    products in two dimensions and 8/27 in three.
    """

    def __init__(self, dims: int, conv: Any):
        """conv: of three taps, with the weights and the bias to use."""
        super().__init__()
        self.conv = conv
        self.transposed = TRANSPOSED[dims]

    def forward(self, x: Float[Tensor, "B C *sizes"]) -> Float[Tensor, "B D *doubled"]:
        return self.carry(x, self.conv.weight, self.conv.bias)

    def carry(
        self, x: Float[Tensor, "B C *sizes"], weight: Tensor, bias: Tensor | None = None
    ) -> Float[Tensor, "B D *doubled"]:
        """The same by another weight (D, C, 3, ..)."""
        weight = weight.transpose(0, 1)
        for axis in range(2, weight.ndim):
            first, second, third = weight.unbind(axis)
            weight = torch.stack((third, second + third, first + second, first), axis)
        return self.transposed(x, weight, bias, stride=2, padding=1)


def crop(h: Float[Tensor, "B C *sizes"], like: Tensor) -> Float[Tensor, "B C *cropped"]:
    """The near corner of h, as large as `like`: what doubling the half of an odd size leaves over goes."""
    for axis in range(2, h.ndim):
        h = h.narrow(axis, 0, like.shape[axis])
    return h


__all__ = ["Block", "Double", "convolution", "crop", "zero"]
