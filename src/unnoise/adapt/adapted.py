"""A frozen network with parts around it: one network again, of which the parts alone are trained and kept."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch import nn

from unnoise.adapt.image import Told
from unnoise.adapt.lora import Hook, Lora, add
from unnoise.adapt.part import Brought, Dials, Part, hooks
from unnoise.config import UserError
from unnoise.nets import Net
from unnoise.nets.preserving import units
from unnoise.tensor import Cond, Float, Tensor


class Adapted(Net):
    """base(x, noise level, cond) with parts by name; with every part silent its bits are the base's.

    weights: how strongly each part acts where cond does not say so: cond["lora:<name>"] (B,) is one number an item,
    "control:<name>" and "image:<name>" likewise. The base is frozen, and `state_dict` holds the parts alone.
    """

    def __init__(self, base: Net, parts: Mapping[str, Part], weights: Mapping[str, float] | None = None):
        super().__init__(base.shape, base.classes, base.answers, base.heard)
        self.base = base.requires_grad_(False)
        self.parts = nn.ModuleDict(parts)
        self.weights = {name: (weights or {}).get(name, 1.0) for name in parts}
        self.any_size = base.any_size  # pyright: ignore[reportAttributeAccessIssue]
        self.dials = Dials()
        for name, part in parts.items():
            part.join(base, name, self.dials)
        self.kept = units(self.parts)
        self._originals: dict[str, Tensor] = {}

    def forward(
        self,
        x: Float[Tensor, "B C *sizes"],
        noise_level: Float[Tensor, "B"],
        cond: Cond,
        sources: Sequence[Any] = (),
        residuals: Sequence[Tensor] = (),
    ) -> Float[Tensor, "B told *sizes"]:
        plain = {name: leaf for name, leaf in cond.items() if ":" not in name}
        brought = Brought([list(of) for of in sources], list(residuals))
        strengths = {name: self._strength(name, part, cond, x) for name, part in self.named}
        for name, part in self.named:
            strength = strengths[name]
            if strength is not None:
                told = {**cond, f"{part.kind}:{name}": strength}
                brought = brought.join(part.bring(self.base, x, noise_level, told, name))
        seams: dict[str, Any] = {"sources": brought.sources} if brought.sources else {}
        seams |= {"residuals": brought.residuals} if brought.residuals else {}
        before = self.dials.set, self.dials.numbers
        self.dials.set = {name: strength for name, strength in strengths.items() if strength is not None}
        self.dials.numbers = brought.numbers
        try:
            return self.base(x, noise_level, plain, **seams)
        finally:
            self.dials.set, self.dials.numbers = before

    @property
    def named(self) -> list[tuple[str, Part]]:
        """The parts by name."""
        return [(name, part) for name, part in self.parts.items() if isinstance(part, Part)]

    def _strength(self, name: str, part: Part, cond: Cond, x: Tensor) -> Tensor | None:
        """(B, ..) where cond says so, else (1,); None where the part is silent for all."""
        told = cond.get(f"{part.kind}:{name}")
        if told is not None and name in self._merged:
            raise UserError(f"'{name}' is merged into the weights, which all items share: unmerge it first")
        if told is not None:
            return told.to(x.dtype)
        weight = self.weights[name]
        return None if weight == 0 or name in self._merged else x.new_full((1,), weight)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The parts' weights by name, without the base's."""
        whole: dict[str, Tensor] = super().state_dict(*args, **kwargs)
        return {name: tensor for name, tensor in whole.items() if name.startswith("parts.")}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Takes what `state_dict` gave; the base stays."""
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Adapted":
        """A copy of the parts around the same frozen weights."""
        for tensor in (*self.base.parameters(), *self.base.buffers()):
            memo.setdefault(id(tensor), tensor)
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__dict__.update(deepcopy(self.__dict__, memo))
        return made

    def begin(self) -> None:
        """First weights of the parts that depend on the base's, once these are there."""
        for _, part in self.named:
            part.begin(self.base)

    def merged(self, weights: Mapping[str, float] | None = None) -> Net:
        """A network of the base's kind with every LoRA added to its weights; the base stays as it is."""
        other = [name for name, part in self.named if not isinstance(part, Lora)]
        if other:
            raise UserError(f"a LoRA is merged into the weights; '{other[0]}' is a branch beside them, and stays one")
        made = plain(self.base, share=False)
        shares = {**self.weights, **(weights or {})}
        add(made, [(part, shares[name]) for name, part in self.named if isinstance(part, Lora)])
        return made

    def merge(self) -> None:
        """Adds every LoRA to the base in place, so that a pass costs what the base's does; `unmerge` takes it back."""
        assert not self._originals
        self._originals = {name: tensor.clone() for name, tensor in self.base.state_dict().items()}
        add(self.base, [(part, self.weights[name]) for name, part in self.named if isinstance(part, Lora)])

    def unmerge(self) -> None:
        """The base as it was, to the bit: its weights were kept, nothing is subtracted."""
        own = self.base.state_dict()
        for name, tensor in self._originals.items():
            own[name].copy_(tensor)
        self._originals = {}

    @property
    def _merged(self) -> set[str]:
        return {name for name, part in self.named if isinstance(part, Lora)} if self._originals else set()


def plain(net: Net, share: bool = True) -> Net:
    """The same network without what was joined to its layers: other modules around the same tensors, or copies."""
    made = deepcopy(net, {id(t): t for t in (*net.parameters(), *net.buffers())} if share else {})
    for part in made.modules():
        held = hooks(part)
        for key in [key for key, hook in held.items() if isinstance(hook, (Hook, Told))]:
            del held[key]
    return made


__all__ = ["Adapted", "plain"]
