"""Averages made after training: their algebra in closed form, beside averages that were tracked, through the run."""

import hashlib
import shutil

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import unnoise as un
from unnoise import rng
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.denoise import denoiser
from unnoise.nets import MLP
from unnoise.process import Gaussian, schedules
from unnoise.recipe import load
from unnoise.train import Power, Regression, Shuffled, TrainConfig, Trainer, checkpoint, posthoc
from unnoise.train.posthoc import Profile
from unnoise.training import Training

KEPT = [Profile(n, width) for n in (3600, 6400, 8400, 9600, 10_000) for width in (0.05, 0.1)]


def density(profile, at):
    """(gamma + 1)·m^gamma/n^(gamma + 1) up to n, 0 beyond."""
    gamma = Power(profile.width).gamma
    return np.where(at <= profile.items, (gamma + 1) / profile.items * (at / profile.items) ** gamma, 0.0)


@pytest.mark.parametrize("a", [Profile(10_000, 0.1), Profile(10_000, 0.03), Profile(7_000, 0.25)])
@pytest.mark.parametrize("b", [Profile(10_000, 0.05), Profile(9_900, 0.2), Profile(500, 0.1)])
def test_the_product_of_two_profiles_has_a_closed_form(a, b):
    last = min(a.items, b.items)
    integral, _ = quad(lambda m: float(density(a, m) * density(b, m)), 0, last, epsabs=0, epsrel=1e-10, limit=200)
    assert posthoc.inner(a, b) == posthoc.inner(b, a) == pytest.approx(integral, rel=1e-8)


@pytest.mark.parametrize("width", [0.03, 0.05, 0.07, 0.13])
def test_coefficients_sum_to_one_and_tell_how_far_the_profile_is_off(width):
    wanted = Profile(10_000, width)
    weights, error = posthoc.coefficients(KEPT, wanted)
    assert weights.sum() == pytest.approx(1, abs=1e-10)
    at = (np.arange(200_000) + 0.5) / 20
    made = sum(c * density(p, at) for c, p in zip(weights, KEPT, strict=True))
    off = np.sqrt(np.mean((made - density(wanted, at)) ** 2) / np.mean(density(wanted, at) ** 2))
    assert error == pytest.approx(off, rel=1e-3, abs=1e-6)
    rows = np.random.default_rng(0).standard_normal((20, len(KEPT)))
    for row in rows - rows.mean(1, keepdims=True):  # no other sum of 1 is nearer
        moved = made + 1e-3 * sum(c * density(p, at) for c, p in zip(row, KEPT, strict=True))
        assert np.sum((moved - density(wanted, at)) ** 2) >= np.sum((made - density(wanted, at)) ** 2)


def test_what_was_kept_is_given_back_as_it_is():
    weights, error = posthoc.coefficients(KEPT, Profile(10_000, 0.1))
    assert error < 1e-6
    np.testing.assert_allclose(weights, [0] * 9 + [1], atol=1e-6)


def test_the_reach_is_where_the_profile_is_within_the_tolerance():
    least, most = posthoc.reach(KEPT, 10_000)
    assert least <= 0.02
    assert most >= 0.16
    for width in (least, most):
        assert posthoc.coefficients(KEPT, Profile(10_000, width))[1] <= posthoc.TOLERANCE
    for width in (least - 0.005, most + 0.005):
        assert posthoc.coefficients(KEPT, Profile(10_000, width))[1] > posthoc.TOLERANCE


def test_snapshots_lie_closer_towards_the_end():
    assert posthoc.marks(10_000, 4) == (3600, 6400, 8400, 9600)
    assert posthoc.marks(10_000, 0) == ()


# ---------------------------------------------------------------- beside averages that were tracked


def trained(folder, **fields):
    """A real training of 300 steps at a rate that stays, so that its averages differ."""
    fields = {"items": 30_000, "batch": 100, "lr": 5e-3, "warmup": 2_000, "decay": "constant", **fields}
    points = rng.host("posthoc").standard_normal((5000, 2)) * [1, 0.5]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MLP((2,), width=24, depth=1, embed_width=16, features=16)
    feed = Shuffled(Items(points.astype(np.float32)), lambda raw, _: torch.from_numpy(raw))
    made = denoiser(net, Gaussian(schedules.Cosine()), "velocity")
    trainer = Trainer(made, Regression(), feed, TrainConfig(**fields))
    for tick in trainer.run():
        if tick.snapshot:
            trainer.snapshot(folder / "snapshots")
        if tick.checkpoint:
            trainer.save(folder / "checkpoints")
    return checkpoint.newest(folder / "checkpoints")


def vector(tensors):
    return torch.cat([tensors[name].double().flatten() for name in sorted(tensors)])


