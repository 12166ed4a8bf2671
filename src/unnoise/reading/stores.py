"""Where picture files lie: a folder, a zip, a tar. Read one after the other; nothing is unpacked to the disk."""

import hashlib
import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from unnoise.config import UserError
from unnoise.reading.decode import Unreadable, oversized

PARQUET = ".parquet"
TEXTS = frozenset(
    f"{name}.{kind}" for name in ("metadata", "labels", "captions") for kind in ("csv", "jsonl")
)  # what may say labels and captions, beside the pictures
CAPTION = ".txt"  # ends the name of a file beside a picture that may be its caption
LARGEST_TEXT = 1 << 28  # bytes


@dataclass(frozen=True)
class Entry:
    """One file of a store: its name within it ("cats/1.png"), and how it is read. Read it before the next comes."""

    name: str
    read: Callable[[int], bytes]  # all bytes, if they are no more than so many; raises Unreadable
    share: float = 0.0  # how far through the store this is, 0 to 1
    label: str | None = None  # where the store itself knows it
    part: str | None = None  # "train", "validation" or "test", likewise
    caption: str | None = None  # likewise
    sure: bool = False  # whether it can only be meant as a picture, whatever its name

    @property
    def is_text(self) -> bool:
        """Whether it tells of pictures, and is none."""
        path = PurePosixPath(self.name.lower())
        return path.name in TEXTS or path.suffix == CAPTION


class Store(ABC):
    """Files with names, in an order that stays."""

    classes: tuple[str, ...] = ()  # in their order, where the store itself knows it

    def __init__(self, path: Path):
        self.path = path

    @abstractmethod
    def stamp(self) -> str:
        """SHA-256 of names, sizes and times: as long as it stays, nothing has changed. No content is read."""

    @abstractmethod
    def __iter__(self) -> Iterator[Entry]: ...


class Folder(Store):
    """All files below a folder, by name; hidden ones and folders behind links are passed over."""

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        def below(folder: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
            with os.scandir(folder) as found:
                entries = sorted((e for e in found if not _hidden(e.name)), key=lambda e: e.name)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from below(entry.path, f"{prefix}{entry.name}/")
                elif entry.is_file():
                    yield f"{prefix}{entry.name}", entry.stat()

        try:
            yield from below(str(self.path), "")
        except PermissionError as error:
            raise UserError(f"{error.filename} may not be read: permission denied") from None

    def stamp(self) -> str:
        return hashed((name, stat.st_size, stat.st_mtime_ns) for name, stat in self._files())

    def __iter__(self) -> Iterator[Entry]:
        names = [name for name, _ in self._files()]

        def reader(name: str) -> Callable[[int], bytes]:
            def read(most: int) -> bytes:
                try:
                    with open(self.path / name, "rb") as file:
                        return _whole(file, os.fstat(file.fileno()).st_size, most)
                except OSError as error:
                    raise Unreadable((error.strerror or str(error)).lower()) from None

            return read

        for i, name in enumerate(names):
            yield Entry(name, reader(name), i / len(names))


class Archive(Store):
    """A file that holds files: known by its size and time."""

    def stamp(self) -> str:
        stat = self.path.stat()
        return hashed([(stat.st_size, stat.st_mtime_ns)])


class Zip(Archive):
    """The members of a zip, by name."""

    def __iter__(self) -> Iterator[Entry]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = sorted(
                    (m for m in archive.infolist() if not m.is_dir() and not _unseen(m.filename)),
                    key=lambda m: m.filename,
                )
                for i, member in enumerate(members):
                    yield Entry(_posix(member.filename), self._reader(archive, member), i / len(members))
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{self.path} is no zip that can be read: {error}") from None

    @staticmethod
    def _reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[int], bytes]:
        def read(most: int) -> bytes:
            try:
                with archive.open(member) as file:
                    return _whole(file, member.file_size, most)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
                raise Unreadable(f"broken: {error}") from None

        return read


class Tar(Archive):
    """The members of a tar, compressed or not, in the order of the file: read in one go from front to back."""

    def __iter__(self) -> Iterator[Entry]:
        size = max(1, self.path.stat().st_size)
        with self._to_its_end(), open(self.path, "rb") as raw, tarfile.open(fileobj=raw, mode="r|*") as archive:
            for member in archive:
                if member.isfile() and not _unseen(member.name):
                    yield Entry(_posix(member.name), self._reader(archive, member), min(1.0, raw.tell() / size))

    def _reader(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[int], bytes]:
        def read(most: int) -> bytes:
            with self._to_its_end():
                file = archive.extractfile(member)
                return b"" if file is None else _whole(file, member.size, most)

        return read

    @contextmanager
    def _to_its_end(self) -> Generator[None]:
        try:
            yield
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise UserError(f"{self.path} is no tar that can be read to its end: {error}") from None


def _whole(file: Any, claimed: int, most: int) -> bytes:
    """All of a file, whatever size it claims, unless that is too much."""
    data = b"" if claimed > most else file.read(most + 1)
    if max(claimed, len(data)) > most:
        raise Unreadable(oversized(max(claimed, len(data)), most))
    return data


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _unseen(name: str) -> bool:
    return any(_hidden(part) for part in _posix(name).split("/") if part not in (".", ".."))


def _posix(name: str) -> str:
    """A member's name as a path within the archive: a label or a name, and never a place on this disk."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))


def hashed(facts: Any) -> str:
    total = hashlib.sha256()
    for fact in facts:
        total.update(repr(fact).encode("utf-8", "surrogatepass") + b"\n")
    return total.hexdigest()


__all__ = ["CAPTION", "LARGEST_TEXT", "PARQUET", "TEXTS", "Archive", "Entry", "Folder", "Store", "Tar", "Zip", "hashed"]
