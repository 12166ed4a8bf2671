"""What the loops ask of a plan: any walk from noise to data, be it the table of an affine rule or another's."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from unnoise.samplers.step import Ledger, State, Step
from unnoise.tensor import Array, Cond, Tensor


@runtime_checkable
class Lead(Protocol):
    """A head start: what is done to x_T before the first question, with no question asked."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that it does."""
        ...

    def __call__(self, x: Tensor, cond: Cond) -> Tensor:
        """x (B, ...) as drawn at the walk's start, for items that are told `cond` → x at the first question."""
        ...


@runtime_checkable
class Walk(Protocol):
    """R questions, and how the state moves after each; hashable, and the same for every item that follows it."""

    @property
    def t(self) -> Array:
        """When to ask the denoiser: (R,)."""
        ...

    @property
    def to(self) -> Array:
        """The time each answer is for: (R,)."""
        ...

    @property
    def weight(self) -> Array:
        """The factor on the excess of the guidance weight over 1: (R,)."""
        ...

    @property
    def start(self) -> float:
        """Where x_T is drawn."""
        ...

    @property
    def end(self) -> float:
        """Where the sample stands."""
        ...

    @property
    def rows(self) -> int:
        """R."""
        ...

    @property
    def memories(self) -> int:
        """Answers kept at a time."""
        ...

    def draws(self, row: int) -> bool:
        """Whether a row draws noise."""
        ...

    def noise_ends(self) -> tuple[Array, Array]:
        """The times between which each row's noise is drawn: (R,), (R,)."""
        ...

    @property
    def head(self) -> Lead | None:
        """What carries x_T from `start` to the first question, if anything does."""
        ...

    def begin(self, x: Tensor) -> State:
        """The state before the first question."""
        ...

    def specialise(self) -> Sequence[Step]:
        """One function for each row."""
        ...

    def join(self, plans: Sequence[Any], like: Tensor) -> Ledger:
        """Every row of plans, all of this walk's kind, one after the other: for mixed batches of states like x."""
        ...
