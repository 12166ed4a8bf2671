"""Seventeen known traps of samplers, one test each: what other code fell into, this code is held out of."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from oracles import PROCESSES, Scalar, every, open_grid, slopes

import unnoise as un
from unnoise.config import UserError
from unnoise.denoise.denoiser import Belief
from unnoise.guide.cfg import CFG
from unnoise.process import schedules
from unnoise.samplers.grid import GRIDS, times
from unnoise.samplers.moments import exact_factor, flow_factor, gaussian_moments
from unnoise.samplers.plan import Plan
from unnoise.samplers.table import SAMPLERS

KARRAS, LINEAR, CHAIN = PROCESSES["karras"], PROCESSES["linear"], PROCESSES["discrete"]
VARIANCE = np.array([0.05, 0.6, 2.0])


class Zero(un.nets.Net):
    """A network of no weights that answers 0."""

    def __init__(self) -> None:
        super().__init__((2,), 0)

    def forward(self, x, noise_level, cond):
        return torch.zeros_like(x)


def _error(plan: Plan, process: un.Gaussian = KARRAS) -> float:
    factor, _ = flow_factor(plan, process.schedule, np.zeros(3), VARIANCE)
    return float(np.linalg.norm(factor - exact_factor(plan, process.schedule, VARIANCE)))


def _left(plan: Plan, process: un.Gaussian) -> float:
    """The variance of samples of data that is one point."""
    return float(gaussian_moments(plan, process.schedule, np.array([0.7]), np.array([1e-30]))[1][0])


def test_trap_01_no_noise_is_left_at_the_end():
    """Grids end at sigma = 0, not at sigma_min; one that is told to end there leaves just that noise."""
    for name, options in every():
        plan = un.plan(name, LINEAR, steps=6, **options)
        assert plan.end == 0
        assert _left(plan, LINEAR) < 1e-12, name
    short = un.plan("ddim", LINEAR, grid=times("karras", LINEAR.schedule, 6)[:-1])
    assert _left(short, LINEAR) == pytest.approx(float(LINEAR.schedule.sigma(np.array(short.end))) ** 2, rel=1e-6)


def test_trap_02_a_step_of_high_order_onto_zero_takes_no_logarithm_of_it():
    for name, options in every():
        plan = un.plan(name, KARRAS, steps=8, **options)
        assert np.isfinite(plan.base).all(), name
        if name != "consistency":
            assert plan.base[-1, 1 + int(plan.slot[-1])] == pytest.approx(1, abs=1e-12), name


@pytest.mark.parametrize("steps", [4, 5, 14, 15, 16])
def test_trap_03_the_last_order_is_lowered_at_even_and_odd_counts(steps):
    for name in ("dpmpp_2m", "dpmpp_3m", "unipc_3", "deis_3", "lms_4", "dpmpp_2m_sde"):
        plan = un.plan(name, LINEAR, steps=steps)
        others = np.delete(plan.base[-1], 1 + int(plan.slot[-1]))
        np.testing.assert_allclose(others, 0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("grid", ["trailing", "linspace", "leading"])
@pytest.mark.parametrize("steps", [7, 10, 30])
def test_trap_04_the_previous_time_is_the_grids_own(grid, steps):
    """Not t − T//n: every question stands at the noise that it is told, by the sums of the plan's own columns."""
    plan, schedule = un.plan("ddim", CHAIN, steps=steps, grid=grid), CHAIN.schedule
    assert plan.t.tolist() == times(grid, schedule, steps)[:-1].tolist()
    alpha, sigma = schedule.alpha(plan.t), schedule.sigma(plan.t)
    for row in range(steps - 1):  # x = alpha·c + sigma·eps is carried onto the next time's own
        x, data, _ = plan.base[row]
        assert x * alpha[row] + data == pytest.approx(alpha[row + 1], rel=1e-9)
        assert x * sigma[row] == pytest.approx(sigma[row + 1], rel=1e-9)


@pytest.mark.parametrize("name", ["flow", "zero_terminal", "discrete_zero_terminal"])
def test_trap_05_a_noise_target_with_zero_terminal_snr_is_refused(name):
    for target in ("noise", "score"):
        with pytest.raises(UserError, match=f"target '{target}' cannot stand with a schedule that ends at alpha"):
            un.denoiser(Zero(), PROCESSES[name], target)


