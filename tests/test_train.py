"""Training: weights in closed form, laws of levels and averages, a step beside its references, the optimum reached."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from unnoise import rng
from unnoise.config import UserError, arguments, build
from unnoise.data import Items
from unnoise.denoise import TARGETS, denoiser, exact
from unnoise.denoise.target import EDM, named
from unnoise.nets import MLP, Net
from unnoise.process import Gaussian, Level, schedules
from unnoise.tensor import align
from unnoise.train import (
    LEVELS,
    OBJECTIVES,
    WEIGHTS,
    Diverged,
    Draws,
    HeldOut,
    Levels,
    Loss,
    Objective,
    Power,
    Regression,
    Shuffled,
    TrainConfig,
    Trainer,
    Weight,
    checkpoint,
    optimiser,
)
from unnoise.train import weights as w
from unnoise.train.flat import Flat
from unnoise.train.levels import LEAST, Curriculum, LogitNormal, LogNormal, Uniform
from unnoise.train.muon import Muon
from unnoise.train.objective import average
from unnoise.train.optimiser import Optimiser
from unnoise.train.uncertainty import Uncertainty

SCHEDULES = [
    schedules.Linear(), schedules.Cosine(), schedules.Sigmoid(), schedules.Flow(3.0), schedules.Karras(),
    schedules.Geometric(), schedules.ZeroTerminal(schedules.ScaledLinear()),
]  # fmt: skip
GRID = np.array([LEAST, 1e-3, 0.02, 0.2, 0.5, 0.9, 0.999])


def encode(raw, generator):
    return torch.from_numpy(raw)


def gaussian_items(n=512, std=(1.0, 0.5), label=False):
    points = (rng.host("test", n).standard_normal((n, 2)) * np.array(std)).astype(np.float32)
    return Items(points, {"label": np.arange(n) % 3} if label else {})


def small_trainer(
    process=None, target="velocity", double=False, nulls=None, items=None, net_options=None, objective=None, **fields
):
    fields = {"items": 320, "batch": 32, "log_every": 32, "warmup": 64, "lr": 1e-2, "snapshots": 0, **fields}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = MLP((2,), width=16, depth=1, embed_width=16, features=8, classes=3, **(net_options or {}))
        nn.init.normal_(net.last.weight, std=0.3)  # so that every weight has a gradient at once
    if double:
        net.double()
    items = gaussian_items(100, label=True) if items is None else items
    feed = Shuffled(items, lambda raw, _: torch.from_numpy(raw.astype(np.float64) if double else raw))
    config = TrainConfig(**fields)
    made = denoiser(net, process or Gaussian(schedules.Cosine()), target)
    return Trainer(made, objective or Regression(), feed, config, {"label": 3} if nulls is None else nulls)


# ---------------------------------------------------------------- weights


def paper(weight, snr):
    """The papers' weights on the squared error of x_0, from the signal-to-noise ratio alone (float64)."""
    match weight:
        case w.Noise():
            return snr
        case w.MinSNR():
            return np.minimum(snr, weight.gamma)
        case w.P2():
            return snr / (weight.k + snr) ** weight.gamma
        case w.EDM():
            noise = snr**-0.5
            return (noise**2 + weight.sigma_data**2) / (noise * weight.sigma_data) ** 2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("target", list(TARGETS))
def test_a_weight_on_the_answer_is_the_papers_weight_on_the_data(schedule, target):
    level = Level.at(schedule, GRID, torch.zeros(1, dtype=torch.float64))
    error = torch.randn(len(GRID), 5, dtype=torch.float64, generator=rng.generator("weights"))
    c = named(target)(level)
    fine = level.alpha > 0
    error_x0 = align(c.out, error) * error
    snr = np.exp(schedule.logsnr(GRID))
    for weight in (w.Noise(), w.MinSNR(), w.MinSNR(1.0), w.P2(), w.P2(0.5, 2.0), w.P2(1.0, 0.5), w.EDM(), w.EDM(0.8)):
        ours = weight(level, c.out) * error.square().mean(1)
        theirs = torch.from_numpy(paper(weight, snr)) * error_x0.square().mean(1)
        torch.testing.assert_close(ours[fine], theirs[fine], rtol=1e-9, atol=0)


