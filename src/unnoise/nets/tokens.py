"""The parts of a transformer: attention with places, perceptron, and the blocks of both manners."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.config import choose
from unnoise.nets.attention import Source, attend
from unnoise.nets.preserving import BRANCH, GELU, Unit, blend, normed, silu
from unnoise.nets.rotary import turn
from unnoise.tensor import Float, Tensor

EPSILON = 1e-6  # under the roots of norms
GATES = {"swiglu": True, "gelu": False}


def linear(before: int, after: int, preserving: bool) -> nn.Module:
    """A map of tokens: its first weights keep the variance in the mean of both directions (Glorot & Bengio, 2010)."""
    if preserving:
        return Unit(before, after)
    layer = nn.Linear(before, after)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def modulated(
    h: Float[Tensor, "B L width"], scale: Float[Tensor, "B 1 width"], shift: Float[Tensor, "B 1 width"]
) -> Float[Tensor, "B L width"]:
    """(1 + scale)·norm(h) + shift."""
    return torch.addcmul(shift, F.layer_norm(h, h.shape[2:], eps=EPSILON), 1 + scale)


class TokenBlock(nn.Module):
    """h + gate·attention(modulated h), then the same with a perceptron (adaLN).

    modulation: (scale, shift, gate) of both, each (B, 1, width).
    """

    def __init__(self, width: int, head_width: int, expand: float, mlp: str, dropout: float):
        super().__init__()
        self.attention = TokenAttention(width, head_width, preserving=False)
        self.perceptron = Perceptron(width, expand, mlp, dropout, preserving=False)

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


class PreservingTokenBlock(nn.Module):
    """blend(h, attention((1 + scale)·h), 0.3), then the same with a perceptron, from h normed token by token.

    modulation: the scale of both, each (B, 1, width).
    """

    def __init__(self, width: int, head_width: int, expand: float, mlp: str, dropout: float):
        super().__init__()
        self.attention = TokenAttention(width, head_width, preserving=True)
        self.perceptron = Perceptron(width, expand, mlp, dropout, preserving=True)

    def forward(
        self,
        h: Float[Tensor, "B L width"],
        modulation: Sequence[Tensor],
        table: Float[Tensor, "two L pairs"],
        sources: Sequence[Source] = (),
    ) -> Float[Tensor, "B L width"]:
        scale, scale2 = modulation
        h = normed(h, 2)
        h = blend(h, self.attention(h * (1 + scale), table, sources), BRANCH)
        return blend(h, self.perceptron(h * (1 + scale2)), BRANCH)


class TokenAttention(nn.Module):
    """Σ_s softmax(q·k_sᵀ/√d)·v_s over a list of sources, the tokens themselves first.

    Queries and keys are normed. Only the tokens have places: a further source is asked with queries that are not
    turned, and its keys are normed as ours.
    """

    def __init__(self, width: int, head_width: int, preserving: bool):
        super().__init__()
        self.head_width = head_width
        self.project_in = linear(width, 3 * width, preserving)
        self.project_out = linear(width, width, preserving)
        norms = [Normed() if preserving else nn.LayerNorm(head_width, EPSILON, bias=False) for _ in range(2)]
        self.norm_queries, self.norm_keys = norms
        self.norm_values = Normed() if preserving else nn.Identity()

    def forward(
        self, h: Float[Tensor, "B L width"], table: Float[Tensor, "two L pairs"], sources: Sequence[Source] = ()
    ) -> Float[Tensor, "B L width"]:
        queries, keys, values = (self.split(part) for part in self.project_in(h).chunk(3, dim=2))
        queries, keys = self.norm_queries(queries), self.norm_keys(keys)
        answer = attend(turn(queries, table), turn(keys, table), self.norm_values(values))
        for source in sources:
            keys, values = self.norm_keys(self.split(source.keys)), self.norm_values(self.split(source.values))
            answer = answer + source.weigh(attend(queries, keys, values, source.mask))
        return self.project_out(answer.transpose(1, 2).flatten(2))

    def split(self, tokens: Float[Tensor, "B L width"]) -> Float[Tensor, "B heads L head"]:
        return tokens.unflatten(2, (-1, self.head_width)).transpose(1, 2)


class Normed(nn.Module):
    """Unit squares along the last axis."""

    def forward(self, x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        return normed(x, x.ndim - 1)


class Perceptron(nn.Module):
    """W_2·(silu(a)·b), (a, b) = W_1·h: SwiGLU; or W_2·gelu(W_1·h)."""

    def __init__(self, width: int, expand: float, mlp: str, dropout: float, preserving: bool):
        super().__init__()
        self.gated, self.preserving = choose("mlp", mlp, GATES), preserving
        hidden = max(8, round(expand * width * (2 / 3 if self.gated else 1) / 8) * 8)
        self.first = linear(width, hidden * (1 + self.gated), preserving)
        self.dropout = nn.Dropout(dropout)
        self.second = linear(hidden, width, preserving)

    def forward(self, h: Float[Tensor, "B L width"]) -> Float[Tensor, "B L width"]:
        h = self.first(h)
        if self.gated:
            gate, h = h.chunk(2, dim=2)
            h = h * (silu(gate) if self.preserving else F.silu(gate))
        else:
            h = F.gelu(h, approximate="tanh") / (GELU if self.preserving else 1.0)
        return self.second(self.dropout(h))


__all__ = ["Perceptron", "PreservingTokenBlock", "TokenAttention", "TokenBlock", "linear", "modulated"]
