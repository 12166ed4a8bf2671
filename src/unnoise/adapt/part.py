"""What is added to a frozen network: a part that changes its layers, or brings it something to look at or to add."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import nn

from unnoise.config import UserError
from unnoise.nets import Net, Source
from unnoise.tensor import Cond, Float, Tensor

Own = TypeVar("Own", bound="Part")


@dataclass
class Brought:
    """What a part gives a pass of the network: further sources of each attention, residuals of each joint, and what is
    added to the numbers (B, all) that modulate its blocks."""

    sources: list[list[Source]] = field(default_factory=list[list[Source]])
    residuals: list[Tensor] = field(default_factory=list[Tensor])
    numbers: list[Tensor] = field(default_factory=list[Tensor])

    def join(self, other: "Brought") -> "Brought":
        """Both: sources stand side by side, residuals are summed, and so are numbers, in the pass."""
        sources, residuals = self.sources or other.sources, self.residuals or other.residuals
        if self.sources and other.sources:
            sources = [[*a, *b] for a, b in zip(self.sources, other.sources, strict=True)]
        if self.residuals and other.residuals:
            residuals = [a + b for a, b in zip(self.residuals, other.residuals, strict=True)]
        return Brought(sources, residuals, [*self.numbers, *other.numbers])


class Dials:
    """What the layers must know of the pass under way.

    set: how strongly each part acts on each item, (B,) or (1,) by name, none where it is silent; numbers: what is added
    to the modulation, each (B, all).
    """

    def __init__(self) -> None:
        self.set: dict[str, Tensor] = {}
        self.numbers: list[Tensor] = []


@runtime_checkable
class Shows(Protocol):
    """How a leaf of cond is made of items in training."""

    def made(self, x0: Float[Tensor, "B C *sizes"], rng: np.random.Generator) -> Tensor:
        """The leaf (B, ...) of items as the model sees them."""
        ...


class Part(nn.Module, ABC):
    """A part by itself: its trained weights, and what must be known to make it again.

    Its weight on each item is cond["<kind>:<name>"], (B,), where that is given.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """The options that make it again around the same network, as plain values."""

    @property
    def shows(self) -> Mapping[str, Shows]:
        """By leaf, as in cond["<leaf>:<name>"], what training makes of the items themselves."""
        return {}

    def read(self, given: Any, modality: Any) -> Tensor:
        """The leaf (1, ...), or (n, ...), of what a person shows it."""
        raise UserError(f"a {self.kind} is shown nothing, got {given!r}")

    def check(self, leaf: Tensor, sizes: Sequence[int], name: str) -> None:
        """Raises where what it is shown has another shape than it knows, for items of these sizes."""

    def join(self, base: Net, name: str, dials: Dials) -> None:
        """Takes its place in a network, once. Most need none."""

    def begin(self, base: Net) -> None:
        """First weights that depend on the trained network's."""

    def bring(
        self, base: Net, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond, name: str
    ) -> Brought:
        """What it gives a pass: nothing, unless it looks at cond["<leaf>:<name>"]."""
        return Brought()

    @classmethod
    def stored(
        cls: type[Own], base: Net, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], where: object
    ) -> Own:
        """The part again from what `state_dict` gave, around a network as it was trained around."""
        try:
            made = cls(base, **settings)
        except (TypeError, UserError) as error:
            raise UserError(f"{where} does not fit: {error}") from None
        own = made.state_dict()
        for name in sorted({*own} ^ {*tensors}):
            what = "has no" if name in own else "has, beyond it,"
            raise UserError(f"{where} is of another network: it {what} '{name}'")
        for name, tensor in own.items():
            if tensors[name].shape != tensor.shape:
                shapes = f"{tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
                raise UserError(f"{where} is of another network: '{name}' has the shape {shapes}")
            with torch.no_grad():
                tensor.copy_(tensors[name])
        return made


def hooks(module: nn.Module) -> dict[int, Any]:
    """What a module does after its own answer, by number: torch shows it to nobody, and lets one only add."""
    return module.__dict__["_forward_hooks"]


__all__ = ["Brought", "Dials", "Part", "Shows", "hooks"]
