"""Schedules equal the textbook's arrays, invert, and compose: the chain is the direct jump."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unnoise import rng
from unnoise.config import UserError
from unnoise.process import SCHEDULES, Gaussian, Level, schedules
from unnoise.process.level import posterior_mean

LENGTHS = (10, 50, 100, 1000, 4000)
LIKE = torch.zeros(1, dtype=torch.float64)


def _scaled(betas, T):
    return np.minimum(np.asarray(betas) * 1000 / T, 0.999)


def _cosine(T, s=0.008, least=0.0):
    def f(t):
        return np.cos((t + s) / (1 + s) * np.pi / 2) ** 2

    return np.array([max(min(1 - f((k + 1) / T) / f(k / T), 0.999), least) for k in range(T)])


# The textbook's arrays, written from the papers.
BETAS = {
    "linear": lambda T: _scaled([1e-4 + (0.02 - 1e-4) * k / (T - 1) for k in range(T)], T),
    "scaled_linear": lambda T: _scaled(np.linspace(0.00085**0.5, 0.012**0.5, T) ** 2, T),
    "quadratic": lambda T: _scaled(np.linspace(1e-4**0.5, 0.02**0.5, T) ** 2, T),
    "exponential": lambda T: _scaled([1e-4 * (0.02 / 1e-4) ** (k / T) for k in range(1, T + 1)], T),
    "sigmoid": lambda T: _scaled(1e-4 + (0.02 - 1e-4) / (1 + np.exp(-np.linspace(-6, 6, T))), T),
    "cosine": _cosine,
}
PRESERVING = tuple(BETAS)


def every_schedule():
    """Each kind of the table, and what is made of it: {name: schedule}."""
    plain = {name: SCHEDULES[name]() for name in SCHEDULES if name not in ("zero_terminal", "sub_vp", "discrete")}
    made = dict(plain)
    for name in PRESERVING:
        made[f"{name}, zero terminal"] = schedules.ZeroTerminal(plain[name])
        made[f"{name}, sub-VP"] = schedules.SubVP(plain[name])
        made[f"{name}, 1000 steps"] = schedules.Discrete(plain[name])
    made["linear, 10 steps"] = schedules.Discrete(plain["linear"], 10)
    made["cosine, 50 steps"] = schedules.Discrete(plain["cosine"], 50)
    made["linear, zero terminal, 100 steps"] = schedules.Discrete(schedules.ZeroTerminal(plain["linear"]), 100)
    made["linear, 100 steps, zero terminal"] = schedules.ZeroTerminal(schedules.Discrete(plain["linear"], 100))
    made["linear, 10 steps, sub-VP"] = schedules.SubVP(made["linear, 10 steps"])
    made["flow, shift 3"] = schedules.Flow(3.0)
    made["cosine, clipped below"] = schedules.Discrete(schedules.Cosine(least=1e-4))
    return made


EVERY = every_schedule()
over_all = pytest.mark.parametrize("schedule", EVERY.values(), ids=EVERY.keys())


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("name", PRESERVING)
def test_the_arrays_are_the_textbooks(name, T):
    chain, betas = schedules.Discrete(SCHEDULES[name](), T), BETAS[name](T)
    abar = np.cumprod(1 - betas)
    k = np.arange(1, T + 1) / T
    np.testing.assert_allclose(chain.beta, betas, rtol=0, atol=1e-12)
    np.testing.assert_allclose(chain.abar, np.append(1.0, abar), rtol=0, atol=1e-12)
    np.testing.assert_allclose(chain.alpha(k), np.sqrt(abar), rtol=0, atol=1e-12)
    np.testing.assert_allclose(chain.sigma(k), np.sqrt(1 - abar), rtol=0, atol=1e-12)
    np.testing.assert_allclose(chain.alpha(k)[-3:], np.sqrt(abar)[-3:], rtol=1e-9)  # small, and told exactly
    assert chain.alpha(np.array(0.0)) == 1
    assert chain.sigma(np.array(0.0)) == 0


def test_the_cosine_clips_below_where_asked():
    np.testing.assert_allclose(
        schedules.Discrete(schedules.Cosine(least=1e-4)).beta, _cosine(1000, least=1e-4), rtol=0, atol=1e-12
    )
    assert schedules.Discrete(schedules.Cosine()).beta.min() < 5e-5


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("name", PRESERVING)
def test_zero_terminal_arrays_are_the_papers(name, T):
    root = np.sqrt(np.cumprod(1 - BETAS[name](T)))  # Lin et al., 2024, Algorithm 1
    first, last = root[0], root[-1]
    root = (root - last) * first / (first - last)
    alphas = root**2 / np.append(1.0, root[:-1] ** 2)
    chain = schedules.Discrete(schedules.ZeroTerminal(SCHEDULES[name]()), T)
    np.testing.assert_allclose(chain.beta, 1 - alphas, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.sqrt(chain.abar[1:]), root, rtol=0, atol=1e-12)
    assert chain.beta[-1] == 1
    assert chain.alpha(np.array(1.0)) == 0
    assert chain.abar[1] == pytest.approx(1 - BETAS[name](T)[0], abs=1e-12)  # the first is kept


@pytest.mark.parametrize("name", PRESERVING)
def test_zero_terminal_is_exact_at_the_end_and_affine_in_alpha(name):
    base, t = SCHEDULES[name](), np.linspace(0, 1, 1001)
    made = schedules.ZeroTerminal(base)
    last = base.alpha(np.array(1.0))
    np.testing.assert_allclose(made.alpha(t), (base.alpha(t) - last) / (1 - last), rtol=0, atol=1e-15)
    assert made.alpha(t)[-1] == 0
    assert made.sigma(t)[-1] == 1
    assert made.logsnr(t)[-1] == -np.inf
    assert made.alpha(t)[0] == 1


@pytest.mark.parametrize("name", [n for n in PRESERVING if n != "cosine"])
def test_the_chain_tends_to_the_closed_form(name):
    """The betas are the closed form's rate: their products approach it as 1/T."""
    base, t = SCHEDULES[name](), np.linspace(0.1, 1, 10)
    off = [np.abs(schedules.Discrete(base, T).log_abar(t) - base.log_abar(t)).max() for T in (1000, 4000, 16000)]
    assert off[0] < 0.15
    assert off[0] / off[1] == pytest.approx(4, rel=0.05)
    assert off[1] / off[2] == pytest.approx(4, rel=0.05)


