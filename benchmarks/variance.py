"""Learned variance on the digits: the variational bound and the samples, by variance and by number of steps.

python benchmarks/variance.py                 trains three networks, then asks each
python benchmarks/variance.py --keep FOLDER   keeps the runs there, or takes those that stand there already; what was
                                              measured of the same weights is not measured again
python benchmarks/variance.py --ways hybrid   of one alone

hybrid: the recipe digits-variance; bound: the same trained by the whole bound; fixed: the same without a variance.
The bound is of the 540 test items, no label told, every step of the chain asked once for each.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch

import unnoise as un
from unnoise.metrics import Measure
from unnoise.metrics.bound import FRACTIONS, bound
from unnoise.run import Run

WAYS = {
    "hybrid": (),
    "bound": ("objective=bound",),
    "fixed": ("variance=fixed", "sample.options=null"),
}
STEPS = (5, 10, 25, 50)
DRAWN = (10, 50)
MEASURES = ("frechet", "two_sample", "coverage", "near_copies", "label_accuracy")


def run_of(way: str, folder: Path) -> Run:
    """The run of a way, trained where it does not stand already."""
    if not (folder / way / "recipe.yaml").exists():
        start = time.process_time()
        un.fit("digits-variance", folder / way, *WAYS[way])
        print(f"{way}: {time.process_time() - start:.0f} s of processor time")
    return un.open(folder / way)


def told(run: Run, variance: str, steps: int) -> dict[str, Any]:
    """Bits a number of the test items, by term, and of each step."""
    raw = run.recipe.source.split("test").items
    cond = run.labels(None, len(raw))
    found = bound(run.denoiser, run.recipe.modality, raw, cond, steps=steps, grid="trailing", variance=variance)
    numbers = found.numbers * np.log(2)
    return {
        "value": found.likelihood.value,
        "error": found.likelihood.error,
        **{name: nats / np.log(2) for name, nats in found.parts.items() if name != "total"},
        "by_step": (found.terms.by_step / numbers).tolist(),
        "noise": (-run.recipe.process.schedule.logsnr(found.terms.times[:-1]) / 2).tolist(),
    }


def samples(run: Run, variance: str, steps: int) -> dict[str, float]:
    """The protocol's table for one draw."""
    rules = run.protocol(draws=1)
    assert rules.labels is not None
    plan = run.plan("ddpm", steps, "trailing", variance=variance)
    x = torch.cat(list(run.batches(range(rules.count), plan, rules.labels.reshape(-1).tolist())))
    measures: list[Measure] = run.measure(rules, x)
    return {one.name: one.value for one in measures if one.name in MEASURES}


def known(way: str, weights: str) -> dict[str, Any]:
    """What was measured of a way's weights before."""
    path = harness.RESULTS / "variance.json"
    told = json.loads(path.read_text())["ways"].get(way, {}) if path.exists() else {}
    return told if told.get("weights") == weights else {"bits": {}, "samples": {}}


def put(way: str, figures: dict[str, Any]) -> None:
    """Writes what is known of a way beside what is known of the others."""
    path = harness.RESULTS / "variance.json"
    ways = json.loads(path.read_text())["ways"] if path.exists() else {}
    harness.save("variance", {"machine": harness.machine(), "ways": {**ways, way: figures}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for way in asked.ways:
            run = run_of(way, asked.keep or Path(scratch))
            figures: dict[str, Any] = {**known(way, run.weights), "weights": run.weights}
            figures["items"] = run.checkpoint.items
            told_by = [name for name in FRACTIONS if name != "learned" or way != "fixed"]
            for steps in STEPS:
                row = figures["bits"].setdefault(str(steps), {})
                for name in told_by:
                    row[name] = row[name] if name in row else told(run, name, steps)
                    put(way, figures)
                cells = ", ".join(f"{name} {one['value']:.3f} ± {one['error']:.3f}" for name, one in row.items())
                print(f"{way}, {steps} steps: {cells} bits a number", flush=True)
            for steps in DRAWN:
                row = figures["samples"].setdefault(str(steps), {})
                for name in told_by:
                    row[name] = row[name] if name in row else samples(run, name, steps)
                    put(way, figures)
                    print(f"{way}, {steps} steps, {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in row[name].items()))


if __name__ == "__main__":
    main()
