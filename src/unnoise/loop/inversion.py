"""From data back to the noise that they are drawn from: the probability flow, walked the other way."""

from collections.abc import Sequence

import numpy as np
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.denoise.denoiser import Denoiser
from unnoise.loop.generate import sample
from unnoise.process.gaussian import Gaussian
from unnoise.samplers.plan import Plan
from unnoise.tensor import Cond, Float, Tensor

PLACE = 1 << 42  # of the noise that a clean item is given: beyond x_T's and those of a path


def invert(
    denoiser: Denoiser,
    x0: Float[Tensor, "B *dims"],
    plan: Plan,
    cond: Cond | None = None,
    seeds: Sequence[int] | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "B *dims"]:
    """The noise of items: x at plan.end, (B, *dims), from which `sample(.., start=..)` draws them again.

    plan: of `plan(.., reverse=True)`, deterministic, from little noise to much; x0: encoded items; cond: what they
    are said to be. It starts at alpha·x_0, since nothing tells the noise of a clean item. With `seeds`, one per item,
    it starts at alpha·x_0 + sigma·noise, which has the law of x there: so has what comes out that of noise, as far as
    the denoiser is right (the flow keeps laws), and is not shorter by what the start lacked.
    (Song, Meng & Ermon, 2021, Sec. 4.3; Song et al., 2021, Sec. 4.3.)
    """
    if not plan.end > plan.start or plan.stochastic:
        raise UserError("an inversion walks from data to noise by a plan that draws none: un.plan(.., reverse=True)")
    start = begin(denoiser.process, x0, plan.start, seeds, cond)
    return sample(denoiser, plan, x0.shape[1:], range(len(x0)), cond, start, device)


def begin(
    process: Gaussian,
    x0: Float[Tensor, "B *dims"],
    t: float,
    seeds: Sequence[int] | None = None,
    cond: Cond | None = None,
) -> Float[Tensor, "B *dims"]:
    """Where an inversion starts, at a time t of little noise: alpha·x_0, and by seeds sigma·noise upon it."""
    alpha, sigma = (float(f(np.array(t))) for f in (process.schedule.alpha, process.schedule.sigma))
    if seeds is None:
        return alpha * x0
    noise = rng.normal(seeds, [PLACE] * len(x0), x0.shape[1:], x0)
    return alpha * x0 + sigma * process.constrain(noise, cond or {})


__all__ = ["begin", "invert"]
