"""A server killed under load: what it had accepted is done by the next, to the byte, as a calm server does it.

python serving_kills.py [--kills 10] [--seed 0]
"""

import argparse
import importlib.util
import os
import tempfile
import time
from pathlib import Path

import harness


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=10)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "src")
    path = Path(__file__).parents[1] / "tests" / "serving.py"  # by its path: a script here has the same name
    spec = importlib.util.spec_from_file_location("served", path)
    assert spec is not None
    assert spec.loader is not None
    served = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(served)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = served.trained(Path(folder) / "digits").folder
        found = served.struck(Path(folder), run, given.kills, given.seed)
    figures = {"machine": harness.machine(), "seed": given.seed, **found, "all": time.monotonic() - begun}
    harness.save("serving_kills", figures)
    print({name: value for name, value in figures.items() if name != "kills"})


if __name__ == "__main__":
    main()
