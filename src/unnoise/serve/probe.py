"""Which padded sizes a network answers with the same bits, and how many rows at a time it is quickest with.

A library takes other paths for other batches, so an item's last bits depend on the size of its call, though not on its
company. At loading every size is asked about the same rows; sizes that agree in every bit are a class, and a server
stays within one: what it draws then depends on the request alone.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unnoise import files
from unnoise.denoise import Denoiser
from unnoise.run import Run
from unnoise.tensor import Cond, Tensor, send

SIZES = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
MOST = SIZES[-1]
NEARLY = 0.95  # of the most rows a second: the least size that comes so near is the largest taken
ENOUGH = 0.2  # seconds of calls of one size, after two of them
STALLED = 1.02  # a size that brings less than this over those before it, twice running, ends the search


@dataclass(frozen=True)
class Bits:
    """sizes: padded sizes of one class; what else the bits depend on; seconds: what a call of each size takes."""

    sizes: tuple[int, ...]
    device: str
    torch: str
    threads: int
    seconds: tuple[float, ...]

    @property
    def told(self) -> dict[str, Any]:
        """What is written into a sample, and compared when it is made again."""
        return {"sizes": list(self.sizes), "device": self.device, "torch": self.torch, "threads": self.threads}

    @property
    def rate(self) -> float:
        """Rows a second, by the largest size."""
        return self.sizes[-1] / self.seconds[-1]


def bits_of(run: Run, kept: Path | None = None, most: int = MOST) -> Bits:
    """The class of a run on this machine: as was found before where that still holds, else the quickest.

    kept: a file where it is remembered, so that a busy moment at a start changes no bits; most: rows of a call.
    """
    ask = _Asks(run)
    known = _remembered(kept, _key(run, most)) if kept is not None else None
    sizes = known or [size for size in SIZES if size <= most] or [most]
    answers: dict[int, Tensor] = {}
    seconds: dict[int, float] = {}
    best, stalled = 0.0, 0
    for size in sizes:
        answers[size], seconds[size] = _answers(ask, size), _seconds(ask, size)
        stalled = 0 if size / seconds[size] > STALLED * best else stalled + 1
        best = max(best, size / seconds[size])
        if stalled == 2 and known is None:
            break
    if known is None or not _alike(answers, known):
        known = _best(answers, seconds)
        if kept is not None:
            _remember(kept, _key(run, most), known)
    took = tuple(seconds[size] for size in known)
    return Bits(tuple(known), where(run.device), torch.__version__, torch.get_num_threads(), took)


def _best(answers: dict[int, Tensor], seconds: dict[int, float]) -> list[int]:
    """The sizes that agree with the least of those that are nearly the quickest, up to that one."""
    steady = [size for size in answers if torch.equal(*answers[size])] or [max(answers)]
    best = max(size / seconds[size] for size in steady)
    knee = min(size for size in steady if size / seconds[size] >= NEARLY * best)
    return [size for size in answers if size <= knee and torch.equal(answers[size], answers[knee])]


def _alike(answers: dict[int, Tensor], sizes: Sequence[int]) -> bool:
    return all(torch.equal(answers[size], answers[sizes[0]]) for size in sizes)


class _Asks:
    """Fixed rows of every noise level and label, asked of a denoiser in calls of one size, in an order."""

    def __init__(self, run: Run, rows: int = 48):
        process, recipe = run.recipe.process, run.recipe
        self.denoiser: Denoiser = run.denoiser
        like = torch.zeros(0, device=run.device)
        self.x = process.prior(recipe.shape, range(rows), like, 1.0)
        times = np.linspace(0.02, 1.0, rows)
        self.level = process.level(times, like)
        labels = [k % (len(recipe.classes) + 1) for k in range(rows)]
        self.cond: Cond = {"label": send(torch.tensor(labels), like.device)} if recipe.classes else {}
        self.x = self.x / self.x.std() * 1.5

    @torch.no_grad()
    def __call__(self, rows: Sequence[int]) -> Tensor:
        index = send(torch.as_tensor(rows), self.x.device)
        cond = {name: leaf[index] for name, leaf in self.cond.items()}
        return self.denoiser(self.x[index], self.level.take(rows), cond).x0


def _answers(ask: _Asks, size: int) -> Tensor:
    """The answer about each row from calls of one size, twice: in order, and shuffled among other companies."""
    count = len(ask.x)
    shuffled = np.random.Generator(np.random.Philox(key=size)).permutation(count)
    found: list[Tensor] = []
    for order in (np.arange(count), shuffled):
        made = torch.empty_like(ask.x)
        for first in range(0, count, size):
            rows = order[first : first + size].tolist()
            padded = rows + [rows[-1]] * (size - len(rows))
            made[send(torch.as_tensor(rows), made.device)] = ask(padded)[: len(rows)]
        found.append(made)
    return torch.stack(found).cpu()


def _seconds(ask: _Asks, size: int) -> float:
    """The time of one call: the least of several, and of one thread of a processor its own time, since what else the
    machine does must not decide."""
    rows = [row % len(ask.x) for row in range(size)]
    took: list[float] = []
    alone = ask.x.device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if alone else time.perf_counter
    while len(took) < 2 or (sum(took) < ENOUGH and len(took) < 20):
        begun = clock()
        ask(rows).sum().item()  # waits for the device
        took.append(clock() - begun)
    return min(took)


def where(device: str) -> str:
    """What of a device its bits depend on: its name, of a processor the instructions that libraries choose by."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{device} {torch.backends.cpu.get_cpu_capability()}"


def _key(run: Run, most: int) -> str:
    facts = [most, run.recipe.nodes["net"], run.recipe.shape, run.device, torch.__version__, torch.get_num_threads()]
    return sha256(json.dumps([*facts, where(run.device)], default=str).encode()).hexdigest()[:16]


def _remembered(path: Path, key: str) -> list[int] | None:
    try:
        found = json.loads(path.read_bytes()).get(key)
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, list) and found and all(isinstance(n, int) and n > 0 for n in found) else None


def _remember(path: Path, key: str, sizes: list[int]) -> None:
    try:
        before = json.loads(path.read_bytes())
    except (OSError, ValueError):
        before = {}
    files.put(path, json.dumps({**before, key: sizes}))


__all__ = ["MOST", "SIZES", "Bits", "bits_of", "where"]
