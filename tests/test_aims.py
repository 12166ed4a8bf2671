"""Targets pooled over the items: the gradient is the mean of regression's given x_t, and varies less."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from unnoise import rng
from unnoise.adapting import recipe_of
from unnoise.comparison.entries import Group, same_questions
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.denoise import TARGETS, denoiser
from unnoise.nets import MLP
from unnoise.process import Gaussian, schedules
from unnoise.recipe import load
from unnoise.tensor import align
from unnoise.train import Draws, Regression, Shuffled
from unnoise.train.aims import Stable
from unnoise.train.levels import LogNormal
from unnoise.train.uncertainty import Uncertainty
from unnoise.train.weights import MinSNR
from unnoise.training import Training, fit

N, CLASSES = 12, 3


def encode(raw, generator):
    return torch.from_numpy(raw)


def setting(target="velocity", schedule=None):
    """Items of three classes, a network that answers something, and an objective that knows the items."""
    points = rng.host("stable items").standard_normal((N, 2))
    items = Items(points, {"label": np.arange(N) % CLASSES})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = MLP((2,), width=16, depth=1, embed_width=16, features=8, classes=CLASSES).double()
        nn.init.normal_(net.last.weight, std=0.3)
    made = denoiser(net, Gaussian(schedule or schedules.Karras()), target)
    asked = Regression(LogNormal(), MinSNR(), Stable())
    return made, asked.knowing(made.process, items, encode, Shuffled(items, encode)), items, asked


def gradient(made, minimised):
    return torch.cat([g.flatten() for g in torch.autograd.grad(minimised.sum(), list(made.net.parameters()))])


def minimised(loss):
    return loss.value if loss.minimised is None else loss.minimised


@pytest.mark.parametrize("label", [0, 2, CLASSES], ids=["first", "last", "null"])
@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"mean"}))
def test_the_gradient_is_the_mean_of_regressions_given_what_is_seen(target, label):
    """sum_i r_i·grad L_i: the items that x_t may have been made of, each as often as the posterior has it."""
    made, pooled, items, _ = setting(target)
    y = torch.from_numpy(items.take(np.arange(N))[0])
    own = [i for i in range(N) if label in (CLASSES, i % CLASSES)]
    for t in (0.35, 0.6, 0.85):
        times = np.full(1, t)
        level = made.process.level(times, y[:1])
        alpha, sigma = align(level.alpha, y[:1]), align(level.sigma, y[:1])
        x = alpha * y[own[:1]] + sigma * torch.randn(1, 2, dtype=y.dtype, generator=rng.generator("seen", str(t)))
        far = np.array([float((x - alpha * y[i]).square().sum() / (2 * sigma**2)) for i in own])
        shares = np.exp(far.min() - far) / np.exp(far.min() - far).sum()
        regression, cond = Regression(pooled.levels, pooled.weight), {"label": torch.tensor([label])}
        wanted = 0.0
        for i, share in zip(own, shares, strict=True):
            loss = regression.at(made, y[[i]], cond, times, (x - alpha * y[[i]]) / sigma)
            wanted = wanted + share * gradient(made, minimised(loss))
        for i in own[:2]:  # whichever of them it was
            loss = pooled.at(made, y[[i]], cond, times, (x - alpha * y[[i]]) / sigma)
            torch.testing.assert_close(gradient(made, minimised(loss)), wanted, rtol=1e-8, atol=1e-10)
        assert shares.max() < 0.999  # or nothing was pooled


def test_what_is_told_is_regressions():
    made, pooled, items, _ = setting()
    x0, cond = Shuffled(items, encode)(0, 8)
    told = pooled(made, x0, cond, Draws("stable", batch=8))
    plain = Regression(pooled.levels, pooled.weight)(made, x0, cond, Draws("stable", batch=8))
    assert plain.minimised is None
    assert told.minimised is not None
    for name in ("value", "error", "noise"):
        assert torch.equal(getattr(told, name), getattr(plain, name))
    assert not torch.equal(told.minimised, plain.value)


def test_a_learned_weight_expects_regressions_loss_and_divides_the_pooled_gradient_by_it():
    made, pooled, items, _ = setting()
    x0, cond = Shuffled(items, encode)(0, 8)
    beside = Uncertainty(8)
    nn.init.normal_(beside.slopes, std=0.3)
    plain, told = (
        o(made, x0, cond, Draws("stable", batch=8)) for o in (Regression(pooled.levels, pooled.weight), pooled)
    )
    weighed = pooled(made, x0, cond, Draws("stable", batch=8), beside)
    found = torch.autograd.grad(weighed.minimised.sum(), [*beside.parameters(), *made.net.parameters()])
    wanted = torch.autograd.grad(beside.balance(plain.value, plain.noise).sum(), list(beside.parameters()))
    wanted += torch.autograd.grad((told.minimised / beside.expected(told.noise)).sum(), list(made.net.parameters()))
    torch.testing.assert_close(found, wanted)
    assert torch.equal(weighed.value, plain.value)


def test_in_much_noise_the_gradient_varies_far_less_and_in_little_it_is_regressions():
    """Of 200 draws of item and noise each: what the item adds beside x_t to the variance is gone, half of it here."""
    made, pooled, items, _ = setting("data")
    y = torch.from_numpy(items.take(np.arange(N))[0])
    which = torch.from_numpy(rng.host("which").integers(N, size=200))
    noise = torch.randn(200, 2, dtype=y.dtype, generator=rng.generator("noise"))
    cond = {"label": torch.full((200,), CLASSES)}

    def spread(objective, t):
        loss = minimised(objective.at(made, y[which], cond, np.full(200, t), noise))
        weights = list(made.net.parameters())
        rows = [torch.autograd.grad(one, weights, retain_graph=True) for one in loss]
        return float(torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]).var(0).sum())

    regression = Regression(pooled.levels, pooled.weight)
    assert spread(pooled, 0.95) < 0.7 * spread(regression, 0.95)
    assert spread(pooled, 0.02) == pytest.approx(spread(regression, 0.02), rel=1e-3)


def test_where_there_is_no_noise_the_item_itself_is_wanted():
    made, pooled, items, _ = setting("data", schedules.Flow())
    x0, cond = Shuffled(items, encode)(0, 4)
    loss = pooled.at(made, x0, cond, np.zeros(4), torch.randn_like(x0))
    assert torch.isfinite(loss.minimised).all()
    torch.testing.assert_close(loss.minimised, loss.value)


def test_it_must_know_the_items_first():
    made, _, items, asked = setting()
    x0, cond = Shuffled(items, encode)(0, 4)
    with pytest.raises(UserError, match="does not know the items"):
        asked(made, x0, cond, Draws("stable", batch=4))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["modality.dequantise=true"], "as they are, and training sees them changed"),
        (["augment={kind: warp, mirror: false, share: 0.5}"], "'augment' is told of these: take objective.aim=item"),
        (["augment=mirror"], "training sees them changed"),
    ],
)
def test_what_it_cannot_pool_is_refused_before_a_run_is_begun(overrides, said, tmp_path):
    recipe = load("digits", ["objective.aim=stable", *overrides])
    with pytest.raises(UserError, match=said):
        Training(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_many_items_are_counted(monkeypatch):
    made, _, items, asked = setting()
    monkeypatch.setattr("unnoise.train.aims.MOST", 2 * N - 1)
    with pytest.raises(UserError, match="12 of 2 numbers here, and 23 numbers are the most"):
        asked.knowing(made.process, items, encode, Shuffled(items, encode))


def test_a_part_around_it_is_trained_by_regression_and_held_out_losses_are_comparable(tmp_path):
    quick = ["train.items=64", "train.batch=32", "net={kind: unet, widths: [8], blocks: 1}"]
    runs = [fit("digits", tmp_path / aim, *quick, f"objective={{aim: {aim}}}") for aim in ("stable", "item")]
    assert same_questions([Group(run.folder.name, {}, (run,)) for run in runs])
    part = recipe_of(load("digits", quick), runs[0], {"kind": "lora", "rank": 2})
    assert type(part.objective) is Regression
    assert part.objective == runs[1].recipe.objective


def test_a_resume_is_exact_to_the_bit(tmp_path):
    recipe = load("digits", ["objective.aim=stable", "train.items=512", "train.checkpoint_every=256"])
    whole = Training(recipe, tmp_path / "whole")
    for _ in whole.ticks():
        pass
    parts = Training(recipe, tmp_path / "parts")
    for tick in parts.ticks():
        if tick.items >= 256:
            parts.stop()
    assert not parts.done
    again = Training(recipe, tmp_path / "parts", resume=True)
    for _ in again.ticks():
        pass
    first, second = (copy.deepcopy(run.trainer.best.net.state_dict()) for run in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
