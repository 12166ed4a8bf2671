"""Pictures beside the one that is drawn: reduced, its edges, what is left around a hole; along the channels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from unnoise.conditions.condition import Condition, Told, leaf_of
from unnoise.conditions.hints import HINTS
from unnoise.config import UserError
from unnoise.data import Source
from unnoise.data.source import Raw
from unnoise.modality import Image, Modality
from unnoise.nets import heard
from unnoise.reading.decode import Limits, Unreadable, decode
from unnoise.reading.fit import Fit, pixels
from unnoise.tensor import Float, Tensor


@dataclass(frozen=True, kw_only=True)
class Picture(Condition):
    """A picture that stands beside the item along its channels, and one more channel of ones, zeros where none does.

    of: what is made of the item itself as training sees it: "low", means over cells of `factor` a side; "grey", the
    mean of its channels; "edges", the length of its slope; "mask", where it is light, "outline", the mask's border, and
    "depth", how deep inside it, up to `factor`; "hole", all but a rectangle, and where it is. "data": fields
    (N, C, *sizes) that the data give, as the model is to see them, or of bytes, which become −1 to 1.
    """

    of: Literal["low", "grey", "edges", "mask", "outline", "depth", "hole", "data"] = "low"
    factor: int = 4

    kind: ClassVar[str] = "picture"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor < 1:
            raise UserError(f"factor is the side of a cell, 1 or more, got {self.factor}")

    def facts(self, name: str, source: Source) -> dict[str, Any]:
        if self.of != "data":
            return {}
        leaf = leaf_of(name, source)
        if leaf.ndim < 3:
            raise UserError(f"'{name}' of data '{source.name}' is no field (N, C, *sizes), got the shape {leaf.shape}")
        return {"channels": leaf.shape[1], "bytes": leaf.dtype == np.uint8}

    def told(self, name: str, facts: Mapping[str, Any], shape: tuple[int, ...]) -> "ToldPicture":
        if not 2 <= len(shape) <= 4:
            raise UserError(f"'{name}': a picture stands beside items (C, *sizes), got the shape {shape}")
        count = facts["channels"] if self.of == "data" else HINTS[self.of][1](shape[0])
        return ToldPicture(name, self.of, self.factor, count, shape, bool(facts.get("bytes")))


@dataclass(frozen=True)
class ToldPicture(Told):
    """A picture of `count` channels beside items of `shape`, whose raw form `modality` knows."""

    name: str
    of: str
    factor: int
    count: int
    shape: tuple[int, ...]
    bytes: bool = False
    modality: Modality | None = None

    @property
    def heard(self) -> heard.Channels:
        return heard.Channels(self.count + 1)

    @property
    def null(self) -> Raw:
        return np.zeros((self.count + 1, *(1,) * (len(self.shape) - 1)), np.float32)

    @property
    def mark(self) -> str:
        return ","

    @property
    def expects(self) -> str:
        what = {"low": "a picture, which is reduced", "grey": "a picture, whose colours are left out"}
        what |= {
            "edges": "a picture, of which the edges are taken",
            "hole": "a picture, transparent in its hole",
        }
        return what.get(self.of, f"a field of {self.count} channels")

    @property
    def makes(self) -> bool:
        return self.of != "data"

    def within(self, modality: Modality) -> "ToldPicture":
        return replace(self, modality=modality)

    def made(self, x0: Float[Tensor, "B C *sizes"], rng: np.random.Generator) -> Float[Tensor, "B D *sizes"]:
        """The leaf of items as the model sees them; holes are drawn by rng."""
        known = _around_holes(x0, rng) if self.of == "hole" else torch.ones_like(x0[:, :1])
        return self._leaf(x0, known)

    def encode(self, values: Raw) -> Raw:
        """Raw items with, as a last channel, 1 where they are known, (N, C + 1, *sizes); or the data's own fields."""
        if not self.makes:
            fields = values / 127.5 - 1.0 if self.bytes else values
            return np.concatenate([fields, np.ones_like(fields[:, :1])], axis=1).astype(np.float32)
        assert self.modality is not None
        raw, known = values[:, :-1], values[:, -1:].astype(np.float32)
        return self._leaf(self.modality.encode(raw), torch.from_numpy(known)).numpy()

    def read(self, given: Any) -> Any:
        """A picture, or the path of one, at the model's size; or an array (C, *sizes) of raw levels.

        What is transparent in a picture, or not finite in an array, is the hole.
        """
        if isinstance(given, (str, Path)):
            given = self._opened(Path(given))
        if not isinstance(given, np.ndarray) and hasattr(given, "convert"):
            return self._pixels(given)
        array = np.asarray(given)
        channels = (self.count,) if not self.makes else (self.shape[0],)
        if array.shape != (wanted := (*channels, *self.shape[1:])):
            raise UserError(f"'{self.name}' is told by a picture, or an array {wanted}; got the shape {array.shape}")
        if not self.makes:
            return array
        known = np.isfinite(array).all(axis=0, keepdims=True)
        return np.concatenate([np.where(known, array, getattr(self.modality, "low", 0)), known], axis=0)

    def single(self, given: Any) -> bool:
        if isinstance(given, (str, Path)) or hasattr(given, "convert"):
            return True
        return isinstance(given, np.ndarray) and given.ndim == len(self.shape)

    def say(self, value: Any) -> str:
        return ""

    def _leaf(self, x: Tensor, known: Tensor) -> Tensor:
        made = HINTS[self.of][0](x, known, self.factor)
        return torch.cat((made, torch.ones_like(made[:, :1])), dim=1)

    def _pixels(self, image: Any) -> Raw:
        """A picture's raw levels at the model's size, and where it is opaque."""
        if len(self.shape) != 3 or not isinstance(self.modality, Image) or not self.makes:
            raise UserError(f"'{self.name}' is told by an array {self.shape}, not by a picture")
        import PIL.Image

        fit = Fit((self.shape[1], self.shape[2]))
        alpha = image.convert("RGBA").getchannel("A")
        known = pixels(fit.middle(alpha), 1) > 127
        levels = pixels(fit.middle(image.convert("RGB")), self.shape[0])
        flat = PIL.Image.fromarray(levels[0] if self.shape[0] == 1 else np.moveaxis(levels, 0, -1))
        return np.concatenate([self.modality.batch([flat])[0], known], axis=0)

    def _opened(self, path: Path) -> Any:
        import PIL.Image

        if not path.is_file():
            raise UserError(f"'{self.name}' is told by a picture, and there is no file {path}")
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        try:
            decode(path.read_bytes(), Limits(), (255, 255, 255), (self.shape[-2], self.shape[-1]))  # within limits
            return PIL.Image.open(path)
        except (Unreadable, OSError, ValueError) as error:
            raise UserError(f"{path} is no picture that can be read: {error}") from None


def _around_holes(x0: Float[Tensor, "B C *sizes"], rng: np.random.Generator) -> Float[Tensor, "B 1 *sizes"]:
    """1, and 0 in a box of each item whose sides are from a quarter to three quarters of its own."""
    inside = torch.ones((len(x0), 1, *x0.shape[2:]))
    for axis, size in enumerate(x0.shape[2:]):
        share, place = rng.uniform(0.25, 0.75, len(x0)), rng.random(len(x0))
        wide = np.maximum(1, np.rint(share * size))
        first = np.rint(place * (size - wide))
        at = np.arange(size)
        within = (at >= first[:, None]) & (at < (first + wide)[:, None])
        shape = [len(x0), 1, *(size if k == axis else 1 for k in range(x0.ndim - 2))]
        inside = inside * torch.from_numpy(within.astype(np.float32)).reshape(shape)
    return (1 - inside).to(x0)


__all__ = ["Picture", "ToldPicture"]
