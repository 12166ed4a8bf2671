"""Patches of a few large pictures: those that scikit-image and scikit-learn carry, for demonstrations, or your own."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError, nearest
from unnoise.data.source import SPLITS, Items, Source
from unnoise.data.split import Indices, divide
from unnoise.reading.decode import SUFFIXES, Limits, Unreadable, decode, quiet
from unnoise.reading.fit import pixels
from unnoise.reading.open_store import open_store
from unnoise.reading.paths import found
from unnoise.reading.stores import Entry

BLOCK = 4  # patches' sides that a region is wide and high, about
BUNDLED = {  # library → (package, folder in it, how one comes by it)
    "skimage": ("skimage", "data", "pip install 'unnoise[patches]'"),
    "sklearn": ("sklearn", "datasets/images", "pip install scikit-learn"),
}
PHOTOGRAPHS = (  # of scikit-image's files those that are photographs, unless one says otherwise
    "astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field", "ihc",
    "moon", "motorcycle_left", "retina", "rocket",
)  # fmt: skip


class Patch(NamedTuple):
    """Where a patch was taken: the picture, the region, and its upper left corner."""

    picture: int
    region: int
    top: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Patches(Source):
    """Patches of `size` by `size` pixels: items (N, channels, size, size) uint8, the label is the picture's name.

    of: skimage, sklearn (the pictures that come with these libraries; nothing is fetched), or a path to pictures.
    pictures: names of those to use. stride: pixels from patch to patch, size/4 if silent. Every picture is cut into
    regions of about 4 patches' sides, and a region with all its patches is in one part: no pixel is in two. Regions
    of one content in two pictures may part; within a picture they never do.
    """

    of: str = "skimage"
    pictures: tuple[str, ...] | None = None
    size: int = 32
    stride: int | None = None
    channels: Literal[1, 3, "auto"] = "auto"
    labels: bool = True
    held_out: float = 0.1
    seed: int = 0

    name: ClassVar[str] = "patches"

    def __post_init__(self) -> None:
        if self.size < 1 or (self.stride is not None and self.stride < 1):
            raise UserError(f"size and stride are pixels, 1 or more, got {self.size} and {self.stride}")
        if not 0 < self.held_out < 0.5:
            raise UserError(f"held_out is a share above 0 and below 0.5, got {self.held_out}")

    @property
    def raw(self) -> str:
        return "image"

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._pictures) if self.labels and len(self._pictures) > 1 else ()

    @property
    def digest(self) -> str:
        """SHA-256 of the pictures and of how patches are taken."""
        total = hashlib.sha256(repr((self.size, self.stride, self.labels, self.held_out, self.seed)).encode())
        for name, picture in self._pictures:
            total.update(repr((name, picture.shape)).encode() + picture.tobytes())
        return total.hexdigest()

    @cached_property
    def _pictures(self) -> list[tuple[str, npt.NDArray[np.uint8]]]:
        """(name, (C, H, W)) of those that a patch fits in, all in as many channels."""
        read = dict(_read(self.of, self.pictures))
        grey = all((picture[:1] == picture[1:]).all() for picture in read.values())
        few = 1 if (grey if self.channels == "auto" else self.channels == 1) else 3
        large = [(name, _grey(p) if few == 1 else p) for name, p in read.items() if min(p.shape[1:]) >= self.size]
        if not large:
            raise UserError(f"no picture in {self.of} is {self.size} pixels wide and high, so no patch fits in")
        return large

    @cached_property
    def patches(self) -> dict[str, list[Patch]]:
        """Where the patches of each part lie."""
        stride = self.stride or max(1, self.size // 4)
        regions = [
            (k, top, left, high, wide)
            for k, (_, picture) in enumerate(self._pictures)
            for top, high in _cuts(picture.shape[1], self.size)
            for left, wide in _cuts(picture.shape[2], self.size)
        ]
        digests = [
            hashlib.sha256(self._pictures[k][1][:, top : top + high, left : left + wide].tobytes()).digest()
            for k, top, left, high, wide in regions
        ]
        parts = self._divided([k for k, *_ in regions], digests)
        return {
            name: [
                Patch(regions[i][0], i, y, x)
                for i in rows.tolist()
                for y in _places(regions[i][1], regions[i][3], self.size, stride)
                for x in _places(regions[i][2], regions[i][4], self.size, stride)
            ]
            for name, rows in parts.items()
        }

    def _divided(self, pictures: Sequence[int], digests: Sequence[bytes]) -> dict[str, Indices]:
        """Regions to parts, picture by picture so that each is in every part; those of too few regions together."""
        groups: dict[int, list[int]] = {}
        for i, k in enumerate(pictures):
            groups.setdefault(k, []).append(i)
        few = [i for group in groups.values() if len({digests[i] for i in group}) < 3 for i in group]
        lots = [group for group in groups.values() if len({digests[i] for i in group}) >= 3]
        parts: dict[str, list[int]] = {name: [] for name in SPLITS}
        if few and (not lots or len({digests[i] for i in few}) >= 3):
            lots.append(few)
        else:
            parts["train"] += few
        for lot in lots:
            for name, rows in divide([digests[i] for i in lot], self.held_out, self.seed).items():
                parts[name] += [lot[row] for row in rows]
        return {name: np.array(sorted(rows), np.int64) for name, rows in parts.items()}

    def _split(self, name: str) -> Items:
        chosen = self.patches[name]
        items = np.stack(
            [self._pictures[p.picture][1][:, p.top : p.top + self.size, p.left : p.left + self.size] for p in chosen]
        )
        return Items(items, {"label": np.array([p.picture for p in chosen], np.int64)} if self.classes else {})


def _cuts(length: int, size: int) -> list[tuple[int, int]]:
    """(start, length) of the regions along one side: as equal as whole pixels allow."""
    count = max(1, length // (BLOCK * size))
    edges = [round(i * length / count) for i in range(count + 1)]
    return [(a, b - a) for a, b in pairwise(edges)]


def _places(start: int, length: int, size: int, stride: int) -> list[int]:
    return list(range(start, start + length - size + 1, stride))


def _grey(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    import PIL.Image

    return pixels(PIL.Image.fromarray(np.ascontiguousarray(np.moveaxis(picture, 0, -1))), 1)


def _read(of: str, wanted: Sequence[str] | None) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """(name, (3, H, W)) of the pictures of a library or at a path: of all, or of those wanted in their order."""
    place = _place(of)
    store = open_store(place) if place.is_dir() else [Entry(place.name, lambda most: place.read_bytes()[: most + 1])]
    files = {PurePosixPath(entry.name).stem: entry for entry in store if _is_picture(entry.name, of)}
    if wanted is None:
        wanted = [name for name in files if of != "skimage" or name in PHOTOGRAPHS]
    with quiet():
        for name in wanted:
            if name not in files:
                raise UserError(f"there is no picture '{name}' in {of}; {nearest(name, sorted(files))}")
            try:
                yield name, pixels(decode(files[name].read(Limits.bytes), Limits()), 3)
            except Unreadable as error:
                raise UserError(f"{files[name].name} in {of} is {error}") from None


def _is_picture(name: str, of: str) -> bool:
    file = PurePosixPath(name)
    return file.suffix.lower() in SUFFIXES and (of not in BUNDLED or len(file.parts) == 1)


def _place(of: str) -> Path:
    if of not in BUNDLED:
        if not Path(of).expanduser().exists():
            raise UserError(f"patches are of skimage, of sklearn, or of a path where something stands, got '{of}'")
        return found(of, "picture")
    package, folder, remedy = BUNDLED[of]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"patches of {of} need its pictures, and it is not installed: {remedy}")
    return Path(next(iter(spec.submodule_search_locations))) / folder


__all__ = ["BUNDLED", "PHOTOGRAPHS", "Patch", "Patches"]
