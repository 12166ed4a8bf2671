"""A generator and its critic, a decoder and its encoder: games and bounds held against closed forms, and their runs."""

import hashlib
import math
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

import unnoise as un
from unnoise import rng
from unnoise.advise import advice
from unnoise.cli import main
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.denoise import denoiser
from unnoise.folder import read
from unnoise.nets import MLP, Net
from unnoise.process import schedules
from unnoise.process.gaussian import Gaussian
from unnoise.recipe import load
from unnoise.train import GAN, VAE, Draws, TrainConfig, Trainer, checkpoint, once
from unnoise.train.gan import judge
from unnoise.train.objective import Regression
from unnoise.train.once import start
from unnoise.train.order import Shuffled
from unnoise.train.vae import Encoder
from unnoise.training import Training

FLOW = Gaussian(schedules.Flow())
PERCEPTRON = {"kind": "mlp", "width": 16, "depth": 1}
SMALL = {"kind": "mlp", "width": 32, "depth": 1, "waves": 0, "features": 2, "embed_width": 4}


class Field(Net):
    """A network that is any function of x."""

    def __init__(self, shape, function):
        super().__init__(shape)
        self.function = function
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x, noise_level, cond):
        return self.weight * self.function(x)


def net_of(seed=0, shape=(2,), **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = MLP(shape, width=16, depth=1, embed_width=16, features=8, classes=3, **options)
        nn.init.normal_(net.last.weight, std=0.3)
    return net.double()


def draw(*shape, of="x"):
    return torch.randn(*shape, generator=rng.generator("gan and vae", of), dtype=torch.float64)


def grads(value, net):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(net.parameters()), retain_graph=True)])


# ---------------------------------------------------------------- the game


def test_each_player_descends_its_own_loss_and_no_other():
    """The gradients of what is minimised: of the critic's loss at the critic, of the generator's at the generator."""
    game, x, cond = GAN(PERCEPTRON, gamma=0.7, step=0.01), draw(8, 2), {"label": torch.arange(8) % 4}
    generator, critic, draws = net_of(1), net_of(2), Draws("game", batch=8)
    made = denoiser(generator, FLOW, "data")
    loss = game(made, x, cond, draws, critic)

    level, noise = start(made, x), draws.normal("noise", x)
    sample = made(noise, level, cond).x0
    at = partial(judge, critic, level=level, cond=cond)
    apart = at(x) - at(sample)

    def slope(place, name):
        return ((at(place + 0.01 * draws.normal(name, x)) - at(place)) / 0.01).square()

    theirs = F.softplus(-apart) + 0.35 * (slope(x, "aside") + slope(sample.detach(), "aside, of samples"))
    torch.testing.assert_close(loss.value, F.softplus(-apart).detach())
    torch.testing.assert_close(grads(loss.minimised.sum(), critic), grads(theirs.sum(), critic))
    torch.testing.assert_close(grads(loss.minimised.sum(), generator), grads(F.softplus(apart).sum(), generator))


def test_the_slope_along_one_direction_is_the_gradients_square_in_the_mean():
    """E_n[((D(x + e·n) − D(x))/e)²] → |∇D(x)|²: within 4 standard errors over 20,000 directions, of a curved critic."""
    critic, x = net_of(3), draw(1, 2)
    level, cond = start(denoiser(critic, FLOW, "data"), x), {"label": torch.tensor([1])}
    x.requires_grad_()
    (slope,) = torch.autograd.grad(judge(critic, x, level, cond).sum(), x)
    x = x.detach()
    moved = x + 1e-4 * draw(20_000, 2, of="n")
    with torch.no_grad():
        found = ((judge(critic, moved, level, cond) - judge(critic, x, level, cond)) / 1e-4).square()
    assert abs(found.mean() - slope.square().sum()) < 4 * found.std() / len(found) ** 0.5
    assert slope.square().sum() > 0.01