def test_the_cosine_chain_stands_on_its_closed_form():
    chain, k = schedules.Discrete(schedules.Cosine()), np.arange(1, 999) / 1000  # the last betas are clipped
    np.testing.assert_allclose(chain.log_abar(k), schedules.Cosine().log_abar(k), rtol=1e-12)


@pytest.mark.parametrize("name", PRESERVING)
def test_ten_steps_are_noise_variances(name):
    """Trap 17: textbook betas scaled by 1000/T exceed 1 at T = 10."""
    betas = schedules.Discrete(SCHEDULES[name](), 10).beta
    assert np.all(betas > 0)
    assert betas.max() <= 0.999


@pytest.mark.parametrize("name", PRESERVING)
def test_variance_is_preserved(name):
    t = np.linspace(0, 1, 1001)
    for schedule in (SCHEDULES[name](), schedules.ZeroTerminal(SCHEDULES[name]())):
        np.testing.assert_allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, 1, rtol=1e-14)


@over_all
def test_logsnr_is_of_alpha_and_sigma(schedule):
    t = np.linspace(0.001, 0.999, 997)
    ratio = schedule.alpha(t) / schedule.sigma(t)
    np.testing.assert_allclose(schedule.logsnr(t), 2 * np.log(ratio), rtol=1e-9, atol=1e-9)


def test_the_least_noise_is_told_to_full_precision():
    """sigma near t = 0 is sqrt(rate·t): the difference 1 − abar would have no digit left."""
    for name, rate in {"linear": 0.1, "scaled_linear": 0.85, "quadratic": 0.1, "exponential": 0.1}.items():
        np.testing.assert_allclose(SCHEDULES[name]().sigma(np.array(1e-14)), np.sqrt(rate * 1e-14), rtol=1e-9)


def test_half_precision_keeps_the_first_level():
    """Trap 10: sqrt(1 − abar_0) in half precision is 0; here float64 is cast last."""
    first = np.array([0.0, 1e-3, 2e-3])
    like = torch.zeros(1, dtype=torch.float16)
    for schedule in (schedules.Discrete(schedules.Linear()), schedules.Discrete(schedules.Cosine())):
        level = Level.at(schedule, first, like)
        np.testing.assert_allclose(level.sigma.double().numpy(), schedule.sigma(first), rtol=1e-3)
        assert (level.sigma[1:] > 0).all()
        assert (level.noise.isfinite()).all()


