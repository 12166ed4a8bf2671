"""The one way to the disk: beside, synced, renamed. Whoever looks sees the old or the new, never a part."""

import os
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = ".unfinished-"  # begins the name of a folder that is being written or removed
_BINARY = getattr(os, "O_BINARY", 0)  # Windows


class Unwritten(OSError):
    """A file that could not be written. Its sentence names the file and the reason; errno is the system's."""

    def __str__(self) -> str:
        reason = str(self.strerror)
        return f"cannot write {self.filename}: {reason[:1].lower()}{reason[1:]}"


@contextmanager
def naming(path: str | Path) -> Generator[None]:
    """An error of the system within names this file, which os.write and os.fsync by themselves do not."""
    try:
        yield
    except Unwritten:
        raise
    except OSError as error:
        raise Unwritten(error.errno, error.strerror or str(error), str(path)) from error


def put(path: str | Path, data: bytes | str) -> Path:
    """`data` at `path`, folders made as needed; a power cut leaves the old file or the new."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with naming(path):
        _folder(path.parent)
        try:
            _fill(beside, data.encode() if isinstance(data, str) else data)
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
        _sync(path.parent)
    return path


def put_folder(path: Path, contents: Iterable[tuple[str, bytes]]) -> Path:
    """A folder of files, whole or not at all; what stood at `path` gives way when the new one is complete.

    contents: names and bytes, asked for one after the other, so that one file is in memory at a time. One process
    at a time may write a folder of this name.
    """
    beside = path.with_name(f"{UNFINISHED}{path.name}")
    with naming(path):
        _folder(path.parent)
        _remove(beside)
        try:
            os.mkdir(beside)
            for name, data in contents:
                _fill(beside / name, data)
            _sync(beside)
            drop(path)
            os.rename(beside, path)
        except BaseException:
            _remove(beside)
            raise
        _sync(path.parent)
    return path


def drop(path: Path) -> None:
    """Removes a folder, if it is there: under another name first, so that half of it never bears its own."""
    if path.exists():
        aside = path.with_name(f"{UNFINISHED}removed-{path.name}")
        _remove(aside)
        with naming(path):
            os.rename(path, aside)
        _remove(aside)


def append(path: Path, line: str) -> None:
    """One more line of a file of lines, on the disk when this returns.

    Half a line that an interrupted process left is cut off first, and a line that does not fit is taken back: so
    nothing is ever glued to half a line.
    """
    assert line.endswith("\n")
    with naming(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666)
        try:
            end = _end(handle)
            if end < os.fstat(handle).st_size:
                os.ftruncate(handle, end)
            os.lseek(handle, end, os.SEEK_SET)
            try:
                _write(handle, line.encode())
                os.fsync(handle)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(handle, end)
                raise
        finally:
            os.close(handle)
        if end == 0:
            _sync(path.parent)  # the file itself is new


def sweep(folder: Path) -> None:
    """Removes what interrupted calls of `put` and `put_folder` left in a folder that no other process writes to.

    A file beside is left alone while its writer lives: reports may be written by others.
    """
    for path in (*folder.glob(f"{UNFINISHED}*"), *folder.glob(".*.new")):
        if path.is_dir():
            _remove(path)
        elif not _lives(path.name.split(".")[-2]):
            with suppress(OSError):
                os.unlink(path)


def _folder(path: Path) -> None:
    if not path.is_dir():
        os.makedirs(path, exist_ok=True)


def _fill(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, 0o666)
    try:
        _write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:  # the system may take a part, and tell only at the next call that there is no space
        left = left[os.write(handle, left) :]


def _sync(folder: Path) -> None:
    """A rename is on the disk when its folder is."""
    if os.name == "nt":  # folders cannot be opened there; the rename is journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    """Removes a folder as far as it goes: what cannot be removed now is tried again by the next save."""
    shutil.rmtree(path, ignore_errors=True)


def _end(handle: int) -> int:
    """Where the last whole line ends."""
    end, block = os.fstat(handle).st_size, 1 << 16
    while end > 0:
        first = max(end - block, 0)
        os.lseek(handle, first, os.SEEK_SET)
        found = os.read(handle, end - first).rfind(b"\n")
        if found >= 0:
            return first + found + 1
        end = first
    return 0


def _lives(process: str) -> bool:
    if os.name == "nt" or not process.isdecimal():  # there signal 0 is no question
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


__all__ = ["UNFINISHED", "Unwritten", "append", "drop", "naming", "put", "put_folder", "sweep"]
