"""Delimited text: lines of fields, in UTF-8, between commas, semicolons or tabs, with a header or without."""

import csv
from array import array
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from unnoise.config import UserError

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "nil", "?"})
_HEAD = 50  # rows that the delimiter and the header are told from


@dataclass(frozen=True)
class Columns:
    """What was read of a table: numbers (N, D) float64 with NaN where one is missing; labels as places in `kinds`."""

    numbers: np.ndarray[Any, np.dtype[np.float64]]
    labels: np.ndarray[Any, np.dtype[np.int64]] | None
    kinds: list[str]  # the label's values in the order met; "" stands for a missing one
    lines: np.ndarray[Any, np.dtype[np.int64]]  # (N,) where each row ends in the file, counted from 1


def missing(text: str) -> bool:
    """Whether a field says that its value is not known."""
    return text.strip().lower() in MISSING


def number(text: str) -> float | None:
    """The number that a field writes with a decimal point, NaN where it is missing; None where it is none."""
    if "_" in text:  # Python's way of grouping digits is no table's
        return None
    try:
        return float(text)
    except ValueError:
        return float("nan") if missing(text) else None


def header(path: Path, delimiter: str | None, named: bool | None) -> tuple[list[str], str, bool]:
    """The names of the columns, what divides fields, and whether the first line holds the names.

    delimiter, named: as the user says, or told from the first lines: fields are divided by what gives most rows the
    width of the first, and the first line holds names unless all of it are numbers. Columns without names are x1,
    x2 and so on.
    """
    mark = _sniff(path, delimiter)
    with rows_of(path, mark) as rows:
        first = next((row for _, row in rows), None)
    if first is None:
        raise UserError(f"{path} is empty")
    named = any(number(text) is None for text in first) if named is None else named
    if not named:
        return [f"x{i + 1}" for i in range(len(first))], mark, named
    names = [text.strip() for text in first]
    return [name or f"column {i + 1}" for i, name in enumerate(names)], mark, named


def read(path: Path, mark: str, named: bool, names: Sequence[str], wanted: Sequence[str], label: str | None) -> Columns:
    """The columns `wanted` as numbers and the column `label` as it stands, row by row: one copy is held."""
    places = [names.index(name) for name in wanted]
    at = None if label is None else names.index(label)
    values, lines, codes = array("d"), array("q"), array("q")
    kinds: dict[str, int] = {}
    with rows_of(path, mark) as rows:
        for line, row in islice(rows, int(named), None):
            if len(row) != len(names):
                raise UserError(f"{path}, line {line}: {len(row)} fields where the first line has {len(names)}")
            picked = [row[i] for i in places]
            try:
                if "_" in "".join(picked):
                    raise ValueError
                values.extend(map(float, picked))
            except ValueError:
                del values[len(lines) * len(places) :]
                values.extend(_one(path, line, name, text) for name, text in zip(wanted, picked, strict=True))
            if at is not None:
                text = "" if missing(row[at]) else row[at].strip()
                codes.append(kinds.setdefault(text, len(kinds)))
            lines.append(line)
    if not lines:
        raise UserError(f"{path} has a header and no row below it")
    return Columns(
        np.frombuffer(values, np.float64).reshape(len(lines), len(places)),
        None if at is None else np.frombuffer(codes, np.int64),
        list(kinds),
        np.frombuffer(lines, np.int64),
    )


def _one(path: Path, line: int, name: str, text: str) -> float:
    value = number(text)
    if value is not None:
        return value
    head = f"{path}, line {line}: column '{name}' has '{_short(text)}' where a number is expected; "
    if number(text.replace(",", ".")) is not None:
        raise UserError(head + "write numbers with a decimal point and without groups of thousands")
    raise UserError(
        head + f"make it the label (label: {name}), leave it out (drop: [{name}]) or name the columns of numbers "
        "(columns: [..])"
    )


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 40 else plain[:37] + "..."


def _sniff(path: Path, given: str | None) -> str:
    """What divides the fields: as given, or what gives most of the first rows the width of the very first."""
    if given is not None:
        return DELIMITERS.get(given, given)
    best, most = ",", (False, 0.0, 0)
    for mark in DELIMITERS.values():
        widths: list[int] = []
        with suppress(UserError), rows_of(path, mark) as rows:  # a fault is told when the file is read
            widths.extend(len(row) for _, row in islice(rows, _HEAD))
        if widths:
            merit = (widths[0] > 1, widths.count(widths[0]) / len(widths), widths[0])
            if merit > most:
                best, most = mark, merit
    return best


@contextmanager
def rows_of(path: Path, mark: str) -> Generator[Iterator[tuple[int, list[str]]]]:
    """(line, fields) of every row that holds anything; a fault of the file is told in one sentence."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=mark, skipinitialspace=mark != "\t", strict=True)
            try:
                yield ((reader.line_num, row) for row in reader if row)
            except csv.Error as error:
                raise UserError(f"{path}, line {reader.line_num}: {error}, as a row of fields") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not in UTF-8 ({_where(path, error)}): save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _where(path: Path, error: UnicodeDecodeError) -> str:
    """Where the first byte stands that is not UTF-8; the decoder reads ahead and does not know."""
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return "it is in UTF-16"
        file.seek(0)
        for line, data in enumerate(file, 1):
            try:
                data.decode()
            except UnicodeDecodeError as found:  # noqa: PERF203
                return f"byte 0x{data[found.start]:02x} in line {line}"
    return str(error.reason)


__all__ = ["DELIMITERS", "MISSING", "Columns", "header", "missing", "number", "read", "rows_of"]
