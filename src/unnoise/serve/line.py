"""Who comes next: the oldest job of the key that has the fewest samples under way."""

from collections import Counter, deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar, runtime_checkable


@runtime_checkable
class Waits(Protocol):
    """A job of somebody's, some of whose samples wait."""

    @property
    def owner(self) -> str:
        """Whose it is."""
        ...

    @property
    def number(self) -> int:
        """Rises from one job to the next."""
        ...

    @property
    def waiting(self) -> "deque[int]":
        """The samples that have no place yet, in order."""
        ...


J = TypeVar("J", bound=Waits)


class Line(Generic[J]):
    """Jobs that wait for places of one kind, in a queue for each key."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[J]] = {}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __iter__(self) -> Iterator[J]:
        """In no promised order."""
        return (job for queue in self._queues.values() for job in queue)

    def add(self, job: J) -> None:
        """To the end of its key's queue."""
        self._queues.setdefault(job.owner, deque()).append(job)

    def drop(self, job: J) -> bool:
        """Takes a job out; whether it was there."""
        queue = self._queues.get(job.owner, deque())
        if job not in queue:
            return False
        queue.remove(job)
        if not queue:
            del self._queues[job.owner]
        return True

    def take(self, places: int, under_way: Counter[str]) -> list[tuple[J, list[int]]]:
        """Samples for so many places, by job. under_way: of each key, counted on as places are given.

        Of keys that have as many, the one whose oldest job came first has the next place.
        """
        taken: dict[int, tuple[J, list[int]]] = {}
        for _ in range(places):
            if not self._queues:
                break
            owner = min(self._queues, key=lambda name: (under_way[name], self._queues[name][0].number))
            queue = self._queues[owner]
            job = queue[0]
            taken.setdefault(id(job), (job, []))[1].append(job.waiting.popleft())
            under_way[owner] += 1
            if not job.waiting:
                queue.popleft()
                if not queue:
                    del self._queues[owner]
        return list(taken.values())


__all__ = ["Line", "Waits"]
