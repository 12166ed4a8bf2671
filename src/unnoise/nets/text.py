"""What is told as a sequence, such as a prompt: read by a small transformer, looked at by every attention."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.nets.attention import Source, attend
from unnoise.nets.heard import Features, Heard, Tokens
from unnoise.tensor import Cond, Float, Int, Tensor

HEAD = 32  # the width of a head, or the whole width where that does not divide it
BEGIN = 1  # the token that stands before every prompt, and alone in one that says nothing


class Read(NamedTuple):
    """What texts say: to each attention its sources, and in all one vector of each text, (B, width)."""

    sources: Sequence[Sequence[Source]] = ()
    vectors: Sequence[Tensor] = ()

    def beside(self, given: Sequence[Sequence[Source]]) -> Sequence[Sequence[Source]]:
        """Its sources and those that are given besides, attention by attention; an empty list is none for all."""
        if not self.sources or not given:
            return self.sources or given
        return [[*own, *more] for own, more in zip(self.sources, given, strict=True)]


class Words(nn.Module):
    """Tokens (B, length), 0 where one is padding → what each says (B, length, width), and where one stands.

    A transformer of `depth` layers that sees the whole prompt; nobody looks at padding, so its length changes nothing.
    """

    def __init__(self, heard: Tokens):
        super().__init__()
        self.width, self.length = heard.width, heard.length
        self.table = nn.Embedding(heard.vocabulary, heard.width)
        self.places = nn.Parameter(torch.randn(heard.length, heard.width) / 2)
        self.layers = nn.ModuleList(Layer(heard.width) for _ in range(heard.depth))
        self.norm = nn.LayerNorm(heard.width)

    def forward(self, leaf: Int[Tensor, "B length"] | None, batch: int) -> tuple[Tensor, Tensor]:
        if leaf is None:
            leaf = torch.full((batch, 1), BEGIN, device=self.places.device)
        if leaf.shape[1] > self.length:
            raise ValueError(f"a prompt has {self.length} tokens at most, got {leaf.shape[1]}")
        h, mask = self.table(leaf) + self.places[: leaf.shape[1]], leaf > 0
        for layer in self.layers:
            h = layer(h, mask)
        return self.norm(h), mask


class Layer(nn.Module):
    """h + attention(norm(h)), then h + W_2·gelu(W_1·norm(h)), with padding left out."""

    def __init__(self, width: int):
        super().__init__()
        self.head = _head(width)
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project_in, self.project_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Float[Tensor, "B L width"], mask: Tensor) -> Float[Tensor, "B L width"]:
        parts = self.project_in(self.norm(h)).chunk(3, dim=2)
        queries, keys, values = (_split(part, self.head) for part in parts)
        h = h + self.project_out(attend(queries, keys, values, mask).transpose(1, 2).flatten(2))
        return h + self.second(F.gelu(self.first(self.norm2(h)), approximate="tanh"))


class Foreign(nn.Module):
    """Features of another encoder (B, length, width + 1), the last column 1 where one stands → (B, 1 + length, inner).

    Encoders differ in scale, so each is normed. Before all stands a first token of our own, alone where none do; to it
    the mean of the others is added: it tells the whole.
    """

    def __init__(self, heard: Features):
        super().__init__()
        self.width = heard.inner
        self.begin = nn.Parameter(torch.randn(heard.inner))
        self.norm = nn.LayerNorm(heard.width, elementwise_affine=False)
        self.project = nn.Linear(heard.width, heard.inner)
        self.norm2 = nn.LayerNorm(heard.inner)

    def forward(self, leaf: Float[Tensor, "B length told"] | None, batch: int) -> tuple[Tensor, Tensor]:
        begin = self.begin.expand(batch, 1, -1)
        if leaf is None:
            return self.norm2(begin), begin.new_ones(batch, 1, dtype=torch.bool)
        told, mask = self.project(self.norm(leaf[..., :-1].to(self.begin.dtype))), leaf[..., -1] > 0
        stands = mask.unsqueeze(2).to(told.dtype)
        whole = begin + (told * stands).sum(1, keepdim=True) / stands.sum(1, keepdim=True).clamp(min=1)
        return self.norm2(torch.cat((whole, told), dim=1)), F.pad(mask, (1, 0), value=True)


READERS: Mapping[type, type[Words] | type[Foreign]] = {Tokens: Words, Features: Foreign}


class Texts(nn.Module):
    """All that is told as a sequence: keys and values for every attention, and one vector of each.

    widths: of the attentions, in the order of the pass; embed_width: of the vector, which the first token tells.
    """

    def __init__(self, heard: Mapping[str, Heard], widths: Sequence[int], embed_width: int):
        super().__init__()
        self.names = sorted(name for name, one in heard.items() if type(one) in READERS)
        made = [READERS[type(heard[name])](heard[name]) for name in self.names]  # pyright: ignore
        self.readers = nn.ModuleList(made)
        self.pools = nn.ModuleList(nn.Linear(one.width, embed_width) for one in made)
        self.looks = nn.ModuleList(nn.ModuleList(nn.Linear(one.width, 2 * width) for width in widths) for one in made)

    def forward(self, cond: Cond, batch: int) -> Read:
        read = [reader(cond.get(name), batch) for name, reader in zip(self.names, self.readers, strict=True)]
        vectors = [pool(tokens[:, 0]) for pool, (tokens, _) in zip(self.pools, read, strict=True)]
        sources = [
            [_source(look(tokens), mask) for look, (tokens, mask) in zip(looks, read, strict=True)]
            for looks in zip(*self.looks, strict=True)
        ]
        return Read(sources, vectors)


def _source(both: Float[Tensor, "B L twice"], mask: Tensor) -> Source:
    keys, values = both.chunk(2, dim=2)
    return Source(keys, values, mask if mask.shape[1] > 1 else None)


class Look(nn.Module):
    """h + W_o·Σ_s softmax(q·k_sᵀ/√d)·v_s, q = W_q·norm(h): an item of one token looks at sources."""

    def __init__(self, width: int):
        super().__init__()
        self.head = _head(width)
        self.norm = nn.LayerNorm(width)
        self.ask, self.project_out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h: Float[Tensor, "B width"], sources: Sequence[Source]) -> Float[Tensor, "B width"]:
        queries = _split(self.ask(self.norm(h)).unsqueeze(1), self.head)
        answer = torch.zeros_like(queries)
        for source in sources:
            keys, values = _split(source.keys, self.head), _split(source.values, self.head)
            answer = answer + source.weigh(attend(queries, keys, values, source.mask))
        return h + self.project_out(answer.transpose(1, 2).flatten(1))


def texts(heard: Mapping[str, Heard], widths: Sequence[int], embed_width: int) -> Texts | None:
    """The conditions of these that are a sequence; None where there are none, and no weights either."""
    made = Texts(heard, widths, embed_width)
    return made if made.names else None


def _head(width: int) -> int:
    return width if width % HEAD else HEAD


def _split(tokens: Float[Tensor, "B L width"], head: int) -> Float[Tensor, "B heads L head"]:
    return tokens.unflatten(2, (-1, head)).transpose(1, 2)


__all__ = ["Foreign", "Look", "Read", "Texts", "Words", "texts"]
