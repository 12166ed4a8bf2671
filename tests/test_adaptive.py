"""The adaptive flow: against an eighth-order solver, both ways, each item alone, and what it refuses."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from oracles import PROCESSES, fine_flow

from unnoise.config import UserError
from unnoise.denoise import exact
from unnoise.denoise.denoiser import Belief
from unnoise.loop.adaptive import Adaptive, flow, follow, integrate, least_time
from unnoise.process import Gaussian
from unnoise.process.level import Level
from unnoise.process.schedules import Cosine, Karras
from unnoise.tensor import Array, Cond, Tensor

COSINE = Gaussian(Cosine())


def blend(process: Gaussian, dim: int = 4) -> exact.Mixture:
    draw = np.random.default_rng(0)
    roots = 0.4 * draw.standard_normal((3, dim, dim))
    covs = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(dim)
    return exact.Mixture(process, [0.5, 0.3, 0.2], draw.standard_normal((3, dim)), covs)


def noised(truth: exact.Mixture, count: int, t: float, dtype: torch.dtype = torch.float64) -> Tensor:
    x0 = torch.from_numpy(truth.draw(count, 1)).to(dtype)
    noise = torch.from_numpy(np.random.default_rng(2).standard_normal(x0.shape)).to(dtype)
    return truth.process.corrupt(x0, truth.process.level(np.full(count, t), x0), noise)


def time_of(process: Gaussian, ratio: float) -> float:
    return float(process.schedule.time(np.array(-2 * np.log(ratio))))


@dataclass(frozen=True)
class Counted:
    """A denoiser that notes how many rows each call had."""

    inner: exact.Mixture
    sizes: list[int]

    @property
    def process(self) -> Gaussian:
        return self.inner.process

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        self.sizes.append(len(x))
        return self.inner(x, level, cond)


def some(*names: str) -> list[Any]:
    """Every process, those not named as slow tests."""
    return [pytest.param(name, marks=[] if name in names else pytest.mark.slow) for name in sorted(PROCESSES)]


@pytest.mark.parametrize("name", some("karras", "flow"))
def test_equals_an_eighth_order_solver(name: str) -> None:
    process = PROCESSES[name]
    truth = blend(process)
    start, end = 0.98, time_of(process, 0.02)
    x = noised(truth, 3, start)

    def denoise(x: Array, t: float) -> Array:
        x_t = torch.from_numpy(x)
        return truth(x_t, process.level(np.full(len(x), t), x_t), {}).x0.numpy()

    wanted = fine_flow(denoise, process.schedule, x.numpy(), start, end)
    assert np.abs(flow(truth, x, start, end, tolerance=3e-11).numpy() - wanted).max() < 1e-9
    loose = np.abs(flow(truth, x, start, end, tolerance=1e-5).numpy() - wanted).max()
    assert loose < 1e-4


@pytest.mark.parametrize("name", some("geometric", "flow_shifted", "discrete_zero_terminal"))
def test_there_and_back(name: str) -> None:
    truth = blend(PROCESSES[name])
    least = least_time(truth.process)
    x = torch.from_numpy(truth.draw(2, 4))
    there = flow(truth, x, least, 1.0, tolerance=1e-9)
    assert (flow(truth, there, 1.0, least, tolerance=1e-9) - x).abs().max() < 1e-6
    assert (there - x).abs().max() > 0.5


def test_the_flow_of_a_normal_law_is_known_from_the_very_noise() -> None:
    draw = np.random.default_rng(5)
    root = draw.standard_normal((3, 3))
    mean, cov = draw.standard_normal(3), root @ root.T
    truth = exact.Normal(COSINE, mean, cov)
    x = torch.from_numpy(draw.standard_normal((4, 3)))
    end = time_of(COSINE, 0.01)
    alpha, sigma = (float(f(np.array(end))) for f in (COSINE.schedule.alpha, COSINE.schedule.sigma))
    values, axes = np.linalg.eigh(cov)
    # x_s = alpha_s·mu + C_s^½·C_1^−½·x_1, and C_1 is I
    wanted = alpha * mean + (x.numpy() @ axes * np.sqrt(alpha**2 * values + sigma**2)) @ axes.T
    assert np.abs(flow(truth, x, 1.0, end, tolerance=1e-11).numpy() - wanted).max() < 1e-9
    single = flow(truth, x.float(), 1.0, end, tolerance=2e-6).double().numpy()
    assert np.abs(single - wanted).max() < 2e-5


def test_to_zero_is_the_belief_at_the_least_noise() -> None:
    truth = blend(COSINE)
    x, least = noised(truth, 5, 0.9), least_time(COSINE)
    above = flow(truth, x, 0.9, least, tolerance=1e-6)
    wanted = truth(above, COSINE.level(np.full(5, least), above), {}).x0
    assert (flow(truth, x, 0.9, 0.0, tolerance=1e-6) - wanted).abs().max() < 1e-12


def test_a_neighbour_changes_no_bit() -> None:
    truth = blend(COSINE)
    x = noised(truth, 24, 0.9, torch.float32)
    whole = flow(truth, x, 0.9, 0.01, places=8)
    for items in ([11, 3], [23, 3, 7, 5, 2]):  # calls are of 4, or of 8
        alone = flow(truth, x[items], 0.9, 0.01, places=8)
        again = flow(truth, torch.cat([x[items], 50 * x[:12]]), 0.9, 0.01, places=8)[: len(items)]
        assert torch.equal(again, whole[items])
        if len(items) > 4:
            assert torch.equal(alone, whole[items])
        assert (alone - whole[items]).abs().max() < 1e-5


def test_items_take_their_own_steps_in_calls_of_one_size() -> None:
    counted = Counted(blend(COSINE), [])
    x = noised(counted.inner, 21, 0.9)
    arrived = list(follow(counted, x, 0.9, 0.01, Adaptive(1e-7), places=8))
    assert sorted(one.item for one in arrived) == list(range(21))
    assert set(counted.sizes) == {8}
    asked = [one.evaluations for one in arrived]
    assert len(set(asked)) > 3
    assert sum(asked) <= 8 * len(counted.sizes)
    assert 8 * len(counted.sizes) < 1.4 * sum(asked)  # places do not stand empty while others wait


def test_the_tolerance_is_met_and_costs_by_the_fifth_order() -> None:
    truth = blend(COSINE)
    x = noised(truth, 4, 0.95)
    fine = flow(truth, x, 0.95, 0.01, tolerance=1e-11)
    asked: list[float] = []
    for tolerance in (1e-5, 1e-7, 1e-9):
        arrived = sorted(follow(truth, x, 0.95, 0.01, Adaptive(tolerance)), key=lambda one: one.item)
        assert (torch.stack([one.x for one in arrived]) - fine).abs().max() < 20 * tolerance
        asked.append(float(np.mean([one.evaluations for one in arrived])))
    grown = np.diff(np.log(asked)) / np.log(100)
    assert np.all((grown > 0.12) & (grown < 0.22)), grown  # 1/5


def test_integrals_beside_are_followed_too() -> None:
    truth = blend(COSINE)
    x = noised(truth, 5, 0.9)
    count = 5

    def field(x: Tensor, level: Level, cond: Cond, items: Tensor) -> tuple[Tensor, Tensor]:
        u = -torch.asinh(level.alpha / level.sigma)
        return truth(x, level, cond).x0, torch.stack([u.cos(), cond["own"] + items], 1)

    ends = [
        -float(np.arcsinh(COSINE.schedule.alpha(np.array(t)) / COSINE.schedule.sigma(np.array(t)))) for t in (0.9, 0.1)
    ]
    own = torch.arange(count, dtype=torch.float64)
    for one in integrate(COSINE, field, x, 0.9, 0.1, Adaptive(1e-10), {"own": own}, beside=2):
        wanted = [np.sin(ends[1]) - np.sin(ends[0]), 2 * one.item * (ends[1] - ends[0])]
        assert np.abs(one.told.numpy() - wanted).max() < 1e-9


def test_conditions_stay_with_their_items() -> None:
    draw = np.random.default_rng(3)
    means = np.array([[-1.0, 0.0], [1.0, 0.0]])
    truth = exact.Mixture(COSINE, [1, 1], means, np.tile(0.01 * np.eye(2), (2, 1, 1)), [0, 1])
    x = torch.from_numpy(draw.standard_normal((12, 2)))
    label = torch.from_numpy(draw.integers(0, 2, 12))
    found = flow(truth, x, 1.0, 0.0, tolerance=1e-3, cond={"label": label}, places=4)
    assert torch.equal((found[:, 0] > 0).long(), label)
    free = flow(truth, x, 1.0, 0.0, tolerance=1e-3)
    assert not torch.equal((free[:, 0] > 0).long(), label)


def test_what_it_refuses() -> None:
    truth = blend(COSINE)
    x = noised(truth, 3, 0.9)
    with pytest.raises(UserError, match="no noise to flow from"):
        flow(truth, x, 0.0, 1.0)
    with pytest.raises(UserError, match="times run from 0"):
        flow(truth, x, 1.5, 0.1)
    with pytest.raises(UserError, match="float32 keeps no tolerance below 1e-06"):
        flow(truth, x.float(), 0.9, 0.1, tolerance=1e-8)
    with pytest.raises(UserError, match="a tolerance lies between 0 and 1"):
        flow(truth, x, 0.9, 0.1, tolerance=0.0)
    with pytest.raises(UserError, match=r"item \d .* stands at t = .* after \d+ evaluations"):
        flow(truth, x, 0.9, 0.01, tolerance=1e-10, evaluations=40)
    broken = exact.Normal(COSINE, np.zeros(4), np.eye(4))
    with pytest.raises(UserError, match=r"item 1 .* breaks off at t = 0.9"):
        flow(broken, torch.where(torch.arange(3)[:, None] == 1, torch.nan, x), 0.9, 0.1)


def test_nothing_to_do() -> None:
    truth = blend(Gaussian(Karras()))
    x = noised(truth, 3, 0.5)
    assert (flow(truth, x, 0.5, 0.5) - x).abs().max() < 1e-12
    assert flow(truth, x[:0], 0.5, 0.1).shape == (0, 4)
