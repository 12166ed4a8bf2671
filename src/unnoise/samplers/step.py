"""One small step that runs every table: specialised to one plan, or gathered per item."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unnoise.tensor import Array, Float, Tensor, align


@dataclass(frozen=True)
class State:
    """x: the question (B, ...); base: where the sample stands (B, ...); memory: M past answers, each (B, ...)."""

    x: Float[Tensor, "B *dims"]
    base: Float[Tensor, "B *dims"]
    memory: tuple[Tensor, ...]


def begin(x: Float[Tensor, "B *dims"], memories: int) -> State:
    """The state before the first question: x_T asked and standing, memories empty."""
    return State(x, x, (torch.zeros_like(x),) * memories)


Step = Callable[[State, Tensor, Callable[[], Tensor]], State]


def row_step(keep: Array, slot: int, base: Array, ask: Array) -> Step:
    """One row as a function: coefficients as Python numbers, zero columns dropped.

    Pure: (state, x0, draw) → state, and draw is called only where the noise column is not zero.
    """
    keep_x, keep_data = map(float, keep)
    to_base, to_ask = base.tolist(), ask.tolist()
    alike = to_base == to_ask
    noisy = to_base[-1] != 0 or to_ask[-1] != 0

    def step(state: State, x0: Tensor, draw: Callable[[], Tensor]) -> State:
        kept = x0 if (keep_x, keep_data) == (0.0, 1.0) else torch.add(keep_x * state.x, x0, alpha=keep_data)
        memory = (*state.memory[:slot], kept, *state.memory[slot + 1 :])
        columns = [state.base, *memory, draw() if noisy else kept]
        new_base = _combine(to_base, columns)
        return State(new_base if alike else _combine(to_ask, columns), new_base, memory)

    return step


def _combine(line: list[float], columns: list[Tensor]) -> Tensor:
    terms = [(value, column) for value, column in zip(line, columns, strict=True) if value != 0]
    if not terms:
        return torch.zeros_like(columns[0])
    (value, column), *rest = terms
    total = column if value == 1 else value * column
    for value, column in rest:
        total = torch.add(total, column, alpha=value)
    return total


@dataclass(frozen=True)
class Rows:
    """The rows at which the items of a batch stand, gathered: keep (B, 2), slot (B,), base, ask (B, M + 2)."""

    keep: Tensor
    slot: Tensor
    base: Tensor
    ask: Tensor

    def advance(self, state: State, x0: Tensor, noise: Tensor | None) -> State:
        """Every item one row further, each by its own plan; no branch on values, no synchronisation.

        Columns are added one after the other, so an item's bits do not depend on its company.
        """
        x = state.x
        kept = align(self.keep[:, 0], x) * x + align(self.keep[:, 1], x) * x0
        memory = tuple(torch.where(align(self.slot == index, x), kept, old) for index, old in enumerate(state.memory))
        base = ask = torch.zeros_like(x)
        for index, column in enumerate((state.base, *memory)):
            base = base + align(self.base[:, index], x) * column
            ask = ask + align(self.ask[:, index], x) * column
        if noise is not None:
            base = base + align(self.base[:, -1], x) * noise
            ask = ask + align(self.ask[:, -1], x) * noise
        return State(ask, base, memory)


Row = tuple[Array, float, Array, Array]  # keep, slot, base, ask of one row


def gather(lines: Sequence[Row], memories: int, like: Tensor) -> Rows:
    """The row of every item, on the device of `like` by one transfer.

    memories: the width M of the state, at least that of every line; columns beyond a line's own are zero.
    """
    host = np.zeros((len(lines), 2 * (memories + 2) + 3))
    for packed, (keep, slot, base, ask) in zip(host, lines, strict=True):
        _place(packed[3 : memories + 5], base)
        _place(packed[memories + 5 :], ask)
        packed[0:2], packed[2] = keep, slot
    table = torch.from_numpy(host).to(like.dtype).to(like.device)
    return Rows(table[:, 0:2], table[:, 2], table[:, 3 : memories + 5], table[:, memories + 5 :])


def _place(line: Array, row: Array) -> None:
    line[: len(row) - 1], line[-1] = row[:-1], row[-1]  # the noise column is always the last
