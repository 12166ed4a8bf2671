"""Arrays of numbers of any rank: .npy and .npz files, their labels beside them or inside."""

import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from unnoise.config import UserError, nearest
from unnoise.data.finite import Content, Finite, chunks, moments, named
from unnoise.data.source import Raw
from unnoise.data.split import Indices
from unnoise.data.standard import rounded, standardised
from unnoise.reading.layout import Layout
from unnoise.reading.paths import absolute, found

ENDINGS = (".npy", ".npz")
FEW = 20  # classes may be so many of any array, and of a longer one have so many items each
LARGEST = 1e30  # what float32 squares without leaving its range, with room
COLUMNS = 64  # points of more coordinates are taken for one quantity, with one mean and one scale


def _beside(labels: str) -> str:
    """A file's path made absolute; a key stays."""
    return absolute(labels) if labels.endswith(ENDINGS) else labels


Labels: TypeAlias = Annotated[str, AfterValidator(_beside)]


@dataclass(frozen=True, kw_only=True)
class Array(Finite):
    """A .npy or .npz file: uint8 pictures, points (N, D), or signals, fields and volumes (N, C, *sizes).

    key: which array of an .npz, where it holds several. labels: (N,) whole numbers or strings, in a file of their
    own or under a key of the .npz. tell: by name what else is told of the items, in the same way: names (N,), or
    numbers (N,) or (N, count) with NaN where one is missing; texts: likewise captions, (N,) strings. layout: the axes
    by letter, N the items, C the channels, any others sizes, such as NHWC; "auto": told from the shape.
    """

    path: str
    key: str | None = None
    labels: Labels | None = None
    tell: dict[str, Labels] | None = None
    texts: dict[str, Labels] | None = None
    layout: str = "auto"

    name: ClassVar[str] = "array"

    @property
    def raw(self) -> str:
        return self._laid.kind

    @property
    def _called(self) -> str:
        return self.path

    def standard(self) -> dict[str, Any]:
        """Pictures by their levels, points and arrays by mean and deviation over the training part."""
        train, content = self.split("train"), self._content
        laid, whole = self._laid, content.items.dtype.kind in "iub"
        if laid.kind == "image":
            most = max(int(content.items[rows].max()) for rows in chunks(content.items))
            return {"kind": "image", "high": 255 if most > 127 else max(1, most)}  # few levels fill the range too
        width = train.items.shape[1]
        if laid.kind == "points" and width <= COLUMNS:
            return {**standardised(train, content), **({"decimals": [0] * width} if whole else {})}
        if laid.kind == "points":
            mean, scale = (float(value[0]) for value in rounded(*moments(train.items, (0, 1))))
            return {"kind": "points", "mean": mean, "scale": scale, **({"decimals": [0] * width} if whole else {})}
        mean, scale = rounded(*moments(train.items, (0, *range(2, train.items.ndim))))
        numbers = (mean.tolist(), scale.tolist()) if width > 1 else (float(mean[0]), float(scale[0]))
        ends = [(float(part.min()), float(part.max())) for part in (train.items[rows] for rows in chunks(train.items))]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        return {
            "kind": "array",
            "mean": numbers[0],
            "scale": numbers[1],
            "low": float(f"{low:.6g}"),
            "high": float(f"{high:.6g}"),
            "layout": laid.item,
            "dtype": content.items.dtype.name if whole else "float32",
        }

    @cached_property
    def _file(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        """The array as the file has it, mapped where it can be, and the labels as they stand."""
        path = found(self.path)
        kept = _open(path)
        if isinstance(kept, np.ndarray):
            if self.key is not None:
                raise UserError(f"{path} holds one array, so there is no key '{self.key}' in it")
            items, inside = kept, list[str]()
        else:
            inside = list(kept.files)
            others = [
                name
                for name in inside
                if name not in (self.labels, *{**(self.tell or {}), **(self.texts or {})}.values())
            ]
            key = others[0] if self.key is None and len(others) == 1 else self.key
            if key is None:
                raise UserError(f"{path} holds {len(inside)} arrays: name the items' (key: {' | '.join(others)})")
            items = _member(path, kept, key)
        return items, None if self.labels is None else self._beside(path, kept, self.labels)

    def _beside(self, path: Path, kept: Any, where: str, what: str = "labels") -> npt.NDArray[Any]:
        """What is known of the items: under a key of the file itself, or in one of its own."""
        inside: list[str] = [] if isinstance(kept, np.ndarray) else list(kept.files)
        if where in inside:
            return _member(path, kept, where)
        if not where.endswith(ENDINGS):
            known = nearest(where, inside) if inside else "expected a .npy file"
            raise UserError(f"{path} has no {what} under the key '{where}'; {known}")
        beside = _open(found(where, what))
        if isinstance(beside, np.ndarray):
            return beside
        if len(beside.files) != 1:
            raise UserError(f"{where} holds {len(beside.files)} arrays, and {what} are one")
        return _member(Path(where), beside, beside.files[0])

    @property
    def _tells(self) -> dict[str, str]:
        return {**(self.tell or {}), **(self.texts or {})}

    def _told(self, count: int) -> tuple[dict[str, Raw], dict[str, tuple[str, ...]]]:
        """What is told beside the label: numbers as they are, names as places among them."""
        path = found(self.path)
        cond: dict[str, Raw] = {}
        values: dict[str, tuple[str, ...]] = {}
        for name, where in self._tells.items():
            leaf = np.asarray(self._beside(path, _open(path), where, f"'{name}'"))
            if leaf.shape[:1] != (count,) or leaf.ndim > 2:
                raise UserError(f"{where} tells '{name}' in the shape {leaf.shape}, not ({count},) or ({count}, k)")
            if leaf.dtype.kind in "US":
                leaf = np.char.decode(leaf, "utf-8", "replace") if leaf.dtype.kind == "S" else leaf
                if name in (self.texts or {}) and leaf.ndim == 1:
                    cond[name] = leaf
                    continue
                places, values[name] = named(leaf)
                leaf = places.reshape(leaf.shape)
            elif name in (self.texts or {}):
                raise UserError(f"{where} tells '{name}' by {leaf.dtype.name}, and captions are strings")
            elif leaf.dtype.kind not in "iufb" or (leaf.dtype.kind == "f" and np.isinf(leaf).any()):
                raise UserError(f"{where} tells '{name}' by what are no finite numbers; where one is missing write NaN")
            cond[name] = leaf
        return cond, values

    @cached_property
    def _laid(self) -> Layout:
        return Layout.of(self.path, self._file[0], self.layout)

    def _read(self) -> Content:
        stored, given = self._file
        items = self._laid.arrange(stored)
        _finite(self.path, items)
        labels, classes = (None, ()) if given is None else self._classes(given, len(items))
        said = [self._laid.told(items.shape)] if self.layout == "auto" and self._laid.guessed else []
        flat = items.reshape(len(items), -1)
        if np.array_equal(flat[:1].repeat(min(2, len(flat)), 0), flat[:2]) and _constant(flat):
            said.append("every item is the same")
        elif self.raw == "points":
            same = [k for k in range(items.shape[1]) if (items[:, k] == items[0, k]).all()]
            if same:
                few = ", ".join(map(str, same[:4])) + (f" and {len(same) - 4} more" if len(same) > 4 else "")
                said.append(f"coordinates that never vary: {few}; they are kept with a scale of 1")
        cond, values = self._told(len(items))
        return Content(items, labels, classes, warnings=tuple(said), cond=cond, values=values)

    def _classes(self, given: npt.NDArray[Any], count: int) -> tuple[Indices, tuple[str, ...]]:
        if given.ndim == 2 and given.shape[1] == 1:
            given = given[:, 0]
        if given.ndim != 1:
            raise UserError(f"labels of {self.path} are one for each item, (N,), got the shape {given.shape}")
        if len(given) != count:
            raise UserError(f"{self.path} has {count} items, but {len(given)} labels stand beside them")
        if given.dtype.kind == "f":
            if not (np.isfinite(given).all() and (given == np.rint(given)).all()):
                raise UserError(
                    f"labels of {self.path} are whole numbers or strings, got fractions of {given.dtype.name}"
                )
            given = given.astype(np.int64)
        if given.dtype.kind == "S":
            given = np.char.decode(given, "utf-8", "replace")
        if given.dtype.kind not in "iubU":
            raise UserError(f"labels of {self.path} are whole numbers or strings, got the type {given.dtype.name}")
        labels, classes = named(given)
        if len(classes) > max(FEW, count // FEW):
            raise UserError(f"{self.path}: {len(classes)} different labels for {count} items; labels name few classes")
        return labels, classes


def _open(path: Path) -> Any:
    """An array mapped from a .npy file, or the members of an .npz; nothing is ever unpickled."""
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"{path} is no array: expected a file that ends in {' or '.join(ENDINGS)}")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read: {_why(path, error)}") from None


def _member(path: Path, kept: Any, key: str) -> npt.NDArray[Any]:
    if key not in kept.files:
        raise UserError(f"{path} has no array '{key}'; {nearest(key, list(kept.files))}")
    try:
        return kept[key]
    except (ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: '{key}' cannot be read: {_why(path, error)}") from None


def _why(path: Path, error: Exception) -> str:
    text = str(error)
    if "pickle" in text or "Python objects" in text:
        return "it holds Python objects (a pickle), and those are never opened; store numbers or strings"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if not path.stat().st_size:
        return "it is empty"
    return "it is damaged or cut short"


def _finite(path: str, items: Raw) -> None:
    """Refuses NaN, infinities and numbers beyond all scale: how many, and where the first stands."""
    if items.dtype.kind != "f":
        return
    count, first, most = 0, "", min(LARGEST, float(np.finfo(items.dtype).max))
    for rows in chunks(items):
        part = items[rows]
        with np.errstate(invalid="ignore"):
            broken = ~(np.abs(part) <= most)
        if broken.any():
            if not count:
                item, *place = (int(index) for index in np.argwhere(broken)[0])
                inner = f", place {tuple(place)}" if place else ""
                first = f"{part[(item, *place)]:g}, in item {item + rows.start}{inner}"
            count += int(broken.sum())
    if count:
        raise UserError(
            f"{path} holds numbers ({count} of {items.size}) that are NaN, infinite or beyond {most:g}; "
            f"the first is {first}"
        )


def _constant(flat: Raw) -> bool:
    return all(bool((flat[rows] == flat[0]).all()) for rows in chunks(flat))


__all__ = ["Array"]
