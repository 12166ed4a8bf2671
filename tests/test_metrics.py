"""Distances against closed forms and other libraries; the protocol knows real items, copies and fakes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

import unnoise.metrics.distances as distances
import unnoise.metrics.neighbours as neighbours
from unnoise.config import UserError
from unnoise.data import Classes2d, Digits, Items, Shapes, Source, SwissRoll, World, join
from unnoise.metrics import (
    CLASSIFIERS,
    Measure,
    Protocol,
    copy_threshold,
    coverage,
    density,
    frechet,
    frechet_normal,
    match,
    near_copies,
    nearest,
    nearest_within,
    precision,
    protocol,
    recall,
    sliced_wasserstein,
    stratified,
    two_sample,
)
from unnoise.metrics.measure import row
from unnoise.metrics.neighbours import squared_distances
from unnoise.metrics.rules import MEASURES

seeds = st.integers(0, 2**31)


def sets(seed: int, dim: int, n: int = 40, m: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)), 1.5 * rng.standard_normal((m, dim)) + 0.3


def covariance(rng: np.random.Generator, dim: int, rank: int | None = None) -> np.ndarray:
    root = rng.standard_normal((dim, rank or dim))
    return root @ root.T


@settings(max_examples=30, deadline=None)
@given(seed=seeds, dim=st.integers(1, 8))
def test_frechet_is_the_closed_form_between_normal_laws(seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    mean_x, mean_y = rng.standard_normal((2, dim))
    cov_x, cov_y = covariance(rng, dim), covariance(rng, dim)
    general = np.trace(cov_x + cov_y - 2 * scipy.linalg.sqrtm(cov_x @ cov_y).real)
    truth = ((mean_x - mean_y) ** 2).sum() + general
    value = frechet_normal(mean_x, cov_x, mean_y, cov_y)
    assert np.isclose(value, truth, rtol=1e-6, atol=1e-6 * np.trace(cov_x + cov_y))
    assert np.isclose(value, frechet_normal(mean_y, cov_y, mean_x, cov_x), rtol=1e-9, atol=1e-12)
    # Where the covariances commute: the distance of the deviations.
    a, b = np.diag(rng.random(dim)), np.diag(rng.random(dim))
    commuting = ((np.sqrt(np.diag(a)) - np.sqrt(np.diag(b))) ** 2).sum()
    assert np.isclose(frechet_normal(mean_x, a, mean_x, b), commuting, atol=1e-12)


def test_frechet_of_singular_and_of_equal_laws_is_exact() -> None:
    rng = np.random.default_rng(0)
    cov, zero = covariance(rng, 30, rank=5), np.zeros(30)
    assert frechet_normal(zero, cov, zero, cov) < 1e-10
    assert np.isclose(frechet_normal(zero, cov, zero, 0 * cov), np.trace(cov))
    x, y = rng.standard_normal((2, 50, 3, 4))
    assert frechet(x, x) < 1e-10
    assert np.isclose(frechet(x, x + 0.5), 0.25 * 12)  # a shift is its own square
    assert np.isclose(frechet(x, 3 * x), np.trace(np.cov(x.reshape(50, 12).T)) * 4 + 4 * (x.mean(0) ** 2).sum())
    assert frechet(x, y) > 0


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(1, 12), m=st.integers(1, 12))
def test_wasserstein_on_the_line_is_scipys(seed: int, n: int, m: int) -> None:
    x, y = sets(seed, 1, n, m)
    truth = scipy.stats.wasserstein_distance(x[:, 0], y[:, 0])
    assert np.isclose(sliced_wasserstein(x, y, p=1.0), truth, atol=1e-12)
    cost = cdist(np.repeat(x, m, axis=0), np.repeat(y, n, axis=0), "sqeuclidean")  # each point split evenly
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    assert np.isclose(sliced_wasserstein(x, y), np.sqrt(cost[rows, columns].mean()), atol=1e-12)


@pytest.mark.parametrize(("dim", "tolerance"), [(1, 1e-12), (2, 1e-12), (16, 0.1)])
def test_a_shift_costs_its_mean_projection(dim: int, tolerance: float) -> None:
    x = sets(0, dim)[0]
    shift = np.random.default_rng(1).standard_normal(dim)
    truth = np.linalg.norm(shift) / np.sqrt(dim)  # E (θ·shift)² = |shift|² / dim
    assert np.isclose(sliced_wasserstein(x, x + shift, projections=1024), truth, rtol=tolerance)
    assert sliced_wasserstein(x, x) == 0


def test_sliced_wasserstein_is_a_function_of_the_seed_and_of_rotations_nearly() -> None:
    x, y = sets(0, 2, 200, 150)
    a = 0.7
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    assert np.isclose(sliced_wasserstein(x, y), sliced_wasserstein(x @ turn, y @ turn), rtol=1e-3)
    x, y = sets(0, 9)
    assert sliced_wasserstein(x, y, seed=3) == sliced_wasserstein(x, y, seed=3)
    assert sliced_wasserstein(x, y, seed=3) != sliced_wasserstein(x, y, seed=4)


@pytest.fixture(params=[1 << 22, 64])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one part, and in many: the answers are the same."""
    monkeypatch.setattr(neighbours, "_CHUNK", request.param)
    monkeypatch.setattr(distances, "_CHUNK", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("dim", [1, 2, 6, 7, 20])
def test_neighbours_are_sklearns(dim: int) -> None:
    x, y = sets(5, dim)
    truth, index = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(y).kneighbors(x)
    for k in (1, 2, 6):
        assert np.allclose(nearest(x, y, k), truth[:, k - 1])
    found, distance = match(x, y)
    assert np.array_equal(found, index[:, 0])
    assert np.allclose(distance, truth[:, 0])
    within = NearestNeighbors(n_neighbors=5).fit(y).kneighbors()[0]  # without arguments: not one's own
    assert np.allclose(nearest_within(y, 5), within[:, 4])
    assert np.allclose(squared_distances(x, y), cdist(x, y, "sqeuclidean"))


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("dim", [2, 9])
def test_two_sample_is_the_leave_one_out_accuracy_of_sklearn(dim: int) -> None:
    x, y = sets(3, dim, 30, 30)
    labels = np.repeat([0, 1], 30)
    scores: Any = cross_val_score(KNeighborsClassifier(1), np.r_[x, y], labels, cv=LeaveOneOut())
    assert np.isclose(two_sample(x, y), scores.mean())


def test_two_sample_reads_its_extremes_and_counts_ties_half() -> None:
    x = sets(0, 8)[0]
    assert two_sample(x, x) == 0
    assert two_sample(x, x + 100) == 1
    # Whole numbers on few places: every item has a twin on both sides, and a coin decides.
    grid = np.repeat(np.arange(5.0), 4)[:, None]
    assert two_sample(grid, grid) == 0.5
    with pytest.raises(ValueError, match="got 40 and 39"):
        two_sample(x, x[1:])


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("dim", [2, 9])
def test_coverage_density_precision_recall_are_their_definitions(dim: int) -> None:
    real, fake = sets(7, dim, 60, 50)
    across = cdist(real, fake)
    ball_real = np.sort(cdist(real, real), axis=1)[:, 5]
    ball_fake = np.sort(cdist(fake, fake), axis=1)[:, 5]
    inside = across < ball_real[:, None]
    assert coverage(real, fake) == inside.any(axis=1).mean()
    assert precision(real, fake) == inside.any(axis=0).mean()
    assert np.isclose(density(real, fake), inside.sum() / (5 * 50))
    assert recall(real, fake) == (across < ball_fake).any(axis=1).mean()


def test_coverage_and_density_of_one_law_are_the_papers_expectations() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.standard_normal((30, 2, 400, 5))
    cover = [coverage(x, y) for x, y in pairs]
    dense = [density(x, y) for x, y in pairs]
    n = 400  # Naeem et al., Eq. 8: 1 − Π_{i<k} (n − 1 − i)/(2n − 1 − i), i = 0 .. k − 1
    truth = 1 - np.prod([(n - 1 - i) / (2 * n - 1 - i) for i in range(5)])
    error = np.std(cover) / np.sqrt(30)
    assert abs(np.mean(cover) - truth) < 4 * error
    assert abs(np.mean(dense) - 1) < 4 * np.std(dense) / np.sqrt(30)


def test_near_copies_are_counted_and_not_hidden_in_a_mean() -> None:
    train, test = Digits().split("train").items, Digits().split("test").items
    threshold = copy_threshold(train, test)
    assert np.isclose(threshold, 9.94, atol=0.01)
    assert abs(near_copies(test, train, threshold) - 0.01) < 2 / 540
    few = np.concatenate([test[:497], train[:43]])
    assert np.isclose(near_copies(few, train, threshold), 43 / 540, atol=0.02)
    assert near_copies(train[:10], train, threshold) == 1
    assert nearest(few, train).mean() > 15  # a mean would not show them


def test_a_verbatim_copy_is_one_even_where_the_threshold_is_zero() -> None:
    train = np.random.default_rng(0).integers(0, 9, (200, 4)).astype(np.float64)
    test = np.concatenate([train[:10], train[:190] + 50])
    assert (threshold := copy_threshold(train, test)) == 0
    assert near_copies(train, train, threshold) == 1
    assert near_copies(train + 50.5, train, threshold) == 0
    assert MEASURES["near_copies"].of(np.array([0.0, 0.0, 1.0, 2.0]), np.repeat([0.0, 3.0], 50)) == 0.5


def test_the_stored_classifier_knows_digits_it_never_saw() -> None:
    classifier = CLASSIFIERS["digits"]()
    for part, least in (("validation", 0.98), ("test", 0.99)):
        items = Digits().split(part)
        assert (classifier.predict(items.items) == items.cond["label"]).mean() >= least
    train = Digits().split("train").items
    features = classifier.features(train)
    assert features.shape == (1131, 32)
    assert np.isclose(features.var(axis=0).mean(), 1, rtol=1e-4)
    assert np.array_equal(classifier.features(train[:40, 0].astype(float)), classifier.features(train[:40]))
    rng = np.random.default_rng(0)
    noisy = [np.clip(np.rint(train[:540] + s * rng.standard_normal((540, 1, 8, 8))), 0, 16) for s in (0, 1, 2, 4)]
    test = classifier.features(Digits().split("test").items)
    worse = [frechet(classifier.features(lot), test) for lot in noisy]
    assert np.all(np.diff(worse) > 0)  # what the distance is for


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(0, 60))
def test_stratified_keeps_the_shares(seed: int, n: int) -> None:
    label = np.random.default_rng(seed).choice(3, 60, p=[0.6, 0.3, 0.1])
    rows = stratified(Items(np.arange(60), {"label": label}), n, seed)
    assert len(np.unique(rows)) == n
    assert np.all(np.abs(np.bincount(label[rows], minlength=3) - n * np.bincount(label, minlength=3) / 60) <= 1.01)
    assert np.array_equal(rows, stratified(Items(np.arange(60), {"label": label}), n, seed))


