"""Which layers of a network are linear maps that can be adapted, and how each carries its items by another weight."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from unnoise.config import UserError, nearest
from unnoise.nets import Net
from unnoise.nets.layers import Double
from unnoise.nets.preserving import CONVOLVE, EPSILON, Unit
from unnoise.tensor import Float, Tensor

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Layer(ABC):
    """One layer: `holder` owns the weight, `module` is what a pass calls (they differ where a field is doubled)."""

    holder: Any
    module: Any

    @property
    @abstractmethod
    def weight(self) -> Tensor:
        """The stored weight (after, before, *kernel)."""

    @abstractmethod
    def low(self, x: Tensor, first: Float[Tensor, "rank before *kernel"]) -> Tensor:
        """x carried as the layer does by a weight of `rank` channels, without a bias."""

    def high(self, h: Tensor, second: Float[Tensor, "after rank *ones"]) -> Tensor:
        """Channels mixed, place by place."""
        dims = second.ndim - 2
        return CONVOLVE[dims](h, second) if dims else F.linear(h, second)

    def scaled(self, y: Tensor, by: Float[Tensor, "N after"]) -> Tensor:
        """y times one number a channel, and an item where N is not 1."""
        dims = self.weight.ndim - 2
        return y * (by.reshape(*by.shape, *(1,) * dims) if dims else by.reshape(len(by), *(1,) * (y.ndim - 2), -1))

    @abstractmethod
    def added(self, y: Tensor, deltas: Sequence[Tensor], pairs: Sequence[tuple[Tensor, Tensor]], w: Tensor) -> Tensor:
        """The answer y of the layer, after weight + Σ_k w_k·second_k·first_k has taken the weight's place.

        deltas: (second_k·first_k)(x); pairs: (first_k, second_k); w: (N, K), N items or 1.
        """


class Plain(Layer):
    """A linear layer or a convolution: y + Σ_k w_k·second_k·(first_k·x)."""

    @property
    def weight(self) -> Tensor:
        return self.holder.weight

    def low(self, x: Tensor, first: Float[Tensor, "rank before *kernel"]) -> Tensor:
        if isinstance(self.module, Double):
            return self.module.carry(x, first)
        if first.ndim == 2:
            return F.linear(x, first)
        return CONVOLVE[first.ndim - 2](x, first, stride=self.holder.stride, padding=self.holder.padding)

    def added(self, y: Tensor, deltas: Sequence[Tensor], pairs: Sequence[tuple[Tensor, Tensor]], w: Tensor) -> Tensor:
        for k, delta in enumerate(deltas):
            y = y + delta * w[:, k].reshape(-1, *(1,) * (y.ndim - 1)).to(y.dtype)
        return y


class Preserving(Layer):
    """A layer whose rows have norm 1: what is added turns its directions, and the rows keep their norm.

    Row o of the weight is d/‖d‖ with d = directions_o + Σ_k w_k·(second_k·first_k)_o. Its norm is a quadratic form in
    w, so that items with different w share one pass: (the base's answer)·‖directions_o‖/‖d‖ + what is added, over ‖d‖.
    """

    @property
    def weight(self) -> Tensor:
        return self.holder.directions

    def low(self, x: Tensor, first: Float[Tensor, "rank before *kernel"]) -> Tensor:
        return self.module.carry(x, first)

    def added(self, y: Tensor, deltas: Sequence[Tensor], pairs: Sequence[tuple[Tensor, Tensor]], w: Tensor) -> Tensor:
        rows = self.weight.flatten(1).float()
        firsts, seconds = [a.flatten(1).float() for a, _ in pairs], [b.flatten(1).float() for _, b in pairs]
        own = rows.square().sum(1)
        squares = own.expand(len(w), -1)
        for k, (a, b) in enumerate(zip(firsts, seconds, strict=True)):
            squares = squares + 2 * w[:, k : k + 1] * (b * (rows @ a.T)).sum(1)
            for j, (c, d) in enumerate(zip(firsts, seconds, strict=True)):
                squares = squares + w[:, k : k + 1] * w[:, j : j + 1] * ((b @ (a @ c.T)) * d).sum(1)
        fan_in = rows.shape[1]
        before, after = ((EPSILON + (s / fan_in).clamp(min=0).sqrt()) for s in (own, squares))
        gain = 1.0 if self.holder.gain is None else self.holder.gain.float()
        y = self.scaled(y, (before / after).to(y.dtype))
        for k, delta in enumerate(deltas):
            y = y + self.scaled(delta, (w[:, k : k + 1] * (gain / fan_in**0.5) / after).to(y.dtype))
        return y


def layers(net: Net) -> dict[str, Layer]:
    """The layers that can be adapted, by the path of what owns their weight."""
    doubled = {id(part.conv): part for part in net.modules() if isinstance(part, Double)}
    found: dict[str, Layer] = {}
    for name, part in net.named_modules():
        if any(f"{name}.".startswith(f"{part}.") for part in net.shared):
            continue
        if isinstance(part, (nn.Linear, *CONVOLUTIONS)) and getattr(part, "groups", 1) == 1:
            found[name] = Plain(part, doubled.get(id(part), part))
        elif isinstance(part, Unit):
            found[name] = Preserving(part, doubled.get(id(part), part))
    return found


def chosen(net: Net, targets: Sequence[str]) -> dict[str, Layer]:
    """The layers that patterns name, such as "*attention*" or "encoder.*"; UserError where one names none."""
    known = layers(net)
    for pattern in targets:
        if not any(_named(name, pattern) for name in known):
            ends = list(dict.fromkeys(word for name in known if not (word := name.rpartition(".")[2]).isdecimal()))
            raise UserError(
                f"no layer is named '{pattern}' (patterns such as *attention* or encoder.*); "
                f"{nearest(pattern.strip('*.'), ends)}"
            )
    return {name: layer for name, layer in known.items() if any(_named(name, pattern) for pattern in targets)}


def _named(name: str, pattern: str) -> bool:
    """Whether a pattern is the whole name, or its last words."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def product(first: Float[Tensor, "rank before *kernel"], second: Tensor) -> Float[Tensor, "after before *kernel"]:
    """second·first as one weight."""
    return torch.tensordot(second.flatten(1), first, dims=1)


__all__ = ["Layer", "chosen", "layers", "product"]