@over_all
@settings(max_examples=30, deadline=None)
@given(t=st.floats(0, 1), u=st.floats(0, 1))
def test_time_inverts_logsnr_and_logsnr_falls(schedule, t, u):
    both = np.array([t, u])
    logsnr = schedule.logsnr(both)
    assert not np.isnan(logsnr).any()
    np.testing.assert_allclose(schedule.time(logsnr), both, rtol=0, atol=1e-12)
    if abs(t - u) > 1e-9:
        assert (logsnr[0] < logsnr[1]) == (t > u)


@over_all
def test_the_ends_are_clean_and_noise(schedule):
    ends = np.array([0.0, 1.0])
    assert schedule.alpha(ends)[0] == 1
    assert schedule.sigma(ends)[0] == 0
    assert schedule.logsnr(ends)[0] == np.inf
    assert schedule.slope(ends)[0] == -np.inf
    assert np.isfinite(schedule.slope(ends)[1]) == (schedule.alpha(ends)[1] > 0)
    assert (schedule.slope(ends) < 0).all()
    assert schedule.time(np.array([np.inf]))[0] == 0
    assert schedule.time(np.array([-np.inf]))[0] == 1


@over_all
def test_slope_is_the_derivative(schedule):
    """Central differences of fourth order; a chain is differentiated between its knots."""
    pieces = schedule.steps if "Discrete" in repr(schedule) else 100
    k = np.unique(np.linspace(0, pieces - 1, 100).astype(int))
    t = (k[:, None] + np.array([0.3, 0.5, 0.71])).reshape(-1) / pieces
    h = 1e-2 / pieces
    f = schedule.logsnr
    difference = (8 * (f(t + h) - f(t - h)) - (f(t + 2 * h) - f(t - 2 * h))) / (12 * h)
    np.testing.assert_allclose(schedule.slope(t), difference, rtol=2e-6)


@over_all
def test_the_span_is_finite_and_its_ends_can_be_stood_on(schedule):
    """A grid over the span asks for its ends by their ratio; time(..) must give them back, never t = 0."""
    low, high = schedule.span
    assert 0 < low < high < np.inf
    ratios = np.geomspace(low, high, 33)
    t = schedule.time(-2 * np.log(ratios))
    assert (t > 0).all()
    assert (np.diff(t) > 0).all()
    np.testing.assert_allclose(schedule.sigma(t) / schedule.alpha(t), ratios, rtol=1e-8)


def test_known_spans():
    assert schedules.Geometric(0.02, 30.0).span == (0.02, 30)
    assert schedules.Karras().span == (0.002, 80)
    low, high = schedules.Discrete(schedules.Linear()).span
    assert low == pytest.approx(np.sqrt(1e-4 / (1 - 1e-4)), rel=1e-9)
    assert high == pytest.approx(157.407, rel=1e-5)
    assert schedules.Discrete(schedules.ZeroTerminal(schedules.Linear())).span[1] == 1000
    for schedule in (schedules.Cosine(), schedules.Flow(), schedules.ZeroTerminal(schedules.Linear())):
        assert schedule.span == (0.002, 80)


def test_the_shift_of_flow_moves_logsnr_alone():
    t = np.linspace(0.01, 0.99, 99)
    plain, shifted = schedules.Flow(), schedules.Flow(3.0)
    np.testing.assert_allclose(shifted.logsnr(t), plain.logsnr(t) - 2 * np.log(3), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(shifted.alpha(t) + shifted.sigma(t), 1, rtol=1e-15)
    np.testing.assert_allclose(shifted.sigma(t), 3 * t / (1 + 2 * t), rtol=1e-15)
    np.testing.assert_array_equal(plain.sigma(t), t)


def test_ladders_climb_as_published():
    t = np.linspace(0.1, 1, 10)
    np.testing.assert_allclose(schedules.Geometric().sigma(t), 0.01 * 5000**t, rtol=1e-12)
    sigma = (0.002 ** (1 / 7) + t * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7  # Karras et al., 2022, Eq. 5
    np.testing.assert_allclose(schedules.Karras().sigma(t), sigma, rtol=1e-12)
    assert schedules.Karras().sigma(np.array(1e-30)) == pytest.approx(0.002)


# The chain and the direct jump


@over_all
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.floats(1e-4, 0.9999), min_size=1, max_size=12))
def test_steps_of_the_chain_compose_to_the_direct_jump(schedule, cuts):
    process, times = Gaussian(schedule), [0.0, *sorted(cuts), 1.0]
    alpha, variance = 1.0, 0.0
    for s, t in pairwise(times):
        kept, deviation = process.transition(s, t)
        alpha, variance = alpha * kept, variance * kept**2 + deviation**2
        here = np.array(t)
        scale = max(1.0, float(schedule.sigma(here)))
        assert alpha == pytest.approx(float(schedule.alpha(here)), abs=1e-12)
        assert np.sqrt(variance) == pytest.approx(float(schedule.sigma(here)), rel=1e-12, abs=1e-12 * scale)


