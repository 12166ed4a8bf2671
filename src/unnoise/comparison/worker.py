"""A process that trains a run or measures some: told what to do in a line, tells how far it is in lines.

`python -m unnoise.comparison.worker` reads one line of JSON; when its input ends, it finishes the step and saves: so
a parent that dies, however it dies, leaves nobody at work behind.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from unnoise import run as runs
from unnoise.comparison.drawing import Drawing
from unnoise.comparison.measured import lab_of
from unnoise.comparison.milestones import drawer
from unnoise.recipe import resolve
from unnoise.train import Diverged
from unnoise.training import Training

PACE = 0.5  # seconds between two words on how far it is


@runtime_checkable
class Work(Protocol):
    """Something under way: `done` counts what is done of it, `stop` asks it to end well and soon."""

    @property
    def done(self) -> int: ...

    def stop(self) -> None: ...


class Train:
    """A training to its end, from wherever it stands, its milestones drawn."""

    def __init__(self, asked: Mapping[str, Any]):
        recipe = resolve(asked["name"], asked["nodes"])
        self.training = Training(recipe, Path(asked["folder"]), resume=True, device=asked["device"])
        self.against: str = asked["against"]
        self.count: int | None = asked["count"]

    @property
    def done(self) -> int:
        return self.training.trainer.items

    def stop(self) -> None:
        self.training.stop()

    def __call__(self) -> bool:
        """Whether it got to the end."""
        if self.training.done:
            return True
        draw = None
        if self.training.recipe.train.sample_every:
            rules = self.training.run().protocol(self.against)
            draw = drawer(self.training, replace(rules, count=self.count or rules.count))
        for _ in self.training.ticks(draw):
            pass
        return self.training.done


class _Stopped(Exception):
    pass


class Measure:
    """Runs drawn in some ways and measured, one after the other; each answer is kept as soon as it is known."""

    def __init__(self, asked: Mapping[str, Any]):
        self.asked, self._before, self._part, self._stopping = asked, 0, 0, False

    @property
    def done(self) -> int:
        return self._before + self._part

    def stop(self) -> None:
        self._stopping = True

    def _seen(self, count: int) -> None:
        self._part = count
        if self._stopping:
            raise _Stopped

    def __call__(self) -> bool:
        """Whether all was measured."""
        lab = lab_of(json.dumps(self.asked["lab"]))
        try:
            for folder, drawing in self.asked["pairs"]:
                lab.result(runs.open(folder, self.asked["device"]), Drawing(**drawing), self._seen)
                self._before, self._part = self._before + lab.samples, 0
        except _Stopped:
            return False
        return True


KINDS: dict[str, Callable[[Mapping[str, Any]], Any]] = {"train": Train, "measure": Measure}


def do(asked: Mapping[str, Any], begun: Callable[[Work], None]) -> bool:
    """Does what is asked, whichever kind of work it is; `begun` is given the work before it is done."""
    work = KINDS[asked["kind"]](asked)
    begun(work)
    return work()


def main() -> int:
    """Does what the line on stdin says; exit status 0 whether it got to the end or was stopped, 1 on an error."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    torch.set_num_threads(asked["threads"])
    ended = threading.Event()

    def tell(**words: Any) -> None:
        try:
            print(json.dumps(words), flush=True)
        except BrokenPipeError:  # nobody is left to hear it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def begun(work: Work) -> None:
        def listen() -> None:
            sys.stdin.read()  # until whoever started us says stop, or is no more
            work.stop()

        def speak() -> None:
            while not ended.wait(PACE):
                tell(count=work.done)

        for task in (listen, speak):
            threading.Thread(target=task, daemon=True).start()

    try:
        done = do(asked, begun)
    except (ValueError, OSError, FloatingPointError) as error:
        ended.set()
        tell(error=" ".join(str(error).split()), diverged=isinstance(error, Diverged))
        return 1
    ended.set()
    tell(done=done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
