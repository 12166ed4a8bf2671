"""The loop that takes the steps: it holds weights and engines, is spoken to by messages, and knows no request.

It runs in a thread or in a process of its own (here, apart); both ways it steps on while others draw and answer.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import Thread

import torch

from unnoise import run as runs
from unnoise.config import UserError
from unnoise.denoise import Denoiser
from unnoise.loop import Done, Engine, Step, Ticket
from unnoise.restore import Known
from unnoise.run import Run
from unnoise.samplers.walk import Walk
from unnoise.serve.messages import (
    Begin,
    Cancel,
    Drop,
    End,
    GaveUp,
    Look,
    Message,
    News,
    Open,
    Opened,
    Submit,
    Turn,
)  # fmt: skip
from unnoise.serve.order import WEIGHTED
from unnoise.serve.probe import bits_of

PLANS = 256  # that are remembered
SHOWN = 1 << 21  # numbers in the beliefs of one job that are handed out at a time, at most


@dataclass(eq=False)
class _Lane:
    model: int
    engine: Engine
    tickets: dict[int, int] = field(default_factory=dict[int, int])  # the engine's number → the sender's
    numbers: dict[int, int] = field(default_factory=dict[int, int])  # and back
    left: Counter[int] = field(default_factory=Counter[int])  # samples of each ticket that have not ended
    looked: set[int] = field(default_factory=set[int])

    def add(self, own: int, sent: int, samples: int) -> None:
        self.tickets[own], self.numbers[sent], self.left[sent] = sent, own, samples

    def drop(self, sent: int) -> int:
        """Forgets a ticket; the engine's number of it."""
        own = self.numbers.pop(sent)
        del self.tickets[own], self.left[sent]
        return own


class Steps:
    """tell: is given the news, from the thread that steps or the one that loads; it may not wait."""

    def __init__(self, tell: Callable[[News], None]):
        self._tell = tell
        self._runs: dict[int, Run] = {}
        self._lanes: dict[int, _Lane] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._plans: dict[Walk, Walk] = {}  # what is written out for a plan is for all that equal it
        self._turn = 0

    def run(self, inbox: "SimpleQueue[Message]") -> None:
        """Until it is told to stop: all messages there are, then a step; with nothing to do it waits for one."""
        torch.backends.cudnn.deterministic = True  # the same bits for the same call
        while True:
            while not inbox.empty() or not any(lane.engine.busy for lane in self._lanes.values()):
                if (message := inbox.get()) is None:
                    self._loader.shutdown(wait=True, cancel_futures=True)
                    return
                self._do(message)
            self._step()

    def _do(self, message: Message) -> None:
        match message:
            case Open():
                self._loader.submit(self._open, message)
            case Drop(model):
                self._runs.pop(model, None)
                self._lanes = {number: lane for number, lane in self._lanes.items() if lane.model != model}
            case Begin():
                self._begin(message)
            case End(number):
                self._lanes.pop(number, None)
            case Submit():
                self._submit(message)
            case Cancel(number, ticket):
                lane = self._lanes.get(number)
                if lane is not None and ticket in lane.numbers:
                    lane.engine.cancel(Ticket(lane.drop(ticket)))
            case Look(number, ticket):
                if number in self._lanes:
                    self._lanes[number].looked.add(ticket)
            case None:
                pass

    def _open(self, asked: Open) -> None:
        try:
            run = runs.open(asked.folder, asked.device)
            bits = bits_of(run, asked.kept, asked.most)
            self._runs[asked.model] = run
            self._tell(Opened(asked.model, bits, run.weights, run=run))
        except Exception as error:  # whatever is wrong with a folder, the other models go on
            self._tell(Opened(asked.model, trouble=_why(error)))

    def _begin(self, asked: Begin) -> None:
        try:
            run = self._runs[asked.model]
            engine = Engine(_denoiser(run, asked.guides), asked.places, asked.sizes, run.device)
            self._lanes[asked.lane] = _Lane(asked.model, engine)
        except Exception as error:  # guides that this model has no parts for, or that find no memory
            self._tell(GaveUp(asked.lane, _why(error)))

    def _submit(self, asked: Submit) -> None:
        lane = self._lanes.get(asked.lane)
        if lane is None:  # given up meanwhile, of which its sender is told
            return
        if len(self._plans) > PLANS:
            self._plans.clear()
        job = replace(asked.job, plan=self._plans.setdefault(asked.job.plan, asked.job.plan))
        try:
            number = lane.engine.submit(job).number
        except ValueError as error:  # what does not fit this model after all
            failed = {(asked.ticket, index): str(error) for index in range(len(asked.job.seeds))}
            self._tell(Turn(asked.lane, failed=failed))
            return
        lane.add(number, asked.ticket, len(asked.job.seeds))

    def _step(self) -> None:
        """One step of the lane whose turn it is."""
        busy = [number for number, lane in self._lanes.items() if lane.engine.busy]
        if not busy:
            return
        self._turn += 1
        number = busy[self._turn % len(busy)]
        lane = self._lanes[number]
        begun = time.perf_counter()
        try:
            self._tell(self._turned(number, lane, begun))
        except Exception as error:  # of the whole step: its jobs fail, others go on
            del self._lanes[number]
            self._tell(GaveUp(number, _why(error)))

    def _turned(self, number: int, lane: _Lane, begun: float) -> Turn:
        made, shown = Turn(number), Counter[int]()
        for event in lane.engine.tick():
            ticket = lane.tickets[event.ticket.number]
            place = (ticket, event.index)
            if isinstance(event, Step):
                made.rows[place] = event.row
                if event.row == 1 or ticket in lane.looked:
                    shown[ticket] += 1
                    if shown[ticket] <= max(1, SHOWN // math.prod(event.x0.shape)):
                        made.beliefs[place] = event.x0
                continue
            if isinstance(event, Done):
                made.found[place] = event.x
            else:
                made.failed[place] = event.reason
            lane.left[ticket] -= 1
            if not lane.left[ticket]:
                lane.drop(ticket)
        lane.looked.clear()
        made.seconds = time.perf_counter() - begun
        return made


def _denoiser(run: Run, guides: str) -> Denoiser:
    """The network with guides around it, and around these what holds known parts in their place."""
    weighted = guides == WEIGHTED
    return Known(run.guided(({"kind": "cfg"} if run.recipe.nulls else 1) if weighted else guides))


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, UserError | OSError) else f"{type(error).__name__}: {error}"


class Here(Thread):
    """The loop in a thread of this process."""

    def __init__(self, tell: Callable[[News], None]):
        super().__init__(name="steps", daemon=True)
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._steps = Steps(tell)

    def run(self) -> None:
        """Steps until it is stopped."""
        self._steps.run(self._inbox)

    def send(self, message: Message) -> None:
        """Says something to it, from any thread."""
        self._inbox.put(message)

    def stop(self) -> None:
        """Ends it after the step that it takes."""
        self.send(None)
        self.join()


__all__ = ["Here", "Steps"]
