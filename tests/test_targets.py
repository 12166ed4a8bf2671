"""Targets: every meaning of F is told from every other, and refused where it cannot be."""

import warnings

import numpy as np
import pytest
import torch
from test_process import EVERY, over_all

from unnoise.config import UserError
from unnoise.denoise import TARGETS, NetDenoiser, convert, denoiser, from_data, to_data
from unnoise.denoise.target import EDM, gain
from unnoise.nets import Net
from unnoise.process import Gaussian, Level, schedules

TIMES = np.array([0.0, 1e-6, 0.002, 0.05, 0.3, 0.62, 0.95, 0.999, 1.0])
DOUBLE = torch.zeros(1, dtype=torch.float64)


def _situation(schedule, dtype=torch.float64, t=TIMES):
    """x_0, noise, x and the level at each time, and the value of every target by its definition in float64."""
    g = np.random.default_rng(5)
    level64, level = Level.at(schedule, t, DOUBLE), Level.at(schedule, t, torch.zeros(1, dtype=dtype))
    alpha, sigma, c1, c2 = (
        leaf.numpy()[:, None] for leaf in (level64.alpha, level64.sigma, level64.c_data, level64.c_here)
    )
    x0, eps = g.standard_normal((2, len(t), 5))
    x = alpha * x0 + sigma * eps
    root = np.sqrt(alpha**2 * 0.25 + sigma**2)
    with np.errstate(divide="ignore"):
        truth = {
            "data": x0,
            "noise": eps,
            "velocity": alpha * eps - sigma * x0,
            "score": -(x - alpha * x0) / sigma**2 if (sigma > 0).all() else -eps / sigma,
            "flow": eps - x0,
            "mean": c1 * x0 + c2 * x,
            "edm": (sigma * x0 / 0.5 - 0.5 * alpha * eps) / root,  # Karras et al., 2022, Eq. 8, over alpha
        }
    cast = {name: torch.from_numpy(value).to(dtype) for name, value in truth.items()}
    return torch.from_numpy(x0).to(dtype), torch.from_numpy(x).to(dtype), level, cast


def _regular(schedule, t=TIMES):
    """By name: where x_0 is told by the value, and where the value is told by x_0."""
    level = Level.at(schedule, t, DOUBLE)
    alpha, sigma, everywhere = level.alpha.numpy(), level.sigma.numpy(), np.ones(len(t), dtype=bool)
    tells = dict.fromkeys(TARGETS, everywhere) | {"noise": alpha > 0, "score": (alpha > 0) & (sigma > 0), "mean": t > 0}
    told = {name: everywhere if name in ("data", "mean") else sigma > 0 for name in TARGETS}
    return tells, told


@over_all
@pytest.mark.parametrize(("dtype", "unit"), [(torch.float64, 1e-13), (torch.float32, 2e-6)], ids=["double", "single"])
def test_every_target_is_told_from_every_other(schedule, dtype, unit):
    """To rounding times the gain: |out|·|F| + |skip|·|x| of the one, over |out| of the other."""
    x0, x, level, truth = _situation(schedule, dtype)
    tells, told = _regular(schedule)
    for given, kind in TARGETS.items():
        for wanted, other in TARGETS.items():
            rows = np.flatnonzero(tells[given] & told[wanted]).tolist()
            a, b, here = kind()(level.take(rows)), other()(level.take(rows)), level.take(rows)
            value, at, expected = truth[given][rows], x[rows], truth[wanted][rows]
            found = convert(value, at, here, given, wanted)
            loss = x0[rows].abs() + (a.out[:, None] * value).abs() + (a.skip[:, None] * at).abs()
            slope = torch.where(here.sigma > 0, b.data - b.noise * here.alpha / here.sigma, 1.0)[:, None]
            share = (b.noise / here.sigma)[:, None].abs().nan_to_num(0)
            tolerance = unit * (1 + expected.abs() + loss * slope.abs() + share)
            off = (found - expected).abs()
            assert (off <= tolerance).all(), (given, wanted, level.times[rows], (off / tolerance).amax(1))


