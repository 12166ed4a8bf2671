"""What a training costs on this machine: measured by real steps of it, not guessed."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unnoise.advise import machine
from unnoise.recipe import Recipe
from unnoise.training import Training

WARM = 2  # steps that are not counted: the first ones make what later ones use again
LEAST = 3  # steps counted, however slow


@dataclass(frozen=True)
class Cost:
    """Seconds of single steps of `batch` items, what one held-out loss takes, and the bytes held at the most."""

    seconds: tuple[float, ...]
    batch: int
    memory: int
    validate: float = 0.0
    asked: int = 1  # held-out items that it was measured with

    @property
    def rate(self) -> float:
        """Items a second, by the median step."""
        return self.batch / float(np.median(self.seconds))

    @property
    def spread(self) -> tuple[float, float]:
        """Items a second by the slowest and the fastest quarter of steps."""
        slow, fast = np.quantile(self.seconds, (0.75, 0.25))
        return self.batch / float(slow), self.batch / float(fast)


def measure(recipe: Recipe, device: str = "cpu", seconds: float = 3.0) -> Cost:
    """Trains for about so long, nothing written, and forgets it. Memory is that of the whole process, or the device's.

    Raises what the training would raise: a recipe that cannot be trained is told of now.
    """
    prober = Probe(recipe, device)
    clock, taken = time.perf_counter(), [0.0] * 0
    while len(taken) < LEAST or time.perf_counter() - clock < seconds:
        taken.append(prober())
    begun = time.perf_counter()
    prober.training.trainer.validate()
    synchronise(device)
    return Cost(
        tuple(taken), recipe.train.batch, prober.peak(), time.perf_counter() - begun, recipe.train.validate_items
    )


class Probe:
    """Steps of a training, one at a time, in a folder that never comes to be."""

    def __init__(self, recipe: Recipe, device: str = "cpu", warm: int = WARM):
        machine.forget_peak()
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
        self.device = device
        with tempfile.TemporaryDirectory() as folder:
            self.training = Training(recipe, Path(folder) / "probe", device=device)
        for _ in range(warm):
            self()

    def __call__(self) -> float:
        """The seconds of one more step."""
        synchronise(self.device)
        begun = time.perf_counter()
        self.training.trainer.step()
        synchronise(self.device)
        return time.perf_counter() - begun

    def peak(self) -> int:
        """Bytes held at the most, on the device; on a processor, by this process."""
        if self.device.startswith("cuda"):
            return torch.cuda.max_memory_allocated(self.device)
        if self.device == "mps":
            return torch.mps.driver_allocated_memory()
        return machine.peak()


def synchronise(device: str) -> None:
    """Waits until a device has done what it was given: a clock would else read when it was asked."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


__all__ = ["Cost", "Probe", "measure", "synchronise"]
