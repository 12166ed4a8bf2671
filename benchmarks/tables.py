"""Small tables, judged: the recipe `wine` on each table of scikit-learn, beside two classical ways to draw rows.

python benchmarks/tables.py                three seeds of every table
python benchmarks/tables.py --tables wine --times 2 8 --name tables_long     how soon it is learned by heart

normal: a normal law of each class, its covariance shrunk (Ledoit & Wolf, 2004), rounded and clipped as samples are.
copies: training rows drawn again, each its own near-copy: what a memory of the table would score.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
from sklearn.covariance import LedoitWolf

import unnoise as un
from unnoise.metrics import Protocol
from unnoise.modality import Points
from unnoise.recipe import load
from unnoise.run import Run

PASSES = 230  # over the training rows: about where the held-out loss is least
LARGER = {"breast_cancer": 600}  # 30 columns that hang together closely take longer
NAMES = ("sliced_wasserstein", "two_sample", "coverage", "near_copies", "label_accuracy")


def trained(table: str, seed: int, folder: Path, times: int) -> tuple[Run, float]:
    rows = len(load("wine", (f"data.table={table}",)).source.split("train"))
    items = times * rows * LARGER.get(table, PASSES)
    start = time.perf_counter()
    run = un.fit("wine", folder, f"data.table={table}", f"train.items={items}", f"train.seed={seed}")
    return run, time.perf_counter() - start


def classical(run: Run, rules: Protocol, rng: np.random.Generator, copies: bool) -> np.ndarray:
    """(draws, count, D) rows of the classes that the protocol asks for."""
    train, modality = run.recipe.source.split("train"), run.recipe.modality
    assert isinstance(modality, Points)
    kinds = train.cond["label"] if "label" in train.cond else np.zeros(len(train), int)
    asked = np.zeros((rules.draws, rules.count), int) if rules.labels is None else rules.labels
    x = modality.encode(train.items).double().numpy()
    drawn = np.empty((*asked.shape, x.shape[1]))
    for kind in np.unique(kinds):
        own, places = x[kinds == kind], asked == kind
        if copies:
            drawn[places] = own[rng.integers(0, len(own), places.sum())]
        else:
            covariance = LedoitWolf().fit(own).covariance_
            drawn[places] = rng.multivariate_normal(own.mean(axis=0), covariance, int(places.sum()))
    import torch

    flat = torch.from_numpy(drawn.reshape(-1, x.shape[1])).float()
    return modality.quantise(flat).reshape(drawn.shape)


def figures(rows: Any) -> dict[str, Any]:
    return {row.name: {"value": row.value, "spread": row.spread, "floor": row.floor, "gap": row.gap} for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="+", default=["iris", "wine", "diabetes", "breast_cancer"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--times", type=int, nargs="+", default=[1], help="as many passes, times this")
    parser.add_argument("--name", default="tables")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": harness.machine(), "tables": {}}
    for table, times in ((table, times) for table in options.tables for times in options.times):
        runs: list[dict[str, Any]] = []
        for seed in options.seeds:
            with tempfile.TemporaryDirectory(prefix="tables-") as folder:
                run, seconds = trained(table, seed, Path(folder) / "run", times)
                rules, rng = run.protocol(), np.random.default_rng(seed)
                drawn = {"unnoise": figures(run.evaluate())}
                for name, copies in (("normal", False), ("copies", True)):
                    drawn[name] = figures(rules.measure(classical(run, rules, rng, copies), rules.labels))
                runs.append({"seed": seed, "seconds": seconds, "items": run.checkpoint.items, **drawn})
        means = {
            way: {name: float(np.mean([r[way][name]["value"] for r in runs])) for name in NAMES if name in runs[0][way]}
            for way in ("unnoise", "normal", "copies")
        }
        means["floor"] = {name: runs[0]["unnoise"][name]["floor"] for name in means["unnoise"]}
        called = table if times == 1 else f"{table}, {times} times as long"
        found["tables"][called] = {"held_out": rules.count, "means": means, "runs": runs}
        harness.save(options.name, found)
        print(f"{called}: {np.median([r['seconds'] for r in runs]):.0f} s of training, {rules.count} rows held out")
        for way, numbers in means.items():
            print(f"  {way:8}", "  ".join(f"{name} {value:.3f}" for name, value in numbers.items()), flush=True)


if __name__ == "__main__":
    main()