@over_all
def test_round_trips_give_the_value_back(schedule):
    _, x, level, truth = _situation(schedule)
    tells, told = _regular(schedule)
    for name, kind in TARGETS.items():
        rows = np.flatnonzero(tells[name] & told[name]).tolist()
        here, value = level.take(rows), truth[name][rows]
        c = kind()(here)
        loss = (value.abs() + (c.skip / c.out)[:, None].abs() * x[rows].abs()).clamp_min(1)
        back = from_data(to_data(value, x[rows], here, name), x[rows], here, name)
        assert ((back - value).abs() <= 1e-10 * loss).all(), name


@over_all
def test_both_ways_of_saying_a_target_are_one(schedule):
    """x_0 = skip·x + out·F and F = data·x_0 + noise·eps, whatever x_0 and eps are."""
    (tells, told), sigma = _regular(schedule), schedule.sigma(TIMES)
    for name, kind in TARGETS.items():
        rows = np.flatnonzero(tells[name] & (told[name] | (sigma > 0))).tolist()
        level = Level.at(schedule, TIMES[rows], DOUBLE)
        c = kind()(level)
        size = 1 + (c.skip * level.alpha).abs() + (c.out * c.data).abs()
        assert ((c.skip * level.alpha + c.out * c.data - 1).abs() <= 1e-14 * size).all(), name
        size = 1 + (c.skip * level.sigma).abs()
        assert ((c.skip * level.sigma + c.out * c.noise).abs() <= 1e-14 * size).all(), name