@pytest.mark.parametrize("name", ["linear", "cosine", "geometric", "flow"])
def test_a_walk_through_the_chain_has_the_law_of_the_jump(name):
    process, n = Gaussian(SCHEDULES[name]()), 20_000
    x0 = torch.linspace(-1, 1, n, dtype=torch.float64)[:, None]
    x, generator = x0, rng.generator(name, "walk", 3)
    times = [0.0, 0.03, 0.2, 0.21, 0.5, 0.8]
    for s, t in pairwise(times):
        x = process.advance(x, s, t, torch.randn(x.shape, generator=generator, dtype=x.dtype))
    level = process.level(np.full(n, 0.8), x0)
    noise = (x - level.alpha[:, None] * x0) / level.sigma[:, None]
    assert stats.kstest(noise[:, 0].numpy(), "norm").pvalue > 1e-3
    jump = process.corrupt(x0, level, torch.randn(x0.shape, generator=generator, dtype=x0.dtype))
    assert stats.ks_2samp(x[:, 0].numpy(), jump[:, 0].numpy()).pvalue > 1e-3


def test_a_step_of_the_integer_chain_is_the_textbooks():
    process, betas = Gaussian(schedules.Discrete(schedules.Linear())), BETAS["linear"](1000)
    for k in (1, 2, 500, 1000):
        kept, deviation = process.transition((k - 1) / 1000, k / 1000)
        assert kept == pytest.approx(np.sqrt(1 - betas[k - 1]), rel=1e-12)
        assert deviation == pytest.approx(np.sqrt(betas[k - 1]), rel=1e-9)


def test_steps_that_cannot_be_taken_are_refused():
    process = Gaussian(schedules.Flow())
    with pytest.raises(ValueError, match="nothing of the data is left"):
        process.transition(1.0, 1.0)
    for s, t in ((0.5, 0.4), (-0.1, 0.5), (0.5, 1.1)):
        with pytest.raises(ValueError, match="0 <= s <= t <= 1"):
            process.transition(s, t)
    assert process.transition(0.3, 0.3) == (1.0, 0.0)


def test_the_prior_is_the_noise_of_each_seed_in_the_range_of_the_constraint():
    def keep_first(x, cond):
        return x * cond["mask"]

    process = Gaussian(schedules.Geometric(), keep_first)
    mask = torch.tensor([[1.0, 0.0, 1.0]]).expand(2, 3)
    x = process.prior((3,), [4, 9], torch.zeros(1), cond={"mask": mask})
    assert torch.equal(x, 50.0 * rng.prior([4, 9], (3,), torch.zeros(1)) * mask)
    assert torch.equal(process.constrain(x, {"mask": mask}), x)
    free = Gaussian(schedules.Linear())
    half = free.prior((3,), [4], torch.zeros(1), t=0.5)
    assert torch.equal(half, float(schedules.Linear().sigma(np.array(0.5))) * rng.prior([4], (3,), torch.zeros(1)))


# Levels


