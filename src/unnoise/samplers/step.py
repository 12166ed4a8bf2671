"""One small step that runs every table: specialised to one plan, or gathered per item."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from unnoise.tensor import Array, Float, Tensor, send


@dataclass(frozen=True)
class State:
    """x: the question (B, ...); base: where the sample stands (B, ...); memory: M past answers, each (B, ...)."""

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


Terms = list[tuple[int, float]]  # columns and their coefficients, none of them 0


@dataclass(frozen=True, slots=True)
class RowStep:
    """One row as a function: coefficients as Python numbers, zero columns dropped.

    Pure: (state, x0, draw, v) → state, and draw is called only where the noise column is not zero; its deviation is
    multiplied by exp(spread·v) where the row has a spread and the belief a v.
    """

    slot: int
    keep: tuple[float, float]
    base: Terms
    ask: Terms
    noisy: bool
    spread: float = 0.0

    def __call__(self, state: State, x0: Tensor, draw: Callable[[], Tensor], v: Tensor | None = None) -> State:
        slot, (keep_x, keep_data) = self.slot, self.keep
        kept = x0 if keep_x == 0 and keep_data == 1 else (keep_x * state.x).add_(x0, alpha=keep_data)
        memory = (*state.memory[:slot], kept, *state.memory[slot + 1 :])
        columns = (state.base, *memory)
        if self.noisy:
            columns = (*columns, draw() if v is None or not self.spread else draw() * (self.spread * v).exp())
        base = _combine(self.base, columns)
        return State(base if self.ask is self.base else _combine(self.ask, columns), base, memory)


def row_step(keep: Array, slot: int, base: Array, ask: Array, spread: float) -> RowStep:
    """The step of one row."""
    to_base, to_ask = _terms(base), _terms(ask)
    noisy = bool(base[-1] or ask[-1])
    moved = to_base, to_base if to_base == to_ask else to_ask
    return RowStep(slot, (float(keep[0]), float(keep[1])), *moved, noisy, spread)


def _terms(line: Array) -> Terms:
    return [(column, value) for column, value in enumerate(line.tolist()) if value != 0]


def _combine(terms: Terms, columns: tuple[Tensor, ...]) -> Tensor:
    if not terms:
        return torch.zeros_like(columns[0])
    (column, value), *rest = terms
    if value == 1:
        total, own = columns[column], False  # a column itself, not to be written to
    else:
        total, own = value * columns[column], True
    for column, value in rest:
        total = total.add_(columns[column], alpha=value) if own else torch.add(total, columns[column], alpha=value)
        own = True
    return total


@dataclass(frozen=True)
class Rows:
    """The rows at which the items of a batch stand, gathered.

    keep (2, B); fresh (M, B): which memory the answer goes to; moves (M + 2, 2, B): for each column
    its coefficient in the new base and in the next question; spread (B,): the exponent of the noise by v, None where
    no item heeds it.
    """

    keep: Tensor
    fresh: Tensor
    moves: Tensor
    spread: Tensor | None = None

    def advance(self, state: State, x0: Tensor, noise: Tensor | None, v: Tensor | None = None) -> State:
        """Every item one row further, each by its own plan; no branch on values, no synchronisation.

        Columns are multiplied, then added one after the other, so an item's bits do not depend on its company.
        """
        ones = (1,) * (x0.ndim - 1)
        keep, fresh, moves = (part.reshape(*part.shape, *ones) for part in (self.keep, self.fresh, self.moves))
        if noise is not None and v is not None and self.spread is not None:
            noise = noise * (self.spread.reshape(-1, *ones) * v).exp()
        kept = (keep[0] * state.x).add_(keep[1] * x0)
        memory = tuple(torch.where(mine, kept, old) for mine, old in zip(fresh.unbind(0), state.memory, strict=True))
        columns = (state.base, *memory) if noise is None else (state.base, *memory, noise)
        first, *rest = zip(moves.unbind(0), columns, strict=False)  # without noise its column is left over
        total = first[0] * first[1]
        for coefficient, column in rest:
            total.add_(coefficient * column)
        base, ask = total.unbind(0)
        return State(ask, base, memory)


def pack(keep: Array, slot: Array, base: Array, ask: Array, spread: Array, memories: int) -> Array:
    """Every row of a plan in one line: keep, which of the memories is fresh, (base, ask) by columns, and spread.

    memories: the width M of the state, at least the plan's own; columns beyond those are zero. (R, 3·M + 7)
    """
    moves = np.zeros((len(slot), memories + 2, 2))
    moves[:, : base.shape[1] - 1] = np.stack([base, ask], axis=2)[:, :-1]
    moves[:, -1] = np.stack([base[:, -1], ask[:, -1]], axis=1)  # the noise column is always the last
    fresh = slot[:, None] == np.arange(memories)
    return np.concatenate([keep, fresh, moves.reshape(len(slot), -1), spread[:, None]], axis=1)


def gather(lines: Array, memories: int, like: Tensor) -> Rows:
    """The packed row of every item (B, 3·M + 7), on the device of `like` by one transfer."""
    table = send(torch.from_numpy(np.ascontiguousarray(lines.T)).to(like.dtype), like.device)
    keep, fresh, moves, spread = table.split([2, memories, 2 * (memories + 2), 1])
    return Rows(keep, fresh != 0, moves.reshape(memories + 2, 2, -1), spread[0] if lines[:, -1].any() else None)
