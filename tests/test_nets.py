"""Networks: what holds for each of them, and for the seams of the U-Net."""

import inspect
import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from unnoise.nets import MLP, NETS, PRESETS, Net, Source, UNet, count, presets
from unnoise.nets.attention import Attention, attend
from unnoise.nets.core import Core
from unnoise.nets.layers import Block, Double, convolution
from unnoise.nets.waves import Sinusoids, Waves
from unnoise.recipe import load
from unnoise.tensor import Tensor

FIELDS = [(2, 7), (1, 8, 8), (3, 5, 9), (2, 3, 4, 5)]
SMALL = {"widths": (8, 16), "blocks": 1, "groups": 4, "head_width": 8}


def wake(net: Net, seed: int = 0) -> Net:
    """The network away from its start: every parameter moved, so that nothing is silent by being zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator) + ("gain" in name)
    return net.eval()


KEEPING = {"magnitude_preserving": True}
SIZES: dict[str, dict[str, object]] = {  # small ones, in which nothing is left out
    "mlp": {},
    "unet": {**SMALL, "attention": (1, 2)},
    "resnet": {"width": 8, "depth": 2, "groups": 4, "patch": 2},
    "dit": {"width": 16, "depth": 2, "head_width": 8, "patch": 2},
}
SIZES |= {f"preserving {name}": {**SIZES[name], **KEEPING} for name in ("unet", "resnet", "dit")}


def make(name: str, shape: tuple[int, ...], **options: object) -> Net:
    torch.manual_seed(0)
    return NETS[name.split()[-1]](shape, classes=3, **{**SIZES[name], **options})


def question(shape: Sequence[int], batch: int = 3) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, *shape, generator=generator)
    return x, torch.linspace(-3, 2, batch), {"label": torch.arange(batch) % 4}


FIELD_NETS = [name for name in SIZES if NETS[name.split()[-1]].any_size]
CASES = [("mlp", (2,)), ("mlp", (64,)), ("mlp", (1, 4, 4)), *((name, shape) for name in FIELD_NETS for shape in FIELDS)]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_fresh_network_answers_exactly_zero_and_a_woken_one_hears_everything(name: str, shape: tuple[int, ...]):
    net = make(name, shape)
    x, noise, cond = question(shape)
    fresh = net(x, noise, cond)
    assert fresh.shape == x.shape
    assert not fresh.any()
    wake(net)
    with torch.no_grad():
        answer = net(x, noise, cond)
        other = {"label": (cond["label"] + 1) % 4}
        for changed in (net(x + 0.1, noise, cond), net(x, noise + 0.5, cond), net(x, noise, other)):
            assert ((changed - answer).flatten(1).norm(dim=1) / answer.flatten(1).norm(dim=1)).min() > 1e-3


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_no_label_is_the_null_label(name: str, shape: tuple[int, ...]):
    net = wake(make(name, shape))
    x, noise, _ = question(shape)
    null = {"label": torch.full((len(x),), net.classes)}
    assert torch.equal(net(x, noise, {}), net(x, noise, null))
    assert not torch.equal(net(x, noise, {}), net(x, noise, {"label": torch.zeros_like(null["label"])}))


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_an_item_does_not_hear_its_company(name: str, shape: tuple[int, ...]):
    net = make(name, shape)
    wake(net).double()
    x, noise, cond = question(shape, batch=4)
    x = x.double()
    together = net(x, noise, cond)
    strangers = x.clone()
    strangers[1:] = 7.0
    assert torch.equal(net(strangers, noise, cond)[0], together[0])
    for i in range(4):
        alone = net(x[i : i + 1], noise[i : i + 1], {"label": cond["label"][i : i + 1]})
        assert_close(alone, together[i : i + 1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "shape"), CASES)
@pytest.mark.parametrize("modulation", ["add", "scale_shift"])
def test_the_gradient_reaches_every_parameter(name: str, shape: tuple[int, ...], modulation: str):
    options = {"modulation": modulation} if name in ("unet", "resnet") else {}
    net = wake(make(name, shape, **options)).train()
    x, noise, cond = question(shape, batch=4)
    net(x, noise, cond).square().mean().backward()
    silent = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_half_precision_answers_as_single_does(name: str, shape: tuple[int, ...]):
    net = make(name, shape)
    wake(net)
    x, noise, cond = question(shape)
    with torch.no_grad():
        exact = net(x, noise, cond)
        with torch.autocast("cpu", torch.bfloat16):
            cast = net(x, noise, cond)
        whole = net.to(torch.bfloat16)(x, noise, cond)
    assert whole.dtype == x.dtype  # the weights' precision is the network's own affair
    for half in (cast.float(), whole):
        assert (half - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize(("name", "shape"), [("mlp", (2,)), *((name, (1, 8, 8)) for name in FIELD_NETS)])
def test_a_network_that_hears_nothing_is_the_same_network_told_one_level_always(name: str, shape: tuple[int, ...]):
    hearing, deaf = wake(make(name, shape)), wake(make(name, shape, hears="nothing"))
    x, noise, cond = question(shape)
    answer = deaf(x, noise, cond)
    assert torch.equal(deaf(x, 3 - noise, cond), answer)
    assert torch.equal(hearing(x, torch.zeros_like(noise), cond), answer)
    assert not torch.equal(deaf(x, noise, {}), answer)  # labels are heard
    with pytest.raises(ValueError, match="did you mean 'nothing'"):
        Sinusoids(8, hears="noting")


@pytest.mark.parametrize("name", FIELD_NETS)
def test_the_forward_pass_leaves_no_trace(name: str):
    net = wake(make(name, (1, 8, 8)))
    x, noise, cond = question((1, 8, 8))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    first = net(x, noise, cond)
    net(x * 3, noise + 1, {})
    assert torch.equal(net(x, noise, cond), first)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", SIZES)
def test_no_network_waits_for_its_device_or_leaves_it(name: str):
    """On torch's `meta` nothing can be read back, and an operation with a tensor of the host raises."""
    shape = (2, 5, 6)
    net = make(name, shape, augment=4).to("meta").train()
    x, noise, cond = question(shape)
    given = {"label": cond["label"].to("meta"), "augment": torch.zeros(3, 4, device="meta")}
    answer = net(x.to("meta"), noise.to("meta"), given)
    answer.square().mean().backward()
    net.constrain()
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in net.parameters())