@pytest.mark.parametrize("name", PRESERVING)
def test_one_step_back_is_the_textbooks_posterior_mean(name):
    T = 1000
    betas = BETAS[name](T)
    abar = np.cumprod(1 - betas)
    before = np.append(1.0, abar[:-1])
    level = Level.at(schedules.Discrete(SCHEDULES[name](), T), np.arange(1, T + 1) / T, LIKE)
    c1 = np.sqrt(before) * betas / (1 - abar)  # Ho et al., 2020, Eq. 7
    c2 = np.sqrt(1 - betas) * (1 - before) / (1 - abar)
    np.testing.assert_allclose(level.c_data.numpy(), c1, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(level.c_here.numpy(), c2, rtol=1e-9, atol=1e-12)


@over_all
def test_the_posterior_mean_is_bayes_rule(schedule):
    """q(x_s | x_t, x_0) ∝ q(x_t | x_s)·q(x_s | x_0), by precisions."""
    process = Gaussian(schedule)
    for s, t in ((0.1, 0.2), (0.3, 0.30001), (0.5, 0.9), (0.7, 1.0)):
        kept, deviation = process.transition(s, t)
        alpha_s, sigma_s = (float(f(np.array(s))) for f in (schedule.alpha, schedule.sigma))
        precision = kept**2 / deviation**2 + 1 / sigma_s**2
        c_data, c_here = posterior_mean(schedule, np.array([s]), np.array([t]))
        assert c_data[0] == pytest.approx(alpha_s / sigma_s**2 / precision, rel=1e-6)
        assert c_here[0] == pytest.approx(kept / deviation**2 / precision, rel=1e-6)


@over_all
def test_a_level_is_told_in_float64_and_heard_within_twelve(schedule):
    t = np.array([0.0, 1e-9, 0.2, 0.7, 1.0])
    level = Level.at(schedule, t, LIKE)
    np.testing.assert_array_equal(level.alpha.numpy(), schedule.alpha(t))
    np.testing.assert_array_equal(level.sigma.numpy(), schedule.sigma(t))
    np.testing.assert_allclose(level.noise.numpy(), np.clip(-schedule.logsnr(t) / 2, -12, 12), rtol=1e-15)
    assert level.noise[0] == -12
    assert level.c_data[0] == 0  # no step back from t = 0
    assert level.c_here[0] == 1
    assert torch.isfinite(level.c_data).all()
    assert torch.isfinite(level.c_here).all()
    np.testing.assert_array_equal(level.times, t)
    np.testing.assert_array_equal(level.to.numpy(), t)
    single = Level.at(schedule, t, torch.zeros(1))
    assert single.alpha.dtype == torch.float32
    assert torch.equal(single.alpha, level.alpha.float())


def _rows(level):
    leaves = (level.t, level.to, level.alpha, level.sigma, level.noise, level.c_data, level.c_here)
    return np.stack([*(leaf.numpy() for leaf in leaves), level.times, level.weight])


def test_levels_are_taken_and_repeated_row_by_row():
    t, to, weight = np.array([0.9, 0.5, 0.1]), np.array([0.5, 0.1, 0.0]), np.array([1.0, 0.0, 2.0])
    level = Level.at(schedules.Cosine(), t, LIKE, to, weight)
    rows = _rows(level)
    assert len(np.unique(rows[:, 0])) == len(rows) - 1  # t stands twice; no other leaf can be mistaken
    np.testing.assert_array_equal(_rows(level.take([2, 0, 2, 1])), rows[:, [2, 0, 2, 1]])
    for row, alike in enumerate(level.each(4)):
        np.testing.assert_array_equal(_rows(alike), np.repeat(rows[:, row : row + 1], 4, axis=1))
    np.testing.assert_array_equal(_rows(Level.join([level, level.take([1])])), rows[:, [0, 1, 2, 1]])


# What is refused


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: schedules.ZeroTerminal(schedules.Geometric()), "variance-preserving.*geometric"),
        (lambda: schedules.ZeroTerminal(schedules.Flow()), "variance-preserving.*flow"),
        (lambda: schedules.SubVP(schedules.Geometric()), "variance-preserving.*geometric"),
        (lambda: schedules.Discrete(schedules.SubVP(schedules.Linear())), "subvp has no betas"),
        (lambda: schedules.Discrete(schedules.Flow()), "flow has no betas"),
        (lambda: schedules.Discrete(schedules.Karras()), "karras has no betas"),
        (lambda: schedules.Discrete(schedules.Discrete(schedules.Linear())), "discrete has no betas"),
        (lambda: schedules.Discrete(schedules.Linear(), 1), "at least 2 steps"),
        (lambda: schedules.Linear(0.02, 1e-4), "0 < beta_1 < beta_T < 1"),
        (lambda: schedules.Sigmoid(0.0, 0.1), "0 < beta_1 < beta_T < 1"),
        (lambda: schedules.Cosine(s=-0.1), "cosine needs"),
        (lambda: schedules.Geometric(1.0, 0.1), "sigma_min < sigma_max"),
        (lambda: schedules.Karras(rho=0.0), "rho must be positive"),
        (lambda: schedules.Flow(0.0), "shift must be positive"),
    ],
)
def test_what_makes_no_schedule_is_refused(make, says):
    with pytest.raises(UserError, match=says):
        make()
