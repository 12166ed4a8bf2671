"""Layers that preserve magnitudes: what comes in with unit variance goes out with it, however large the weights.

After Karras et al., Analyzing and improving the training dynamics of diffusion models, 2024 (EDM2), Sec. 2 and
App. B: equations are theirs. No layer has a bias, no norm stands in the way; a network of such layers cannot drift in
magnitude as it trains, so the learning rate alone says how fast it learns.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.nets.attention import Source, attend
from unnoise.nets.heard import Heard
from unnoise.nets.hearing import vectors
from unnoise.nets.waves import FREQUENCIES, Sinusoids
from unnoise.tensor import Cond, Float, Tensor

SILU, GELU = 0.596, 0.652  # root mean squares of silu(x) and gelu(x), x ~ N(0, 1)
BRANCH = 0.3  # share of a residual branch in the sum with its stream
EPSILON = 1e-4
CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def normed(x: Float[Tensor, "*dims"], axes: int | Sequence[int]) -> Float[Tensor, "*dims"]:
    """x over the root of the mean of its squares along the axes (Eq. 30); found in float32 or finer."""
    axes = [axes] if isinstance(axes, int) else list(axes)
    wide = torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype
    length = torch.linalg.vector_norm(x, dim=axes, keepdim=True, dtype=wide)
    return x / (EPSILON + length * sqrt(length.numel() / max(x.numel(), 1))).to(x.dtype)


def silu(x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
    """silu(x)/0.596 (Eq. 81)."""
    return F.silu(x) / SILU


def blend(a: Float[Tensor, "*dims"], b: Float[Tensor, "*dims"], share: float) -> Float[Tensor, "*dims"]:
    """((1 − share)·a + share·b)/√((1 − share)² + share²) (Eq. 88): unit variance, where a and b are strangers."""
    norm = sqrt((1 - share) ** 2 + share**2)
    return torch.add(a * ((1 - share) / norm), b, alpha=share / norm)


def join(a: Float[Tensor, "B C *sizes"], b: Float[Tensor, "B D *sizes"]) -> Float[Tensor, "B E *sizes"]:
    """a and b as the channels of one field, scaled so that each adds half of its squares (Eq. 103)."""
    n, m = a.shape[1], b.shape[1]
    half = sqrt((n + m) / 2)
    return torch.cat((a * (half / sqrt(n)), b * (half / sqrt(m))), dim=1)


class Unit(nn.Module):
    """A linear map (dims 0) or convolution whose weights are rows of norm 1, so that strangers of unit variance
    become such again (Eq. 47 and 66).

    Training sees the directions; `constrain` puts them back on their sphere after a step, or else their growth
    would slow them down. constant: a channel of ones joins x, in place of a bias. silent: the answer is multiplied
    by a learned gain that starts at 0.
    """

    bias = None

    def __init__(
        self,
        before: int,
        after: int,
        dims: int = 0,
        kernel: int = 1,
        stride: int = 1,
        *,
        constant: bool = False,
        silent: bool = False,
    ):
        super().__init__()
        self.directions = nn.Parameter(torch.randn(after, before + constant, *(kernel,) * dims))
        self.dims, self.stride, self.padding, self.constant = dims, stride, kernel // 2, constant
        self.gain = nn.Parameter(torch.zeros(())) if silent else None

    @property
    def weight(self) -> Tensor:
        """The directions as they are used: each row of norm 1, and times the gain."""
        fan_in = self.directions[0].numel()
        scale = 1 / sqrt(fan_in) if self.gain is None else self.gain / sqrt(fan_in)
        return normed(self.directions, range(1, self.directions.ndim)) * scale

    def forward(self, x: Tensor) -> Tensor:
        return self.carry(x, self.weight)

    def carry(self, x: Tensor, weight: Tensor) -> Tensor:
        """The same by another weight: the map of x and, where there is one, of the constant channel."""
        if self.constant:
            axis = 1 if self.dims else x.ndim - 1
            x = torch.cat((x, torch.ones_like(x.narrow(axis, 0, 1))), dim=axis)
        if not self.dims:
            return F.linear(x, weight)
        return CONVOLVE[self.dims](x, weight, stride=self.stride, padding=self.padding)

    @torch.no_grad()
    def constrain(self) -> None:
        """Gives every row a mean square of 1, which changes no answer."""
        self.directions.copy_(normed(self.directions, range(1, self.directions.ndim)))


def units(net: nn.Module) -> list[Unit]:
    """All the layers of a network that keep to their sphere."""
    return [part for part in net.modules() if isinstance(part, Unit)]


class PreservingBlock(nn.Module):
    """blend(x, conv(dropout(silu((1 + modulation)·conv(silu(x))))), 0.3), the U-Net's block in this manner.

    inward: on the way down, x is normed along its channels first; on the way up it is left as it is (App. B.3).
    """

    def __init__(self, dims: int, before: int, after: int, *, inward: bool, dropout: float):
        super().__init__()
        self.inward = inward
        self.modulated = after
        self.skip = Unit(before, after, dims) if before != after else None
        self.conv1 = Unit(after if inward else before, after, dims, 3)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = Unit(after, after, dims, 3)

    def forward(
        self, x: Float[Tensor, "B before *sizes"], modulation: Float[Tensor, "B after"]
    ) -> Float[Tensor, "B after *sizes"]:
        skipped = x if self.skip is None else self.skip(x)
        if self.inward:
            x = skipped = normed(skipped, 1)
        h = self.conv1(silu(x)) * (1 + modulation.reshape(*modulation.shape, *(1,) * (x.ndim - 2)))
        return blend(skipped, self.conv2(self.dropout(silu(h))), BRANCH)


class PreservingAttention(nn.Module):
    """blend(x, project(Σ_s softmax(q·k_sᵀ/√d)·v_s), 0.3): queries, keys and values have unit squares (App. B.2)."""

    def __init__(self, width: int, *, head_width: int):
        super().__init__()
        if width % head_width:
            raise ValueError(f"heads of {head_width} do not divide a width of {width}")
        self.head_width = head_width
        self.project_in = Unit(width, 3 * width)
        self.project_out = Unit(width, width)

    def forward(
        self, x: Float[Tensor, "B width *sizes"], sources: Sequence[Source] = ()
    ) -> Float[Tensor, "B width *sizes"]:
        tokens = x.flatten(2).transpose(1, 2)
        queries, keys, values = (self.split(part) for part in self.project_in(tokens).chunk(3, dim=2))
        answer = attend(queries, keys, values)
        for source in sources:
            found = attend(queries, self.split(source.keys), self.split(source.values), source.mask)
            answer = answer + source.weigh(found)
        answer = self.project_out(answer.transpose(1, 2).flatten(2))
        return blend(x, answer.transpose(1, 2).reshape(x.shape), BRANCH)

    def split(self, tokens: Float[Tensor, "B L width"]) -> Float[Tensor, "B heads L head"]:
        return normed(tokens.unflatten(2, (-1, self.head_width)).transpose(1, 2), 3)


class PreservingEmbedding(nn.Module):
    """The conditions as one vector of unit variance per item: noise level and label in equal shares (App. B.1).

    heard: further conditions; all that are told have the label's share together, each as much as the next.
    """

    def __init__(
        self,
        features: int,
        width: int,
        classes: int,
        frequencies: Sequence[float] = FREQUENCIES,
        augment: int = 0,
        hears: str = "noise",
        heard: Mapping[str, Heard] | None = None,
    ):
        super().__init__()
        self.classes = classes
        self.sinusoids = Sinusoids(features, frequencies, hears)
        self.first = Unit(features, width)
        self.second = Unit(width, width)
        self.labels = nn.Embedding(classes + 1, width) if classes else None
        self.told = Unit(augment, width, silent=True) if augment else None
        self.others = vectors(heard or {}, width)

    def forward(
        self, noise_level: Float[Tensor, "B"], cond: Cond, read: Sequence[Tensor] = ()
    ) -> Float[Tensor, "B width"]:
        waves = sqrt(2) * self.sinusoids(noise_level).to(self.first.directions.dtype)
        embedding = self.second(silu(self.first(waves)))
        told = cond.get("augment")
        if self.told is not None and told is not None:
            embedding = embedding + self.told(told.to(embedding.dtype))
        others = () if self.others is None else self.others(cond, len(noise_level))
        given = [normed(one, 1) for one in (*read, *others)]
        if self.labels is not None:
            label = cond.get("label")
            rows = self.labels.weight[self.classes :] if label is None else self.labels(label)
            given.append(normed(rows, 1).expand_as(embedding))
        if not given:
            return embedding
        return blend(embedding, given[0] if len(given) == 1 else torch.stack(given).sum(0) / sqrt(len(given)), 0.5)


class Modulation(nn.Module):
    """What each block hears: unit vectors times a gain for each block, which starts at 0."""

    def __init__(self, before: int, counts: Sequence[int]):
        super().__init__()
        self.counts = list(counts)
        self.linear = Unit(before, sum(counts))
        self.gains = nn.Parameter(torch.zeros(len(self.counts)))

    def forward(self, embedding: Float[Tensor, "B width"]) -> Float[Tensor, "B all"]:
        gains = torch.cat([gain.expand(count) for gain, count in zip(self.gains, self.counts, strict=True)])
        return self.linear(embedding) * gains


__all__ = [
    "Modulation",
    "PreservingAttention",
    "PreservingBlock",
    "PreservingEmbedding",
    "Unit",
    "blend",
    "join",
    "normed",
    "silu",
    "units",
]
