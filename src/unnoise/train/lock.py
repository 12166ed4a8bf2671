"""One process at a time in a run folder."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from unnoise.config import UserError

if os.name == "nt":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def lock(folder: Path) -> Generator[None]:
    """Holds the folder against other trainings; the system lets go of it when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _take(handle)
        except OSError:
            raise UserError(f"another process is training in {folder}: wait for it, or give another folder") from None
        yield
    finally:
        os.close(handle)


__all__ = ["lock"]
