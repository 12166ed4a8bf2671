"""Scores: exact fields of curves, the three ways to say one, the reverse SDE of every process, a start spread wide."""

import numpy as np
import pytest
import torch
from oracles import PROCESSES

import unnoise as un
from unnoise.cli import main
from unnoise.config import UserError
from unnoise.data import SOURCES
from unnoise.denoise import exact
from unnoise.denoise.denoiser import Belief
from unnoise.denoise.truth import traced
from unnoise.metrics.field import field
from unnoise.process import Gaussian, schedules
from unnoise.samplers import SAMPLERS
from unnoise.samplers.moments import gaussian_moments
from unnoise.tensor import align

PROCESS = Gaussian(schedules.Geometric(0.01, 10.0))
ONE = exact.Mixture(PROCESS, [0.3, 0.7], [[-1.0, 0.5], [0.8, -0.2]], np.stack([0.1 * np.eye(2), 0.05 * np.eye(2)]))


@pytest.mark.parametrize("name", ["swissroll", "spiral", "moons"])
def test_the_law_of_a_curve_is_that_of_its_items(name):
    """The quadrature's mean and variance, its score beside that of four times the nodes, and of many items."""
    source = SOURCES[name]()
    made = traced(source, PROCESS)
    assert made is not None
    x = torch.from_numpy(source.split("test").take(range(100))[0].astype(np.float64))
    assert float((made.draw(20_000, 0) ** 2).sum(1).mean()) == pytest.approx(2 + 2 * source.noise**2, rel=0.03)
    nodes = source.nodes(8192)
    fine = exact.Mixture(PROCESS, np.ones(len(nodes)), nodes, np.tile(source.noise**2 * np.eye(2), (len(nodes), 1, 1)))
    items = source.split("train").take(np.arange(20_000))[0].astype(np.float64)
    many = exact.Empirical(PROCESS, items)
    ratio = 0.05
    level = PROCESS.level(np.repeat(PROCESS.schedule.time(np.array([-2 * np.log(ratio)])), len(x)), x)
    noisy = PROCESS.corrupt(x, level, torch.from_numpy(np.random.default_rng(0).standard_normal(x.shape)))
    off = (made.score(noisy, level) - fine.score(noisy, level)).norm(dim=1) * ratio
    assert float(off.median()) < 1e-6
    assert float(off.max()) < 0.02
    drawn = (made.score(noisy, level) - many.score(noisy, level)).norm(dim=1) * ratio
    assert float(drawn.median()) < 0.1


def test_areas_have_no_curve():
    assert traced(SOURCES["checkerboard"](), PROCESS) is None
    with pytest.raises(UserError, match="checkerboard fills areas"):
        SOURCES["checkerboard"]().nodes()


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_a_score_is_said_in_three_ways_on_every_process(name):
    """grad log p = −E[noise | x]/sigma = (alpha·E[x_0 | x] − x)/sigma², each by code of its own; a network's too."""
    process = PROCESSES[name]
    truth = exact.Mixture(process, [0.3, 0.7], [[-1.0, 0.5], [0.8, -0.2]], np.stack([0.1 * np.eye(2)] * 2))
    for ratio in (0.1, 1.0):
        found = field(truth, process, truth.draw(500, 0), ratio, truth, at=(0.3, 0.1))
        point = found.point
        np.testing.assert_allclose(point.noise, point.slope, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(point.pull, point.slope, rtol=1e-7, atol=1e-7)
        assert found.ratio == pytest.approx(ratio, rel=1e-6)
        assert found.off == pytest.approx(0, abs=1e-4)  # in single precision, as networks are asked
        np.testing.assert_allclose(point.learned, point.slope, rtol=1e-3, atol=1e-3 / found.sigma)


class _Off:
    """Beliefs whose score is a known vector off the truth's."""

    process = PROCESS

    def __init__(self, by):
        self.by = torch.tensor(by)

    def __call__(self, x, level, cond):
        right = ONE(x.double(), PROCESS.level(level.times, x.double()), cond).x0.to(x.dtype)
        return Belief(right + align(level.sigma.square() / level.alpha, x) * self.by.to(x))


def test_the_error_of_a_field_is_that_of_the_score():
    found = field(ONE, PROCESS, ONE.draw(2000, 0), 0.5, _Off([3.0, -4.0]))
    assert found.error is not None
    np.testing.assert_allclose(found.error, 0.5 * 5, rtol=1e-4)
    x = torch.from_numpy(found.places)
    level = PROCESS.level(np.full(len(x), found.t), x)
    np.testing.assert_allclose(found.exact, 0.25 * ONE.score(x, level).numpy(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.learned - found.exact, np.tile([0.75, -1.0], (len(x), 1)), rtol=1e-3, atol=1e-5)
    cell = (found.box[1] - found.box[0]) / len(found.density)
    assert found.density.sum() * cell**2 == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["linear", "geometric", "sub_vp"])
@pytest.mark.parametrize("sampler", ["euler_maruyama", "predictor_corrector"])
def test_the_reverse_sde_of_vp_ve_and_sub_vp_draws_the_law(name, sampler):
    """By algebra: mean and covariance of a plan on normal data, nearer the truth the finer the grid."""
    process, (mean, variance) = PROCESSES[name], (np.array([0.5, -1.0]), np.array([0.3, 2.0]))
    options = {"snr": 0.05} if sampler == "predictor_corrector" else {}
    off: list[float] = []
    for steps in (40, 160):
        plan = un.plan(sampler, process, steps=steps, grid="logsnr", **options)
        got, spread = gaussian_moments(plan, process.schedule, mean, variance)
        off.append(max(np.abs(got - mean).max(), np.abs(spread / variance - 1).max()))
    assert 3 < off[0] / off[1] < 5
    assert off[1] < 0.07


def test_vp_and_sub_vp_are_one_sde_seen_by_two_clocks():
    """In y = x/alpha nothing of a process is left but sigma/alpha: at the same levels they draw the same."""
    vp, sub = PROCESSES["linear"], PROCESSES["sub_vp"]
    ratios = np.geomspace(50, 0.01, 12)
    ends: list[np.ndarray] = []
    for process in (vp, sub):
        grid = np.append(process.schedule.time(-2 * np.log(ratios)), 0.0)
        plan = un.plan("euler_maruyama", process, grid=grid)
        ends.append(np.stack(gaussian_moments(plan, process.schedule, np.array([0.5]), np.array([0.3]))))
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)
    inner = np.linspace(0.05, 1, 20)
    assert np.all(sub.schedule.sigma(inner) < vp.schedule.sigma(inner))


