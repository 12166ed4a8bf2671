"""Tables of numbers: CSV, TSV and parquet files, one row an item; columns may be its label, or told of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from unnoise.config import UserError, nearest
from unnoise.data.finite import Content, named
from unnoise.data.source import Raw
from unnoise.data.split import Indices
from unnoise.data.standard import Rows
from unnoise.reading import columnar, delimited
from unnoise.reading.paths import found
from unnoise.tensor import Array

FEW = 20  # classes may be so many in any table, and in a longer one have so many rows each
LARGEST = 1e100  # beyond it squares and differences leave the range of numbers


@dataclass(frozen=True, kw_only=True)
class Table(Rows):
    """A file of rows of numbers, items (N, D) float64 in the order of the file; label int64 if a column is named.

    path: .csv, .tsv or .txt of fields between commas, semicolons or tabs in UTF-8, or .parquet. columns: of numbers;
    silent: all but those named otherwise. label: a column whose values are class names. labels, tell, texts: columns of
    names, of numbers and of captions that the model is told and does not draw; values may be missing there. missing:
    "refuse" rows in which another value is missing, or "drop" them. delimiter and header: told from the first lines
    where silent.
    """

    path: str
    columns: tuple[str, ...] | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    tell: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    missing: Literal["refuse", "drop"] = "refuse"
    delimiter: str | None = None
    header: bool | None = None

    name: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        marks = delimited.DELIMITERS
        if self.delimiter is not None and self.delimiter not in marks and len(self.delimiter) != 1:
            raise UserError(f"a delimiter is one character, or {', '.join(marks)}, got '{self.delimiter}'")

    @property
    def _called(self) -> str:
        return self.path

    def _read(self) -> Content:
        path = found(self.path)
        if path.suffix.lower() in columnar.ENDINGS:
            names = columnar.header(path)
            wanted = self._wanted(names)
            table, *others = (columnar.read(path, *asked) for asked in self._asked(wanted))
        else:
            names, mark, first = delimited.header(path, self.delimiter, self.header)
            wanted = self._wanted(names)
            table, *others = (delimited.read(path, mark, first, names, *asked) for asked in self._asked(wanted))
        return self._checked(table, names, wanted, others)

    def _asked(self, wanted: Sequence[str]) -> list[tuple[list[str], str | None]]:
        """What is read: the items with what is told of them in numbers, and by itself each column of names."""
        return [([*wanted, *self.tell], self.label), *(([wanted[0]], name) for name in (*self.labels, *self.texts))]

    def _wanted(self, names: Sequence[str]) -> list[str]:
        """The columns of numbers, in the order of the file."""
        for i, name in enumerate(names):
            if name in names[:i]:
                places = [k + 1 for k, other in enumerate(names) if other == name]
                raise UserError(f"{self.path} has {len(places)} columns named '{name}' (numbers {_listed(places)})")
        asked = [
            ("label", self.label),
            *(("columns", c) for c in self.columns or ()),
            *(("labels", c) for c in self.labels),
            *(("tell", c) for c in self.tell),
            *(("texts", c) for c in self.texts),
            *(("drop", c) for c in self.drop),
        ]
        for what, name in asked:
            if name is not None and name not in names:
                raise UserError(f"{self.path} has no column '{name}' ({what}); {nearest(name, list(names))}")
        told = (self.label, *self.labels, *self.tell, *self.texts)
        if self.label is not None and self.label in (self.columns or ()):
            raise UserError(f"{self.path}: '{self.label}' is the label, so it is no column of numbers too")
        for name in (*self.labels, *self.tell, *self.texts):
            if told.count(name) > 1 or name in (self.columns or ()):
                raise UserError(f"{self.path}: '{name}' is told, so it is nothing else too, and named once")
        left = [n for n in names if n not in told and n not in self.drop]
        wanted = left if self.columns is None else [name for name in left if name in self.columns]
        if not wanted:
            raise UserError(f"{self.path} has no column of numbers left, of {_listed(names)}")
        return wanted

    def _checked(
        self,
        table: delimited.Columns,
        names: Sequence[str],
        wanted: Sequence[str],
        others: Sequence[delimited.Columns] = (),
    ) -> Content:
        """Without missing values, or with them refused; every number finite; labels as classes."""
        numbers, places, said = table.numbers[:, : len(wanted)], table.labels, list[str]()
        cond, values = self._told(table.numbers[:, len(wanted) :], others[: len(self.labels)])
        for name, column in zip(self.texts, others[len(self.labels) :], strict=True):
            assert column.labels is not None
            cond[name] = np.array([" ".join(text.split()) for text in column.kinds], np.str_)[column.labels]
            if none := int((cond[name] == "").sum()):
                if none == len(cond[name]):
                    raise UserError(f"{self.path}: column '{name}' (texts) is missing in every row")
                said.append(f"{none} of {len(cond[name])} rows say nothing in '{name}'")
        if self.columns is None and len(wanted) > 1 and _counts(numbers[:, 0]):
            said.append(f"'{wanted[0]}' only numbers the rows and is left out (name the columns to keep it)")
            numbers, wanted = numbers[:, 1:], wanted[1:]
        with np.errstate(invalid="ignore"):
            broken = np.abs(numbers) > LARGEST
        if broken.any():
            row, column = (int(index) for index in np.argwhere(broken)[0])
            raise UserError(
                f"{self.path}, line {table.lines[row]}: column '{wanted[column]}' has {numbers[row, column]:g} "
                f"({int(broken.sum())} such in all); expected finite numbers, {LARGEST:g} at most"
            )
        gaps = {name: int(np.isnan(numbers[:, k]).sum()) for k, name in enumerate(wanted)}
        absent = np.asarray(np.isnan(numbers).any(axis=1))
        if places is not None and self.label is not None and "" in table.kinds:
            unnamed = places == table.kinds.index("")
            gaps[self.label] = int(unnamed.sum())
            absent |= unnamed
        dropped: list[tuple[str, str]] = []
        if absent.any():
            told = ", ".join(f"{count} in '{name}'" for name, count in gaps.items() if count)
            if self.missing == "refuse":
                raise UserError(
                    f"{self.path} misses {_many(sum(gaps.values()), 'value')} ({told}) in {int(absent.sum())} of "
                    f"{len(absent)} rows: fill them in, or leave these rows out (missing: drop)"
                )
            dropped = [(f"line {line}", "a value is missing") for line in table.lines[absent].tolist()]
            numbers, places = numbers[~absent], None if places is None else places[~absent]
            cond = {name: leaf[~absent] for name, leaf in cond.items()}
            if not len(numbers):
                raise UserError(f"{self.path} has no row without a missing value ({told})")
            said.append(f"{len(dropped)} of {len(absent)} rows miss a value and are left out")
        labels, classes = (None, ())
        if places is not None:
            labels, classes = self._classes(places, table.kinds, str(self.label))
        said += _odd(numbers, wanted)
        header = tuple(name for name in names if name in wanted or name == self.label)
        return Content(numbers, labels, classes, header, self.label or "", tuple(said), tuple(dropped), cond, values)

    def _told(
        self, numbers: Array, others: Sequence[delimited.Columns]
    ) -> tuple[dict[str, Raw], dict[str, tuple[str, ...]]]:
        """What is told beside the label: numbers, NaN where one is missing; places among names, beyond the last."""
        cond: dict[str, Raw] = {name: numbers[:, k] for k, name in enumerate(self.tell)}
        values: dict[str, tuple[str, ...]] = {}
        for name, column in zip(self.labels, others, strict=True):
            assert column.labels is not None
            known = np.array([kind != "" for kind in column.kinds])[column.labels]
            if not known.any():
                raise UserError(f"{self.path}: column '{name}' (labels) is missing in every row")
            leaf = np.zeros(len(known), np.int64)
            leaf[known], values[name] = self._classes(column.labels[known], column.kinds, name)
            leaf[~known] = len(values[name])
            cond[name] = leaf
        return cond, values

    def _classes(self, places: Indices, kinds: list[str], of: str) -> tuple[Indices, tuple[str, ...]]:
        """Labels as places in the sorted names; whole numbers are sorted by size."""
        used = np.unique(places).tolist()
        values = [kinds[k] for k in used]
        if len(values) > max(FEW, len(places) // FEW):
            raise UserError(
                f"{self.path}: the label '{of}' has {len(values)} different values in {len(places)} rows; "
                "a label names the few classes that rows belong to"
            )
        whole = all(value.lstrip("+-").isdecimal() and str(int(value)) == value for value in values)
        at, classes = named(np.array([int(value) for value in values]) if whole else values)
        where = np.zeros(len(kinds), np.int64)
        where[used] = at
        return where[places], classes


def _counts(column: Array) -> bool:
    """Whether a column is 0, 1, 2 .. or 1, 2, 3 ..: the number of the row, and nothing of the item."""
    return len(column) > 2 and column[0] in (0, 1) and bool((np.diff(column) == 1).all())


def _odd(numbers: Array, names: Sequence[str]) -> list[str]:
    """What a person should know of the columns: the constant ones, and those with heavy tails."""
    said: list[str] = []
    constant = [name for name, low, high in zip(names, numbers.min(0), numbers.max(0), strict=True) if low == high]
    if constant:
        said.append(f"{_quoted(constant)} the same value in every row: kept with a scale of 1, or leave out with drop")
    low, high = np.quantile(numbers, [0.25, 0.75], axis=0)
    spread = numbers.std(axis=0)
    heavy = [n for n, gap, sd in zip(names, high - low, spread, strict=True) if 0 < gap < 0.2 * sd]
    if heavy:
        said.append(
            f"{_quoted(heavy)} heavy tails: half of all rows lie within a fifth of a deviation, which the few largest "
            "set; a logarithm or a root of such a column is learned better"
        )
    return said


def _quoted(names: Sequence[str]) -> str:
    few = ", ".join(f"'{name}'" for name in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"{few} {'has' if len(names) == 1 else 'have'}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _listed(things: Sequence[object]) -> str:
    return ", ".join(map(str, things))


__all__ = ["Table"]
