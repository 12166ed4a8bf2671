"""Buckets: one shape a batch, every picture equally often, and any batch known from its number alone."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unnoise.cli.sample import _shape as asked_shape
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.loop import Done
from unnoise.modality import Image
from unnoise.reading.windows import Windows
from unnoise.recipe import resolve
from unnoise.train.buckets import Bucketed, feed
from unnoise.train.order import Feed, Shuffled
from unnoise.training import Training, fit

SHAPES = ((8, 8), (6, 12), (12, 6))


def bucketed(counts: tuple[int, ...]) -> Items:
    """Pictures whose every pixel says which item they are; label the same."""
    sizes = [SHAPES[k] for k, count in enumerate(counts) for _ in range(count)]
    sizes = [sizes[i] for i in np.random.default_rng(0).permutation(len(sizes))]
    places = np.cumsum([0] + [h * w for h, w in sizes])
    flat = np.concatenate([np.full(h * w, i % 256, np.uint8) for i, (h, w) in enumerate(sizes)])
    index = np.array([(place, *size) for place, size in zip(places, sizes, strict=False)], np.int64)
    items = np.zeros((len(sizes), 1, 8, 8), np.uint8)
    return Items(items, {"label": np.arange(len(sizes))}, Windows(flat, index, 1), bucketed=True)


@settings(max_examples=40, deadline=None)
@given(
    counts=st.tuples(st.integers(1, 40), st.integers(0, 12), st.integers(0, 3)),
    size=st.integers(1, 32),
    seed=st.integers(0, 9),
)
def test_each_batch_is_of_one_shape_and_each_picture_comes_equally_often(
    counts: tuple[int, ...], size: int, seed: int
) -> None:
    items = bucketed(counts)
    order = Bucketed(items, Image().encode, seed)
    total = sum(counts)
    batches = [order.indices(first, size) for first in range(0, (20 * total // size + 1) * size, size)]
    assert items.windows is not None
    for rows in batches:
        assert len(rows) == size
        assert len(np.unique(items.windows.sizes[rows], axis=0)) == 1
    seen = np.bincount(np.concatenate(batches), minlength=total)
    shapes = items.windows.sizes @ (100, 1)
    for shape in np.unique(shapes):
        own = seen[shapes == shape]
        assert own.max() - own.min() <= 1  # within a bucket: shuffle after shuffle
    # Between buckets: no more than a batch or two ahead of or behind the even share.
    shares = [seen[shapes == shape].sum() - seen.sum() * (shapes == shape).mean() for shape in np.unique(shapes)]
    assert np.abs(shares).max() <= 3 * size + 2 * total
    fresh = Bucketed(items, Image().encode, seed)
    place = len(batches) - 1
    assert np.array_equal(fresh.indices(place * size, size), batches[place])  # nothing came before
    assert np.array_equal(order.indices(0, size), batches[0])  # and back


def test_long_run_shares_are_exact() -> None:
    items = bucketed((37, 11, 2))
    order = Bucketed(items, Image().encode, 3)
    for epochs in (50, 400):
        batches = epochs * 50 // 8
        seen = np.bincount(np.concatenate([order.indices(8 * i, 8) for i in range(batches)]), minlength=50)
        assert np.abs(seen - seen.mean()).max() <= 5  # does not grow with the number of epochs


def test_orders_differ_by_epoch_and_seed_and_are_mixed() -> None:
    items = bucketed((64, 64, 64))
    orders = [Bucketed(items, Image().encode, seed) for seed in (0, 1)]
    assert items.windows is not None
    first = [order.indices(0, 8).tolist() for order in orders]
    assert first[0] != first[1]
    kinds = [int(items.windows.sizes[orders[0].indices(8 * i, 8)[0]] @ (100, 1)) for i in range(48)]
    assert len(set(kinds[:12])) == 3  # buckets alternate at random within an epoch
    assert kinds[:24] != kinds[24:]


def test_a_batch_holds_the_pictures_of_its_items_whole() -> None:
    items = bucketed((20, 9, 4))
    made = feed(items, Image().encode, 0)
    assert isinstance(made, Bucketed)
    assert isinstance(made, Feed)
    for i in range(12):
        x0, cond = made(6 * i, 6)
        rows = made.indices(6 * i, 6)
        assert torch.equal(cond["label"], torch.from_numpy(rows))
        assert items.windows is not None
        assert x0.shape == (6, 1, *items.windows.sizes[rows[0]])
        truth = torch.from_numpy(rows / 127.5 - 1).float()
        assert torch.allclose(x0, truth.reshape(6, 1, 1, 1).expand_as(x0), atol=1e-6)
    with pytest.raises(UserError, match="whole batches"):
        made.indices(3, 6)
    assert isinstance(feed(Items(items.items), Image().encode, 0), Shuffled)


def test_a_run_in_buckets_resumes_to_the_bit_and_draws_any_shape(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(60):
        size = [(16, 16), (12, 24), (24, 12)][i % 3]
        values = np.full(size, 40 * (i % 5), np.uint8) + rng.integers(0, 40, size).astype(np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        PIL.Image.fromarray(values).save(tmp_path / "photos" / f"{i}.png")
    nodes = {
        "data": {
            "kind": "pictures", "path": str(tmp_path / "photos"), "cache": str(tmp_path / "cache"),
            "size": 8, "unit": 2, "buckets": True,
        },
        "modality": "image",
        "net": {"kind": "unet", "widths": [8, 8], "blocks": 1, "groups": 4},
        "train": {"items": 96, "batch": 8, "log_every": 32, "validate_every": 96, "checkpoint_every": 32},
    }  # fmt: skip
    whole = fit(resolve("buckets", nodes), tmp_path / "whole")
    training = Training(resolve("buckets", nodes), tmp_path / "parts")
    for tick in training.ticks():
        if tick.items >= 40:
            training.stop()
    assert 0 < training.trainer.items < 96
    assert fit(resolve("buckets", nodes), tmp_path / "parts", resume=True).weights == whole.weights
    seen = [training.trainer.feed(8 * i, 8)[0] for i in range(12)]
    shapes = {tuple(x0.shape[1:]) for x0 in seen}
    order = feed(whole.recipe.source.split("train"), Image().encode, whole.recipe.train.seed)
    assert all(torch.equal(order(8 * i, 8)[0], x0) for i, x0 in enumerate(seen))
    assert len(shapes) == 3
    assert whole.recipe.shape == (1, 8, 8)
    for shape in shapes:
        done = [e for e in whole.draw(range(2), whole.plan(steps=2), shape=shape) if isinstance(e, Done)]
        assert [tuple(e.x.shape) for e in done] == [shape] * 2
    assert asked_shape(whole, "12x24") == (1, 12, 24)
    for bad in ("12", "0x8", "8x8x8", "axb"):
        with pytest.raises(UserError, match="HEIGHTxWIDTH"):
            asked_shape(whole, bad)
