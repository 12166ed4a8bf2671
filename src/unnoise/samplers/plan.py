"""A sampler written out as a table of numbers: one row for each question put to the denoiser."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path as File
from typing import Any

import numpy as np

from unnoise.config import UserError
from unnoise.samplers.step import Rows, State, Step, begin, gather, row_step
from unnoise.tensor import Array, Tensor

NAMES = ("t", "keep", "slot", "base", "ask", "to", "weight")


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

    def __post_init__(self) -> None:
        for name in NAMES:
            table = np.array(getattr(self, name), dtype=np.float64)
            if not np.isfinite(table).all():
                raise UserError(f"a plan must be finite; '{name}' is not in row {_first_bad(table)}")
            table.setflags(write=False)
            object.__setattr__(self, name, table)
        rows, memories = self.rows, self.memories
        shapes = {"keep": (rows, 2), "base": (rows, memories + 2), "ask": (rows, memories + 2)}
        for name in NAMES:
            if getattr(self, name).shape != shapes.get(name, (rows,)):
                raise UserError(
                    f"plan's '{name}' has shape {getattr(self, name).shape}, expected {shapes.get(name, (rows,))}"
                )

    @property
    def rows(self) -> int:
        """Questions, that is network evaluations."""
        return len(self.t)

    @property
    def memories(self) -> int:
        """Answers kept at a time."""
        return self.base.shape[1] - 2

    @property
    def stochastic(self) -> bool:
        """Whether any row draws noise."""
        return any(self.draws(row) for row in range(self.rows))

    def draws(self, row: int) -> bool:
        """Whether a row's noise column is not zero."""
        return bool(self.base[row, -1] or self.ask[row, -1])

    def noise_ends(self) -> tuple[Array, Array]:
        """The times between which each row's noise is the increment of the path: (R,), (R,)."""
        return self.t, np.append(self.t[1:], self.end)

    def begin(self, x: Tensor) -> State:
        """The state before the first question: x drawn at `start`."""
        return begin(x, self.memories)

    def specialise(self) -> list[Step]:
        """One function per row, its coefficients as numbers: the fast executor of one plan."""
        return [row_step(self.keep[r], int(self.slot[r]), self.base[r], self.ask[r]) for r in range(self.rows)]

    @staticmethod
    def gather(plans: "Sequence[Plan]", rows: Sequence[int], memories: int, like: Tensor) -> Rows:
        """Row rows[b] of plans[b] for every item b: the executor of a mixed batch."""
        lines = [(p.keep[r], float(p.slot[r]), p.base[r], p.ask[r]) for p, r in zip(plans, rows, strict=True)]
        return gather(lines, memories, like)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self._bytes() == other._bytes()

    def __hash__(self) -> int:
        return hash(self._bytes())

    def _bytes(self) -> bytes:
        tables = [getattr(self, f.name) for f in fields(self)]
        return b"".join(np.asarray(table, dtype=np.float64).tobytes() for table in tables)

    @property
    def digest(self) -> str:
        """SHA-256 of the table's bytes."""
        return hashlib.sha256(self._bytes()).hexdigest()

    def __repr__(self) -> str:
        kind = "stochastic" if self.stochastic else "deterministic"
        return (
            f"Plan({self.rows} evaluations, {self.memories} memories, {kind}, "
            f"t {self.start:g} → {self.end:g}, {self.digest[:8]})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers: JSON writes them without loss."""
        return {f.name: np.asarray(getattr(self, f.name)).tolist() for f in fields(self)}

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> "Plan":
        """The plan that `to_dict` wrote."""
        missing = [f.name for f in fields(Plan) if f.name not in table]
        if missing:
            raise UserError(f"this is no plan: '{missing[0]}' is missing")
        return Plan(**{f.name: table[f.name] for f in fields(Plan)})

    def save(self, path: str | File) -> None:
        """Writes the table as JSON, beside and renamed."""
        beside = File(path).with_suffix(".tmp-plan")
        beside.write_text(json.dumps(self.to_dict()))
        beside.replace(path)

    @staticmethod
    def load(path: str | File) -> "Plan":
        """Reads what `save` wrote."""
        return Plan.from_dict(json.loads(File(path).read_text()))


def _first_bad(table: Array) -> int:
    return int(np.argwhere(~np.isfinite(table))[0][0])
