"""The variational bound: its terms against closed forms, what a learned variance gains, and where it is told."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from oracles import PROCESSES
from scipy.special import erfcx, log_ndtr

from unnoise import rng
from unnoise.config import UserError
from unnoise.denoise import NetDenoiser, exact
from unnoise.denoise.denoiser import Belief
from unnoise.denoise.tail import log_cdf
from unnoise.denoise.variance import Back, Learned
from unnoise.metrics.bound import bound, terms
from unnoise.modality import Image, Points
from unnoise.nets import MLP
from unnoise.samplers.grid import times
from unnoise.train import Bound, Draws, Regression
from unnoise.train.levels import Curriculum, LogNormal, Uniform
from unnoise.train.weights import Learned as LearnedWeight

VARIANCES = np.array([0.6, 0.1])  # of normal data with the mean 0


@dataclasses.dataclass(frozen=True)
class Known:
    """Normal data whose belief tells the very variance of a step back from each time of a chain."""

    process: object
    chain: np.ndarray

    def __call__(self, x, level, cond):
        a, s = level.alpha[:, None], level.sigma[:, None]
        values = torch.from_numpy(VARIANCES).to(x)
        left = values * s**2 / (a**2 * values + s**2)  # Var(x_0 | x_t)
        t = level.times
        at = np.array([int(np.argmin(np.abs(self.chain - one))) for one in t])
        back = Back.over(self.process.schedule, self.chain[at + 1], t, self.chain[np.maximum(at - 1, 0)], x)
        gain, spread, deviation = (leaf[:, None] for leaf in (back.gain, back.spread, back.deviation))
        v = torch.where(back.last[:, None], left.log() / 2 - deviation, torch.log1p(gain * left) / 2) / spread
        return Belief(a * values / (a**2 * values + s**2) * x, v)


def _entropy() -> float:
    return float(0.5 * np.log(2 * np.pi * np.e * VARIANCES).sum())


def _expected(process, chain: np.ndarray, told=None) -> float:
    """The mean bound over normal data, exactly: a KL is quadratic in (x_0, noise), so signs have its mean."""
    total, deviations = 0.0, torch.from_numpy(np.sqrt(VARIANCES))
    denoiser = told or exact.Normal(process, np.zeros(2), np.diag(VARIANCES))
    signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=2)), dtype=torch.float64)
    x0, noise = signs[:, :1] * deviations, signs[:, 1:].expand(4, 2)
    for step, t in enumerate(chain[:-1]):
        level = process.level(np.full(4, t), x0)
        belief = denoiser(process.corrupt(x0, level, noise), level, {})
        ends = np.full(4, chain[step + 1]), np.full(4, t), np.full(4, chain[max(step - 1, 0)])
        v = belief.v if told else 0.0
        total += float(Back.over(process.schedule, *ends, x0).nats(x0, belief.x0, v).sum(1).mean())
    snr = np.exp(process.schedule.logsnr(np.array(chain[0])))
    return total + float(snr * VARIANCES.sum() / 2)


@pytest.mark.parametrize("name", ["cosine", "discrete", "flow", "karras", "zero_terminal"])
@pytest.mark.parametrize("steps", [2, 5, 40])
def test_with_the_variance_that_is_right_the_bound_is_the_entropy_at_any_number_of_steps(name, steps):
    """Steps back of normal data are normal: told their variance, the chain is the truth but for where it begins."""
    process = PROCESSES[name]
    schedule, chain = process.schedule, times("time", process.schedule, steps)
    signal = np.exp(schedule.logsnr(np.array(1.0))) * VARIANCES  # alpha²·variance/sigma² at t = 1
    start = 0.5 * (signal - np.log1p(signal)).sum()  # KL(q(x_1) ‖ prior)
    found = _expected(process, chain, Known(process, chain))
    assert found - _entropy() == pytest.approx(start, abs=1e-9)


@pytest.mark.parametrize("name", ["cosine", "flow", "karras"])
def test_at_the_posterior_variance_the_bound_falls_to_its_continuous_value(name):
    """½·∫ L*(snr) d(snr) between the chain's ends, L* the trace of the posterior covariance; from above, order 1."""
    process = PROCESSES[name]
    schedule = process.schedule
    first = schedule.time(-2 * np.log(np.array([0.05])))[0]

    low, high = schedule.logsnr(np.array([0.99, first]))
    counts = (8, 16, 32, 64, 128)
    inner = [schedule.time(np.linspace(low, high, steps)) for steps in counts]
    found = [_expected(process, np.append(grid, 0.0)) for grid in inner]
    low, high = np.exp([low, high])
    least = 0.5 * np.log((1 + VARIANCES * high) / (1 + VARIANCES * low)).sum()  # the integral of v/(1 + v·snr)/2
    left = VARIANCES / (1 + VARIANCES * high)
    prior = low * VARIANCES.sum() / 2
    # The last step's deviation depends on the step before it: sigma/alpha·sqrt(1 − e^{−2h}).
    excess = []
    for steps, value in zip(counts, found, strict=True):
        h = (np.log(high) - np.log(low)) / (steps - 1)
        variance = -np.expm1(-h) / high
        data = 0.5 * (np.log(2 * np.pi * variance) + left / variance).sum()
        excess.append(value - prior - least - data)
    assert all(a > b > 0 for a, b in itertools.pairwise(excess))
    slopes = np.log2(np.array(excess[:-1]) / excess[1:])
    assert 0.9 < slopes[-1] < 1.1


