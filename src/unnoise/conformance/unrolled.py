"""A sampler without its memories: every question as a linear form of the start, the answers and the noises."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.process.schedule import Schedule
from unnoise.samplers import Plan
from unnoise.tensor import Array

TOLERANCE = 1e-5  # of a coefficient, beside the two whose difference it is: libraries count in float32
STAGES = 4  # questions at most that a base waits for, as in Runge and Kutta's rule
LEFT = 2e-7  # of a coefficient, that x − x leaves of it in float32


Index: TypeAlias = npt.NDArray[np.int64]
Found: TypeAlias = tuple[Index, float, Array]


@dataclass(frozen=True, eq=False)
class Unrolled:
    """R questions and the sample as rows of coefficients: what any affine sampler is, however it is written.

    t      (R,)        when the denoiser is asked
    keep   (R, 2)      what an answer is: m = keep[0]·x + keep[1]·x0, x the question
    forms  (R + 1, 1 + R + Z)  question r, and last the sample, over [x at the start, m_0 .. m_{R−1}, z_0 .. z_{Z−1}]
    start, end         where x is drawn and where the sample stands
    """

    t: Array
    keep: Array
    forms: Array
    start: float
    end: float

    @property
    def rows(self) -> int:
        """Questions."""
        return len(self.t)

    @property
    def noises(self) -> int:
        """Independent standard normal draws."""
        return self.forms.shape[1] - 1 - self.rows

    @staticmethod
    def of(plan: Plan) -> "Unrolled":
        """The forms of a plan's questions: its table run on basis vectors."""
        rows, drawn = plan.rows, [row for row in range(plan.rows) if plan.draws(row)]
        columns = np.eye(1 + rows + len(drawn))
        base = ask = columns[0]
        memory = np.zeros((plan.memories, len(columns)))
        forms = [ask]
        for row in range(rows):
            memory[int(plan.slot[row])] = columns[1 + row]
            noise = columns[1 + rows + drawn.index(row)] if row in drawn else np.zeros(len(columns))
            held = np.stack([base, *memory, noise])
            base, ask = plan.base[row] @ held, plan.ask[row] @ held
            forms.append(ask)
        return Unrolled(plan.t, plan.keep, np.stack(forms), plan.start, plan.end)

    def in_data(self) -> "Unrolled":
        """The same sampler with data predictions for answers, m_r = x0_r, whatever it was written in."""
        return self._answered(self.keep[:, 0], self.keep[:, 1], np.tile([0.0, 1.0], (self.rows, 1)))

    def in_noise(self, schedule: Schedule) -> "Unrolled":
        """The same with noise predictions, m_r = (x − alpha·x0_r)/sigma; not finite where alpha or sigma is 0."""
        alpha, sigma = schedule.alpha(self.t), schedule.sigma(self.t)
        with np.errstate(divide="ignore", invalid="ignore"):
            keep = np.stack([1 / sigma, -alpha / sigma], axis=1)
            return self.in_data()._answered(1 / alpha, -sigma / alpha, keep)

    def _answered(self, share_x: Array, share_new: Array, keep: Array) -> "Unrolled":
        """With other answers: old answer r = share_x[r]·(question r) + share_new[r]·(new answer r)."""
        forms = self.forms.copy()
        for row in range(self.rows):
            factor, question = forms[:, 1 + row].copy(), forms[row].copy()  # the question is in new answers already
            forms[:, 1 + row] = factor * share_new[row]
            forms[row + 1 :] += np.outer(factor[row + 1 :] * share_x[row], question)
        return Unrolled(self.t, keep, forms, self.start, self.end)

    def on_gaussian(self, schedule: Schedule, mean: Array, variance: Array) -> tuple[Array, Array]:
        """Mean and variance of every question and of the sample, for the exact belief about N(mean, diag(variance)).

        The start has the law of the process there; mean, variance: (d,) → (R + 1, d), (R + 1, d).
        """
        ends = np.array(self.start)
        alpha_start, sigma_start = float(schedule.alpha(ends)), float(schedule.sigma(ends))
        alpha, sigma = schedule.alpha(self.t), schedule.sigma(self.t)
        # Each column of the forms as an affine map of independent normal draws: [1, the start's, z_0 .. z_{Z−1}].
        known = np.zeros((self.forms.shape[1], len(mean), 2 + self.noises))
        known[0, :, 0] = alpha_start * mean
        known[0, :, 1] = np.sqrt(alpha_start**2 * variance + sigma_start**2)
        for noise in range(self.noises):
            known[1 + self.rows + noise, :, 2 + noise] = 1
        states = np.zeros((self.rows + 1, len(mean), 2 + self.noises))
        for row in range(self.rows + 1):
            states[row] = np.tensordot(self.forms[row], known, axes=1)
            if row < self.rows:
                gain = alpha[row] * variance / (alpha[row] ** 2 * variance + sigma[row] ** 2)
                belief = gain[:, None] * states[row]
                belief[:, 0] += mean * (1 - alpha[row] * gain)
                known[1 + row] = self.keep[row, 0] * states[row] + self.keep[row, 1] * belief
        return states[..., 0], np.square(states[..., 1:]).sum(axis=2)

    def plan(self, schedule: Schedule) -> Plan:
        """The shortest table that says the same, remembering data, noise or what it was answered.

        Raises UserError where one base and one noise a row do not suffice.
        """
        ways = [self, self.in_data(), self.in_noise(schedule)]
        merged = [way._merged() for way in ways if np.isfinite(way.forms).all()]
        made = [_attempt(way) for way in merged]
        plans = [plan for plan in made if isinstance(plan, Plan)]
        if not plans:
            raise UserError(str(made[0]))
        return min(plans, key=lambda plan: plan.memories)

    def entries(self) -> Index:
        """The form in which each noise is first heard, −1 where it never is: (Z,)."""
        noises = self.forms[:, 1 + self.rows :]
        seen = np.abs(noises) > TOLERANCE * np.abs(self.forms).max(axis=1, keepdims=True)
        return np.where(seen.any(axis=0), seen.argmax(axis=0), -1)

    def _merged(self) -> "Unrolled":
        """At most one noise a row: draws that enter together, always in one proportion, are one draw."""
        rows, first = self.rows, 1 + self.rows
        noises, entry = self.forms[:, first:], self.entries()
        if (entry == 0).any():
            raise UserError("noise is in the first question already: a start that is drawn twice is no plan")
        merged = np.zeros((rows + 1, rows))
        for row in range(rows):
            group = noises[:, entry == row + 1]
            if not group.shape[1]:
                continue
            left, sizes, _ = np.linalg.svd(group, full_matrices=False)
            if len(sizes) > 1 and sizes[1] > TOLERANCE * sizes[0]:
                raise UserError(
                    f"{group.shape[1]} noises enter after question {row} in other proportions later on: no plan "
                    "with one noise a row says the same"
                )
            column = left[:, 0] * sizes[0]
            merged[:, row] = column * np.sign(column[row + 1])
        return Unrolled(self.t, self.keep, np.hstack([self.forms[:, :first], merged]), self.start, self.end)


