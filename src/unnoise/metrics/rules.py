"""MEASURES: every measure by its name, what it is read on, and how many items it takes to mean anything."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from unnoise.metrics.distances import frechet, sliced_wasserstein
from unnoise.metrics.kernels import cmmd, energy, kid, median_distance, mmd
from unnoise.metrics.measure import Better
from unnoise.metrics.neighbours import copied, coverage, density, precision, recall, two_sample
from unnoise.metrics.ridge import classifier_two_sample
from unnoise.metrics.scores import inception_score, mean_distance, vendi
from unnoise.metrics.transport import wasserstein

Raw: TypeAlias = npt.NDArray[Any]
# What a rule is read on: raw items in their modality's distances, features, either of the two (features where they
# were asked for), class probabilities, distances to the nearest training item, or labels.
Numbers: TypeAlias = Literal["features", "either", "probabilities", "training", "labels"]

COPIES = 0.01  # the share of held-out items that count as near-copies: the threshold's quantile
MUCH = 1000  # items of a draw that what costs N³ is asked of at most


@dataclass(frozen=True)
class Rule:
    """One measure: of(samples, real) in `numbers`, which way is better, and what it is in words.

    least: items in a draw below which it means nothing, as a function of the columns; why: the reason.
    most: of more items a random lot of so many is taken. span: what it can read at all.
    """

    of: Callable[[Any, Any], float]
    better: Better
    text: str
    numbers: Numbers = "either"
    least: Callable[[int], int] = lambda columns: 50
    why: str = "chance hides all but gross differences"
    most: int = 1 << 62
    span: tuple[float, float] = (0.0, np.inf)

    def warning(self, count: int, columns: int) -> str:
        """One sentence where so many items are too few; else silent."""
        least = self.least(columns)
        if count >= least:
            return ""
        reason = self.why.format(columns=f"{columns:,}", least=f"{least:,}")
        return f"{count:,} items in a draw are too few for this measure, which takes {least:,} at least: {reason}."


SHARE = (0.0, 1.0)
SIGNED = (-np.inf, np.inf)  # without bias: now and then below 0

MEASURES: dict[str, Rule] = {
    "frechet": Rule(
        frechet, "lower", "Fréchet distance", "features",
        least=lambda columns: columns + 1, why="the covariance of {columns} features is singular below",
    ),
    "kid": Rule(
        kid, "lower", "kernel Inception distance, unbiased, all pairs", "features", span=SIGNED,
    ),
    "cmmd": Rule(
        cmmd, "lower", "1000 × MMD² with a Gaussian kernel of bandwidth 10 on rows of norm 1", "features",
    ),
    "inception_score": Rule(
        lambda x, real: inception_score(x), "higher", "Inception Score, one split", "probabilities",
        least=lambda columns: 10 * columns, why="ten items a class are asked", span=(1.0, np.inf),
    ),
    "sliced_wasserstein": Rule(sliced_wasserstein, "lower", "sliced 2-Wasserstein distance, 128 directions"),
    "wasserstein": Rule(
        wasserstein, "lower", f"2-Wasserstein distance by the best pairing, of {MUCH} items at most", most=MUCH
    ),
    "energy": Rule(energy, "lower", "energy distance, unbiased", span=SIGNED),
    "mmd": Rule(
        mmd, "lower", "MMD², unbiased, with a Gaussian kernel of the median distance of real items", span=SIGNED
    ),
    "two_sample": Rule(two_sample, "half", "leave-one-out accuracy of the nearest neighbour", span=SHARE),
    "classifier_two_sample": Rule(
        classifier_two_sample, "half",
        f"ten-fold accuracy of kernel ridge regression, of {MUCH} items at most", most=MUCH, span=SHARE,
        least=lambda columns: 100, why="nothing is learned of fewer",
    ),
    "coverage": Rule(
        lambda x, real: coverage(real, x), "higher",
        "share of real items with a sample nearer than their 5th real neighbour", span=SHARE,
    ),
    "density": Rule(lambda x, real: density(real, x), "higher", "real 5-neighbour balls around a sample, over 5"),
    "precision": Rule(
        lambda x, real: precision(real, x), "higher", "share of samples in a real 5-neighbour ball", span=SHARE
    ),
    "recall": Rule(
        lambda x, real: recall(real, x), "higher", "share of real items in a sample's 5-neighbour ball", span=SHARE
    ),
    "diversity": Rule(lambda x, real: mean_distance(x), "higher", "mean distance of two samples"),
    "vendi": Rule(
        lambda x, real: vendi(x, median_distance(real)), "higher",
        f"effective number of different items (Vendi Score), of {MUCH} at most", most=MUCH, span=(1.0, np.inf),
    ),
    "near_copies": Rule(
        lambda x, real: float(copied(x, float(np.quantile(real, COPIES))).mean()), "lower",
        "share of samples nearer to a training item than 1 % of held-out items are", "training",
        least=lambda columns: 100, why="1 % of fewer is less than one item", span=SHARE,
    ),
    "label_accuracy": Rule(
        lambda x, real: float((x == real).mean()), "higher", "share of samples given the label asked for", "labels",
        span=SHARE,
    ),
}  # fmt: skip

__all__ = ["COPIES", "MEASURES", "Rule"]