def test_draws_agree_with_the_closed_form_and_asking_some_steps_agrees_with_asking_all():
    process, count = PROCESSES["cosine"], 4000
    data = exact.Normal(process, np.zeros(2), np.diag(VARIANCES))
    x0 = torch.from_numpy(data.draw(count, 0)).float()
    chain = times("time", process.schedule, 24)
    wanted = _expected(process, chain)
    for asked in (None, 4, 2):
        found = terms(data, x0, chain, asked=asked).totals
        assert found.shape == (count,)
        error = found.std() / np.sqrt(count)
        assert abs(found.mean() - wanted) < 4 * error
    known = terms(Known(process, chain), x0, chain, variance="learned").totals
    assert abs(known.mean() - _entropy()) < 4 * known.std() / np.sqrt(count) + 1e-3


@pytest.mark.parametrize("name", ["linear", "karras", "zero_terminal"])
def test_steps_are_asked_by_how_broad_they_are(name):
    """Every step stands in one run, drawn as often as it counts; near the data, where steps cost most, runs are short:
    what is asked of a few steps scatters less than of as many from runs of one length."""
    process = PROCESSES[name]
    data = exact.Normal(process, np.zeros(2), np.diag(VARIANCES))
    x0 = torch.from_numpy(data.draw(600, 0)).float()
    for steps, some in ((7, (2, 3, 6)), (200, (2, 12, 199))):
        chain = times("time", process.schedule, steps)
        for asked in some:
            found = terms(data, x0, chain, asked=asked)
            assert (found.share.sum(1) == steps).all()
            assert (np.diff(found.which, axis=1) > 0).all()
            for column, share in zip(found.which.T[:-1], found.share[0], strict=False):
                drawn = np.unique(column)
                assert drawn.max() - drawn.min() < share
                assert len(drawn) == share or share > 60
    chain = times("time", process.schedule, 1000)
    few, every = (terms(data, x0, chain, asked=asked).totals for asked in (40, None))
    assert few.std() < 2 * every.std()


def test_a_subsequence_costs_more_and_learned_variance_costs_least():
    """Over every second, fourth .. time of one chain the bound rises at a fixed variance; the right one stays."""
    process = PROCESSES["discrete"]
    whole = times("time", process.schedule, 64)
    fixed, right = [], []
    for every in (1, 2, 4, 8, 16):
        chain = np.append(whole[:-2:every], whole[-2:]) if every > 1 else whole
        fixed.append(_expected(process, chain))
        right.append(_expected(process, chain, Known(process, chain)))
    assert all(b - a > 0.01 for a, b in itertools.pairwise(fixed))
    np.testing.assert_allclose(right, right[0], atol=1e-9)


@pytest.mark.parametrize(("dtype", "error", "slope"), [(torch.float32, 4e-7, 5e-6), (torch.float64, 1e-14, 1e-11)])
def test_the_tail_of_a_normal_law_is_known_far_out(dtype, error, slope):
    """Against scipy's, by the error over max(1, |value|), and the derivative phi/Phi, to ten thousand deviations."""
    x = torch.cat([-torch.logspace(-4, 4, 2001), torch.linspace(0, 8, 801)]).to(dtype).requires_grad_()
    at = x.detach().double().numpy()
    known = log_ndtr(at)
    made = log_cdf(x)
    assert (np.abs(made.detach().double().numpy() - known) / np.maximum(1, np.abs(known))).max() < error
    (found,) = torch.autograd.grad(made.sum(), x)
    below = erfcx(np.maximum(-at, 0) / np.sqrt(2))
    wanted = np.where(at < 0, np.sqrt(2 / np.pi) / below, np.exp(-(at**2) / 2 - known) / np.sqrt(2 * np.pi))
    assert (np.abs(found.double().numpy() - wanted) / np.maximum(wanted, 1e-3)).max() < slope


