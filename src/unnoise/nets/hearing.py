"""Conditions that are one vector an item: labels as rows of a table, numbers as waves; and fields beside x."""

from collections.abc import Mapping

import torch
from torch import nn

from unnoise.nets.heard import Channels, Heard, Labels, Numbers
from unnoise.nets.waves import Sinusoids
from unnoise.tensor import Cond, Float, Int, Tensor

# A standardised number lies in about [-3, 3]: the slowest wave tells its two ends apart, the quickest a twentieth of a
# deviation; anything finer is for the layers to find.
FREQUENCIES = (8.0, 0.25)
WAVES = 32


class Rows(nn.Module):
    """Σ_k table[k, label_k] over the places of a label, (B,) or (B, many) in 0 .. count → (B, width); no leaf: null.

    The table's last row of each place says nothing. A sum of `many` strangers is divided by √many.
    """

    def __init__(self, heard: Labels, width: int, std: float = 0.5):
        super().__init__()
        self.count, self.many = heard.count, heard.many
        self.table = nn.Embedding(heard.many * (heard.count + 1), width)
        nn.init.normal_(self.table.weight, std=std)

    def forward(self, leaf: Int[Tensor, "B *many"] | None, batch: int) -> Float[Tensor, "B width"]:
        first = (self.count + 1) * torch.arange(self.many, device=self.table.weight.device)
        places = first + self.count if leaf is None else leaf.reshape(len(leaf), self.many) + first
        total = self.table(places).sum(-2) * self.many**-0.5
        return total.expand(batch, -1)


class Values(nn.Module):
    """Σ_k given_k·(W_k·waves(value_k) + b_k) + (1 − given_k)·n_k → (B, width); leaf (B, count, 2), none: all null.

    Divided by √count, as of `Rows`. (Fourier features: Tancik et al., 2020, as in nets.waves.Waves.)
    """

    def __init__(self, heard: Numbers, width: int):
        super().__init__()
        self.count = heard.count
        self.waves = Sinusoids(WAVES, FREQUENCIES)
        self.weight = nn.Parameter(torch.randn(heard.count, WAVES, width) * (2 / WAVES) ** 0.5 / 2)
        self.bias = nn.Parameter(torch.zeros(heard.count, width))
        self.null = nn.Parameter(torch.randn(heard.count, width) / 2)

    def forward(self, leaf: Float[Tensor, "B count 2"] | None, batch: int) -> Float[Tensor, "B width"]:
        scale = self.count**-0.5
        if leaf is None:
            return (self.null.sum(0) * scale).expand(batch, -1)
        value, given = leaf.unbind(2)
        waves = self.waves(value.flatten()).unflatten(0, value.shape).to(self.weight.dtype)
        told = torch.einsum("bkf,kfw->bkw", waves, self.weight) + self.bias
        return torch.where(given.unsqueeze(2) > 0, told, self.null).sum(1) * scale


KINDS: Mapping[type, type[Rows] | type[Values]] = {Labels: Rows, Numbers: Values}


class Vectors(nn.Module):
    """Every condition that is a vector, in the order of their names: each (B, width)."""

    def __init__(self, heard: Mapping[str, Heard], width: int):
        super().__init__()
        self.names = sorted(name for name, one in heard.items() if type(one) in KINDS)
        made = {_key(name): KINDS[type(heard[name])](heard[name], width) for name in self.names}  # pyright: ignore
        self.of = nn.ModuleDict(made)

    def forward(self, cond: Cond, batch: int) -> list[Tensor]:
        return [self.of[_key(name)](cond.get(name), batch) for name in self.names]


def vectors(heard: Mapping[str, Heard], width: int) -> Vectors | None:
    """The conditions of these that are a vector; None where there are none, and no weights either."""
    made = Vectors(heard, width)
    return made if made.names else None


def fields(heard: Mapping[str, Heard]) -> dict[str, int]:
    """The conditions that are fields beside x, and how many channels each has, in the order of their names."""
    return {name: one.count for name, one in sorted(heard.items()) if isinstance(one, Channels)}


def beside(x: Float[Tensor, "B C *sizes"], cond: Cond, counts: Mapping[str, int]) -> Float[Tensor, "B D *sizes"]:
    """x with the fields that are told along its channels; zeros where one is not. A field of size 1 is spread out."""
    if not counts:
        return x
    told = [
        cond[name].to(x.dtype).expand(-1, -1, *x.shape[2:]) if name in cond else x.new_zeros(len(x), n, *x.shape[2:])
        for name, n in counts.items()
    ]
    return torch.cat((x, *told), dim=1)


def _key(name: str) -> str:
    """A name under which no module has an attribute of its own; a dot would part it."""
    return f"{name.replace('.', '·')} of"


__all__ = ["Rows", "Values", "Vectors", "beside", "fields", "vectors"]
