"""Learned variance: what a belief's fraction v does to the noise of a plan."""

import dataclasses

import numpy as np
import pytest
import torch
from oracles import PROCESSES

import unnoise as un
from unnoise.config import UserError
from unnoise.denoise import exact
from unnoise.denoise.denoiser import Belief
from unnoise.denoise.variance import Back
from unnoise.recipe import load
from unnoise.samplers.plan import Plan
from unnoise.samplers.step import State

PROCESS = PROCESSES["discrete"]


@dataclasses.dataclass(frozen=True)
class Telling:
    """A known belief that tells a fraction v besides: everywhere v, or the sine of the question."""

    inner: exact.Normal
    v: float | None = None

    @property
    def process(self):
        return self.inner.process

    def __call__(self, x, level, cond):
        v = torch.sin(x) if self.v is None else torch.full_like(x, self.v)
        return Belief(self.inner(x, level, cond).x0, v)


LAW = np.array([0.3, -0.2]), np.array([[0.5, 0.2], [0.2, 0.4]])
KNOWN = exact.Normal(PROCESS, *LAW)


@pytest.mark.parametrize("process", ["discrete", "cosine", "flow", "karras", "zero_terminal"])
def test_the_fraction_goes_from_the_posterior_variance_to_that_of_the_chain(process):
    """v = 0, or none told, is DDPM with the posterior variance; v = 1 is DDPM with beta; between, the log of either."""
    process = PROCESSES[process]
    made = {name: un.plan("ddpm", process, steps=7, variance=name) for name in ("posterior", "beta", "learned")}
    learned = made["learned"]
    assert learned.heeds_variance
    assert not made["beta"].heeds_variance
    np.testing.assert_array_equal(learned.base, made["posterior"].base)
    np.testing.assert_allclose(learned.base[:, -1] * np.exp(learned.spread), made["beta"].base[:, -1], rtol=1e-12)
    assert learned.spread[-1] == 0  # the step onto 0 has no noise to widen

    known = exact.Normal(process, *LAW)
    found = {v: un.sample(Telling(known, v), learned, (2,), range(16)) for v in (0.0, 0.5, 1.0)}
    torch.testing.assert_close(found[0.0], un.sample(known, made["posterior"], (2,), range(16)))
    torch.testing.assert_close(found[0.0], un.sample(known, learned, (2,), range(16)))
    torch.testing.assert_close(found[1.0], un.sample(known, made["beta"], (2,), range(16)))
    between = Plan(
        **{f.name: getattr(learned, f.name) for f in dataclasses.fields(learned) if f.name != "base"}
        | _scaled(learned, np.exp(learned.spread / 2))
    )
    torch.testing.assert_close(found[0.5], un.sample(known, between, (2,), range(16)))


def _scaled(plan: Plan, factor: np.ndarray) -> dict[str, np.ndarray]:
    """The tables of a plan of one memory with its noise column times a factor, and no spread."""
    base = plan.base.copy()
    base[:, -1] *= factor
    return {"base": base, "ask": base, "spread": np.zeros(plan.rows)}


