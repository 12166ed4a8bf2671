"""What a kind of data is to a model: raw thing ↔ tensor, and the bytes that a person is shown."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image

from unnoise.config import UserError
from unnoise.tensor import Float, Tensor

Raw: TypeAlias = npt.NDArray[Any]


class Modality(ABC):
    """Raw items of one kind in a model's range and back. Two laws hold for every one of them:

    quantise(encode(raw)) is raw (numbers that are not whole: to the rounding of float32), with rng or
    without;  decode and render show what quantise says.
    """

    name: ClassVar[str]

    @property
    def cell(self) -> float:
        """The width in x of one level of whole-numbered data; 0 where training sees a density."""
        return 0.0

    @abstractmethod
    def encode(self, raw: Raw, rng: np.random.Generator | None = None) -> Float[Tensor, "B *dims"]:
        """A raw batch → float32. With rng, training's own randomness (dequantisation) may be added."""

    @abstractmethod
    def quantise(self, x: Float[Tensor, "B *dims"]) -> Raw:
        """Samples in the raw units and, where the raw data are whole numbers, on them: what metrics see."""

    @property
    def whole(self) -> bool:
        """Whether raw items are whole numbers, so that a density is one of unit cells around them."""
        return False

    def log_unit(self, shape: tuple[int, ...]) -> float:
        """log |d raw/dx|, summed over the numbers of an item: the log of the raw volume of a unit volume of x."""
        raise UserError(f"items of {self.name} have no density in raw units")

    def distances(self, raw: Raw) -> Raw:
        """Raw items (N, ...) as numbers whose distances mean something: as they are, unless their units differ."""
        return raw

    @abstractmethod
    def decode(self, x: Float[Tensor, "B *dims"]) -> list[Any]:
        """Samples → a list of the things that a person works with."""

    def batch(self, things: Sequence[Any]) -> Raw:
        """Things that a person works with, as `decode` gives them → a raw batch: batch(decode(x)) is quantise(x)."""
        return np.stack([np.asarray(thing) for thing in things])

    def show(self, x: Float[Tensor, "B *dims"]) -> list[PIL.Image.Image]:
        """Samples as pictures to look at; numbers without a picture have none."""
        raise NotImplementedError(f"{self.name} are not pictures")

    @abstractmethod
    def render(self, x: Float[Tensor, "*dims"]) -> tuple[bytes, str]:
        """One sample → the bytes of a file and their media type."""


def to_host(x: Tensor) -> npt.NDArray[np.float64]:
    """Samples as float64 on the host; a sample that is not finite is refused, as no unit can hold it."""
    values = x.detach().to("cpu").double().numpy()
    if not np.isfinite(values).all():
        raise ValueError("samples hold NaN or infinite values, and no raw unit stands for these")
    return values


__all__ = ["Modality", "Raw", "to_host"]