# ---- the U-Net


@pytest.mark.parametrize("sizes", [(1,), (13,), (1, 1), (3, 17), (31, 6), (1, 5, 2), (7, 3, 9)])
@pytest.mark.parametrize("name", FIELD_NETS)
def test_a_field_of_any_size_keeps_it(name: str, sizes: tuple[int, ...]):
    deep = {"widths": (8, 8, 16), "attention": (2, 3)} if "unet" in name else {}
    net = wake(make(name, (2, *(8 for _ in sizes)), **deep))
    x, noise, cond = question((2, *sizes))
    answer = net(x, noise, cond)
    assert answer.shape == x.shape
    assert answer.isfinite().all()


@pytest.mark.parametrize("name", ["unet", "resnet"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_far_inside_a_field_its_edge_is_not_heard_and_a_shift_of_the_coarsest_cell_is_kept(name: str, dims: int):
    # Norms are statistics of the whole field; without them the network is a stack of convolutions.
    looks = {"attention": ()} if name == "unet" else {}
    net = wake(make(name, (1, *(8 for _ in range(dims))), **looks)).double()
    for part in net.modules():
        if isinstance(part, nn.GroupNorm):
            part.forward = lambda h: h / 4  # type: ignore[method-assign]
    long = {1: 96, 2: 64, 3: 48}[dims]
    x = torch.randn(1, 1, long, *(4 for _ in range(dims - 1)), dtype=torch.float64)
    noise = torch.zeros(1)
    shifted = net(x.roll(2, dims=2), noise, {})
    middle = slice(22, long - 22)
    assert_close(shifted[:, :, middle], net(x, noise, {}).roll(2, dims=2)[:, :, middle], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_doubling_is_nearest_neighbours_and_a_convolution(dims: int):
    layer = Double(dims, convolution(dims, 4, 4)).double()
    x = torch.randn(2, 4, *(5, 3, 4)[:dims], dtype=torch.float64)
    assert_close(layer(x), layer.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))


def test_zero_residuals_change_nothing_and_others_do():
    net = wake(make("unet", (1, 9, 8)))
    assert isinstance(net, UNet)
    x, noise, cond = question((1, 9, 8))
    plain = net(x, noise, cond)
    skips = net.down(x, net.embed(noise, cond))
    zeros = [torch.zeros_like(skip) for skip in (*skips, skips[-1])]
    assert torch.equal(net(x, noise, cond, residuals=zeros), plain)
    for place in range(len(zeros)):
        given = [residual + 0.5 * (place == i) for i, residual in enumerate(zeros)]
        assert not torch.equal(net(x, noise, cond, residuals=given), plain)
    with pytest.raises(ValueError, match=f"expected {len(zeros)} residuals"):
        net(x, noise, cond, residuals=zeros[1:])


def test_the_parts_in_turn_are_the_whole():
    net = wake(make("unet", (1, 8, 8), attention=(0, 2)))
    assert isinstance(net, UNet)
    x, noise, cond = question((1, 8, 8))
    context = net.embed(noise, cond)
    skips = net.down(x, context)
    assert torch.equal(net.up(net.mid(skips[-1], context), skips, context), net(x, noise, cond))


def test_a_further_source_is_heard_in_its_place_and_one_without_values_is_not():
    net = wake(make("unet", (1, 8, 8), attention=(1, 2)))
    assert isinstance(net, UNet)
    x, noise, cond = question((1, 8, 8))
    plain = net(x, noise, cond)
    tokens = [torch.randn(3, 5, width) for width in net.attention_widths]
    silent = [[Source(keys, torch.zeros_like(keys))] for keys in tokens]
    assert torch.equal(net(x, noise, cond, sources=silent), plain)
    for place in range(len(tokens)):
        heard = [[Source(k, k)] if i == place else [] for i, k in enumerate(tokens)]
        assert not torch.equal(net(x, noise, cond, sources=heard), plain)


def test_a_masked_token_is_as_none():
    layer = Attention(16, head_width=8, groups=4, epsilon=1e-5).double()
    x = torch.randn(2, 16, 3, 3, dtype=torch.float64)
    keys, values = torch.randn(2, 2, 5, 16, dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False, False]] * 2)
    masked = layer(x, [Source(keys, values, mask)])
    assert_close(masked, layer(x, [Source(keys[:, :3], values[:, :3])]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_attention_is_the_softmax_of_the_products(dtype: torch.dtype):
    q, k, v = torch.randn(3, 6, 8, 300, 8, dtype=torch.float64)  # more scores than one portion holds
    scores = torch.einsum("bhld,bhmd->bhlm", q, k) / math.sqrt(8)
    expected = torch.einsum("bhlm,bhmd->bhld", scores.softmax(dim=3), v)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    answer = attend(q.to(dtype), k.to(dtype), v.to(dtype)).double()
    assert_close(answer, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "parameters"), [("small", 980_707), ("base", 16_432_195), ("large", 101_794_563)])
def test_presets_have_the_size_that_the_table_is_known_for(name: str, parameters: int):
    with torch.device("meta"):
        assert UNet((3, 32, 32), **PRESETS["unet"][name]).parameter_count() == parameters


@pytest.mark.parametrize("kind", NETS)
def test_a_recipe_may_name_a_size_and_writes_out_what_it_means(kind: str):
    recipe = load("mixture" if kind == "mlp" else "digits", [f"net.kind={kind}", "net.preset=tiny", "net.dropout=0.5"])
    net = recipe.nodes["net"]
    assert "preset" not in net
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in PRESETS[kind]["tiny"].items()}
    assert {**net, **given, "dropout": 0.5} == net
    assert load("digits", ["net.preset=base"]).nodes["net"]["widths"] == [64, 128, 256]  # the recipe's own are dropped
    with pytest.raises(ValueError, match="did you mean 'small'"):
        load("digits", [f"net={{kind: {kind}, preset: smal}}"])


