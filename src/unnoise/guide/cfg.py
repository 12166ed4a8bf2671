"""Classifier-free guidance: a denoiser around a denoiser."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from unnoise.denoise.denoiser import Belief, Denoiser
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Array, Cond, Tensor, align, send


@dataclass(frozen=True)
class Rows:
    """What is asked of the inner denoiser, and how its answers go back to the items."""

    x: Tensor
    level: Level
    cond: Cond
    told: list[int]  # the items whose conditional belief is asked, in the order of the rows
    untold: list[int]  # those whose unconditional belief follows
    weights: Array  # (B,)


@dataclass(frozen=True)
class CFG:
    """D = (1 − w)·D(x | nothing) + w·D(x | cond)  (Ho & Salimans, 2022, Eq. 6, for the posterior mean).

    null: the value of each condition that means nothing; weight: w where cond has no 'guidance', a leaf (B,)
    of weights per item. A plan's row multiplies w − 1 by its own factor: guidance in an interval. w = 1 is the
    conditional belief and w = 0 the unconditional, bit for bit, and neither asks for the other.
    """

    inner: Denoiser
    null: Mapping[str, int | float]
    weight: float = 1.0

    @property
    def process(self) -> Gaussian:
        """The inner denoiser's."""
        return self.inner.process

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """The guided belief, by one stacked call of the inner denoiser."""
        rows = self.expand(x, level, cond)
        return self.combine(rows, self.inner(rows.x, rows.level, rows.cond))

    def expand(self, x: Tensor, level: Level, cond: Cond) -> Rows:
        """The rows to ask: conditional where w is not 0, unconditional where w is not 1."""
        given = cond.get("guidance")
        plain = np.full(len(x), self.weight) if given is None else np.array(given.tolist(), dtype=np.float64)
        weights = 1 + level.weight * (plain - 1)
        told = np.flatnonzero(weights != 0).tolist()
        untold = np.flatnonzero(weights != 1).tolist()
        inner = {name: leaf for name, leaf in cond.items() if name != "guidance"}
        if not untold:
            return Rows(x, level, inner, told, untold, weights)
        items = _index(told + untold, x)
        asked = {name: self._with_null(name, leaf[items], len(told)) for name, leaf in inner.items()}
        return Rows(x[items], level.take(told + untold), asked, told, untold, weights)

    def _with_null(self, name: str, leaf: Tensor, first: int) -> Tensor:
        if name in self.null:
            leaf[first:] = self.null[name]
        return leaf

    def combine(self, rows: Rows, answer: Belief) -> Belief:
        """(1 − w)·u + w·c per item; c or u alone where the other was not asked."""
        if not rows.untold:
            return answer
        x0, v = (None if leaf is None else _spread(rows, leaf) for leaf in answer)
        assert x0 is not None
        both = sorted(set(rows.told) & set(rows.untold))
        if both:
            w = align(send(torch.from_numpy(rows.weights[both]).to(x0.dtype), x0.device), x0[: len(both)])
            c, u = answer.x0[_index(np.searchsorted(rows.told, both), x0)], answer.x0[len(rows.told) :]
            u = u[_index(np.searchsorted(rows.untold, both), x0)]
            x0[_index(both, x0)] = (1 - w) * u + w * c
        return Belief(x0, v)


def _spread(rows: Rows, answers: Tensor) -> Tensor:
    """One answer for each item: the conditional where it was asked, else the unconditional."""
    found = answers.new_empty(len(rows.weights), *answers.shape[1:])
    found[_index(rows.untold, answers)] = answers[len(rows.told) :]
    found[_index(rows.told, answers)] = answers[: len(rows.told)]
    return found


def _index(items: Sequence[int] | npt.NDArray[np.int64], like: Tensor) -> Tensor:
    return send(torch.as_tensor(items, dtype=torch.int64), like.device)  # of no items too
