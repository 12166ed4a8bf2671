"""Attention over a list of sources: the field itself, and whatever else it is given to look at."""

from collections.abc import Sequence
from math import gcd
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.tensor import Float, Tensor, align

# On a processor the fused kernel is slow in half precision, above all in its backward: over 256 tokens three
# plain products train 3 to 8 times as fast. Past a few hundred tokens the table of scores falls out of the
# cache and the fused kernel wins again; in float32 it always does.
MOST_TOKENS = 512
SCORES = 2**21  # entries of the table at a time


class Source(NamedTuple):
    """Where attention may look beside the field itself: keys and values, already as wide as the block.

    keys, values: (B, tokens, width); mask: (B, tokens), true where a token stands; strength: (B,), which the source's
    answer is multiplied by, 1 if None.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None = None
    strength: Tensor | None = None

    def weigh(self, answer: Float[Tensor, "B *dims"]) -> Float[Tensor, "B *dims"]:
        """What attention found in the source, times its strength."""
        return answer if self.strength is None else answer * align(self.strength, answer).to(answer.dtype)


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
        answer = attend(queries, self.split(keys), self.split(values))
        for source in sources:
            found = attend(queries, self.split(source.keys), self.split(source.values), source.mask)
            answer = answer + source.weigh(found)
        answer = self.project_out(answer.transpose(1, 2).flatten(2))
        return x + answer.transpose(1, 2).reshape(x.shape)

    def split(self, tokens: Float[Tensor, "B L width"]) -> Float[Tensor, "B heads L head"]:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


def attend(
    queries: Float[Tensor, "B heads L head"],
    keys: Float[Tensor, "B heads M head"],
    values: Float[Tensor, "B heads M head"],
    mask: Tensor | None = None,
) -> Float[Tensor, "B heads L head"]:
    """softmax(q·kᵀ/√d)·v, by whichever road is the quicker one; mask: (B, M), true where a token stands."""
    allowed = None if mask is None else mask.unsqueeze(1).unsqueeze(2)
    if not _explicit(queries, keys):
        return F.scaled_dot_product_attention(queries, keys, values, allowed)
    if allowed is not None:
        scores = torch.matmul(queries * queries.shape[3] ** -0.5, keys.transpose(2, 3))
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        return torch.matmul(scores.softmax(dim=3) * allowed, values)  # nothing, where none stands
    queries = queries * queries.shape[3] ** -0.5
    items = max(1, SCORES // (queries.shape[1] * queries.shape[2] * keys.shape[2]))
    parts = zip(queries.split(items), keys.split(items), values.split(items), strict=True)
    answers = [torch.matmul(torch.matmul(q, k.transpose(2, 3)).softmax(dim=3), v) for q, k, v in parts]
    return answers[0] if len(answers) == 1 else torch.cat(answers)


def _explicit(queries: Tensor, keys: Tensor) -> bool:
    half = queries.device.type == "cpu" and queries.dtype != torch.float32
    return half and max(queries.shape[2], keys.shape[2]) <= MOST_TOKENS


__all__ = ["Attention", "Source", "attend"]
