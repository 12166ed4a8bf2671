"""Draws the picture of docs/bound.md from benchmarks/results/variance.json: python docs/bound.py."""

import json
from pathlib import Path

from unnoise.report import bounds, style

HERE = Path(__file__).parent
FIGURES = HERE.parent / "benchmarks" / "results" / "variance.json"
NAMES = {"posterior": "least variance (posterior)", "beta": "largest variance (beta)", "learned": "learned"}


def main(way: str = "hybrid", whole: str = "50") -> None:
    bits = json.loads(FIGURES.read_text())["ways"][way]["bits"]
    chains: list[bounds.Chain] = []
    for variance, name in NAMES.items():
        told = {int(steps): row[variance] for steps, row in bits.items()}
        one, steps = bits[whole][variance], sorted(told)
        values, errors = ([told[count][what] for count in steps] for what in ("value", "error"))
        chains.append(bounds.Chain(name, steps, values, errors, one["noise"], one["by_step"]))
    style.save(bounds.bounds(chains), HERE / "bound.png")


if __name__ == "__main__":
    main()
