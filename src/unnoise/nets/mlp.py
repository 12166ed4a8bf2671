"""A residual perceptron for points and rows of tables."""

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.nets.embed import FREQUENCIES, Embedding
from unnoise.nets.net import Net
from unnoise.tensor import Cond, Float, Tensor


class MLP(Net):
    """x (B, ..shape) → (B, ..shape): `depth` residual blocks of `width`, each modulated by the embedding.

    h ← h + W_2·silu((1 + scale)·norm(W_1·silu(norm(h))) + shift), with (scale, shift) linear in silu(e).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        classes: int = 0,
        width: int = 256,
        depth: int = 4,
        features: int = 64,
        embed_width: int = 128,
        frequencies: tuple[float, float] = FREQUENCIES,
        dropout: float = 0.0,
    ):
        super().__init__(shape, classes)
        size = 1
        for extent in self.shape:
            size *= extent
        self.embed = Embedding(features, embed_width, classes, frequencies)
        self.first = nn.Linear(size, width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
        self.modulate = nn.Linear(embed_width, 2 * width * depth)
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, size)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(
        self, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond
    ) -> Float[Tensor, "B C *sizes"]:
        embedding = F.silu(self.embed(noise_level, cond))
        modulation = self.modulate(embedding).chunk(2 * len(self.blocks), dim=1)
        h = self.first(x.flatten(1).to(self.first.weight.dtype))
        for i, block in enumerate(self.blocks):
            h = block(h, modulation[2 * i], modulation[2 * i + 1])
        return self.last(F.silu(self.norm(h))).reshape(x.shape).to(x.dtype)


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
        inner = torch.addcmul(shift, self.norm(h), 1 + scale)
        inner = self.first(inner)
        return h + self.second(self.dropout(F.silu(inner)))


__all__ = ["MLP"]
