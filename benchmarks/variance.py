"""Learned variance on the digits: the variational bound and the samples, by variance and by number of steps.

python benchmarks/variance.py                 trains three networks, then asks each
python benchmarks/variance.py --keep FOLDER   keeps the runs there, or takes those that stand there already

hybrid: the recipe digits-variance; bound: the same trained by the whole bound; fixed: the same without a variance.
The bound is of the 540 test items, no label told, every step of the chain asked once for each.
"""

import argparse
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


def run_of(way: str, folder: Path) -> tuple[Run, float]:
    """The run of a way, trained where it does not stand already, and its seconds of training."""
    if not (folder / way / "recipe.yaml").exists():
        start = time.process_time()
        un.fit("digits-variance", folder / way, *WAYS[way])
        print(f"{way}: {time.process_time() - start:.0f} s of processor time")
    made = un.open(folder / way)
    return made, made.clock[-1][1]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as scratch:
        folder, figures = keep or Path(scratch), {}
        for way in WAYS:
            run, seconds = run_of(way, folder)
            known = [name for name in FRACTIONS if name != "learned" or way != "fixed"]
            bits = {str(steps): {name: told(run, name, steps) for name in known} for steps in STEPS}
            drawn = {str(steps): {name: samples(run, name, steps) for name in known} for steps in DRAWN}
            figures[way] = {"items": run.checkpoint.items, "seconds": seconds, "bits": bits, "samples": drawn}
            for steps, row in bits.items():
                cells = ", ".join(f"{name} {one['value']:.3f} ± {one['error']:.3f}" for name, one in row.items())
                print(f"{way}, {steps} steps: {cells} bits a number")
            for steps, row in drawn.items():
                for name, one in row.items():
                    print(f"{way}, {steps} steps, {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in one.items()))
            harness.save("variance", {"machine": harness.machine(), "ways": figures})


if __name__ == "__main__":
    main()
