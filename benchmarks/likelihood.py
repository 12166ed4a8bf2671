"""Held-out digits in bits a pixel: the recipe digits-likelihood, and what densities and probabilities of old tell.

python benchmarks/likelihood.py                 trains the recipe, some seven minutes on one core
python benchmarks/likelihood.py --keep FOLDER   keeps the run there, or takes the one that stands there already

All are of the 540 test items; what is fitted, and chosen, knows the 1257 others alone. Densities are those of the item
with u added, uniform over the cell of each pixel, in the units of the levels: −log2 of them bounds −log2 P of the item
from above. Histograms and trees tell P itself, with no cell.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.mixture import GaussianMixture

import unnoise as un
from unnoise.metrics.likelihood import Likelihood, by_flow
from unnoise.run import Run
from unnoise.tensor import Array

LEVELS = 17
SPREAD = 8  # places in its cells that a mixture sees of each item
BEGUN = 0.1  # what every level is counted before any item is
TREES = {"n_estimators": 300, "min_samples_leaf": 3, "max_features": 0.5, "random_state": 0}
SMOOTH = (0.05, 0.02)  # of the trees' probabilities: parts of the histogram and of all levels alike
TRAIN_ITEMS = 250  # of those seen in training, that they are told for


def part(run: Run, *names: str) -> Array:
    """Items of parts of the data, (N, 64), in levels."""
    return np.concatenate([run.recipe.source.split(name).items.reshape(-1, 64) for name in names]).astype(np.float64)


def told(bits: Array) -> dict[str, float]:
    """The mean over items, of bits a pixel (N,), and its standard error."""
    return {"value": float(bits.mean()), "error": float(bits.std(ddof=1) / np.sqrt(len(bits)))}


def mixtures(fitted: Array, test: Array) -> dict[str, Any]:
    """Normal laws and mixtures of them, of full covariance."""
    draw = np.random.default_rng(0)
    spread = np.concatenate([fitted + draw.random(fitted.shape) - 0.5 for _ in range(SPREAD)])
    asked = test + draw.random(test.shape) - 0.5
    found: dict[str, Any] = {}
    for parts in (1, 5, 10):
        law = GaussianMixture(parts, reg_covar=0.01, random_state=0).fit(spread)
        found[str(parts)] = told(-law.score_samples(asked) / 64 / np.log(2))
    return found


def histograms(fitted: Array) -> Array:
    """The probability of each level of each pixel by itself, (64, LEVELS)."""
    counts = np.stack([np.bincount(column, minlength=LEVELS) for column in fitted.T.astype(int)]) + BEGUN
    return counts / counts.sum(1, keepdims=True)


def in_turn(fitted: Array, test: Array) -> Array:
    """Bits a pixel of each item (N,), pixel after pixel, each told by trees from those before it."""
    own, (some, few) = histograms(fitted), SMOOTH
    bits = np.zeros(len(test))
    for place in range(64):
        wanted, asked = fitted[:, place].astype(int), test[:, place].astype(int)
        told_by = np.tile(own[place], (len(test), 1))
        if place and len(np.unique(wanted)) > 1:
            trees = ExtraTreesClassifier(**TREES).fit(fitted[:, :place], wanted)
            told_by = some * told_by + few / LEVELS
            told_by[:, trees.classes_] += (1 - some - few) * trees.predict_proba(test[:, :place])
        bits -= np.log2(told_by[np.arange(len(test)), asked])
    return bits / 64


def of_run(run: Run) -> dict[str, Any]:
    """The flow with and without the label, the bound, and what items seen in training cost."""
    test, seen = run.recipe.source.split("test"), run.recipe.source.split("train")
    labels = test.cond["label"]

    def labelled() -> Likelihood:
        return by_flow(run.denoiser, run.recipe.modality, test.items, run.labels(labels.tolist(), len(labels)))

    ways = {
        "flow": run.likelihood,
        "flow, label told": labelled,
        "bound": lambda: run.likelihood("bound"),
        "flow, seen in training": lambda: run.likelihood("ode", seen.items[:TRAIN_ITEMS]),
    }
    found: dict[str, Any] = {}
    for name, ask in ways.items():
        start = time.process_time()
        record = ask().record()
        found[name] = {key: record[key] for key in ("value", "error", "own_error", "items", "evaluations", "protocol")}
        found[name]["processor_seconds"] = time.process_time() - start
        print(f"{name}: {record['value']:.4f} ± {record['error']:.4f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = (asked.keep or Path(scratch)) / "digits-likelihood"
        run = un.open(place) if (place / "recipe.yaml").exists() else un.fit("digits-likelihood", place)
        fitted, test = part(run, "train", "validation"), part(run, "test")
        each = histograms(fitted)[np.arange(64), test.astype(int)]
        figures: dict[str, Any] = {
            "machine": harness.machine(),
            "densities": mixtures(fitted, test),
            "histograms": told(-np.log2(each).mean(1)),
            "trees": told(in_turn(fitted, test)),
        }
        for name in ("densities", "histograms", "trees"):
            print(name, figures[name], flush=True)
        harness.save("likelihood", figures)
        figures["digits-likelihood"] = {
            "items": run.checkpoint.items, "train_seconds": run.clock[-1][1], "weights": run.weights, **of_run(run)
        }  # fmt: skip
        harness.save("likelihood", figures)


if __name__ == "__main__":
    main()