def table(measures: list[Measure]) -> dict[str, Measure]:
    assert json.loads(json.dumps([m.to_json() for m in measures]))[0]["verdict"] == measures[0].verdict
    return {m.name: m for m in measures}


def test_the_floors_of_the_digits_are_the_norms() -> None:
    standard = protocol(Digits())
    assert (standard.draws, standard.count) == (5, 540)
    train, labels = Digits().split("train"), standard.labels
    assert labels is not None
    assert np.array_equal(labels[0], Digits().split("test").cond["label"])
    rng = np.random.default_rng(0)  # a kernel density, and the training items themselves
    raw, cond = zip(*(train.take(rng.integers(0, 1131, 540)) for _ in range(5)), strict=True)
    copies, asked = np.stack(raw), np.stack([c["label"] for c in cond])
    kernel = np.clip(np.rint(copies + 1.5 * rng.standard_normal(copies.shape)), 0, 16)
    rows = table(standard.measure(kernel, asked))
    assert abs(rows["two_sample"].floor - 0.511) < 0.014
    assert abs(rows["coverage"].floor - 0.971) < 0.007
    assert 0.1 < rows["frechet"].floor < 0.2
    assert rows["near_copies"].floor == 6 / 540
    assert rows["label_accuracy"].floor > 0.99
    assert 0.62 < rows["two_sample"].value < 0.70  # the norm of a kernel density: 0.66
    assert rows["two_sample"].verdict == "told apart from real"
    assert rows["frechet"].verdict == "told apart from real"
    assert rows["frechet"].to_json()["ratio"] > 2
    assert rows["label_accuracy"].value > 0.95
    copied = table(standard.measure(copies, (asked + 1) % 10))
    assert copied["near_copies"].verdict == "too close to training items"
    assert copied["label_accuracy"].value < 0.01
    assert copied["label_accuracy"].verdict == "told apart from real"
    alike = standard.references[0].items
    assert table(standard.measure(np.stack([alike] * 5)))["two_sample"].verdict == "too close to the held-out items"


