"""Augmentation: each change is the geometry it is named for, all of it is told, and none of it is drawn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unnoise import rng
from unnoise.augment import Mirror, Nothing, Warp
from unnoise.augment.warp import resample
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.denoise import denoiser
from unnoise.loop import sample
from unnoise.nets import MLP, UNet
from unnoise.process import Gaussian, schedules
from unnoise.recipe import load
from unnoise.samplers import plan
from unnoise.train import Augmented, Regression, Shuffled, TrainConfig, Trainer

STILL = dict.fromkeys(("turn", "zoom", "stretch", "shear", "shift"), 0.0)


def pictures(n=6, channels=2, height=12, width=12, seed=0):
    return torch.from_numpy(rng.host("augment", seed).standard_normal((n, channels, height, width)).astype(np.float32))


def smooth(height=48, width=48):
    """A bell off the centre of each of two channels: a picture that resampling can follow."""
    down, right = np.mgrid[:height, :width] - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    bells = [np.exp(-((right - a) ** 2 + 2 * (down - b) ** 2) / 60) for a, b in ((6, -4), (-5, 3))]
    return torch.from_numpy(np.stack(bells)[None].astype(np.float32)), right, down


def told_of(warp, n, seed=0):
    return warp(pictures(n), rng.host("told", seed))[1].numpy()


def test_half_a_turn_and_quarter_turns_are_what_they_are_on_the_grid():
    """Matrices that take pixels to pixels move them exactly: to 1e-5, of an array of any two sides."""
    x = pictures(3)
    for quarter in range(4):
        angle = quarter * np.pi / 2
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        turned = resample(x, np.stack([matrix] * 3), np.zeros((3, 2)))
        torch.testing.assert_close(turned, torch.rot90(x, -quarter, (2, 3)), rtol=0, atol=1e-5)
    flat = pictures(2, height=6, width=14)
    mirrored = resample(flat, np.stack([np.diag([-1.0, 1.0])] * 2), np.zeros((2, 2)))
    torch.testing.assert_close(mirrored, flat.flip(-1), rtol=0, atol=1e-5)
    moved = resample(flat, np.stack([np.eye(2)] * 2), np.array([[3.0, -1.0]] * 2))
    torch.testing.assert_close(moved[..., 1:, :-3], flat[..., :-1, 3:], rtol=0, atol=1e-5)


def test_what_is_told_is_what_was_done():
    """Each change alone, redone in closed form from the told numbers: the picture x(A⁻¹(p − shift)) to 0.01."""
    x, right, down = smooth()
    height, width = x.shape[2:]
    for name, amount in {"turn": 40.0, "zoom": 0.3, "stretch": 0.3, "shear": 0.3, "shift": 0.1, "mirror": True}.items():
        warp = Warp(share=1.0, **{**STILL, "mirror": False, name: amount})
        out, told = warp(x.repeat(4, 1, 1, 1), rng.host("redo", name))
        assert (told.numpy() != 0).any(axis=0).sum() == {"turn": 2, "shift": 2}.get(name, 1), name
        for picture, (mirror, cos, sin, *n) in zip(out.numpy(), told.double().numpy(), strict=True):
            zoom, stretch, shear = (warp.zoom * n[0], warp.stretch * n[1], warp.shear * n[2])
            a, b = right - warp.shift * n[3] * width, down - warp.shift * n[4] * height
            a, b = (1 + cos) * a + sin * b, (1 + cos) * b - sin * a
            a = a - shear * b
            a, b = a * 2 ** -(zoom + stretch) * (1 - 2 * mirror), b * 2 ** -(zoom - stretch)
            bells = [np.exp(-((a - p) ** 2 + 2 * (b - q) ** 2) / 60) for p, q in ((6, -4), (-5, 3))]
            assert np.abs(picture - bells)[:, 8:-8, 8:-8].max() < 0.01, name


def test_a_picture_of_which_nothing_is_told_is_untouched_and_the_others_are_not():
    x = pictures(400)
    out, told = Warp(share=0.1)(x, rng.host("some"))
    still = (told == 0).all(1)
    assert torch.equal(out[still], x[still])
    assert all(not torch.equal(a, b) for a, b in zip(out[~still], x[~still], strict=True))
    expected = (1 - 0.1) ** 5 * (1 - 0.05)  # five changes that show, and a mirror that does half of the time
    assert abs(still.float().mean().item() - expected) < 3.5 * (expected * (1 - expected) / 400) ** 0.5


def test_changes_have_the_shares_and_deviations_that_they_are_asked_for():
    told = told_of(Warp(share=0.3, turn=90.0), 20_000)
    mirror, cos, sin, *n = told.T
    assert set(np.unique(mirror)) == {0.0, 1.0}
    assert mirror.mean() == pytest.approx(0.15, abs=0.01)
    angle = np.arctan2(sin, 1 + cos)[sin != 0]
    assert len(angle) / 20_000 == pytest.approx(0.3, abs=0.012)
    assert np.abs(angle).max() <= np.pi / 2
    assert angle.std() == pytest.approx(np.pi / 2 / 3**0.5, rel=0.03)
    for column in n:
        assert column[column != 0].std() == pytest.approx(1, abs=0.03)


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_an_augmentation_is_a_function_of_its_generator(seed, n):
    x = pictures(n, seed=seed)
    for augment in (Warp(share=0.5), Mirror(), Nothing()):
        first, second = (augment(x, rng.host(seed)) for _ in range(2))
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])
        assert first[1].shape == (n, augment.width)


def test_mirrored_pictures_are_half_of_them_and_not_told():
    x = pictures(1000)
    out, told = Mirror()(x, rng.host("mirror"))
    mirrored = (out == x.flip(-1)).flatten(1).all(1)
    assert torch.equal(out[~mirrored], x[~mirrored])
    assert abs(mirrored.float().mean().item() - 0.5) < 0.06
    assert told.shape == (1000, 0)


@pytest.mark.parametrize("net", [UNet((1, 8, 8), augment=8, widths=(8,), blocks=1), MLP((4,), augment=8, width=16)])
def test_to_tell_nothing_is_to_leave_it_out_and_to_tell_something_is_heard(net):
    generator = rng.generator("heard")
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3, generator=generator)
    x, level = torch.randn(3, *net.shape, generator=generator), torch.zeros(3)
    silent = net(x, level, {})
    assert torch.equal(net(x, level, {"augment": torch.zeros(3, 8)}), silent)
    assert (net(x, level, {"augment": torch.eye(8)[:3]}) != silent).flatten(1).any(1).all()


def one_sided(n=256):
    """Pictures that are bright on the left: none is its own mirror image."""
    places = rng.host("one-sided").random((n, 1, 1, 1)) * 0.5
    x = np.full((n, 1, 4, 4), -1.0) + places
    x[..., :2] += 1.5
    return Items(x.astype(np.float32))


@pytest.mark.parametrize("told", [True, False])
def test_what_is_told_is_not_drawn_and_what_is_not_told_is(told):
    """Trained on pictures of which half were mirrored, a network that was told so draws none of these."""
    mirror = Warp(share=1.0, **STILL) if told else Mirror()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MLP((1, 4, 4), augment=mirror.width, width=64, depth=2)
    model = denoiser(net, Gaussian(schedules.Karras(0.02, 20.0)), "edm")
    feed = Augmented(Shuffled(one_sided(), lambda raw, _: torch.from_numpy(raw)), mirror)
    trainer = Trainer(model, Regression(), feed, TrainConfig(items=40_000, warmup=1000, snapshots=0))
    list(trainer.run())
    x = sample(trainer.best, plan("dpmpp_2m", model.process, steps=12), (1, 4, 4), range(200))
    right = (x[..., 2:].mean((1, 2, 3)) > x[..., :2].mean((1, 2, 3))).float().mean().item()
    assert right < 0.02 if told else 0.3 < right < 0.7


def test_a_feed_tells_what_it_did_and_the_same_each_time():
    items = Items(pictures(40).numpy(), {"label": np.arange(40) % 3})
    feed = Augmented(Shuffled(items, lambda raw, _: torch.from_numpy(raw), 5), Warp(share=0.5), 5)
    (x, cond), (again, told) = feed(80, 16), feed(80, 16)
    assert torch.equal(x, again)
    assert torch.equal(cond["augment"], told["augment"])
    plain, label = feed.feed(80, 16)
    assert torch.equal(cond["label"], label["label"])
    still = (cond["augment"] == 0).all(1)
    assert torch.equal(x[still], plain[still])
    assert not torch.equal(feed(96, 16)[1]["augment"], cond["augment"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "share is a probability above 0, up to 1, got 0.0"),
        ({"turn": -1.0}, "turn must be 0 or more, got -1.0"),
        ({"zoom": float("nan")}, "zoom must be 0 or more, got nan"),
    ],
)
def test_changes_that_cannot_be_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Warp(**options)


def test_only_pictures_are_augmented():
    with pytest.raises(UserError, match=r"only pictures .* got items of shape \(2,\)"):
        Warp()(torch.zeros(3, 2), rng.host(0))
    with pytest.raises(UserError, match=r"swissroll: augment: only pictures are augmented, got items of shape \(2,\)"):
        load("swissroll", ["augment=warp"])
    assert load("digits", ["augment=warp"]).denoiser().net.embedding.told.in_features == 8