@pytest.mark.parametrize("grid", GRIDS)
def test_trap_06_no_time_stands_twice(grid):
    for process in (CHAIN, PROCESSES["discrete_zero_terminal"], PROCESSES["cosine"]):
        for steps in (3, 40, 1000):
            assert np.all(np.diff(times(grid, process.schedule, steps)) < 0)
    with pytest.raises(UserError, match="fall strictly"):
        un.plan("ddim", CHAIN, grid=[1.0, 0.4, 0.4, 0.0])


def test_trap_07_one_step_is_a_plan():
    for process in (KARRAS, CHAIN, PROCESSES["flow"]):
        for name, options in every():
            plan = un.plan(name, process, steps=1, **options)
            assert np.isfinite(plan.base).all()
            assert _left(plan, process) < 1e-12, name


def test_trap_08_heuns_second_stage_divides_by_its_own_sigma():
    """One step of the Riccati factor by hand; with the first stage's sigma twice the order would fall to one."""
    schedule, (a, b), v = KARRAS.schedule, (3.0, 2.0), 0.6
    plan = un.plan("heun", KARRAS, grid=schedule.time(-2 * np.log(np.array([a, b]))))
    first = a / (v + a * a)
    ahead = 1 + (b - a) * first
    wanted = 1 + (b - a) / 2 * (first + ahead * b / (v + b * b))
    factor, _ = flow_factor(plan, schedule, np.zeros(1), np.array([v]))
    assert factor[0] == pytest.approx(wanted, rel=1e-7)
    found = slopes(lambda n: _error(un.plan("heun", KARRAS, grid=open_grid(schedule, n))), 32, 2, 0)
    assert found[-1] == pytest.approx(2, abs=0.1)


def test_trap_09_tables_of_a_thousand_steps_lose_no_digit():
    """Against exact rational arithmetic, and third-order weights that add up to a constant's own integral."""
    flow = PROCESSES["flow"]
    plan = un.plan("ddim", flow, steps=1000, grid="time")
    for row in (1, 500, 998):
        t, s = Fraction(1000 - row, 1000), Fraction(999 - row, 1000)
        np.testing.assert_allclose(plan.base[row], [float(s / t), float(1 - s - s / t * (1 - t)), 0], rtol=1e-11)
    for name in ("dpmpp_3m", "unip_4"):
        table = un.plan(name, flow, grid=np.linspace(0.9, 0.1, 1001), start="multistep")
        t, s = table.t[10:-1], table.t[11:]
        np.testing.assert_allclose(table.base[10:-1, 1:-1].sum(axis=1), (1 - s) - s / t * (1 - t), rtol=1e-9)


def test_trap_10_the_first_level_survives_half_precision():
    for schedule in (schedules.Discrete(schedules.Linear()), schedules.Discrete(schedules.Cosine())):
        level = un.Gaussian(schedule).level(np.array([1e-3, 2e-3]), torch.zeros(1, dtype=torch.float16))
        np.testing.assert_allclose(level.sigma.double(), schedule.sigma(np.array([1e-3, 2e-3])), rtol=1e-3)


@pytest.mark.parametrize("name", ["dpmpp_3m", "unipc_3", "pndm", "sa_solver", "er_sde_3"])
def test_trap_11_a_sampler_remembers_nothing(name):
    """One plan by two callers in turn, and once more: the same bits."""
    plan, truth = un.plan(name, LINEAR, steps=6), Scalar(LINEAR, 0.3, 0.4)
    both = list(zip(*(un.generate(truth, plan, (3,), [1, 2]) for _ in range(2)), strict=True))
    again = un.sample(truth, plan, (3,), [1, 2])
    assert all(torch.equal(state.base, again) for state, _ in both[-1])