@pytest.mark.parametrize("v", [0.0, 1.0, -2.0])
def test_levels_are_told_by_their_probability(v):
    """The probabilities of all levels sum to one, and each is the area of its cell under the normal law."""
    from scipy.stats import norm

    process = PROCESSES["cosine"]
    chain = times("time", process.schedule, 10)
    modality = Image(low=0, high=16)
    levels = modality.encode(np.arange(17).reshape(17, 1, 1, 1)).double()
    t = np.full(17, chain[-2])
    back = Back.over(process.schedule, np.zeros(17), t, np.full(17, chain[-3]), levels)
    sd = float((back.deviation + back.spread * v).exp()[0])
    told = torch.full_like(levels, v) if v else 0.0
    for mean in (-1.7, -0.3, 0.93):
        nats = back.nats(levels, torch.full_like(levels, mean), told, modality.cell)[:, 0, 0, 0].numpy()
        edges = np.concatenate([[-np.inf], -1 + (np.arange(16) + 0.5) / 8, [np.inf]])
        np.testing.assert_allclose(np.exp(-nats), np.diff(norm.cdf(edges, mean, sd)), atol=1e-14)
        np.testing.assert_allclose(np.exp(-nats).sum(), 1, rtol=1e-12)
    # far from its mean a level still has a finite cost, in single precision too
    far = back.nats(levels.float(), torch.full_like(levels, 3.0).float(), 0.0, modality.cell)
    assert torch.isfinite(far).all()


def test_the_bound_is_told_in_the_units_of_the_data():
    """Standardised rows: a scale of 2 adds log 2 a coordinate. Whole numbers: a known discrete law is reached."""
    process = PROCESSES["cosine"]
    data = exact.Normal(process, np.zeros(2), np.diag(VARIANCES))
    raw = data.draw(300, 0).astype(np.float32)
    plain = bound(data, Points(), raw, steps=12)
    scaled = bound(data, Points(scale=2.0), 2 * raw, steps=12)
    np.testing.assert_allclose(scaled.nats, plain.nats + 2 * np.log(2), atol=1e-5)
    parts = plain.parts
    assert parts["total"] == pytest.approx(parts["prior"] + parts["steps"] + parts["data"], rel=1e-12)
    assert plain.likelihood.value == pytest.approx(parts["total"])

    # Pixels that are 0, 1 or 2 with known shares: no bound lies below the entropy, and a fine chain is close to it.
    shares, modality = np.array([0.5, 0.2, 0.3]), Image(low=0, high=2)
    values = modality.encode(np.arange(3).reshape(3, 1, 1, 1)).numpy().reshape(3, 1, 1, 1)
    law = exact.Mixture(process, shares, values, np.full((3, 1, 1), 1e-8))
    items = np.random.default_rng(0).choice(3, size=(6000, 1, 1, 1), p=shares)
    told = bound(law, modality, items, steps=200, grid="logsnr", asked=20)
    entropy = -(shares * np.log(shares)).sum() / np.log(2)
    value, error = told.likelihood.value, told.likelihood.error
    assert entropy - 4 * error < value < entropy + 4 * error + 0.03


def test_mistakes_are_told():
    process = PROCESSES["cosine"]
    data = exact.Normal(process, np.zeros(2), np.diag(VARIANCES))
    raw = np.zeros((3, 2), np.float32)
    with pytest.raises(UserError, match="tells no variance"):
        bound(data, Points(), raw, steps=4, variance="learned")
    with pytest.raises(UserError, match="no variance 'posteriour'; did you mean 'posterior'"):
        bound(data, Points(), raw, steps=4, variance="posteriour")
    with pytest.raises(UserError, match="2 steps or more"):
        bound(data, Points(), raw, steps=1)
    with pytest.raises(UserError, match="no curriculum"):
        Bound(Curriculum())
    with pytest.raises(UserError, match="2 to 4 are asked, got 5"):
        bound(data, Points(), raw, steps=4, asked=5)


# Training


STEPS = 12  # of a chain so short that its variances matter


def _net(seed: int = 0) -> MLP:
    torch.manual_seed(seed)
    return MLP((2,), answers=2, width=32, depth=1, features=16, embed_width=32, waves=0)


def test_the_hybrid_loss_moves_the_mean_by_the_simple_loss_alone():
    """The bound's share has no gradient in the weights of the answer, and one in those of the fraction."""
    made = NetDenoiser(_net(), PROCESSES["cosine"], variance=Learned(steps=STEPS))
    for p in made.net.parameters():
        torch.nn.init.normal_(p, std=0.2)
    x0, last = torch.randn(32, 2), made.net.last.weight
    loss = Regression()(made, x0, {}, Draws(0, batch=32))
    share = loss.minimised - loss.value
    (gradient,) = torch.autograd.grad(share.mean(), last, retain_graph=True)
    assert (gradient[:2] == 0).all()
    assert (gradient[2:] != 0).any()
    plain = Regression(weight=LearnedWeight())
    assert torch.equal(plain(made, x0, {}, Draws(0, batch=32), plain.beside(made.net)).minimised,
                       (loss.value + share))  # fmt: skip  # a learned weight balances the simple loss, not the share
    whole = Bound(steps=STEPS)(made, x0, {}, Draws(0, batch=32))
    (gradient,) = torch.autograd.grad(whole.value.mean(), last)
    assert (gradient != 0).any(1).all()


