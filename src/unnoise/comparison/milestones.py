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
from unnoise.train import Diverged, Tick
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
        x = torch.cat(list(run.batches(range(rules.count), label=labels)))
        if not x.isfinite().all():
            raise Diverged(f"samples are not finite after {tick.items:,} items: lower train.lr or train.clip")
        raw = run.recipe.modality.quantise(x)
        file = io.BytesIO()
        np.save(file, raw, allow_pickle=False)
        files.put(training.folder / FOLDER / f"{tick.items:012d}{_end(rules.against)}", file.getvalue())

    return draw


def kept(run: Run, against: str = "test") -> dict[int, Path]:
    """Items seen → the file of samples drawn then with the labels of that part, as far as the run is trained."""
    end = _end(against)
    found = {path.name.removesuffix(end): path for path in sorted((run.folder / FOLDER).glob(f"*{end}"))}
    return {
        int(items): path for items, path in found.items() if items.isdecimal() and int(items) <= run.checkpoint.items
    }


def _end(against: str) -> str:
    """How files are called, after their items."""
    return ".npy" if against == "test" else f"-{against}.npy"


def samples(path: Path) -> npt.NDArray[np.generic]:
    """Raw samples (N, ...) of a milestone."""
    return np.load(path, allow_pickle=False)


__all__ = ["FOLDER", "drawer", "kept", "samples"]
