"""Held-out digits in bits a pixel: the recipe digits-likelihood, and what densities and probabilities of old tell.

python benchmarks/likelihood.py                 trains the recipe, some seven minutes on one core
python benchmarks/likelihood.py --keep FOLDER   keeps the run there, or takes the one that stands there already
python benchmarks/likelihood.py --parts trees   of one part alone, beside what stands in the results

All are of the 540 test items; what is fitted, and chosen, knows the 1257 others alone. Densities are those of the item
with u added, uniform over the cell of each pixel, in the units of the levels: −log2 of them bounds −log2 P of the item
from above. Histograms and trees tell P itself, with no cell.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
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
TREES = {"n_estimators": 100, "min_samples_leaf": 3, "max_features": 0.5, "random_state": 0}
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


def left(run: Run) -> dict[str, Any] | None:
    """What `unnoise evaluate --likelihood ode` left in the folder of the same weights."""
    path = run.folder / "metrics.json"
    there = json.loads(path.read_text()) if path.exists() else {"weights": None}
    if there["weights"] != run.weights or there["against"] != "test":
        return None
    return next((one for one in there.get("likelihood", ()) if one["name"] == "likelihood_ode"), None)


def labelled(run: Run) -> Likelihood:
    """By the flow, each item's label told."""
    test = run.recipe.source.split("test")
    labels = test.cond["label"].tolist()
    return by_flow(run.denoiser, run.recipe.modality, test.items, run.labels(labels, len(labels)))


def seen(run: Run) -> Likelihood:
    """By the flow, of items that training has seen."""
    return run.likelihood("ode", run.recipe.source.split("train").items[:TRAIN_ITEMS])


OLD: dict[str, Callable[[Array, Array], dict[str, Any]]] = {
    "densities": mixtures,
    "histograms": lambda fitted, test: told(-np.log2(histograms(fitted)[np.arange(64), test.astype(int)]).mean(1)),
    "trees": lambda fitted, test: told(in_turn(fitted, test)),
}
OURS: dict[str, Callable[[Run], dict[str, Any]]] = {
    "flow": lambda run: left(run) or run.likelihood().record(),
    "bound": lambda run: run.likelihood("bound").record(),
    "flow, label told": lambda run: labelled(run).record(),
    "flow, seen in training": lambda run: seen(run).record(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--parts", nargs="+", choices=[*OLD, *OURS], default=[*OLD, *OURS])
    asked = parser.parse_args()
    path = harness.RESULTS / "likelihood.json"
    with tempfile.TemporaryDirectory() as scratch:
        place = (asked.keep or Path(scratch)) / "digits-likelihood"
        run = un.open(place) if (place / "recipe.yaml").exists() else un.fit("digits-likelihood", place)
        facts = {"train_items": run.checkpoint.items, "train_seconds": run.clock[-1][1], "weights": run.weights}
        fitted, test = part(run, "train", "validation"), part(run, "test")
        for name in asked.parts:
            made = OLD[name](fitted, test) if name in OLD else {**facts, **OURS[name](run)}
            figures = json.loads(path.read_text()) if path.exists() else {}
            harness.save("likelihood", {**figures, "machine": harness.machine(), name: made})
            print(name, made, flush=True)


if __name__ == "__main__":
    main()