def test_flow_is_the_velocity_of_rectified_flow_and_score_a_gradient():
    schedule, t, h = schedules.Flow(), np.array([0.2, 0.7]), 1e-6
    x0, eps = torch.randn(2, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    process = Gaussian(schedule)
    ahead, behind = (process.corrupt(x0, process.level(t + d, x0), eps) for d in (h, -h))
    level = process.level(t, x0)
    x = process.corrupt(x0, level, eps)
    torch.testing.assert_close(from_data(x0, x, level, "flow"), (ahead - behind) / (2 * h), rtol=1e-8, atol=1e-8)
    x.requires_grad_()
    alpha, sigma = level.alpha[:, None], level.sigma[:, None]
    log_density = -0.5 * ((x - alpha * x0) / sigma).square().sum()
    (gradient,) = torch.autograd.grad(log_density, x)
    torch.testing.assert_close(from_data(x0, x.detach(), level, "score"), gradient)


@over_all
def test_edm_hears_and_answers_at_unit_variance(schedule):
    """For data of deviation sd: Var(inp·x) = 1 and Var(F) = 1 at every level  (Karras et al., 2022, App. B.6)."""
    level = Level.at(schedule, TIMES, DOUBLE)
    c = EDM(0.7)(level)
    one = torch.ones_like(c.inp)
    torch.testing.assert_close(c.inp.square() * (level.alpha.square() * 0.49 + level.sigma.square()), one)
    torch.testing.assert_close(0.49 * c.data.square() + c.noise.square(), one)


def test_edm_is_the_papers_table():
    level = Level.at(schedules.Karras(), np.linspace(0.1, 1, 7), DOUBLE)
    c, s, sd = EDM(0.5)(level), level.sigma, 0.5
    torch.testing.assert_close(c.skip, sd**2 / (s**2 + sd**2))
    torch.testing.assert_close(c.out, s * sd / (s**2 + sd**2).sqrt())
    torch.testing.assert_close(c.inp, 1 / (s**2 + sd**2).sqrt())


@pytest.mark.parametrize("name", ["flow", "cosine", "linear, zero terminal", "linear, zero terminal, 100 steps"])
def test_where_no_data_is_left_noise_and_score_do_not_tell_it(name):
    """Trap 5: a noise target at alpha = 0 divides by zero; it is told from x_0 all the same."""
    x0, x, level, truth = _situation(EVERY[name], t=np.array([0.5, 1.0]))
    for kind in ("noise", "score"):
        with pytest.raises(UserError, match=f"'{kind}' is singular at t = 1: x_0 cannot be told"):
            to_data(truth[kind], x, level, kind)
        torch.testing.assert_close(from_data(x0, x, level, kind), truth[kind])


@over_all
def test_where_nothing_is_lost_the_noise_is_not_told(schedule):
    x0, x, level, _ = _situation(schedule, t=np.array([0.5, 0.0]))
    for kind in ("noise", "velocity", "score", "flow", "edm"):
        with pytest.raises(UserError, match=f"'{kind}' is singular at t = 0: it cannot be told from x_0"):
            from_data(x0, x, level, kind)
    with pytest.raises(UserError, match="'mean' is singular at t = 0"):
        to_data(x0, x, level, "mean")
    assert torch.equal(from_data(x0, x, level, "data"), x0)
    assert torch.equal(from_data(x0, x, level, "mean")[1], x0[1])


def test_an_unknown_target_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'velocity'"):
        denoiser(_Answer(), Gaussian(schedules.Cosine()), "velocty")
    with pytest.raises(UserError, match="must be positive"):
        EDM(0.0)


class _Answer(Net):
    """A network that gives a prepared answer and remembers what it heard."""

    def __init__(self, answer=None):
        super().__init__((5,))
        self.answer, self.heard = answer, None

    def forward(self, x, noise_level, cond):
        self.heard = x, noise_level, cond
        return torch.zeros_like(x) if self.answer is None else self.answer


@pytest.mark.filterwarnings("ignore:target")
@over_all
def test_a_perfect_network_denoises_perfectly_by_every_target(schedule):
    x0, x, level, truth = _situation(schedule)
    tells, _ = _regular(schedule)
    for name, kind in TARGETS.items():
        if schedule.alpha(np.array([1.0]))[0] == 0 and name in ("noise", "score"):
            continue
        rows = np.flatnonzero(tells[name] & truth[name].isfinite().all(1).numpy()).tolist()
        here, net = level.take(rows), _Answer(truth[name][rows])
        believed = NetDenoiser(net, Gaussian(schedule), kind())(x[rows], here, {})
        c = kind()(here)
        size = 1 + (c.out[:, None] * truth[name][rows]).abs() + (c.skip[:, None] * x[rows]).abs()
        assert ((believed.x0 - x0[rows]).abs() <= 1e-13 * size).all(), name
        assert believed.v is None
        inputs, noise_level, _ = net.heard
        torch.testing.assert_close(inputs, c.inp[:, None] * x[rows])
        assert torch.equal(noise_level, here.noise)  # all that a network hears of time


def test_what_a_network_answers_is_constrained():
    def keep(x, cond):
        return x * cond["mask"]

    process, x = Gaussian(schedules.Cosine(), keep), torch.ones(2, 3)
    mask = torch.tensor([[1.0, 0.0, 1.0]] * 2)
    answer, c = NetDenoiser(_Answer(torch.ones(2, 3)), process).answer(
        x, process.level(np.array([0.3, 0.6]), x), {"mask": mask}
    )
    assert torch.equal(answer, mask)
    assert c.out.shape == (2,)


@pytest.mark.parametrize("name", [n for n, s in EVERY.items() if s.alpha(np.array([1.0]))[0] == 0])
def test_targets_that_end_nowhere_are_refused(name):
    process = Gaussian(EVERY[name])
    for kind in ("noise", "score"):
        with pytest.raises(UserError, match=f"target '{kind}' cannot stand with a schedule that ends at alpha = 0"):
            denoiser(_Answer(), process, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("data", "velocity", "flow", "edm", "mean"):  # the mean of x_{t−1} still tells x_0
            denoiser(_Answer(), process, kind)


def test_a_gain_above_a_thousand_is_warned_of():
    steep = Gaussian(schedules.Discrete(schedules.Linear(1e-4, 0.03)))
    with pytest.warns(UserWarning, match=r"target 'noise' multiplies errors by \d+ at t = 1") as caught:
        denoiser(_Answer(), steep, "noise")
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in TARGETS:
            denoiser(_Answer(), Gaussian(schedules.Discrete(schedules.Linear())), kind)


def test_known_gains():
    """157 for the noise of the textbook's linear chain; near 7,800 at most for its mean (T = 1000)."""
    chain = schedules.Discrete(schedules.Linear())
    assert gain(TARGETS["noise"](), chain, 1.0) == pytest.approx(157.4, abs=0.1)
    mean = TARGETS["mean"]()(Level.at(chain, np.arange(1, 1001) / 1000, DOUBLE))
    assert float(mean.out.max()) == pytest.approx(7800, rel=0.02)
    assert max(gain(TARGETS["velocity"](), chain, t) for t in TIMES) <= 1
