"""The digits recipe, judged: five seeds, five draws of 540 each, against the held-out 540.

python benchmarks/digits.py                     seeds 0-4 of the recipe as it stands
python benchmarks/digits.py --lengths 40000 60000 --seeds 0 1     how short a training can be
python benchmarks/digits.py --set train.lr=0.001    another recipe
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

import unnoise as un


def judge(overrides: list[str], seed: int) -> dict[str, Any]:
    """Trains one seed from nothing and measures it by the standard protocol."""
    folder = Path(tempfile.mkdtemp(prefix="digits-"))
    start = time.perf_counter()
    run = un.fit("digits", folder / "run", *overrides, f"train.seed={seed}")
    trained = time.perf_counter() - start
    rows = run.evaluate()
    result: dict[str, Any] = {"seed": seed, "items": run.recipe.train.items, "train_seconds": trained}
    result["evaluate_seconds"] = time.perf_counter() - start - trained
    result |= {row.name: {"value": row.value, "spread": row.spread, "floor": row.floor} for row in rows}
    result["parameters"] = sum(p.numel() for p in run.denoiser.net.parameters())
    shutil.rmtree(folder)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--lengths", type=int, nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[], dest="overrides")
    parser.add_argument("--name", default="digits")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": harness.machine(), "overrides": options.overrides, "runs": []}
    for length in options.lengths or [None]:
        changes = options.overrides + ([f"train.items={length}"] if length else [])
        runs = []
        for seed in options.seeds:
            result = judge(changes, seed)
            runs.append(result)
            figures["runs"].append(result)
            print(line(f"seed {seed}", [result]), flush=True)
            harness.save(options.name, figures)
        print(line("mean", runs), flush=True)
        figures.setdefault("means", []).append(
            {
                name: float(np.mean([r[name]["value"] for r in runs]))
                for name in ("two_sample", "coverage", "frechet", "label_accuracy", "near_copies")
            }
            | {"items": runs[0]["items"], "frechet_ratio": mean_ratio(runs)}
            | {"train_seconds": statistics.median(r["train_seconds"] for r in runs)}
            | {"worst_two_sample": max(r["two_sample"]["value"] for r in runs)}
        )
        harness.save(options.name, figures)


def mean_ratio(runs: list[dict[str, Any]]) -> float:
    return float(np.mean([r["frechet"]["value"] / r["frechet"]["floor"] for r in runs]))


def line(name: str, runs: list[dict[str, Any]]) -> str:
    mean = {key: np.mean([r[key]["value"] for r in runs]) for key in ("two_sample", "coverage", "frechet")}
    rest = {key: np.mean([r[key]["value"] for r in runs]) for key in ("label_accuracy", "near_copies")}
    return (
        f"{name:8} items {runs[0]['items']:7d}  {np.median([r['train_seconds'] for r in runs]):5.1f} s  "
        f"two-sample {mean['two_sample']:.4f}  coverage {mean['coverage']:.4f}  Fréchet {mean['frechet']:.3f} "
        f"({mean_ratio(runs):.2f} of the floor)  labels {rest['label_accuracy']:.4f}  copies {rest['near_copies']:.4f}"
    )


if __name__ == "__main__":
    main()
