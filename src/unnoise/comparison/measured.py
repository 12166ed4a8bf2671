"""Measuring an entry, once: what was measured is kept by what it was measured of, so a second call asks nothing."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from safetensors.torch import load_file, save

from unnoise import files
from unnoise.comparison.drawing import Drawing
from unnoise.comparison.milestones import samples
from unnoise.comparison.sweep import digest
from unnoise.metrics import Measure, Protocol
from unnoise.run import Run
from unnoise.samplers import Plan
from unnoise.tensor import Tensor

FORMAT = 1  # of what is kept; another one is measured again
SHOWN, DOTS = 12, 500  # samples kept to be looked at: items, and points in the plane


@dataclass(frozen=True)
class Result:
    """What was measured of one run, drawn one way."""

    measures: tuple[Measure, ...]
    evaluations: int  # answers of the network for one sample, guidance's second ones counted
    seconds: float  # of drawing, for one sample
    plan: str  # SHA-256 of the table it was drawn by
    shown: Path | None = None  # samples of the first seeds, as a tensor


@dataclass(frozen=True)
class Lab:
    """Measures what it is given by one protocol, and keeps each answer in a file of `folder`."""

    folder: Path
    rules: Protocol
    data: str  # SHA-256 of the data
    others: tuple[str, ...] = ()  # what else the protocol was told: measures, features

    def result(self, run: Run, drawing: Drawing, seen: Callable[[int], None] = lambda done: None) -> Result:
        """Samples of seeds 0, 1, 2 ... of this run, measured; `seen` hears how many are drawn."""
        run = drawing.of(run)
        plan, weight, of = self._asked(run, drawing)
        name = digest(of)[:24]
        told = self._kept(name)
        if told is None:
            labels = None if self.rules.labels is None else self.rules.labels.reshape(-1).tolist()
            total = self.rules.draws * self.rules.count
            parts: list[Tensor] = []
            done, began = 0, time.perf_counter()
            for part in run.batches(range(total), plan, labels, weight):
                parts.append(part)
                done += len(part)
                seen(done)
            seconds = (time.perf_counter() - began) / total
            x = torch.cat(parts)
            measures = [m.to_json() for m in run.measure(self.rules, x)]
            second = int((plan.weight != 0).sum()) if weight not in (0, 1) else 0
            told = {"of": of, "seconds": seconds, "evaluations": plan.rows + second, "measures": measures}
            first = x[: DOTS if x[0].numel() == 2 else SHOWN].cpu().contiguous()
            files.put(self.folder / f"{name}.safetensors", save({"x": first}))
            self._keep(name, told)
        measures = tuple(measure(entry) for entry in told["measures"])
        shown = self.folder / f"{name}.safetensors"
        return Result(measures, int(told["evaluations"]), float(told["seconds"]), plan.digest, shown)

    def known(self, run: Run, drawing: Drawing) -> bool:
        """Whether that was measured before."""
        return self._kept(digest(self._asked(drawing.of(run), drawing)[2])[:24]) is not None

    def _asked(self, run: Run, drawing: Drawing) -> tuple[Plan, float, dict[str, Any]]:
        """The plan, the weight of guidance, and what its numbers are of."""
        plan, weight = drawing.plan(run), run.recipe.sampling.guidance if drawing.guidance is None else drawing.guidance
        return plan, weight, {"weights": run.weights, "plan": plan.digest, "guidance": weight, **self._by()}

    def milestone(self, path: Path) -> tuple[Measure, ...]:
        """One lot of samples that a training drew on its way, measured."""
        of = {"samples": hashlib.sha256(path.read_bytes()).hexdigest(), **self._by(), "draws": 1}
        name = digest(of)[:24]
        told = self._kept(name)
        if told is None:
            labels = None if self.rules.labels is None else self.rules.labels[:1]
            raw: npt.NDArray[Any] = samples(path)
            measures = self._one.measure(raw[None], labels)
            told = {"of": of, "measures": [m.to_json() for m in measures]}
            self._keep(name, told)
        return tuple(measure(entry) for entry in told["measures"])

    @property
    def _one(self) -> Protocol:
        """The protocol of a single draw; the floors are those of the whole one."""
        one = replace(self.rules, draws=1)
        one.__dict__["floors"] = self.rules.floors  # they are the same: real items know nothing of draws
        return one

    def _by(self) -> dict[str, Any]:
        """What the numbers depend on beside the samples."""
        rules = self.rules
        told = {"format": FORMAT, "data": self.data, "against": rules.against, "draws": rules.draws}
        return {**told, "count": rules.count, "others": list(self.others)}

    def _kept(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.json"  # written after the samples to be looked at
        try:
            return json.loads(path.read_bytes())
        except (OSError, ValueError):  # not there, or not whole: it is measured again
            return None

    def _keep(self, name: str, told: dict[str, Any]) -> None:
        files.put(self.folder / f"{name}.json", json.dumps(told, indent=2) + "\n")


def measure(told: dict[str, Any]) -> Measure:
    """The Measure that `to_json` wrote."""
    known = {field.name for field in fields(Measure)}
    return Measure(**{name: tuple(v) if isinstance(v, list) else v for name, v in told.items() if name in known})


def shown(path: Path) -> Tensor:
    """The samples kept to be looked at, (N, ...)."""
    return load_file(path)["x"]


__all__ = ["DOTS", "SHOWN", "Lab", "Result", "measure", "shown"]
