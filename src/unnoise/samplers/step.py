"""One small step that runs every table: specialised to one plan, or gathered per item."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from unnoise.tensor import Array, Float, Tensor, send


class State(NamedTuple):
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


Terms = tuple[tuple[int, float], ...]  # columns and their coefficients, none of them 0


@dataclass(frozen=True, slots=True)
class RowStep:
    """One row as a function: coefficients as Python numbers, zero columns dropped.

    Pure: (state, x0, draw, v) → state, and draw is called only where the noise column is not zero; its deviation is
    multiplied by exp(spread·v) where the row has a spread and the belief a v. plain: whether x0 itself is remembered.
    """

    slot: int
    keep: tuple[float, float]
    plain: bool
    base: Terms
    ask: Terms
    noisy: bool
    spread: float = 0.0

    def __call__(self, state: State, x0: Tensor, draw: Callable[[], Tensor], v: Tensor | None = None) -> State:
        x, base, memory = state
        slot = self.slot
        kept = x0 if self.plain else (self.keep[0] * x).add_(x0, alpha=self.keep[1])
        memory = (kept,) if len(memory) == 1 else (*memory[:slot], kept, *memory[slot + 1 :])
        columns = (base, *memory)
        if self.noisy:
            columns = (*columns, draw() if v is None or not self.spread else draw() * (self.spread * v).exp())
        base = _combine(self.base, columns)
        return State(base if self.ask is self.base else _combine(self.ask, columns), base, memory)


def row_step(keep: Array, slot: int, base: Array, ask: Array, spread: float) -> RowStep:
    """The step of one row."""
    to_base, to_ask = _terms(base), _terms(ask)
    noisy = bool(base[-1] or ask[-1])
    moved = to_base, to_base if to_base == to_ask else to_ask
    kept = float(keep[0]), float(keep[1])
    return RowStep(slot, kept, kept == (0, 1), *moved, noisy, spread)


def _terms(line: Array) -> Terms:
    return tuple((column, value) for column, value in enumerate(line.tolist()) if value != 0)


def _combine(terms: Terms, columns: tuple[Tensor, ...]) -> Tensor:
    total, own = None, True  # own: whether the total may be written to
    for column, value in terms:
        part = columns[column]
        if total is None:
            own = value != 1
            total = part * value if own else part
        elif own:
            total.add_(part, alpha=value)
        else:
            total, own = torch.add(total, part, alpha=value), True
    return torch.zeros_like(columns[0]) if total is None else total


Line = list[tuple[int, Tensor]]  # columns and their coefficients for each item (B, 1, ..)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows at which the items of a batch stand, gathered; columns that no item uses are left out.

    keep: what each item remembers of (x, x0), None where all remember x0; fresh: for each memory whether the answer
    goes there, for all items (True), for none (False) or for some (B, 1, ..), 1 and 0, at which lerp is exact; base,
    ask: the lines of the new base and of the next question, one object where they are equal; spread: the exponent of
    the noise by v, None where no item heeds it.
    """

    keep: tuple[Tensor, Tensor] | None
    fresh: list[Tensor | bool]
    base: Line
    ask: Line
    spread: Tensor | None = None

    def advance(self, state: State, x0: Tensor, noise: Tensor | None, v: Tensor | None = None) -> State:
        """Every item one row further, each by its own plan; no branch on the device's values, no synchronisation.

        Columns are added one after the other, and one that an item does not use adds an exact zero: so an item's
        bits do not depend on its company.
        """
        if noise is not None and v is not None and self.spread is not None:
            noise = noise * (self.spread * v).exp()
        kept = x0 if self.keep is None else torch.mul(state.x, self.keep[0]).addcmul_(self.keep[1], x0)
        memory = tuple(
            torch.lerp(old, kept, mine) if isinstance(mine, Tensor) else kept if mine else old
            for mine, old in zip(self.fresh, state.memory, strict=True)
        )
        columns = (state.base, *memory) if noise is None else (state.base, *memory, noise)
        base = _add_up(self.base, columns)
        return State(base if self.ask is self.base else _add_up(self.ask, columns), base, memory)


def _add_up(line: Line, columns: tuple[Tensor, ...]) -> Tensor:
    total = None
    for column, coefficient in line:
        if column < len(columns):  # without noise its column is left over
            part = columns[column]
            total = torch.mul(part, coefficient) if total is None else total.addcmul_(coefficient, part)
    return torch.zeros_like(columns[0]) if total is None else total


def pack(keep: Array, slot: Array, base: Array, ask: Array, spread: Array, memories: int) -> Array:
    """Every row of a plan in one line: keep, which of the memories is fresh, base and ask by columns, and spread.

    memories: the width M of the state, at least the plan's own; columns beyond those are zero. (R, 3·M + 7)
    """
    moves = np.zeros((len(slot), 2, memories + 2))
    moves[:, :, : base.shape[1] - 1] = np.stack([base, ask], axis=1)[:, :, :-1]
    moves[:, :, -1] = np.stack([base[:, -1], ask[:, -1]], axis=1)  # the noise column is always the last
    fresh = slot[:, None] == np.arange(memories)
    return np.concatenate([keep, fresh, moves.reshape(len(slot), -1), spread[:, None]], axis=1)


def gather(lines: Array, memories: int, like: Tensor) -> Rows:
    """The packed row of every item (B, 3·M + 7), on the device of `like` by one transfer."""
    host = np.ascontiguousarray(lines.T)
    table = send(torch.from_numpy(host).to(like.dtype), like.device)
    parts = table.reshape(*table.shape, *(1,) * (like.ndim - 1)).unbind(0)
    some: list[bool] = np.any(host, axis=1).tolist()
    every: list[bool] = np.all(host, axis=1).tolist()
    wide = memories + 2
    plain = not some[0] and bool((host[1] == 1).all())
    first, last = 2 + memories, 2 + memories + wide
    base = [(column, parts[first + column]) for column in range(wide) if some[first + column]]
    same = np.array_equal(host[first:last], host[last : last + wide])
    return Rows(
        None if plain else (parts[0], parts[1]),
        [parts[2 + m] if some[2 + m] and not every[2 + m] else some[2 + m] for m in range(memories)],
        base,
        base if same else [(column, parts[last + column]) for column in range(wide) if some[last + column]],
        parts[-1] if some[-1] else None,
    )
