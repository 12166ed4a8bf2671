"""One training at a time in a run folder; whoever only reads needs no lock."""

import errno
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from unnoise.config import UserError
from unnoise.files import naming

if os.name == "nt":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> None:
        # A record lock, not flock's: it is this process's alone. Children that read data inherit the handle, and
        # may outlive a killed parent by seconds in which a resume must not find the folder busy.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_held: set[str] = set()  # a record lock does not hold against its own process


@contextmanager
def lock(folder: Path) -> Generator[None]:
    """Holds the folder against other trainings; the system lets go of it when the process ends, however it ends."""
    with naming(folder):
        os.makedirs(folder, exist_ok=True)
    name = os.path.realpath(folder)
    if name in _held:  # before the file is opened: to close it again would free it
        raise _busy(folder)
    with naming(folder / ".lock"):
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _take(handle)
        except OSError as error:
            if error.errno in BUSY:
                raise _busy(folder) from None
            reason = f"{error.strerror}: no other process may train in it"
            warnings.warn(f"{folder} lies where nothing can be locked ({reason})", stacklevel=3)
        _held.add(name)
        try:
            yield
        finally:
            _held.discard(name)
    finally:
        os.close(handle)


def _busy(folder: Path) -> UserError:
    return UserError(f"another process is training in {folder}: wait for it, or name another folder with --out")


__all__ = ["lock"]
