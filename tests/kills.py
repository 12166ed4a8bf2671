"""A training that is killed at random moments and resumed until it is done, beside the one that was never disturbed."""

import hashlib
import os
import random
import shutil
import signal
import time
import traceback
from collections import Counter

from faults import Disk

from unnoise.recipe import resolve
from unnoise.train import checkpoint
from unnoise.training import Training

# A little of everything: labels and their nulls, dropout, dequantisation, two averages, snapshots of two more, parts
# of a batch, marks that fall in the middle of an epoch (40 items) and do not fall together.
NODES = {
    "data": {"kind": "shapes", "items": 40, "held_out": 8, "side": 6},
    "modality": "image",
    "net": {"kind": "mlp", "width": 8, "depth": 1, "dropout": 0.2},
    "train": {
        "items": 480, "batch": 16, "accumulate": 2, "lr": 0.01, "warmup": 16, "ema": [0.1, 0.2], "log_every": 32,
        "validate_every": 160, "validate_items": 8, "checkpoint_every": 48, "keep": 2, "milestone_every": 150,
    },
    "sample": {"sampler": "ddim", "steps": 2},
}  # fmt: skip


def recipe(**fields):
    return resolve("killed", {**NODES, "train": {**NODES["train"], **fields}})


def train(made, folder, tick=None):
    training = Training(made, folder, resume=True)
    for seen in training.ticks():
        if tick is not None:
            tick(training, seen)
    return training


def digest(path):
    """SHA-256 of every file below a folder, or of one file."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()
    }


def saves(folder):
    return folder / "checkpoints", folder / "snapshots"


def readable(path):
    try:
        return checkpoint.read(path).path == path
    except ValueError:
        return False


def outcome(folder):
    """All that a training leaves and a resume must not change: the last checkpoint, the records, the snapshots."""
    return {
        "checkpoint": digest(checkpoint.newest(folder / "checkpoints").path),
        "metrics": digest(folder / "metrics.jsonl"),
        "snapshots": digest(folder / "snapshots"),
    }


def forked(work):
    """The process that does `work` and nothing else; its exit status says how that went."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def ended(child, patience=None):
    """Whether a child ended by itself within so many seconds; else it was killed. Any other end is an error."""
    end = time.monotonic() + (1e9 if patience is None else patience)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.0005)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert status == 0, f"a training ended with status {status}"
    return True


class Kills:
    """Kills by the dozen. `share` of them strike inside a save, at a disk call chosen at random (a write: half done).

    The others strike at a random instant. After each, what is on the disk is held against the training that was
    never disturbed; a training that is done is compared with it, and another one begins.
    """

    def __init__(self, place, seed=0, share=0.3, **fields):
        self.place, self.share, self.random = place, share, random.Random(seed)
        self.recipe = recipe(**fields)
        self.counts = Counter(kills=0, unreadable=0, lost=0, wrong=0, runs=0, different=0)
        train(recipe(**{**fields, "items": 16}), place / "warm")  # what is imported now is not imported in every child
        straight = place / "straight"
        begun = time.monotonic()
        assert ended(forked(lambda: train(recipe(**fields, keep=1000), straight)))
        self.seconds = time.monotonic() - begun
        self.truth = {int(p.name): digest(p) for p in checkpoint.listed(straight / "checkpoints")}
        self.end = outcome(straight)
        calls = place / "calls"
        assert ended(forked(lambda: self._count(calls)))
        self.calls = int((calls / "count").read_text())

    def _count(self, folder):
        with Disk(saves(folder)) as disk:
            train(self.recipe, folder)
        (folder / "count").write_text(str(disk.calls.total()))

    def until(self, kills):
        """Goes on until so many kills are done, and the training that they struck is done too."""
        while self.counts["kills"] < kills:
            folder = self.place / "killed"
            shutil.rmtree(folder, ignore_errors=True)
            seen = 0
            while not self._live(folder, more=self.counts["kills"] < kills):
                seen = self._look(folder, seen)
            self.counts["runs"] += 1
            found = outcome(folder)
            self.counts["different"] += found != self.end
            for name in (name for name in found if found[name] != self.end[name]):
                print("different:", name, found[name], "expected", self.end[name], flush=True)
        return self.counts

    def _live(self, folder, more):
        if not more:
            return ended(forked(lambda: train(self.recipe, folder)))
        if self.counts["inside a save, by design"] < self.share * (self.counts["kills"] + 1):
            at = self.random.randint(1, self.calls // 4)
            done = ended(forked(lambda: self._struck(folder, at)))
            self.counts["inside a save, by design"] += not done
        else:
            done = ended(forked(lambda: train(self.recipe, folder)), self.random.uniform(0, self.seconds / 2))
            self.counts["at an instant"] += not done
        self.counts["kills"] += not done
        return done

    def _struck(self, folder, at):
        with Disk(saves(folder), at=at, fault=None):
            train(self.recipe, folder)

    def _look(self, folder, before):
        """The newest checkpoint must be one that was complete, and none of those before it gone back to."""
        place = folder / "checkpoints"
        self.counts["found a save half done"] += any(any(p.glob(".unfinished-*")) for p in saves(folder) if p.exists())
        self.counts["unreadable"] += sum(not readable(path) for path in checkpoint.listed(place))
        found = checkpoint.newest(place)
        items = found.items if found else 0
        self.counts["lost"] += items < before
        self.counts["wrong"] += found is not None and digest(found.path) != self.truth.get(items)
        return items