def test_an_average_made_after_training_is_the_one_tracked_along_it(tmp_path):
    """Off by at most 2.5 % of the way from the last weights to their average, and 0.1 % of the weights (float16)."""
    widths = (0.03, 0.07, 0.13)
    found, beside = trained(tmp_path / "a", ema=()), trained(tmp_path / "b", ema=widths, snapshots=0)
    last = vector(found.tensors("net"))
    assert torch.equal(last, vector(beside.tensors("net"))), "averages do not act on the training"
    for width in widths:
        made, error = posthoc.average(found, tmp_path / "a" / "snapshots", width)
        wanted = vector(beside.tensors(f"ema-{width:g}"))
        off = (vector(made) - wanted).norm()
        assert off < 0.025 * (wanted - last).norm(), width
        assert off < 1e-3 * wanted.norm(), width
        assert error < 0.035
    made, error = posthoc.average(found, tmp_path / "a" / "snapshots", 0.05)
    assert torch.allclose(vector(made), vector(found.tensors("ema-0.05")), rtol=0, atol=1e-6)
    with pytest.raises(UserError, match=r"width 0\.27 is not to be made .* only from 0\.0[12]5? to 0\.1[67]5?: train"):
        posthoc.average(found, tmp_path / "a" / "snapshots", 0.27)
    with pytest.raises(UserError, match=r"between 0 and 0\.288, got 0\.3"):
        posthoc.average(found, tmp_path / "a" / "snapshots", 0.3)
    with pytest.raises(UserError, match=r"width 0\.2 is not to be made"):
        posthoc.average(beside, tmp_path / "b" / "snapshots", 0.2)


def test_weights_beyond_half_precision_are_kept_as_they_are():
    kept = posthoc.half({"small": torch.tensor([1.5]), "large": torch.tensor([1e6])})
    assert (kept["small"].dtype, kept["large"].dtype, kept["large"].item()) == (torch.float16, torch.float32, 1e6)


# ---------------------------------------------------------------- through the run

TINY = ("net.widths=[8,16]", "train.items=512", "train.batch=32", "train.warmup=64", "train.lr=0.002",
        "train.checkpoint_every=128", "sample={sampler: ddim, steps: 2}")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return un.fit("digits", tmp_path_factory.mktemp("runs") / "digits", *TINY)


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_a_resume_leaves_the_snapshots_of_the_run_not_stopped(run, tmp_path):
    recipe, folder = load("digits", TINY), tmp_path / "b"
    for ticks in (160, 352):
        training = Training(recipe, folder, resume=True)
        for tick in training.ticks():  # cut off some items beyond the last checkpoint
            if tick.items >= ticks:
                break
    (folder / "snapshots" / f"{480:012d}").mkdir()  # of a future that did not come
    un.fit(recipe, folder, resume=True)
    assert hashes(folder / "snapshots") == hashes(run.folder / "snapshots")
    assert [int(path.name) for path in checkpoint.listed(folder / "snapshots")] == [192, 352, 448]
    assert hashes(folder / "checkpoints") == hashes(run.folder / "checkpoints")


def test_any_width_can_be_asked_of_a_run(run):
    tracked, made, last = run.averaged(0.1), run.averaged(0.07), run.averaged(0)
    assert tracked.weights == run.weights
    assert len({run.weights, made.weights, last.weights}) == 3
    assert (run.average, last.average) == ("width 0.1", "none: the last weights")
    assert made.average.startswith("width 0.07, made of snapshots: its profile is off by ")
    narrow, wide = (vector(run.averaged(width).denoiser.net.state_dict()) for width in (0.05, 0.1))
    between = vector(made.denoiser.net.state_dict())
    end = vector(last.denoiser.net.state_dict())
    assert (narrow - end).norm() < (between - end).norm() < (wide - end).norm()
    assert made.sample(2, raw=False).shape == (2, 1, 8, 8)
    assert un.open(run.folder).averaged(0.07).weights == made.weights
    with pytest.raises(UserError, match=r"width 0\.28 is not to be made"):
        run.averaged(0.28)
    assert set(run.widths) >= {0.05, 0.07, 0.1, 0.13}


def test_a_run_from_before_there_were_snapshots_goes_on_without(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "old")
    shutil.rmtree(folder / "snapshots")
    shutil.rmtree(folder / "checkpoints" / f"{512:012d}")
    path = folder / "checkpoints" / f"{384:012d}"
    found = checkpoint.read(path)
    names = ("net", "optimiser", "ema-0.1")
    state = {key: value for key, value in found.state.items() if key not in ("format", "items", "files")}
    checkpoint.write(folder / "checkpoints", 384, {name: found.tensors(name) for name in names}, state)
    again = un.fit("digits", folder, *TINY, resume=True)
    assert again.weights == run.weights
    assert not (folder / "snapshots").exists()
    assert again.widths == [0.1]
