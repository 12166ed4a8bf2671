"""What a guide is: a denoiser around denoisers, which says what it asks and what it makes of the answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.denoise.denoiser import Belief, Denoiser
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.samplers.walk import Walk
from unnoise.tensor import Array, Cond, Float, Tensor

Interval: TypeAlias = tuple[float, float]
Asks: TypeAlias = Callable[[Tensor, Level, Cond], Belief]


class Question(NamedTuple):
    """What is asked of whom: rows of x (B', ...) with their levels and conditions."""

    of: Asks
    x: Tensor
    level: Level
    cond: Cond


class Asked(NamedTuple):
    """The questions of a guide, and what it needs to know when the answers come."""

    questions: tuple[Question, ...]
    memo: Any = None


@runtime_checkable
class Guide(Protocol):
    """A denoiser of two halves, so that a loop can put all rows of all items into one network call."""

    @property
    def inner(self) -> Denoiser:
        """The denoiser that is guided."""
        ...

    @property
    def process(self) -> Gaussian:
        """How its data is destroyed: the inner denoiser's."""
        ...

    def expand(self, x: Tensor, level: Level, cond: Cond) -> Asked:
        """What to ask of others."""
        ...

    def combine(self, asked: Asked, answers: list[Belief]) -> Belief:
        """The belief, from one answer to each question."""
        ...

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """Both halves in turn: `believe`."""
        ...


def believe(guide: Guide, x: Tensor, level: Level, cond: Cond) -> Belief:
    """Both halves of a guide in turn."""
    asked = guide.expand(x, level, cond)
    return guide.combine(asked, [question.of(*question[1:]) for question in asked.questions])


def is_guide(denoiser: Any) -> TypeGuard[Guide]:
    """Whether a denoiser says what it asks."""
    return hasattr(denoiser, "expand")


def rows(denoiser: Asks, x: Tensor, level: Level, cond: Cond) -> int:
    """How many rows networks are asked for these; none is."""
    if not is_guide(denoiser):
        return len(x)
    return sum(rows(q.of, q.x, q.level, q.cond) for q in denoiser.expand(x, level, cond).questions)


def evaluations(denoiser: Denoiser, plan: Walk, shape: tuple[int, ...], cond: Cond | None = None) -> int:
    """How often networks are asked for one item on its way by a plan: a guide's second answers counted.

    cond: of the item, leaves (1, ...).
    """
    x = torch.zeros(1, *shape).expand(plan.rows, *shape)
    level = denoiser.process.level(plan.t, x, plan.to, plan.weight)
    each = {name: leaf[:1].cpu().expand(plan.rows, *leaf.shape[1:]) for name, leaf in (cond or {}).items()}
    return rows(denoiser, x, level, each)


def weights(level: Level, weight: float, given: Tensor | None) -> Array:
    """The weight of each item (B,), on the host: as given, or as by default."""
    return np.full(len(level.times), weight) if given is None else np.array(given.tolist(), dtype=np.float64)


def factors(process: Gaussian, level: Level, interval: Interval | None) -> Array:
    """What guidance is multiplied by (B,): the plan's factor, and 0 where sigma/alpha lies outside the interval."""
    if interval is None:
        return level.weight
    noise = np.exp(-process.schedule.logsnr(level.times) / 2)
    return level.weight * ((interval[0] <= noise) & (noise <= interval[1]))


def check_interval(interval: Interval | None) -> None:
    """Raises where an interval of noise levels is none."""
    if interval is not None and not 0 <= interval[0] < interval[1]:
        raise UserError(
            f"an interval of guidance is written [least, most] noise, as sigma/alpha such as [0.2, 3]; "
            f"got {list(interval)}"
        )


def without(cond: Cond, *names: str) -> dict[str, Tensor]:
    """The conditions, some left out."""
    return {name: leaf for name, leaf in cond.items() if name not in names}


@dataclass(frozen=True)
class Nobody:
    """Stands where a denoiser will: what is built around it can be checked before there is one."""

    process: Gaussian

    def __call__(self, x: Float[Tensor, "B *dims"], level: Level, cond: Cond) -> Belief:
        raise UserError("nothing is believed yet")


__all__ = [
    "Asked",
    "Guide",
    "Interval",
    "Nobody",
    "Question",
    "believe",
    "check_interval",
    "evaluations",
    "factors",
    "is_guide",
    "rows",
    "weights",
    "without",
]
