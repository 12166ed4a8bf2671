"""Pictures of a data set that `datasets` reads: saved to a folder by it, or by name from its hub."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from unnoise.config import UserError, nearest
from unnoise.data.cache import Namer
from unnoise.data.pictures import Decodable, Own, Texts
from unnoise.reading.decode import Unreadable, oversized
from unnoise.reading.labels import CAPTIONS, LABELS, Named, caption_all, name_all, part_of_file, said
from unnoise.reading.paths import found
from unnoise.reading.stores import Entry, Store, hashed


class Rows(Store):
    """The rows of one data set or of several by the names of their splits, which may be those of the parts."""

    def __init__(
        self,
        path: Path,
        splits: Mapping[str, Any],
        image: str | None,
        label: str | None,
        caption: str | None,
        features: Any,
    ):
        super().__init__(path)
        self._splits, self._features = splits, features
        first = next(iter(splits.values())).features
        self._image = _image_column(first, image, path)
        self._label = _told_column(first, label, path, LABELS)
        self._caption = _told_column(first, caption, path, CAPTIONS)
        self.classes = tuple(getattr(first[self._label], "names", None) or ()) if self._label else ()

    def stamp(self) -> str:
        return hashed((name, len(rows), getattr(rows, "_fingerprint", "")) for name, rows in self._splits.items())

    def __iter__(self) -> Iterator[Entry]:
        total, seen = max(1, sum(len(rows) for rows in self._splits.values())), 0
        several = len(self._splits) > 1
        for name, rows in self._splits.items():
            part = part_of_file(name) if several else None
            columns = [self._image, *{name for name in (self._label, self._caption) if name}]
            plain = rows.select_columns(columns).cast_column(self._image, self._features.Image(decode=False))
            for i, row in enumerate(plain):
                label = self._named(row[self._label]) if self._label else None
                told = said(row[self._caption]) if self._caption else None
                yield Entry(f"{name}/{i}", _reader(row[self._image]), seen / total, label, part, told, True)
                seen += 1

    def _named(self, label: Any) -> str | None:
        if self.classes and isinstance(label, int):
            return self.classes[label] if 0 <= label < len(self.classes) else None
        return None if label is None else str(label)


@dataclass(frozen=True, kw_only=True)
class Dataset(Decodable):
    """A data set of `datasets`: `path`, a folder that save_to_disk wrote, or `hub`, a name to be fetched over the net.

    image, label, caption: the columns, if not the first of pictures and the first named label, or text, or the like;
    label or caption none: without. Captions are the condition `text`.
    config: which of the hub's variants. Splits named train, validation and test are the parts. Nothing that such a
    data set brings along is ever run.
    """

    path: str | None = None
    hub: str | None = None
    config: str | None = None
    image: str | None = None
    label: str | None = None
    caption: str | None = None

    name: ClassVar[str] = "dataset"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.path is None) == (self.hub is None):
            raise UserError("a data set has a path (a folder that save_to_disk wrote) or a hub name, one of the two")

    @cached_property
    def _rows(self) -> Rows:
        library = _library()
        if self.path is not None:
            place = found(self.path, "data set")
            try:
                loaded: Any = library.load_from_disk(str(place))
            except (OSError, ValueError) as error:
                raise UserError(f"{place} is no data set that save_to_disk wrote: {_line(error)}") from None
        else:
            place = Path(str(self.hub))
            try:
                loaded = library.load_dataset(self.hub, self.config)
            except Exception as error:  # the net, the hub and the library have errors of many kinds
                raise UserError(f"the data set {self.hub} could not be fetched: {_line(error)}") from None
        splits: dict[str, Any] = dict(loaded) if isinstance(loaded, Mapping) else {"all": loaded}
        return Rows(place, splits, self.image, self.label, self.caption, library)

    def _store(self) -> Store:
        return self._rows

    def _namer(self) -> Namer:
        how, classes = "none" if self.label == "none" else "auto", self._rows.classes

        def named(names: Sequence[str], own: Own, texts: Texts) -> Named:
            return replace(name_all(names, own, {}, how, classes), captions=caption_all(names, own, {}))

        return named

    def _words(self) -> tuple[Any, ...]:
        return ("dataset", self.hub, self.config, self.image, self.label, self.caption)


def _library() -> Any:
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("this data is read with datasets, which is not here: pip install 'unnoise[datasets]'") from None
    return datasets


def _reader(cell: Any) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        data = cell.get("bytes") if isinstance(cell, Mapping) else None
        if data is None and isinstance(cell, Mapping) and cell.get("path") and os.path.isfile(cell["path"]):
            if (size := os.path.getsize(cell["path"])) > most:
                raise Unreadable(oversized(size, most))
            data = Path(cell["path"]).read_bytes()
        if data is None:
            raise Unreadable("no picture in its row")
        if len(data) > most:
            raise Unreadable(oversized(len(data), most))
        return data

    return read


def _image_column(features: Mapping[str, Any], asked: str | None, path: Path) -> str:
    pictures = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    if asked is not None and asked not in features:
        raise UserError(f"{path} has no column '{asked}'; {nearest(asked, list(features))}")
    if asked is not None and asked not in pictures:
        raise UserError(f"column '{asked}' of {path} holds {type(features[asked]).__name__}, not pictures")
    if not pictures:
        raise UserError(f"{path} has no column of pictures: its columns are {', '.join(features)}")
    return asked or pictures[0]


def _told_column(features: Mapping[str, Any], asked: str | None, path: Path, usual: Sequence[str]) -> str | None:
    if asked is None:
        return next((name for name in usual if name in features), None)
    if asked != "none" and asked not in features:
        raise UserError(f"{path} has no column '{asked}'; {nearest(asked, list(features))}")
    return None if asked == "none" else asked


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


__all__ = ["Dataset"]
