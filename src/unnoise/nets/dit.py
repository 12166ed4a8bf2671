"""The diffusion transformer: cells of a field as tokens, blocks modulated by what the network hears."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.config import choose
from unnoise.nets.attention import Source, attend
from unnoise.nets.cells import cells, coordinates, field
from unnoise.nets.embed import FREQUENCIES, Embedding
from unnoise.nets.layers import zero
from unnoise.nets.net import Net
from unnoise.nets.rotary import Rotary, turn
from unnoise.nets.unet import Sources
from unnoise.tensor import Cond, Float, Tensor

EPSILON = 1e-6  # under the roots of norms
GATES = {"swiglu": True, "gelu": False}
OCTAVES = 4  # of the waves that say where in the field a token lies: the shortest is an eighth of the side long


class DiT(Net):
    """x (B, C, *sizes) → (B, C, *sizes), for fields of any size: a transformer over cells of `patch` pixels a side.

    h ← h + gate·attention((1 + scale)·norm(h) + shift), then the same with a perceptron, where (scale, shift, gate)
    of each block are linear in silu(embedding) and start at 0 (Peebles & Xie, Scalable diffusion models with
    transformers, 2023, Sec. 3.2: adaLN-zero). Queries and keys are normed (Dehghani et al., Scaling vision
    transformers to 22 billion parameters, 2023, Sec. 2) and turned by their places in 1 to 3 dimensions; waves over
    the field say at the entrance where in it a token lies. mlp: SwiGLU (Shazeer, 2020) of 2/3·expand·width, which
    has the weights of a GELU of expand·width.

    The seam: `sources` gives, for each block in turn (each `attention_widths` wide), further keys and values to
    look at, as in the U-Net.
    """

    any_size = True

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        classes: int = 0,
        augment: int = 0,
        width: int = 64,
        depth: int = 4,
        patch: int = 1,
        head_width: int = 32,
        expand: float = 4.0,
        mlp: Literal["swiglu", "gelu"] = "swiglu",
        embed_width: int | None = None,
        features: int | None = None,
        frequencies: tuple[float, float] = FREQUENCIES,
        dropout: float = 0.0,
        hears: Literal["noise", "nothing"] = "noise",
    ):
        super().__init__(shape, classes)
        dims = self.dims("a diffusion transformer")
        embed_width = 4 * width if embed_width is None else embed_width
        if min(width, depth, patch, head_width, embed_width) < 1 or expand <= 0:
            raise ValueError(
                "a diffusion transformer needs width, depth, patch, head_width, embed_width and expand above 0, "
                f"got {width}, {depth}, {patch}, {head_width}, {embed_width} and {expand}"
            )
        if width % head_width:
            raise ValueError(f"heads of {head_width} do not divide a width of {width}")
        self.patch = patch
        self.attention_widths = [width] * depth
        numbers = self.shape[0] * patch**dims
        self.embedding = Embedding(features or 32, embed_width, classes, frequencies, augment, hears)
        self.first = nn.Linear(numbers, width)
        self.place = nn.Linear(2 * OCTAVES * dims, width, bias=False)
        self.rotary = Rotary(dims, head_width)
        self.blocks = nn.ModuleList(Block(width, head_width, expand, mlp, dropout) for _ in range(depth))
        self.modulate = zero(nn.Linear(embed_width, (6 * depth + 2) * width))
        self.last = zero(nn.Linear(width, numbers))

    def forward(
        self,
        x: Float[Tensor, "B C *sizes"],
        noise_level: Float[Tensor, "B"],
        cond: Cond,
        sources: Sources = (),
    ) -> Float[Tensor, "B C *sizes"]:
        numbers = self.modulate(F.silu(self.embedding(noise_level, cond)))
        modulation = numbers.unflatten(1, (-1, 1, self.first.out_features)).unbind(dim=1)  # each (B, 1, width)
        parts = cells(x.to(self.modulate.weight.dtype), self.patch)
        counts = parts.shape[2:]
        h = self.first(parts.flatten(2).transpose(1, 2))
        h = h + self.place(waves(counts, h))
        table = self.rotary(counts, h)
        for i, block in enumerate(self.blocks):
            h = block(h, modulation[6 * i : 6 * i + 6], table, sources[i] if sources else ())
        h = self.last(modulated(h, *modulation[-2:]))
        return field(h.transpose(1, 2).unflatten(2, counts), self.patch, x.shape[2:]).to(x.dtype)


class Block(nn.Module):
    """One attention and one perceptron, each added to the stream through its gate."""

    def __init__(self, width: int, head_width: int, expand: float, mlp: str, dropout: float):
        super().__init__()
        self.attention = TokenAttention(width, head_width)
        self.perceptron = Perceptron(width, expand, mlp, dropout)

    def forward(
        self,
        h: Float[Tensor, "B L width"],
        modulation: Sequence[Tensor],
        table: Float[Tensor, "two L pairs"],
        sources: Sequence[Source] = (),
    ) -> Float[Tensor, "B L width"]:
        scale, shift, gate, scale2, shift2, gate2 = modulation
        h = torch.addcmul(h, gate, self.attention(modulated(h, scale, shift), table, sources))
        return torch.addcmul(h, gate2, self.perceptron(modulated(h, scale2, shift2)))


class TokenAttention(nn.Module):
    """Σ_s softmax(q·k_sᵀ/√d)·v_s over a list of sources, the tokens themselves first.

    Only they have places: a further source is asked with queries that are not turned, its keys are normed as ours.
    """

    def __init__(self, width: int, head_width: int):
        super().__init__()
        self.head_width = head_width
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.norm_queries = nn.LayerNorm(head_width, EPSILON, bias=False)
        self.norm_keys = nn.LayerNorm(head_width, EPSILON, bias=False)

    def forward(
        self, h: Float[Tensor, "B L width"], table: Float[Tensor, "two L pairs"], sources: Sequence[Source] = ()
    ) -> Float[Tensor, "B L width"]:
        queries, keys, values = (self.split(part) for part in self.project_in(h).chunk(3, dim=2))
        queries, keys = self.norm_queries(queries), self.norm_keys(keys)
        answer = attend(turn(queries, table), turn(keys, table), values)
        for source in sources:
            keys, values = self.norm_keys(self.split(source.keys)), self.split(source.values)
            answer = answer + attend(queries, keys, values, source.mask)
        return self.project_out(answer.transpose(1, 2).flatten(2))

    def split(self, tokens: Float[Tensor, "B L width"]) -> Float[Tensor, "B heads L head"]:
        return tokens.unflatten(2, (-1, self.head_width)).transpose(1, 2)


class Perceptron(nn.Module):
    """W_2·(silu(a)·b), (a, b) = W_1·h: SwiGLU; or W_2·gelu(W_1·h)."""

    def __init__(self, width: int, expand: float, mlp: str, dropout: float):
        super().__init__()
        self.gated = choose("mlp", mlp, GATES)
        hidden = max(8, round(expand * width * (2 / 3 if self.gated else 1) / 8) * 8)
        self.first = nn.Linear(width, hidden * (1 + self.gated))
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(hidden, width)

    def forward(self, h: Float[Tensor, "B L width"]) -> Float[Tensor, "B L width"]:
        h = self.first(h)
        if self.gated:
            gate, h = h.chunk(2, dim=2)
            h = F.silu(gate) * h
        else:
            h = F.gelu(h, approximate="tanh")
        return self.second(self.dropout(h))


def modulated(
    h: Float[Tensor, "B L width"], scale: Float[Tensor, "B 1 width"], shift: Float[Tensor, "B 1 width"]
) -> Float[Tensor, "B L width"]:
    """(1 + scale)·norm(h) + shift."""
    return torch.addcmul(shift, F.layer_norm(h, h.shape[2:], eps=EPSILON), 1 + scale)


def waves(counts: Sequence[int], like: Tensor) -> Float[Tensor, "L features"]:
    """Where in a field of so many tokens an axis each lies: sines and cosines of π·2^(k−1)·u, u from −1 to 1."""
    sizes = torch.tensor(counts, dtype=torch.float32)
    u = (2 * coordinates(counts, like.device) + 1) / sizes.to(like.device) - 1
    angles = torch.cat([u * (torch.pi * 2.0 ** (k - 1)) for k in range(OCTAVES)], dim=1)
    return torch.cat((angles.cos(), angles.sin()), dim=1).to(like.dtype)


__all__ = ["DiT"]