def _attempt(way: Unrolled) -> Plan | UserError:
    try:
        return _Compact(way).plan()
    except UserError as error:
        return error


class _Compact:
    """Finds, row by row, whether the base moves to the question or stays, such that few answers are remembered."""

    def __init__(self, wide: Unrolled):
        self.wide = wide
        self.rows = wide.rows
        self._found: dict[tuple[int, int], Found | None] = {}

    def plan(self) -> Plan:
        """The table: answers stay in their slots as long as a later row asks for them, and no longer."""
        bases, wide = self._path(), self.wide
        steps = [self._step(row, base) for row, base in enumerate(bases[:-1])]
        assert all(step is not None for step in steps)
        made = [step for step in steps if step is not None]
        last = np.arange(self.rows)  # the last row that each answer is used in
        for row, (used, _, _) in enumerate(made):
            last[used] = row
        slots, held = np.zeros(self.rows, dtype=np.int64), list[int]()
        for row in range(self.rows):  # held[slot]: the answer there
            free = [slot for slot, answer in enumerate(held) if last[answer] < row]
            slots[row] = free[0] if free else len(held)
            held[slots[row] : slots[row] + 1] = [row]
        memories = len(held)
        table = np.zeros((2, self.rows, memories + 2))
        table[0, :, 0] = 1  # a base that stays
        for row, (used, kept, rest) in enumerate(made):
            table[1, row, 0], table[1, row, -1] = kept, rest[1 + self.rows + row]
            table[1, row, 1 + slots[used]] = rest[1 + used]
            if bases[row + 1] == row + 1:
                table[0, row] = table[1, row]
        return Plan(
            t=wide.t,
            keep=wide.keep,
            slot=slots.astype(np.float64),
            base=table[0],
            ask=table[1],
            to=np.append(wide.t[1:], wide.end),
            weight=np.ones(self.rows),
            start=wide.start,
            end=wide.end,
        )

    def _path(self) -> list[int]:
        """At which question the base stands before each row, and after the last: the cheapest way through."""
        best: dict[int, tuple[tuple[int, int], list[int]]] = {0: ((0, 0), [0])}
        for row in range(self.rows):
            ahead: dict[int, tuple[tuple[int, int], list[int]]] = {}
            for base, ((width, stays), way) in best.items():
                step = self._step(row, base)
                if step is None:
                    continue
                width = max(width, len(step[0]))
                options = [row + 1] if row + 1 == self.rows else [row + 1, base]
                for after in options:
                    cost = (width, stays + (after == base))
                    if row + 1 - after <= STAGES and (after not in ahead or cost < ahead[after][0]):
                        ahead[after] = (cost, [*way, after])
            if not ahead:
                raise UserError(
                    f"question {row + 1} is no combination of the state before it, the answers and one noise: "
                    "no plan says the same"
                )
            best = ahead
        return best[self.rows][1]

    def _step(self, row: int, base: int) -> Found | None:
        """Question row + 1 from the base at question `base`: the answers used, the base's factor, the rest."""
        if (row, base) not in self._found:
            self._found[row, base] = self._fit(row, base)
        return self._found[row, base]

    def _fit(self, row: int, base: int) -> Found | None:
        forms, first = self.wide.forms, 1 + self.rows
        wanted, held = forms[row + 1], forms[base]
        old = np.ones(len(held), dtype=bool)  # the start and all noises but this row's come through the base alone
        old[1:first] = False
        old[first + row] = False
        lead = int(np.argmax(np.abs(held * old)))
        kept = float(wanted[lead] / held[lead]) if held[lead] else 0.0
        kept = kept if abs(kept) > LEFT else 0.0
        rest = wanted - kept * held
        there = np.abs(rest) > TOLERANCE * (np.abs(wanted) + np.abs(kept * held)) + LEFT * np.abs(held)
        if there[old].any():
            return None
        return np.flatnonzero(there[1:first]), kept, rest


def local(wide: Unrolled, memories: int = 6) -> Array:
    """Every step of a sampler in one normal form, so that two can be compared cell by cell: (R, 2 + memories).

    question r + 1 = row[0]·(question r) + sum over k of row[1 + k]·x0_{r−k} + row[−1]·(fresh noise), the deviation
    without sign. What no such row says (older answers, the noise of an earlier question) is left out of it.
    """
    data = wide.in_data()
    entry = data.entries()
    table = np.zeros((wide.rows, memories + 2))
    for row in range(wide.rows):
        here, after = data.forms[row], data.forms[row + 1]
        kept = after[0] / here[0] if here[0] else 0.0
        rest = after - kept * here
        table[row, 0] = kept
        for k, answer in enumerate(range(row, max(-1, row - memories), -1)):
            table[row, 1 + k] = rest[1 + answer]
        table[row, -1] = np.linalg.norm(rest[1 + wide.rows :][entry == row + 1])
    return table


__all__ = ["TOLERANCE", "Unrolled", "local"]
