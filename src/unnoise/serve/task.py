"""A job on its way, and the lanes where jobs wait and stand."""

from collections import deque
from dataclasses import dataclass, field

from unnoise.serve.line import Line
from unnoise.serve.models import Loaded
from unnoise.serve.order import Order
from unnoise.serve.track import QUEUED, Track
from unnoise.tensor import Tensor

SOON = 2  # steps that may be taken before it is heard of the last


@dataclass(eq=False)
class Task:
    """A job on its way. under_way: where each sample stands, in rows; found, failed: what has become of the others;
    ends: how often all that was under way has been lost."""

    track: Track
    order: Order
    deadline: float  # on the monotonic clock
    number: int = 0
    came: int = 0  # at which tick of the worker
    waiting: deque[int] = field(default_factory=deque[int])
    under_way: dict[int, int] = field(default_factory=dict[int, int])
    found: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    failed: dict[int, str] = field(default_factory=dict[int, str])
    model: Loaded | None = None  # since its first sample has a place: all are drawn by the same weights
    ends: int = 0

    def __post_init__(self) -> None:
        self.waiting.extend(range(len(self.order.seeds)))

    def again(self) -> None:
        """From its beginning: nothing is found, and all of it waits."""
        for held in (self.waiting, self.under_way, self.found, self.failed):
            held.clear()
        self.waiting.extend(range(len(self.order.seeds)))
        self.track.state, self.track.steps = QUEUED, (0, self.order.plan.rows * self.track.samples)

    @property
    def owner(self) -> str:
        """Whose job it is."""
        return self.track.owner

    @property
    def left(self) -> int:
        """Evaluations still to do, nearly."""
        return self.order.rows * len(self.waiting) + sum(self.order.plan.rows - row for row in self.under_way.values())


@dataclass(eq=False)
class Lane:
    """An engine, by its number, and who waits for it. tickets: whose samples, by the number they were submitted by."""

    number: int
    model: Loaded
    places: int
    line: Line[Task] = field(default_factory=Line[Task])
    tickets: dict[int, tuple[Task, list[int]]] = field(default_factory=dict[int, tuple[Task, list[int]]])

    @property
    def works(self) -> bool:
        """Whether anything is under way in it, or waits for it."""
        return len(self.tickets) + len(self.line) > 0

    @property
    def free(self) -> int:
        """Places soon: who follows what ends within SOON steps is sent ahead, at most as often as there are places."""
        left = [task.order.plan.rows - row
                for task, samples in self.tickets.values()
                for sample in samples if (row := task.under_way.get(sample)) is not None]  # fmt: skip
        return self.places + min(self.places, sum(rows <= SOON for rows in left)) - len(left)


__all__ = ["Lane", "Task"]