def test_a_critic_that_cannot_tell_reads_log_two():
    """At the start every network answers 0: both losses are log 2, and the slopes 0."""
    game, x = GAN(PERCEPTRON, gamma=3.0), draw(4, 2).float()
    made = denoiser(MLP((2,), width=8, depth=1), FLOW, "data")
    loss = game(made, x, {}, Draws("start", batch=4), game.beside(made.net))
    torch.testing.assert_close(loss.value, torch.full((4,), math.log(2)))
    torch.testing.assert_close(loss.minimised, torch.full((4,), 2 * math.log(2)))


def trained(objective, data, **fields):
    """A trainer after its training, of points given as an array."""
    config = TrainConfig(**{"batch": 128, "warmup": 2000, "snapshots": 0, "log_every": 10**6, **fields})
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = MLP(data.shape[1:], **{key: value for key, value in SMALL.items() if key != "kind"})
    feed = Shuffled(Items(data, {}), lambda raw, _: torch.from_numpy(raw))
    trainer = Trainer(denoiser(net, FLOW, "data"), objective, feed, config)
    for _ in trainer.run():
        pass
    return trainer


COVARIANCE = np.array([[0.5, 0.3], [0.3, 0.6]])
MEAN = np.array([0.5, -0.2])


def gaussian(count):
    return rng.host("gan and vae", "data").multivariate_normal(MEAN, COVARIANCE, count).astype(np.float32)


def test_a_generator_finds_the_law_of_its_data():
    """300 steps on a correlated normal (seed 0): mean within 0.15, covariance within a quarter of its trace's half."""
    trainer = trained(GAN(SMALL, gamma=0.1, step=0.3), gaussian(4000), items=38_400, lr=1e-2, betas=(0.5, 0.99))
    plan = un.plan("ddim", FLOW, steps=1)
    x = un.sample(trainer.best, plan, (2,), range(4000)).double().numpy()
    assert np.abs(x.mean(0) - MEAN).max() < 0.15
    assert np.abs(np.cov(x.T) - COVARIANCE).max() < 0.25 * np.trace(COVARIANCE) / 2


# ---------------------------------------------------------------- the bound


def linear(latent, noise=0.3, size=4):
    """A linear decoder with orthogonal columns, the deviation of its normal, and its exact posterior as an encoder.

    x = W·z + noise·eps, W = U·diag(w): the posterior is normal with variance v = noise²/(w² + noise²) along each
    direction and mean v·Wᵀx/noise² (Tipping & Bishop, 1999).
    """
    W = np.linalg.qr(rng.host("linear").standard_normal((size, size)))[0][:, :latent] * np.linspace(0.5, 1.5, latent)
    w = torch.from_numpy(W)
    variance = noise**2 / (w.square().sum(0) + noise**2)

    def encode(x, P):
        mean = (x[:, :size] @ w / noise**2) * variance
        log_variance = variance.log().expand(len(x), -1)
        return torch.cat((mean @ P.T - x[:, :size], log_variance @ P.T), dim=1)  # an encoder answers what to add to x

    encoder = Encoder(Field((2 * size,), lambda x: x), latent).double()
    P = torch.eye(size).double() if encoder.directions is None else encoder.directions
    assert (encoder.directions is None) == (latent == size), "no matrix is kept where it is 1"
    encoder.net.function = partial(encode, P=P)
    nn.init.constant_(encoder.tenth, math.log(noise) / 10)
    decoder = denoiser(Field((size,), lambda x: x @ P @ w.T), FLOW, "data")
    return decoder, encoder, w, noise