# ---- what a network costs


@pytest.mark.parametrize("size", presets.SHAPES)
def test_a_preset_has_as_many_parameters_in_every_family(size: str):
    with torch.device("meta"):
        shapes = dict.fromkeys(NETS, presets.SHAPES[size]) | {"mlp": presets.ROW}
        counted = {kind: made(shapes[kind], **PRESETS[kind][size]).parameter_count() for kind, made in NETS.items()}
    for parameters in counted.values():
        assert abs(parameters / counted["unet"] - 1) < presets.TOLERANCE


COUNTED = [pytest.param(size, marks=pytest.mark.slow if size in ("base", "large") else ()) for size in presets.SHAPES]


@pytest.mark.parametrize("size", COUNTED)
def test_a_preset_has_as_many_multiply_adds_in_every_family_of_fields(size: str):
    with torch.device("meta"):
        unet, resnet, dit = (NETS[k](presets.SHAPES[size], **PRESETS[k][size]) for k in ("unet", "resnet", "dit"))
    norm = count(unet).multiply_adds
    for net in (resnet, dit):
        assert abs(count(net).multiply_adds / norm - 1) < presets.TOLERANCE


# ---- what is shared


def test_sinusoids_are_waves_of_geometric_frequencies_and_tell_close_levels_apart():
    waves = Sinusoids(32)
    levels = torch.linspace(-12, 12, 97)  # steps of a quarter
    features = waves(levels)
    assert_close(features[:, 0], torch.cos(5.0 * levels), rtol=0, atol=1e-4)
    assert_close(features[:, 31], torch.sin(0.1 * levels), rtol=0, atol=1e-4)
    apart = torch.cdist(features, features) + 10 * torch.eye(97)
    assert apart.min() > 0.5
    cast = waves.to(torch.bfloat16)  # stays exact when the weights are cast
    assert torch.equal(cast(levels), features)


