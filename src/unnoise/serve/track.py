"""Where a job stands, for those who ask and those who listen: what is newest of each kind of news, numbered.

News are numbered by the microseconds of the clock, and rise: so a listener who was cut off names the last number it
saw and is told what is newer, after a restart of the server too. What is out of date is not kept: the memory that a job
takes does not grow with its steps.
"""

import asyncio
import time
from collections.abc import Iterable
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

State: TypeAlias = str
QUEUED, RUNNING, DONE, FAILED, CANCELLED, EXPIRED = "queued", "running", "done", "failed", "cancelled", "expired"
ENDS = (DONE, FAILED, CANCELLED, EXPIRED)


class News(NamedTuple):
    """number rises from one to the next; name: queued, step, preview or one of ENDS."""

    number: int
    name: str
    told: dict[str, Any]


class Track:
    """The state of one job. `tell` and the setters are for any thread; `after` and `changed` for the event loop's."""

    def __init__(self, job: str, owner: str, model: str, samples: int, created: float | None = None):
        self.job, self.owner, self.model, self.samples = job, owner, model, samples
        self.created = time.time() if created is None else created
        self.begun = time.monotonic()
        self.state: State = QUEUED
        self.error = ""
        self.failures: dict[int, str] = {}
        self.steps: tuple[int, int] = (0, 0)  # evaluations done, of how many
        self.place: int | None = None
        self.listeners = 0
        self.shown = 0.0  # when previews were last made
        self._number, self._lock = 0, Lock()
        self._news: dict[str, News] = {}
        self._waiting: set[asyncio.Event] = set()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDS

    def tell(self, name: str, told: dict[str, Any], key: str | None = None) -> None:
        """News of a kind, in the place of the last of that kind (or key)."""
        self._news[key or name] = News(self.next(), name, told)

    def next(self) -> int:
        """The number of news that are yet to be told."""
        with self._lock:
            self._number = max(self._number + 1, time.time_ns() // 1000)
            return self._number

    def end(self, state: State, told: dict[str, Any], number: int) -> None:
        """The last news, by the number that is written down, so that it has the same after a restart."""
        self._news = {key: news for key, news in self._news.items() if news.name not in ("queued", "preview")}
        self._news[state] = News(number, state, told)
        self.state = state  # last: who sees it finds the news of it

    def after(self, number: int) -> list[News]:
        """What is newer than a number, in order."""
        return sorted(news for news in list(self._news.values()) if news.number > number)

    async def changed(self, patience: float) -> bool:
        """Waits for news; whether there were any within so many seconds."""
        bell = asyncio.Event()
        self._waiting.add(bell)
        try:
            await asyncio.wait_for(bell.wait(), patience)
        except TimeoutError:
            return False
        except asyncio.TimeoutError:
            return False
        finally:
            self._waiting.discard(bell)
        return True

    def ring(self) -> None:
        """Wakes who waits; for the event loop's thread."""
        for bell in self._waiting:
            bell.set()


class Bells:
    """Rings tracks on the event loop, whatever thread they changed in, with one call for many."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def hang(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """On which loop the listeners wait; None: there are none any more."""
        self._loop = loop

    def ring(self, tracks: Iterable[Track]) -> None:
        """Tells the listeners of some tracks, if there is a loop that they wait on."""
        changed, loop = [track for track in tracks if track.listeners], self._loop
        if changed and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(_ring, changed)


def _ring(tracks: list[Track]) -> None:
    for track in tracks:
        track.ring()


__all__ = ["CANCELLED", "DONE", "ENDS", "EXPIRED", "FAILED", "QUEUED", "RUNNING", "Bells", "News", "Track"]