@pytest.mark.parametrize("latent", [2, 4])
def test_the_bound_is_the_likelihood_where_the_encoder_is_exact(latent):
    """−ELBO = −log N(x; 0, W·Wᵀ + s²·I)/N in the mean over the noise (4 standard errors), and any other is above it."""
    decoder, encoder, w, s = linear(latent)
    x = draw(1, 4, of="item")
    law = torch.distributions.MultivariateNormal(torch.zeros(4).double(), w @ w.T + s**2 * torch.eye(4).double())
    exact = float(-law.log_prob(x)) / 4
    many, noise = x.expand(40_000, -1), draw(40_000, 4, of="noise")

    def mean(of):
        with torch.no_grad():
            bound = VAE({}).bound(decoder, of, many, {}, noise)
        value = bound.distortion + bound.rate
        return float(value.mean()), float(value.std()) / len(value) ** 0.5

    value, error = mean(encoder)
    assert abs(value - exact) < 4 * error + 1e-9
    right = encoder.net.function
    for change in (lambda x: right(x) + 0.3, lambda x: right(x) - 0.3, lambda x: 0 * right(x)):
        encoder.net.function = change
        value, error = mean(encoder)
        assert value > exact + 4 * error


def test_the_rate_is_the_divergence_of_two_normals():
    decoder, encoder, *_ = linear(4)
    x = draw(6, 4)
    mean, log_variance = encoder(x, torch.zeros(6).double(), {})
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1) / 4
    torch.testing.assert_close(VAE({}).bound(decoder, encoder, x, {}, draw(6, 4)).rate, expected)


