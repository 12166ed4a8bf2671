"""Magnitude-preserving layers: unit variance in, unit variance out, whatever the size of the weights."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from unnoise.nets import NETS, Net
from unnoise.nets.preserving import GELU, SILU, PreservingBlock, Unit, blend, join, normed, silu
from unnoise.nets.tokens import PreservingTokenBlock
from unnoise.recipe import load
from unnoise.tensor import Tensor
from unnoise.training import Training

OPTIONS = {
    "unet": {"widths": (64, 96), "blocks": 1, "attention": (1, 2), "head_width": 16, "places": True},
    "unet, core": {"widths": (64, 96), "blocks": 1, "attention": (1,), "head_width": 16, "core": 2, "core_width": 64},
    "resnet": {"width": 64, "depth": 5},
    "dit": {"width": 64, "depth": 5, "head_width": 16, "patch": 2},
}


def make(kind: str) -> Net:
    torch.manual_seed(0)
    return NETS[kind.partition(",")[0]]((2, 16, 16), classes=3, **OPTIONS[kind], magnitude_preserving=True).eval()


def question() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 2, 16, 16, generator=generator), torch.linspace(-4, 4, 16), {"label": torch.arange(16) % 4}


def open_gain(net: Net) -> None:
    """Lets the last layer speak, whose gain starts at 0."""
    with torch.no_grad():
        net.last.gain.fill_(1.0)  # type: ignore[union-attr, operator]


def test_the_constants_are_the_root_mean_squares_at_the_normal_law():
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    x, share = torch.from_numpy(nodes), torch.from_numpy(weights / math.sqrt(2 * math.pi))
    for value, constant in ((F.silu(x), SILU), (F.gelu(x, approximate="tanh"), GELU)):
        assert float((share * value.square()).sum().sqrt()) == pytest.approx(constant, abs=5e-4)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_sums_and_joins_of_strangers_keep_the_variance(share: float):
    a, b = torch.randn(2, 500, 40, 10, generator=torch.Generator().manual_seed(0))
    assert float(blend(a, b, share).var()) == pytest.approx(1, abs=0.01)
    joined = join(a, b[:, :8])
    assert float(joined.square().mean()) == pytest.approx(1, abs=0.02)
    first, second = joined[:, :40], joined[:, 40:]
    assert float(first.square().sum() / second.square().sum()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("dims", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.1, 1.0, 100.0])
def test_a_layer_keeps_the_variance_whatever_the_size_of_its_weights(dims: int, factor: float):
    torch.manual_seed(0)
    layer = Unit(64, 96, dims, 3 if dims else 1)
    with torch.no_grad():
        layer.directions.mul_(factor)
    x = torch.randn(32, 64, *(16 for _ in range(dims)))
    y = layer(x).detach()
    inside = y[(..., *(slice(1, -1) for _ in range(dims)))] if dims else y  # at its edge a field is half zeros
    assert float(inside.square().mean()) == pytest.approx(1, abs=0.05)
    assert_close(layer.weight.flatten(1).norm(dim=1), torch.ones(96), rtol=2e-3, atol=0.0)


def test_a_constant_channel_is_what_a_bias_would_be():
    layer = Unit(3, 200, 2, 3, constant=True)
    assert layer(torch.zeros(1, 3, 5, 5)).std() > 0.1
    assert not Unit(3, 200, 2, 3)(torch.zeros(1, 3, 5, 5)).any()


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_stream_keeps_its_magnitude_through_the_whole_network(kind: str):
    net, squares = make(kind), []
    for part in net.modules():
        if isinstance(part, (PreservingBlock, PreservingTokenBlock)):
            part.register_forward_hook(lambda _, __, made: squares.append(float(made.detach().square().mean())))
    net(*question())
    assert len(squares) == {"unet": 8, "unet, core": 8, "resnet": 5, "dit": 5}[kind]
    # Where attention averages over many tokens its branch is quiet: 0.49/0.58 of the variance is then left.
    assert min(squares) > 0.65
    assert max(squares) < 1.3


@pytest.mark.parametrize("kind", OPTIONS)
def test_weights_a_hundred_times_as_large_give_the_same_answer(kind: str):
    net = make(kind)
    open_gain(net)
    answer = net(*question())
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, (Unit, nn.Embedding)):
                next(part.parameters()).mul_(100.0)
    assert_close(net(*question()), answer, rtol=0.0, atol=2e-3)


@pytest.mark.parametrize("kind", OPTIONS)
def test_no_gradient_lengthens_a_row_and_no_bias_stands_anywhere(kind: str):
    net = make(kind).train()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "gain" in name:
                parameter.fill_(0.7)
    (net(*question()) - 1).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert name.split(".")[-1] in ("directions", "gain", "gains") or name == "embedding.labels.weight"
        if name.endswith("directions"):
            grad, row = parameter.grad.flatten(1), parameter.detach().flatten(1)  # type: ignore[union-attr]
            along = (grad * row).sum(dim=1) / (grad.norm(dim=1) * row.norm(dim=1)).clamp(min=1e-12)
            assert along.abs().max() < 5e-3


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_training_puts_the_rows_back_on_their_sphere_and_no_answer_hears_it(kind: str, tmp_path):
    options = {"unet": "widths: [8], blocks: 1", "dit": "width: 16, depth: 1, head_width: 8, patch: 2"}[kind]
    over = [f"net={{kind: {kind}, {options}, magnitude_preserving: true}}", "train.lr=0.1", "train.warmup=0"]
    trainer = Training(load("digits", over), tmp_path / "run").trainer
    net = trainer.denoiser.net
    for _ in range(2):
        trainer.step()
    units = [part for part in net.modules() if isinstance(part, Unit)]
    assert len(units) > 5
    for part in units:
        squares = part.directions.detach().flatten(1).square().mean(dim=1)
        assert_close(squares, torch.ones_like(squares), rtol=1e-3, atol=0.0)
    net.eval()
    x, noise = torch.randn(4, 1, 8, 8), torch.zeros(4)
    with torch.no_grad():
        before = net(x, noise, {})
        for part in units:
            part.directions.mul_(3.0)
        net.constrain()
        assert_close(net(x, noise, {}), before, rtol=1e-3, atol=1e-3)


def test_norms_are_found_in_single_precision_and_nothing_stays_nothing():
    x = torch.full((2, 300), 300.0, dtype=torch.float16)  # whose squares do not fit
    assert_close(normed(x, 1).float(), torch.ones(2, 300), rtol=2e-3, atol=0.0)
    assert not normed(torch.zeros(2, 3), 1).any()
    assert float(
        silu(torch.randn(10_000, generator=torch.Generator().manual_seed(0))).square().mean()
    ) == pytest.approx(1, abs=0.05)
