"""The open loop: items come and go between steps, and all that wait share one network call.

The engine is synchronous and knows no transport. Items of different plans, step counts, seeds, guidance
weights and conditions stand in one batch; a new item starts at the next tick. Network calls are padded to
a few sizes: at one size an item's bits do not depend on its company, across sizes they agree to rounding.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.denoise.denoiser import Belief, Denoiser
from unnoise.loop.generate import check_cond, check_start, course, home
from unnoise.process.level import Level
from unnoise.samplers.step import Advance, Ledger, State
from unnoise.samplers.walk import Walk
from unnoise.tensor import Cond, Tensor, move, send


@dataclass(frozen=True)
class Job:
    """What is wanted: one sample for each seed, by one plan. cond: leaves (len(seeds), ...); start as in `sample`."""

    plan: Walk
    shape: tuple[int, ...]
    seeds: Sequence[int]
    cond: Cond = field(default_factory=dict[str, Tensor])
    start: Tensor | None = None


@dataclass(frozen=True)
class Ticket:
    """Names a job that was submitted."""

    number: int


@dataclass(frozen=True, eq=False)
class Step:
    """Item `index` of a job has moved one row: x0 is its present belief, a preview."""

    ticket: Ticket
    index: int
    row: int
    rows: int
    x0: Tensor


@dataclass(frozen=True, eq=False)
class Done:
    """Item `index` of a job is finished: x is its sample."""

    ticket: Ticket
    index: int
    x: Tensor


@dataclass(frozen=True, eq=False)
class Failed:
    """Item `index` of a job raised, or ended in numbers that are not finite; the others go on."""

    ticket: Ticket
    index: int
    reason: str


Event: TypeAlias = Step | Done | Failed
LaneKey: TypeAlias = tuple[Any, ...]

AHEAD = 32  # questions that a lane is prepared for at once, at most: twice as many as the last time if nothing changed


@dataclass
class _Item:
    """One sample under way, or waiting for a place (row 0, no state)."""

    ticket: Ticket
    index: int
    plan: Walk
    seed: int
    cond: dict[str, Tensor]  # leaves (1, ...)
    start: Tensor | None  # (1, ...)
    row: int = 0
    place: int = 0  # of its plan's first row among the levels of its lane


@dataclass
class _Lane:
    """Items of one shape and one set of conditions: what can stand in one batch."""

    shape: tuple[int, ...]
    items: list[_Item] = field(default_factory=list[_Item])
    state: State | None = None
    cond: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    levels: Level | None = None  # of every row of its plans, one plan after the other
    ledger: Ledger | None = None  # those rows
    places: dict[Walk, int] = field(default_factory=dict[Walk, int])
    turns: list[tuple[Level, Advance]] = field(default_factory=list[tuple[Level, Advance]])  # prepared, the next last
    ahead: int = 0  # how many were prepared at once; 0 since an item came or left

    def changed(self) -> None:
        """What was prepared is for other items than these."""
        self.turns, self.ahead = [], 0


class Engine:
    """Runs jobs on one denoiser: `submit`, then `tick` until nothing is left; `cancel` at any time.

    places: items under way at a time; sizes: what network calls are padded to, least first, the largest
    repeated where guidance asks for more rows.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        places: int = 64,
        sizes: Sequence[int] = (4, 8, 16, 32, 64),
        device: torch.device | str | None = None,
    ) -> None:
        if places < 1 or not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
            raise UserError(f"an engine needs a place and rising sizes, got {places} places, sizes {tuple(sizes)}")
        self.denoiser, self.places, self.sizes = denoiser, places, tuple(sizes)
        self._like = torch.zeros(0, device=device or home(denoiser))
        self._lanes: dict[LaneKey, _Lane] = {}
        self._waiting: deque[tuple[LaneKey, _Item]] = deque()
        self._turns: deque[LaneKey] = deque()
        self._tickets = 0

    @property
    def busy(self) -> bool:
        """Whether anything is under way or waiting."""
        return bool(self._turns or self._waiting)

    @property
    def under_way(self) -> int:
        """Items that hold a place."""
        return sum(len(lane.items) for lane in self._lanes.values())

    def submit(self, job: Job) -> Ticket:
        """Queues every item of a job, after those that wait. Raises UserError where its parts do not fit."""
        if len(job.seeds) == 0:
            raise UserError("a job needs at least one seed")
        check_start(job.plan, job.start, (len(job.seeds), *job.shape))
        check_cond(self.denoiser, job.cond or {}, len(job.seeds))
        cond = move(job.cond, self._like)
        ticket = Ticket(self._tickets)
        self._tickets += 1
        key = (tuple(job.shape), *((n, v.dtype, tuple(v.shape[1:])) for n, v in sorted(cond.items())))
        for index, seed in enumerate(job.seeds):
            own = {name: leaf[index : index + 1] for name, leaf in cond.items()}
            start = None if job.start is None else job.start[index : index + 1].to(self._like)
            self._waiting.append((key, _Item(ticket, index, job.plan, int(seed), own, start)))
        return ticket

    def cancel(self, ticket: Ticket) -> int:
        """Drops what a job still has waiting or under way; how many items that were."""
        before = len(self._waiting) + self.under_way
        self._waiting = deque((key, item) for key, item in self._waiting if item.ticket != ticket)
        for key in list(self._lanes):
            lane = self._lanes[key]
            self._keep(key, [i for i, item in enumerate(lane.items) if item.ticket != ticket])
        return before - len(self._waiting) - self.under_way

    @torch.no_grad()
    def tick(self) -> list[Event]:
        """Admits what waits, oldest first; then one network call and one step for the lane whose turn it is."""
        failed = self._admit()
        if not self._turns:
            return failed
        key = self._turns[0]
        self._turns.rotate(-1)
        lane = self._lanes[key]
        level, step = self._turn(lane)
        events, belief = self._ask(key, lane, level)
        if belief is None:
            return failed + events
        if events:  # who failed has left
            _, step = self._turn(lane)
        assert lane.state is not None  # a lane with items has a state
        noise = self._noise(lane, lane.state.x)
        lane.state = step.advance(lane.state, belief.x0, noise, belief.v)
        return failed + events + self._hand_out(key, lane, belief)

    def run(self, job: Job) -> Tensor:
        """Submits one job to an idle engine and ticks until it is done: its samples, in the order of its seeds."""
        if self.busy:
            raise UserError("run is for an idle engine: while jobs are under way, submit this one and tick")
        ticket = self.submit(job)
        found: dict[int, Tensor] = {}
        while len(found) < len(job.seeds):
            for event in self.tick():
                if isinstance(event, Failed):
                    self.cancel(ticket)
                    raise RuntimeError(f"item {event.index}: {event.reason}")
                if isinstance(event, Done):
                    found[event.index] = event.x
        return torch.stack([found[index] for index in range(len(job.seeds))])

    def _admit(self) -> list[Event]:
        """Moves the oldest waiting items into free places; tells of those that could not begin."""
        arrivals: dict[LaneKey, list[_Item]] = {}
        for _ in range(min(len(self._waiting), self.places - self.under_way)):
            key, item = self._waiting.popleft()
            arrivals.setdefault(key, []).append(item)
        return [event for key, items in arrivals.items() for event in self._enter(key, items)]

    def _enter(self, key: LaneKey, items: list[_Item]) -> list[Event]:
        """Begins items; where that raises each begins alone, and who raises has failed."""
        cond = {name: torch.cat([item.cond[name] for item in items]) for name in items[0].cond}
        try:
            fresh = items[0].plan.begin(self._begin(key[0], items, cond))
        except Exception as error:  # whatever a condition makes of one item's beginning is not the others' fault
            if len(items) == 1:
                return [Failed(items[0].ticket, items[0].index, f"{type(error).__name__}: {error}")]
            return [event for item in items for event in self._enter(key, [item])]
        if key not in self._lanes:
            self._lanes[key] = _Lane(shape=key[0])
            self._turns.append(key)
        self._join(self._lanes[key], items, fresh, cond)
        return []

    def _join(self, lane: _Lane, items: list[_Item], fresh: State, cond: dict[str, Tensor]) -> None:
        lane.items.extend(items)
        if any(item.plan not in lane.places for item in items):
            self._write(lane, fresh.x)
        for item in items:
            item.place = lane.places[item.plan]
        assert lane.ledger is not None
        fresh = _widen(fresh, lane.ledger.memories)
        if lane.state is None:
            lane.state, lane.cond = fresh, cond
        else:
            lane.state = _concatenate(_widen(lane.state, lane.ledger.memories), fresh)
            lane.cond = {name: torch.cat([lane.cond[name], leaf]) for name, leaf in cond.items()}
        lane.changed()

    def _write(self, lane: _Lane, like: Tensor) -> None:
        """Every row of every plan in a lane, and its level: computed once, and taken from at each tick."""
        plans = list(dict.fromkeys(item.plan for item in lane.items))
        rows = [plan.rows for plan in plans]
        lane.places = dict(zip(plans, [0, *np.cumsum(rows).tolist()], strict=False))
        levels = [self.denoiser.process.level(plan.t, self._like, plan.to, plan.weight) for plan in plans]
        lane.levels, lane.ledger = levels[0].join(levels), plans[0].join(plans, like)
        for item in lane.items:
            item.place = lane.places[item.plan]

    def _turn(self, lane: _Lane) -> tuple[Level, Advance]:
        """The level and the step of every item's row; taken for several rows at once, until an item comes or goes."""
        if not lane.turns:
            assert lane.levels is not None
            assert lane.ledger is not None
            lane.ahead = min(AHEAD, 2 * lane.ahead or 1)
            steps = min(lane.ahead, *(item.plan.rows - item.row for item in lane.items))
            at = np.array([item.place + item.row for item in lane.items]) + np.arange(steps)[:, None]
            index = send(torch.from_numpy(at.reshape(-1)), self._like.device)
            lane.turns = list(zip(lane.levels.ahead(at, index), lane.ledger.ahead(at, index), strict=True))[::-1]
        return lane.turns.pop()

    def _begin(self, shape: tuple[int, ...], items: list[_Item], cond: Cond) -> Tensor:
        """Where items start: at what they were given, or at noise, drawn at once for all that start at one time."""
        x = torch.zeros(len(items), *shape, dtype=self._like.dtype, device=self._like.device)
        drawn: dict[float, list[int]] = {}
        for i, item in enumerate(items):
            if item.start is not None:
                x[i : i + 1] = item.start
            else:
                drawn.setdefault(item.plan.start, []).append(i)
        for t, group in drawn.items():
            seeds, own = [items[i].seed for i in group], _pick(cond, group)
            noise = self.denoiser.process.prior(shape, seeds, self._like, t, own)
            x[send(torch.as_tensor(group), x.device)] = noise
        for plan in dict.fromkeys(item.plan for item in items):
            if plan.head is not None:
                led = [i for i, item in enumerate(items) if item.plan == plan]
                index = send(torch.as_tensor(led), x.device)
                x[index] = plan.head(x[index], _pick(cond, led))
        return x

    def _ask(self, key: LaneKey, lane: _Lane, level: Level) -> tuple[list[Event], Belief | None]:
        """The belief about every item by one call; where that raises each is asked alone, and who raises has failed."""
        assert lane.state is not None
        x = lane.state.x
        try:
            return [], self._believe(self.denoiser, x, level, lane.cond)
        except Exception:  # whatever a network raises for one item's condition is not the others' fault
            events: list[Event] = []
            answers: dict[int, Belief] = {}
            for i, item in enumerate(lane.items):
                own = {name: leaf[i : i + 1] for name, leaf in lane.cond.items()}
                try:
                    answers[i] = self._believe(self.denoiser, x[i : i + 1], level.take([i]), own)
                except Exception as error:
                    events.append(Failed(item.ticket, item.index, f"{type(error).__name__}: {error}"))
            self._keep(key, list(answers))
            return events, _stack(list(answers.values())) if answers else None

    def _believe(self, denoiser: Any, x: Tensor, level: Level, cond: Cond) -> Belief:
        """A guide's questions are asked here, so that all rows of all items go through one padded call."""
        if not hasattr(denoiser, "expand"):
            return self._padded(denoiser, x, level, cond)
        asked = denoiser.expand(x, level, cond)
        return denoiser.combine(asked, [self._believe(*question) for question in asked.questions])

    def _padded(self, denoiser: Denoiser, x: Tensor, level: Level, cond: Cond) -> Belief:
        """The belief about each row, in calls of the fixed sizes; the last row fills what is left."""
        answers: list[Belief] = []
        count = len(x)
        for first in range(0, count, self.sizes[-1]):
            last = min(first + self.sizes[-1], count)
            size = next(size for size in self.sizes if size >= last - first)
            rows = [*range(first, last), *[last - 1] * (size - last + first)]
            whole = size == count
            if whole:
                belief = denoiser(x, level, cond)
            else:
                index = send(torch.as_tensor(rows), x.device)
                belief = denoiser(x[index], level.take(rows), _pick(cond, rows))
            kept = last - first
            answers.append(Belief(belief.x0[:kept], None if belief.v is None else belief.v[:kept]))
        return _stack(answers)

    def _noise(self, lane: _Lane, like: Tensor) -> Tensor | None:
        """Fresh noise for the items whose row has a noise column, zeros for the others; None if no row has."""
        drawn = [i for i, item in enumerate(lane.items) if item.plan.draws(item.row)]
        if not drawn:
            return None
        items = [lane.items[i] for i in drawn]
        rows, courses = [item.row for item in items], [course(self.denoiser.process, item.plan) for item in items]
        index = send(torch.as_tensor(drawn), like.device)
        own = _pick(lane.cond, drawn)
        seeds = [item.seed for item in items]
        fresh = self.denoiser.process.fresh(lane.shape, seeds, like, courses, rows, own)
        return fresh if len(drawn) == len(like) else torch.zeros_like(like).index_copy_(0, index, fresh)

    def _hand_out(self, key: LaneKey, lane: _Lane, belief: Belief) -> list[Event]:
        assert lane.state is not None
        events: list[Event] = []
        for item, x0 in zip(lane.items, belief.x0.unbind(0), strict=True):
            item.row += 1
            events.append(Step(item.ticket, item.index, item.row, item.plan.rows, x0))
        finished = [i for i, item in enumerate(lane.items) if item.row == item.plan.rows]
        if finished:
            samples = lane.state.base[send(torch.as_tensor(finished), self._like.device)]
            finite = torch.isfinite(samples).flatten(1).all(1).tolist()  # one wait, only where items finish
            for i, x, fine in zip(finished, samples, finite, strict=True):
                item = lane.items[i]
                if fine:
                    events.append(Done(item.ticket, item.index, x))
                else:
                    events.append(Failed(item.ticket, item.index, "the sample is not finite"))
            self._keep(key, [i for i, item in enumerate(lane.items) if item.row < item.plan.rows])
        return events

    def _keep(self, key: LaneKey, stay: list[int]) -> None:
        """Leaves only the given items of a lane in their places."""
        lane = self._lanes[key]
        if len(stay) == len(lane.items):
            return
        if not stay:
            del self._lanes[key]
            self._turns.remove(key)
            return
        assert lane.state is not None
        index = send(torch.as_tensor(stay), self._like.device)
        lane.items = [lane.items[i] for i in stay]
        lane.changed()
        lane.cond = _pick(lane.cond, stay)
        old = lane.state
        lane.state = State(old.x[index], old.base[index], tuple(m[index] for m in old.memory))


def _pick(cond: Cond, items: Sequence[int]) -> dict[str, Tensor]:
    """The conditions of some items, each leaf where it lives."""
    index = torch.as_tensor(items)
    return {name: leaf[send(index, leaf.device)] for name, leaf in cond.items()}


def _stack(beliefs: list[Belief]) -> Belief:
    if len(beliefs) == 1:
        return beliefs[0]
    v = None if beliefs[0].v is None else torch.cat([belief.v for belief in beliefs if belief.v is not None])
    return Belief(torch.cat([belief.x0 for belief in beliefs]), v)


def _widen(state: State, memories: int) -> State:
    """The state with so many memories: what is too old for any plan is dropped, what is to come is empty."""
    empty = (torch.zeros_like(state.x),) * (memories - len(state.memory))
    return State(state.x, state.base, (*state.memory[:memories], *empty))


def _concatenate(first: State, second: State) -> State:
    return State(
        torch.cat([first.x, second.x]),
        torch.cat([first.base, second.base]),
        tuple(torch.cat(pair) for pair in zip(first.memory, second.memory, strict=True)),
    )
