"""The thread that does the steps: it takes in jobs, gives places, ticks, and hands out what is done.

Every lane is an engine: one model, one set of guides; within it shapes and conditions take turns as the engine has it.
All other threads speak to it by messages, so nothing here is locked, and it waits for no disk and no picture.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeAlias

import torch

from unnoise.config import UserError
from unnoise.loop import Done, Engine, Job, Step, Ticket
from unnoise.serve import logs
from unnoise.serve.line import Line
from unnoise.serve.metrics import Metrics
from unnoise.serve.models import Loaded, Models
from unnoise.serve.order import Order
from unnoise.serve.settings import Settings
from unnoise.serve.track import CANCELLED, EXPIRED, FAILED, QUEUED, RUNNING, Bells, Track
from unnoise.tensor import Tensor

SHOWN = 1 << 21  # numbers in the previews of one job, at most
LANES = 8  # of one model: of guides in words, beyond which idle ones are forgotten


@dataclass(eq=False)
class Task:
    """A job on its way. under_way: where each sample stands, in rows; found, failed: what has become of the others."""

    track: Track
    order: Order
    deadline: float  # on the monotonic clock
    number: int = 0
    came: int = 0  # at which tick of the worker
    waiting: deque[int] = field(default_factory=deque[int])
    under_way: dict[int, int] = field(default_factory=dict[int, int])
    found: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    failed: dict[int, str] = field(default_factory=dict[int, str])
    model: Loaded | None = None  # since its first sample has a place: all are drawn by the same weights

    def __post_init__(self) -> None:
        self.waiting.extend(range(len(self.order.seeds)))

    @property
    def owner(self) -> str:
        """Whose job it is."""
        return self.track.owner

    @property
    def left(self) -> int:
        """Evaluations still to do, nearly."""
        return self.order.rows * len(self.waiting) + sum(self.order.plan.rows - row for row in self.under_way.values())


Finish: TypeAlias = Callable[[Task, str], None]
Show: TypeAlias = Callable[[Task, dict[int, tuple[int, Tensor]]], None]


@dataclass(eq=False)
class _Lane:
    """An engine and who waits for it. tickets: whose sample each place holds."""

    model: Loaded
    engine: Engine
    line: Line[Task] = field(default_factory=Line[Task])
    tickets: dict[int, tuple[Task, list[int]]] = field(default_factory=dict[int, tuple[Task, list[int]]])

    @property
    def works(self) -> bool:
        return self.engine.busy or len(self.line) > 0


class Worker(Thread):
    """finish, show: what is done with a job that has ended, and with beliefs to look at; neither may wait."""

    def __init__(self, models: Models, settings: Settings, metrics: Metrics, bells: Bells, finish: Finish, show: Show):
        super().__init__(name="steps", daemon=True)
        self._models, self._settings, self._metrics, self._bells = models, settings, metrics, bells
        self._finish, self._show = finish, show
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._tasks: dict[str, Task] = {}
        self._homeless: Line[Task] = Line()  # whose model is not at hand
        self._lanes: dict[tuple[Loaded, str], _Lane] = {}
        self._turn, self._placed = 0, 0.0
        self._ticks = 0
        self._numbers = 0
        self._stopping = self._draining = False
        self.rate = 0.0  # evaluations a second, while there is work
        self.left = 0  # evaluations that wait or are under way
        self.waiting = 0  # samples
        self.under_way = 0
        self.beat = time.monotonic()

    # Messages, from any thread

    def submit(self, task: Task) -> None:
        """Another job."""
        self._inbox.put(lambda: self._take_in(task))

    def cancel(self, job: str) -> None:
        """A job that nobody wants any more; it ends before the next step."""
        self._inbox.put(lambda: self._end(job, CANCELLED))

    def wake(self) -> None:
        """Something has changed elsewhere."""
        self._inbox.put(lambda: None)

    def drain(self) -> None:
        """No place is given any more; what has one goes on."""
        self._inbox.put(lambda: setattr(self, "_draining", True))

    def stop(self, patience: float) -> None:
        """Goes on with what is under way for so long at most, then ends; what is left is nobody's but the store's."""
        self.drain()
        self.join(patience)
        self._inbox.put(lambda: setattr(self, "_stopping", True))
        self.join()

    # The thread

    def run(self) -> None:
        """Until it is stopped."""
        while not self._stopping:
            steps = any(lane.engine.busy for lane in self._lanes.values())
            if self._draining and not steps:
                break
            try:
                self._round(wait=not steps)
            except Exception as error:  # a mistake of ours must not end the thread that all wait for
                logs.error("steps", error)
                time.sleep(0.1)
            self.beat = time.monotonic()
        self._models.close()

    def _round(self, wait: bool) -> None:
        self._read(wait)
        self._models.settle()
        self._expire()
        self._house()
        self._admit()
        self._tick()

    def _read(self, wait: bool) -> None:
        """All messages there are; with nothing under way, until one comes or a deadline may have passed."""
        try:
            if wait:
                self._inbox.get(timeout=0.05 if self._tasks else self._settings.watch)()
            while True:
                self._inbox.get_nowait()()
        except Empty:
            return

    def _take_in(self, task: Task) -> None:
        self._numbers += 1
        task.number, task.came = self._numbers, self._ticks
        self._tasks[task.track.job] = task
        self._homeless.add(task)

    def _expire(self) -> None:
        now = time.monotonic()
        for job in [job for job, task in self._tasks.items() if task.deadline <= now]:
            self._end(job, EXPIRED)

    def _house(self) -> None:
        """Jobs that have not begun wait at the lane of their model as it is now, those with none until it is there."""
        for lane in [lane for lane in self._lanes.values() if not self._current(lane.model)]:
            for task in [task for task in lane.line if task.model is None]:
                lane.line.drop(task)
                self._homeless.add(task)
        if self._draining:
            return
        for task in sorted(self._homeless, key=lambda task: task.number):
            try:
                model = self._models.get(task.track.model)
                lane = None if model is None else self._lane(model, task.order.guides)
            except (UserError, OSError) as error:
                task.failed.update(dict.fromkeys(range(len(task.order.seeds)), str(error)))
                self._end(task.track.job, FAILED)
                continue
            if lane is not None:
                self._homeless.drop(task)
                lane.line.add(task)
        self._places()
        self._count()

    def _lane(self, model: Loaded, guides: str) -> _Lane:
        if (model, guides) not in self._lanes:
            own = [key for key in self._lanes if key[0] is model]
            for key in own[: max(0, len(own) + 1 - LANES)]:
                if not self._lanes[key].works:
                    del self._lanes[key]
            sizes = model.bits.sizes
            engine = Engine(model.denoiser(guides), self._settings.places or sizes[-1], sizes, model.run.device)
            self._lanes[model, guides] = _Lane(model, engine)
        return self._lanes[model, guides]

    def _admit(self) -> None:
        """Free places to who waits: the oldest first, fair between keys."""
        if self._draining:
            return
        held: Counter[str] = Counter()
        for task in self._tasks.values():
            held[task.owner] += len(task.under_way)
        for lane in self._lanes.values():
            free = lane.engine.places - lane.engine.under_way
            for task, samples in lane.line.take(free, held) if free > 0 and len(lane.line) else ():
                self._begin(lane, task, samples)

    def _begin(self, lane: _Lane, task: Task, samples: list[int]) -> None:
        order, task.model = task.order, lane.model
        index = torch.as_tensor(samples)
        cond = {name: leaf[index] for name, leaf in order.cond.items()}
        start = None if order.start is None else order.start[index]
        try:
            ticket = lane.engine.submit(Job(order.plan, order.shape, [order.seeds[i] for i in samples], cond, start))
        except ValueError as error:  # what does not fit this model after all
            task.failed.update(dict.fromkeys(samples, str(error)))
            self._settle(task)
            return
        lane.tickets[ticket.number] = (task, samples)
        task.under_way.update(dict.fromkeys(samples, 0))
        for _ in samples:
            self._metrics.admission.observe(self._ticks - task.came)
        if task.track.state == QUEUED:
            task.track.state = RUNNING

    def _tick(self) -> None:
        """One step of the lane whose turn it is."""
        busy = [lane for lane in self._lanes.values() if lane.engine.busy]
        if not busy:
            return
        self._turn += 1
        lane = busy[self._turn % len(busy)]
        begun = time.perf_counter()
        try:
            events = lane.engine.tick()
        except Exception as error:  # of the whole step, such as memory that is not there: its jobs fail, others go on
            self._give_up(lane, f"{type(error).__name__}: {error}")
            return
        self._ticks += 1
        beliefs: dict[Task, dict[int, Step]] = {}
        touched: set[Task] = set()
        for event in events:
            task, samples = lane.tickets[event.ticket.number]
            sample = samples[event.index]
            touched.add(task)
            if isinstance(event, Step):
                if task.track.steps[0] == 0 and not any(task.under_way.values()) and not task.found:
                    self._metrics.preview.observe(time.monotonic() - task.track.begun)
                task.under_way[sample] = event.row
                beliefs.setdefault(task, {})[sample] = event
            else:
                task.under_way.pop(sample, None)
                if isinstance(event, Done):
                    task.found[sample] = event.x
                else:
                    task.failed[sample] = event.reason
        rows = sum(len(steps) for steps in beliefs.values())
        self._timed(time.perf_counter() - begun, rows)
        lane.tickets = {n: (task, samples) for n, (task, samples) in lane.tickets.items()
                        if any(sample in task.under_way for sample in samples)}  # fmt: skip
        now = time.monotonic()
        for task in touched:
            self._tell(task, beliefs.get(task, {}), now)
            self._settle(task)
        self._bells.ring(task.track for task in touched)

    def _tell(self, task: Task, steps: dict[int, Step], now: float) -> None:
        """News of a job, and its beliefs to look at, where somebody listens and has not heard for a while."""
        track, rows = task.track, task.order.plan.rows
        track.steps = (sum(task.under_way.values()) + rows * (len(task.found) + len(task.failed)),
                       rows * track.samples)  # fmt: skip
        if not track.listeners or now - track.shown < self._settings.preview:
            return
        track.shown = now
        track.tell("step", {"done": track.steps[0], "of": track.steps[1], "samples_done": len(task.found)})
        most = max(1, SHOWN // math.prod(task.order.shape))
        seen = {sample: (step.row, step.x0) for sample, step in sorted(steps.items())[:most]}
        if seen and task.under_way:
            self._show(task, seen)

    def _timed(self, seconds: float, rows: int) -> None:
        metrics = self._metrics
        metrics.ticks.inc()
        metrics.rows.inc(rows)
        metrics.step.observe(seconds)
        if rows:
            share = min(1.0, seconds / 2)  # a mean over about two seconds of work
            self.rate = rows / seconds if not self.rate else self.rate + share * (rows / seconds - self.rate)

    def _settle(self, task: Task) -> None:
        """Ends a job whose samples are all found or failed."""
        if len(task.found) + len(task.failed) == len(task.order.seeds):
            self._close(task, FAILED if not task.found else "done")

    def _end(self, job: str, state: str) -> None:
        """Ends a job early: it leaves the line, and its samples leave their places."""
        task = self._tasks.get(job)
        if task is None:
            return
        for lane in self._lanes.values():
            lane.line.drop(task)
            for number in [n for n, (other, _) in lane.tickets.items() if other is task]:
                lane.engine.cancel(Ticket(number))
                del lane.tickets[number]
        self._homeless.drop(task)
        task.waiting.clear()
        task.under_way.clear()
        self._close(task, state)

    def _close(self, task: Task, state: str) -> None:
        if self._tasks.pop(task.track.job, None) is not None:
            self._count()
            self._finish(task, state)

    def _give_up(self, lane: _Lane, reason: str) -> None:
        for task in {task for task, _ in lane.tickets.values()}:
            task.failed.update(dict.fromkeys(range(len(task.order.seeds)), reason))
            self._end(task.track.job, FAILED)
        for key in [key for key, other in self._lanes.items() if other is lane]:
            for task in list(lane.line):
                lane.line.drop(task)
                task.model = None
                self._homeless.add(task)
            del self._lanes[key]

    def _count(self) -> None:
        tasks = list(self._tasks.values())
        self.waiting = sum(len(task.waiting) for task in tasks)
        self.under_way = sum(len(task.under_way) for task in tasks)
        self.left = sum(task.left for task in tasks)
        works = Counter(key[0] for key, lane in self._lanes.items() if lane.works)
        for model in {key[0] for key in self._lanes}:
            model.lanes = works[model]
        for key in [key for key in self._lanes if not self._current(key[0]) and not works[key[0]]]:
            del self._lanes[key]

    def _current(self, model: Loaded) -> bool:
        """Whether new jobs are drawn by this model: it was not trained on, and makes room for no other."""
        return self._models.state(model.name) is model and not model.yields

    def _places(self) -> None:
        """Tells those who listen how many jobs came before theirs, twice a second."""
        now = time.monotonic()
        if now - self._placed < 0.5:
            return
        self._placed = now
        waiting = [task for task in self._tasks.values() if task.track.state == QUEUED]
        changed: list[Track] = []
        for place, task in enumerate(waiting):  # tasks stand in the order of their coming
            if task.track.place != place:
                task.track.place = place
                task.track.tell("queued", {"place": place})
                changed.append(task.track)
        self._bells.ring(changed)


__all__ = ["Task", "Worker"]
