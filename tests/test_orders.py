"""Every sampler of the table has the order it promises, against closed forms, in float64."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from oracles import OPTIONS, PROCESSES, SHAPES, Scalar, every, fine_flow, named, open_grid, slopes

import unnoise as un
from unnoise.denoise import exact
from unnoise.process.level import Level
from unnoise.samplers.moments import exact_factor, flow_factor, gaussian_moments
from unnoise.samplers.table import SAMPLERS

MEAN, VARIANCE = np.array([0.3, -1.0, 0.7]), np.array([0.05, 0.6, 2.0])


def promised(rule: tuple[str, dict[str, Any]]) -> int:
    return SAMPLERS[rule[0]].promised(**rule[1])


def shapes(rules: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """One rule of every shape; the others with the slow tests."""
    return [pytest.param(r, id=named(r), marks=[] if r[0] in SHAPES else pytest.mark.slow) for r in rules]


def turns(rules: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Every rule on a process, in turn over the processes; every pair, over four doublings, with the slow tests."""
    quick = [(rule, list(PROCESSES)[k % len(PROCESSES)], 1) for k, rule in enumerate(rules)]
    whole = [(rule, name, 4) for rule in rules for name in PROCESSES]
    marks = [[]] * len(quick) + [pytest.mark.slow] * len(whole)
    ids = [f"{named(rule)}-{name}-{doublings}" for rule, name, doublings in quick + whole]
    return [pytest.param(*case, id=i, marks=m) for case, i, m in zip(quick + whole, ids, marks, strict=True)]


DETERMINISTIC, STOCHASTIC = list(every(stochastic=False)), [r for r in every(stochastic=True) if promised(r)]
# Where slopes are looked at: rules of high order, and rules whose noise is capped or whose start is long, come late.
FIRST = {
    "dpmpp_3m_published": 64,
    "lms_4": 64,
    "deis_3": 128,
    "er_sde_3": 64,
    "dpmpp_3m_sde": 128,
    "edm": 128,
    "sa_solver": 64,
}


def _rotated(process: un.Gaussian, seed: int = 0) -> tuple[exact.Normal, np.ndarray]:
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return exact.Normal(process, MEAN, (axes * VARIANCE) @ axes.T), axes


def _flow_error(name: str, options: dict[str, float], process: un.Gaussian, steps: int) -> float:
    plan = un.plan(name, process, grid=open_grid(process.schedule, steps), **options)
    factor, center = flow_factor(plan, process.schedule, MEAN, VARIANCE)
    alpha = process.schedule.alpha(np.array(plan.end))
    truth = exact_factor(plan, process.schedule, VARIANCE)
    return float(np.linalg.norm(factor - truth) + np.linalg.norm(center - alpha * MEAN))


@pytest.mark.parametrize(("rule", "name", "doublings"), turns(DETERMINISTIC))
def test_order_of_the_flow_by_algebra(rule, name, doublings):
    if name.startswith("discrete") and rule == ("deis_3", {}):
        pytest.skip("between the integers of a chain logSNR has kinks in t: see the test of deis on a chain")
    process, order = PROCESSES[name], promised(rule)
    first = FIRST.get(rule[0], 32 if order > 2 else 16) * (2 if doublings == 1 else 1)
    found = slopes(lambda n: _flow_error(*rule, process, n), first, doublings)
    assert all(order - 0.1 <= slope <= order + 0.35 for slope in found), found


@pytest.mark.parametrize("rule", shapes(DETERMINISTIC))
def test_order_of_samples_of_a_rotated_gaussian(rule):
    process, order = PROCESSES["cosine"], promised(rule)
    truth, _ = _rotated(process)
    generator = torch.Generator().manual_seed(0)

    def error(steps: int) -> float:
        plan = un.plan(rule[0], process, grid=open_grid(process.schedule, steps), **rule[1])
        start = 3 * torch.randn(8, 3, dtype=torch.float64, generator=generator.manual_seed(0))
        x = un.sample(truth, plan, (3,), range(8), start=start)
        return float((x - truth.flow(start, plan.start, plan.end)).norm())

    found = slopes(error, FIRST.get(rule[0], 32 if order > 2 else 16), doublings=4)
    assert all(order - 0.1 <= slope <= order + 0.35 for slope in found), found


