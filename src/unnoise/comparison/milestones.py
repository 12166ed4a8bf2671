"""Samples on the way: what a training draws at its milestones, kept raw in the run, to be measured later."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from unnoise import files
from unnoise.metrics import Protocol
from unnoise.run import Run
from unnoise.train import Tick
from unnoise.training import Training

FOLDER = "milestones"


def drawer(training: Training, rules: Protocol) -> Callable[[Tick], None]:
    """What draws one lot of samples at every mark of `sample_every` but the last: the end is measured in full.

    The lot stands before the checkpoint of its mark, so a resume misses none; drawn twice, it is the same.
    """

    def draw(tick: Tick) -> None:
        if tick.end:
            return
        run = training.now()
        labels = None if rules.labels is None else rules.labels[0].tolist()
        raw = run.recipe.modality.quantise(torch.cat(list(run.batches(range(rules.count), label=labels))))
        file = io.BytesIO()
        np.save(file, raw, allow_pickle=False)
        files.put(training.folder / FOLDER / f"{tick.items:012d}.npy", file.getvalue())

    return draw


def kept(run: Run) -> dict[int, Path]:
    """Items seen → the file of samples drawn then, oldest first, as far as the run is trained."""
    found = sorted((run.folder / FOLDER).glob("*.npy"))
    return {int(path.stem): path for path in found if path.stem.isdecimal() and int(path.stem) <= run.checkpoint.items}


def samples(path: Path) -> npt.NDArray[np.generic]:
    """Raw samples (N, ...) of a milestone."""
    return np.load(path, allow_pickle=False)


__all__ = ["FOLDER", "drawer", "kept", "samples"]