@pytest.mark.parametrize("world", [SwissRoll(), Classes2d(items=5000), Shapes(items=500, held_out=200)])
def test_fresh_items_of_a_world_are_judged_real_and_a_changed_world_is_not(world: World) -> None:
    judge = Protocol(world, 6, 150)
    fresh = [world.draw(150, seed) for seed in range(6)]
    samples = np.stack([lot.items for lot in fresh])
    labels = np.stack([lot.cond["label"] for lot in fresh]) if world.classes else None
    rows = table(judge.measure(samples, labels))
    assert all(abs(m.value - m.floor) < 4 * np.hypot(m.spread, m.floor_spread) for m in rows.values())
    assert all(m.gap < 3 for m in rows.values())
    assert ("label_accuracy" in rows) == bool(world.classes)
    changed = samples * 0.8 if world.raw == "points" else 255 - samples
    assert table(judge.measure(changed))["two_sample"].gap > 4
    if world.raw == "points":
        assert table(judge.measure(changed))["sliced_wasserstein"].value > 1.3 * rows["sliced_wasserstein"].floor


def test_measuring_twice_reads_the_same() -> None:
    samples = np.stack([SwissRoll().draw(60, seed).items for seed in range(3)])
    assert Protocol(SwissRoll(), 3, 60).measure(samples) == Protocol(SwissRoll(), 3, 60).measure(samples)


