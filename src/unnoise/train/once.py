"""A generator is a denoiser that is asked once: its belief about x_T ~ N(0, sigma_T²·I), at t = 1, is the sample.

So a generator needs no way of its own: a plan of one row (ddim, 1 step) draws it, and is all that draws it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from unnoise.config import Tables, UserError, build
from unnoise.denoise import NetDenoiser
from unnoise.nets import NETS, Net
from unnoise.process import Level
from unnoise.samplers import Plan
from unnoise.tensor import Float, Tensor

TABLES: Tables = {Net: NETS}
CLOSE = np.float32(1e-6)  # how exactly a plan that draws a generator gives its answer as it is


def check(plan: Plan) -> None:
    """Refuses a plan that asks a generator more than it has learned: one question, at t = 1, the answer as it is."""
    told = "a generator has learned one answer, at t = 1, and the answer is the sample: take ddim with 1 step"
    if plan.rows != 1 or plan.t[0] != 1:
        raise UserError(f"{told}; this plan asks {plan.rows} question{'s' * (plan.rows > 1)}, from t = {plan.t[0]:g}")
    kept, answer, noise = plan.base[0, 0], plan.base[0, 1 + int(plan.slot[0])], plan.base[0, -1]
    here = kept + answer * plan.keep[0, 0], answer * plan.keep[0, 1] - 1, noise
    if np.abs(here).max() > CLOSE or plan.end != 0:
        raise UserError(f"{told}; this plan ends at t = {plan.end:g} with something else")


def start(denoiser: NetDenoiser, like: Float[Tensor, "B *dims"]) -> Level:
    """The level at which a generator is asked: t = 1 for each item."""
    return denoiser.process.level(np.ones(len(like)), like)


def partner(kind: str, node: Mapping[str, Any], net: Net, channels: int, augment: int) -> Net:
    """A network to be trained beside `net`: its node as in a recipe, of `channels` times as many channels."""
    context = {"shape": (channels * net.shape[0], *net.shape[1:]), "classes": net.classes}
    context |= {"heard": net.heard, "augment": augment}
    made, _ = build(Net, node, TABLES, kind, context)
    assert isinstance(made, Net)
    return made


__all__ = ["check", "partner", "start"]
