"""Worlds in the plane: at most 60 s of training each, then sliced Wasserstein of 20 draws of 5,000 to the floor.

python benchmarks/worlds.py [WORLD ..] [--set node.key=value ..]
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

import unnoise as un

WORLDS = {
    "swissroll": ("swissroll", []),
    "spiral": ("spiral", []),
    "moons": ("swissroll", ["data.kind=moons"]),
    "gaussians8": ("swissroll", ["data.kind=gaussians8"]),
    "checkerboard": ("swissroll", ["data.kind=checkerboard"]),
}


def judge(world: str, overrides: list[str]) -> dict[str, Any]:
    """Trains one world from nothing and measures it by the standard protocol."""
    recipe, changes = WORLDS[world]
    folder = Path(tempfile.mkdtemp(prefix=f"{world}-"))
    start = time.perf_counter()
    run = un.fit(recipe, folder / "run", *changes, *overrides)
    trained = time.perf_counter() - start
    rows = {row.name: row for row in run.evaluate()}
    distance = rows["sliced_wasserstein"]
    shutil.rmtree(folder)
    return {
        "items": run.recipe.train.items,
        "train_seconds": trained,
        "sliced_wasserstein": distance.value,
        "floor": distance.floor,
        "ratio": distance.value / distance.floor,
        "two_sample": rows["two_sample"].value,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", default=list(WORLDS))
    parser.add_argument("--set", nargs="*", default=[], dest="overrides")
    parser.add_argument("--name", default="worlds")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": harness.machine(), "overrides": options.overrides, "worlds": {}}
    for world in options.worlds:
        result = judge(world, options.overrides)
        figures["worlds"][world] = result
        print(
            f"{world:14} {result['items']:8d} items  {result['train_seconds']:5.1f} s  "
            f"sliced Wasserstein {result['sliced_wasserstein']:.4f}, floor {result['floor']:.4f}: "
            f"{result['ratio']:.2f}  two-sample {result['two_sample']:.4f}",
            flush=True,
        )
        harness.save(options.name, figures)


if __name__ == "__main__":
    main()