def test_the_decoder_hears_in_training_what_it_hears_in_sampling():
    """An encoder that says nothing leaves x_T as it was drawn; one that does leaves what is outside its directions."""
    heard = []
    encoder = Encoder(Field((8,), lambda x: torch.cat((-x[:, :4], 0 * x[:, :4]), dim=1)), 2).double()
    decoder = denoiser(Field((4,), lambda x: heard.append(x) or x), FLOW, "data")
    x, noise = draw(5, 4), draw(5, 4, of="noise")
    VAE({}).bound(decoder, encoder, x, {}, noise)
    torch.testing.assert_close(heard[-1], noise, rtol=0, atol=1e-6)
    encoder.net.function = lambda x: x
    VAE({}).bound(decoder, encoder, x, {}, noise)
    P = encoder.directions
    outside = torch.eye(4).double() - P @ P.T
    torch.testing.assert_close(P.T @ P, torch.eye(2).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(heard[-1] @ outside, noise @ outside, rtol=0, atol=1e-6)
    assert (heard[-1] - noise).abs().max() > 0.1


@pytest.mark.parametrize("latent", [1, 2])
def test_a_decoder_reaches_the_entropy_of_its_data(latent):
    """The least −ELBO on a normal is its entropy, in one direction too (Tipping & Bishop, 1999): 200 steps, seed 0."""
    objective = VAE(SMALL, latent=latent)
    trainer = trained(objective, gaussian(4000), items=25_600, lr=1e-2, betas=(0.9, 0.99))
    entropy = (math.log((2 * math.pi * math.e) ** 2 * np.linalg.det(COVARIANCE))) / 4
    x = torch.from_numpy(gaussian(4000))
    with torch.no_grad():
        bound = objective.bound(trainer.best, trainer._beside.net, x, {}, torch.randn(x.shape))
    value = bound.distortion + bound.rate
    error = float(value.std()) / len(value) ** 0.5
    assert entropy - 4 * error < value.mean() < entropy + 0.06


# ---------------------------------------------------------------- one question


def test_a_generator_is_asked_once():
    for name in ("ddim", "euler", "heun", "ddpm"):
        once.check(un.plan(name, FLOW, steps=1, grid="time"))
    for plan in (
        un.plan("ddim", FLOW, steps=2),
        un.plan("ddim", FLOW, grid=[0.5, 0.0]),
        un.plan("ddim", FLOW, grid=[1.0, 0.1]),
    ):
        with pytest.raises(UserError, match="a generator has learned one answer, at t = 1"):
            once.check(plan)


TINY = ("net={kind: mlp, width: 16, depth: 1}", "train.items=384", "train.batch=32", "train.warmup=64",
        "train.log_every=64", "train.checkpoint_every=128", "train.validate_every=192")  # fmt: skip


def hashes(folder):
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.parametrize(("recipe", "kept"), [("digits-gan", "critic"), ("digits-vae", "encoder")])
def test_a_resume_is_exact_to_the_bit(recipe, kept, tmp_path):
    """Stopped twice between checkpoints, in batches of parts: the same files, the network beside among them."""
    made = load(recipe, [*TINY, "train.accumulate=2", "net.dropout=0.1"])
    straight = un.fit(made, tmp_path / "straight")
    for last in (160, 320):
        for tick in Training(made, tmp_path / "stopped", resume=True).ticks():
            if tick.items >= last:
                break
    stopped = un.fit(made, tmp_path / "stopped", resume=True)
    found = hashes(straight.folder / "checkpoints")
    assert f"{384:012d}/{kept}.safetensors" in found
    assert hashes(stopped.folder / "checkpoints") == found
    assert stopped.history == straight.history
    beside = checkpoint.newest(straight.folder / "checkpoints").tensors(kept)
    assert any(name.startswith("optimiser.exp_avg.") for name in beside)
    assert not any(torch.equal(a, b) for (a, b) in zip(beside.values(), straight.tensors.values(), strict=False)
                   if a.shape == b.shape and a.numel() > 64), "the two are networks of their own"  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return un.fit("digits-gan", tmp_path_factory.mktemp("runs") / "gan", *TINY, "train.items=64")


def test_a_run_of_a_generator_samples_like_any_other(run, tmp_path, capsys):
    assert run.plan().rows == 1
    x = run.sample(4, label=3, raw=False)
    states = run.trajectory(range(4), label=[3] * 4)
    assert torch.equal(states.states[-1], x)
    level = start(run.denoiser, x)
    noise = rng.prior(range(4), run.recipe.shape, x)
    torch.testing.assert_close(run.denoiser(noise, level, {"label": torch.full((4,), 3)}).x0, x)
    assert main(["sample", str(run.folder), "--steps", "20", "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "take ddim with 1 step; this plan asks 20 questions" in said
    for words in (["tune"], ["sample", "--sampler", "tuned", "--evaluations", "4"]):
        assert main([words[0], str(run.folder), *words[1:], "--device", "cpu"]) == 2
        assert "is asked once" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"not trained by regression"):
        run.held_out()


def test_what_is_beside_is_named_in_the_recipe():
    recipe = load("digits-gan", ["objective.critic={kind: mlp, width: 8, depth: 1}"])
    net = recipe.denoiser().net
    assert recipe.objective.beside(net).parameter_count() < net.parameter_count() / 10
    assert load("digits-vae", [TINY[0]]).objective.beside(net_of(shape=(1, 8, 8))).net.shape == (2, 8, 8)
    own = load("digits-gan")
    assert own.objective.beside(own.denoiser().net).parameter_count() == own.denoiser().net.parameter_count()
    assert "critic" not in own.nodes["objective"] or own.nodes["objective"]["critic"]
    with pytest.raises(UserError, match=r"objective.critic has no kind 'unnet'; did you mean 'unet'"):
        load("digits-gan", ["objective.critic={kind: unnet}"])
    with pytest.raises(UserError, match="no 65 directions"):
        load("digits-vae", ["objective.latent=65"])
    with pytest.raises(UserError, match="sample: a generator has learned one answer"):
        load("digits-gan", ["sample.steps=3"])


def test_a_recipe_that_does_not_say_is_a_regression(tmp_path):
    """Runs from before there was a choice name no kind."""
    recipe = load("spiral")
    assert isinstance(recipe.objective, Regression)
    assert recipe.nodes["objective"]["kind"] == "regression"
    told = yaml.safe_load(recipe.text())
    del told["objective"]["kind"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(told))
    assert read(tmp_path).nodes == recipe.nodes


def test_a_loss_that_has_no_zero_is_no_finding():
    rows = [{"items": k * 10_000, "loss": 0.3 + 0.05 * k, "norm": 1.0} for k in range(1, 9)]
    config = TrainConfig(items=80_000)
    assert advice.judge(advice.Story(rows, config))[0].name == "unstable"
    found = advice.judge(advice.Story(rows, config, descends=False))
    assert [finding.name for finding in found] == ["fine"]
    assert "none to judge the course by" in found[0].sentence
