"""The store at a path, told by what lies there and not by its name."""

import tarfile
import zlib
from pathlib import Path
from typing import Any

from unnoise.config import UserError
from unnoise.reading.stores import PARQUET, Folder, Store, Tar, Zip


def open_store(path: Path, **columns: Any) -> Store:
    """The store at a path, told by what lies there and not by its name. columns: those of a parquet file."""
    if path.is_dir():
        below = sorted(path.rglob(f"*{PARQUET}"))
        if below:
            from unnoise.reading.parquet import Parquet

            return Parquet(path, below, **columns)
        return Folder(path)
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if start == b"PAR1":
        from unnoise.reading.parquet import Parquet

        return Parquet(path, [path], **columns)
    if start[:2] == b"PK":
        return Zip(path)
    try:
        is_tar = tarfile.is_tarfile(path)
    except (OSError, EOFError, zlib.error):
        is_tar = False
    if is_tar:
        return Tar(path)
    raise UserError(f"{path} is neither a folder nor a zip, tar or parquet file, so no pictures are read from it")


__all__ = ["open_store"]
