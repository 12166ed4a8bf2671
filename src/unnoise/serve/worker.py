"""The thread that gives places: it takes in jobs, says to the loop that takes the steps what to draw, and hands out
what is done.

Every lane is an engine there: one model, one set of guides; within it shapes and conditions take turns as the engine
has it. All other threads speak to this one by messages, so nothing here is locked, and it waits for no disk, no picture
and no step.
"""

import time
from collections import Counter
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeAlias

import torch

from unnoise.config import UserError
from unnoise.loop import Job
from unnoise.serve import logs
from unnoise.serve.line import Line
from unnoise.serve.messages import Begin, Cancel, End, Ended, GaveUp, Look, News, Opened, Stepper, Submit, Turn
from unnoise.serve.metrics import Metrics
from unnoise.serve.models import Loaded, Models
from unnoise.serve.settings import Settings
from unnoise.serve.task import Lane, Task
from unnoise.serve.track import CANCELLED, EXPIRED, FAILED, QUEUED, RUNNING, Bells, Track
from unnoise.tensor import Tensor

LANES = 8  # of one model: of guides in words, beyond which idle ones are forgotten
LIVES = 2  # ends of the loop that takes the steps after which a job that was under way each time has failed


Finish: TypeAlias = Callable[[Task, str], None]
Show: TypeAlias = Callable[[Task, dict[int, tuple[int, Tensor]]], None]


