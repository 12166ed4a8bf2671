"""CelebA as its authors give it out: 202,599 faces, aligned, with forty attributes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from unnoise.config import UserError, nearest
from unnoise.data.cache import Namer
from unnoise.data.pictures import Decodable
from unnoise.reading.labels import Named
from unnoise.reading.open_store import open_store
from unnoise.reading.paths import found
from unnoise.reading.stores import Store

PICTURES = ("img_align_celeba", "img_align_celeba.zip")
ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITION = ("list_eval_partition.txt", "list_eval_partition.csv")
PARTS = {"0": "train", "1": "validation", "2": "test"}


@dataclass(frozen=True, kw_only=True)
class Celeba(Decodable):
    """CelebA: a folder with img_align_celeba (or its zip), list_eval_partition.txt and list_attr_celeba.txt.

    attribute: which of the forty is the label, such as Smiling; without one there are no labels. The pictures are
    178 wide and 218 high: crop centre takes the middle square. The parts are the official ones. Liu, Luo, Wang &
    Tang, Deep learning face attributes in the wild (2015).
    """

    path: str
    attribute: str | None = None

    name: ClassVar[str] = "celeba"

    def _store(self) -> Store:
        place = _one(found(self.path), PICTURES)
        if place is None:
            raise UserError(f"{self.path} has neither {PICTURES[0]} nor {PICTURES[1]}: it is no folder of CelebA")
        return open_store(place)

    def _namer(self) -> Namer:
        place = found(self.path)
        partition, attributes = _one(place, PARTITION), _one(place, ATTRIBUTES)
        parts = {name: PARTS.get(row[0]) for name, row in _rows(partition)[1]} if partition else {}
        values: dict[str, str] = {}
        if self.attribute is not None:
            if attributes is None:
                raise UserError(f"{self.path} has no {ATTRIBUTES[0]}, so no attribute is known, got '{self.attribute}'")
            header, rows = _rows(attributes)
            if self.attribute not in header:
                raise UserError(f"CelebA has no attribute '{self.attribute}'; {nearest(self.attribute, header)}")
            column = header.index(self.attribute)
            values = {name: self.classes_of[row[column] == "1"] for name, row in rows if len(row) == len(header)}

        def named(names: Sequence[str], own: Any, texts: Mapping[str, bytes]) -> Named:
            files = [PurePosixPath(name).name for name in names]
            labels = [values.get(file) for file in files]
            unknown = {i: "has no line in the attributes" for i, label in enumerate(labels) if values and label is None}
            return Named(labels, [parts.get(file) for file in files], self.classes_of, unknown)

        return named

    @property
    def classes_of(self) -> tuple[str, ...]:
        """("no Smiling", "Smiling"), or nothing."""
        return () if self.attribute is None else (f"no {self.attribute}", self.attribute)

    def _words(self) -> tuple[Any, ...]:
        lists = [_one(found(self.path), names) for names in (PARTITION, ATTRIBUTES)]
        stats = [None if place is None else (place.stat().st_size, place.stat().st_mtime_ns) for place in lists]
        return ("celeba", self.attribute, stats)


def _one(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def _rows(path: Path) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """The columns' names and (file, fields) of each line: between blanks with a count above, or of CSV."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    comma = path.suffix.lower() == ".csv"

    def fields(line: str) -> list[str]:
        return [word.strip() for word in (line.split(",") if comma else line.split())]

    header: list[str] = []
    if comma and lines:
        header, lines = fields(lines[0])[1:], lines[1:]
    elif lines and lines[0].strip().isdecimal():
        header, lines = fields(lines[1]) if len(lines) > 1 else [], lines[2:]
    return header, ((row[0], row[1:]) for line in lines if len(row := fields(line)) > 1)


__all__ = ["Celeba"]
