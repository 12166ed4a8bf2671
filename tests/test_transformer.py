"""The transformer and its parts: cells, places, norms, sources, and how it starts."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from unnoise.nets import DiT, ResNet, Source
from unnoise.nets.cells import cells, coordinates, field
from unnoise.nets.dit import waves
from unnoise.nets.rotary import Rotary, turn
from unnoise.nets.tokens import TokenAttention
from unnoise.tensor import Tensor

SMALL = {"width": 16, "depth": 2, "head_width": 8, "classes": 3}


def wake(net: DiT, seed: int = 0) -> DiT:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return net.eval()


def question(*shape: int, batch: int = 3) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, *shape, generator=generator)
    return x, torch.linspace(-3, 2, batch), {"label": torch.arange(batch) % 4}


# ---- cells


@pytest.mark.parametrize("sizes", [(1,), (7,), (4, 6), (5, 9), (2, 3, 5)])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_a_field_is_put_together_as_it_was_taken_apart(sizes: tuple[int, ...], patch: int):
    x = torch.randn(2, 3, *sizes)
    parts = cells(x, patch)
    assert parts.shape == (2, 3 * patch ** len(sizes), *(-(-size // patch) for size in sizes))
    assert torch.equal(field(parts, patch, sizes), x)
    assert_close(parts.square().sum(), x.square().sum())  # what is added at the edge is 0


def test_a_cell_holds_its_own_pixels():
    x = torch.randn(2, 3, 6, 8)
    assert torch.equal(cells(x, 2).flatten(2), F.unfold(x, 2, stride=2))


@pytest.mark.parametrize("name", ["dit", "resnet"])
def test_what_is_added_at_the_edge_is_empty_and_is_taken_off(name: str):
    made = DiT((1, 8, 8), **SMALL, patch=2) if name == "dit" else ResNet((1, 8, 8), width=8, depth=2, patch=2)
    net = wake(made)  # type: ignore[arg-type]
    x, noise, _ = question(1, 5, 7)
    padded = F.pad(x, (0, 1, 0, 1))
    assert torch.equal(net(x, noise, {}), net(padded, noise, {})[:, :, :5, :7])


# ---- places


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_attention_hears_the_offset_of_two_tokens_alone_and_in_every_direction(dims: int):
    counts = (7, 5, 3)[:dims]
    table = Rotary(dims, 12)(counts, torch.zeros(()))
    q, k = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    places = coordinates(counts, q.device).long()
    turned = [turn(row.expand(1, 1, len(places), -1), table)[0, 0] for row in (q, k)]
    assert_close(turned[0].norm(dim=1), q.norm().expand(len(places)))
    scores = turned[0] @ turned[1].T
    by_offset: dict[tuple[int, ...], list[Tensor]] = {}
    for m, n in product(range(len(places)), repeat=2):
        by_offset.setdefault(tuple((places[m] - places[n]).tolist()), []).append(scores[m, n])
    for values in by_offset.values():
        assert_close(torch.stack(values), values[0].expand(len(values)), rtol=1e-4, atol=1e-4)
    offsets = list(by_offset)
    means = torch.stack([by_offset[offset][0] for offset in offsets])
    near = [i for i, offset in enumerate(offsets) if max(map(abs, offset)) <= 1]
    apart = torch.pdist(means[near].unsqueeze(1))
    assert apart.min() > 1e-3  # every neighbour sounds different


def test_waves_over_a_field_stand_still_when_it_is_seen_finer():
    # The middle of two small cells is the middle of the large one that holds them: so are their waves, nearly.
    coarse, fine = (waves((n,), torch.zeros(())) for n in (32, 64))
    assert_close((fine[0::2] + fine[1::2]) / 2, coarse, rtol=0.0, atol=0.03)
    assert_close(coarse.square().mean(dim=1), torch.ones(32))
    both = waves((4, 6), torch.zeros(()))
    assert torch.pdist(both).min() > 0.3


@pytest.mark.parametrize(("dims", "head"), [(2, 2), (3, 4), (1, 7)])
def test_a_head_too_narrow_for_its_axes_is_refused(dims: int, head: int):
    with pytest.raises(ValueError, match="expected an even head_width"):
        DiT((1, *(4 for _ in range(dims))), width=4 * head, head_width=head)


# ---- attention


def test_the_size_of_queries_and_keys_is_not_heard():
    layer = TokenAttention(16, 8, preserving=False).double()
    table = Rotary(1, 8)((5,), torch.zeros((), dtype=torch.float64))
    h = torch.randn(2, 5, 16, dtype=torch.float64)
    answer = layer(h, table)
    with torch.no_grad():
        for name, factor in (("weight", 100.0), ("bias", 100.0)):
            getattr(layer.project_in, name)[:32] *= factor
    assert_close(layer(h, table), answer, rtol=1e-5, atol=1e-5)


def test_a_further_source_is_heard_in_its_place_and_one_without_values_is_not():
    net = wake(DiT((1, 8, 8), **SMALL, patch=2))
    x, noise, cond = question(1, 8, 8)
    plain = net(x, noise, cond)
    tokens = [torch.randn(3, 5, width) for width in net.attention_widths]
    assert torch.equal(net(x, noise, cond, sources=[[Source(k, torch.zeros_like(k))] for k in tokens]), plain)
    for place in range(len(tokens)):
        heard = [[Source(k, k)] if i == place else [] for i, k in enumerate(tokens)]
        assert not torch.equal(net(x, noise, cond, sources=heard), plain)
    mask = torch.tensor([[True, True, True, False, False]] * 3)
    masked = net(x, noise, cond, sources=[[Source(k, k, mask)] for k in tokens])
    assert_close(masked, net(x, noise, cond, sources=[[Source(k[:, :3], k[:, :3])] for k in tokens]))


def test_at_the_start_no_block_changes_the_stream():
    net = DiT((1, 8, 8), **SMALL)
    streams: list[Tensor] = []
    for block in net.blocks:
        block.register_forward_hook(lambda _, given, made: streams.append(made - given[0]))
    net(*question(1, 8, 8))
    assert len(streams) == 2
    assert not any(change.any() for change in streams)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (13,)}, "1 to 3 sizes, got the shape"),
        ({"width": 40}, "heads of 32 do not divide a width of 40"),
        ({"depth": 0}, "above 0"),
        ({"expand": -1.0}, "above 0"),
        ({"patch": 0}, "above 0"),
        ({"features": 7}, "even count"),
    ],
)
def test_a_transformer_that_cannot_be_is_refused_in_one_sentence(options: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        DiT(**{"shape": (1, 8, 8), **options})  # type: ignore[arg-type]
