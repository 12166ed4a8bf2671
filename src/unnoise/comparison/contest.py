"""A comparison under way: what is to be trained, what is to be measured, and what comes of it, as files."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unnoise import files
from unnoise import run as runs
from unnoise.comparison import curve, verdict
from unnoise.comparison.drawing import Drawings
from unnoise.comparison.entries import Candidate, Group, candidates, comparable, data_of, grouped, same_questions, ways
from unnoise.comparison.jobs import Job, Jobs
from unnoise.comparison.judge import LEAST, PAIRED, interval
from unnoise.comparison.measured import Lab, Result, lab_of, rows_shown, shown
from unnoise.comparison.record import Found, record, table
from unnoise.comparison.sweep import Sweep, Training
from unnoise.comparison.verdict import Judged
from unnoise.config import UserError, choose
from unnoise.folder import CHECKPOINTS, RECIPE
from unnoise.metrics import MEASURES, Measure, Protocol
from unnoise.nets import count
from unnoise.recipe import Recipe
from unnoise.report.comparison import Comparison, Cost, Entry, Scale, Value
from unnoise.report.words import called, figure_of
from unnoise.run import Run
from unnoise.train import checkpoint
from unnoise.training import same

# The measures that decide, the first that is there, by what is drawn. The nearest neighbour's two-sample test tells
# the most from few seeds; it reads well of samples scattered far apart too, which the shares below then speak against.
JUDGES = {"image": ("two_sample", "frechet")}
OTHERS = ("sliced_wasserstein",)
SHARES = ("coverage", "recall", "precision", "label_accuracy")  # of which no good sample lacks the most
EXCESS = ("excess_risk", "excess_bits")  # read of the network itself, where the truth is known
DIVERSITY = ("recall", "coverage")  # the first that is measured; what huddles in the middle of data covers them too
RECORD, TABLE, PAGE, SWEEP = "comparison.json", "comparison.csv", "comparison.html", "sweep.yaml"


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
            raise UserError(f"there is nothing left to compare. {' '.join(self._failures)}")
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

    def found(self) -> Found:
        """All of it put together, once `training` and `measuring` have run."""
        of = {c.name: [self.lab.result(run, c.drawing) for run in c.group.runs] for c in self.candidates}
        judge = self._judge([m.name for m in next(iter(of.values()))[0].measures])
        judged = self._judged(judge, of)
        told = verdict.verdict(judged)
        entries = self._entries(of, judge)
        kind: Cost = "multiply_adds_per_sample"
        costs = {entry.name: entry.cost(kind) for entry in entries}
        wide = next((name for name in DIVERSITY if name in entries[0].values and name != judge), "")
        cheap, diverse, words = verdict.on_fronts(judged, told, costs, self._judged(wide, of) if wide else None)
        entries = [
            replace(
                entry,
                front=entry.name in cheap,
                diverse=entry.name in diverse,
                won=entry.name == told.best,
                tied=entry.name in told.tied,
            )
            for entry in entries
        ]
        page = Comparison(
            title=f"{self.name} · unnoise",
            verdict=told.sentence,
            advice=[*self._failures, *told.advice, *words, *self._blind(entries, told.best, judge)],
            entries=entries,
            measures=_scales(of),
            judged=judge,
            axes=self._axes(),
            diversity=wide,
            cost=kind,
            seeds=judged.unit,
            count=judged.count,
            pictures=self._pictures(of),
            columns=self._columns,
            shared="its seed" if self.rules.labels is None else "its seed and its class",
            real=self._real(),
            facts=self._facts(),
            command=self.command,
            recipe=self.sweep.text if self.sweep is not None else "",
        )
        return Found(page, told, self._rows(of))

    @property
    def _failures(self) -> list[str]:
        """What stands nowhere, since a training of it diverged."""
        return [f"Failed, and left out: {name}: {why}." for name, why in self.training.diverged.items()]

    def _blind(self, entries: Sequence[Entry], best: str, judge: str) -> list[str]:
        """What speaks against the best: a share that it has less than half of, to which what decides is blind."""
        own = next(entry.values for entry in entries if entry.name == best)
        for name in SHARES:
            if name in own and name != judge:
                top = max(entries, key=lambda entry: entry.values[name].mean)
                if own[name].mean < top.values[name].mean / 2:
                    return [
                        f"Yet its {called(name).lower()} is {figure_of(own[name].mean)}, where {top.name} reads "
                        f"{figure_of(top.values[name].mean)}: what decides may be blind to that."
                    ]
        return []

    def _judge(self, there: Sequence[str]) -> str:
        if self.judge is not None:
            choose("measure", self.judge, dict.fromkeys(there))
            return self.judge
        usual = JUDGES.get(self.rules.source.raw, OTHERS)
        return next((name for name in usual if name in there), there[0])

    def _judged(self, judge: str, of: dict[str, list[Result]]) -> Judged:
        """Replicates of the judged measure: seeds of training, or of one training the draws of its samples."""
        first = _of(judge, of[self.candidates[0].name][0])
        values = {name: [_of(judge, result).value for result in results] for name, results in of.items()}
        kin = len({id(candidate.group) for candidate in self.candidates}) == 1
        few = min(map(len, values.values()))
        unit = "training seeds"
        draws = {name: _of(judge, results[0]).values for name, results in of.items()}
        if kin and few < LEAST and all(len(row) >= LEAST for row in draws.values()):
            values, unit = {name: list(row) for name, row in draws.items()}, "draws of samples"
        paired = kin and min(map(len, values.values())) >= PAIRED
        return Judged(judge, first.better, values, first.floor, unit, paired, not kin)

    def _entries(self, of: dict[str, list[Result]], judge: str) -> list[Entry]:
        alike = same_questions(self.groups)
        single = len(self.candidates) == len(self.groups)  # else one training would be drawn several times over
        nets = {id(group): group.runs[0].denoiser.net for group in self.groups}
        work = {key: count(net, self.recipe.shape).multiply_adds for key, net in nets.items()}
        found: list[Entry] = []
        for candidate in self.candidates:
            results, group = of[candidate.name], candidate.group
            names = [m.name for m in results[0].measures]
            values = {name: _value([_of(name, result) for result in results]) for name in names}
            first = group.runs[0]
            clocks = [run.clock for run in group.runs]
            found.append(
                Entry(
                    name=candidate.name,
                    settings=candidate.settings,
                    values=values,
                    train_seconds=float(np.mean([clock[-1][1] for clock in clocks])) if all(clocks) else None,
                    items=first.checkpoint.items,
                    parameters=sum(p.numel() for p in nets[id(group)].parameters()),
                    multiply_adds=work[id(group)],
                    evaluations=results[0].evaluations,
                    seconds_per_sample=float(np.mean([result.seconds for result in results])),
                    curve=curve.held_out(group.runs) if alike and single else (),
                    quality_curve=curve.quality(group.runs, self.lab, judge, values[judge]) if single else (),
                    note=_unfinished(group),
                )
            )
        return found

    def _axes(self) -> dict[str, list[str]]:
        axes: dict[str, list[str]] = {}
        for candidate in self.candidates:
            for axis, value in candidate.settings.items():
                known = axes.setdefault(axis, [])
                if value not in known:
                    known.append(value)
        return {axis: values for axis, values in axes.items() if len(values) > 1}

    def _pictures(self, of: dict[str, list[Result]]) -> dict[str, Any]:
        """Samples of the first run of each entry, by the same seeds."""
        modality = self.groups[0].runs[0].recipe.modality
        found: dict[str, Any] = {}
        for candidate in self.candidates:
            path = of[candidate.name][0].shown
            assert path is not None
            x = shown(path)
            if modality.name == "points":
                if x[0].numel() == 2:
                    found[candidate.name] = candidate.group.runs[0].recipe.modality.quantise(x).astype(np.float64)
            else:
                found[candidate.name] = candidate.group.runs[0].recipe.modality.show(x)
        return found

    def _real(self) -> Any:
        """Items that stand against the samples, of the same labels."""
        recipe = self.groups[0].runs[0].recipe
        rows = rows_shown(self.rules, math.prod(recipe.shape))
        raw = self.rules.references[0].items[rows]
        if recipe.modality.name == "points":
            return raw.astype(np.float64) if raw[0].size == 2 else None
        return recipe.modality.show(recipe.modality.encode(raw))

    @property
    def _columns(self) -> list[str]:
        recipe = self.groups[0].runs[0].recipe
        labels = self.rules.labels
        if recipe.modality.name == "points":
            return []
        rows = rows_shown(self.rules, math.prod(recipe.shape))
        return [f"seed {k}" if labels is None else recipe.classes[int(labels[0][k])] for k in rows]

    def _facts(self) -> dict[str, str]:
        first, rules = self.groups[0].runs[0], self.rules
        seeds = {group.seeds for group in self.groups}
        told = {
            "data": first.recipe.source.name,
            "runs": f"{sum(len(group.runs) for group in self.groups)}",
            "samples": f"{rules.draws} × {rules.count:,} of each run, seeds the same for all",
            "against": f"{rules.count:,} items of {rules.against}",
        }
        if len(seeds) == 1 and len(next(iter(seeds))) > 1:
            told["training seeds"] = ", ".join(map(str, next(iter(seeds))))
        return told

    def _rows(self, of: dict[str, list[Result]]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for candidate in self.candidates:
            for run, result in zip(candidate.group.runs, of[candidate.name], strict=True):
                clock = run.clock
                rows.append(
                    {
                        "entry": candidate.name,
                        **candidate.settings,
                        "seed": run.recipe.train.seed,
                        "run": _near(run.folder, self.out),
                        "items": run.checkpoint.items,
                        "train_seconds": clock[-1][1] if clock else None,
                        "evaluations": result.evaluations,
                        "seconds_per_sample": result.seconds,
                        "weights": run.weights,
                        "plan": result.plan,
                        **{m.name: m.value for m in result.measures},
                    }
                )
        return rows

    def save(self, found: Found) -> list[Path]:
        """comparison.json and comparison.csv, and of a sweep what was asked."""
        made = [
            files.put(self.out / RECORD, record(found)),
            files.put(self.out / TABLE, table(found)),
        ]
        if self.sweep is not None:
            files.put(self.out / SWEEP, self.sweep.text)
        return made


def _called(task: Training) -> str:
    return f"{task.variant.name}, seed {task.seed}"


def _stands(folder: Path) -> int:
    """Items that a training has behind it, by the name of its newest checkpoint."""
    there = checkpoint.listed(folder / CHECKPOINTS)
    return int(there[-1].name) if there else 0


def _of(name: str, result: Result) -> Measure:
    found = next((m for m in result.measures if m.name == name), None)
    if found is None:
        raise UserError(f"not every run has the measure '{name}'")
    return found


def _value(measures: Sequence[Measure]) -> Value:
    """Over the seeds: their mean and Student's interval; of a single run: that of its draws."""
    values = [m.value for m in measures]
    if len(values) > 1:
        return Value(float(np.mean(values)), *interval(values), tuple(values))
    only = measures[0]
    low, high = (math.nan if end is None else end for end in (only.low, only.high))
    return Value(only.value, low, high, (only.value,))


def _scales(of: dict[str, list[Result]]) -> list[Scale]:
    """The measures that all entries share."""
    first = next(iter(of.values()))[0].measures
    shared = [
        m for m in first if all(any(o.name == m.name for o in result.measures) for row in of.values() for result in row)
    ]
    found: list[Scale] = []
    for m in shared:
        half = 2 * m.floor_spread / math.sqrt(m.draws)  # of the mean of as many draws of real items
        found.append(
            Scale(
                name=m.name,
                better=m.better,
                floor=m.floor,
                floor_low=m.floor - half,
                floor_high=m.floor + half,
                text=m.protocol,
                warning=m.warning,
            )
        )
    return found


def _unfinished(group: Group) -> str:
    """What is to be known of runs that are not trained to their end."""
    for run in group.runs:
        whole = run.recipe.train.items
        if run.checkpoint.items < whole:
            return f"{run.checkpoint.items:,} of {whole:,} items trained"
    return ""


def _near(folder: Path, out: Path) -> str:
    """A run's folder, from the comparison's own where it lies in it."""
    return folder.relative_to(out).as_posix() if folder.is_relative_to(out) else str(folder)


__all__ = ["PAGE", "RECORD", "SWEEP", "TABLE", "Contest"]
