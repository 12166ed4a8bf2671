"""Ctrl-C, heard by long work: the first ends it well, the second at once."""

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


@contextmanager
def asked_to_stop(stop: Callable[[], None]) -> Generator[list[int]]:
    """The first Ctrl-C (or termination) calls `stop`, which ends work after its step; the second ends it at once.

    Yields the signals that came, in their order.
    """
    asked: list[int] = []

    def hear(number: int, frame: "FrameType | None") -> None:
        asked.append(number)
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # a plain write, since a handler may come in the middle of a print
        os.write(2, b"\nFinishing the step, then saving; once more stops at once.\n")

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


__all__ = ["asked_to_stop"]
