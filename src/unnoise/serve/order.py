"""A request made into numbers: plan, conditions, where it begins, what it costs. Nothing has been asked yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.guide import nodes, words
from unnoise.loop.sampling import Sampling
from unnoise.nets import NETS
from unnoise.reading.decode import Limits
from unnoise.restore import KNOWN, MASK
from unnoise.run import Run
from unnoise.samplers import SAMPLERS, Plan
from unnoise.samplers import plan as write
from unnoise.samplers.grid import times
from unnoise.serve.conditions import each, told
from unnoise.serve.refusals import wrong
from unnoise.serve.schema import JobRequest
from unnoise.serve.settings import Settings
from unnoise.serve.uploads import digest, encoded, known
from unnoise.tensor import Tensor, align

BESIDE = 0.6  # the strength with which a picture without a mask is drawn anew, unless a request says so
EACH = 8  # evaluations of a sample for each step that is allowed
WEIGHTED = ""  # the guides of a lane whose items bring their own weights


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be drawn of one model.

    guides: in words, WEIGHTED where a weight of classifier-free guidance is all, which stands in `cond`; cond, start:
    leaves (len(seeds), ...); settings: what makes it again, for all samples, and `each` for one; rows: evaluations of
    one sample, a guide's second answers counted.
    """

    plan: Plan
    shape: tuple[int, ...]
    seeds: tuple[int, ...]
    cond: dict[str, Tensor]
    start: Tensor | None
    guides: str
    rows: int
    settings: dict[str, Any]
    each: tuple[dict[str, Any], ...]


def order(
    run: Run, asked: JobRequest, seeds: Sequence[int], image: bytes | None, mask: bytes | None, limits: Settings
) -> Order:
    """The order that a request makes for a run, of whose folder the recipe is enough. Raises UserError or Refused."""
    recipe, shape = run.recipe, _shape(run, asked.size, limits)
    strength = asked.strength or (BESIDE if image is not None and mask is None else 1.0)
    sampling, plan = planned(run, asked, limits, strength)
    guidance = recipe.sampling.guidance if asked.guidance is None else asked.guidance
    recipe.check_guidance(guidance)
    cond = told(run, asked, len(seeds))
    weight = _weight(guidance)
    guides = words(guidance) if weight is None else WEIGHTED
    rows = plan.rows * (1 if guides == WEIGHTED and weight == 1 else 2)
    _check_work(len(seeds) * rows, shape, limits)
    if guides == WEIGHTED and recipe.nulls:
        cond = {**cond, "guidance": torch.full((len(seeds),), weight or 0.0, dtype=torch.float64)}
    start, given = None, {}
    if image is not None:
        allowed = Limits(limits.upload, limits.body)
        x0 = encoded(run, image, shape, allowed).expand(len(seeds), *shape)
        given["image"], given["strength"] = digest(image), strength
        if mask is not None:
            kept = known(run, mask, shape, allowed).expand(len(seeds), 1, *shape[1:])
            cond |= {KNOWN: x0.contiguous(), MASK: kept.contiguous()}
            given["mask"] = digest(mask)
        if strength < 1:
            level = recipe.process.level(np.full(len(seeds), plan.start), x0)
            start = align(level.alpha, x0) * x0 + recipe.process.prior(shape, seeds, x0, plan.start, cond)
    elif mask is not None or asked.strength is not None:
        raise wrong("a mask and a strength are of an image, and none was given")
    settings = {
        "run": recipe.name,
        "sampler": sampling.sampler,
        "steps": sampling.steps,
        "grid": sampling.grid,
        **(sampling.options or {}),
        "guidance": words(guidance) if weight is None else weight,
        "size": None if shape == recipe.shape else asked.size,
        "plan": plan.digest[:16],
        "evaluations": rows,
        **given,
    }
    own = [{"seed": seed, **said} for seed, said in zip(seeds, each(run, asked, len(seeds)), strict=True)]
    return Order(plan, shape, tuple(seeds), cond, start, guides, rows, _said(settings), tuple(own))


def _said(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _weight(guidance: Any) -> float | None:
    """The weight of classifier-free guidance, where that is all there is."""
    made = nodes(guidance)
    if not made:
        return 1.0
    return float(made[0]["weight"]) if len(made) == 1 and made[0].keys() == {"kind", "weight"} else None


def planned(run: Run, asked: JobRequest, limits: Settings, strength: float = 1.0) -> tuple[Sampling, Plan]:
    """The plan that a request asks for.

    strength: below 1 it is begun later, and the last round(strength·steps) of its steps are walked.
    """
    if asked.steps is not None and asked.steps > limits.steps:
        raise wrong(f"{asked.steps} steps are asked for, and {limits.steps} are allowed", "too_much")
    if asked.sampler == "tuned":
        if strength < 1:
            raise wrong("a tuned plan is walked whole: take another sampler, or strength 1")
        if "guidance" in asked.options:
            raise wrong("guidance is no option of the sampler: give it beside the options")
        guided = {} if asked.guidance is None else {"guidance": asked.guidance}  # such plans are tuned for it
        try:
            plan = run.plan("tuned", asked.steps, asked.grid, **guided, **asked.options)
        except UserError as error:  # where the folder lies is not the client's to know
            raise UserError(str(error).replace(str(run.folder), run.folder.name)) from None
        return Sampling("tuned", plan.rows, None, options=dict(asked.options)), plan
    sampling = run.sampling(asked.sampler, asked.steps, asked.grid, **asked.options)
    most, whole = EACH * limits.steps, [value for value in asked.options.values() if isinstance(value, int)]
    if sampling.steps * max(whole, default=1) > most:  # before it is written
        raise wrong(f"{sampling.steps} steps, {max(whole)} times each, are more than {most:,} evaluations", "too_much")
    plan = run.recipe.plan(sampling)
    if plan.rows > most:
        raise wrong(f"{sampling.sampler} asks {plan.rows:,} times so, and {most:,} are allowed", "too_much")
    if strength == 1:
        return sampling, plan
    process, steps = run.recipe.process, max(1, round(strength * sampling.steps))
    grid = sampling.grid or SAMPLERS[sampling.sampler].grid
    left = times(grid, process.schedule, sampling.steps)[sampling.steps - steps :]
    return sampling, write(sampling.sampler, process, steps, left, **(sampling.options or {}))


def _shape(run: Run, size: str | None, limits: Settings) -> tuple[int, ...]:
    shape = run.recipe.shape
    if size is None:
        return shape
    height, width = (int(side) for side in size.split("x"))
    if len(shape) == 3 and (height, width) == shape[1:]:
        return shape
    if run.recipe.modality.name != "image" or not NETS[run.recipe.nodes["net"]["kind"]].any_size:
        raise wrong(f"{run.recipe.name} draws the shape {shape} alone: its network takes items of no other size")
    if not 0 < height * width <= limits.pixels:
        raise wrong(f"{size} pixels are asked for, and 1 to {limits.pixels:,} are allowed", "too_much")
    return (shape[0], height, width)


def _check_work(evaluations: int, shape: tuple[int, ...], limits: Settings) -> None:
    numbers = int(torch.Size(shape).numel())
    if evaluations * numbers > limits.work:
        raise wrong(
            f"samples · evaluations · numbers is {evaluations * numbers:,}, and {limits.work:,} is allowed", "too_much"
        )


__all__ = ["WEIGHTED", "Order", "order", "planned"]
