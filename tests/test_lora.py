"""Low-rank products around frozen networks: exact beside the merged weights, silent to the bit, per item, and kept."""

import json
from copy import deepcopy

import pytest
import torch
from safetensors.torch import load_file, save_file

import unnoise as un
from unnoise.adapt import Adapted, Lora
from unnoise.adapt.layers import chosen, layers
from unnoise.adapt.store import read, renamed, write
from unnoise.adapting import merged, recipe_of
from unnoise.config import UserError
from unnoise.nets import MLP, DiT, ResNet, UNet
from unnoise.recipe import load
from unnoise.train import checkpoint
from unnoise.training import Training

NETS = {
    "unet": lambda m: UNet(
        (1, 8, 8), classes=3, widths=(8, 16), blocks=1, attention=(1, 2), head_width=8, magnitude_preserving=m
    ),
    "unet, core": lambda m: UNet(
        (1, 8, 8), classes=3, widths=(8, 16), blocks=1, core=2, core_width=24, head_width=8, magnitude_preserving=m
    ),
    "dit": lambda m: DiT((1, 8, 8), classes=3, width=16, depth=2, head_width=8, patch=2, magnitude_preserving=m),
    "resnet": lambda m: ResNet((1, 8, 8), classes=3, width=8, depth=2, magnitude_preserving=m),
    "mlp": lambda _: MLP((2,), classes=3, width=16, depth=2),
}
KINDS = [(name, manner) for name in NETS for manner in (False, True) if (name, manner) != ("mlp", True)]
TINY = (
    "net.widths=[8,16]",
    "train.items=256",
    "train.batch=32",
    "train.warmup=64",
    "train.log_every=64",
    "train.validate_every=0",
    "train.checkpoint_every=128",
    "sample={sampler: heun, steps: 3}",
)


def shaken(net, by=0.1):
    """The network with all that is trained moved: no weight is left at 0 or at what it began with."""
    with torch.no_grad():
        for p in net.parameters():
            if p.requires_grad:
                p.add_(by * torch.randn_like(p) if p.ndim else torch.full_like(p, 0.5))
    return net.eval()


def asked(net, batch=5):
    return torch.randn(batch, *net.shape), torch.randn(batch), {"label": torch.arange(batch) % 3}


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}{'-preserving' * kind[1]}")
def pair(request):
    torch.manual_seed(1)
    base = shaken(NETS[request.param[0]](request.param[1])).requires_grad_(False)
    parts = {"a": Lora(base, rank=2, alpha=3.0), "b": Lora(base, rank=3)}
    return base, Adapted(deepcopy(base), parts).eval()


@torch.no_grad()
def test_at_the_start_the_bits_are_the_bases(pair):
    base, net = pair
    x, level, cond = asked(base)
    assert torch.equal(net(x, level, cond), base(x, level, cond))


@torch.no_grad()
def test_items_of_a_batch_wear_different_mixtures_each_as_its_merged_weights_would_draw_it(pair):
    base, net = pair
    shaken(net)
    x, level, cond = asked(base)
    a, b = torch.tensor([0.0, 1.0, 0.5, 0.0, -0.7]), torch.tensor([0.0, 0.0, 0.5, 1.0, 0.3])
    mixed, plain = net(x, level, {**cond, "lora:a": a, "lora:b": b}), base(x, level, cond)
    assert torch.equal(mixed[0], plain[0]), "a weight of 0 leaves an item's bits"
    for i in range(5):
        whole = net.merged({"a": float(a[i]), "b": float(b[i])})(x, level, cond)
        torch.testing.assert_close(mixed[i], whole[i], rtol=0, atol=5e-6)
        assert i == 0 or (whole[i] - plain[i]).abs().max() > 1e-2, "the products change nothing"


@torch.no_grad()
def test_unmerged_is_the_base_to_the_bit(pair):
    base, net = pair
    shaken(net)
    x, level, cond = asked(base)
    worn = net(x, level, cond)
    net.merge()
    torch.testing.assert_close(net(x, level, cond), worn, rtol=0, atol=5e-6)
    with pytest.raises(UserError, match="unmerge"):
        net(x, level, {**cond, "lora:a": torch.zeros(5)})
    net.unmerge()
    assert all(torch.equal(p, q) for p, q in zip(net.base.parameters(), base.parameters(), strict=True))
    assert torch.equal(net(x, level, cond), worn)


