"""Plans drawn at random over rules, options, processes, grids and step counts: none raises or leaves noise behind."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from oracles import PROCESSES, every

import unnoise as un
from unnoise.config import UserError
from unnoise.process import Gaussian
from unnoise.samplers.grid import GRIDS
from unnoise.samplers.moments import gaussian_moments
from unnoise.samplers.plan import Plan

RISES = ("edm", "restart")  # their rules put noise back: their times rise on purpose


@dataclass
class Swept:
    """How many combinations were drawn, how many of them differ, how many have a thousand steps, and what failed."""

    drawn: int = 0
    longest: int = 0
    distinct: set[tuple[object, ...]] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.drawn} combinations drawn, {len(self.distinct)} of them distinct, "
            f"{self.longest} of 1000 steps: {len(self.failed)} failed"
        )


def sweep(count: int, seed: int, share: float) -> Swept:
    """Draws `count` combinations, a share of 1000 steps, the others of 1 to 39, mostly few; holds each to `fault`."""
    rng, swept = np.random.default_rng(seed), Swept()
    rules, grids, processes = list(every()), list(GRIDS), list(PROCESSES)
    for _ in range(count):
        name, options = rules[rng.integers(len(rules))]
        process, grid = processes[rng.integers(len(processes))], grids[rng.integers(len(grids))]
        steps = 1000 if rng.random() < share else int(40 ** rng.random())
        asked = (name, *options.items(), process, grid, steps)
        swept.drawn += 1
        swept.longest += steps == 1000
        swept.distinct.add(asked)
        try:
            plan = un.plan(name, PROCESSES[process], steps=steps, grid=grid, **options)
            found = fault(plan, PROCESSES[process], name)
        except Exception as error:  # whatever it raises is what is looked for
            found = f"{type(error).__name__}: {error}"
        if found:
            swept.failed.append(f"{asked}: {found}")
    return swept


def fault(plan: Plan, process: Gaussian, name: str) -> str:
    """What is wrong with a plan of a named grid, in words; "" where nothing is."""
    if not all(np.isfinite(part).all() for part in (plan.t, plan.to, plan.keep, plan.base, plan.ask, plan.weight)):
        return "not finite"
    if plan.end != 0 or plan.draws(plan.rows - 1):
        return f"ends at {plan.end} and draws noise in its last step: {plan.draws(plan.rows - 1)}"
    if name not in RISES and np.any(np.diff(plan.t) > 0):
        return "times rise"
    if plan.rows <= 120:  # data that is one point: a clean sample has no variance left
        mean, left = gaussian_moments(plan, process.schedule, np.array([0.7]), np.array([1e-30]))
        if not (left[0] < 1e-12 and abs(mean[0] - 0.7) < 1e-6):
            return f"a point at 0.7 is sampled with mean {mean[0]} and variance {left[0]}"
    return ""


def _clean(count: int, seed: int, share: float, capsys: pytest.CaptureFixture[str]) -> None:
    swept = sweep(count, seed, share)
    with capsys.disabled():
        print(f"\nseed {seed}: {swept}")
    assert not swept.failed, swept.failed[:10]


def test_five_thousand_combinations_are_clean(capsys):
    _clean(5_000, 0, 0.0, capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_combinations_are_clean(capsys):
    """A twentieth of them of 1000 steps."""
    _clean(100_000, 1, 0.05, capsys)


@pytest.mark.parametrize("broken", ["noise", "mean", "infinite", "rising"])
def test_a_broken_plan_is_found(broken):
    """What the sweep looks for it sees."""
    process = PROCESSES["linear"]
    plan = un.plan("ddim", process, steps=5, grid="karras")
    table = {name: np.array(value) for name, value in plan.to_dict().items()}
    if broken == "noise":
        table["base"][-1] = table["ask"][-1] = [1e-3, 1, 0]
    elif broken == "mean":
        table["base"][-1] = table["ask"][-1] = [0, 1.01, 0]
    elif broken == "rising":
        table["t"][[1, 2]] = table["t"][[2, 1]]
    if broken == "infinite":
        table["base"][0, 0] = np.inf
        with pytest.raises(UserError, match="finite"):
            Plan.from_dict(table)
    else:
        assert fault(Plan.from_dict(table), process, "ddim")