def test_validation_is_held_out_from_its_own_floor() -> None:
    judge = protocol(Digits(), "validation")
    assert judge.count == 126
    train = {picture.tobytes() for picture in Digits().split("train").items}
    assert all(picture.tobytes() in train for picture in judge.reals[0][0].items)


@pytest.mark.parametrize(
    ("values", "floors", "better", "gap", "verdict"),
    [
        ([1.0, 1.2], [1.0, 1.2], "lower", 0.0, "indistinguishable from real within the spread"),
        ([1.4, 1.4], [1.0, 1.2], "lower", 0.3 / 0.02**0.5, "close to real"),
        ([1.8, 1.8], [1.0, 1.2], "lower", 0.7 / 0.02**0.5, "told apart from real"),
        ([0.5, 0.5], [0.9, 0.92], "higher", 0.41 / 2e-4**0.5, "told apart from real"),
        ([0.99, 0.99], [0.9, 0.92], "higher", -0.08 / 2e-4**0.5, "indistinguishable from real within the spread"),
        ([0.6, 0.6], [0.5, 0.52], "half", 0.09 / 2e-4**0.5, "told apart from real"),
        ([0.4, 0.4], [0.5, 0.52], "half", 0.09 / 2e-4**0.5, "too close to the held-out items"),
    ],
)
def test_verdicts_follow_their_rule(
    values: list[float], floors: list[float], better: Any, gap: float, verdict: str
) -> None:
    measure = row("x", values, floors, better=better, count=9, protocol="")
    assert np.isclose(measure.gap, gap)
    assert measure.verdict == verdict