def test_the_loss_of_a_chain_is_the_bound_less_its_prior():
    """The mean of T·L_t over t uniform on a chain's times is what `terms` sums, in bits for each number."""
    process = PROCESSES["cosine"]
    made = NetDenoiser(_net(), process, variance=Learned(steps=STEPS))
    data = torch.from_numpy(exact.Normal(process, np.zeros(2), np.diag(VARIANCES)).draw(20_000, 1)).float()
    objective = Bound(Uniform(steps=STEPS), steps=STEPS)
    with torch.no_grad():
        loss = objective(made, data, {}, Draws(0, batch=len(data))).value.double()
    told = terms(made, data, times("time", process.schedule, STEPS), variance="learned", asked=4)
    bits = (told.totals - told.prior) / (2 * np.log(2))
    apart = float(loss.mean()) - bits.mean()
    assert abs(apart) < 4 * np.hypot(float(loss.std()), bits.std()) / np.sqrt(len(data))


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["hybrid", "bound"])
def test_training_closes_the_gap_between_the_posterior_variance_and_the_entropy(whole):
    """Two normal numbers, 12 steps: the bound of a network is 1.31 nats above the entropy at the posterior
    variance and 0.39 at beta; with its variance 0.02 after the hybrid loss and 0.01 after the bound."""
    process = PROCESSES["cosine"]
    data = exact.Normal(process, np.zeros(2), np.diag(VARIANCES))
    made = NetDenoiser(_net(), process, variance=Learned(share=0.05, steps=STEPS))
    objective = Bound(Uniform(STEPS), steps=STEPS) if whole else Regression(Uniform(STEPS))
    items, count = torch.from_numpy(data.draw(20_000, 0)).float(), 300
    optimiser = torch.optim.Adam(made.net.parameters(), lr=1e-2, betas=(0.9, 0.99))
    for step in range(count):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / count)
        x0 = items[rng.host("test", step).integers(0, len(items), 128)]
        loss = objective(made, x0, {}, Draws(step, batch=128))
        optimiser.zero_grad()
        (loss.value if loss.minimised is None else loss.minimised).mean().backward()
        torch.nn.utils.clip_grad_norm_(made.net.parameters(), 1.0)
        optimiser.step()
    fresh = torch.from_numpy(data.draw(3000, 1)).float()
    chain = times("time", process.schedule, STEPS)
    found = {v: terms(made, fresh, chain, variance=v) for v in ("posterior", "beta", "learned")}
    least = -data.log_density(fresh.double(), process.level(np.zeros(3000), fresh.double())).numpy()
    gap = {v: float((one.totals - least).mean()) for v, one in found.items()}
    assert gap["learned"] < 0.05
    assert gap["beta"] > 0.35
    assert gap["posterior"] > 1.25


def test_steps_that_cost_most_are_asked_more_often_and_the_mean_stays_the_bound():
    """Any law of levels has the mean of the uniform one, by what each step counts; one that fits scatters less."""
    process = PROCESSES["cosine"]
    made = NetDenoiser(_net(), process, variance=Learned(steps=64))
    data = torch.from_numpy(exact.Normal(process, np.zeros(2), np.diag(VARIANCES)).draw(20_000, 1)).float()
    found = []
    for levels in (Uniform(stratify=False), LogNormal(-2.0, 1.5, stratify=False), Uniform(steps=64, stratify=False)):
        with torch.no_grad():
            loss = Bound(levels, steps=64)(made, data, {}, Draws(0, batch=len(data))).value.double().numpy()
        found.append((loss.mean(), loss.std() / np.sqrt(len(loss))))
    (even, wide), (chosen, narrow), again = found
    assert again[0] == even
    assert narrow < 0.7 * wide
    assert abs(even - chosen) < 4 * np.hypot(wide, narrow)
    _, counts = Bound(LogNormal(-2.0, 1.5), steps=64).steps_of((np.arange(64_000) + 0.5) / 64_000, process.schedule, 64)
    assert counts.max() <= 5
    assert counts.mean() == pytest.approx(1, abs=2e-3)  # of probabilities p the mean of 1/(T·p) is 1