def test_rows_of_preserving_layers_keep_their_norm():
    torch.manual_seed(2)
    base = shaken(NETS["unet"](True))
    net = shaken(Adapted(base, {"a": Lora(base, rank=2)}), 0.3)
    for path, layer in layers(net.merged()).items():
        own = layers(base)[path].holder.weight
        torch.testing.assert_close(
            layer.holder.weight.flatten(1).norm(dim=1), own.flatten(1).norm(dim=1), rtol=2e-3, atol=0
        )


def test_gradients_reach_the_products_alone_and_copies_share_the_base(pair):
    base, net = pair
    x, level, cond = asked(base)
    net(x, level, cond).square().sum().backward()
    assert all(p.grad is None for p in net.base.parameters())
    assert all(p.second.grad.abs().sum() > 0 for p in net.parts["a"].at.values())
    copy = deepcopy(net)
    assert all(p is q for p, q in zip(copy.base.parameters(), net.base.parameters(), strict=True))
    with torch.no_grad():
        shaken(copy)
        assert not torch.equal(copy(x, level, cond), net(x, level, cond))
    assert set(net.state_dict()) == {name for name, p in net.named_parameters() if p.requires_grad}


def test_targets_are_patterns_and_a_slip_is_told_the_nearest():
    net = NETS["unet"](False)
    assert set(chosen(net, ("*attention*",))) == {name for name in layers(net) if "attention" in name}
    assert set(chosen(net, ("conv1", "first"))) >= {"first", "embedding.first", "middle.0.block.conv1"}
    with pytest.raises(UserError, match=r"'.*projct_in'.*did you mean 'project_in'"):
        chosen(net, ("*.projct_in",))
    with pytest.raises(UserError, match="1 or more, got 0"):
        Lora(net, rank=0)


