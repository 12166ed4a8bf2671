"""The whole account of another library's sampler, beside the rule that it names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unnoise.conformance import judge
from unnoise.conformance.probe import Foreign, Reading, read, unroll
from unnoise.conformance.unrolled import Unrolled
from unnoise.samplers import SAMPLERS
from unnoise.samplers import plan as write

AFFINE = 1e-5  # residual up to which a sampler that counts in float32 is what its table says
PLACED = 1e-3  # how far off a noise level may be: what integers and float32 make of it
MANY = (50, 100, 250, 500)  # step counts at which a foreign sampler must still give numbers


@dataclass(frozen=True, eq=False)
class Account:
    """What was found of a foreign sampler.

    errors: steps → (evaluations, law error); ours: the same of the rule that it names, over the very times that it
    asked at; few: evaluations → W2 at the clean end, theirs and our rule's over its own grid; failures: steps → why.
    """

    reading: Reading
    errors: Mapping[int, tuple[int, float]]
    ours: Mapping[int, tuple[int, float]]
    few: Mapping[int, tuple[float, float | None]]
    failures: Mapping[int, str]
    departure: judge.Departure | None
    displaced: Mapping[int, float]  # steps → how far a question's noise level is from the one told
    ratios: Sequence[float] = field(default_factory=tuple)

    @property
    def order(self) -> float:
        """The order that it shows."""
        return judge.order(list(self.errors), [error for _, error in self.errors.values()])

    @property
    def own_order(self) -> float:
        """The order that our rule of that name shows over the same times."""
        return judge.order(list(self.ours), [error for _, error in self.ours.values()])

    @property
    def sentences(self) -> list[str]:
        """What is to be said of it, the gravest first; one reassuring sentence where nothing is."""
        told = [f"With {steps} steps it fails: {why}." for steps, why in self.failures.items() if why]
        if self.reading.residual > AFFINE:
            told.append(
                f"It is not affine: a run is {self.reading.residual:.1g} of its size away from any table, so what "
                "follows describes it only in part."
            )
        if off := {steps: far for steps, far in self.displaced.items() if far > PLACED}:
            worst = max(off, key=lambda steps: off[steps])
            told.append(
                f"It asks the network at a noise level that is not the state's: with {worst} steps off by up to "
                f"{off[worst]:.2g} in log(sigma/alpha) ({len(off)} of {len(self.displaced)} step counts)."
            )
        if self.reading.plan is None:
            told.append(f"No plan says the same: {self.reading.why}.")
        if np.isfinite(self.own_order) and self.order < self.own_order - 0.35:
            told.append(
                f"Its order is {self.order:.1f}, where the rule that it names, {self.reading.rule}, shows "
                f"{self.own_order:.1f} over the same times."
            )
        if self.departure is not None and (cells := self.departure.cells):
            row, column, theirs, ours = cells[0]
            told.append(
                f"{len(cells)} cells are not those of {self.departure.rule}; furthest off: question {row + 2}, "
                f"{column_name(column, self.departure.theirs.shape[1])}: {theirs:.4g} there, {ours:.4g} by the rule."
            )
        if not told:
            same = f"cell by cell the rule {self.departure.rule}" if self.departure is not None else "affine"
            told.append(f"Nothing is wrong: it is {same}, asks where it stands, and gives numbers at every step count.")
        return told

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and words; the plan in full."""
        reading = self.reading
        return {
            "sampler": reading.name,
            "rule": reading.rule,
            "steps": reading.steps,
            "evaluations": reading.wide.rows,
            "residual": reading.residual,
            "displaced": {str(steps): far for steps, far in self.displaced.items()},
            "order": plain(self.order),
            "own_order": plain(self.own_order),
            "errors": {str(steps): list(pair) for steps, pair in self.errors.items()},
            "ours": {str(steps): list(pair) for steps, pair in self.ours.items()},
            "few": {str(steps): list(pair) for steps, pair in self.few.items()},
            "polynomials": [plain(ratio) for ratio in self.ratios],
            "failures": {str(steps): why for steps, why in self.failures.items() if why},
            "departures": [] if self.departure is None else self.departure.cells,
            "compared": self.departure is not None,
            "sentences": self.sentences,
            "plan": None if reading.plan is None else reading.plan.to_dict(),
        }


def plain(number: float) -> float | None:
    """A number for JSON, which knows none that is not finite."""
    return float(number) if np.isfinite(number) else None


def column_name(column: int, columns: int) -> str:
    """What a column of the normal form holds."""
    if column == 0:
        return "the state's factor"
    if column == columns - 1:
        return "the noise's deviation"
    return "the newest answer's factor" if column == 1 else f"the factor of the answer {column - 1} before it"


def account(foreign: Foreign, steps: int = 10) -> Account:
    """Reads a foreign sampler at several step counts and judges what was read. Raises UserError if it cannot be run."""
    reading = read(foreign, steps)
    schedule, rule = reading.process.schedule, reading.rule
    wides: dict[int, Unrolled] = {steps: reading.wide}
    failures = judge.finite(lambda n: wides.setdefault(n, unroll(foreign, n)), (*judge.STEPS, *MANY))
    errors: dict[int, tuple[int, float]] = {}
    ours: dict[int, tuple[int, float]] = {}
    for n in judge.STEPS:
        if failures[n]:
            continue
        errors[n] = (wides[n].rows, judge.worst_question(wides[n], schedule))
        own = rule and judge.over(wides[n], rule, reading.process, reading.settings)
        if own:
            ours[n] = (own.rows, judge.worst_question(own, schedule))
    few = {n: pair for n in judge.FEW if (pair := _few(foreign, n)) is not None}
    departure = judge.departure(reading.wide, rule, reading.process, reading.settings) if rule else None
    finest = wides.get(judge.STEPS[-1], reading.wide)
    middle = judge.exactness(finest, schedule)[len(finest.t) // 4 : 3 * len(finest.t) // 4]
    with np.errstate(all="ignore"):
        ratios = np.nanmedian(middle, axis=0) if np.isfinite(middle).any() else np.full(middle.shape[1], np.nan)
    off = {n: float(np.abs(judge.displaced(wide, schedule)).max()) for n, wide in sorted(wides.items())}
    return Account(reading, errors, ours, few, failures, departure, off, ratios.tolist())


def _few(foreign: Foreign, steps: int) -> tuple[float, float | None] | None:
    """W2 at the clean end after so many steps, theirs and that of our rule over its own grid."""
    try:
        found = read(foreign, steps)
    except Exception:  # theirs may raise anything; account() tells of it
        return None
    if found.plan is None:
        return None
    theirs = judge.distance(found.plan, found.process.schedule, *judge.spectrum(), from_prior=True)
    if found.rule not in SAMPLERS:
        return theirs, None
    ours = write(found.rule, found.process, steps, **found.settings)
    return theirs, judge.distance(ours, found.process.schedule, *judge.spectrum(), from_prior=True)


__all__ = ["AFFINE", "Account", "account", "column_name"]
