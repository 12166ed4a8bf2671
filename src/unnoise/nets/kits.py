"""The two manners in which a network is built: plainly, with norms and biases; or of parts that preserve magnitudes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.nets import preserving
from unnoise.nets.attention import Attention
from unnoise.nets.core import Core
from unnoise.nets.embed import Embedding
from unnoise.nets.layers import Block, Double, convolution, zero
from unnoise.nets.preserving import Modulation, PreservingAttention, PreservingBlock, PreservingEmbedding, Unit
from unnoise.tensor import Float, Tensor


@dataclass(frozen=True)
class Kit(ABC):
    """The parts of a convolutional network over fields of `dims` axes."""

    dims: int
    head_width: int
    groups: int
    epsilon: float
    modulation: str
    dropout: float

    @abstractmethod
    def embedding(self, *arguments: Any) -> nn.Module: ...  # as `Embedding` takes them

    @abstractmethod
    def modulate(self, width: int, counts: Sequence[int]) -> nn.Module: ...  # → (B, sum(counts))

    @abstractmethod
    def first(self, before: int, after: int) -> nn.Module: ...

    @abstractmethod
    def block(self, before: int, after: int, inward: bool) -> Any: ...  # has `modulated`, its share of the modulation

    @abstractmethod
    def attention(self, width: int) -> nn.Module: ...

    @abstractmethod
    def core(self, before: int, width: int, depth: int, embed_width: int) -> Core: ...

    @abstractmethod
    def halve(self, width: int) -> nn.Module: ...

    @abstractmethod
    def double(self, width: int) -> nn.Module: ...

    @abstractmethod
    def norm(self, width: int) -> nn.Module | None: ...  # before the last layer

    @abstractmethod
    def last(self, before: int, after: int) -> nn.Module: ...

    @abstractmethod
    def silu(self, x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]: ...

    @abstractmethod
    def join(self, h: Tensor, skip: Tensor) -> Tensor: ...


class Plain(Kit):
    """Group norms, biases, and a last layer of zeros."""

    def embedding(self, *arguments: Any) -> nn.Module:
        return Embedding(*arguments)

    def modulate(self, width: int, counts: Sequence[int]) -> nn.Module:
        return nn.Linear(width, sum(counts))

    def first(self, before: int, after: int) -> nn.Module:
        return convolution(self.dims, before, after)

    def block(self, before: int, after: int, inward: bool) -> Any:
        return Block(
            self.dims,
            before,
            after,
            groups=self.groups,
            epsilon=self.epsilon,
            modulation=self.modulation,
            dropout=self.dropout,
        )

    def attention(self, width: int) -> nn.Module:
        return Attention(width, head_width=self.head_width, groups=self.groups, epsilon=self.epsilon)

    def core(self, before: int, width: int, depth: int, embed_width: int) -> Core:
        return Core(self.dims, before, width, depth, embed_width, self.head_width, self.dropout, preserving=False)

    def halve(self, width: int) -> nn.Module:
        return convolution(self.dims, width, width, stride=2)

    def double(self, width: int) -> nn.Module:
        return Double(self.dims, convolution(self.dims, width, width))

    def norm(self, width: int) -> nn.Module | None:
        return nn.GroupNorm(gcd(self.groups, width), width, self.epsilon)

    def last(self, before: int, after: int) -> nn.Module:
        return zero(convolution(self.dims, before, after))

    def silu(self, x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        return F.silu(x)

    def join(self, h: Tensor, skip: Tensor) -> Tensor:
        return torch.cat((h, skip), dim=1)


class Preserving(Kit):
    """Weights of norm 1, sums and joins that keep the magnitude; groups, epsilon and modulation say nothing here."""

    def embedding(self, *arguments: Any) -> nn.Module:
        return PreservingEmbedding(*arguments)

    def modulate(self, width: int, counts: Sequence[int]) -> nn.Module:
        return Modulation(width, counts)

    def first(self, before: int, after: int) -> nn.Module:
        return Unit(before, after, self.dims, 3, constant=True)

    def block(self, before: int, after: int, inward: bool) -> Any:
        return PreservingBlock(self.dims, before, after, inward=inward, dropout=self.dropout)

    def attention(self, width: int) -> nn.Module:
        return PreservingAttention(width, head_width=self.head_width)

    def core(self, before: int, width: int, depth: int, embed_width: int) -> Core:
        return Core(self.dims, before, width, depth, embed_width, self.head_width, self.dropout, preserving=True)

    def halve(self, width: int) -> nn.Module:
        return Unit(width, width, self.dims, 3, stride=2)

    def double(self, width: int) -> nn.Module:
        return Double(self.dims, Unit(width, width, self.dims, 3))

    def norm(self, width: int) -> nn.Module | None:
        return None

    def last(self, before: int, after: int) -> nn.Module:
        return Unit(before, after, self.dims, 3, silent=True)

    def silu(self, x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        return preserving.silu(x)

    def join(self, h: Tensor, skip: Tensor) -> Tensor:
        return preserving.join(h, skip)


__all__ = ["Kit", "Plain", "Preserving"]