def test_known_weights_of_known_targets():
    """Hang et al.'s table: min(SNR, 5)/SNR on eps, /(SNR + 1) on v; EDM's weight on EDM's answer is 1."""
    level = Level.at(schedules.Linear(), GRID, torch.zeros(1, dtype=torch.float64))
    snr = (level.alpha / level.sigma).square()
    capped = snr.clamp(max=5.0)
    torch.testing.assert_close(w.MinSNR()(level, named("noise")(level).out), capped / snr)
    torch.testing.assert_close(w.MinSNR()(level, named("velocity")(level).out), capped / (snr + 1))
    torch.testing.assert_close(w.Noise()(level, named("noise")(level).out), torch.ones_like(snr))
    torch.testing.assert_close(w.Noise()(level, named("score")(level).out), level.sigma.square())
    torch.testing.assert_close(w.EDM(0.7)(level, EDM(0.7)(level).out), torch.ones_like(snr))


@pytest.mark.parametrize("target", ["data", "velocity", "flow", "edm"])
def test_weights_are_regular_where_nothing_of_the_data_is_left(target):
    """In single precision, alpha = 0 exactly and next to it: EDM tends to out², the others vanish like alpha²."""
    level = Level.at(schedules.Cosine(), np.array([1.0, 1 - 1e-9]), torch.zeros(1))
    out = named(target)(level).out
    for weight in (w.Noise(), w.MinSNR(), w.P2(), w.P2(0.5, 2.0)):
        assert weight(level, out).tolist() == pytest.approx([0, 0], abs=1e-15)
    torch.testing.assert_close(w.EDM(0.7)(level, out), out.square() / 0.7**2)


# ---------------------------------------------------------------- levels


@pytest.mark.parametrize("stratify", [True, False])
def test_levels_follow_their_law(stratify):
    """Kolmogorov and Smirnov over 200 batches of 64 (seed 3), of all items and of one place in the batch."""
    schedule = schedules.Flow()
    cases = [
        (Uniform(stratify=stratify), lambda t: t, stats.uniform(LEAST, 1 - LEAST)),
        (LogitNormal(0.3, 0.8, stratify), lambda t: np.log(t / (1 - t)), stats.norm(0.3, 0.8)),
        (LogNormal(-1.2, 1.2, stratify), lambda t: -schedule.logsnr(t) / 2, stats.norm(-1.2, 1.2)),
    ]
    for law, read, truth in cases:
        draws = [Draws(3, i, batch=64).uniform("level", law.stratify) for i in range(200)]
        values = np.stack([read(law.quantile(u, schedule)) for u in draws])
        assert stats.kstest(values[:, 5], truth.cdf).pvalue > 0.01
        p = stats.kstest(values.ravel(), truth.cdf).pvalue
        assert p > 0.99 if stratify else 0.01 < p < 0.999  # strata hug the law far closer than chance would


def test_log_normal_levels_are_cut_off_not_heaped_up():
    """On a ladder that begins at sigma = 0.3 the law is the normal one given sigma in 0.3 .. 80."""
    schedule = schedules.Karras(sigma_min=0.3)
    t = LogNormal(-1.2, 1.2).quantile(Draws(0, batch=4096).uniform("level"), schedule)
    low = (math.log(0.3) + 1.2) / 1.2
    truth = stats.truncnorm(low, (math.log(80) + 1.2) / 1.2, loc=-1.2, scale=1.2)
    assert stats.kstest(-schedule.logsnr(t) / 2, truth.cdf).statistic < 1e-3
    assert (t >= LEAST).all()
    with pytest.raises(UserError, match="do not meet"):
        LogNormal(-30.0, 0.1).quantile(np.array([0.5]), schedule)


def test_a_curriculum_begins_with_one_law_and_ends_in_another():
    """Its first law, then a mixture whose share falls in a line, then the last: by the mass above a level between."""
    schedule, first, then = schedules.Flow(), LogNormal(3.0, 0.5), LogNormal(-1.0, 0.5)
    law = Curriculum(first, then, items=1000, keep=0.2)
    u = (np.arange(10_000) + 0.5) / 10_000

    def share(items: int) -> float:
        noise = -schedule.logsnr(law.at(items).quantile(u, schedule)) / 2
        return float((noise > 1).mean())

    assert law.at(0) == law.at(1000) == first
    assert [share(items) for items in (999, 1125, 1250, 1375)] == pytest.approx([1, 0.8, 0.6, 0.4], abs=2e-4)
    assert law.at(1500) == law.at(10**9) == law
    assert share(2000) == pytest.approx(0.2, abs=2e-4)
    assert LogNormal().at(5) == LogNormal()
    np.testing.assert_array_equal(
        replace(law, keep=0.0).quantile(u, schedule), then.quantile(np.clip(u, 1e-12, 1), schedule)
    )
    for wrong, why in (({"items": 0}, "1 item or more"), ({"keep": 1.0}, "share of the first law")):
        with pytest.raises(UserError, match=why):
            Curriculum(**wrong)


