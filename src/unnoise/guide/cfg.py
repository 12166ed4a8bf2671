"""Classifier-free guidance: away from the belief that was told nothing, or something else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from unnoise.denoise.denoiser import Belief, Denoiser
from unnoise.guide.blend import Blend, Linear, Projected, Rescaled
from unnoise.guide.guide import Asked, Interval, Question, believe, check_interval, factors, weights, without
from unnoise.guide.sides import Sides, index
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Cond, Tensor

Null: TypeAlias = Mapping[str, int | float | Tensor]  # a value for all items, of each condition

NEGATIVE = "negative "  # before a condition's name: what stands for its null, as a leaf of cond


@dataclass(frozen=True)
class CFG:
    """D = (1 − w)·D(x | nothing) + w·D(x | cond)  (Ho & Salimans, 2022, Eq. 6, for the posterior mean).

    null: the value of each condition that means nothing; where cond has a leaf "negative label" (B,), that stands in
    its place: away from it, rather than from nothing. weight: w where cond has no "guidance", a leaf (B,) of weights
    per item; interval: of the noise sigma/alpha within which there is guidance (Kynkäänniemi et al., 2024), all of it
    if None; a plan's row multiplies w − 1 by its own factor. blend: what is made of the two beliefs.

    w = 1 is the conditional belief and w = 0 the unconditional, bit for bit, and neither asks for the other.
    """

    inner: Denoiser
    null: Null
    weight: float = 1.0
    interval: Interval | None = None
    blend: Blend = Linear()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        check_interval(self.interval)

    @property
    def process(self) -> Gaussian:
        """The inner denoiser's."""
        return self.inner.process

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """The guided belief, by one stacked call of the inner denoiser."""
        return believe(self, x, level, cond)

    def expand(self, x: Tensor, level: Level, cond: Cond) -> Asked:
        """The rows to ask, in one question: conditional where w is not 0, then unconditional where w is not 1."""
        sides = Sides(
            1 + factors(self.process, level, self.interval) * (weights(level, self.weight, cond.get("guidance")) - 1)
        )
        told, untold = sides.better, sides.lesser
        plain = without(cond, "guidance", *(NEGATIVE + name for name in self.null))
        if not untold:
            return Asked((Question(self.inner, x, level, plain),), sides)
        here = {device: torch.as_tensor(told + untold, device=device) for device in {v.device for v in plain.values()}}
        asked = {name: leaf[here[leaf.device]] for name, leaf in plain.items()}
        for name in self.null.keys() & asked.keys():
            asked[name][len(told) :] = self._instead(name, cond, untold)
        return Asked((Question(self.inner, x[index(told + untold, x)], level.take(told + untold), asked),), sides)

    def _instead(self, name: str, cond: Cond, items: list[int]) -> int | float | Tensor:
        """What the unconditional rows are told of a condition."""
        given = cond.get(NEGATIVE + name)
        return self.null[name] if given is None else given[index(items, given)]

    def combine(self, asked: Asked, answers: list[Belief]) -> Belief:
        """The blend of both per item; the one alone where the other was not asked."""
        sides, (answer,) = asked.memo, answers
        first = len(sides.better)
        x0, v = answer
        better, lesser = (
            Belief(x0[part], None if v is None else v[part]) for part in (slice(0, first), slice(first, None))
        )
        return sides.join(better, lesser, self.blend)


Given: TypeAlias = str | int | dict[str, Any]  # a label, a prompt, or by name what is told of each condition
Named = Callable[[Any], Null]  # what people write so → what it tells the network


def cfg(
    inner: Denoiser,
    null: Null,
    named: Named,
    weight: float = 1.0,
    negative: Given | None = None,
    interval: Interval | None = None,
    blend: Blend = Linear(),  # noqa: B008 (frozen)
) -> CFG:
    """Classifier-free guidance, away from nothing or from what `negative` names; see CFG."""
    return CFG(inner, null if negative is None else {**null, **named(negative)}, weight, interval, blend)


def rescaled(
    inner: Denoiser,
    null: Null,
    named: Named,
    weight: float = 1.0,
    negative: Given | None = None,
    interval: Interval | None = None,
    share: float = 0.7,
) -> CFG:
    """Classifier-free guidance that keeps the contrast of the conditional belief; see Rescaled."""
    return cfg(inner, null, named, weight, negative, interval, Rescaled(share))


def apg(
    inner: Denoiser,
    null: Null,
    named: Named,
    weight: float = 1.0,
    negative: Given | None = None,
    interval: Interval | None = None,
    along: float = 0.0,
    norm: float | None = None,
) -> CFG:
    """Adaptive projected guidance: classifier-free guidance across the belief alone; see Projected."""
    return cfg(inner, null, named, weight, negative, interval, Projected(along, norm))


__all__ = ["CFG", "NEGATIVE", "Named", "Null", "apg", "cfg", "rescaled"]