def test_mistakes_are_told_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"\(3, 60, 2\), got \(3, 50, 2\)"):
        Protocol(SwissRoll(), 3, 60).measure(np.zeros((3, 50, 2)))
    with pytest.raises(UserError, match="126 items, fewer than the 540"):
        _ = Protocol(Digits(), 5, 540, "validation").references
    with pytest.raises(UserError, match="at least 1 draw of 7"):
        Protocol(Digits(), 0, 540)
    with pytest.raises(ValueError, match="no neighbour number 5 among 3"):
        nearest(np.zeros((4, 2)), np.zeros((3, 2)), 5)


class Handful(Source):
    """A few pictures in parts of given sizes, the training part mapped from a file."""

    name = "handful"
    raw, classes = "image", ("dark", "bright")

    def __init__(self, folder: Path, **sizes: int):
        self._parts: dict[str, Items] = {}
        for part, count in sizes.items():
            label = np.arange(count) % 2
            rng = np.random.default_rng(count)
            items = (rng.integers(0, 90, (count, 1, 6, 6)) + 160 * label[:, None, None, None]).astype(np.uint8)
            np.save(folder / f"{part}.npy", items)
            self._parts[part] = Items(np.load(folder / f"{part}.npy", mmap_mode="r"), {"label": label})

    def _split(self, name: str) -> Items:
        return self._parts[name]


@pytest.mark.parametrize(("test", "count"), [(1, 16), (6, 16), (7, 7), (60, 55)])
def test_few_held_out_items_are_measured_as_far_as_they_go(test: int, count: int, tmp_path: Path) -> None:
    source = Handful(tmp_path, train=50, validation=5, test=test)
    rules = protocol(source)
    assert rules.count == count
    labels = rules.labels
    assert labels is not None
    train = source.split("train")
    samples = np.stack([train.items[10 + labels[draw] % 2 + 2 * np.arange(count) % 40] for draw in range(rules.draws)])
    rows = {row.name: row for row in rules.measure(samples, train.cond["label"][10 + labels % 2])}
    assert rows["near_copies"].value == 1
    assert rows["label_accuracy"].value == 1
    assert ("coverage" in rows) == (test >= 7)


@pytest.mark.parametrize(("test", "told"), [(7, False), (11, False), (12, True), (60, True)])
def test_a_single_draw_is_compared_where_its_halves_can_be(test: int, told: bool, tmp_path: Path) -> None:
    source = Handful(tmp_path, train=50, validation=5, test=test)
    rules = replace(protocol(source), draws=1)
    samples = np.random.default_rng(0).integers(0, 255, (1, rules.count, 1, 6, 6)).astype(np.uint8)
    names = {row.name for row in rules.measure(samples, rules.labels)}
    assert ("coverage" in names) == told
    assert "near_copies" in names
    with pytest.raises(UserError, match="a single draw has 12 samples at least"):
        Protocol(SwissRoll(), 1, 11)


def test_the_floor_of_a_mapped_source_is_that_of_the_same_items_in_memory(tmp_path: Path) -> None:
    source = Handful(tmp_path, train=50, validation=30, test=20)
    pool = join(source.split("train"), source.split("validation"))
    for i, (lot, _) in enumerate(protocol(source).reals):
        whole, cond = pool.take(stratified(pool, 20, i))
        assert np.array_equal(lot.items, whole)
        assert np.array_equal(lot.cond["label"], cond["label"])
    x = source.split("test").items
    doubled, plain = match(x * 2.0, pool.items, lambda raw: raw * 2.0), match(x, pool.items)
    assert np.array_equal(doubled[0], plain[0])
    assert np.allclose(doubled[1], 2 * plain[1])
