"""Parquet tables: columns of numbers and one of labels, read column by column."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unnoise.config import UserError
from unnoise.reading.delimited import Columns, missing

ENDINGS = (".parquet", ".pq")


def header(path: Path) -> list[str]:
    """The names of the columns."""
    return list(_open(path).schema_arrow.names)


def read(path: Path, wanted: Sequence[str], label: str | None) -> Columns:
    """The columns `wanted` as numbers, the column `label` as text; a null is a missing value."""
    file = _open(path)
    count = file.metadata.num_rows
    if not count:
        raise UserError(f"{path} has columns and no row")
    numbers = np.empty((count, len(wanted)))
    for k, name in enumerate(wanted):
        numbers[:, k] = _numbers(path, name, file.read([name]).column(0))
    lines = np.arange(1, count + 1)  # a parquet file has rows for lines
    if label is None:
        return Columns(numbers, None, [], lines)
    kinds: dict[str, int] = {}
    texts = (_text(value) for value in file.read([label]).column(0).to_pylist())
    codes = np.fromiter((kinds.setdefault(text, len(kinds)) for text in texts), np.int64, count)
    return Columns(numbers, codes, list(kinds), lines)


def _numbers(path: Path, name: str, column: Any) -> Any:
    import pyarrow as arrow

    kind = column.type
    fine = arrow.types
    if not (fine.is_integer(kind) or fine.is_floating(kind) or fine.is_boolean(kind) or fine.is_decimal(kind)):
        raise UserError(
            f"{path}: column '{name}' is of the type {kind}, and numbers are expected; make it the label "
            f"(label: {name}), leave it out (drop: [{name}]) or name the columns of numbers (columns: [..])"
        )
    return column.cast(arrow.float64()).to_numpy()


def _text(value: Any) -> str:
    text = "" if value is None else str(value).strip()
    return "" if missing(text) else text


def _open(path: Path) -> Any:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise UserError(f"{path}: parquet files are read by pyarrow: pip install 'unnoise[parquet]'") from None
    try:
        return parquet.ParquetFile(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except arrow.ArrowInvalid:
        raise UserError(f"{path} is no parquet file, or a damaged one") from None


__all__ = ["ENDINGS", "header", "read"]
