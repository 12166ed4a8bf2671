"""Trainings one after the other, or several at a time in processes of their own; stopped and gone on with at will."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import torch

from unnoise.comparison import worker
from unnoise.comparison.sweep import Training
from unnoise.config import UserError
from unnoise.train import checkpoint
from unnoise.training import CHECKPOINTS

LOOK = 0.2  # seconds between two looks at what the others do


class Jobs:
    """The trainings that a sweep needs. `run` does them, `stop` ends it well, `items` of `total` are seen so far.

    jobs: how many at a time; threads: of each, so that the bits do not depend on how many there are.
    """

    def __init__(self, tasks: Sequence[Training], device: str, against: str, jobs: int = 1, threads: int = 1):
        self.tasks, self.device, self.against, self.jobs, self.threads = tasks, device, against, jobs, threads
        self._seen = {task.folder: _stands(task) for task in tasks}
        self.todo = [task for task in tasks if self._seen[task.folder] < task.recipe.train.items]
        self.stopped = False
        self._running: list[Any] = []  # trainings of this process
        self.now = ""  # what is being trained, in words

    @property
    def total(self) -> int:
        """Items that all trainings see together."""
        return sum(_whole(task) for task in self.tasks)

    @property
    def items(self) -> int:
        """Items seen so far."""
        here = {training.folder: training.trainer.items for training in self._running}
        return sum(min(here.get(task.folder, self._seen[task.folder]), _whole(task)) for task in self.tasks)

    def stop(self) -> None:
        """Asks every training to save and end after its step; a signal handler may call it."""
        self.stopped = True
        for training in self._running:
            training.stop()

    def run(self) -> bool:
        """Trains what is missing; whether all is trained. Raises what a training raises, named."""
        if self.jobs == 1 or len(self.todo) == 1:
            self._alone()
        else:
            self._beside()
        return not self.stopped

    def _alone(self) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            for task in self.todo:
                if self.stopped:
                    return
                self.now = _called(task)
                try:
                    worker.train(task.recipe, task.folder, self.device, self.against, self._begun)
                except UserError as error:
                    raise UserError(f"{_called(task)}: {error}") from error
                finally:
                    for training in self._running:
                        self._seen[task.folder] = training.trainer.items
                    self._running = []
        finally:
            torch.set_num_threads(before)

    def _begun(self, training: Any) -> None:
        self._running = [training]
        if self.stopped:
            training.stop()

    def _beside(self) -> None:
        waiting, running, failed = list(self.todo), list[_Process](), list[str]()
        try:
            while running or (waiting and not self.stopped and not failed):
                while waiting and len(running) < self.jobs and not self.stopped and not failed:
                    running.append(_Process(waiting.pop(0), self.device, self.against, self.threads))
                self.now = ", ".join(_called(process.task) for process in running)
                time.sleep(LOOK)
                for process in list(running):
                    self._seen[process.task.folder] = max(self._seen[process.task.folder], process.items)
                    if self.stopped or failed:
                        process.stop()
                    if process.ended:
                        running.remove(process)
                        if process.error:
                            failed.append(f"{_called(process.task)}: {process.error}")
        finally:
            for process in running:
                process.stop()
        if failed:
            raise UserError(failed[0])


class _Process:
    """A training in a process of its own, and what it said last."""

    def __init__(self, task: Training, device: str, against: str, threads: int):
        self.task, self.items, self.error, self.done = task, 0, "", False
        self._child = subprocess.Popen(
            [sys.executable, "-m", "unnoise.comparison.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is ours to hear: we tell it
        )
        asked = {"name": task.recipe.name, "nodes": task.recipe.nodes, "folder": str(task.folder)}
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({**asked, "device": device, "against": against, "threads": threads}) + "\n")
        self._child.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """Its input ends, and so does it, after the step at hand."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            self._child.stdin.close()

    @property
    def ended(self) -> bool:
        """Whether it is over, and all it said was heard."""
        if self._child.poll() is None:
            return False
        self._reader.join()
        if self._child.returncode and not self.error:
            self.error = f"its process ended with status {self._child.returncode}"
        return True

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            told = json.loads(line)
            self.items = told.get("items", self.items)
            self.error, self.done = told.get("error", ""), told.get("done", False)
            if self.done:
                self.items = _whole(self.task)


def _stands(task: Training) -> int:
    """Items that a training has behind it, by the name of its newest checkpoint."""
    there = checkpoint.listed(task.folder / CHECKPOINTS)
    return int(there[-1].name) if there else 0


def _whole(task: Training) -> int:
    return task.recipe.train.steps * task.recipe.train.batch


def _called(task: Training) -> str:
    return f"{task.variant.name}, seed {task.seed}"


__all__ = ["Jobs"]