@cache
def _mixture(name: str) -> tuple[exact.Mixture, np.ndarray, np.ndarray]:
    """A mixture in the plane under a process, where 32 paths start, and where they end."""
    process, rng = PROCESSES[name], np.random.default_rng(1)
    truth = exact.Mixture(process, [0.5, 0.3, 0.2], rng.normal(size=(3, 2)), np.stack([np.eye(2) * 0.2] * 3))
    start, end = open_grid(process.schedule, 1)
    alpha, sigma = (float(f(np.array(start))) for f in (process.schedule.alpha, process.schedule.sigma))
    x = np.hypot(alpha, sigma) * rng.normal(size=(32, 2))

    def denoise(x: np.ndarray, t: float) -> np.ndarray:
        like = torch.from_numpy(x)
        return truth(like, process.level(np.full(len(x), t), like), {}).x0.numpy()

    return truth, x, fine_flow(denoise, process.schedule, x, start, end)


def everywhere() -> list[Any]:
    """One rule of every shape on the flow, in turn on the other processes; all pairs with the slow tests."""
    shaped = [rule for rule in DETERMINISTIC if rule[0] in SHAPES]
    quick = [("flow", rule, 3) for rule in shaped]
    others = [name for name in PROCESSES if name != "flow"]
    quick += [(name, shaped[k % len(shaped)], 2) for k, name in enumerate(others)]
    whole = [(name, rule, 4) for name in PROCESSES for rule in DETERMINISTIC]
    marks = [[]] * len(quick) + [pytest.mark.slow] * len(whole)
    ids = [f"{name}-{named(rule)}-{doublings}" for name, rule, doublings in quick + whole]
    return [pytest.param(*case, id=i, marks=m) for case, i, m in zip(quick + whole, ids, marks, strict=True)]


@pytest.mark.parametrize(("name", "rule", "doublings"), everywhere())
def test_order_on_a_mixture_in_the_median(name, rule, doublings):
    if name.startswith("discrete") and rule == ("deis_3", {}):
        pytest.skip("between the integers of a chain logSNR has kinks in t: see the test of deis on a chain")
    (truth, x, fine), order = _mixture(name), promised(rule)

    def error(steps: int) -> float:
        plan = un.plan(rule[0], truth.process, grid=open_grid(truth.process.schedule, steps), **rule[1])
        found = un.sample(truth, plan, (2,), range(32), start=torch.from_numpy(x)).numpy()
        return float(np.median(np.linalg.norm(found - fine, axis=1)))

    first = FIRST.get(rule[0], 32 if order > 2 else 16) * 2 ** max(0, 3 - doublings)
    found = slopes(error, first, doublings)
    assert all(order - 0.1 <= slope <= order + 0.35 for slope in found), found


@pytest.mark.parametrize(("rule", "name", "doublings"), turns(STOCHASTIC))
def test_order_of_the_variance_by_algebra(rule, name, doublings):
    process, order = PROCESSES[name], promised(rule)

    def error(steps: int) -> float:
        plan = un.plan(rule[0], process, grid=open_grid(process.schedule, steps), **rule[1])
        mean, variance = gaussian_moments(plan, process.schedule, MEAN, VARIANCE)
        end = np.array(plan.end)
        alpha, sigma = process.schedule.alpha(end), process.schedule.sigma(end)
        return float(np.linalg.norm(variance - (alpha**2 * VARIANCE + sigma**2)) + np.linalg.norm(mean - alpha * MEAN))

    found = slopes(error, FIRST.get(rule[0], 32) * (2 if doublings == 1 else 1), doublings)
    assert all(slope >= order - 0.1 for slope in found), found


@pytest.mark.parametrize("rule", shapes(list(every())))
def test_algebra_equals_samples(rule):
    """Seed 0: 10^5 samples agree with the exact mean and variance within 4 standard errors."""
    process = PROCESSES["sigmoid"]
    truth = Scalar(process, 0.4, 0.3)
    plan = un.plan(rule[0], process, steps=6, **rule[1])
    x = un.sample(truth, plan, (1000,), range(100)).double()
    mean, variance = gaussian_moments(plan, process.schedule, np.array([0.4]), np.array([0.3]), exact_start=False)
    count = x.numel()
    assert abs(float(x.mean()) - mean[0]) < 4 * np.sqrt(variance[0] / count)
    assert abs(float(x.var()) - variance[0]) < 4 * variance[0] * np.sqrt(2 / count)


