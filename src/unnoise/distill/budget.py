"""What each row of a plan costs: the distance there would be if the flow were followed exactly from there on."""

import numpy as np
import torch

from unnoise.distill.fit import weight_of
from unnoise.distill.subject import Subject, distance
from unnoise.distill.table import Fit, Table
from unnoise.loop.generate import sample
from unnoise.samplers import plan
from unnoise.tensor import Array, Tensor

ITEMS = 64  # that are followed
NEAR = 0.5  # of the least step between moments: those as near to a question are left out


@torch.no_grad()
def rows(subject: Subject, table: Table, moments: Array, seeds: list[int], ends: Tensor) -> tuple[float, ...]:
    """For each question (R,): the mean distance to the ends if the flow is followed exactly from there.

    That is by order three over the moments (G,) of lam that the ends were found by: nothing but the plan differs.
    """
    process, cond = subject.denoiser.process, subject.cond(0, len(seeds))
    top = process.schedule.time(np.array(2 * table.top))
    x = process.prior(subject.shape, seeds, subject.like, float(top), cond)
    y = x / float(process.schedule.alpha(top))
    fit = Fit.at(table, process.schedule, subject.law, subject.like)
    *asked, _ = fit.walk(subject.denoiser, y, cond, weight_of(subject, cond, y))
    lam = table.lam.tolist()
    return tuple(_followed(subject, y, at, moments, seeds, ends) for y, at in zip(asked, lam, strict=True))


def _followed(subject: Subject, y: Tensor, lam: float, moments: Array, seeds: list[int], ends: Tensor) -> float:
    process = subject.denoiser.process
    later = moments[moments > lam + NEAR * np.diff(moments).min()]
    times = np.append(process.schedule.time(2 * np.append(lam, later)), 0.0)
    rest = plan("dpmpp_3m", process, grid=times)
    x = float(process.schedule.alpha(times[:1])[0]) * y
    found = sample(subject.denoiser, rest, subject.shape, seeds, subject.cond(0, len(seeds)), x, subject.like.device)
    return float(distance(found, ends.to(found)).mean())


__all__ = ["ITEMS", "rows"]
