"""Branches around frozen networks: silent to the bit at the start and at strength 0, by item, by level, several."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import unnoise as un
from unnoise.adapt import PARTS, Adapted, Control, ImagePrompt, Lora
from unnoise.adapt.image import Glimpse
from unnoise.adapt.store import read, write
from unnoise.adapting import merged, recipe_of
from unnoise.cli.parts import unshown
from unnoise.conditions.hints import HINTS
from unnoise.config import UserError
from unnoise.nets import MLP, DiT, ResNet, UNet
from unnoise.nets.heard import Tokens
from unnoise.recipe import load
from unnoise.training import Training

NETS = {
    "unet": lambda m: UNet(
        (1, 8, 8), classes=3, widths=(8, 16), blocks=1, attention=(1, 2), head_width=8, magnitude_preserving=m
    ),
    "unet, core": lambda m: UNet(
        (1, 8, 8), classes=3, widths=(8, 16), blocks=1, core=2, core_width=24, head_width=8, magnitude_preserving=m
    ),
    "dit": lambda m: DiT((1, 8, 8), classes=3, width=16, depth=2, head_width=8, patch=2, magnitude_preserving=m),
}
TINY = (
    "net={kind: unet, widths: [8, 16], blocks: 1, attention: [1], head_width: 8}",
    "train.items=192",
    "train.batch=32",
    "train.warmup=64",
    "train.log_every=64",
    "train.validate_every=96",
    "train.validate_items=16",
    "train.checkpoint_every=64",
    "sample={sampler: heun, steps: 3}",
)


def shaken(net, by=0.1):
    with torch.no_grad():
        for p in net.parameters():
            if p.requires_grad:
                p.add_(by * torch.randn_like(p) if p.ndim else torch.full_like(p, 0.5))
    return net.eval()


@pytest.fixture(params=[(name, m) for name in NETS for m in (False, True)], ids=lambda k: k[0] + "-preserving" * k[1])
def base(request):
    torch.manual_seed(1)
    return shaken(NETS[request.param[0]](request.param[1])).requires_grad_(False)


def asked(batch=5):
    """A batch, and what two branches of each kind are shown of it."""
    hints = {"hint:a": torch.randn(batch, 2, 8, 8), "hint:b": torch.randn(batch, 2, 8, 8)}
    prompts = {"prompt:c": torch.randn(batch, 2, 1, 8, 8), "prompt:d": torch.randn(batch, 1, 1, 8, 8)}
    x, level = torch.randn(batch, 1, 8, 8), torch.linspace(-3, 3, batch)
    return x, level, {"label": torch.arange(batch) % 3, **hints, **prompts}


def whole(base):
    """Two control branches, two image prompts and a LoRA around one network."""
    parts = {"a": Control(base, of="outline"), "b": Control(base, of="low")}
    parts |= {"c": ImagePrompt(base, tokens=2, width=8), "d": ImagePrompt(base, tokens=3, width=8)}
    net = Adapted(deepcopy(base), {**parts, "e": Lora(base, rank=2)}).eval()
    net.begin()
    return net


@torch.no_grad()
def test_at_the_start_and_at_strength_0_the_bits_are_the_bases(base):
    net = whole(base)
    x, level, cond = asked()
    plain = base(x, level, {"label": cond["label"]})
    assert torch.equal(net(x, level, cond), plain), "zero joints add nothing"
    own, given = net.parts["a"].branch.state_dict(), base.state_dict()
    assert all(torch.equal(tensor, given[name]) for name, tensor in own.items()), "the branch begins as the base"
    shaken(net)
    off = {f"{part.kind}:{name}": torch.zeros(5) for name, part in net.named}
    assert torch.equal(net(x, level, {**cond, **off}), plain)
    assert (net(x, level, cond) - plain).abs().amax((1, 2, 3)).min() > 1e-2


@torch.no_grad()
def test_strengths_are_by_item_and_a_branch_that_rests_is_not_there(base):
    net = shaken(whole(base))
    x, level, cond = asked()
    off = {f"{part.kind}:{name}": torch.zeros(5) for name, part in net.named}
    for name, part in net.named[:4]:
        on = f"{part.kind}:{name}"
        alone = net(x, level, {**cond, **off, on: torch.ones(5)})
        some = net(x, level, {**cond, **off, on: torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0])})
        assert torch.equal(some[1::2], alone[1::2])
        assert torch.equal(some[0::2], base(x, level, {"label": cond["label"]})[0::2])
        unseen = {k: v for k, v in cond.items() if k not in (f"hint:{name}", f"prompt:{name}")}
        assert torch.equal(net(x, level, {**unseen, **off, on: torch.ones(5)})[1], some[0] * 0 + base(
            x, level, {"label": cond["label"]})[1])  # fmt: skip


@torch.no_grad()
def test_a_control_acts_between_two_noise_levels(base):
    net = shaken(whole(base))
    x, level, cond = asked()
    off = {f"{part.kind}:{name}": torch.zeros(5) for name, part in net.named}
    on = {**cond, **off, "control:a": torch.ones(5)}
    within = net(x, level, {**on, "levels:a": torch.tensor([[-1.0, 1.6]]).expand(5, 2)})
    acts = torch.tensor([False, False, True, True, False])  # of the levels −3, −1.5, 0, 1.5, 3
    assert torch.equal(within[acts], net(x, level, on)[acts])
    assert torch.equal(within[~acts], base(x, level, {"label": cond["label"]})[~acts])


def test_residuals_of_several_branches_are_summed():
    torch.manual_seed(2)
    base = shaken(NETS["unet"](False))
    net = shaken(whole(base))
    x, level, cond = asked()
    parts = dict(net.named)
    told = {**cond, "control:a": torch.full((5,), 0.5), "control:b": torch.full((5,), 2.0)}
    each = [parts[name].bring(base, x, level, told, name).residuals for name in "ab"]
    ones = [parts[n].bring(base, x, level, {**cond, f"control:{n}": torch.ones(1)}, n).residuals for n in "ab"]
    sums = [0.5 * a + 2 * b for a, b in zip(*ones, strict=True)]
    for first, second, both in zip(*each, sums, strict=True):
        torch.testing.assert_close(first + second, both)
    off = {f"{p.kind}:{n}": torch.zeros(5) for n, p in net.named} | {k: v for k, v in told.items() if "control" in k}
    expected = base(x, level, {"label": cond["label"]}, residuals=sums)
    torch.testing.assert_close(net(x, level, {**cond, **off}), expected, rtol=0, atol=1e-5)


def test_prompts_are_mixed_by_their_weights_and_their_order_is_free():
    torch.manual_seed(3)
    base = shaken(NETS["unet"](False))
    net = shaken(Adapted(deepcopy(base), {"c": ImagePrompt(base, tokens=2, width=8)}))
    x, level, cond = asked()
    told, pictures = {"label": cond["label"]}, cond["prompt:c"]
    share = torch.tensor([[0.3, 0.9]]).expand(5, 2)
    both = net(x, level, {**told, "prompt:c": pictures, "image:c": share})
    turned = net(x, level, {**told, "prompt:c": pictures.flip(1), "image:c": share.flip(1)})
    torch.testing.assert_close(both, turned, rtol=0, atol=1e-5)
    first = net(x, level, {**told, "prompt:c": pictures[:, :1], "image:c": share[:, 0]})
    one = net(x, level, {**told, "prompt:c": pictures, "image:c": share * torch.tensor([1.0, 0.0])})
    torch.testing.assert_close(first, one, rtol=0, atol=1e-6)


def test_a_batch_of_the_engine_mixes_items_of_other_parts_bit_for_bit():
    torch.manual_seed(4)
    base = shaken(NETS["unet"](False))
    net = shaken(whole(base)).requires_grad_(False)
    process = un.Gaussian(un.schedules.Cosine())
    plan = un.plan("heun", process, steps=3)
    _, _, cond = asked(4)
    cond["label"] = torch.arange(4) % 3
    cond |= {"lora:e": torch.tensor([1.0, 0, 0, 0]), "control:a": torch.tensor([0, 1.0, 0, 0])}
    cond |= {"control:b": torch.zeros(4), "image:c": torch.tensor([0, 0, 1.0, 0]), "image:d": torch.zeros(4)}
    engine = un.Engine(un.denoiser(net, process), sizes=(4,))
    mixed = engine.run(un.Job(plan, (1, 8, 8), range(4), cond))
    for i in range(4):
        alone = un.Job(plan, (1, 8, 8), [i], {name: leaf[i : i + 1] for name, leaf in cond.items()})
        assert torch.equal(engine.run(alone)[0], mixed[i])
    plain = un.Engine(un.denoiser(base, process), sizes=(4,)).run(
        un.Job(plan, (1, 8, 8), range(4), {"label": cond["label"]})
    )
    assert torch.equal(plain[3], mixed[3])
    assert all(not torch.equal(plain[i], mixed[i]) for i in range(3))


@torch.no_grad()
def test_a_picture_is_heard_beside_words():
    torch.manual_seed(5)
    heard = {"text": Tokens(vocabulary=9, length=4, width=16, depth=1)}
    base = shaken(UNet((1, 8, 8), heard=heard, widths=(8, 16), blocks=1, attention=(1,), head_width=8))
    net = shaken(Adapted(deepcopy(base), {"c": ImagePrompt(base, tokens=2, width=8)}))
    x, level, cond = asked(2)
    pictures, words = cond["prompt:c"], torch.tensor([[1, 5, 3, 0], [1, 7, 3, 0]])
    both = net(x, level, {"text": words, "prompt:c": pictures})
    off = net(x, level, {"text": words, "prompt:c": pictures, "image:c": torch.zeros(2, 2)})
    assert torch.equal(off, base(x, level, {"text": words}))
    for other in ({"text": words.flip(0), "prompt:c": pictures}, {"text": words, "prompt:c": pictures.flip(0)}):
        assert (net(x, level, other) - both).abs().amax((1, 2, 3)).min() > 1e-3


@torch.no_grad()
def test_a_hint_that_the_data_do_not_give_is_told_before_anything_is_trained(runs, tmp_path):
    base, _ = runs
    recipe = recipe_of(load("digits", TINY), base, {"kind": "control", "of": "data", "leaf": "labl"})
    with pytest.raises(UserError, match="have no 'labl' for the branch to see; did you mean 'label'"):
        un.fit(recipe, tmp_path / "hinted", start_from=base)
    assert not (tmp_path / "hinted").exists()


def test_a_hint_that_the_data_give_is_the_hint_that_one_shows():
    torch.manual_seed(6)
    base = shaken(NETS["unet"](False))
    net = shaken(Adapted(deepcopy(base), {"a": Control(base, of="data", leaf="relief", channels=1)}))
    x, level, cond = asked(3)
    relief, told = torch.randn(3, 1, 8, 8), {"label": cond["label"]}
    given = net(x, level, {**told, "relief": relief})
    shown = net(x, level, {**told, "hint:a": torch.cat((relief, torch.ones_like(relief)), dim=1)})
    assert torch.equal(given, shown)
    assert not torch.equal(given, base(x, level, told))
    raw = torch.full((3, 1, 8, 8), 255, dtype=torch.uint8)
    assert torch.equal(
        net(x, level, {**told, "relief": raw}), net(x, level, {**told, "relief": torch.ones(3, 1, 8, 8)})
    )


def test_hints_are_what_they_are_called():
    x = torch.full((1, 3, 9, 9), -1.0)
    x[:, 1, 2:7, 2:7] = 0.8
    known = torch.ones_like(x[:, :1])
    made = {name: rule(x, known, 3) for name, (rule, _) in HINTS.items()}
    assert made["mask"].sum() == 25
    assert made["outline"].sum() == 16
    assert made["outline"][0, 0, 4, 4] == 0
    torch.testing.assert_close(made["depth"][0, 0, 4, 1:8], torch.tensor([0, 1, 2, 3, 2, 1, 0]) / 3)
    assert torch.equal(made["outline"], HINTS["outline"][0](2 * made["outline"] - 1, known, 3)), "its own outline"


def test_a_glimpse_is_the_item_moved():
    x = torch.arange(64.0).reshape(1, 1, 8, 8).expand(50, 1, 8, 8)
    seen = Glimpse(0.25).made(x, np.random.default_rng(0))[:, 0, 0]
    inner = seen[:, 2:6, 2:6] - seen[:, 2:3, 2:3]
    torch.testing.assert_close(inner, (x[:, 0, 2:6, 2:6] - x[:, 0, 2:3, 2:3]))
    assert set((seen[:, 4, 4] % 8).tolist()) == {2.0, 3.0, 4.0, 5.0, 6.0}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    base, new = un.fit("digits", place / "base", *TINY), load("digits", TINY)
    nodes = {"outline": {"kind": "control", "of": "outline"}, "prompted": {"kind": "image", "tokens": 2, "width": 8}}
    return base, {k: un.fit(recipe_of(new, base, n), place / k, start_from=base) for k, n in nodes.items()}


@pytest.mark.parametrize("kind", ["outline", "prompted"])
def test_what_a_branch_learns_is_kept_apart_and_put_on_again(runs, tmp_path, kind):
    base, made = runs
    run = made[kind]
    for stop in (64, None):
        training = Training(run.recipe, tmp_path / "again", resume=True, start_from=base if stop else None)
        for tick in training.ticks():
            if tick.items == stop:
                training.stop()
    assert un.open(tmp_path / "again").weights == run.weights
    assert un.open(tmp_path / "again").history == run.history
    held = load_file(run.folder / "base.safetensors")
    assert all(torch.equal(held[name], tensor) for name, tensor in base.tensors.items()), "frozen to the bit"
    picture = base.recipe.source.split("test").items[0]
    leaf = "hint" if kind == "outline" else "prompt"
    worn = base.adapted({run.folder: {leaf: picture}})
    plain, seen = base.sample(3, label=4, raw=False), worn.sample(3, label=4, raw=False)
    assert not torch.equal(plain, seen)
    off = base.adapted({run.folder: {leaf: picture, "weight": [0.0, 1.0, 0.0]}}).sample(3, label=4, raw=False)
    assert torch.equal(off[0::2], plain[0::2])
    assert torch.equal(off[1], seen[1])
    own = worn.denoiser.net.parts[kind].state_dict()
    best = {k.removeprefix("parts.own."): v for k, v in run.tensors.items()}
    assert all(torch.equal(own[name], tensor) for name, tensor in best.items())
    with pytest.raises(UserError, match="stays one"):
        merged(worn, worn.dials, tmp_path / "merged")


def test_parts_put_on_one_after_the_other_are_as_put_on_at_once(runs):
    base, made = runs
    picture = base.recipe.source.split("test").items[0]
    told = {made["outline"].folder: {"hint": picture}, made["prompted"].folder: {"prompt": [picture, picture]}}
    at_once, run = base.adapted(told), base
    for path, how in told.items():
        run = run.adapted({path: how})
    drawn = at_once.sample(2, label=4, raw=False)
    assert torch.equal(run.sample(2, label=4, raw=False), drawn)
    assert not torch.equal(base.adapted(dict([*told.items()][:1])).sample(2, label=4, raw=False), drawn)


def test_guidance_leads_towards_a_picture_from_nothing_at_all(runs):
    """(1 − w)·D(x | nothing, no picture) + w·D(x | label, picture), whatever the picture's strength; a hint stays."""
    base, made = runs
    picture = base.recipe.source.split("test").items[0]
    worn = base.adapted({made["outline"].folder: {"hint": picture},
                         made["prompted"].folder: {"prompt": picture, "weight": 0.7}})  # fmt: skip
    x, told = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), worn.cond(2, 4)
    level = worn.recipe.process.level(np.array([0.4, 0.8]), x)
    nothing = {**told, "label": torch.full((2,), 10), "image:prompted": torch.zeros(2)}
    with torch.no_grad():
        led = worn.guided(3.0)(x, level, told).x0
        towards, away = (worn.denoiser(x, level, cond).x0 for cond in (told, nothing))
    torch.testing.assert_close(led, 3.0 * towards - 2.0 * away, rtol=0, atol=1e-5)


