"""All that a model is told: from the data's values, or from what a person gives, to what the network hears."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from unnoise.conditions.condition import Told
from unnoise.config import UserError, nearest
from unnoise.data import Items
from unnoise.data.source import Raw
from unnoise.tensor import Tensor


@dataclass(frozen=True)
class Telling:
    """The conditions of a model by name. model: what it is called in a message; kept: nulls that a run wrote down."""

    model: str
    told: Mapping[str, Told]
    kept: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __bool__(self) -> bool:
        return bool(self.told)

    @property
    def text(self) -> str | None:
        """The condition that a prompt is of; None where the model reads no text."""
        return next((name for name, one in self.told.items() if one.of_text), None)

    def null(self, name: str) -> Raw:
        """The leaf of one item, (...), that says nothing of a condition."""
        own = self.told[name].null
        return np.asarray(self.kept[name], own.dtype).reshape(own.shape) if name in self.kept else own

    @property
    def nulls(self) -> dict[str, int | float | Tensor]:
        """The leaf of one item of each condition that means "not given": a number where one is all."""
        return {name: _plain(self.null(name)) for name in self.told}

    def items(self, items: Items) -> Items:
        """Items whose conditions are leaves of numbers, as networks hear them; those that nobody tells stay."""
        leaves = {name: one.items(items.cond[name]) for name, one in self.told.items() if name in items.cond}
        return Items(items.items, {**items.cond, **leaves}, items.windows, items.bucketed) if leaves else items

    @property
    def makes(self) -> bool:
        """Whether a condition is made of the items themselves."""
        return any(one.makes for one in self.told.values())

    def made(self, x0: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        """The leaves that are made of items as the model sees them, (B, ...)."""
        return {name: one.made(x0, rng) for name, one in self.told.items() if one.makes}

    def leaves(self, values: Mapping[str, Raw], count: int) -> dict[str, Tensor]:
        """Values (count, ...) as the data have them → what is heard; of a condition without values nothing."""
        made = {name: one.encode(values[name]) for name, one in self.told.items() if name in values}
        return {name: torch.from_numpy(made.get(name, self._nothing(name, count))) for name in self.told}

    def cond(self, count: int, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """What `count` samples are told: leaves (count, ...), nulls where nothing is given.

        given: by the name of a condition what is told of it, for all samples or in a sequence of one each; None says
        nothing; a tensor is a leaf already.
        """
        for name in given:
            self.one(name)
        return {name: self._leaf(name, count, given.get(name)) for name in self.told}

    def one(self, name: str) -> Told:
        """How a condition is told; one line of UserError where the model never saw it."""
        if name in self.told:
            return self.told[name]
        if not self.told:
            what = "labels" if name == "label" else "conditions"
            raise UserError(f"{self.model} was trained without {what}, so none can be asked for, got {name}")
        raise UserError(f"{self.model} was not trained with '{name}'; {nearest(name, list(self.told))}")

    def named(self, given: Any) -> dict[str, int | float | Tensor]:
        """What one label, one prompt, or a mapping of names to what is told, tells the network of an item."""
        return {name: _plain(self.one(name).make(value)) for name, value in self.meant(given).items()}

    def meant(self, given: Any) -> Mapping[str, Any]:
        """By the name of its condition: a label or a prompt, as both are one word to a person."""
        if isinstance(given, Mapping):
            return {str(name): value for name, value in given.items()}  # pyright: ignore[reportUnknownVariableType]
        label = "label" in self.told and (self.text is None or not isinstance(given, str))
        return {"label": given} if label or self.text is None else {self.text: given}

    def _leaf(self, name: str, count: int, given: Any) -> Tensor:
        told = self.told[name]
        if isinstance(given, Tensor):
            if len(given) != count:
                raise UserError(f"{len(given)} values of '{name}' for {count} samples")
            return given
        if given is None:
            return torch.from_numpy(self._nothing(name, count))
        if told.single(given):
            return torch.from_numpy(np.repeat(told.make(given)[None], count, axis=0))
        each: Sequence[Any] = list(given)
        if len(each) != count:
            what = {"label": "label", self.text: "prompt"}.get(name, "value")
            of = f" of '{name}'" if what == "value" else ""
            raise UserError(f"{len(each)} {what}s{of} for {count} samples: give one {what} for all, or one each")
        some = [i for i, one in enumerate(each) if one is not None]
        if not some:
            return torch.from_numpy(self._nothing(name, count))
        made = told.encode(np.stack([np.asarray(told.read(each[i])) for i in some]))
        leaf = np.broadcast_to(self.null(name), (count, *made.shape[1:])).astype(made.dtype)  # fields of any size too
        leaf[some] = made
        return torch.from_numpy(leaf)

    def _nothing(self, name: str, count: int) -> Raw:
        return np.repeat(self.null(name)[None], count, axis=0)


def _plain(leaf: Raw) -> Any:
    return leaf.item() if leaf.ndim == 0 else torch.from_numpy(leaf)


__all__ = ["Telling"]
