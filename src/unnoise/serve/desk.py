"""Where the page's own questions are worked out: in one thread, so that drawing shares the machine with one at most."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from unnoise.serve.refusals import busy

T = TypeVar("T")
WAITING = 32  # questions, beyond which the next is told to come again


class Desk:
    """Questions take turns in the order of their coming; one that nobody waits for any more is not begun."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._open = 0

    async def ask(self, work: Callable[[], T]) -> T:
        """What the work gives, when it has had its turn. Raises Refused where too many wait."""
        if self._open >= WAITING:
            raise busy(f"{self._open} questions of the page wait for their turn", 2.0)
        self._open += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._open -= 1

    def close(self) -> None:
        """Ends with what is under way; what waits is dropped."""
        self._thread.shutdown(wait=True, cancel_futures=True)


__all__ = ["Desk"]