def test_a_branch_that_is_shown_no_picture_is_told_of(runs):
    base, made = runs
    for name, kind, leaf in (("outline", "control", "hint"), ("prompted", "image", "prompt")):
        (line,) = unshown(made[name])
        assert "shown no picture" in line
        assert f"--{kind} '{made[name].folder} {leaf}=photo.png'" in line
        assert f"sample {base.folder} " in line
    picture = base.recipe.source.split("test").items[0]
    assert not unshown(base)
    assert not unshown(base.adapted({made["outline"].folder: {"hint": picture}}))


def test_what_does_not_fit_is_told_in_a_line(runs, tmp_path):
    base, made = runs
    outline, prompted = made["outline"].folder, made["prompted"].folder
    with pytest.raises(UserError, match="controlled by a picture: give it as hint"):
        base.adapted({outline: 1.0})
    with pytest.raises(UserError, match="prompted by a picture: give it as prompt"):
        base.adapted({prompted: 1.0})
    with pytest.raises(UserError, match="no 'hnt'; did you mean 'hint'"):
        base.adapted({outline: {"hnt": None}})
    with pytest.raises(UserError, match="two rising levels"):
        base.adapted({outline: {"hint": torch.zeros(2, 8, 8), "interval": (3, 1)}})
    with pytest.raises(UserError, match=r"controlled by 2 channels of \(8, 8\).* got the shape \(3, 8, 8\)"):
        base.adapted({outline: {"hint": torch.zeros(3, 8, 8)}})
    with pytest.raises(UserError, match=r"prompted by pictures \(B, P, 1, \*sizes\), got \(1, 1, 3, 8, 8\)"):
        base.adapted({prompted: {"prompt": torch.zeros(1, 3, 8, 8)}})
    with pytest.raises(UserError, match="no hint is called 'outlin'; did you mean 'outline'"):
        Control(base.denoiser.net, of="outlin")
    with pytest.raises(UserError, match="for a U-Net or a transformer, got a network MLP"):
        Control(MLP((2,), width=8, depth=1))
    with pytest.raises(UserError, match=r"has none: take as the base a U-Net with net.attention"):
        ImagePrompt(UNet((1, 8, 8), widths=(8,), blocks=1))
    with pytest.raises(UserError, match="has none"):
        ImagePrompt(ResNet((1, 8, 8), width=8, depth=1))
    wide = shaken(UNet((1, 8, 8), classes=10, widths=(16, 24), blocks=1, attention=(1,), head_width=8))
    for folder in (outline, prompted):
        with pytest.raises(UserError, match="is of another network: "):
            read(folder).part(wide, PARTS)
    write(tmp_path / "kept", Control(wide, of="depth", factor=2), "")
    assert read(tmp_path / "kept").settings["of"] == "depth"
