"""What a network is here: (x, noise level, conditions) in, an answer shaped like x out, and no state."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from torch import nn

from unnoise.nets.heard import Heard
from unnoise.nets.hearing import beside, fields
from unnoise.nets.presets import Presets
from unnoise.nets.text import Read, Texts
from unnoise.tensor import Cond, Float, Tensor


class Constrained(Protocol):
    """A part whose weights have a place to be."""

    def constrain(self) -> None:
        """Puts them there; no answer changes by it."""
        ...


class Net(nn.Module):
    """A network of items of one shape.

    shape: of one encoded item, without the batch, such as (1, 8, 8) or (2,). A field may be of another size
    where the network is convolutional; its channels stay. classes: how many labels; label `classes` is the
    null, and stands wherever cond has no "label". heard: what else is told, by its name in cond. answers: fields of
    the shape of x that are told at a time, one after the other along the channels.

    Every network starts at the answer 0: its last layer is zero. `ends` names the parts that touch the data.
    """

    ends: ClassVar[tuple[str, ...]] = ("first", "last")
    presets: ClassVar[Presets] = {}  # options by the name of a size: `preset` in a recipe
    any_size: ClassVar[bool] = False  # whether a field of other sizes than `shape` may be asked
    shared: ClassVar[tuple[str, ...]] = ()  # parts that see no item: their answer is one for all

    def __init__(
        self, shape: Sequence[int], classes: int = 0, answers: int = 1, heard: Mapping[str, Heard] | None = None
    ):
        super().__init__()
        if not shape or min(shape) < 1:
            raise ValueError(f"a network needs the shape of an item, such as (1, 8, 8), got {tuple(shape)}")
        if classes < 0:
            raise ValueError(f"classes counts the labels: expected 0 or more, got {classes}")
        if answers < 1:
            raise ValueError(f"answers counts what a network tells, 1 or more, got {answers}")
        self.shape = tuple(shape)
        self.answers = answers
        self.classes = classes
        self.heard = dict(heard or {})
        self.fields = fields(self.heard)
        self.kept: Sequence[Constrained] = ()
        self.texts: Texts | None = None

    def forward(
        self, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond
    ) -> Float[Tensor, "B told *sizes"]:
        """The answer (B, answers·C, *sizes) to x (B, *shape), heard with its noise level (B,) = log(sigma/alpha), which
        lies in [−12, 12].

        cond: leaves (B, ...), of which every network knows "label", int64 (B,) in 0..classes, and "augment",
        (B, augment), what training did to the item; left out, nothing was. Others are as `nets.heard` has them; what is
        left out, or not in `heard`, says nothing.
        """
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """The channels of the entrance: x's own, and those of the fields beside it."""
        return self.shape[0] + sum(self.fields.values())

    def read(self, cond: Cond, batch: int) -> Read:
        """What texts say to each attention, and in all."""
        return Read() if self.texts is None else self.texts(cond, batch)

    def joined(self, x: Float[Tensor, "B C *sizes"], cond: Cond) -> Float[Tensor, "B D *sizes"]:
        """x with the fields that are told along its channels: what comes in at the entrance."""
        return beside(x, cond, self.fields)

    def dims(self, what: str) -> int:
        """How many axes an item has beside its channels, 1 to 3; what: the network's name, for the refusal."""
        dims = len(self.shape) - 1
        if dims not in (1, 2, 3):
            raise ValueError(f"{what} takes items (C, *sizes) with 1 to 3 sizes, got the shape {self.shape}")
        return dims

    def constrain(self) -> None:
        """Puts weights that have a place back there; training does so after each step. Most networks have none."""
        for part in self.kept:
            part.constrain()

    def parameter_count(self) -> int:
        """How many numbers training moves."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


__all__ = ["Constrained", "Net"]