@pytest.mark.parametrize("rule", shapes(DETERMINISTIC))
def test_algebra_equals_a_run(rule):
    process = PROCESSES["geometric"]
    truth, axes = _rotated(process)
    plan = un.plan(rule[0], process, steps=7, **rule[1])
    start = torch.from_numpy(np.random.default_rng(2).normal(size=(5, 3)) * 50)
    x = un.sample(truth, plan, (3,), range(5), start=start).numpy()
    factor, center = flow_factor(plan, process.schedule, MEAN @ axes, VARIANCE)
    alpha = process.schedule.alpha(np.array(plan.start))
    np.testing.assert_allclose(x @ axes, factor * (start.numpy() @ axes - alpha * (MEAN @ axes)) + center, rtol=1e-10)


@pytest.mark.parametrize("rule", shapes(DETERMINISTIC))
def test_step_onto_zero_is_first_order_and_has_a_floor(rule):
    """A grid that ends at 0 jumps from the span's least ratio r in one Euler step.

    Where the path before it is fine, what is left of the flow's factor is the jump's own error,
    r²/(2·variance) of it: a floor that no number of steps lowers, and no lost order.
    """
    process = PROCESSES["karras"]
    low = 0.05
    inner = open_grid(process.schedule, 1500, low=low)
    plan = un.plan(rule[0], process, grid=np.append(inner, 0.0), **rule[1])
    factor, _ = flow_factor(plan, process.schedule, MEAN, VARIANCE)
    relative = 1 - factor / exact_factor(plan, process.schedule, VARIANCE)
    path = {1: 5e-3, 2: 1e-4}.get(promised(rule), 1e-5)
    np.testing.assert_allclose(relative, low**2 / (2 * VARIANCE), rtol=0.05, atol=path)


@pytest.mark.parametrize("rule", shapes([r for r in DETERMINISTIC if promised(r) <= 2]))
def test_production_grid_reaches_its_floor_at_its_order(rule):
    """Named grids end at 0; down to the floor of the last jump errors still fall at the rule's order."""
    process, order = PROCESSES["karras"], promised(rule)

    def error(steps: int) -> float:
        plan = un.plan(rule[0], process, steps=steps, grid="karras", **rule[1])
        factor, _ = flow_factor(plan, process.schedule, MEAN[1:], VARIANCE[1:])
        return float(np.linalg.norm(factor / exact_factor(plan, process.schedule, VARIANCE[1:]) - 1))

    floor = float(np.linalg.norm(0.002**2 / (2 * VARIANCE[1:])))
    late = rule[0] == "dpmpp_3m_published"  # up to 128 steps its errors cancel: one doubling is above the floor
    found = slopes(error, 128 if late else 16, 1 if late else 4, floor=10 * floor)
    assert all(order - 0.15 <= slope <= order + 0.5 for slope in found), found


def test_closed_forms_of_the_tests_agree():
    """The scalar belief, the rotated one and the fine solver tell the same story."""
    process = PROCESSES["scaled_linear"]
    truth, _ = _rotated(process)
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(4, 3)))
    level = process.level(np.full(4, 0.4), x)
    one = exact.Normal(process, np.full(3, 0.4), 0.3 * np.eye(3))
    np.testing.assert_allclose(one(x, level, {}).x0, Scalar(process, 0.4, 0.3)(x, level, {}).x0, rtol=1e-12)

    def denoise(x: np.ndarray, t: float) -> np.ndarray:
        like = torch.from_numpy(x)
        return truth(like, Level.at(process.schedule, np.full(len(x), t), like), {}).x0.numpy()

    start, end = open_grid(process.schedule, 1)
    np.testing.assert_allclose(
        fine_flow(denoise, process.schedule, x.numpy(), start, end), truth.flow(x, start, end), rtol=1e-8
    )


def test_every_option_under_test_belongs_to_a_sampler():
    assert set(OPTIONS) <= set(SAMPLERS)
