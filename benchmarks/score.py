"""Digits by annealed Langevin dynamics and by the reverse VE SDE: the recipes digits-ncsn and digits-ve, judged.

python benchmarks/score.py                 trains both, measures them as `unnoise evaluate` does
python benchmarks/score.py --keep FOLDER   keeps the runs there, or takes those that stand there already; what was
                                           measured of the same weights by the recipe's sampler is not measured again

The network of digits-ve is measured too where it is drawn from without a corrector, and by the probability flow.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import harness
import torch

import unnoise as un
from unnoise.metrics import Measure
from unnoise.run import Run

RECIPES = ("digits-ncsn", "digits-ve")
OTHERS: dict[str, dict[str, Any]] = {
    "euler_maruyama": {"steps": 100, "grid": "time"},
    "dpmpp_2m": {"steps": 20, "grid": "logsnr"},
}
DRAWS = 2  # of those


def run_of(recipe: str, folder: Path) -> Run:
    """A recipe's run, trained where it does not stand already."""
    place = folder / recipe
    return un.open(place) if (place / "recipe.yaml").exists() else un.fit(recipe, place)


def table(measures: list[Measure]) -> dict[str, dict[str, float]]:
    return {one.name: {"value": one.value, "spread": one.spread, "floor": one.floor} for one in measures}


def by_recipe(run: Run) -> dict[str, Any]:
    """The standard table, by the recipe's sampler; as `unnoise evaluate` left it in the folder, where it did."""
    left, plan = run.folder / "metrics.json", run.plan()
    told = json.loads(left.read_text()) if left.exists() else {"weights": None}
    if told["weights"] != run.weights or told["sampler"]["plan"] != plan.digest or told["against"] != "test":
        return table(run.evaluate())
    return {row["name"]: {key: row[key] for key in ("value", "spread", "floor")} for row in told["measures"]}


def by_another(run: Run, sampler: str, how: dict[str, Any]) -> dict[str, Any]:
    """The table of the same network, drawn from in another way."""
    rules = run.protocol(draws=DRAWS)
    assert rules.labels is not None
    labels = rules.labels.reshape(-1).tolist()
    plan = run.plan(sampler, **how)
    x = torch.cat(list(run.batches(range(rules.draws * rules.count), plan, labels)))
    return table(run.measure(rules, x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    figures: dict[str, Any] = {"machine": harness.machine(), "runs": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for recipe in RECIPES:
            run = run_of(recipe, asked.keep or Path(scratch))
            plan = run.plan()
            told: dict[str, Any] = {"items": run.checkpoint.items, "train_seconds": run.clock[-1][1]}
            told["weights"] = run.weights
            told["ways"] = {run.recipe.sampling.sampler: {"evaluations": plan.rows, "measures": by_recipe(run)}}
            figures["runs"][recipe] = told
            for sampler, how in OTHERS.items() if recipe == "digits-ve" else ():
                measures = by_another(run, sampler, how)
                told["ways"][sampler] = {**how, "evaluations": run.plan(sampler, **how).rows, "measures": measures}
            for sampler, way in told["ways"].items():
                cells = ", ".join(f"{name} {row['value']:.3f}" for name, row in way["measures"].items())
                print(f"{recipe}, {sampler}, {way['evaluations']} evaluations: {cells}", flush=True)
            harness.save("score", figures)


if __name__ == "__main__":
    main()
