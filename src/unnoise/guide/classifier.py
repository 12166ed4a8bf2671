"""Classifier guidance: towards where a classifier of noisy data sees the label."""

from dataclasses import dataclass

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.denoise.denoiser import Belief, Denoiser
from unnoise.guide.autoguidance import Models
from unnoise.guide.cfg import Null
from unnoise.guide.guide import Asked, Interval, Question, believe, check_interval, factors, weights, without
from unnoise.guide.sides import index
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Cond, Tensor, align, send

WEIGHTS = "classifier guidance"  # the leaf of weights per item


@dataclass(frozen=True)
class Classifier:
    """D = D(x | nothing) + w·(sigma²/alpha)·∇ log p(y | x_t)  (Dhariwal & Nichol, 2021, Sec. 4.2, by Tweedie).

    shift: (x, level, cond) → that gradient's term for the label of each item, the "belief" of a run whose objective is
    `classifier`. By Bayes' rule w = 1 is the conditional belief, as far as both are right, and w is the same dial as in
    CFG. null: the value of each condition that means nothing; conditional: whether the denoiser hears the label all the
    same, and is pushed beyond its conditional belief. weight: w where cond has no leaf "classifier guidance" (B,);
    interval as in CFG, but outside it w is 0, and so where a plan's factor is. No item without a label, and none of
    weight 0, asks the classifier.
    """

    inner: Denoiser
    shift: Denoiser
    null: Null
    weight: float = 1.0
    conditional: bool = False
    interval: Interval | None = None

    def __post_init__(self) -> None:
        check_interval(self.interval)

    @property
    def process(self) -> Gaussian:
        """The inner denoiser's."""
        return self.inner.process

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """The guided belief."""
        return believe(self, x, level, cond)

    def expand(self, x: Tensor, level: Level, cond: Cond) -> Asked:
        """A question to the denoiser of every item, and one to the classifier of those that are pushed."""
        by = factors(self.process, level, self.interval) * weights(level, self.weight, cond.get(WEIGHTS))
        pushed = np.flatnonzero(by).tolist() if "label" in cond else []
        own = without(cond, WEIGHTS)
        inner = own if self.conditional else {k: self._nothing(k, leaf) for k, leaf in own.items()}
        questions = [Question(self.inner, x, level, inner)]
        if pushed:
            label = {"label": cond["label"][index(pushed, cond["label"])]}
            questions += [Question(self.shift, x[index(pushed, x)], level.take(pushed), label)]
        return Asked(tuple(questions), (pushed, by[pushed]))

    def _nothing(self, name: str, leaf: Tensor) -> Tensor:
        if name != "label" or name not in self.null:
            return leaf
        return torch.as_tensor(self.null[name], dtype=leaf.dtype, device=leaf.device).expand_as(leaf)

    def combine(self, asked: Asked, answers: list[Belief]) -> Belief:
        """The belief, moved by w times the shift where there is one."""
        belief, *shifts = answers
        if not shifts:
            return belief
        pushed, by = asked.memo
        shift = shifts[0].x0.to(belief.x0.dtype)
        w = align(send(torch.from_numpy(by).to(shift.dtype), shift.device), shift)
        return belief._replace(x0=belief.x0.index_add(0, index(pushed, shift), w * shift))


def classifier(
    inner: Denoiser,
    models: Models,
    null: Null,
    weight: float = 1.0,
    run: str | None = None,
    conditional: bool = False,
    interval: Interval | None = None,
) -> Classifier:
    """Classifier guidance by the classifier that another run has trained; see Classifier."""
    if run is None:
        raise UserError("classifier guidance needs run=.., the folder of a run whose objective is 'classifier'")
    return Classifier(inner, models(run, None, None, True), null, weight, conditional, interval)


__all__ = ["WEIGHTS", "Classifier", "classifier"]