@torch.no_grad()
def test_a_file_is_read_under_every_librarys_names(tmp_path):
    torch.manual_seed(3)
    base = shaken(NETS["unet"](False))
    net = shaken(Adapted(deepcopy(base), {"a": Lora(base, rank=2, alpha=6.0, targets=("conv1", "modulate"))}))
    lora = net.parts["a"]
    write(tmp_path / "own", lora, "abc")
    stored = load_file(tmp_path / "own" / "adapter_model.safetensors")
    config = json.loads((tmp_path / "own" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2, 6.0)
    weight = layers(base)["middle.0.block.conv1"].weight
    a, b = (stored[f"base_model.model.middle.0.block.conv1.lora_{x}.weight"] for x in "AB")
    assert (tuple(a.shape), tuple(b.shape)) == ((2, *weight.shape[1:]), (weight.shape[0], 2, 1, 1))
    delta = 6 / 2 * torch.einsum("orxy,rihw->oihw", b, a)
    torch.testing.assert_close(layers(net.merged())["middle.0.block.conv1"].weight, weight + delta)

    renamed(tmp_path / "own", tmp_path / "other", "diffusers")
    names = load_file(tmp_path / "other" / "pytorch_lora_weights.safetensors")
    assert all(name.startswith("unet.") for name in names)
    older = {
        name.removeprefix("unet.").replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up."): tensor
        for name, tensor in names.items()
    }
    alphas = {f"{name.removesuffix('.lora.down.weight')}.alpha": torch.tensor(6.0) for name in older if "down" in name}
    save_file({**older, **alphas}, tmp_path / "older.safetensors")
    x, level, cond = asked(base)
    for place in ("own", "other", "older.safetensors"):
        part = read(tmp_path / place).part(base, {"lora": Lora})
        assert torch.equal(Adapted(deepcopy(base), {"a": part}).eval()(x, level, cond), net(x, level, cond)), place


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base, and a LoRA trained around it with some of the base's samples beside."""
    place = tmp_path_factory.mktemp("runs")
    base = un.fit("digits", place / "base", *TINY)
    recipe = recipe_of(load("digits", TINY), base, {"kind": "lora", "rank": 2}, {"count": 12, "share": 0.25})
    return base, un.fit(recipe, place / "look", start_from=base)


def test_a_run_with_a_lora_on_draws_what_the_run_that_trained_it_draws(runs):
    base, look = runs
    own, plain = look.sample(4, label=3, raw=False), base.sample(4, label=3, raw=False)
    assert torch.equal(base.adapted({look.folder: 1.0}).sample(4, label=3, raw=False), own)
    mixed = base.adapted({look.folder: [0.0, 1.0, 0.0, 1.0]}).sample(4, label=3, raw=False)
    assert torch.equal(mixed[0::2], plain[0::2])
    assert torch.equal(mixed[1::2], own[1::2])
    assert not torch.equal(own, plain)
    with pytest.raises(UserError, match="3 weights for 4 samples"):
        base.adapted({look.folder: [0.0, 1.0, 0.0]}).sample(4)
    assert base.adapted({look.folder: 1.0}).weights != base.weights


def test_a_checkpoint_holds_the_part_alone_and_a_resume_is_exact(runs, tmp_path):
    base, look = runs
    kept = checkpoint.newest(look.folder / "checkpoints").tensors("net")
    assert {name.rpartition(".")[2] for name in kept} == {"first", "second"}
    assert sum(t.numel() for t in kept.values()) < 0.15 * sum(t.numel() for t in base.tensors.values())
    held = load_file(look.folder / "base.safetensors")
    assert all(torch.equal(held[name], tensor) for name, tensor in base.tensors.items()), "frozen to the bit"
    for stop in (64, 192, None):
        start = base if stop == 64 else None  # a resume needs the base no more
        training = Training(look.recipe, tmp_path / "again", resume=True, start_from=start)
        for tick in training.ticks():
            if tick.items == stop:
                training.stop()
    assert un.open(tmp_path / "again").weights == look.weights
    assert un.open(tmp_path / "again").history == look.history


def test_merging_makes_a_run_of_the_bases_kind(runs, tmp_path):
    base, look = runs
    worn = base.adapted({look.folder: 0.5})
    made = un.open(merged(worn, worn.dials, tmp_path / "merged"))
    assert made.tensors.keys() == base.tensors.keys()
    torch.testing.assert_close(
        made.sample(4, label=1, raw=False), worn.sample(4, label=1, raw=False), rtol=0, atol=1e-4
    )
    assert made.origin["merged"] == {"look": 0.5}


def test_a_share_of_every_batch_is_the_bases(runs):
    _, look = runs
    training = Training(look.recipe, look.folder, resume=True)
    drawn = load_file(look.folder / "prior.safetensors")
    assert drawn["label"].tolist() == [i % 10 for i in range(12)]
    old = [sum(bool((row == drawn["x0"]).flatten(1).all(1).any()) for row in training._batches(first, 30)[0])
           for first in range(0, 120, 30)]  # fmt: skip
    assert sum(old) == 30
    assert {7, 8} == set(old)


def test_what_does_not_fit_is_told_in_a_line(runs, tmp_path):
    base, look = runs
    other = un.fit("digits", tmp_path / "wide", *TINY, "net.widths=[16,16]", "train.items=32")
    with pytest.raises(UserError, match=r"is of another network: at '.*' it has the shape .* expected .*wide"):
        other.adapted({look.folder: 1.0})
    with pytest.raises(UserError, match="is no adapter"):
        base.adapted({base.folder: 1.0})
    with pytest.raises(UserError, match="say whose, with --from RUN"):
        Training(look.recipe, tmp_path / "new")
    with pytest.raises(UserError, match="itself a part around"):
        recipe_of(load("digits", TINY), look, {"kind": "lora"})
    with pytest.raises(UserError, match="stays as it is"):
        recipe_of(load("digits", TINY), base, {"kind": "lora"}, changes=["net.widths=[4]"])
    with pytest.raises(UserError, match="modality 'points'"):
        recipe_of(load("spiral"), base, {"kind": "lora"})
