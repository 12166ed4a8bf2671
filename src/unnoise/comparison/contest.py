"""A comparison under way: what is to be trained, what is to be measured, and with what."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unnoise import run as runs
from unnoise.comparison.drawing import Drawings
from unnoise.comparison.entries import Candidate, Group, candidates, comparable, data_of, grouped, ways
from unnoise.comparison.jobs import Job, Jobs
from unnoise.comparison.measured import Lab, lab_of
from unnoise.comparison.sweep import Sweep, Training
from unnoise.config import UserError, choose
from unnoise.folder import CHECKPOINTS, RECIPE
from unnoise.metrics import MEASURES, Protocol
from unnoise.recipe import Recipe
from unnoise.run import Run
from unnoise.train import checkpoint
from unnoise.training import same

EXCESS = ("excess_risk", "excess_bits")  # read of the network itself, where the truth is known


@dataclass
class Contest:
    """Entries, measured alike: the same seeds of samples, the same real items, the same floors."""

    name: str
    out: Path
    drawings: Drawings
    sweep: Sweep | None = None
    folders: Sequence[Path] = ()
    device: str = "cpu"
    jobs: int = 1
    threads: int = 1
    judge: str | None = None
    measures: Sequence[str] = ()  # beside the standard table
    features: str | None = None  # read on these too
    download: bool = False
    draws: int | None = None
    count: int | None = None
    against: str = "test"
    command: str = ""

    @cached_property
    def trainings(self) -> list[Training]:
        """What a sweep trains."""
        return [] if self.sweep is None else self.sweep.trainings(self.out)

    @cached_property
    def training(self) -> Jobs:
        """The trainings, as work: items of items."""
        told = {"kind": "train", "device": self.device, "against": self.against, "count": self.count}
        jobs = [
            Job(
                _called(task),
                {**told, "name": task.recipe.name, "nodes": task.recipe.nodes, "folder": str(task.folder)},
                task.recipe.train.steps * task.recipe.train.batch,
                _stands(task.folder),
            )
            for task in self.trainings
        ]
        return Jobs(jobs, self.jobs, self.threads)

    @cached_property
    def measuring(self) -> Jobs:
        """What is not measured yet, as work: samples of samples. One job for each process: floors cost too."""
        todo = [(c, run) for c, run in self.pairs if not self.lab.known(run, c.drawing)]
        many = 1 if self.jobs == 1 else min(self.jobs, len(todo))
        shares = [todo[k::many] for k in range(many)] if many > 1 else [[pair] for pair in todo]
        told = {"kind": "measure", "device": self.device, "lab": self._lab}
        jobs = [
            Job(
                f"{share[0][0].name}, seed {share[0][1].recipe.train.seed}" if many == 1 else f"part {k + 1}",
                {**told, "pairs": [(str(run.folder), vars(c.drawing)) for c, run in share]},
                len(share) * self.lab.samples,
            )
            for k, share in enumerate(shares)
        ]
        return Jobs(jobs, self.jobs, self.threads)

    @cached_property
    def groups(self) -> list[Group]:
        """The runs, once all are trained."""
        if self.sweep is None:
            opened = [runs.open(folder, self.device) for folder in self.folders]
            comparable((str(run.folder), run.recipe) for run in opened)
            return grouped(opened)
        lost = {task.variant.name for task in self.trainings if _called(task) in self.training.diverged}
        kept = [variant for variant in self.sweep.variants if variant.name not in lost]
        opened = {
            (task.variant.name, task.seed): runs.open(task.folder, self.device)
            for task in self.trainings
            if task.variant.name not in lost
        }
        found = [
            Group(variant.name, variant.settings, tuple(opened[variant.name, seed] for seed in self.sweep.seeds))
            for variant in kept
        ]
        if len(found) * len(list(self.drawings)) < 2:
            raise UserError(f"there is nothing left to compare. {' '.join(self.failures)}")
        return found

    @cached_property
    def candidates(self) -> list[Candidate]:
        """What stands beside each other."""
        return candidates(self.groups, self.drawings)

    @property
    def recipe(self) -> Recipe:
        """The first one: in its terms all are measured."""
        return self.groups[0].runs[0].recipe if self.sweep is None else self.trainings[0].recipe

    def check(self) -> None:
        """What cannot be compared, drawn or measured is told now, before any of it is trained."""
        if self.sweep is None:
            runs = [(group.name, run) for group in self.groups for run in group.runs]
        else:
            comparable((variant.name, self.sweep.recipes[variant.name]) for variant in self.sweep.variants)
            first = self.trainings[: len(self.sweep.variants)]  # the other seeds are drawn alike
            runs = [(task.variant.name, Run(task.folder, task.recipe)) for task in first]
        for name, run in runs:
            ways(run, name, self.drawings)
        if self.judge is not None:
            choose("measure", self.judge, dict.fromkeys((*MEASURES, *EXCESS)))
        if self.judge in EXCESS and (
            lost := [name for name, run in runs if run.recipe.truth is None or run.recipe.objective.once]
        ):
            raise UserError(
                f"{self.judge} is asked of denoisers whose truth is known in closed form, and {lost[0]} is none"
            )
        for task in self.trainings:  # one that is done is held to its recipe too, not only one that is gone on with
            if (task.folder / RECIPE).exists():
                same(task.recipe, task.recipe.facts(), task.folder)
        _ = self.rules.reals
        kinds = len(self.groups) if self.sweep is None else len(self.sweep.variants)
        if kinds * len(list(self.drawings)) < 2:
            raise UserError(
                f"there is nothing to compare {runs[0][0]} with: give several runs, or several --samplers or --steps"
            )

    @property
    def lab(self) -> Lab:
        """What measures, and remembers."""
        return lab_of(json.dumps(self._lab))

    @property
    def rules(self) -> Protocol:
        """The protocol of all, in the distances of the first run's modality."""
        return self.lab.rules

    @cached_property
    def _lab(self) -> dict[str, Any]:
        first = self.recipe
        return {
            "folder": str(self.out / "measured"),
            "recipe": {"name": first.name, "nodes": first.nodes},
            "data": data_of(first),
            "against": self.against,
            "draws": self.draws,
            "count": self.count,
            "measures": [*self.measures, *([self.judge] if self.judge and self.judge not in EXCESS else [])],
            "features": self.features,
            "download": self.download,
            "device": self.device,
        }

    @property
    def pairs(self) -> list[tuple[Candidate, Run]]:
        """Every candidate with each of its runs."""
        return [(candidate, run) for candidate in self.candidates for run in candidate.group.runs]

    @property
    def failures(self) -> list[str]:
        """What stands nowhere, since a training of it diverged."""
        return [f"Failed, and left out: {name}: {why}." for name, why in self.training.diverged.items()]


def _called(task: Training) -> str:
    return f"{task.variant.name}, seed {task.seed}"


def _stands(folder: Path) -> int:
    """Items that a training has behind it, by the name of its newest checkpoint."""
    there = checkpoint.listed(folder / CHECKPOINTS)
    return int(there[-1].name) if there else 0


__all__ = ["EXCESS", "Contest"]
