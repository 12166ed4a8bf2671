"""Measuring an entry, once: what was measured is kept by what it was measured of, so a second call asks nothing."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save

from unnoise import files
from unnoise.comparison.drawing import Drawing
from unnoise.comparison.milestones import samples
from unnoise.comparison.sweep import digest
from unnoise.guide import Guidance, evaluations
from unnoise.metrics import Measure, Protocol, protocol
from unnoise.modality import Image
from unnoise.recipe import resolve
from unnoise.run import Run
from unnoise.samplers import Plan
from unnoise.tensor import Tensor

FORMAT = 3  # of what is kept; another one is measured again
DRAWS = 5  # lots of samples of each run, at most, unless one says otherwise: the seeds repeat them
SHOWN, DOTS = 12, 500  # samples kept to be looked at: items, and points in the plane


@dataclass(frozen=True)
class Result:
    """What was measured of one run, drawn one way."""

    measures: tuple[Measure, ...]
    evaluations: int  # answers of networks for one sample, those that guides ask counted
    seconds: float  # of drawing, for one sample
    plan: str  # SHA-256 of the table it was drawn by
    shown: Path | None = None  # samples of the first seeds, as a tensor


@dataclass(frozen=True)
class Lab:
    """Measures what it is given by one protocol, and keeps each answer in a file of `folder`."""

    folder: Path
    rules: Protocol
    data: str  # SHA-256 of the data
    modality: str  # SHA-256 of its node: what raw items are made of samples, and what distances they have

    @property
    def samples(self) -> int:
        """Drawn for each result."""
        return self.rules.draws * self.rules.count

    def result(self, run: Run, drawing: Drawing, seen: Callable[[int], None] = lambda done: None) -> Result:
        """Samples of seeds 0, 1, 2 ... of this run, measured; `seen` hears how many are drawn."""
        run = drawing.of(run)
        plan, guidance, of = self._asked(run, drawing)
        name = digest(of)[:24]
        told: dict[str, Any] | None = self._kept(name)
        if told is None:
            told_of = run.like(self.rules)
            parts: list[Tensor] = []
            done, began = 0, time.perf_counter()
            for part in run.batches(range(self.samples), plan, told_of, guidance):
                parts.append(part)
                done += len(part)
                seen(done)
            seconds = (time.perf_counter() - began) / self.samples
            prompted = run.following()
            x = torch.cat(parts)
            measures = [m.to_json() for m in run.measure(self.rules, x)]
            if prompted is not None:
                told_more = run.recipe.telling.leaves(prompted.cond, len(prompted))
                drawn = torch.cat(list(run.batches(range(len(prompted)), plan, told_more, guidance)))
                measures += [m.to_json() for m in prompted.measure(run.recipe.modality.quantise(drawn))]
            asked = evaluations(run.guided(guidance), plan, run.recipe.shape, {k: v[:1] for k, v in told_of.items()})
            told = {"of": of, "seconds": seconds, "evaluations": asked, "measures": measures}
            first = x[rows_shown(self.rules, x[0].numel())].cpu().contiguous()
            files.put(self.folder / f"{name}.safetensors", save({"x": first}))
            self._keep(name, told)
        measures = tuple(measure(entry) for entry in told["measures"])
        shown = self.folder / f"{name}.safetensors"
        return Result(measures, int(told["evaluations"]), float(told["seconds"]), plan.digest, shown)

    def known(self, run: Run, drawing: Drawing) -> bool:
        """Whether that was measured before."""
        return self._kept(digest(self._asked(drawing.of(run), drawing)[2])[:24]) is not None

    def _asked(self, run: Run, drawing: Drawing) -> tuple[Plan, Guidance, dict[str, Any]]:
        """The plan, the guidance, and what its numbers are of."""
        guides = run.recipe.sampling.guidance if drawing.guidance is None else drawing.guidance
        plan, key = drawing.plan(run), run.guidance_key(guides)
        return plan, guides, {"weights": run.weights, "plan": plan.digest, "guidance": key, **self._by()}

    def milestone(self, path: Path) -> tuple[Measure, ...]:
        """One lot of samples that a training drew on its way, measured; nothing of a lot of another count."""
        of = {"samples": hashlib.sha256(path.read_bytes()).hexdigest(), **self._by()}
        name = digest(of)[:24]
        told: dict[str, Any] | None = self._kept(name)
        if told is None:
            labels = None if self.rules.labels is None else np.stack([self.rules.labels[0]] * 2)
            raw: npt.NDArray[Any] = samples(path)
            if len(raw) != self.rules.count:
                return ()
            measures = self._twice.measure(np.stack([raw, raw]), labels)
            told = {"of": of, "measures": [m.to_json() for m in measures]}
            self._keep(name, told)
        return tuple(measure(entry) for entry in told["measures"])

    @cached_property
    def _twice(self) -> Protocol:
        """The protocol of one lot, taken twice: of a single one the halves would be asked for a spread, at a price."""
        two = replace(self.rules, draws=2)
        two.__dict__["floors"] = self.rules.floors  # they are the same: real items know nothing of samples
        return two

    def _by(self) -> dict[str, Any]:
        """What the numbers depend on beside the samples."""
        rules = self.rules
        features = None if rules.features is None else [rules.features.name, rules.features.digest]
        told = {
            "format": FORMAT,
            "data": self.data,
            "modality": self.modality,
            "against": rules.against,
            "draws": rules.draws,
        }
        return {**told, "count": rules.count, "measures": list(rules.names), "features": features}

    def _kept(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.json"  # written after the samples to be looked at
        try:
            return json.loads(path.read_bytes())
        except (OSError, ValueError):  # not there, or not whole: it is measured again
            return None

    def _keep(self, name: str, told: dict[str, Any]) -> None:
        files.put(self.folder / f"{name}.json", json.dumps(told, indent=2) + "\n")


@lru_cache(maxsize=2)
def lab_of(asked: str) -> Lab:
    """The lab that JSON asks for: {folder, recipe: {name, nodes}, data, device, against, draws, count, measures, ..}.

    The protocol is that of the recipe's data in the distances of its modality, in `draws` lots of `count` samples,
    with `measures` beside the standard table, read on `features` too. Its floors are known once.
    """
    told: dict[str, Any] = json.loads(asked)
    recipe = resolve(told["recipe"]["name"], told["recipe"]["nodes"])
    features = None
    if told["features"] is not None:
        from unnoise.metrics.features import features_of  # networks that few ask for

        modality = recipe.modality
        levels = (modality.low, modality.high) if isinstance(modality, Image) else None
        features = features_of(told["features"], told["device"], told["download"], recipe.source, levels)
    rules = protocol(recipe.source, told["against"], recipe.modality, features)
    rules = replace(
        rules,
        draws=told["draws"] or min(rules.draws, DRAWS),
        count=told["count"] or rules.count,
        more=tuple(told["measures"]),
    )
    return Lab(Path(told["folder"]), rules, told["data"], digest(recipe.nodes["modality"]))


def rows_shown(rules: Protocol, numbers: int) -> list[int]:
    """The seeds whose samples are kept to be looked at: the first ones, of labels in turn where there are any."""
    count = min(DOTS if numbers == 2 else SHOWN, rules.count)
    if rules.labels is None or numbers == 2:
        return list(range(count))
    labels = rules.labels[0]
    turn = np.zeros(len(labels), np.int64)  # how many of its label stand before it
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        turn[own] = np.arange(len(own))
    return np.lexsort((np.arange(len(labels)), labels, turn))[:count].tolist()


def measure(told: dict[str, Any]) -> Measure:
    """The Measure that `to_json` wrote."""
    names = {field.name for field in fields(Measure)}
    known: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items() if name in names}
    return Measure(**known)


def shown(path: Path) -> Tensor:
    """The samples kept to be looked at, (N, ...)."""
    return load_file(path)["x"]


__all__ = ["Lab", "Result", "lab_of", "measure", "rows_shown", "shown"]
