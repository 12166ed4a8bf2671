"""Families of networks at equal parameters, multiply–adds and items: what each has learnt of the digits by then.

    python benchmarks/families.py [--items 16000] [--seeds 1]

The digits recipe with the preset `tiny` of each family, and its learning rate where none is named. The held-out loss
is asked with the same questions of all, so differences are told apart by far less than its spread over items. Seconds
are a processor's own, of one thread; on a busy machine they say which is dearer, not how long it takes.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import harness
import torch

from unnoise.nets import count
from unnoise.recipe import load
from unnoise.training import Training

CASES: dict[str, list[str]] = {
    "unet": ["net={kind: unet, preset: tiny}"],
    "resnet": ["net={kind: resnet, preset: tiny}"],
    "dit": ["net={kind: dit, preset: tiny}"],
    "unet, hears nothing": ["net={kind: unet, preset: tiny, hears: nothing}"],
    "unet, magnitude-preserving, lr 0.01": [
        "net={kind: unet, preset: tiny, magnitude_preserving: true}",
        "train.lr=1.0e-2",
    ],
    "unet, magnitude-preserving, lr 0.05": [
        "net={kind: unet, preset: tiny, magnitude_preserving: true}",
        "train.lr=5.0e-2",
    ],
    "dit, magnitude-preserving, lr 0.05": [
        "net={kind: dit, preset: tiny, magnitude_preserving: true}",
        "train.lr=5.0e-2",
    ],
}


def train(overrides: list[str], items: int, seed: int) -> dict[str, Any]:
    """The held-out loss after so many items, and what it took."""
    silent = ["train.snapshots=0", "train.checkpoint_every=0", f"train.log_every={items}"]
    recipe = load("digits", [*harness.FORMER, f"train.items={items}", f"train.seed={seed}", *silent, *overrides])
    with tempfile.TemporaryDirectory() as folder:
        trainer = Training(recipe, Path(folder) / "run").trainer
        begun = time.process_time()
        while trainer.items < items:
            trainer.step()
        seconds = time.process_time() - begun
        (found,) = trainer.validate().values()
    cost = count(trainer.denoiser.net, recipe.shape)
    return {**cost._asdict(), "seed": seed, "loss": found.mean, "spread_over_items": found.spread, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=16_000)
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CASES}
    for seed in range(chosen.seeds):
        for name, overrides in CASES.items():
            runs[name].append(train(overrides, chosen.items, seed))
            last = runs[name][-1]
            print(f"{name:40s} seed {seed}  loss {last['loss']:.4f}  {last['seconds']:.0f} s", flush=True)
            told = {
                case: {"loss": statistics.mean(run["loss"] for run in found), "runs": found}
                for case, found in runs.items()
                if found
            }
            harness.save("families", {"machine": harness.machine(), "items": chosen.items, "cases": told})


if __name__ == "__main__":
    main()