def test_training_follows_its_curriculum():
    """What a trainer's ticks tell of: the first law's levels, half of either, the second's."""
    law = Curriculum(LogNormal(2.5, 0.01), LogNormal(-2.5, 0.01), items=128, keep=0.0)
    middles = [tick.levels for tick in small_trainer(objective=Regression(law)).run()]
    assert middles == [[2.5]] * 5 + [[-2.5, 2.5]] + [[-2.5]] * 4


def test_chain_levels_are_each_step_equally_often():
    t = Uniform(steps=10).quantile(Draws(0, batch=1000).uniform("level"), schedules.Cosine())
    assert np.bincount(np.rint(10 * t).astype(int)).tolist() == [0] + [100] * 10


@pytest.mark.parametrize("law", [Uniform(), LogitNormal(0.0, 30.0), LogNormal(0.0, 8.0), Uniform(1000)])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_levels_never_lie_where_there_is_no_noise(law, schedule):
    ends = np.array([0.0, 1e-300, 1e-9, 0.5, 1 - 1e-9, np.nextafter(1, 0)])
    t = law.quantile(ends, schedule)
    assert (t >= LEAST).all()
    assert (t <= 1).all()
    assert (schedule.sigma(t) > 0).all()


def test_strata_cut_the_noise_of_a_batch_mean():
    """A smooth function's mean over B = 64 strata has a variance of order 1/B² times the independent one's."""
    means = {
        s: np.var([np.mean(np.sin(3 * Draws(7, i, batch=64).uniform("u", s))) for i in range(300)])
        for s in (True, False)
    }
    assert means[True] < means[False] / 300


# ---------------------------------------------------------------- draws


def test_parts_of_a_batch_see_the_numbers_of_the_whole():
    whole, other = Draws(1, 2, batch=10), Draws(1, 2, batch=10)
    x = torch.zeros(10, 3)
    noise, u = whole.normal("noise", x), whole.uniform("level")
    other.uniform("something else")  # what is drawn before changes nothing
    for first, size in ((6, 4), (0, 6)):
        part = other.part(first, size)
        assert torch.equal(part.normal("noise", x[:size]), noise[first : first + size])
        assert np.array_equal(part.uniform("level"), u[first : first + size])
    assert not torch.equal(Draws(1, 3, batch=10).normal("noise", x), noise)
    assert not torch.equal(whole.normal("other", x), noise)


# ---------------------------------------------------------------- objective


@pytest.mark.parametrize("target", ["data", "noise", "velocity", "flow", "score", "mean", EDM(0.7)])
def test_the_loss_is_the_error_of_the_answer_and_tells_the_error_of_the_data(target):
    trainer = small_trainer(Gaussian(schedules.Linear()), target, double=True)
    net, process = trainer.denoiser.net.eval(), trainer.denoiser.process
    generator = rng.generator("objective")
    x0, noise = (torch.randn(6, 2, dtype=torch.float64, generator=generator) for _ in range(2))
    t = np.linspace(0.05, 0.95, 6)
    loss = Regression().at(trainer.denoiser, x0, {}, t, noise)
    level = process.level(t, x0)
    x = process.corrupt(x0, level, noise)
    belief = trainer.denoiser(x, level, {}).x0
    torch.testing.assert_close(loss.error, (belief - x0).square().mean(1))
    assert torch.equal(loss.noise, level.noise)
    zero = copy.deepcopy(net)
    nn.init.zeros_(zero.last.weight)
    nn.init.zeros_(zero.last.bias)
    fresh = Regression().at(denoiser(zero, process, target), x0, {}, t, noise)
    c = named(target)(level)
    wanted = align(c.data, x0) * x0 + align(c.noise, x0) * noise
    torch.testing.assert_close(fresh.value, wanted.square().mean(1))


def test_what_a_mask_leaves_out_counts_for_nothing():
    field = torch.arange(24.0).reshape(2, 3, 4)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert average(field, mask).tolist() == [field[0, :2].mean().item(), field[1, :1].mean().item()]
    field[0, 2] = 1e9
    assert average(field, mask)[0] == field[0, :2].mean()
    torch.testing.assert_close(average(field), field.mean((1, 2)))


