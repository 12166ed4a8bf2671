"""Sources: splits are disjoint and repeatable, worlds have the moments, areas and supports they state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unnoise.config import UserError, build
from unnoise.data import SOURCES, SPLITS, Digits, Items, Mixture, Shapes, Source, World, join

PLANE = ["spiral", "swissroll", "moons", "gaussians8", "checkerboard", "classes2d"]
WORLDS = [name for name, source in SOURCES.items() if issubclass(source, World)]


def small(name: str, **options: object) -> World:
    source = SOURCES[name](**{"items": 50, "held_out": 40, **options})  # type: ignore[call-arg]
    assert isinstance(source, World)
    return source


def same(a: Items, b: Items) -> bool:
    return np.array_equal(a.items, b.items) and all(np.array_equal(a.cond[k], b.cond[k]) for k in a.cond)


def test_digits_split_is_the_published_one() -> None:
    parts = {name: SOURCES["digits"]().split(name) for name in SPLITS}
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 1131,
        "validation": 126,
        "test": 540,
    }
    every = join(*parts.values())
    assert every.items.shape == (1797, 1, 8, 8)
    assert (every.items.min(), every.items.max()) == (0, 16)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rows = np.c_[every.items.reshape(1797, 64), every.cond["label"]]
    truth = np.c_[bunch.data, bunch.target]
    assert np.array_equal(rows[np.lexsort(rows.T)], truth[np.lexsort(truth.T)])  # nothing lost, nothing twice
    share = np.bincount(every.cond["label"]) / 1797
    for part in parts.values():  # stratified: each class within one item of its share
        assert np.all(np.abs(np.bincount(part.cond["label"]) - share * len(part)) <= 1)


@pytest.mark.parametrize("count", [10, 26, 1247])
def test_digits_for_validation_come_from_training_alone(count: int) -> None:
    parts, published = ({name: source.split(name) for name in SPLITS} for source in (Digits(count), Digits()))
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 1257 - count,
        "validation": count,
        "test": 540,
    }
    assert same(parts["test"], published["test"])
    rows = [join(whole["train"], whole["validation"]).items.reshape(1257, 64) for whole in (parts, published)]
    assert np.array_equal(*(whole[np.lexsort(whole.T)] for whole in rows))
    assert set(parts["validation"].cond["label"]) == set(range(10))


@pytest.mark.parametrize("count", [0, 9, 1248])
def test_digits_for_validation_are_ten_at_least_and_leave_ten(count: int) -> None:
    with pytest.raises(UserError, match=f"10 to 1247 of the 1257 digits can be for validation, got {count}"):
        Digits(count)


@pytest.mark.parametrize("name", WORLDS)
def test_draws_are_functions_of_seed_and_place(name: str) -> None:
    world = small(name)
    long, short = world.draw(64, 3), world.draw(20, 3)
    head, cond = long.take(np.arange(20))
    assert np.array_equal(short.items, head)
    assert all(np.array_equal(short.cond[k], cond[k]) for k in cond)
    assert same(world.draw(64, 3), small(name).draw(64, 3))
    assert not np.array_equal(world.draw(20, 3).items, world.draw(20, 4).items)


@pytest.mark.parametrize("name", WORLDS)
def test_splits_are_disjoint_repeatable_and_obey_their_seed(name: str) -> None:
    parts = [small(name).split(split) for split in SPLITS]
    assert [len(part) for part in parts] == [50, 40, 40]
    assert all(same(part, small(name).split(split)) for part, split in zip(parts, SPLITS, strict=True))
    parts.append(small(name, seed=1).split("train"))
    parts.append(small(name).draw(50, 0))
    rows = np.concatenate([part.items.reshape(len(part), -1) for part in parts])
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("name", PLANE)
def test_worlds_are_centred_and_scaled_before_the_noise(name: str) -> None:
    x = small(name, noise=0.0).draw(200_000, 0).items.astype(np.float64)
    error = x.std(axis=0) / np.sqrt(len(x))
    assert np.all(np.abs(x.mean(axis=0)) < 4 * error)
    square = (x**2).sum(axis=1)
    assert abs(square.mean() - 2) < 4 * square.std() / np.sqrt(len(x)) + 1e-6


@pytest.mark.parametrize("name", PLANE)
def test_noise_is_normal_with_the_stated_deviation(name: str) -> None:
    clean, noisy = (small(name, noise=s).draw(20_000, 0).items.astype(np.float64) for s in (0.0, 0.3))
    assert stats.kstest(((noisy - clean) / 0.3).reshape(-1), "norm").pvalue > 1e-3


def test_points_lie_on_the_curves_named() -> None:
    x, y = small("swissroll", noise=0.0).draw(500, 0).items.T.astype(np.float64)
    variance = (9.75 * np.pi**2 - 4 - 4 / (9 * np.pi**2)) / 2
    x, y = x * np.sqrt(variance) + 2, y * np.sqrt(variance) + 2 / (3 * np.pi)
    assert np.allclose(np.cos(np.hypot(x, y) - np.arctan2(y, x)), 1, atol=1e-9)  # angle = radius
    x, y = small("spiral", noise=0.0).draw(500, 0).items.T.astype(np.float64)
    turn = 1.5 * np.pi * np.hypot(x, y) - np.arctan2(y, x)  # angle = 3π·r/2, + π on the other arm
    assert np.allclose(np.abs(np.cos(turn)), 1, atol=1e-9)
    assert {-1, 1} == set(np.rint(np.cos(turn)))
    board = small("checkerboard").draw(5000, 0).items
    column, row = np.floor((board / np.sqrt(3) + 1) * 2).T.astype(int)
    assert np.all((column + row) % 2 == 0)
    assert np.all(np.bincount(4 * column + row, minlength=16)[[0, 2, 5, 7, 8, 10, 13, 15]] > 500)
    rings = small("gaussians8", noise=0.0).draw(500, 0).items
    assert len(np.unique(np.rint(rings * 1e4), axis=0)) == 8
    assert np.allclose(np.hypot(*rings.T), np.sqrt(2), atol=1e-6)


def test_classes_are_figures_apart() -> None:
    draw = small("classes2d").draw(6000, 0)
    label = draw.cond["label"]
    assert label.dtype == np.int64
    assert stats.chisquare(np.bincount(label, minlength=3)).pvalue > 1e-3
    centres = np.stack([draw.items[label == k].mean(axis=0) for k in range(3)])
    nearest = np.argmin(np.linalg.norm(draw.items[:, None] - centres, axis=2), axis=1)
    assert (nearest == label).mean() > 0.999
    ring = np.linalg.norm(draw.items[label == 0] - centres[0], axis=1)
    assert ring.min() > 0.44
    assert ring.max() < 0.76


@pytest.mark.parametrize("truth", [0, 1])
def test_mixture_is_the_law_it_states(truth: int) -> None:
    mixture = Mixture(dim=12, components=5, truth=truth)
    w, mu, sigma = mixture.weights, mixture.means, mixture.covariances
    assert np.isclose(w.sum(), 1)
    assert np.allclose(w @ mu, 0, atol=1e-12)
    total = np.einsum("k,kij->ij", w, sigma) + np.einsum("k,ki,kj->ij", w, mu, mu)
    assert np.isclose(np.trace(total), 12)
    assert np.isclose(w @ (mu**2).sum(axis=1), 6)
    for k in range(5):
        eigenvalues = np.linalg.eigvalsh(sigma[k])[::-1]
        assert np.allclose(eigenvalues / eigenvalues[0], np.arange(1, 13) ** -1.5)
        off = sigma[k] - np.diag(np.diag(sigma[k]))
        assert np.abs(off).sum() > np.trace(sigma[k])  # no axis is special
    x = mixture.draw(40_000, 0).items.astype(np.float64)
    assert np.allclose(np.cov(x.T), total, atol=6 * np.sqrt(2 / len(x)) * np.diag(total).max())
    # The whole law, not its first two moments only: along any line it is a one-dimensional mixture.
    for line in np.random.default_rng(1).standard_normal((4, 12)):
        centre, spread = mu @ line, np.sqrt(np.einsum("kij,i,j->k", sigma, line, line))

        def cdf(t: np.ndarray, centre: np.ndarray = centre, spread: np.ndarray = spread) -> np.ndarray:
            return stats.norm.cdf((t[:, None] - centre) / spread) @ w

        assert stats.kstest(x @ line, cdf).pvalue > 1e-3


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), side=st.sampled_from([16, 32, 45]))
def test_shapes_have_their_area_and_centroid(seed: int, side: int) -> None:
    draw = Shapes(side=side).draw(24, seed)
    label, size, position = (draw.cond[k] for k in ("label", "size", "position"))
    cover = draw.items[:, 0] / 255
    area = np.array([np.pi / 4, 1, np.sqrt(3) / 4])[label] * (size * side) ** 2
    perimeter = np.array([np.pi, 4, 3])[label] * size * side
    assert np.all(np.abs(cover.sum(axis=(1, 2)) - area) < 0.015 * perimeter)  # an edge is within 1/64 pixel
    grid = (np.arange(side) + 0.5) / side
    weight = cover / cover.sum(axis=(1, 2), keepdims=True)
    centroid = np.stack([(weight.sum(axis=1) * grid).sum(axis=1), (weight.sum(axis=2) * grid).sum(axis=1)], axis=1)
    assert np.allclose(centroid, position, atol=0.05 / side + 0.002)


def test_shapes_are_filled_and_convex_and_colours_differ_in_hue_only() -> None:
    grey, colour = Shapes().draw(60, 0), Shapes(channels=3).draw(60, 0)
    inside = grey.items[:, 0] > 0
    for picture in (*inside, *inside.transpose(0, 2, 1)):  # every row and column is one run: no hole
        assert np.all(np.abs(np.diff(np.pad(picture, ((0, 0), (1, 1))).astype(int))).sum(axis=1) <= 2)
    assert np.all((grey.items == 255).any(axis=(1, 2, 3)))
    assert np.array_equal(colour.items.max(axis=1) > 0, inside)
    assert np.all(np.abs(colour.items.max(axis=1).astype(int) - grey.items[:, 0]) <= 1)
    assert len(np.unique(colour.items.max(axis=(2, 3)), axis=0)) > 50


def test_take_keeps_the_order_and_join_keeps_the_rows() -> None:
    items = small("classes2d").draw(10, 0)
    raw, cond = items.take([7, 2, 2])
    assert np.array_equal(raw, items.items[[7, 2, 2]])
    assert np.array_equal(cond["label"], items.cond["label"][[7, 2, 2]])
    assert same(join(items, items), Items(*items.take(np.r_[0:10, 0:10])))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"kind": "swisroll"}, "did you mean 'swissroll'"),
        ({"kind": "spiral", "nois": 0.1}, "'noise'"),
        ({"kind": "spiral", "noise": -1}, "got -1"),
        ({"kind": "moons", "items": 0}, "at least 1"),
        ({"kind": "shapes", "channels": 2}, "1 .grey. or 3"),
        ({"kind": "shapes", "largest": 2}, "largest"),
        ({"kind": "mixture", "between": 1}, "between"),
    ],
)
def test_mistakes_are_told_in_one_sentence(node: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(Source, node, {Source: SOURCES}, "data")


def test_a_wrong_split_is_named() -> None:
    with pytest.raises(UserError, match="'train'"):
        SOURCES["digits"]().split("tran")
    with pytest.raises(ValueError, match="3 items, but 2 values of 'label'"):
        Items(np.zeros((3, 1)), {"label": np.zeros(2)})


def test_a_digest_is_of_the_items() -> None:
    digests = [small(name).digest for name in WORLDS] + [SOURCES["digits"]().digest]
    assert len(set(digests)) == len(digests)
    assert small("moons").digest == small("moons").digest
    assert small("moons").digest not in (small("moons", seed=1).digest, small("moons", noise=0.2).digest)
