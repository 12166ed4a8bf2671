"""What comes of a comparison: the entries with their values, the verdict, the page and the table, as files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unnoise import files
from unnoise.comparison import curve, verdict
from unnoise.comparison.contest import Contest
from unnoise.comparison.entries import Group, same_questions
from unnoise.comparison.judge import LEAST, PAIRED, interval
from unnoise.comparison.measured import Result, rows_shown, shown
from unnoise.comparison.record import Found, record, table
from unnoise.comparison.verdict import Judged
from unnoise.config import UserError, choose
from unnoise.metrics import Measure
from unnoise.metrics.following import TEXTS
from unnoise.nets import count
from unnoise.report.comparison import Comparison, Cost, Entry, Scale, Value
from unnoise.report.words import called, figure_of

# The measures that decide, the first that is there, by what is drawn. The nearest neighbour's two-sample test tells
# the most from few seeds; it reads well of samples scattered far apart too, which the shares below then speak against.
JUDGES = {"image": ("two_sample", "frechet")}
OTHERS = ("sliced_wasserstein",)
SHARES = ("coverage", "recall", "precision", "label_accuracy")  # of which no good sample lacks the most
DIVERSITY = ("recall", "coverage")  # the first that is measured; what huddles in the middle of data covers them too
WITHIN = "variety"  # the diversity beside what prompts are followed by: of samples of one prompt
RECORD, TABLE, PAGE, SWEEP = "comparison.json", "comparison.csv", "comparison.html", "sweep.yaml"


def found(contest: Contest) -> Found:
    """All that was measured, put together, once the contest's `training` and `measuring` have run."""
    of = {c.name: [contest.lab.result(run, c.drawing) for run in c.group.runs] for c in contest.candidates}
    return _Findings(contest, of).found()


