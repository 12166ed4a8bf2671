"""What is said to the loop that takes the steps, and what it tells: plain parts that a process can be sent."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from unnoise.loop import Job
from unnoise.run import Run
from unnoise.serve.probe import Bits
from unnoise.tensor import Tensor

Place: TypeAlias = tuple[int, int]  # ticket, index: one sample of a job


# What is said to it


@dataclass(frozen=True)
class Open:
    """Another model, by a number of its own. kept: where classes of bits are remembered; most: rows of a call."""

    model: int
    folder: Path
    device: str
    kept: Path
    most: int


@dataclass(frozen=True)
class Drop:
    """A model that nobody needs any more, and its lanes."""

    model: int


@dataclass(frozen=True)
class Begin:
    """A lane: an engine for one model and one set of guides."""

    lane: int
    model: int
    guides: str
    places: int
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class End:
    """A lane that nobody needs any more."""

    lane: int


@dataclass(frozen=True, eq=False)
class Submit:
    """Samples for a lane, by a ticket that the sender numbers."""

    lane: int
    ticket: int
    job: Job


@dataclass(frozen=True)
class Cancel:
    """A ticket that nobody waits for any more: it ends before the next step."""

    lane: int
    ticket: int


@dataclass(frozen=True)
class Look:
    """A ticket whose beliefs somebody wants to see after its next step."""

    lane: int
    ticket: int


Message: TypeAlias = Open | Drop | Begin | End | Submit | Cancel | Look | None  # None: stop


# What it tells


@dataclass(frozen=True, eq=False)
class Opened:
    """A model is at hand, or is not: trouble says why. run: with its weights, where it lies in this process."""

    model: int
    bits: Bits | None = None
    weights: str = ""
    trouble: str = ""
    run: Run | None = None


@dataclass(eq=False)
class Turn:
    """One step of a lane: the row each sample has reached, and which have ended. beliefs: of first rows, and of those
    that were looked for."""

    lane: int
    seconds: float = 0.0
    rows: dict[Place, int] = field(default_factory=dict[Place, int])
    beliefs: dict[Place, Tensor] = field(default_factory=dict[Place, Tensor])
    found: dict[Place, Tensor] = field(default_factory=dict[Place, Tensor])
    failed: dict[Place, str] = field(default_factory=dict[Place, str])


@dataclass(frozen=True)
class GaveUp:
    """A whole step has failed, such as for want of memory; its lane is no more."""

    lane: int
    reason: str


@dataclass(frozen=True)
class Ended:
    """The loop is no more, with all that it held."""

    reason: str


News: TypeAlias = Opened | Turn | GaveUp | Ended


@runtime_checkable
class Stepper(Protocol):
    """The loop, wherever it runs."""

    def start(self) -> None:
        """Begins to take messages."""
        ...

    def is_alive(self) -> bool:
        """Whether messages are taken."""
        ...

    def send(self, message: Message) -> None:
        """Says something to it, from any thread."""
        ...

    def stop(self) -> None:
        """Ends it after the step that it takes."""
        ...


__all__ = [
    "Begin", "Cancel", "Drop", "End", "Ended", "GaveUp", "Look", "Message", "News", "Open", "Opened", "Place",
    "Stepper", "Submit", "Turn",
]  # fmt: skip
