"""Work done here, or several pieces at a time in processes of their own; stopped and gone on with at will."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unnoise.comparison import worker
from unnoise.comparison.worker import Work
from unnoise.config import UserError
from unnoise.train import Diverged

LOOK = 0.2  # seconds between two looks at what the others do


@dataclass(frozen=True)
class Job:
    """A piece of work: what the worker is asked, how it is called, how much of it there is, and was done before."""

    name: str
    asked: Mapping[str, Any]
    total: int
    before: int = 0


class Jobs:
    """Pieces of work. `run` does them, `stop` ends it well, `done` of `total` is done so far.

    many: how many at a time; threads: of each, so that the bits do not depend on how many there are.
    """

    def __init__(self, jobs: Sequence[Job], many: int = 1, threads: int = 1):
        self.jobs, self.many, self.threads = jobs, many, threads
        self.todo = [job for job in jobs if job.before < job.total]
        self.stopped = False
        self.now = ""  # what is being done, in words
        self.diverged: dict[str, str] = {}  # trainings whose numbers ran away, by the work's name, and how
        self._done = {id(job): job.before for job in jobs}
        self._here: tuple[Job, Work] | None = None  # what this process does itself

    @property
    def total(self) -> int:
        """All there is to do."""
        return sum(job.total for job in self.jobs)

    @property
    def done(self) -> int:
        """What is done of it."""
        here = self._here
        now = {id(here[0]): here[1].done} if here is not None else {}
        return sum(min(now.get(id(job), self._done[id(job)]), job.total) for job in self.jobs)

    def stop(self) -> None:
        """Asks all work to save and end after its step; a signal handler may call it."""
        self.stopped = True
        if self._here is not None:
            self._here[1].stop()

    def run(self) -> bool:
        """Does what is to be done; whether it was not stopped. Raises what the work raises, named.

        A training that diverges is told in `diverged`, and the rest goes on.
        """
        if self.many == 1 or len(self.todo) < 2:
            self._alone()
        else:
            self._beside()
        return not self.stopped

    def _alone(self) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            for job in self.todo:
                if self.stopped:
                    return
                self.now = job.name
                try:
                    worker.do(job.asked, lambda work, job=job: self._begun(job, work))
                except Diverged as error:
                    self.diverged[job.name] = str(error)
                except UserError as error:
                    raise UserError(f"{job.name}: {error}") from error
                finally:
                    if self._here is not None:
                        self._done[id(job)] = self._here[1].done
                    self._here = None
        finally:
            torch.set_num_threads(before)

    def _begun(self, job: Job, work: Work) -> None:
        self._here = job, work
        if self.stopped:
            work.stop()

    def _beside(self) -> None:
        waiting, running, failed = list(self.todo), list[_Process](), list[str]()
        try:
            while running or (waiting and not self.stopped and not failed):
                while waiting and len(running) < self.many and not self.stopped and not failed:
                    running.append(_Process(waiting.pop(0), self.threads))
                self.now = "; ".join(process.job.name for process in running)
                time.sleep(LOOK)
                for process in list(running):
                    if self.stopped or failed:
                        process.stop()
                    over = process.over
                    self._done[id(process.job)] = max(self._done[id(process.job)], process.count)
                    if over:
                        running.remove(process)
                        if process.diverged:
                            self.diverged[process.job.name] = process.error
                        elif process.error:
                            failed.append(f"{process.job.name}: {process.error}")
        finally:
            for process in running:
                process.stop()
        if failed:
            raise UserError(failed[0])


class _Process:
    """A piece of work in a process of its own, and what it said last."""

    def __init__(self, job: Job, threads: int):
        self.job, self.count, self.error, self.diverged = job, 0, "", False
        self._child = subprocess.Popen(
            [sys.executable, "-m", "unnoise.comparison.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is ours to hear: we tell it
        )
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({**job.asked, "threads": threads}) + "\n")
        self._child.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """Its input ends, and so does it, after the step at hand."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            self._child.stdin.close()

    @property
    def over(self) -> bool:
        """Whether it has ended, and all it said was heard."""
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
            self.count, self.error = told.get("count", self.count), told.get("error", "")
            self.diverged = told.get("diverged", False)
            if told.get("done"):
                self.count = self.job.total


__all__ = ["Job", "Jobs"]
