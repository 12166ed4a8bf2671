"""Pictures in parquet files: a column of encoded bytes, or of {bytes, path}, and columns of labels and captions."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from unnoise.config import UserError, nearest
from unnoise.reading.decode import Unreadable, oversized
from unnoise.reading.labels import CAPTIONS, LABELS, part_of_file, said
from unnoise.reading.stores import Entry, Store, hashed

BATCH = 64  # rows held at once


def library() -> Any:
    """pyarrow.parquet, or one sentence that says how to come by it."""
    try:
        import pyarrow.parquet as parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            "parquet files are read with pyarrow, which is not here: pip install 'unnoise[parquet]'"
        ) from None
    return parquet


class Parquet(Store):
    """The rows of one parquet file or of several, in the order of their names.

    image: the column of pictures (if silent, the first of bytes or of {bytes, path}); label: the column of labels
    (if silent, the first named label, class, category or the like; False for none); caption: of captions, likewise
    (text, caption or prompt). A file whose name or folder begins with train, validation or test is that part, as
    `datasets` names its shards.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[Path],
        image: str | None = None,
        label: str | bool | None = None,
        caption: str | bool | None = None,
    ):
        super().__init__(path)
        self._files = list(files)
        self._parquet = library()
        schema = self._open(self._files[0]).schema_arrow
        self._image = _image_column(schema, image, path)
        self._label = _told_column(schema, label, path, LABELS)
        self._caption = _told_column(schema, caption, path, CAPTIONS)
        self.classes = _names(schema, self._label)

    def stamp(self) -> str:
        stats = [(file.name, file.stat()) for file in self._files]
        return hashed((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)

    def __iter__(self) -> Iterator[Entry]:
        files = [self._open(file) for file in self._files]
        rows, seen = max(1, sum(file.metadata.num_rows for file in files)), 0
        columns = [self._image, *{name for name in (self._label, self._caption) if name}]
        for where, file in zip(self._files, files, strict=True):
            part = part_of_file(where.relative_to(self.path).as_posix() if where != self.path else where.name)
            place = 0
            try:
                for batch in file.iter_batches(batch_size=BATCH, columns=columns):
                    labels, captions = (_listed(batch, columns, name) for name in (self._label, self._caption))
                    for i, cell in enumerate(batch.column(0)):
                        label = None if labels[i] is None else self._named(labels[i])
                        told = None if self._caption is None else said(captions[i])
                        yield Entry(f"{where.name}/{place}", _reader(cell), seen / rows, label, part, told, True)
                        place, seen = place + 1, seen + 1
            except self._errors as error:
                raise UserError(f"{where} is damaged: {' '.join(str(error).split())[:200]}") from None

    def _named(self, label: Any) -> str | None:
        if self.classes and isinstance(label, int):
            return self.classes[label] if 0 <= label < len(self.classes) else None  # -1: not labelled
        return str(label)

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        import pyarrow  # pyright: ignore[reportMissingImports]

        return (pyarrow.ArrowException, OSError)

    def _open(self, file: Path) -> Any:
        try:
            return self._parquet.ParquetFile(file)
        except self._errors as error:
            raise UserError(
                f"{file} is no parquet file that can be read: {' '.join(str(error).split())[:200]}"
            ) from None


def _reader(cell: Any) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        value = cell.as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is None:
            raise Unreadable("no bytes in its row (a path alone is not followed)")
        if len(data) > most:
            raise Unreadable(oversized(len(data), most))
        return data

    return read


def _image_column(schema: Any, asked: str | None, path: Path) -> str:
    def holds(field: Any) -> bool:
        text = str(field.type)
        return text in ("binary", "large_binary") or (text.startswith("struct<") and "bytes: " in text)

    if asked is not None and asked not in schema.names:
        raise UserError(f"{path} has no column '{asked}'; {nearest(asked, list(schema.names))}")
    found = [field.name for field in schema if holds(field)]
    if asked is not None and asked not in found:
        raise UserError(f"column '{asked}' of {path} holds {schema.field(asked).type}, not the bytes of pictures")
    if not found:
        raise UserError(
            f"{path} has no column of pictures (bytes, or bytes and path): its columns are {', '.join(schema.names)}"
        )
    return asked or found[0]


def _listed(batch: Any, columns: Sequence[str], name: str | None) -> list[Any]:
    """The values of a column of a batch; None each where there is no such column."""
    return [None] * len(batch) if name is None else batch.column(columns.index(name)).to_pylist()


def _told_column(schema: Any, asked: str | bool | None, path: Path, usual: Sequence[str]) -> str | None:
    if asked is False:
        return None
    if isinstance(asked, str):
        if asked not in schema.names:
            raise UserError(f"{path} has no column '{asked}'; {nearest(asked, list(schema.names))}")
        return asked
    return next((name for name in usual if name in schema.names), None)


def _names(schema: Any, label: str | None) -> tuple[str, ...]:
    """The names that `datasets` keeps beside whole-number labels."""
    try:
        known = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(known["info"]["features"][label]["names"])
    except (KeyError, TypeError, ValueError):
        return ()


__all__ = ["Parquet", "library"]