@dataclass(frozen=True)
class _Findings:
    """of: the results of each entry's runs."""

    contest: Contest
    of: Mapping[str, Sequence[Result]]

    def found(self) -> Found:
        """All of it put together."""
        judge = self._judge([m.name for m in next(iter(self.of.values()))[0].measures])
        judged = self._judged(judge)
        told = verdict.verdict(judged)
        entries = self._entries(judge)
        kind: Cost = "multiply_adds_per_sample"
        costs = {entry.name: entry.cost(kind) for entry in entries}
        first = (WITHIN,) if judge in TEXTS and judge != WITHIN else ()
        wide = next((name for name in (*first, *DIVERSITY) if name in entries[0].values and name != judge), "")
        cheap, diverse, words = verdict.on_fronts(judged, told, costs, self._judged(wide) if wide else None)
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
            title=f"{self.contest.name} · unnoise",
            verdict=told.sentence,
            advice=[*self.contest.failures, *told.advice, *words, *self._blind(entries, told.best, judge)],
            entries=entries,
            measures=_scales(self.of),
            judged=judge,
            axes=self._axes(),
            diversity=wide,
            cost=kind,
            seeds=judged.unit,
            count=judged.count,
            pictures=self._pictures(),
            columns=self._columns,
            shared="its seed" if self.contest.rules.labels is None else "its seed and its class",
            real=self._real(),
            facts=self._facts(),
            command=self.contest.command,
            recipe=self.contest.sweep.text if self.contest.sweep is not None else "",
        )
        return Found(page, told, self._rows())

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
        if self.contest.judge is not None:
            choose("measure", self.contest.judge, dict.fromkeys(there))
            return self.contest.judge
        usual = JUDGES.get(self.contest.rules.source.raw, OTHERS)
        return next((name for name in usual if name in there), there[0])

    def _judged(self, judge: str) -> Judged:
        """Replicates of the judged measure: seeds of training, or of one training the draws of its samples."""
        first = _of(judge, self.of[self.contest.candidates[0].name][0])
        values = {name: [_of(judge, result).value for result in results] for name, results in self.of.items()}
        kin = len({id(candidate.group) for candidate in self.contest.candidates}) == 1
        few = min(map(len, values.values()))
        unit = "training seeds"
        draws = {name: _of(judge, results[0]).values for name, results in self.of.items()}
        if kin and few < LEAST and all(len(row) >= LEAST for row in draws.values()):
            values, unit = {name: list(row) for name, row in draws.items()}, "draws of samples"
        paired = kin and min(map(len, values.values())) >= PAIRED
        return Judged(judge, first.better, values, first.floor, unit, paired, not kin)

    def _entries(self, judge: str) -> list[Entry]:
        alike = same_questions(self.contest.groups)
        # else one training would be drawn several times over
        single = len(self.contest.candidates) == len(self.contest.groups)
        nets = {id(group): group.runs[0].denoiser.net for group in self.contest.groups}
        work = {key: count(net, self.contest.recipe.shape).multiply_adds for key, net in nets.items()}
        found: list[Entry] = []
        for candidate in self.contest.candidates:
            results, group = self.of[candidate.name], candidate.group
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
                    quality_curve=curve.quality(group.runs, self.contest.lab, judge, values[judge]) if single else (),
                    note=_unfinished(group),
                )
            )
        return found

    def _axes(self) -> dict[str, list[str]]:
        axes: dict[str, list[str]] = {}
        for candidate in self.contest.candidates:
            for axis, value in candidate.settings.items():
                known = axes.setdefault(axis, [])
                if value not in known:
                    known.append(value)
        return {axis: values for axis, values in axes.items() if len(values) > 1}

    def _pictures(self) -> dict[str, Any]:
        """Samples of the first run of each entry, by the same seeds."""
        modality = self.contest.groups[0].runs[0].recipe.modality
        found: dict[str, Any] = {}
        for candidate in self.contest.candidates:
            path = self.of[candidate.name][0].shown
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
        recipe = self.contest.groups[0].runs[0].recipe
        rows = rows_shown(self.contest.rules, math.prod(recipe.shape))
        raw = self.contest.rules.references[0].items[rows]
        if recipe.modality.name == "points":
            return raw.astype(np.float64) if raw[0].size == 2 else None
        return recipe.modality.show(recipe.modality.encode(raw))

    @property
    def _columns(self) -> list[str]:
        recipe = self.contest.groups[0].runs[0].recipe
        labels = self.contest.rules.labels
        if recipe.modality.name == "points":
            return []
        rows = rows_shown(self.contest.rules, math.prod(recipe.shape))
        return [f"seed {k}" if labels is None else recipe.classes[int(labels[0][k])] for k in rows]

    def _facts(self) -> dict[str, str]:
        first, rules = self.contest.groups[0].runs[0], self.contest.rules
        seeds = {group.seeds for group in self.contest.groups}
        told = {
            "data": first.recipe.source.name,
            "runs": f"{sum(len(group.runs) for group in self.contest.groups)}",
            "samples": f"{rules.draws} × {rules.count:,} of each run, seeds the same for all",
            "against": f"{rules.count:,} items of {rules.against}",
        }
        if len(seeds) == 1 and len(next(iter(seeds))) > 1:
            told["training seeds"] = ", ".join(map(str, next(iter(seeds))))
        return told

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for candidate in self.contest.candidates:
            for run, result in zip(candidate.group.runs, self.of[candidate.name], strict=True):
                clock = run.clock
                rows.append(
                    {
                        "entry": candidate.name,
                        **candidate.settings,
                        "seed": run.recipe.train.seed,
                        "run": _near(run.folder, self.contest.out),
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


def save(contest: Contest, found: Found) -> list[Path]:
    """comparison.json, comparison.csv, comparison.html, and of a sweep what was asked."""
    from unnoise.report import comparison_page

    made = [files.put(contest.out / RECORD, record(found)), files.put(contest.out / TABLE, table(found))]
    if contest.sweep is not None:
        files.put(contest.out / SWEEP, contest.sweep.text)
    return [*made, comparison_page.save(found.page, contest.out / PAGE)]


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


def _scales(of: Mapping[str, Sequence[Result]]) -> list[Scale]:
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


__all__ = ["PAGE", "RECORD", "SWEEP", "TABLE", "found", "save"]
