"""What the measures are worth: agreement with POT, what each of them sees, and whether intervals hold what they say.

    python benchmarks/measures.py        (with POT, numpy and scipy beside unnoise)

- agreement: exact transport, its sliced form and the distance of normal laws beside POT, on sets made from a seed;
  tests/test_kernels.py makes them again and reads the recorded values.
- sight: digits spoilt in known ways, and by how many deviations every measure tells them from real ones.
- intervals: how often the 95 % intervals hold the true mean, with normal and with skewed draws, and over halves of one.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import machine, no_options, save

from unnoise.data import Digits
from unnoise.metrics import MEASURES, Protocol, energy, frechet, protocol, sliced_wasserstein, two_sample, wasserstein
from unnoise.metrics.distances import _directions
from unnoise.metrics.interval import about, over_draws, over_halves

SETS = ((30, 1), (60, 2), (50, 8), (40, 64))  # items, dimensions
TRIALS = 400


def sets(seed: int, n: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)), 1.5 * rng.standard_normal((n, dim)) + 0.3


def agreement() -> list[dict[str, Any]]:
    """Ours beside POT's, on equal sets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ot
    told: list[dict[str, Any]] = []
    for seed, (n, dim) in enumerate(SETS):
        x, y = sets(seed, n, dim)
        weight = np.full(n, 1 / n)
        square = ((x[:, None] - y[None]) ** 2).sum(axis=-1)
        lines = _directions(dim, 128, 0).T
        laws = [(lot.mean(axis=0), np.atleast_2d(np.cov(lot.T))) for lot in (x, y)]
        (mean_x, cov_x), (mean_y, cov_y) = laws
        theirs = {
            "wasserstein": ot.emd2(weight, weight, square) ** 0.5,
            "wasserstein_1": ot.emd2(weight, weight, square**0.5),
            "sliced_wasserstein": ot.sliced_wasserstein_distance(x, y, projections=lines),
        }
        if n > dim:  # a root of a singular matrix is no reference
            theirs["frechet"] = ot.gaussian.bures_wasserstein_distance(mean_x, mean_y, cov_x, cov_y) ** 2
        ours = {
            "wasserstein": wasserstein(x, y),
            "wasserstein_1": wasserstein(x, y, p=1.0),
            "sliced_wasserstein": sliced_wasserstein(x, y),
            "frechet": frechet(x, y),
        }
        for name, value in theirs.items():
            row = {"seed": seed, "items": n, "dimensions": dim, "measure": name, "pot": float(value)}
            told.append({**row, "unnoise": ours[name], "difference": abs(ours[name] - float(value))})
    return told


def spoilt(rng: np.random.Generator) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Real digits (n, 1, 8, 8) in, samples of a model with one fault out."""
    train = Digits().split("train")

    def noisy(level: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: np.clip(np.rint(x + level * rng.standard_normal(x.shape)), 0, 16)

    def without(x: np.ndarray) -> np.ndarray:  # the place of every 8 is taken by another digit
        kept = train.items[train.cond["label"] != 8]
        judged = protocol(Digits()).classifier
        assert judged is not None
        out = x.copy()
        eights = judged.predict(x) == 8
        out[eights] = kept[rng.integers(0, len(kept), int(eights.sum()))]
        return out

    def few(x: np.ndarray) -> np.ndarray:  # a quarter of the items, each four times, in a little noise
        return noisy(1.0)(np.repeat(x[rng.permutation(len(x))[: -(-len(x) // 4)]], 4, axis=0)[: len(x)])

    return {
        "nothing": lambda x: x,
        "noise of 0.7 levels": noisy(0.7),
        "noise of 1.5 levels": noisy(1.5),
        "contrast of 0.9": lambda x: np.rint(0.9 * x),
        "no digit 8": without,
        "a quarter of the variety": few,
    }


def sight() -> dict[str, dict[str, Any]]:
    """Every measure of digits under every fault: its value, its floor, and the gap in deviations of one draw."""
    rng = np.random.default_rng(0)
    standard = protocol(Digits())
    rules = Protocol(standard.source, 5, 500, classifier=standard.classifier, measures=("all",))
    named = tuple(name for name in rules.names if MEASURES[name].numbers not in ("training", "labels"))
    rules = Protocol(standard.source, 5, 500, classifier=standard.classifier, measures=named)
    clean = np.stack([real.items for real, _ in rules.reals[5:10]])
    told: dict[str, dict[str, Any]] = {}
    for fault, make in spoilt(rng).items():
        samples = np.stack([make(lot) for lot in clean])
        told[fault] = {
            m.name: {"value": m.value, "low": m.low, "high": m.high, "floor": m.floor, "gap": m.gap}
            for m in rules.measure(samples)
        }
    return told


def intervals() -> dict[str, Any]:
    """The share of intervals that hold the truth; 0.95 is meant."""
    rng, told = np.random.default_rng(0), {}
    laws: dict[str, Callable[[int], np.ndarray]] = {
        "normal": lambda n: rng.standard_normal(n) + 3,
        "exponential": lambda n: rng.exponential(3, n),
    }
    for law, draw in laws.items():
        for n in (2, 5, 20):
            stretched = bare = 0
            for _ in range(5 * TRIALS):
                values = draw(n)
                low, high = over_draws(values) or (0.0, 0.0)
                stretched += low <= 3 <= high
                means = values[rng.integers(0, n, (1000, n))].mean(axis=1)
                low, high = np.quantile(means, (0.025, 0.975))
                bare += low <= 3 <= high
            told[f"{law}, {n} draws"] = {"ours": stretched / (5 * TRIALS), "percentiles": bare / (5 * TRIALS)}
    for name, of in {"two_sample": two_sample, "energy": energy, "frechet": frechet}.items():
        n = 100

        def pair(n: int = n) -> tuple[np.ndarray, np.ndarray]:
            return rng.standard_normal((n, 3)), rng.standard_normal((n, 3)) * 1.3 + 0.4

        drawn = [pair() for _ in range(TRIALS)]
        values = np.array([of(*lots) for lots in drawn])
        spreads = np.array([over_halves(of, *lots) for lots in drawn])
        held = [low <= values.mean() <= high for low, high in map(about, values, spreads)]
        told[f"halves of {n}, {name}"] = {
            "ours": float(np.mean(held)), "spread over the true one": float(spreads.mean() / values.std(ddof=1))
        }  # fmt: skip
    return told


if __name__ == "__main__":
    no_options(__doc__)
    result = {"machine": machine(), "agreement": agreement(), "sight": sight(), "intervals": intervals()}
    save("measures", result)