def test_trap_12_the_jump_from_the_least_sigma_has_a_floor_and_no_lost_order():
    """From sigma/alpha = r what is left of the factor is r²/(2·variance), however many steps went before."""
    for low in (0.05, 0.02):
        for name, within in (("heun", 0.05), ("dpmpp_3m", 0.02)):
            inner = open_grid(KARRAS.schedule, 800, low=low)
            plan = un.plan(name, KARRAS, grid=np.append(inner, 0.0))
            factor, _ = flow_factor(plan, KARRAS.schedule, np.zeros(2), VARIANCE[1:])
            off = 1 - factor / exact_factor(plan, KARRAS.schedule, VARIANCE[1:])
            np.testing.assert_allclose(off, low**2 / (2 * VARIANCE[1:]), rtol=within, atol=2e-5)


@pytest.mark.parametrize("name", ["langevin", "predictor_corrector"])
def test_trap_13_a_langevin_step_is_affine_and_hears_no_norm(name):
    """Its size is 2·(snr·sigma)²: an item's sample is the same, bit for bit, beside others of any norm."""
    plan, truth = un.plan(name, KARRAS, steps=6), Scalar(KARRAS, 0.0, 1.0)
    x = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(2, 4)
    small, large = (un.sample(truth, plan, (4,), [0, 1], start=x * torch.tensor([[1.0], [k]])) for k in (1, 1000))
    assert torch.equal(small[0], large[0])


def test_trap_14_weight_1_is_the_conditional_bit_for_bit():
    class Told:
        process = LINEAR

        def __call__(self, x, level, cond):
            return Belief(torch.sin(x * (1.1 + cond["label"][:, None])) / 3)

    x = torch.linspace(-2, 2, 12, dtype=torch.float32).reshape(4, 3)
    level, label = LINEAR.level(np.full(4, 0.5), x), {"label": torch.tensor([0, 1, 0, 1])}
    plain = Told()(x, level, label).x0
    assert torch.equal(CFG(Told(), {"label": 2}, 1.0)(x, level, label).x0, plain)
    assert torch.equal(CFG(Told(), {"label": 2}, 7.0)(x, level, {**label, "guidance": torch.ones(4)}).x0, plain)


@pytest.mark.parametrize("name", PROCESSES)
def test_trap_15_inversion_starts_at_the_spans_minimum(name):
    process = PROCESSES[name]
    plan = un.plan("ddim", process, steps=7, reverse=True)
    ratio = math.exp(-float(process.schedule.logsnr(np.array(plan.start))) / 2)
    assert ratio == pytest.approx(process.schedule.span[0], rel=1e-5)
    assert np.isfinite(plan.base).all()
    with pytest.raises(UserError):
        un.plan("ddim", process, grid=[0.0, 0.5, 1.0])


def test_trap_16_a_wrong_formula_that_is_finite_is_found_by_its_order():
    """2M with half of its second answer: shaped right, finite, close by, exact for constants, of order one."""

    def wrong(steps: int) -> Plan:
        plan = un.plan("dpmpp_2m", KARRAS, grid=open_grid(KARRAS.schedule, steps))
        table = {name: np.array(value) for name, value in plan.to_dict().items()}
        for row in range(1, steps):
            new, old = 1 + int(plan.slot[row]), 1 + int(plan.slot[row - 1])
            for part in ("base", "ask"):
                half = table[part][row, old] / 2
                table[part][row, old] -= half
                table[part][row, new] += half
        return Plan.from_dict(table)

    assert _error(wrong(40)) < 0.1
    assert slopes(lambda n: _error(wrong(n)), 64, 2, 0)[-1] == pytest.approx(1, abs=0.15)
    right = slopes(lambda n: _error(un.plan("dpmpp_2m", KARRAS, grid=open_grid(KARRAS.schedule, n))), 64, 2, 0)
    assert right[-1] == pytest.approx(SAMPLERS["dpmpp_2m"].promised(), abs=0.1)


@pytest.mark.parametrize("steps", [5, 10, 20])
def test_trap_17_betas_of_a_short_chain_stay_below_one(steps):
    """Linear betas scaled by 1000/T would reach 2 at T = 10."""
    for name in ("linear", "scaled_linear", "cosine", "quadratic"):
        betas = schedules.Discrete(schedules.SCHEDULES[name](), steps).beta
        assert np.all((betas > 0) & (betas < 1)), name
