"""Every row of several plans, joined: the executor of a mixed batch, whose items stand at rows of their own.

All items ask at once, so the answers of one question have one age for all of them. A joined row therefore names an
answer by its age, 0 for the newest, and not by the plan's slot: to remember is to put the newest before the others, and
nothing is copied. What the items need of the table is gathered for several steps at a time.

A line whose coefficients sum to 1 is mixed by shares, the others are added up, as where one plan runs alone. Where both
stand in a batch each adds an exact zero to the other, so an item's bits do not depend on its company.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from unnoise.samplers.mix import mixtures
from unnoise.samplers.step import Places, State
from unnoise.tensor import Array, Tensor, send


class _Line(NamedTuple):
    """A line of some gathered rows: what is mixed, then what is added, as (column of the state, place in `lines`).

    mixed: whether some items' columns are mixed, from the base on, by `shares`; only: where stands 1 for these items
    and 0 for the others, None where there are no others; added: the other items' columns, and the noise.
    """

    mixed: bool
    shares: list[tuple[int, int]]
    only: int | None
    added: list[tuple[int, int]]

    def of(self, columns: tuple[Tensor, ...], lines: Sequence[Tensor]) -> Tensor:
        total, own = columns[0], False  # own: may be written to
        for column, n in self.shares:
            part = columns[column]
            total, own = total.lerp_(part, lines[n]) if own else torch.lerp(total, part, lines[n]), True
        if self.only is not None:
            total, own = total * lines[self.only], True
        begun = self.mixed
        for column, n in self.added:
            if column < len(columns):  # without noise its column is left over
                part = columns[column]
                if not begun:
                    total = torch.mul(part, lines[n])
                else:
                    total = total.addcmul_(lines[n], part) if own else torch.addcmul(total, lines[n], part)
                begun = own = True
        return total if begun else torch.zeros_like(columns[0])


class _Form(NamedTuple):
    """Where in the gathered lines stands what some rows use; columns that no item uses are left out.

    keep: what each item remembers of (x, x0), None where all remember x0; ask: None where all ask where their base
    stands; spread: the exponent of the noise by v, None where no item heeds it.
    """

    keep: tuple[int, int] | None
    base: _Line
    ask: _Line | None
    spread: int | None


class Rows(NamedTuple):
    """The rows at which the items of a batch stand: their form, and its numbers for each item, each (B, 1, ..)."""

    form: _Form
    lines: Sequence[Tensor]

    def advance(self, state: State, x0: Tensor, noise: Tensor | None, v: Tensor | None = None) -> State:
        """Every item one row further, each by its own plan; no branch on the device's values, no synchronisation.

        Columns are taken one after the other, and one that an item does not use changes nothing of it.
        """
        (x, base, memory), (form, lines) = state, self
        if noise is not None and v is not None and form.spread is not None:
            noise = noise * (lines[form.spread] * v).exp()
        if form.keep is not None:
            kept = torch.mul(x, lines[form.keep[0]]).addcmul_(lines[form.keep[1]], x0)
        else:
            kept = x0 if x0.dtype is x.dtype else x0.to(x.dtype)
        memory = (kept, *memory[:-1])
        columns = (base, *memory) if noise is None else (base, *memory, noise)
        moved = form.base.of(columns, lines)
        return State(moved if form.ask is None else form.ask.of(columns, lines), moved, memory)


class Aged(NamedTuple):
    """The rows of one plan with answers named by their age: keep (R, 2), spread (R,).

    moves: base and ask over the base, A ages and noise (R, 2, A + 2).
    """

    keep: Array
    moves: Array
    spread: Array


def aged(keep: Array, slot: Array, base: Array, ask: Array, spread: Array) -> Aged:
    """The rows of a plan by age: how many rows ago what lies in a slot was put there. What never was is dropped."""
    rows, memories = len(slot), base.shape[1] - 2
    moves = np.stack([base, ask], axis=1)
    latest, ages = np.full(memories, rows), np.empty((rows, memories), dtype=np.int64)
    for row, where in enumerate(slot.astype(np.int64)):
        latest[where] = row
        ages[row] = row - latest  # below 0 where nothing has come yet
    row, place = np.nonzero(moves[:, :, 1:-1].any(axis=1) & (ages >= 0))
    age = ages[row, place]
    found = np.zeros((rows, 2, int(age.max(initial=0)) + 3))
    found[:, :, 0], found[:, :, -1] = moves[:, :, 0], moves[:, :, -1]
    found[row, :, 1 + age] = moves[row, :, 1 + place]
    return Aged(keep, found, spread)


@dataclass(frozen=True)
class Joined:
    """Every row of several plans, R in all, over the base, A ages and noise.

    table: on the device (4·A + 11, R): keep; base and ask, each as a block of A + 2 coefficients (of what is added), A
    shares (of what is mixed, the base's own left out), 1 where it is mixed, 1 where not; spread. uses: the bits of the
    lines that each row needs (R,), keep where not x0 alone is remembered, ask where it is not the base, and then all
    that either has; axes: of an item.
    """

    memories: int
    table: Tensor
    uses: npt.NDArray[Any]
    axes: int
    _tables: dict[int, tuple[Tensor, dict[int, int]]] = field(default_factory=dict[int, tuple[Tensor, dict[int, int]]])
    _forms: dict[tuple[int, int], _Form] = field(default_factory=dict[tuple[int, int], _Form])

    @staticmethod
    def of(parts: Sequence[Aged], like: Tensor) -> "Joined":
        """The rows of plans one after the other, for states like x (B, ...): one transfer."""
        memories = max(part.moves.shape[2] for part in parts) - 2
        keep, spread = np.concatenate([part.keep for part in parts]), np.concatenate([part.spread for part in parts])
        moves = np.concatenate([_widened(part.moves, memories) for part in parts])
        base, ask = (_block(moves[:, side]) for side in (0, 1))
        lines = np.concatenate([keep, base, ask, spread[:, None]], axis=1)
        uses = lines != 0
        uses[:, :2] = (keep != (0, 1)).any(axis=1, keepdims=True)
        uses[:, 2 + base.shape[1] : -1] &= (moves[:, 0] != moves[:, 1]).any(axis=1, keepdims=True)
        words = uses @ np.array([1 << line for line in range(uses.shape[1])], dtype=object)
        table = send(torch.from_numpy(np.ascontiguousarray(lines.T)).to(like.dtype), like.device)
        return Joined(memories, table, words if uses.shape[1] > 62 else words.astype(np.int64), like.ndim - 1)

    @property
    def _wide(self) -> int:
        """Lines of a block."""
        return 2 * self.memories + 4

    def ahead(self, at: Places, index: Tensor) -> Sequence[Rows]:
        """The next K steps of B items: item b takes row at[k, b] at step k; index: the same on the device, (K·B,)."""
        steps, items = at.shape
        used = [self._needed(some) for some in np.bitwise_or.reduce(self.uses[at], axis=1).tolist()]
        every = reduce(or_, used)
        if every not in self._tables:
            lines = [line for line in range(len(self.table)) if every >> line & 1 and self._gathered(line, every)]
            table = torch.stack([self.table[line] for line in lines]) if lines else self.table[:0]
            self._tables[every] = table, {line: n for n, line in enumerate(lines)}
        table, place = self._tables[every]
        taken = table.index_select(1, index).reshape(len(table) * steps, items, *(1,) * self.axes).unbind(0)
        return [Rows(self._formed(every, some, place), taken[step::steps]) for step, some in enumerate(used)]

    def _needed(self, some: int) -> int:
        """Where some item asks elsewhere than its base stands, the others ask by their own lines of ask, too."""
        block = (1 << self._wide) - 1
        return some | (some >> 2 & block) << 2 + self._wide if some >> 2 + self._wide & block else some

    def _gathered(self, line: int, every: int) -> bool:
        """Whether a line is read: those that say which items are mixed are not, but where some are and some are not."""
        place = (line - 2) % self._wide
        if line < 2 or line == len(self.table) - 1 or place < self._wide - 2:
            return True
        return place == self._wide - 2 and bool(every >> line + 1 & 1)

    def _formed(self, every: int, some: int, place: dict[int, int]) -> _Form:
        """place: where in the gathered lines each line of the table stands."""
        form = self._forms.get((every, some))
        if form is None:
            form = self._forms[every, some] = self._form(some, place)
        return form

    def _form(self, some: int, place: dict[int, int]) -> _Form:
        def wanted(first: int) -> _Line:
            named = [line for line in range(self._wide) if some >> first + line & 1]
            added = [(line, place[first + line]) for line in named if line < self.memories + 2]
            shares = range(self.memories + 2, 2 * self.memories + 2)
            mixed, plain = self._wide - 2 in named, self._wide - 1 in named
            return _Line(
                mixed,
                [(line - shares.start + 1, place[first + line]) for line in named if line in shares],
                place[first + self._wide - 2] if mixed and plain else None,
                added,
            )

        return _Form(
            (place[0], place[1]) if some & 1 else None,
            wanted(2),
            wanted(2 + self._wide) if some >> 2 + self._wide & (1 << self._wide) - 1 else None,
            place[2 + 2 * self._wide] if some >> 2 + 2 * self._wide & 1 else None,
        )


def _block(line: Array) -> Array:
    """A line (R, A + 2) as its block: what is added, what is mixed, and which of the two."""
    mixed, shares = mixtures(line[:, :-1])
    added = np.where(mixed[:, None], 0.0, line[:, :-1])
    which = np.stack([mixed, ~mixed], axis=1).astype(np.float64)
    return np.concatenate([added, line[:, -1:], shares[:, 1:], which], axis=1)


def _widened(moves: Array, memories: int) -> Array:
    """Lines over more ages; the noise column is always the last."""
    wide = np.zeros((len(moves), 2, memories + 2))
    wide[:, :, : moves.shape[2] - 1], wide[:, :, -1] = moves[:, :, :-1], moves[:, :, -1]
    return wide


__all__ = ["Aged", "Joined", "Rows", "aged"]
