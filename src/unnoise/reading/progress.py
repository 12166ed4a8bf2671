"""Who is told how far a long reading of data has come: whoever asked, wherever the reading happens to begin."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[str, float, int], None]

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Generator[None]:
    """While this lasts, watcher(what, share, done) hears of readings: a name, the share from 0 to 1, how many items.

    Data are read when they are first needed, deep within other calls; so the one who shows progress is not handed
    down through all of these. It is called some ten times a second, and with the share 1 at the end.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def tell(what: str, share: float, done: int) -> None:
    """Tells whoever watches."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(what, share, done)


__all__ = ["Watcher", "tell", "watching"]
