"""The closed loop: one plan, one batch, from noise to samples."""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.denoise.denoiser import Belief, Denoiser
from unnoise.nets import Net
from unnoise.nets.heard import Labels
from unnoise.process.level import Level
from unnoise.samplers.step import State
from unnoise.samplers.walk import Walk
from unnoise.tensor import Cond, Tensor, move


def generate(
    denoiser: Denoiser,
    plan: Walk,
    shape: Sequence[int],
    seeds: Sequence[int],
    cond: Cond | None = None,
    start: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Iterator[tuple[State, Belief]]:
    """Yields (state, belief) after every question: belief.x0 is a preview, the last state's base the sample.

    shape: of one item; seeds: one per item, all that its noise depends on; cond: leaves (B, ...);
    start: x at plan.start (B, *shape) instead of noise; device: of the denoiser if None.
    """
    rows = _rows(denoiser, plan, shape, seeds, cond, start, device)
    quiet = torch.no_grad()  # not around the yield: between steps the mode is the caller's
    while True:
        with quiet:
            found = next(rows, None)
        if found is None:
            return
        yield found


def _rows(
    denoiser: Denoiser,
    plan: Walk,
    shape: Sequence[int],
    seeds: Sequence[int],
    cond: Cond | None,
    start: Tensor | None,
    device: torch.device | str | None,
) -> Iterator[tuple[State, Belief]]:
    """What `generate` yields; the caller sees to it that no gradients are recorded."""
    check_start(plan, start, (len(seeds), *shape))
    where, process = device or home(denoiser), denoiser.process
    like = torch.zeros(0, device=where) if start is None else start.to(where)
    check_cond(denoiser, cond or {}, len(seeds))
    given = move(cond, like)
    x = process.prior(shape, seeds, like, plan.start, given) if start is None else like
    state = plan.begin(x if plan.head is None else plan.head(x, given))
    levels = _levels(process, plan, len(seeds), x.dtype, x.device)
    draw = partial(next, process.walk(shape, seeds, x, course(process, plan), given))
    for step, level in zip(plan.specialise(), levels, strict=True):
        belief = denoiser(state.x, level, given)
        state = step(state, belief.x0, draw, belief.v)
        yield state, belief


@lru_cache(maxsize=64)
def course(process: Any, plan: Walk) -> Any:
    """Where the draws of a plan stand on a process's paths; known once for each pair of the two."""
    return process.course(plan.noise_ends(), np.array([plan.draws(row) for row in range(plan.rows)]))


@lru_cache(maxsize=64)
def _levels(process: Any, plan: Walk, batch: int, dtype: torch.dtype, device: torch.device) -> list[Level]:
    """The level of every row of a plan for a batch: made once, and sent to the device once."""
    with torch.inference_mode(False):  # what is kept must serve a caller who records gradients, too
        like = torch.zeros(0, dtype=dtype, device=device)
        return process.level(plan.t, like, plan.to, plan.weight).each(batch)


def sample(
    denoiser: Denoiser,
    plan: Walk,
    shape: Sequence[int],
    seeds: Sequence[int],
    cond: Cond | None = None,
    start: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The samples of a plan, (B, *shape): the base after the last row. Arguments as of `generate`."""
    with torch.no_grad():
        *_, (state, _) = deque(_rows(denoiser, plan, shape, seeds, cond, start, device), maxlen=1)
    return state.base


def home(denoiser: Denoiser) -> torch.device:
    """Where a denoiser's numbers live: its network's device, through any wrappers; the CPU for closed forms."""
    net = innermost(denoiser)
    return torch.device("cpu") if net is None else next((p.device for p in net.parameters()), torch.device("cpu"))


def innermost(denoiser: Denoiser) -> torch.nn.Module | None:
    """The network that a denoiser asks in the end, through any wrappers; None for closed forms."""
    net, inner = getattr(denoiser, "net", None), getattr(denoiser, "inner", None)
    if isinstance(net, torch.nn.Module):
        return net
    return None if inner is None else innermost(inner)


def check_start(plan: Walk, start: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raises where what a walk starts with has not the shape expected, or is missing on a walk from data to noise."""
    if start is None and plan.start < plan.end:
        raise UserError(
            f"this plan goes from data (t = {plan.start:.3g}) to noise (t = {plan.end:.3g}): give the data as start, "
            "alpha·x_0, or take invert"
        )
    if start is not None and tuple(start.shape) != shape:
        raise UserError(f"start has shape {tuple(start.shape)}, expected {shape} (one per seed)")


def check_cond(denoiser: Denoiser, cond: Cond, batch: int) -> None:
    """Raises where a condition does not have one value per item, or a label is none that the network knows.

    Labels that lie on a device already are not looked at: to read them would be to wait for it.
    """
    for name, leaf in cond.items():
        if leaf.ndim == 0 or leaf.shape[0] != batch:
            raise UserError(f"condition '{name}' has shape {tuple(leaf.shape)}, expected {batch} values, one per seed")
    net = innermost(denoiser)
    if not isinstance(net, Net):
        return
    counts = {name: one.count for name, one in net.heard.items() if isinstance(one, Labels)}
    for name, count in {**counts, "label": net.classes or counts.get("label", 0)}.items():
        label = cond.get(name)
        if label is None or label.device.type != "cpu" or not count:
            continue
        if label.dtype not in (torch.int64, torch.int32):
            raise UserError(f"{name}s are whole numbers (int64), got {str(label.dtype).removeprefix('torch.')}")
        least, largest = int(label.min()), int(label.max())
        if least < 0 or largest > count:
            wrong = least if least < 0 else largest
            raise UserError(f"there is no {name} {wrong}: expected 0 to {count - 1}, or {count} for none")
