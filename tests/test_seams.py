"""The seams that later rooms hang on: tokens, sets of points of any size, and wrappers that take gradients."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from oracles import PROCESSES

import unnoise as un
from unnoise import rng
from unnoise.denoise import exact
from unnoise.denoise.denoiser import Belief
from unnoise.loop import Done
from unnoise.process.level import Level
from unnoise.samplers.moments import gaussian_moments
from unnoise.samplers.step import State
from unnoise.tensor import align

# Tokens: a masked process of V words through the same two loops. A state is one-hot over V + 1, the last the mask.


class Masking:
    """At time t a token is masked with probability t; the prior is all masks."""

    def __init__(self, words: int) -> None:
        self.words = words

    def level(self, t, like, to=None, weight=None):
        return Level.at(PROCESSES["flow"].schedule, t, like, to, weight)  # alpha = 1 − t: the share still told

    def prior(self, shape, seeds, like, t=1.0, cond=None):
        return torch.eye(self.words + 1, device=like.device)[-1].expand(len(seeds), *shape).clone()

    def course(self, span, drawn):
        return range(len(drawn))

    def fresh(self, shape, seeds, like, courses, rows, cond=None):
        return torch.special.ndtr(rng.normal(seeds, rows, shape, like))  # uniforms

    def walk(self, shape, seeds, like, course, cond=None):
        return (self.fresh(shape, seeds, like, (), [row] * len(seeds)) for row in course)


@dataclass(frozen=True, eq=False)
class Unmask:
    """From t to s every masked token is told with probability (t − s)/t, drawn from the belief."""

    t: np.ndarray
    end: float = 0.0
    memories: int = 1
    head: None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", float(self.t[0]))
        object.__setattr__(self, "to", np.append(self.t[1:], self.end))
        object.__setattr__(self, "weight", np.ones(len(self.t)))
        object.__setattr__(self, "rows", len(self.t))

    def draws(self, row):
        return True

    def noise_ends(self):
        return self.t, self.to

    def begin(self, x):
        return State(x, x, (x,))

    def _told(self, row):
        return (self.t[row] - self.to[row]) / self.t[row]

    def specialise(self):
        return [partial(self._step, torch.tensor([self._told(row)])) for row in range(self.rows)]

    @staticmethod
    def _step(share, state, x0, draw, v):
        return Telling(share.expand(len(x0)).float()).advance(state, x0, draw())

    def join(self, plans, like):
        return Shares(torch.tensor([p._told(row) for p in plans for row in range(p.rows)], dtype=torch.float32))


@dataclass(frozen=True)
class Shares:
    rows: torch.Tensor
    memories = 1

    def ahead(self, at, index):
        return [Telling(share) for share in self.rows[index].reshape(at.shape)]


@dataclass(frozen=True)
class Telling:
    share: torch.Tensor

    def advance(self, state, x0, noise, v=None):
        masked, words = state.x[..., -1] == 1, x0.shape[-1] - 1
        told = masked & (noise[..., -1] < align(self.share, masked))
        choice = (noise[..., :words].log() / x0[..., :words]).argmax(-1)  # exponential races: word k wins by x0_k
        x = torch.where(told[..., None], torch.nn.functional.one_hot(choice, words + 1).float(), state.x)
        return State(x, x, state.memory)


class Unigram:
    """The belief of independent words, and what is told stays."""

    def __init__(self, shares) -> None:
        self.process, self.shares = Masking(len(shares)), torch.tensor([*shares, 0.0])

    def __call__(self, x, level, cond):
        return Belief(torch.where(x[..., -1:] == 1, self.shares, x))


def test_tokens_run_through_both_loops_and_have_the_words_of_the_belief():
    """Seed 0..99: the shares of 6400 words within 4 standard errors, no mask left; both loops bit for bit."""
    shares = [0.5, 0.3, 0.15, 0.05]
    denoiser = Unigram(shares)
    plan = Unmask(np.linspace(1, 0, 9)[:-1])
    x = un.sample(denoiser, plan, (64, 5), range(100))
    assert torch.equal(x.sum(-1), torch.ones(100, 64))
    found = x.mean((0, 1)).numpy()
    assert found[-1] == 0
    assert np.all(np.abs(found[:-1] - shares) < 4 * np.sqrt(np.multiply(shares, np.subtract(1, shares)) / 6400))
    engine = un.Engine(denoiser, places=7)
    engine.submit(un.Job(Unmask(np.array([1.0, 0.5])), (64, 5), [1000]))
    engine.tick()
    ticket = engine.submit(un.Job(plan, (64, 5), range(10)))
    done = {}
    while engine.busy:
        done.update({e.index: e.x for e in engine.tick() if isinstance(e, Done) and e.ticket == ticket})
    assert torch.equal(torch.stack([done[i] for i in range(10)]), x[:10])


def test_half_way_half_of_the_tokens_are_told():
    plan = Unmask(np.linspace(1, 0.5, 5)[:-1], end=0.5)
    x = un.sample(Unigram([0.7, 0.3]), plan, (64, 3), range(100))
    assert float(x[..., -1].mean()) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 6400))


# Sets of points: items of any size in one batch, padded; a mask in cond, the centre of mass at zero.


def _centred(x: torch.Tensor, cond) -> torch.Tensor:
    mask = cond["mask"][..., None].to(x.dtype)
    return (x - (x * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)) * mask


POINTS = un.Gaussian(PROCESSES["cosine"].schedule, _centred)


class Cloud:
    """The belief about independent centred points, with something beside it that the constraint takes away."""

    process = POINTS

    def __call__(self, x, level, cond):
        alpha, sigma = align(level.alpha, x), align(level.sigma, x)
        gain = alpha * 0.25 / (alpha**2 * 0.25 + sigma**2)
        return Belief(POINTS.constrain(gain * x + 3.0, cond))


@pytest.mark.parametrize("sampler", ["ddpm", "dpmpp_2m"])
def test_sets_of_points_keep_their_mask_and_their_centre(sampler):
    """Sizes 2 to 6 in one batch of both loops: nothing beyond the mask, centre 0, and (n − 1)/n of the variance.

    The variance of the plan's own samples, by algebra: a projection commutes with every row.
    """
    sizes = torch.tensor([2, 3, 6, 5] * 40)
    cond = {"mask": (torch.arange(6) < sizes[:, None]).float()}
    plan = un.plan(sampler, POINTS, steps=20)
    seeds = range(160)
    beyond = (cond["mask"][..., None] == 0).expand(-1, -1, 3)
    for state, _ in un.generate(Cloud(), plan, (6, 3), seeds, cond):
        assert not state.base[beyond].any()
        assert float(state.base.sum(1).abs().max()) < 1e-5 * (1 + float(state.base.abs().max()))
    x = state.base
    _, variance = gaussian_moments(plan, POINTS.schedule, np.array([0.0]), np.array([0.25]), exact_start=False)
    for n in (2, 3, 6):
        mine = x[sizes == n][:, :n]
        wanted = variance[0] * (n - 1) / n
        assert float(mine.square().mean()) == pytest.approx(wanted, rel=5 * math.sqrt(2 / (40 * 3 * (n - 1))))
    together = un.Engine(Cloud(), places=9).run(un.Job(plan, (6, 3), seeds[:20], {"mask": cond["mask"][:20]}))
    torch.testing.assert_close(together, x[:20], rtol=1e-5, atol=1e-5)


# Gradients: a wrapper that corrects the belief by the gradient of a measurement's misfit through the denoiser.


@dataclass(frozen=True)
class Measured:
    """D + (sigma²/alpha)·grad log p(y | x_t), where y = x_0[0] + noise and p(y | x_t) is N(D[0], variance(t)).

    For a normal and the right variance this is the posterior mean given y too (Bayes).
    """

    inner: exact.Normal
    y: float
    noise: float

    @property
    def process(self) -> un.Gaussian:
        return self.inner.process

    def __call__(self, x, level, cond):
        cov = self.inner.cov
        with torch.enable_grad():  # the loops are no_grad, never inference_mode
            here = x.detach().requires_grad_()
            belief = self.inner(here, level, cond).x0
            a, s = level.alpha.double(), level.sigma.double()
            eye = torch.eye(len(cov), dtype=torch.float64)
            inverse = torch.linalg.inv(a[:, None, None] ** 2 * cov + s[:, None, None] ** 2 * eye)
            left = cov - a[:, None, None] ** 2 * cov @ inverse @ cov  # the covariance of x_0 given x_t
            variance = (left[:, 0, 0] + self.noise**2).to(x.dtype)
            log_p = -(self.y - belief[:, 0]).square() / (2 * variance)
            (slope,) = torch.autograd.grad(log_p.sum(), here)
        return Belief(belief.detach() + align(level.sigma.square() / level.alpha, x) * slope)


@pytest.mark.parametrize("engine", [False, True])
def test_a_wrapper_may_take_a_gradient_through_the_denoiser(engine):
    """Samples given a measurement: the Gaussian posterior's mean and covariance, known in closed form."""
    mean, cov = np.array([0.5, -0.5]), np.array([[1.0, 0.8], [0.8, 1.2]])
    prior = exact.Normal(PROCESSES["linear"], mean, cov)
    prior.cov = torch.from_numpy(cov)
    guided = Measured(prior, y=2.0, noise=0.3)
    plan = un.plan("dpmpp_2m", prior.process, steps=40)
    if engine:
        x = un.Engine(guided, places=1000, sizes=(1000,)).run(un.Job(plan, (2,), range(1000)))
    else:
        x = un.sample(guided, plan, (2,), range(1000))
    assert not x.requires_grad
    gain = cov[:, 0] / (cov[0, 0] + 0.3**2)
    wanted_mean, wanted_cov = mean + gain * (2.0 - mean[0]), cov - np.outer(gain, cov[0])
    found = x.numpy()
    np.testing.assert_allclose(found.mean(0), wanted_mean, atol=0.02 + 4 * np.sqrt(np.diag(wanted_cov) / 1000).max())
    np.testing.assert_allclose(np.cov(found.T), wanted_cov, atol=0.1)