# ---------------------------------------------------------------- averages


@pytest.mark.parametrize("sigma_rel", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("batch", [10, 50])
def test_an_average_has_the_width_it_is_named_by(sigma_rel, batch):
    """The averages of n and n² along the path n = 0 .. 1 give the density's mean and deviation."""
    kind = Power(sigma_rel)
    first = second = 0.0
    n = 100_000
    for before in range(0, n, batch):
        kept, place = kind.kept(before, before + batch), (before + batch) / n
        first, second = first * kept + place * (1 - kept), second * kept + place**2 * (1 - kept)
    assert first == pytest.approx((kind.gamma + 1) / (kind.gamma + 2), rel=2e-3)
    assert math.sqrt(second - first**2) == pytest.approx(sigma_rel, rel=5e-3)


def test_averages_of_a_training_are_the_recursion_over_its_weights():
    trainer = small_trainer(ema=(0.05, 0.2))
    expected = {}
    for _ in range(6):
        before = trainer.items
        trainer.step()
        for width in (0.05, 0.2):
            kept = Power(width).kept(before, trainer.items)
            now = {k: p.detach().double() for k, p in trainer.denoiser.net.named_parameters()}
            old = expected.get(width, now)
            expected[width] = {k: kept * old[k] + (1 - kept) * now[k] for k in now}
    assert list(trainer.averaged) == ["0.05", "0.2"]
    for name, averaged in trainer.averaged.items():
        assert not averaged.net.training
        for key, p in averaged.net.named_parameters():
            torch.testing.assert_close(p.double(), expected[float(name)][key], rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------- rate and order


@pytest.mark.parametrize(("decay", "area"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_the_rate_is_a_function_of_items(decay, area):
    """Its sum over steps times the batch is the same for every batch: half the warm-up and the decay's area."""
    for batch in (10, 50, 200):
        config = TrainConfig(items=10_000, batch=batch, warmup=2_000, decay=decay, lr=0.1)
        total = sum(config.rate(n) * batch for n in range(0, 10_000, batch))
        assert total == pytest.approx(0.1 * (1_000 + area * 8_000), rel=1e-12)
    assert TrainConfig(items=1000, batch=300).steps == 4


def test_each_epoch_shows_every_item_once_in_an_order_of_its_own():
    items = Items(np.arange(37, dtype=np.float32)[:, None])
    feed = Shuffled(items, encode, seed=5)
    by_ten = np.concatenate([feed.indices(n, 10) for n in range(0, 370, 10)])
    by_hundred = np.concatenate([Shuffled(items, encode, seed=5).indices(n, 74) for n in range(0, 370, 74)])
    assert np.array_equal(by_ten, by_hundred)
    epochs = by_ten.reshape(10, 37)
    assert (np.sort(epochs) == np.arange(37)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 10
    assert np.array_equal(feed.indices(200, 5), by_ten[200:205])  # from the middle, nothing before it
    x0, _ = feed(30, 12)
    assert x0[:, 0].tolist() == by_ten[30:42].tolist()
    assert not np.array_equal(Shuffled(items, encode, seed=6).indices(0, 37), by_ten[:37])


def test_nulls_take_their_share_of_every_batch():
    trainer = small_trainer(drop=0.25)
    labels = torch.arange(32) % 3
    seen = [trainer._with_nulls({"label": labels}, Draws(0, i, batch=32))["label"] for i in range(40)]
    null = torch.stack(seen) == 3
    assert (null.sum(1) == 8).all()  # stratified: the share itself, not only its expectation
    assert stats.binomtest(int(null[:, 0].sum()), 40, 0.25).pvalue > 0.01
    assert torch.equal(torch.stack(seen)[~null], labels.expand(40, 32)[~null])
    assert torch.equal(small_trainer(drop=0.0)._with_nulls({"label": labels}, Draws(0, batch=32))["label"], labels)
    with pytest.raises(UserError, match="did you mean 'label'"):
        small_trainer(drop={"labell": 0.1})


def test_a_recipe_says_all_of_it():
    """Nodes as a recipe writes them, and the resolved nodes build the same objects again."""
    tables = {Objective: OBJECTIVES, Levels: LEVELS, Weight: WEIGHTS}
    node = {"kind": "regression", "levels": {"kind": "log_normal", "mean": -1}, "weight": "p2"}
    made, resolved = build(Objective, node, tables, "objective")
    assert made == Regression(LogNormal(mean=-1.0), w.P2())
    assert build(Objective, resolved, tables, "objective") == (made, resolved)
    given = {"items": 1000, "ema": [0.05, 0.1], "lr": "1e-3", "drop": {"label": 0.2}, "betas": [0.9, 0.999]}
    values, plain = arguments(TrainConfig, given, tables, "train")
    config = TrainConfig(**values)
    assert (config.ema, config.lr, config.drops(("label",))) == ((0.05, 0.1), 1e-3, {"label": 0.2})
    assert TrainConfig(**arguments(TrainConfig, plain, tables, "train")[0]) == config
    for bad in (
        {"items": 0},
        {"decay": "linea"},
        {"betas": (0.9, 1.0)},
        {"accumulate": 200},
        {"drop": 1.5},
        {"lr": 0.0},
    ):
        with pytest.raises(UserError, match=next(iter(bad)) if "accumulate" not in bad else "in 200 parts"):
            TrainConfig(**bad)


# ---------------------------------------------------------------- one step


@pytest.fixture(params=["fused", "plain"])
def step(request, monkeypatch):
    """Either road of the optimiser: the fused kernel, or where a device's kernel reads neither flag nor factor."""
    if request.param == "plain":
        monkeypatch.setattr(optimiser, "PLAIN", ("cpu",))


@pytest.mark.usefixtures("step")
def test_the_optimiser_is_adamw_with_clipping_and_decay_of_matrices():
    """Beside torch's plain AdamW on the separate tensors, with its own clipping."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    twin = copy.deepcopy(net)
    config = TrainConfig(lr=0.05, weight_decay=0.3, clip=0.5, betas=(0.8, 0.95))
    ours = Optimiser(Flat(net), config)
    matrices = [p for p in twin.parameters() if p.ndim >= 2]
    others = [p for p in twin.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.05, betas=(0.8, 0.95), foreach=False)
    for i in range(6):
        x = torch.randn(8, 3) * 3 ** (2 - i)  # norms on both sides of the clip
        for model in (net, twin):
            model.zero_grad()
            model(x).square().sum().backward()
        norm = ours.step(0.05)
        expected = nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        theirs.step()
        torch.testing.assert_close(norm, expected)
        for p, q in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_muon_moves_a_matrix_by_its_momentum_made_orthogonal(dtype, off):
    """Every singular value of the step is lr·0.2·√max(rows, columns), to the quintic's width; its axes are M's own."""
    generator = rng.generator("muon")
    rates, shapes = 0.05, {"wide": (12, 40), "kernel": (24, 3, 3, 3), "tall": (30, 10)}
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    muon = Muon(weights, momentum=0.9, decay=0.0, dtype=dtype)
    memory = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
    for _ in range(3):
        grads = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        before = {name: weight.clone() for name, weight in weights.items()}
        muon.step(grads, rates, torch.tensor(True), torch.tensor(2.0))
        for name, grad in grads.items():
            memory[name] = 0.9 * memory[name] + 0.1 * grad.double() / 2
            wanted = (0.9 * memory[name] + 0.1 * grad.double() / 2).flatten(1)
            step = (before[name] - weights[name]).double().flatten(1) / (rates * 0.2 * max(wanted.shape) ** 0.5)
            u, _, v = torch.linalg.svd(wanted, full_matrices=False)
            inside = u.mT @ step @ v.mT  # diagonal, if the axes are the same
            values = inside.diagonal()
            assert (values > 0.6).all()
            assert (values < 1.3).all()
            assert (inside - values.diag()).abs().max() < off
            torch.testing.assert_close(muon.memory()[name].double(), memory[name], rtol=1e-5, atol=1e-6)


def test_muon_takes_the_matrices_inside_and_adamw_the_rest():
    """Ends, tables, what modulates, biases and gains move exactly as under AdamW alone; a decay shrinks matrices by
    1 − lr·decay."""
    pair = [small_trainer(optimiser=name, weight_decay=0.5) for name in ("adamw", "muon")]
    start = pair[0]._flat.vector.clone()
    for trainer in pair:
        trainer.step()
    flat, lr = pair[0]._flat, pair[0].config.rate(0)
    inside = set(flat.inside)
    assert {"first.weight", "last.weight", "embed.labels.weight", "modulate.weight"}.isdisjoint(inside)
    assert "blocks.0.first.weight" in inside
    alone, beside, before = (flat.named(vector) for vector in (pair[0]._flat.vector, pair[1]._flat.vector, start))
    for name, weight in alone.items():
        assert torch.equal(weight, beside[name]) == (name not in inside), name
    for name in inside:
        w = before[name]
        pull = ((beside[name] - w * (1 - lr * 0.5)).norm() / (lr * 0.2 * (max(w.shape) * min(w.shape)) ** 0.5)).item()
        assert 0.4 < pull < 1.3, name  # |orthogonal| = sqrt(rank), and less where the gradient lacks directions


@pytest.mark.parametrize("parts", [2, 3, 32])
def test_a_batch_in_parts_is_the_batch_in_one_piece(parts):
    """Weights after 5 steps in float64 agree to 1e-9, labels dropped and levels stratified alike."""
    one, many = small_trainer(double=True, drop=0.3), small_trainer(double=True, drop=0.3, accumulate=parts)
    for _ in range(5):
        one.step()
        many.step()
    for p, q in zip(one.denoiser.net.parameters(), many.denoiser.net.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("step")
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_step_without_a_finite_gradient_changes_nothing(kind):
    points = gaussian_items(100)
    points.items[Shuffled(points, encode).indices(64, 1)] = np.nan  # the third batch of 32
    sources = points, gaussian_items(100)
    bad, good = (small_trainer(items=source, nulls={}, optimiser=kind, weight_decay=0.1) for source in sources)
    for trainer in (bad, good):
        trainer.step()
        trainer.step()
    before = {k: v.clone() for k, v in {**bad._optimiser.tensors(), "weights": bad._flat.vector}.items()}
    bad.step()
    for name, tensor in {**bad._optimiser.tensors(), "weights": bad._flat.vector}.items():
        assert torch.equal(tensor, before[name]), name
    bad._look()
    assert (bad.skipped, bad.undefined) == (1, 1), "one item of the batch had no finite loss"
    bad.step()
    assert not torch.equal(bad._flat.vector, before["weights"])
    assert bad._flat.vector.isfinite().all()
    assert torch.equal(good._flat.vector, before["weights"])


def test_gradients_that_stay_undefined_end_the_training_with_a_sentence(tmp_path):
    points = gaussian_items(100)
    trainer = small_trainer(items=points, nulls={})
    trainer.config = TrainConfig(items=32 * 40, batch=32, log_every=64)
    ticks = trainer.run()
    next(ticks)
    path = trainer.save(tmp_path)
    points.items[:] = np.nan
    with pytest.raises(Diverged, match=f"20 steps in a row, at {32 * 22} items: the last checkpoint is {path}"):
        list(ticks)


def test_what_may_be_about_to_diverge_replaces_no_checkpoint(tmp_path):
    """A checkpoint that falls due at a step without a finite gradient waits for the next sound one."""
    points = gaussian_items(400)
    order = Shuffled(points, encode)
    points.items[[order.indices(first, 1)[0] for first in (64, 96)]] = np.nan  # the third and the fourth batch
    trainer = small_trainer(items=points, nulls={}, log_every=1000, checkpoint_every=64)
    saved = []
    for tick in trainer.run():
        if tick.checkpoint:
            saved.append(tick.items)
            trainer.save(tmp_path)
    assert saved[:3] == [64, 160, 192], "128 waited"
    assert (tick.skipped, tick.undefined) == (2, 2)
    assert checkpoint.newest(tmp_path).state["undefined"] == 2
    trainer._flat.vector[0] = np.inf
    with pytest.raises(
        Diverged, match=f"weights are no longer finite, at 320 items: the last checkpoint is {tmp_path}"
    ):
        trainer.save(tmp_path)
    assert checkpoint.newest(tmp_path).items == 320


# ---------------------------------------------------------------- a learned weight


class Known(Objective):
    """A loss whose mean at each level is known: 0.1·exp(noise/2) + 0.02, times a number of mean 1."""

    def beside(self, net):
        return Uncertainty(32)

    def care(self, config):
        return replace(config, weight_decay=0.0, clip=0.0)

    def __call__(self, denoiser, x0, cond, draws, beside=None):
        noise = 6 * torch.from_numpy(draws.uniform("level")).float() - 4
        value = (0.1 * (noise / 2).exp() + 0.02) * draws.normal("loss", x0).square().mean(1)
        return Loss(value, value, noise, beside.balance(value, noise))


def test_a_learned_weight_expects_the_mean_loss_of_each_level():
    """300 steps of 2048 items (seed 0): exp(u) within 5 % of the mean at every level, 2 % on average."""
    trainer = small_trainer(nulls={}, items=gaussian_items(100))
    fields = {"items": 2048 * 300, "batch": 2048, "lr": 2e-2, "warmup": 0, "log_every": 10**6}
    trainer = Trainer(trainer.denoiser, Known(), trainer.feed, TrainConfig(**fields))
    tick = list(trainer.run())[-1]
    at = torch.linspace(-3.8, 1.8, 30)
    ratio = trainer._beside.net.expected(at) / (0.1 * (at / 2).exp() + 0.02)
    assert (ratio - 1).abs().max() < 0.05
    assert abs(ratio.mean() - 1) < 0.02
    assert tick.loss < 0.5, "what is told is the loss itself, not loss/exp(u) + u"


def test_a_learned_weight_divides_the_gradient_by_what_it_expects():
    net = Uncertainty(8)
    generator = rng.generator("balance")
    nn.init.normal_(net.slopes, generator=generator)
    noise, a = torch.randn(6, generator=generator), torch.rand(6, generator=generator)
    theta = torch.tensor(2.0, requires_grad=True)
    net.balance(theta * a, noise).sum().backward()
    expected = net.expected(noise)
    torch.testing.assert_close(theta.grad, (a / expected).sum())
    torch.testing.assert_close(net.offset.grad, (1 - theta.detach() * a / expected).sum().reshape(1))
    made, resolved = build(Weight, {"kind": "learned", "base": {"kind": "edm", "sigma_data": 0.7}}, {Weight: WEIGHTS})
    assert made == w.Learned(w.EDM(0.7))
    assert build(Weight, resolved, {Weight: WEIGHTS})[0] == made
    level = Level.at(schedules.Linear(), GRID, torch.zeros(1))
    out = named("velocity")(level).out
    assert torch.equal(made(level, out), w.EDM(0.7)(level, out)), "what is reported and held out is the base's"
    with pytest.raises(UserError, match="the base of a learned weight is a fixed one"):
        w.Learned(w.Learned())


def test_without_an_average_the_network_itself_is_asked():
    trainer = small_trainer(ema=(), net_options={"dropout": 0.5})
    trainer.step()
    assert trainer.best is trainer.denoiser
    assert not trainer.denoiser.net.training
    trainer.step()
    assert trainer.denoiser.net.training


def test_ticks_fall_where_the_items_say():
    trainer = small_trainer(log_every=100, validate_every=150, checkpoint_every=160, sample_every=0)
    ticks = list(trainer.run())
    assert [t.items for t in ticks if t.log] == [128, 224, 320]
    assert [t.items for t in ticks if t.validate] == [160, 320]
    assert [t.items for t in ticks if t.checkpoint] == [160, 320]
    assert not any(t.sample for t in ticks)
    assert [t.end for t in ticks] == [False] * (len(ticks) - 1) + [True]
    assert all(t.loss == pytest.approx(np.mean(t.losses), rel=2) for t in ticks)


def test_stop_ends_after_a_step_and_asks_for_a_checkpoint():
    """Called at a tick (one more step follows) and within a step."""
    trainer = small_trainer(log_every=64)
    ticks = []
    for tick in trainer.run():
        ticks.append(tick)
        if tick.items == 64:
            trainer.stop()
    assert [(t.items, t.checkpoint, t.end) for t in ticks] == [(64, False, False), (96, True, False)]

    feed = trainer.feed

    def stopping(first, size):
        if first == 128:
            trainer.stop()
        return feed(first, size)

    trainer.feed = stopping
    assert [(t.items, t.checkpoint, t.end) for t in trainer.run()] == [(128, False, False), (160, True, False)]
    trainer.feed = feed
    assert [t.items for t in trainer.run()] == [192, 256, 320]


def test_half_precision_learns_the_same():
    full, half = small_trainer(), small_trainer(precision="bfloat16")
    losses = [[tick.loss for tick in trainer.run()][-1] for trainer in (full, half)]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert half._flat.vector.dtype == torch.float32


# ---------------------------------------------------------------- held out, and the optimum


def test_held_out_errors_of_the_exact_denoiser_are_the_optimum():
    """A fresh net answers 0, and EDM's skip alone is exact for N(0, sd²): error = sd²·sigma²/(alpha²·sd² + sigma²)."""
    sd, schedule = 0.7, schedules.Cosine()
    points = (rng.host("held").standard_normal((3000, 2)) * sd).astype(np.float32)
    objective, process = Regression(LogNormal(-0.5, 1.0)), Gaussian(schedule)
    truth = exact.Normal(process, np.zeros(2), sd**2 * np.eye(2))
    held = HeldOut(objective, Items(points), encode, levels=8, limit=3000, truth=truth)
    model = denoiser(MLP((2,), width=8, depth=1), process, EDM(sd))
    result = held(model)
    alpha2, sigma2 = schedule.alpha(result.times) ** 2, schedule.sigma(result.times) ** 2
    count = 3000 * 4 / 8 * 2  # squares a level
    ratio = result.error / (sd**2 * sigma2 / (alpha2 * sd**2 + sigma2))
    assert np.abs(ratio - 1).max() < 4 * math.sqrt(2 / count)
    np.testing.assert_allclose(result.optimum, result.error, rtol=1e-4)
    assert result.excess.max() < 1e-9
    assert abs(result.mean - 1) < 4 * result.spread
    assert np.array_equal(result.loss, held(model).loss)
    assert np.allclose(result.noise, -0.5 + stats.norm.ppf((np.arange(8) + 0.5) / 8), atol=0.05)


def test_the_excess_is_the_wrong_part_of_the_belief():
    """D = (1 + c)·D* has an error of its own of c²·E|D*|², E|D*|² = alpha²·sd⁴/(alpha²·sd² + sigma²) an element."""
    sd, c, schedule = 0.7, 0.1, schedules.Flow()
    points = (rng.host("held").standard_normal((4000, 2)) * sd).astype(np.float32)
    process = Gaussian(schedule)
    held = HeldOut(
        Regression(), Items(points), encode, limit=4000, truth=exact.Normal(process, np.zeros(2), sd**2 * np.eye(2))
    )

    class Wrong(Net):
        def forward(self, x, noise_level, cond):  # data target: (1 + c)·alpha·sd²/(alpha²·sd² + sigma²)·x
            alpha = torch.sigmoid(-noise_level)
            gain = alpha * sd**2 / (alpha.square() * sd**2 + (1 - alpha).square())
            return (1 + c) * align(gain, x) * x

    result = held(denoiser(Wrong((2,)), process, "data"))
    alpha, sigma = schedule.alpha(result.times), schedule.sigma(result.times)
    expected = c**2 * alpha**2 * sd**2 / sigma**2
    np.testing.assert_allclose(result.excess, expected, rtol=0.2)
    np.testing.assert_allclose(result.excess.mean(), expected.mean(), rtol=0.1)


class Linear(Net):
    """F = x: a wrong answer that has a closed form."""

    def forward(self, x, noise_level, cond):
        return x


def test_held_out_loss_is_the_mean_of_the_training_loss():
    """E|x − v|² = (alpha + sigma)² + (sigma − alpha)² = 2 for unit data, within 4 standard errors."""
    schedule = schedules.Cosine()
    points = rng.host("held").standard_normal((2000, 2)).astype(np.float32)
    held = HeldOut(Regression(), Items(points), encode, levels=32, repeats=8, limit=2000)
    result = held(denoiser(Linear((2,)), Gaussian(schedule)))
    assert abs(result.mean - 2) < 4 * result.spread
    assert result.spread < 0.04  # sqrt(2/4000) for each of the two squares


def test_a_perceptron_reaches_the_optimal_denoiser_of_a_gaussian():
    """N(0, diag(1, 1/4)), 50 000 items (seed 0): excess risk (L − L*)/L* under 1 % at each of 8 levels."""
    process, objective = Gaussian(schedules.Cosine()), Regression(LogNormal(-0.3, 1.2))
    held = HeldOut(
        objective,
        Items(gaussian_items(40_001).items[:1000]),
        encode,
        levels=8,
        truth=exact.Normal(process, np.zeros(2), np.diag([1.0, 0.25])),
    )
    config = TrainConfig(items=50_000, batch=250, lr=5e-3, warmup=5_000, log_every=25_000)
    torch.manual_seed(0)
    made = denoiser(MLP((2,), width=48, depth=2, embed_width=32, features=16), process, EDM(0.8))
    trainer = Trainer(made, objective, Shuffled(gaussian_items(40_000), encode), config, held_out=held)
    assert all(tick.skipped == 0 for tick in trainer.run())
    excess = trainer.validate()["0.1"].excess
    assert excess.max() < 0.01, excess
