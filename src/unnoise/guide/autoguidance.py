"""Autoguidance: away from the belief of a worse model of the same."""

from collections.abc import Callable
from dataclasses import dataclass

from unnoise.config import UserError
from unnoise.denoise.denoiser import Belief, Denoiser
from unnoise.guide.blend import Blend, Linear
from unnoise.guide.cfg import NEGATIVE
from unnoise.guide.guide import Asked, Interval, Question, believe, check_interval, factors, weights, without
from unnoise.guide.sides import Sides, index
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Cond, Tensor

WEIGHTS = "autoguidance"  # the leaf of weights per item


@dataclass(frozen=True)
class Autoguidance:
    """D = (1 − w)·D_worse + w·D  (Karras et al., Guiding a diffusion model with a bad version of itself, 2024, Eq. 3).

    worse: a model that errs as the better one does, only more: of fewer items, of a shorter average, smaller. Both
    hear the same conditions, so labels need not exist, and what grows with w is the fidelity rather than the label.
    weight: w where cond has no leaf "autoguidance" (B,); interval and blend as in CFG. w = 1 is the better belief and
    w = 0 the worse one, bit for bit, and neither asks the other.
    """

    inner: Denoiser
    worse: Denoiser
    weight: float = 2.0
    interval: Interval | None = None
    blend: Blend = Linear()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        check_interval(self.interval)

    @property
    def process(self) -> Gaussian:
        """The better denoiser's."""
        return self.inner.process

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """The guided belief."""
        return believe(self, x, level, cond)

    def expand(self, x: Tensor, level: Level, cond: Cond) -> Asked:
        """A question to each of the two, of the items that need it."""
        sides = Sides(
            1 + factors(self.process, level, self.interval) * (weights(level, self.weight, cond.get(WEIGHTS)) - 1)
        )
        told = without(cond, WEIGHTS)
        plain = without(told, "guidance", *(name for name in told if name.startswith(NEGATIVE)))
        asked = ((self.inner, sides.better, told), (self.worse, sides.lesser, plain))
        return Asked(tuple(_question(of, items, x, level, own) for of, items, own in asked if items), sides)

    def combine(self, asked: Asked, answers: list[Belief]) -> Belief:
        """The blend of both per item; the one alone where the other was not asked."""
        return asked.memo.join(answers[0], answers[-1], self.blend)


def _question(of: Denoiser, items: list[int], x: Tensor, level: Level, cond: Cond) -> Question:
    if len(items) == len(x):
        return Question(of, x, level, cond)
    own = {name: leaf[index(items, leaf)] for name, leaf in cond.items()}
    return Question(of, x[index(items, x)], level.take(items), own)


# (run, items, ema, whether it is a classifier that is asked for) → a denoiser
Models = Callable[[str | None, int | None, float | None, bool], Denoiser]


def autoguidance(
    inner: Denoiser,
    models: Models,
    weight: float = 2.0,
    items: int | None = None,
    ema: float | None = None,
    run: str | None = None,
    interval: Interval | None = None,
    blend: Blend = Linear(),  # noqa: B008 (frozen)
) -> Autoguidance:
    """Autoguidance by a worse model: the run's own after fewer items, of another average, or another run's.

    items: an earlier moment of the training, of which the run kept its weights; ema: the width of an average of the
    weights, 0 the weights themselves; run: the folder of another run of the same data and process.
    """
    if items is None and ema is None and run is None:
        raise UserError(
            "autoguidance needs a worse model: items=.. of an earlier moment of the training, ema=.. of another "
            "average, or run=.. of another run"
        )
    return Autoguidance(inner, models(run, items, ema, False), weight, interval, blend)


__all__ = ["WEIGHTS", "Autoguidance", "Models", "autoguidance"]
