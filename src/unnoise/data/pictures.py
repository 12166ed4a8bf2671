"""Your own pictures: a folder, a zip or tar, or parquet files, decoded once and read as they are asked for."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeAlias
from warnings import warn

import PIL.ImageColor

from unnoise.config import UserError
from unnoise.data.cache import Decoded, Namer, Order, decoded
from unnoise.data.decoding import View
from unnoise.data.source import Items, Source
from unnoise.reading.decode import Limits
from unnoise.reading.fit import Crop, Filter, Fit, Size, bucket_sizes
from unnoise.reading.labels import Named, caption_all, name_all
from unnoise.reading.open_store import open_store
from unnoise.reading.paths import cache_folder, found
from unnoise.reading.stores import CAPTION, Store

Own: TypeAlias = Sequence[tuple[str | None, str | None, str | None]]
Texts: TypeAlias = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Decodable(Source):
    """Pictures that lie as files: items (N, channels, height, width) uint8, label int64 where there are labels.

    size: height and width, or one number for both. crop: centre, random (while training), pad or stretch.
    background: what transparent parts and padding show. buckets: shapes [height, width] to group pictures by, or true
    for those of about the area of `size` whose sides are multiples of `unit`, up to widest:1.
    """

    size: int | tuple[int, int] = 64
    channels: Literal[1, 3, "auto"] = "auto"
    crop: Crop = "centre"
    filter: Filter = "lanczos"
    background: str = "white"
    buckets: bool | tuple[tuple[int, int], ...] = False
    unit: int = 8
    widest: float = 2.0
    strict: bool = False
    largest_pixels: int = Limits.pixels
    largest_bytes: int = Limits.bytes
    held_out: float = 0.1
    seed: int = 0
    cache: str | None = None

    def __post_init__(self) -> None:
        if min(self.sides) < 1:
            raise UserError(f"size is a number of pixels, or [height, width], each 1 or more; got {self.size}")
        if self.unit < 1 or not self.widest >= 1:
            raise UserError(f"unit and widest are 1 or more, got {self.unit} and {self.widest}")
        if self.buckets and self.crop == "random":
            raise UserError("buckets and random crops exclude each other: a bucket leaves next to nothing to crop")
        if not 0 < self.held_out < 0.5:
            raise UserError(f"held_out is a share above 0 and below 0.5, got {self.held_out}")
        self._view()

    @property
    def raw(self) -> str:
        return "image"

    @property
    def sides(self) -> Size:
        """Height and width of an item."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.facts["classes"])

    @property
    def tells(self) -> Mapping[str, str]:
        return {**super().tells, **({"text": "words"} if self.facts["captions"] else {})}

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels as decoded, labels, captions and parts."""
        return self.facts["digest"]

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        return [(name, reason) for name, reason in self.facts["skipped"]]

    @property
    def facts(self) -> Any:
        """What is known of the decoded pictures: counts of the parts, sizes of the files' pictures, copies, skipped."""
        return self._decoded.facts

    @property
    def shapes(self) -> tuple[Size, ...]:
        """The shapes of the buckets; empty without."""
        if isinstance(self.buckets, bool):
            return bucket_sizes(self.sides, self.unit, self.widest) if self.buckets else ()
        return tuple((height, width) for height, width in self.buckets)

    def _split(self, name: str) -> Items:
        return self._decoded.part(name)

    @cached_property
    def _decoded(self) -> Decoded:
        order = Order(self._store(), self._view(), self._namer(), self._words(), self.held_out, self.seed)
        made = decoded(order, cache_folder(self.cache), self.strict)
        if lost := made.facts["skipped"]:
            name, reason = lost[0]
            many = f"{len(lost):,} files are" if len(lost) > 1 else "1 file is"
            beside = f"{sum(made.facts['counts'].values()):,} pictures of {order.store.path}"
            warn(f"{many} left out beside {beside}, such as {name}: {reason}", stacklevel=2)
        if made.facts["silent"]:
            count, name = made.facts["silent"]
            many = f"{count:,} pictures have" if count > 1 else "1 picture has"
            warn(f"{order.store.path}: {many} no caption, such as {name}: nothing is told there", stacklevel=2)
        return made

    def _view(self) -> View:
        try:
            red, green, blue = PIL.ImageColor.getrgb(self.background)[:3]
        except ValueError:
            raise UserError(f"background is a colour such as white or '#808080', got '{self.background}'") from None
        fit = Fit(self.sides, self.crop, self.filter, (red, green, blue))
        limits = Limits(self.largest_pixels, self.largest_bytes)
        if any(min(shape) < 1 for shape in self.shapes):
            raise UserError(f"buckets are shapes [height, width] of 1 pixel or more, got {self.buckets}")
        return View(fit, 0 if self.channels == "auto" else self.channels, limits, self.shapes)

    @abstractmethod
    def _store(self) -> Store:
        """Where the files lie."""

    @abstractmethod
    def _namer(self) -> Namer:
        """How labels and parts are found."""

    @abstractmethod
    def _words(self) -> tuple[Any, ...]:
        """What the namer depends on."""


@dataclass(frozen=True, kw_only=True)
class Pictures(Decodable):
    """A folder of pictures, a zip or a tar of them, or parquet files with a column of them.

    labels: auto, folders (the outermost), none, or a column of metadata.csv, metadata.jsonl or the parquet. captions:
    auto (a column `text` or `caption` of these, else words in files beside the pictures), files (1.txt beside 1.png),
    none, or a column; they are the condition `text`. image: the parquet's column of pictures, where there are several.
    Folders train, validation (val) and test are the parts.
    """

    path: str
    labels: str = "auto"
    captions: str = "auto"
    image: str | None = None

    name: ClassVar[str] = "pictures"

    def _store(self) -> Store:
        label = {"auto": None, "folders": False, "none": False}.get(self.labels, self.labels)
        caption = {"auto": None, "files": False, "none": False}.get(self.captions, self.captions)
        return open_store(found(self.path), image=self.image, label=label, caption=caption)

    def _namer(self) -> Namer:
        classes = self._store().classes if self.labels not in ("none", "folders") else ()

        def named(names: Sequence[str], own: Own, texts: Texts) -> Named:
            tables = {name: text for name, text in texts.items() if not name.lower().endswith(CAPTION)}
            made = name_all(names, own, tables, self.labels, classes)
            return replace(made, captions=caption_all(names, own, texts, self.captions))

        return named

    def _words(self) -> tuple[Any, ...]:
        return ("pictures", self.labels, self.captions, self.image)


__all__ = ["Decodable", "Own", "Pictures", "Texts"]
