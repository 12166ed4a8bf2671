"""A plan tuned to a model: a head start, a grid by dynamic programming, coefficients by least squares and gradients.

Items of three parts are drawn, with no seed in common: "fit" for all that is fitted, "choose" for which of several
fits is taken, "judge" for what is said of it. A plan that is no better than its ancestor there is not given.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.distill import budget, fine, places, race
from unnoise.distill.fine import Fine
from unnoise.distill.fit import by_rows, label_of, weight_of
from unnoise.distill.newton import Descent, descend
from unnoise.distill.race import Untuned
from unnoise.distill.subject import Subject
from unnoise.distill.table import Fit, Table, known
from unnoise.samplers import Plan
from unnoise.tensor import Tensor

TRIED = 3  # steps that every way to begin is followed for; the nearest then is followed on
RACED = 64  # items by which the ancestor is found


@dataclass(frozen=True)
class Tuning:
    """fit, choose, judge: items of each part; steps: of the descent, at most; fine: steps of the solver that stands
    for the flow."""

    fit: int = 256
    choose: int = 128
    judge: int = 256
    steps: int = 12
    fine: int = fine.STEPS

    def __post_init__(self) -> None:
        least = {"fit": 8, "choose": 8, "judge": 8, "steps": 0, "fine": 8}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise UserError(f"tuning needs {name} of at least {value}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Tuned:
    """A plan of so many questions, its ancestor (the best untuned of the race), and what is known of both.

    distance, before: the mean distance to the fine solution on the items that judge, of the plan and of its ancestor;
    budget (R + 1,): the distance there would be if the flow were followed exactly from each question on (the first
    entry is the head start's), and with no help; guidance: the least and largest weight it was tuned for.
    """

    plan: Plan
    ancestor: Untuned
    distance: float
    before: float
    budget: tuple[float, ...]
    guidance: tuple[float, float] = (1.0, 1.0)
    items: int = 0  # that judged

    @property
    def better(self) -> bool:
        """Whether it is nearer to the fine solution than its ancestor."""
        return self.distance < self.before

    @property
    def share(self) -> float:
        """Its distance over that of its ancestor."""
        return self.distance / self.before if self.before else float("inf")


@dataclass(frozen=True)
class Told:
    """How far a stage is; and a plan, when one is done."""

    stage: str
    done: int
    total: int
    unit: str
    fact: str = ""
    tuned: Tuned | None = None


@runtime_checkable
class Store(Protocol):
    """Where work in hand is kept, so that it can go on after an interruption."""

    def get(self, name: str) -> dict[str, Tensor] | None:
        """What was kept under a name."""
        ...

    def put(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Keeps tensors under a name."""
        ...


@dataclass
class Kept:
    """A store that lasts as long as it is held."""

    found: dict[str, dict[str, Tensor]] = field(default_factory=dict[str, dict[str, Tensor]])

    def get(self, name: str) -> dict[str, Tensor] | None:
        return self.found.get(name)

    def put(self, name: str, tensors: dict[str, Tensor]) -> None:
        self.found[name] = tensors


@dataclass(frozen=True)
class Parts:
    """The items of all parts: ways of those that fit, ends of the others; costs of steps without a head and with."""

    fine: Fine
    choose: Tensor
    judge: Tensor
    costs: tuple[places.Costs, ...]


def tune(
    subject: Subject, evaluations: tuple[int, ...], how: Tuning | None = None, store: Store | None = None
) -> Iterator[Told]:
    """Tells of every stage, and of each plan when it is done, in the order asked."""
    how, store = how or Tuning(), store or Kept()
    for count in evaluations:
        if not 2 <= count < how.fine // 2:
            raise UserError(f"plans of 2 to {how.fine // 2 - 1} evaluations are tuned, got {count}")
    parts = yield from _parts(subject, how, store)
    for count in evaluations:
        yield from _tuned(subject, parts, count, how, store)


def _parts(subject: Subject, how: Tuning, store: Store) -> "Iterator[Told]":
    """The fine solution of all items: told of as it goes, and returned."""
    counts, found = {"fit": how.fit, "choose": how.choose, "judge": how.judge}, dict[str, Fine]()
    total, done = sum(counts.values()) * how.fine, 0
    for part, count in counts.items():
        kept, lots = store.get(f"fine-{part}"), list[Fine]()
        if kept is not None:
            found[part] = Fine(kept["lam"].numpy(), *(kept[name].to(subject.like) for name in ("y", "beliefs")))
            done += count * how.fine
            continue
        for last, lot in fine.solve(subject, subject.seeds(part, count), how.fine):
            lots.append(lot if part == "fit" else replace(lot, y=lot.y[-1:], beliefs=lot.beliefs[:0]))
            yield Told("fine solution", done + last * how.fine, total, "evaluations")
        done += count * how.fine
        found[part] = fine.join(lots)
        tensors = {"lam": torch.from_numpy(found[part].lam), "y": found[part].y, "beliefs": found[part].beliefs}
        store.put(f"fine-{part}", {name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
    ways = found["fit"]
    costs = [places.costs(ways, subject.law)]
    headed = _headed(subject, ways)
    costs.append(replace(costs[0], begin=places.begun(ways, subject.law, headed)))
    return Parts(ways, found["choose"].ends, found["judge"].ends, tuple(costs))


def _headed(subject: Subject, ways: Fine) -> Tensor:
    """Where the law carries the items of the ways to, at each of their moments (G, n, ...)."""
    count = ways.y.shape[1]
    cond = subject.cond(0, count)
    label, weight, ratio = label_of(subject, cond, count), weight_of(subject, cond, ways.y), np.exp(-ways.lam)
    here = ways.y.new_tensor(ratio[0])
    carried = [subject.law.carry(ways.y[0], here, ways.y.new_tensor(r), label, weight) for r in ratio]
    return torch.stack(carried)


def _tuned(subject: Subject, parts: Parts, count: int, how: Tuning, store: Store) -> Iterator[Told]:
    schedule, weight = subject.denoiser.process.schedule, sum(subject.guidance) / 2
    fitters, choosers = subject.seeds("fit", how.fit), subject.seeds("choose", how.choose)
    stage = f"{count} evaluations"

    def off(table: Table, seeds: list[int] = choosers, ends: Tensor = parts.choose) -> float:
        return race.off(subject, table.plan(schedule, subject.law, weight), seeds, ends)

    def told(descent: Descent) -> float:  # by all items but those that judge: few numbers are fitted to many
        return how.fit * descent.fitted + how.choose * descent.least

    rivals, few = race.entries(subject, count), min(RACED, how.choose)
    found: list[Untuned] = []
    for rival in race.race(subject, rivals, choosers[:few], parts.choose[:few]):
        found.append(rival)
        yield Told(f"{stage}: untuned", len(found), len(rivals), "plans", f"{rival.name} {rival.distance:.4f}")
    ancestor = min(found, key=lambda rival: rival.distance)

    descents: list[Descent] = []
    for place in dict.fromkeys(places.best(costs, count).at for costs in parts.costs):
        begun = known(parts.fine.lam[list(place)], float(parts.fine.lam[0]), place[0] > 0)
        table = by_rows(subject, begun, parts.fine, place)
        fit = Fit.at(table, schedule, subject.law, subject.like)
        descent = Descent.begin(fit, how.steps, off(table), off(table, fitters, parts.fine.ends))
        descents.append(_resumed(descent, store, f"descent-{count}-{len(descents)}"))
        yield Told(f"{stage}: rows", len(descents), len(parts.costs), "grids")
    trial = min(TRIED, how.steps)
    total = how.steps + (len(descents) - 1) * trial
    turns = [(place, trial) for place in range(len(descents))]
    turns.append((-1, how.steps))  # of the one that is nearest then
    for place, last in turns:
        place = place if place >= 0 else descents.index(min(descents, key=told))
        descent = descents[place]
        for value in descend(subject, descent, parts.fine.y[0], parts.fine.ends, off, last):
            done = sum(each.step for each in descents)
            yield Told(f"{stage}: slopes", done, total, "steps", f"distance {value:.4f}")
            store.put(f"descent-{count}-{place}", descent.tensors())
    best = min(descents, key=told).found()

    judges, made = subject.seeds("judge", how.judge), best.plan(schedule, subject.law, weight)
    after, before = (race.off(subject, plan, judges, parts.judge) for plan in (made, ancestor.plan))
    spent = budget.rows(subject, best, parts.fine.lam, judges[: budget.ITEMS], parts.judge[: budget.ITEMS])
    tuned = Tuned(made, ancestor, after, before, (*spent, after), subject.guidance, how.judge)
    fact = f"{after:.4f}, {ancestor.name} {before:.4f}: {tuned.share:.2f} of it"
    yield Told(stage, 1, 1, "plans", fact, tuned)


def _resumed(descent: Descent, store: Store, name: str) -> Descent:
    """From its table, or from where an earlier descent from it was left."""
    kept = store.get(name)
    return descent if kept is None else descent.resume(kept)


__all__ = ["Kept", "Store", "Told", "Tuned", "Tuning", "tune"]
