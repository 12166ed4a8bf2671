"""What is known of an item, put into every belief about it: inpainting by replacement."""

from dataclasses import dataclass

import torch

from unnoise.denoise.denoiser import Belief, Denoiser
from unnoise.guide.guide import Asked, Question, believe, without
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Cond, Tensor

KNOWN, MASK = "known", "known mask"  # leaves of cond


@dataclass(frozen=True)
class Known:
    """x_0 ← mask·known + (1 − mask)·E[x_0 | x_t]  (Wang, Yu & Zhang, DDNM, 2023, Eq. 13, where A is a mask).

    cond: "known" (B, *dims), the encoded item, and "known mask", which broadcasts to it: 1 where the item is known,
    0 where it is to be drawn, between them where the two blend. The inner denoiser is told neither. Without these
    leaves it is the inner denoiser. Where the mask is 1 a deterministic plan carries alpha·known + sigma·noise with
    one noise all the way, so the network sees the known part as training showed it, and the sample has it exactly.
    """

    inner: Denoiser

    @property
    def process(self) -> Gaussian:
        """The inner denoiser's."""
        return self.inner.process

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """The belief with what is known in its place."""
        return believe(self, x, level, cond)

    def expand(self, x: Tensor, level: Level, cond: Cond) -> Asked:
        """What it is asked, and what is known."""
        memo = (cond[KNOWN], cond[MASK]) if KNOWN in cond else None
        return Asked((Question(self.inner, x, level, without(cond, KNOWN, MASK)),), memo)

    def combine(self, asked: Asked, answers: list[Belief]) -> Belief:
        """lerp is exact where the mask is 0 or 1."""
        if asked.memo is None:
            return answers[0]
        known, mask = asked.memo
        x0 = answers[0].x0
        return answers[0]._replace(x0=torch.lerp(x0, known.to(x0.dtype), mask.to(x0.dtype).expand_as(x0)))


__all__ = ["KNOWN", "MASK", "Known"]
