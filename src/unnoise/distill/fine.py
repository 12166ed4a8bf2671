"""The fine solution: where the flow of a model truly leads, and what was believed on the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unnoise.distill.subject import Subject
from unnoise.loop import generate
from unnoise.samplers import Plan, plan
from unnoise.tensor import Array, Tensor

STEPS = 64  # of the rule of order three that stands for the flow


@dataclass(frozen=True)
class Fine:
    """G moments of the ways of n items from noise to data.

    lam (G,): log(alpha/sigma) at each; y (G + 1, n, ...): x/alpha there, and the sample; beliefs (G, n, ...).
    """

    lam: Array
    y: Tensor
    beliefs: Tensor

    @property
    def ends(self) -> Tensor:
        """The samples (n, ...)."""
        return self.y[-1]


def solver(subject: Subject, steps: int = STEPS) -> Plan:
    """The plan that stands for the flow: order three, from the loudest noise of the schedule's span to none."""
    return plan("dpmpp_3m", subject.denoiser.process, steps, "karras", start="multistep")


def solve(subject: Subject, seeds: Sequence[int], steps: int = STEPS) -> Iterator[tuple[int, Fine]]:
    """Items done so far and their ways, a lot at a time: they are put together by `join`."""
    fine, process = solver(subject, steps), subject.denoiser.process
    alpha, lam = process.schedule.alpha(fine.t), process.schedule.logsnr(fine.t) / 2
    for lot in subject.lots(len(seeds)):
        cond, like = subject.cond(lot.start, lot.stop), subject.like
        x = process.prior(subject.shape, seeds[lot], like, fine.start, cond)
        states, beliefs = [x], []
        for state, belief in generate(subject.denoiser, fine, subject.shape, seeds[lot], cond, x, like.device):
            states.append(state.x)
            beliefs.append(belief.x0)
        scale = torch.from_numpy(np.append(alpha, 1.0)).to(like.device, x.dtype)
        y = torch.stack(states) / scale.reshape(-1, *(1,) * x.ndim)
        yield lot.stop, Fine(lam, y, torch.stack(beliefs))


def join(parts: Sequence[Fine]) -> Fine:
    """Several lots, one after the other."""
    return Fine(
        parts[0].lam, torch.cat([part.y for part in parts], dim=1), torch.cat([part.beliefs for part in parts], dim=1)
    )


__all__ = ["STEPS", "Fine", "join", "solve", "solver"]
