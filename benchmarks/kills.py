"""A thousand kills: a training struck at random instants and inside its saves, resumed, held against the undisturbed.

python benchmarks/kills.py [--kills 1000] [--workers 0] [--seed 0] [--name kills]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from kills import NODES, Kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=0, help="processes that read ahead in the training struck")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="kills")
    parser.add_argument("--place", help="a folder for the runs; the system's own if silent")
    options = parser.parse_args()
    torch.set_num_threads(1)  # children are forked: a second thread would not come along
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        start = time.perf_counter()
        struck = Kills(Path(place), options.seed, workers=options.workers)
        for reached in range(min(50, options.kills), options.kills + 50, 50):
            counts = struck.until(min(reached, options.kills))
            figures: dict[str, Any] = {
                "machine": harness.machine(),
                "recipe": {**NODES, "train": {**NODES["train"], "workers": options.workers}},
                "disk calls inside the saves of a run": struck.calls,
                "seconds": round(time.perf_counter() - start, 1),
                **dict(counts),
            }
            print({name: count for name, count in figures.items() if isinstance(count, (int, float))}, flush=True)
            harness.save(options.name, figures)


if __name__ == "__main__":
    main()
