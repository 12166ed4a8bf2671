"""The best that is known untuned: samplers and grids beside one another, for so many questions."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unnoise.config import UserError
from unnoise.distill.subject import Subject, distance
from unnoise.samplers import SAMPLERS, Plan, plan
from unnoise.tensor import Tensor

RIVALS = ("dpmpp_2m", "dpmpp_3m", "unipc_2", "unipc_3", "ipndm_3", "ipndm_4", "deis_3")
GRIDS = ("karras", "logsnr", "time")


@dataclass(frozen=True)
class Untuned:
    """A sampler of the table over a grid, and its mean distance to the fine solution."""

    sampler: str
    grid: str
    steps: int
    plan: Plan
    distance: float = float("nan")

    @property
    def name(self) -> str:
        """dpmpp_2m over karras."""
        return f"{self.sampler} over {self.grid}"


def entries(
    subject: Subject, evaluations: int, samplers: tuple[str, ...] = RIVALS, grids: tuple[str, ...] = GRIDS
) -> list[Untuned]:
    """Those that ask exactly so often."""
    found: list[Untuned] = []
    for sampler in samplers:
        for grid in grids:
            try:
                steps = SAMPLERS[sampler].steps(evaluations)
                made = plan(sampler, subject.denoiser.process, steps, grid)
            except UserError:  # a rule whose first step asks more, a grid of a chain
                continue
            if made.rows == evaluations:
                found.append(Untuned(sampler, grid, steps, made))
    return found


def off(subject: Subject, made: Plan, seeds: list[int], ends: Tensor) -> float:
    """The mean distance of a plan's samples to the fine solution's."""
    drawn = torch.cat(list(subject.draw(made, seeds)))
    return float(distance(drawn, ends.cpu()).mean())


def race(subject: Subject, rivals: list[Untuned], seeds: list[int], ends: Tensor) -> Iterator[Untuned]:
    """Each with its distance, in the order given."""
    for rival in rivals:
        told = off(subject, rival.plan, seeds, ends)
        yield Untuned(rival.sampler, rival.grid, rival.steps, rival.plan, told)


__all__ = ["GRIDS", "RIVALS", "Untuned", "entries", "off", "race"]
