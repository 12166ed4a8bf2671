"""Where samples begin when not at their seeds' noise: at noise of a file, or on the way between two noises."""

from collections.abc import Sequence
from pathlib import Path

import torch

from unnoise.cli import noises
from unnoise.config import UserError
from unnoise.loop import Adaptive
from unnoise.process.between import between as way
from unnoise.run import Run
from unnoise.samplers import Plan
from unnoise.tensor import Tensor

STRIP, CURVE = 9, 100  # places between two noises: pictures side by side, points on a line


def noise(
    run: Run,
    plan: Plan | Adaptive,
    sampler: str,
    start: Path | None,
    between: tuple[int, int] | None,
    n: int | None,
    shape: tuple[int, ...] | None,
) -> Tensor:
    """x at the plan's start, (k, ...): of a file, of the way between two seeds, or between two items of the file."""
    if between is not None and plan.stochastic:
        raise UserError(
            f"what is drawn between two seeds is told by their first noise alone, and {sampler} draws more on its way: "
            "take a sampler that draws none, such as ddim, heun or dpmpp_2m"
        )
    found = None if start is None else noises.load(start, run, plan)
    if between is None:
        assert found is not None
        if n is not None and len(found) > 1 and n != len(found):
            raise UserError(f"{start} holds {len(found)} beginnings, one for each sample: leave out --n {n}")
        return found
    if between[0] == between[1]:
        raise UserError(f"between two different noises there is a way, got --between {between[0]} {between[1]}")
    count = n or (CURVE if run.recipe.modality.name == "points" else STRIP)
    if found is not None:
        if not all(0 <= place < len(found) for place in between):
            raise UserError(f"{start} holds the items 0 to {len(found) - 1}, got --between {between[0]} {between[1]}")
        return way(found[between[0]], found[between[1]], count)
    if min(between) < 0:
        raise UserError(f"a seed is 0 or more, got --between {between[0]} {between[1]}")
    like = torch.zeros(0, device=run.device)
    ends = run.recipe.process.prior(shape or run.recipe.shape, between, like, plan.start)
    return way(ends[0], ends[1], count)


def asking(k: int, n: int | None, seeds: str | None, label: str | None) -> int | None:
    """How many samples are asked of k beginnings: one each, or of a single one as many as there are labels or seeds."""
    single = k == 1 and (n is not None or seeds is not None or (label is not None and "," in label))
    return n if single else None if seeds is not None else k


def each(found: Tensor, wanted: Sequence[int]) -> Tensor:
    """The beginning of each sample: one for each, or the same ones again for every label."""
    if len(wanted) % len(found):
        raise UserError(f"{len(wanted)} samples of {len(found)} beginnings: give as many seeds or labels")
    return found.repeat(len(wanted) // len(found), *(1,) * (found.ndim - 1))


def whence(
    start: Path | None, between: tuple[int, int] | None, seeds: str | None, wanted: Sequence[int], rows: Sequence[str]
) -> str:
    """Where samples begin, as part of a file's name."""
    named = [f"start-{start.stem}"] if start is not None else []
    named += [f"between-{between[0]}-{between[1]}"] if between is not None else []
    return "-".join(named) or f"seeds-{seeds or f'0-{len(wanted) // max(1, len(rows)) - 1}'}"


__all__ = ["CURVE", "STRIP", "asking", "each", "noise", "whence"]
