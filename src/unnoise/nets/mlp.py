"""A residual perceptron for points and rows of tables."""

from collections.abc import Mapping
from math import prod
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.nets import presets
from unnoise.nets.embed import FREQUENCIES, Embedding
from unnoise.nets.heard import Heard
from unnoise.nets.net import Net
from unnoise.nets.text import Look, texts
from unnoise.nets.waves import Waves
from unnoise.tensor import Cond, Float, Tensor


class MLP(Net):
    """x (B, *shape) → (B, *shape): `depth` residual blocks of `width`, each modulated by the embedding.

    h ← h + W_2·silu(W_1·((1 + scale)·norm(h) + shift)), with (scale, shift) linear in silu(embedding).

    waves: how many random waves of `bandwidth` (in units of 1/x) stand beside x at the entrance; by default
    32 where an item has 3 numbers or fewer, and none above, where fixed directions would be too few.
    """

    presets = presets.MLP

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        classes: int = 0,
        augment: int = 0,
        answers: int = 1,
        heard: Mapping[str, Heard] | None = None,
        width: int = 256,
        depth: int = 4,
        waves: int | None = None,
        bandwidth: float = 3.0,
        features: int = 32,
        embed_width: int = 64,
        frequencies: tuple[float, float] = FREQUENCIES,
        dropout: float = 0.0,
        hears: Literal["noise", "nothing"] = "noise",
    ):
        super().__init__(shape, classes, answers, heard)
        if min(depth, width, embed_width) < 1:
            raise ValueError(
                f"a perceptron needs width, depth and embed_width of 1 or more, got {width}, {depth}, {embed_width}"
            )
        size = prod(self.shape)
        if waves is None:
            waves = 32 if size <= 3 else 0
        if waves < 0:
            raise ValueError(f"waves are 0 or more, got {waves}")
        self.embed = Embedding(features, embed_width, classes, frequencies, augment, hears, self.heard)
        self.waves = Waves(size, waves, bandwidth) if waves else nn.Identity()
        told = (self.channels - self.shape[0]) * prod(self.shape[1:])  # numbers of the fields beside x
        self.first = nn.Linear(size + told + 2 * waves, width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
        self.modulate = nn.Linear(embed_width, 2 * width * depth)
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, answers * size)
        self.texts = texts(self.heard, [width] * depth, embed_width)
        self.looks = nn.ModuleList(Look(width) for _ in range(depth if self.texts is not None else 0))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(
        self, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond
    ) -> Float[Tensor, "B told *sizes"]:
        read = self.read(cond, len(x))
        embedding = F.silu(self.embed(noise_level, cond, read.vectors))
        modulation = self.modulate(embedding).chunk(2 * len(self.blocks), dim=1)
        told = self.joined(x, cond).flatten(1)[:, x[0].numel() :]
        h = self.first(torch.cat((self.waves(x.flatten(1)), told), dim=1).to(self.first.weight.dtype))
        for i, block in enumerate(self.blocks):
            h = block(h, modulation[2 * i], modulation[2 * i + 1])
            h = self.looks[i](h, read.sources[i]) if read.sources else h
        return self.last(F.silu(self.norm(h))).reshape(len(x), self.answers * x.shape[1], *x.shape[2:]).to(x.dtype)


class Block(nn.Module):
    """One residual step of the perceptron."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, h: Float[Tensor, "B width"], scale: Float[Tensor, "B width"], shift: Float[Tensor, "B width"]
    ) -> Float[Tensor, "B width"]:
        inner = self.first(torch.addcmul(shift, self.norm(h), 1 + scale))
        return h + self.second(self.dropout(F.silu(inner)))


__all__ = ["MLP"]