def test_both_executors_widen_a_row_by_exp_of_spread_times_v():
    """Random tables and states in float64: each moves as the row says with its noise times exp(spread·v)."""
    rng = np.random.default_rng(1)
    rows, memories = 6, 2
    base, ask = rng.normal(size=(2, rows, memories + 2))
    ask[-1] = base[-1]
    spread = rng.normal(size=rows) * np.array([1, 1, 0, 1, 1, 1])
    t = np.linspace(0.9, 0.2, rows)
    keep, slot = rng.normal(size=(rows, 2)), np.arange(rows) % memories * 1.0
    plan = Plan(t, keep, slot, base, ask, t, np.ones(rows), 0.9, 0.1, spread)
    for row in range(rows):
        x, stands, x0, z, v, *past = (torch.from_numpy(rng.normal(size=(3, 2))) for _ in range(5 + memories))
        past = past if row else [torch.zeros_like(x)] * memories  # before the first row nothing is remembered
        state = State(x, stands, tuple(past))
        wide = z * torch.exp(spread[row] * v)
        wanted = plan.specialise()[row](state, x0, lambda wide=wide: wide, None)
        special = plan.specialise()[row](state, x0, lambda z=z: z, v)
        at = np.full((1, 3), row)
        (step,) = plan.join([plan], x).ahead(at, torch.from_numpy(at[0]))
        newest_first = tuple(past[(row - 1 - age) % memories] for age in range(memories))
        gathered = step.advance(State(x, stands, newest_first), x0, z, v)
        for found in (special, gathered):
            torch.testing.assert_close(found.base, wanted.base, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(found.x, wanted.x, rtol=1e-12, atol=1e-12)


def test_the_engine_heeds_v_where_a_plan_does_and_nowhere_else():
    """In one batch: an item whose plan heeds v, one whose plan draws without, one that draws nothing; as if alone."""
    telling = Telling(KNOWN)
    plans = [un.plan("ddpm", PROCESS, steps=5, variance="learned"), un.plan("ddpm", PROCESS, steps=5),
             un.plan("dpmpp_2m", PROCESS, steps=5)]  # fmt: skip
    engine = un.Engine(telling, sizes=(4,))
    tickets = {engine.submit(un.Job(plan, (2,), [7])): plan for plan in plans}
    events = []
    while engine.busy:
        events += engine.tick()
    found = {event.ticket: event.x for event in events if isinstance(event, un.loop.Done)}
    for ticket, plan in tickets.items():
        torch.testing.assert_close(found[ticket], un.sample(telling, plan, (2,), [7])[0], rtol=2e-6, atol=2e-6)
        alone = un.Engine(telling, sizes=(4,)).run(un.Job(plan, (2,), [7]))
        assert torch.equal(found[ticket], alone[0])


def test_a_plan_keeps_its_spread_and_an_older_one_has_none(tmp_path):
    learned = un.plan("ddpm", PROCESS, steps=4, variance="learned")
    learned.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == learned != un.plan("ddpm", PROCESS, steps=4)
    plain = un.plan("ddpm", PROCESS, steps=4)
    table = plain.to_dict()
    del table["spread"]
    assert Plan.from_dict(table) == plain


@dataclasses.dataclass(frozen=True)
class Right:
    """Normal data of independent numbers, mean 0: the belief, and the fraction that a step back from t has."""

    process: object
    variances: torch.Tensor
    chain: np.ndarray

    def __call__(self, x, level, cond):
        a, s = level.alpha[:, None], level.sigma[:, None]
        total = a**2 * self.variances + s**2
        at = np.array([int(np.argmin(np.abs(self.chain - t))) for t in level.times[:1]]).repeat(len(x))
        back = Back.over(self.process.schedule, self.chain[at + 1], level.times, self.chain[np.maximum(at - 1, 0)], x)
        gain, spread = back.gain[:, None], back.spread[:, None]
        v = torch.log1p(gain * self.variances * s**2 / total) / 2 / spread
        return Belief(a * self.variances / total * x, v)


@pytest.mark.parametrize("steps", [3, 8])
def test_a_chain_of_few_steps_draws_the_law_where_the_variance_is_right(steps):
    """Normal data: DDPM with the posterior variance draws too little of it, with beta too much, and with the right
    fraction what was there before the last step, to 4 standard errors of 20,000 samples."""
    process = PROCESSES["cosine"]
    variances = torch.tensor([0.6, 0.1])
    plans = {v: un.plan("ddpm", process, steps=steps, variance=v) for v in ("posterior", "beta", "learned")}
    chain = np.append(plans["learned"].t, 0.0)
    right = Right(process, variances, chain)
    plain = exact.Normal(process, np.zeros(2), np.diag(variances.numpy()))
    snr = np.exp(process.schedule.logsnr(np.array(chain[-2])))
    wanted = variances.numpy() - variances.numpy() / (1 + snr * variances.numpy())  # of the last belief
    found = {
        v: un.sample(right if v == "learned" else plain, made, (2,), range(20_000)).var(0).numpy()
        for v, made in plans.items()
    }
    assert (np.abs(found["learned"] / wanted - 1) < 4 * np.sqrt(2 / 20_000)).all()
    assert (found["posterior"] < 0.97 * wanted).all()
    assert (found["beta"] > 1.03 * wanted)[1]


TINY = (
    "train.items=1024",
    "train.validate_every=512",
    "net={kind: mlp, width: 32, depth: 1}",
    "process.schedule=cosine",
)


def test_one_line_of_a_recipe_learns_the_variance(tmp_path):
    """The network has two answers; a run with it is sampled by its own variance, resumed and read back."""
    run = un.fit("swissroll", tmp_path / "run", *TINY, "variance=learned")
    assert run.denoiser.net.answers == 2
    x = run.sample(4, sampler="ddpm", steps=5, variance="learned", raw=False)
    assert torch.isfinite(x).all()
    assert not torch.equal(x, run.sample(4, sampler="ddpm", steps=5, raw=False))
    again = un.open(tmp_path / "run")
    assert torch.equal(again.sample(4, sampler="ddpm", steps=5, variance="learned", raw=False), x)


def test_mistakes_are_told():
    with pytest.raises(UserError, match="swissroll has a fixed one: train it with variance=learned"):
        load("swissroll", ["sample={sampler: ddpm, options: {variance: learned}}"])
    with pytest.raises(UserError, match="a learned variance is for a network of answers=2, got one of 1"):
        un.denoiser(un.nets.MLP((2,)), PROCESS, variance="learned")
    with pytest.raises(UserError, match="a fixed variance is for a network of answers=1, got one of 2"):
        un.denoiser(un.nets.MLP((2,), answers=2), PROCESS)
    with pytest.raises(UserError, match="no variance 'learnt'; did you mean 'learned'"):
        un.denoiser(un.nets.MLP((2,)), PROCESS, variance="learnt")
    with pytest.raises(UserError, match="must be positive, got 0"):
        load("swissroll", ["variance={kind: learned, share: 0}"])


@pytest.mark.parametrize("kind", sorted(un.nets.NETS))
def test_every_network_tells_two_answers_one_after_the_other(kind):
    """Twice the channels, of which the first half is what a network of one answer has room for."""
    shape = (2,) if kind == "mlp" else (3, 8, 6)
    options = {"widths": (8, 16)} if kind == "unet" else {"width": 32, "depth": 1}
    net = un.nets.NETS[kind](shape, answers=2, **options)
    torch.nn.init.normal_(next(p for p in net.last.parameters()), std=0.3)
    made = un.denoiser(net, PROCESS, variance="learned")
    x = torch.randn(2, *shape)
    belief = made(x, PROCESS.level(np.array([0.3, 0.8]), x), {})
    assert belief.x0.shape == belief.v.shape == x.shape
    level = PROCESS.level(np.array([0.3, 0.8]), x)
    told = net(x, level.noise, {})
    torch.testing.assert_close(belief.v, (1 + told[:, shape[0] :]) / 2)
    torch.testing.assert_close(made.answer(x, level, {})[0], told[:, : shape[0]])


def test_the_bound_of_a_run_is_told_and_drawn(tmp_path, capsys):
    """By the variance that it learned, over the chain that it learned it on; the picture names all three."""
    from unnoise.cli import main

    run = un.fit("swissroll", tmp_path / "run", *TINY, "variance={kind: learned, steps: 8}")
    raw = run.recipe.source.split("test").items[:64]
    told = run.likelihood("bound", raw)
    assert "8 steps of the grid time, learned variance" in told.text
    assert told.unit == "nats a number"
    assert np.isfinite(told.value)
    picture = tmp_path / "bound.svg"
    assert main(["plot", "bound", str(run.folder), "--count", "16", "--out", str(picture)]) == 0
    assert picture.stat().st_size > 5000
    assert "drawn in" in capsys.readouterr().out
