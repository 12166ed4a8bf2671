"""Reading a table out of anyone's sampler: basis vectors go in as state, answers and noises, coefficients come out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.conformance.unrolled import Unrolled
from unnoise.process import Gaussian
from unnoise.samplers import Plan
from unnoise.tensor import Array, Tensor

MOST = 4096  # questions that one run may ask: an adaptive solver that never ends is told of, not waited for
WIDTH = 64  # numbers of the random run beside which the table is held

Answer = Callable[[Tensor, float], Tensor]
Draw = Callable[[Tensor], Tensor]


@runtime_checkable
class Foreign(Protocol):
    """Another library's sampler, to be run with whatever stands for its network and its noise."""

    @property
    def name(self) -> str:
        """What it is called there."""
        ...

    @property
    def process(self) -> Gaussian:
        """The process that it walks back, in our clock."""
        ...

    @property
    def rule(self) -> str | None:
        """The sampler of ours that it names, where there is one."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Our options that make that rule theirs."""
        ...

    def keep(self, alpha: float, sigma: float) -> tuple[float, float]:
        """What it is answered: keep[0]·x + keep[1]·x0 (noise: 1/sigma, −alpha/sigma; data: 0, 1)."""
        ...

    def run(self, steps: int, start: Tensor, answer: Answer, draw: Draw) -> Tensor:
        """Its whole loop from x_T = start, asking answer(x_t, t) in our scale and clock, its noise from draw(like)."""
        ...


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of a foreign sampler at one number of steps.

    residual: how far a run on random numbers is from what the table says, beside the run's own size: rounding where
    the sampler is affine. plan: the table, or None with `why` where no table of one base and one noise a row is it.
    """

    name: str
    rule: str | None
    settings: Mapping[str, Any]
    process: Gaussian
    steps: int
    wide: Unrolled
    residual: float
    plan: Plan | None
    why: str = ""


def unroll(foreign: Foreign, steps: int) -> Unrolled:
    """The linear forms of a sampler's questions: one run to count them, one on basis vectors."""
    times, draws = _count(foreign, steps)
    schedule = foreign.process.schedule
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    keep = np.array([foreign.keep(float(a), float(s)) for a, s in zip(alpha, sigma, strict=True)])
    basis = torch.eye(1 + len(times) + draws, dtype=torch.float64)
    questions, sample = _run(foreign, steps, basis[0], basis[1 : 1 + len(times)], basis[1 + len(times) :])
    forms = np.stack([*(q.numpy() for q in questions), sample.numpy()])
    if not np.isfinite(forms).all():
        bad = int(np.argmax(~np.isfinite(forms).all(axis=1)))
        what = "the sample" if bad == len(times) else f"question {bad + 1} of {len(times)}"
        raise UserError(f"{foreign.name} with {steps} steps is not finite: {what} is the first")
    return Unrolled(times, keep, forms, float(times[0]), 0.0)


def read(foreign: Foreign, steps: int) -> Reading:
    """Its table: the forms of its questions, a run on random numbers beside them, and the shortest plan of them."""
    wide = unroll(foreign, steps)
    residual = _residual(foreign, steps, wide)
    try:
        plan, why = wide.plan(foreign.process.schedule), ""
    except UserError as error:
        plan, why = None, str(error)
    return Reading(foreign.name, foreign.rule, foreign.settings, foreign.process, steps, wide, residual, plan, why)


def _count(foreign: Foreign, steps: int) -> tuple[Array, int]:
    """The times of the questions, and how many noises are drawn, on a run of zeros."""
    times: list[float] = []
    drawn = 0

    def answer(x: Tensor, t: float) -> Tensor:
        times.append(t)
        if len(times) > MOST:
            raise UserError(f"{foreign.name} asked more than {MOST} questions in {steps} steps")
        return torch.zeros_like(x)

    def draw(like: Tensor) -> Tensor:
        nonlocal drawn
        drawn += 1
        return torch.zeros_like(like)

    foreign.run(steps, torch.zeros(1, 1, 1, 8, dtype=torch.float64), answer, draw)
    if not times:
        raise UserError(f"{foreign.name} never asked its network in {steps} steps")
    return np.clip(np.array(times), 0.0, 1.0), drawn


def _run(foreign: Foreign, steps: int, start: Tensor, answers: Tensor, noises: Tensor) -> tuple[list[Tensor], Tensor]:
    """The questions and the sample of a run whose answers and noises are given, each a vector."""
    questions: list[Tensor] = []
    left = iter(noises)

    def shaped(vector: Tensor, like: Tensor) -> Tensor:
        return vector.clone().reshape(1, 1, 1, -1).to(like.dtype)  # theirs to write into

    def answer(x: Tensor, t: float) -> Tensor:
        questions.append(x.detach().double().flatten().clone())
        return shaped(answers[len(questions) - 1], x)

    sample = foreign.run(steps, start.clone().reshape(1, 1, 1, -1), answer, lambda like: shaped(next(left), like))
    return questions, sample.detach().double().flatten()


def _residual(foreign: Foreign, steps: int, wide: Unrolled) -> float:
    """The largest difference between a run on random numbers and its linear forms, relative to the run's own size."""
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(wide.forms.shape[1], WIDTH, dtype=torch.float64, generator=generator)
    rows = 1 + wide.rows
    questions, sample = _run(foreign, steps, known[0], known[1:rows], known[rows:])
    found = np.stack([*(q.numpy() for q in questions), sample.numpy()])
    told = wide.forms @ known.numpy()
    size = np.maximum(np.abs(wide.forms) @ np.abs(known.numpy()), 1e-12)  # no cancellation hides what is lost
    return float((np.abs(found - told) / size).max())


__all__ = ["Foreign", "Reading", "read", "unroll"]
