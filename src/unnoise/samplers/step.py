"""The state between two questions, and what moves it: a step of one plan, or of every item of a mixed batch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from unnoise.tensor import Float, Tensor


class State(NamedTuple):
    """x: the question (B, ...); base: where the sample stands (B, ...); memory: past answers, each (B, ...).

    A step of one plan keeps M answers in the plan's slots; a mixed batch keeps the last ones in the order of their age.
    """

    x: Float[Tensor, "B *dims"]
    base: Float[Tensor, "B *dims"]
    memory: tuple[Tensor, ...]


def begin(x: Float[Tensor, "B *dims"], memories: int) -> State:
    """The state before the first question: x_T asked and standing, memories empty."""
    return State(x, x, (torch.zeros_like(x),) * memories)


Step = Callable[[State, Tensor, Callable[[], Tensor], Tensor | None], State]  # (state, x0, draw, v) → state


@runtime_checkable
class Advance(Protocol):
    """One row further for every item of a mixed batch."""

    def advance(self, state: State, x0: Tensor, noise: Tensor | None, v: Tensor | None = None) -> State:
        """The next state; noise is None where no item's row draws any; v: the learned variance, if any is told."""
        ...


Places = npt.NDArray[np.int64]


@runtime_checkable
class Ledger(Protocol):
    """Every row of several plans, one plan after the other: what a mixed batch takes its steps from."""

    @property
    def memories(self) -> int:
        """Past answers that a state must hold."""
        ...

    def ahead(self, at: Places, index: Tensor) -> Sequence[Advance]:
        """The next K steps of B items: item b takes row at[k, b] at step k; index: the same on the device, (K·B,)."""
        ...