def test_a_start_spread_wide_costs_a_question_and_is_as_wide_as_told():
    narrow = Gaussian(schedules.Geometric(0.01, 0.1))
    plain, wide = (un.plan("langevin", narrow, steps=1, grid="time", corrections=7, wide=w) for w in (1.0, 10.0))
    assert wide.rows == plain.rows + 1 == SAMPLERS["langevin"].evaluations(1, corrections=7, wide=10.0)
    np.testing.assert_array_equal(wide.base[0], [10.0] + [0.0] * (wide.base.shape[1] - 1))
    np.testing.assert_array_equal(wide.base[1:], plain.base)
    with pytest.raises(UserError, match=r"1 or more, got 0\.5"):
        un.plan("langevin", narrow, steps=1, wide=0.5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("digits", "drawn in the plane, and an item of digits is of 1×8×8 numbers"),
        ("digits-gan", "drawn in the plane"),
        ("swisroll", "no recipe 'swisroll'"),
        ("gaussians8 --level 0.1,wide", "numbers σ/α with commas between them, such as 0.1,0.5,2; got '0.1,wide'"),
        ("gaussians8 --level 0", "above 0 and finite, got '0'"),
        ("gaussians8 --level 900", "no level sigma/alpha = 900: it reaches from 0.005 to 20"),
        ("gaussians8 --level 1 --at 3", "two numbers with a comma, such as 0.5,-1; got '3'"),
        ("runs/none --level 1", "none"),
        ("gaussians8 --out score.txt", "no picture format 'txt'; expected one of: png, svg"),
    ],
)
def test_what_no_score_can_be_drawn_of_is_said_in_a_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plot", "score", *words.split()]) != 0
    err = capsys.readouterr().err.strip().splitlines()
    assert says in err[-1]


def test_a_score_is_drawn_of_a_world_and_of_a_run(tmp_path, monkeypatch, capsys):
    """Where a run is silent, the levels it was trained on; the error told is that of the picture."""
    monkeypatch.chdir(tmp_path)
    assert main(["plot", "score", "gaussians8", "--level", "0.2,1", "--out", "exact.svg"]) == 0
    assert (tmp_path / "exact.svg").read_text().startswith("<?xml")
    world = "data={kind: gaussians8, items: 3000, held_out: 300}"
    tiny = ("net={kind: mlp, width: 16, depth: 1}", "train.items=2048", "train.batch=256", "train.warmup=0")
    un.fit("swissroll-fixed", tmp_path / "runs/one", world, *tiny)
    capsys.readouterr()
    assert main(["plot", "score", "runs/one"]) == 0
    out = capsys.readouterr().out
    assert "σ/α = 0.1: the learned score is off by" in out
    assert (tmp_path / "runs/one/plots/score.png").stat().st_size > 20_000
