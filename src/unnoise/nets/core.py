"""A block of a transformer in the middle of a U-Net, over the cells of its coarsest level."""

from collections.abc import Sequence

import torch
from torch import nn

from unnoise.nets.attention import Source
from unnoise.nets.rotary import Rotary
from unnoise.nets.tokens import PreservingTokenBlock, TokenBlock
from unnoise.tensor import Float, Tensor


class Core(nn.Module):
    """h + g·attention((1 + scale)·norm(h) + shift), then the same with a perceptron; cells are tokens with places.

    g, a number a channel of either part, starts at 0 (Touvron et al., Going deeper with image transformers, 2021,
    Eq. 4), so that the U-Net starts as one without; preserving: the transformer's preserving block, whose modulation is
    scale alone. modulated: how many numbers it takes of what the network hears; extra sources as `TokenAttention`.
    """

    def __init__(self, dims: int, width: int, head_width: int, dropout: float, preserving: bool):
        super().__init__()
        self.width, self.modulated = width, (2 if preserving else 4) * width
        self.block = (PreservingTokenBlock if preserving else TokenBlock)(width, head_width, 4.0, "swiglu", dropout)
        self.gains = None if preserving else nn.Parameter(torch.zeros(2, width))
        self.rotary = Rotary(dims, head_width)

    def forward(
        self, x: Float[Tensor, "B width *sizes"], modulation: Float[Tensor, "B modulated"], sources: Sequence[Source]
    ) -> Float[Tensor, "B width *sizes"]:
        tokens = x.flatten(2).transpose(1, 2)
        heard = list(modulation.unflatten(1, (-1, 1, self.width)).unbind(dim=1))  # each (B, 1, width)
        if self.gains is not None:
            gain, gain2 = self.gains.to(tokens.dtype)
            heard = [*heard[:2], gain, *heard[2:], gain2]
        tokens = self.block(tokens, heard, self.rotary(x.shape[2:], tokens), sources)
        return tokens.transpose(1, 2).reshape(x.shape)


__all__ = ["Core"]
