"""What networks cost, beside counts by hand; and the command that lists it."""

import json

import pytest
import torch

from unnoise.cli import main
from unnoise.cli.nets import scaled
from unnoise.nets import MLP, NETS, PRESETS, DiT, ResNet, UNet, count
from unnoise.nets.tokens import Perceptron

MOVED = {"classes": 3, "augment": 2}


def test_the_perceptron_by_hand():
    net = MLP((5,), width=16, depth=3, waves=0, features=8, embed_width=12)
    embedding = 8 * 12 + 12 * 12
    assert count(net).multiply_adds == 5 * 16 + 3 * 2 * 16 * 16 + 16 * 5 + embedding + 12 * 2 * 16 * 3


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_residual_network_by_hand(dims: int):
    net = ResNet((2, *(6 for _ in range(dims))), width=8, depth=2, patch=2, groups=4, features=8, embed_width=12)
    places, numbers = 3**dims, 2 * 2**dims
    convolutions = 3**dims * places * (2 * numbers * 8 + 2 * 2 * 8 * 8)
    assert count(net).multiply_adds == convolutions + 8 * 12 + 12 * 12 + 12 * 2 * 2 * 8


@pytest.mark.parametrize("mlp", ["swiglu", "gelu"])
def test_the_transformer_by_hand(mlp: str):
    net = DiT((1, 8, 8), width=32, depth=3, patch=2, head_width=16, mlp=mlp, features=8, embed_width=12)
    tokens, numbers = 16, 4
    block = net.blocks[0]
    perceptron = block.perceptron
    assert isinstance(perceptron, Perceptron)
    hidden = perceptron.second.weight.shape[1]
    assert abs(hidden * (3 if mlp == "swiglu" else 2) / (2 * 4 * 32) - 1) < 0.06  # the weights of a GELU's
    block_adds = tokens * (4 * 32 * 32 + 32 * hidden * (3 if mlp == "swiglu" else 2)) + 2 * tokens**2 * 32
    embedding = 8 * 12 + 12 * 12 + 12 * (6 * 3 + 2) * 32
    assert count(net).multiply_adds == 3 * block_adds + tokens * 2 * numbers * 32 + embedding


def test_the_unet_by_hand():
    net = UNet((1, 8, 8), widths=(8, 16), blocks=1, attention=(1,), head_width=8, groups=4, features=8, embed_width=12)
    fine, coarse = 64, 16
    taps = [
        (fine, 1 * 8), (fine, 8 * 8), (fine, 8 * 8),  # first, encoder
        (coarse, 8 * 8), (coarse, 8 * 16), (coarse, 16 * 16),  # halving, encoder
        *[(coarse, 16 * 16)] * 4,  # middle
        (coarse, 32 * 16), (coarse, 16 * 16), (coarse, 24 * 16), (coarse, 16 * 16),  # decoder
        (fine, 24 * 8), (fine, 8 * 8), (fine, 16 * 8), (fine, 8 * 8), (fine, 8 * 1),  # decoder, last
    ]  # fmt: skip
    kernels = 9 * sum(places * pairs for places, pairs in taps)
    doubling = 4 * fine * 16 * 16  # sixteen taps over a quarter of the places
    skips = coarse * 8 * 16 + coarse * (32 + 24) * 16 + fine * (24 + 16) * 8
    attention = 3 * (coarse * 4 * 16 * 16 + 2 * coarse**2 * 16)
    modulation = 12 * 2 * (8 + 16 + 16 + 16 + 16 + 16 + 8 + 8)
    embedding = 8 * 12 + 12 * 12
    assert count(net).multiply_adds == kernels + doubling + skips + attention + modulation + embedding


@pytest.mark.parametrize("kind", NETS)
def test_the_memory_counted_is_what_autograd_keeps(kind: str):
    # Of two real passes, by their storages; the parts that no item adds cancel.
    shape = (2, 6, 6)
    net = NETS[kind](shape, **MOVED, **PRESETS[kind]["tiny"])
    kept = []
    for items in (1, 2):
        storages = {}

        def keep(t, storages=storages):
            storages.setdefault(t.untyped_storage().data_ptr(), (t, t.untyped_storage().nbytes()))
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            net.train()(
                torch.zeros(items, *shape), torch.zeros(items), {"label": torch.zeros(items, dtype=torch.int64)}
            )
        kept.append(sum(size for _, size in storages.values()))
    assert count(net).memory == kept[1] - kept[0]


def test_counting_touches_nothing_and_needs_no_numbers():
    net = UNet((1, 8, 8), widths=(8, 8), blocks=1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    waves = net.embedding.sinusoids.frequencies.clone()
    first = count(net)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(net.embedding.sinusoids.frequencies, waves)
    assert net(torch.zeros(1, 1, 8, 8), torch.zeros(1), {}).shape == (1, 1, 8, 8)
    with torch.device("meta"):
        assert count(UNet((1, 8, 8), widths=(8, 8), blocks=1)) == first
    assert count(net, (1, 16, 16)).multiply_adds > 3 * first.multiply_adds
    assert count(net.to(torch.bfloat16)) == first  # counted in float32, whatever it is in


# ---- the command


def test_networks_are_listed_with_their_costs(capsys):
    assert main(["nets", "unet", "digits", "--preset", "tiny", "--shape", "1,8,8", "--json"]) == 0
    unet, digits = json.loads(capsys.readouterr().out)
    assert (unet["parameters"], unet["multiply_adds"]) == (620_225, 13_678_592)
    # Narrower than the preset, with eleven labels and places.
    assert (digits["kind"], digits["preset"], digits["parameters"]) == ("unet", None, 412_897)
    assert main(["nets", "resnet", "--preset", "tiny", "--shape", "1x8x8"]) == 0
    out = capsys.readouterr().out
    assert "1×8×8" in out
    assert "13.7 M" in out


def test_a_rate_is_measured(capsys):
    assert main(["nets", "mlp", "--preset", "tiny", "--shape", "13", "--rate", "--device", "cpu", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["answered"] > told["trained"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dti"], "there is no network, recipe or run 'dti'; did you mean 'dit'?"),
        (["dit", "--preset", "smal"], "there is no preset of 'dit' 'smal'; did you mean 'small'?"),
        (["dit", "--shape", "13"], "dit: a diffusion transformer takes items (C, *sizes) with 1 to 3 sizes"),
        (["dit", "--shape", "3,,32"], "--shape is written channels,height,width"),
        (["digits", "--shape", "3,8,8"], "the network of digits has 1 channels, got the shape (3, 8, 8)"),
    ],
)
def test_what_cannot_be_listed_is_refused_in_a_line(words: list[str], message: str, capsys):
    assert main(["nets", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_families_that_cannot_take_a_shape_are_left_out_and_said(capsys):
    assert main(["nets", "--shape", "13", "--preset", "tiny", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [entry["net"] for entry in json.loads(out)] == ["mlp"]
    assert err.count("is left out") == len(NETS) - 1


@pytest.mark.parametrize(
    ("number", "text"),
    [(7, "7 "), (999, "999 "), (1000, "1.00 k"), (9996, "10.0 k"), (13_678_592, "13.7 M"), (999_600, "1.00 M"),
     (8.076e9, "8.08 G"), (999_400, "999 k")],
)  # fmt: skip
def test_numbers_are_scaled_to_three_digits(number: float, text: str):
    assert scaled(number) == text
