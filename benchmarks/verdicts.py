"""How often `unnoise compare` is wrong, and what it takes to be told apart: verdicts on numbers whose law is known."""

import json
from pathlib import Path

import harness
import numpy as np

from unnoise.comparison import judge

HERE = Path(__file__).parent
SEED, TRIALS = 0, 4000
SPREADS = {
    "equal": lambda k: np.ones(k),
    "1 to 8": lambda k: np.geomspace(1, 8, k),
    "one of 8": lambda k: np.array([8.0] + [1.0] * (k - 1)),
}


def wrong(rng: np.random.Generator, entries: int, seeds: int, spreads: np.ndarray, paired: bool, trials: int) -> float:
    """The share of verdicts on entries of one mean that call something worse than the best."""
    count = 0
    for _ in range(trials):
        values = spreads[:, None] * rng.standard_normal((entries, seeds))
        if paired:  # runs differ far more than ways of drawing from one
            values = values + 10 * rng.standard_normal(seeds)
        found = judge.compared({str(i): row for i, row in enumerate(values)}, paired)
        count += any(pair.apart for pair in found)
    return count / trials


def told(rng: np.random.Generator, entries: int, seeds: int, gap: float, trials: int) -> float:
    """How often one that is better by `gap` deviations of a training is told from all others, which are equal."""
    count = 0
    for _ in range(trials):
        values = rng.standard_normal((entries, seeds))
        values[0] -= gap
        found = judge.compared({str(i): row for i, row in enumerate(values)}, False)
        count += found[0].best == "0" and all(pair.apart for pair in found)
    return count / trials


def seen(rng: np.random.Generator, entries: int, seeds: int, share: float = 0.8) -> float:
    """The least gap, in deviations of a training, that is told in 80 of 100 comparisons; by bisection."""
    low, high = 0.0, 64.0
    while high - low > 0.05 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if told(rng, entries, seeds, middle, TRIALS // 8) >= share else (middle, high)
    return round((low + high) / 2, 1)


def main() -> None:
    """Writes results/verdicts.json."""
    harness.no_options(__doc__)
    rng = np.random.default_rng(SEED)
    rows = [
        {"entries": k, "seeds": n, "spreads": name, "paired": paired,
         "wrong": round(wrong(rng, k, n, law(k), paired, TRIALS), 4)}
        for n in (3, 5)
        for k in (2, 4, 6, 10)
        for name, law in SPREADS.items()
        for paired in ((False, True) if n >= judge.PAIRED else (False,))
    ]  # fmt: skip
    needed = [{"entries": k, "seeds": n, "gap": seen(rng, k, n)} for k in (2, 4, 6) for n in (3, 5, 8)]
    error = float(np.sqrt(0.05 * 0.95 / TRIALS))
    told = {"seed": SEED, "trials": TRIALS, "standard_error": round(error, 4), "wrong": rows, "told": needed}
    (HERE / "results" / "verdicts.json").write_text(json.dumps(told, indent=1) + "\n")
    for row in (*rows, *needed):
        print(row)


if __name__ == "__main__":
    main()
