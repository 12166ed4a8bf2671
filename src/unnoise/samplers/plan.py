"""A sampler written out as a table of numbers: one row for each question put to the denoiser."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as File
from typing import Any

import numpy as np

from unnoise import files
from unnoise.config import UserError
from unnoise.samplers.ledger import Aged, Joined, aged
from unnoise.samplers.step import State, Step, begin
from unnoise.samplers.walk import Lead
from unnoise.samplers.written import row_step
from unnoise.tensor import Array, Tensor

NAMES = ("t", "keep", "slot", "base", "ask", "to", "weight", "spread")
TABLES = ("t", "keep", "slot", "base", "ask", "to", "weight", "start", "end", "spread")


@dataclass(frozen=True, eq=False)
class Plan:
    """How to walk back from noise: R questions, M memories, all float64 on the host and read-only.

    t       (R,)        when to ask the denoiser
    keep    (R, 2)      what to remember of the answer: m = keep[0]·x + keep[1]·x0, x the question
    slot    (R,)        which of the M memories it goes to
    base    (R, M + 2)  new base      = base_row · [base, m_0 .. m_{M−1}, noise]
    ask     (R, M + 2)  next question = ask_row  · [base, m_0 .. m_{M−1}, noise]
    to      (R,)        the time the answer is for
    weight  (R,)        factor on the excess of the guidance weight over 1
    start, end          where x_T is drawn, where the sample stands (0 = clean)
    spread  (R,)        half the log of the largest reverse variance over the least, which the noise column is written
                        with: a belief that tells a variance fraction v multiplies the noise by exp(spread·v)
    head                carries x_T from `start` to t[0] at no evaluation, where a plan was tuned to begin so

    The sample is the base after the last row, where ask = base. The noise of row r is the increment of the
    seed's Brownian path from t[r] to t[r + 1] (to `end` after the last).
    """

    t: Array
    keep: Array
    slot: Array
    base: Array
    ask: Array
    to: Array
    weight: Array
    start: float
    end: float
    spread: Array = field(default_factory=lambda: np.zeros(0))  # empty: 0 in every row
    head: Lead | None = None

    def __post_init__(self) -> None:
        if not self.spread.size:
            object.__setattr__(self, "spread", np.zeros(len(self.t)))
        for name in NAMES:
            table = np.array(getattr(self, name), dtype=np.float64)
            if not np.isfinite(table).all():
                raise UserError(f"a plan must be finite; '{name}' is not in row {_first_bad(table)}")
            table.setflags(write=False)
            object.__setattr__(self, name, table)
        rows, memories = self.rows, self.memories
        if rows < 1 or memories < 1:
            raise UserError(f"a plan asks at least once and keeps an answer, got {rows} rows and {memories} memories")
        shapes = {"keep": (rows, 2), "base": (rows, memories + 2), "ask": (rows, memories + 2)}
        for name in NAMES:
            if getattr(self, name).shape != shapes.get(name, (rows,)):
                raise UserError(
                    f"plan's '{name}' has shape {getattr(self, name).shape}, expected {shapes.get(name, (rows,))}"
                )
        if not np.isin(self.slot, np.arange(memories)).all():
            raise UserError(f"a plan with {memories} memories keeps answers in slots 0 to {memories - 1}")
        clock = np.concatenate([self.t, self.to, [self.start, self.end]])
        if not ((clock >= 0) & (clock <= 1)).all():
            raise UserError("the times of a plan lie in [0, 1]")
        if not np.array_equal(self.base[-1], self.ask[-1]):
            raise UserError("a plan ends where its sample stands: the last row of base and ask must be equal")

    @property
    def rows(self) -> int:
        """Questions, that is network evaluations."""
        return len(self.t)

    @property
    def memories(self) -> int:
        """Answers kept at a time."""
        return self.base.shape[-1] - 2

    @property
    def heeds_variance(self) -> bool:
        """Whether a learned variance changes what any row draws."""
        return bool(self.spread.any())

    @property
    def stochastic(self) -> bool:
        """Whether any row draws noise."""
        return any(self._drawn)

    def draws(self, row: int) -> bool:
        """Whether a row's noise column is not zero."""
        return self._drawn[row]

    @cached_property
    def _drawn(self) -> list[bool]:
        return ((self.base[:, -1] != 0) | (self.ask[:, -1] != 0)).tolist()

    def noise_ends(self) -> tuple[Array, Array]:
        """The times between which each row's noise is the increment of the path: (R,), (R,)."""
        return self.t, np.append(self.t[1:], self.end)

    def begin(self, x: Tensor) -> State:
        """The state before the first question: x drawn at `start`, and carried by the head, if there is one."""
        return begin(x, self.memories)

    def specialise(self) -> Sequence[Step]:
        """One function per row, its coefficients as numbers: the fast executor of one plan."""
        return self._steps

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        rows = zip(self.keep, self.slot, self.base, self.ask, self.spread.tolist(), strict=True)
        return tuple(row_step(keep, int(slot), base, ask, spread) for keep, slot, base, ask, spread in rows)

    @staticmethod
    def join(plans: "Sequence[Plan]", like: Tensor) -> Joined:
        """Every row of the plans, one plan after the other: the executor of a mixed batch."""
        return Joined.of([plan._aged for plan in plans], like)

    @cached_property
    def _aged(self) -> Aged:
        return aged(self.keep, self.slot, self.base, self.ask, self.spread)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Plan) and self._bytes == other._bytes)

    def __hash__(self) -> int:
        return hash(self._bytes)

    @cached_property
    def _bytes(self) -> bytes:
        tables = [np.asarray(getattr(self, name), dtype=np.float64) for name in TABLES]
        led = b"" if self.head is None else bytes.fromhex(self.head.digest)
        return b"".join((np.float64(self.memories).tobytes(), *(table.tobytes() for table in tables), led))

    @property
    def digest(self) -> str:
        """SHA-256 of the table's bytes."""
        return hashlib.sha256(self._bytes).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process has the tables, and writes out its steps anew."""
        return Plan, (*(getattr(self, name) for name in NAMES[:-1]), self.start, self.end, self.spread, self.head)

    def __repr__(self) -> str:
        kind = "stochastic" if self.stochastic else "deterministic"
        return (
            f"Plan({self.rows} evaluations, {self.memories} memories, {kind}, "
            f"t {self.start:g} → {self.end:g}, {self.digest[:8]})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers: JSON writes them without loss. A head start is not among them."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in TABLES}

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> "Plan":
        """The plan that `to_dict` wrote; one that says nothing of `spread` has none."""
        table = {"spread": [], **table}
        missing = [name for name in TABLES if name not in table]
        if missing:
            raise UserError(f"this is no plan: '{missing[0]}' is missing")
        tables = {name: np.asarray(table[name], dtype=np.float64) for name in NAMES}
        return Plan(**tables, start=float(table["start"]), end=float(table["end"]), head=None)

    def save(self, path: str | File) -> None:
        """Writes the table as JSON, beside and renamed; UserError where a head start would be lost."""
        if self.head is not None:
            raise UserError("a plan with a head start belongs to its run, and is kept there: see run.plan")
        files.put(path, json.dumps(self.to_dict()))

    @staticmethod
    def load(path: str | File) -> "Plan":
        """Reads what `save` wrote."""
        return Plan.from_dict(json.loads(File(path).read_text()))


def _first_bad(table: Array) -> int:
    return int(np.argwhere(~np.isfinite(table))[0][0])
