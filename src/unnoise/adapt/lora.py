"""Low-rank adaptation: beside each frozen weight W a product of two thin ones, W + (alpha/rank)·B·A."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from unnoise.adapt.layers import Layer, chosen, layers, product
from unnoise.adapt.part import Dials, Part, hooks
from unnoise.config import UserError, nearest
from unnoise.nets import Net
from unnoise.tensor import Float, Tensor


class Pair(nn.Module):
    """Of one layer: first (rank, before, *kernel), second (after, rank, 1, ..); their product starts at 0.

    The first is drawn uniformly from ±1/√(before·kernel), as torch draws a layer's weights.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float, dropout: float):
        super().__init__()
        after, before, *kernel = weight.shape
        self.rank, self.alpha = rank, alpha
        self.dropout = nn.Dropout(dropout)
        self.first = nn.Parameter(torch.empty(rank, before, *kernel))
        self.second = nn.Parameter(torch.zeros(after, rank, *(1,) * len(kernel)))
        nn.init.kaiming_uniform_(self.first, a=math.sqrt(5))

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def delta(self) -> Float[Tensor, "after before *kernel"]:
        """What is added to the weight: (alpha/rank)·second·first."""
        return self.scale * product(self.first, self.second)


@dataclass
class Hook:
    """What a layer does after its own answer: adds those of the pairs that are joined to it."""

    layer: Layer
    pairs: list[tuple[str, Pair]]
    dials: Dials

    def __call__(self, module: nn.Module, given: tuple[Any, ...], answer: Tensor) -> Tensor:
        active = [(self.dials.set[name], pair) for name, pair in self.pairs if name in self.dials.set]
        if not active:
            return answer
        x = given[0]
        both = [(pair.first.to(x.dtype), pair.second.to(x.dtype)) for _, pair in active]
        hidden = [self.layer.low(pair.dropout(x), a) for (_, pair), (a, _) in zip(active, both, strict=True)]
        deltas = [self.layer.high(h, b) for h, (_, b) in zip(hidden, both, strict=True)]
        rows = max(len(share) for share, _ in active)
        w = torch.stack([pair.scale * share.expand(rows) for share, pair in active], dim=1)
        return self.layer.added(answer, deltas, both, w)


class Lora(Part):
    """y + w·(alpha/rank)·B·(A·x) at each target, linear maps and convolutions alike  (Hu et al., LoRA, 2021, Eq. 3).

    alpha: rank if silent, which leaves the product as it is. targets: patterns of the layers' names; dropout: of
    what enters A, in training. w is cond["lora:<name>"], one number an item. In layers that preserve magnitudes the
    product turns the directions, whose norm stays (see `layers.Preserving`).
    """

    kind: ClassVar[str] = "lora"

    def __init__(
        self,
        base: Net,
        rank: int = 8,
        alpha: float | None = None,
        targets: tuple[str, ...] = ("*",),
        dropout: float = 0.0,
    ):
        super().__init__()
        if rank < 1:
            raise UserError(f"rank counts the directions that are added to a layer, 1 or more, got {rank}")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout is a share from 0 to below 1, got {dropout}")
        self.rank, self.alpha, self.targets, self.dropout = rank, alpha or float(rank), tuple(targets), dropout
        found = chosen(base, targets)
        self.pairs = nn.ModuleDict({_key(n): Pair(at.weight, rank, self.alpha, dropout) for n, at in found.items()})

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"rank": self.rank, "alpha": self.alpha, "targets": list(self.targets), "dropout": self.dropout}

    @property
    def at(self) -> dict[str, Pair]:
        """The pairs by the layer that each is of."""
        return {_name(key): pair for key, pair in self.pairs.items() if isinstance(pair, Pair)}

    def join(self, base: Net, name: str, dials: Dials) -> None:
        known = layers(base)
        for path, pair in self.at.items():
            layer = known[path]
            standing = [hook for hook in hooks(layer.module).values() if isinstance(hook, Hook)]
            if standing:
                standing[0].pairs.append((name, pair))
            else:
                layer.module.register_forward_hook(Hook(layer, [(name, pair)], dials))

    @classmethod
    def of(cls, base: Net, tensors: Mapping[str, Tensor], alphas: Mapping[str, float], where: object) -> "Lora":
        """From tensors "<layer>.lora_A.weight" and "<layer>.lora_B.weight"; alphas by layer, the rank where silent."""
        known, made = layers(base), cls.__new__(cls)
        nn.Module.__init__(made)
        pairs: dict[str, nn.Module] = {}
        names = sorted({key.removesuffix(A).removesuffix(B) for key in tensors})
        for path in names:
            if path not in known:
                raise UserError(f"{where} is of another network: it adapts '{path}', {nearest(path, list(known))}")
            first, second = (tensors.get(path + end) for end in (A, B))
            if first is None or second is None:
                raise UserError(f"{where} is no whole adapter: '{path}' has one of lora_A and lora_B and not the other")
            weight, rank = known[path].weight, len(first)
            pair = Pair(weight, rank, alphas.get(path, float(rank)), 0.0)
            for own, given in ((pair.first, first), (pair.second, second)):
                if own.shape != given.shape and own.numel() != given.numel():
                    raise UserError(
                        f"{where} is of another network: at '{path}' it has the shape {tuple(given.shape)}, "
                        f"expected {tuple(own.shape)}"
                    )
                own.data = given.detach().reshape(own.shape).to(own.dtype).clone()
            pairs[_key(path)] = pair
        ranks = {pair.rank for pair in pairs.values() if isinstance(pair, Pair)}
        made.rank, made.alpha = max(ranks), max(pair.alpha for pair in pairs.values() if isinstance(pair, Pair))
        made.targets, made.dropout, made.pairs = tuple(names), 0.0, nn.ModuleDict(pairs)
        return made

    def tensors(self) -> dict[str, Tensor]:
        """Its weights under the names that peft and diffusers read."""
        found: dict[str, Tensor] = {}
        for path, pair in self.at.items():
            found[path + A], found[path + B] = pair.first.detach(), pair.second.detach()
        return found


A, B = ".lora_A.weight", ".lora_B.weight"


@torch.no_grad()
def add(net: Net, loras: Sequence[tuple[Lora, float]]) -> None:
    """Σ_k weight_k·(alpha_k/rank_k)·B_k·A_k is added to a network's own weights."""
    known = layers(net)
    for lora, weight in loras:
        for path, pair in lora.at.items():
            own = known[path].weight
            own.add_((weight * pair.delta).to(own))


def _key(path: str) -> str:
    """A path as the name of a module, which may hold no point."""
    return path.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")


__all__ = ["Hook", "Lora", "Pair", "add"]