class Worker(Thread):
    """finish, show: what is done with a job that has ended, and with beliefs to look at; neither may wait."""

    def __init__(
        self, models: Models, steps: Stepper, settings: Settings, metrics: Metrics, bells: Bells, finish: Finish,
        show: Show,
    ):  # fmt: skip
        super().__init__(name="places", daemon=True)
        self._models, self._steps, self._settings = models, steps, settings
        self._metrics, self._bells = metrics, bells
        self._finish, self._show = finish, show
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._tasks: dict[str, Task] = {}
        self._homeless: Line[Task] = Line()  # whose model is not at hand
        self._lanes: dict[tuple[Loaded, str], Lane] = {}
        self._placed = 0.0  # when places in the line were last told
        self._ticks = self._numbers = self._tickets = self._made = 0  # steps, jobs, tickets, lanes so far
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

    def hear(self, news: News) -> None:
        """What the loop that takes the steps has to tell."""
        self._inbox.put(lambda: self._hear(news))

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
        while not self._stopping and not (self._draining and not any(lane.tickets for lane in self._lanes.values())):
            try:
                self._round()
            except Exception as error:  # a mistake of ours must not end the thread that all wait for
                logs.error("places", error)
                time.sleep(0.1)
            self.beat = time.monotonic()

    def _round(self) -> None:
        self._read()
        self._models.settle()
        self._expire()
        self._house()
        self._admit()

    def _read(self) -> None:
        """All messages there are, one at least, if it comes before a deadline may have passed."""
        try:
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
                lane.model.lanes = max(1, lane.model.lanes)
        self._places()
        self._count()

    def _lane(self, model: Loaded, guides: str) -> Lane:
        if (model, guides) not in self._lanes:
            own = [key for key in self._lanes if key[0] is model]
            for key in own[: max(0, len(own) + 1 - LANES)]:
                if not self._lanes[key].works:
                    self._steps.send(End(self._lanes.pop(key).number))
            self._made += 1
            sizes = model.bits.sizes
            places = self._settings.places or sizes[-1]
            self._lanes[model, guides] = Lane(self._made, model, places)
            self._steps.send(Begin(self._made, model.number, guides, places, sizes))
        return self._lanes[model, guides]

    def _admit(self) -> None:
        """Free places to who waits: the oldest first, fair between keys."""
        if self._draining:
            return
        held: Counter[str] = Counter()
        for task in self._tasks.values():
            held[task.owner] += len(task.under_way)
        for lane in self._lanes.values():
            if len(lane.line) and (free := lane.free) > 0:
                for task, samples in lane.line.take(free, held):
                    self._begin(lane, task, samples)

    def _begin(self, lane: Lane, task: Task, samples: list[int]) -> None:
        order, task.model = task.order, lane.model
        index = torch.as_tensor(samples)
        cond = {name: leaf[index] for name, leaf in order.cond.items()}
        start = None if order.start is None else order.start[index]
        self._tickets += 1
        lane.tickets[self._tickets] = (task, samples)
        task.under_way.update(dict.fromkeys(samples, 0))
        job = Job(order.plan, order.shape, [order.seeds[i] for i in samples], cond, start)
        self._steps.send(Submit(lane.number, self._tickets, job))
        if task.track.state == QUEUED:
            task.track.state = RUNNING

    # What is heard of the steps

    def _hear(self, news: News) -> None:
        match news:
            case Opened():
                self._models.opened(news)
            case Turn():
                if (lane := self._numbered(news.lane)) is not None:
                    self._turned(lane, news)
            case GaveUp(number, reason):
                if (lane := self._numbered(number)) is not None:
                    self._give_up(lane, reason)
            case Ended(reason):
                self._begin_anew(reason)

    def _turned(self, lane: Lane, turn: Turn) -> None:
        """A lane has moved by a step: its jobs' news, and places that are free."""
        if turn.rows:
            self._ticks += 1
            self._timed(turn.seconds, len(turn.rows))
        beliefs: dict[Task, dict[int, tuple[int, Tensor]]] = {}
        touched: dict[Task, set[int]] = {}
        for (ticket, index), row in turn.rows.items():
            if ticket not in lane.tickets:  # cancelled meanwhile
                continue
            task, samples = lane.tickets[ticket]
            touched.setdefault(task, set()).add(ticket)
            self._moved(task, samples[index], row)
            if (x0 := turn.beliefs.get((ticket, index))) is not None:
                beliefs.setdefault(task, {})[samples[index]] = (row, x0)
        for place in (*turn.found, *turn.failed):
            ticket, index = place
            if ticket not in lane.tickets:
                continue
            task, samples = lane.tickets[ticket]
            touched.setdefault(task, set()).add(ticket)
            task.under_way.pop(samples[index], None)
            if place in turn.found:
                task.found[samples[index]] = turn.found[place]
            else:
                task.failed[samples[index]] = turn.failed[place]
        lane.tickets = {n: (task, samples) for n, (task, samples) in lane.tickets.items()
                        if any(sample in task.under_way for sample in samples)}  # fmt: skip
        now = time.monotonic()
        for task, tickets in touched.items():
            self._tell(task, beliefs.get(task, {}), now)
            if task.track.listeners and now - task.track.shown >= self._settings.preview:
                for ticket in tickets & lane.tickets.keys():
                    self._steps.send(Look(lane.number, ticket))
            self._settle(task)
        self._bells.ring(task.track for task in touched)

    def _moved(self, task: Task, sample: int, row: int) -> None:
        if row == 1:
            self._metrics.admission.observe(max(0, self._ticks - task.came - 1))
            if not task.track.steps[0] and not any(task.under_way.values()):
                self._metrics.preview.observe(time.monotonic() - task.track.begun)
        task.under_way[sample] = row

    def _tell(self, task: Task, seen: dict[int, tuple[int, Tensor]], now: float) -> None:
        """How far a job is; its beliefs to look at, where somebody listens."""
        track, rows = task.track, task.order.plan.rows
        track.steps = (sum(task.under_way.values()) + rows * (len(task.found) + len(task.failed)),
                       rows * track.samples)  # fmt: skip
        if not track.listeners or not seen:
            return
        track.shown = now
        track.tell("step", {"done": track.steps[0], "of": track.steps[1], "samples_done": len(task.found)})
        if task.under_way:
            self._show(task, dict(sorted(seen.items())))

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
                self._steps.send(Cancel(lane.number, number))
                del lane.tickets[number]
        self._homeless.drop(task)
        task.waiting.clear()
        task.under_way.clear()
        self._close(task, state)

    def _close(self, task: Task, state: str) -> None:
        if self._tasks.pop(task.track.job, None) is not None:
            self._count()
            self._finish(task, state)

    def _give_up(self, lane: Lane, reason: str) -> None:
        """A lane is no more: what was under way in it fails, what waits waits anew."""
        for task in {task for task, _ in lane.tickets.values()}:
            task.failed.update(dict.fromkeys(range(len(task.order.seeds)), reason))
            self._end(task.track.job, FAILED)
        self._forget(lane)

    def _begin_anew(self, reason: str) -> None:
        """The loop is no more: what was under way begins again, by the same seeds, where it has not been so before."""
        logs.say("steps ended", reason=reason)
        self._models.lost()
        for task in {task for lane in self._lanes.values() for task, _ in lane.tickets.values()}:
            task.ends += 1
            if task.ends >= LIVES:
                task.failed.update(dict.fromkeys(task.under_way, reason))
                self._end(task.track.job, FAILED)
        for lane in list(self._lanes.values()):
            for task in {*lane.line, *(task for task, _ in lane.tickets.values())}:
                lane.line.drop(task)
                task.again()
                lane.line.add(task)
            self._forget(lane)

    def _forget(self, lane: Lane) -> None:
        for task in list(lane.line):
            lane.line.drop(task)
            task.model = None
            self._homeless.add(task)
        self._lanes = {key: other for key, other in self._lanes.items() if other is not lane}

    def _numbered(self, number: int) -> Lane | None:
        return next((lane for lane in self._lanes.values() if lane.number == number), None)

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


__all__ = ["Worker"]