def test_waves_are_the_same_in_every_process_and_carry_a_detail_that_x_alone_does_not():
    # A linear map of the waves fits what no linear map of x can: a chequered square.
    waves = Waves(2, 256, 3.0).double()
    assert torch.equal(waves.directions, Waves(2, 256, 3.0).double().directions)
    x = 4 * torch.rand(4000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 2
    pattern = torch.sin(3 * x[:, :1]) * torch.sin(3 * x[:, 1:])
    features = waves(x)
    assert torch.equal(features[:, :2], x)
    train, test = slice(0, 3000), slice(3000, 4000)

    def unexplained(given: Tensor) -> float:
        fit = torch.linalg.lstsq(given[train], pattern[train]).solution
        return float((given[test] @ fit - pattern[test]).square().sum() / pattern[test].square().sum())

    assert unexplained(features) < 0.02
    assert unexplained(x) > 0.95


def test_every_network_is_made_of_a_shape_and_keywords():
    for made in NETS.values():
        parameters = list(inspect.signature(made).parameters.values())
        assert parameters[0].name == "shape"
        assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[1:])
        assert "classes" in {p.name for p in parameters}


def test_dropout_is_heard_in_training_only():
    for net in (UNet((1, 8, 8), **SMALL, dropout=0.5), MLP((2,), dropout=0.5)):
        wake(net)
        x, noise, cond = question(net.shape)
        assert torch.equal(net(x, noise, cond), net(x, noise, cond))
        net.train()
        assert not torch.equal(net(x, noise, cond), net(x, noise, cond))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (3,)}, "1 to 3 sizes"),
        ({"attention": (3,)}, "levels 0..1 or in the middle, 2"),
        ({"attention": (1,), "head_width": 48}, "heads of 48 do not divide a width of 64"),
        ({"core": -1}, "core counts blocks"),
        ({"core": 1, "core_width": 80}, "heads of 32 do not divide a core_width of 80"),
        ({"core": 1, "attention": (1, 2)}, "a core is attention in the middle"),
        ({"features": 7}, "even count"),
        ({"classes": -1}, "0 or more"),
        ({"widths": ()}, "one a level"),
        ({"blocks": 0}, "blocks >= 1"),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_one_sentence(options: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        UNet(**{"shape": (1, 8, 8), **options})  # type: ignore[arg-type]


def test_a_core_tells_far_places_of_one_another_and_knows_up_from_down():
    """While its gates are 0 a pixel is heard as far as its convolutions reach; later everywhere."""
    torch.manual_seed(0)
    core = Core(2, before=6, width=16, depth=2, embed_width=5, head_width=8, dropout=0.0, preserving=False).double()
    x, told = torch.randn(2, 6, 13, 13).double(), torch.randn(2, 5).double()
    other = x.clone()
    other[:, :, 0, 0] += 1
    assert core(x, told).shape == x.shape
    assert torch.equal(core(x, told)[..., 5:, 5:], core(other, told)[..., 5:, 5:])
    torch.nn.init.normal_(core.modulate.weight)  # type: ignore[union-attr, arg-type]
    assert (core(x, told) - core(other, told))[..., 12, 12].abs().max() > 1e-3
    even = torch.ones(2, 6, 12, 12).double()
    inner = core(even, told)[..., 4:8, 4:8]  # no edge is near
    assert (inner - inner.flip(2)).abs().max() > 1e-3


def test_an_unknown_modulation_is_met_with_the_known_ones():
    with pytest.raises(ValueError, match="did you mean 'scale_shift'"):
        Block(2, 8, 8, groups=4, epsilon=1e-5, modulation="scale-shift", dropout=0.0)
