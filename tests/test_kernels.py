"""Kernels, transport, a classifier's test, scores and pictures, against closed forms, other libraries and records."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel

from unnoise.metrics import (
    classifier_two_sample,
    cmmd,
    energy,
    frechet,
    frechet_normal,
    inception_score,
    kernels,
    kid,
    kid_subsets,
    mean_distance,
    mmd,
    psnr,
    sliced_wasserstein,
    ssim,
    two_sample,
    vendi,
    wasserstein,
)
from unnoise.metrics import ridge as ridges
from unnoise.rng import host

RECORDS = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "measures.json").read_text())
seeds = st.integers(0, 2**31)


def sets(seed: int, n: int = 40, m: int = 30, dim: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)), 1.5 * rng.standard_normal((m, dim)) + 0.3


@pytest.fixture(params=[1 << 22, 64])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one part, and in many."""
    monkeypatch.setattr(kernels, "_CHUNK", request.param)


@pytest.mark.usefixtures("chunk")
def test_mmd_is_its_sums_over_pairs() -> None:
    x, y = sets(0)
    gamma = 0.5 / 1.3**2
    xx, yy, xy = (rbf_kernel(*pair, gamma=gamma) for pair in ((x, x), (y, y), (x, y)))
    biased = xx.mean() + yy.mean() - 2 * xy.mean()
    assert np.isclose(mmd(x, y, kernels.gaussian(1.3), unbiased=False), biased, atol=1e-13)
    np.fill_diagonal(xx, 0), np.fill_diagonal(yy, 0)
    unbiased = xx.sum() / (40 * 39) + yy.sum() / (30 * 29) - 2 * xy.mean()
    assert np.isclose(mmd(x, y, kernels.gaussian(1.3)), unbiased, atol=1e-13)


@pytest.mark.usefixtures("chunk")
def test_kid_is_the_cubic_kernel_of_sklearn() -> None:
    x, y = sets(1)
    xx, yy, xy = (polynomial_kernel(*pair, degree=3, coef0=1) for pair in ((x, x), (y, y), (x, y)))
    truth = (xx.sum() - np.trace(xx)) / (40 * 39) + (yy.sum() - np.trace(yy)) / (30 * 29) - 2 * xy.mean()
    assert np.isclose(kid(x, y), truth, rtol=1e-12)
    assert kid_subsets(x[:30], y, size=1000).tolist() == [kid(x[:30], y)]
    lots = kid_subsets(*sets(2, 200, 150), subsets=400, size=20)
    assert abs(lots.mean() - kid(*sets(2, 200, 150))) < 4 * lots.std() / np.sqrt(400)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(2, 12), m=st.integers(2, 12))
def test_energy_on_the_line_is_scipys_squared(seed: int, n: int, m: int) -> None:
    x, y = sets(seed, n, m, 1)
    theirs = scipy.stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    assert np.isclose(energy(x, y, unbiased=False), theirs, atol=1e-6)


def test_energy_far_from_the_origin_is_energy_at_it() -> None:
    x, y = sets(3)
    assert np.isclose(energy(x + 1e6, y + 1e6), energy(x, y), rtol=1e-6)


@pytest.mark.parametrize("of", [energy, mmd, kid])
def test_without_bias_one_law_reads_zero_on_average(of) -> None:
    rng = np.random.default_rng(0)
    for n in (5, 40):
        values = np.array([of(*rng.standard_normal((2, n, 3))) for _ in range(400)])
        assert abs(values.mean()) < 4 * values.std() / 20
    assert of(*sets(0, 200, 200)) > 0


def test_a_shift_reads_its_closed_form() -> None:
    """Of N(0, I) and N(m, I): 2(E|z√2 + m| − E|z√2|); with k of bandwidth b: (1 + 2/b²)^{−d/2}·(...)."""
    rng, shift = np.random.default_rng(0), np.array([1.0, 0.5])
    pairs = [(rng.standard_normal((30, 2)), rng.standard_normal((30, 2)) + shift) for _ in range(400)]
    b2, z = 1.5**2, np.sqrt(2) * rng.standard_normal((400_000, 2))
    truths = {
        mmd: 2 * b2 / (b2 + 2) * (1 - np.exp(-(shift @ shift) / (2 * (b2 + 2)))),
        energy: 2 * (np.linalg.norm(z + shift, axis=1).mean() - np.sqrt(np.pi)),
    }
    for of, truth in truths.items():
        values = [of(x, y, kernels.gaussian(1.5)) if of is mmd else of(x, y) for x, y in pairs]
        assert abs(np.mean(values) - truth) < 4 * np.std(values) / 20
        assert truth > 20 * np.std(values) / 20  # it could fail


def test_cmmd_is_as_published() -> None:
    x, y = sets(4, dim=8)
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    gamma = 1 / 200
    truth = rbf_kernel(a, gamma=gamma).mean() + rbf_kernel(b, gamma=gamma).mean() - 2 * rbf_kernel(a, b, gamma).mean()
    assert np.isclose(cmmd(x, y), 1000 * truth, rtol=1e-9)
    assert np.isclose(cmmd(7 * x, y), cmmd(x, y), rtol=1e-9)


@pytest.mark.parametrize("record", RECORDS["agreement"], ids=lambda r: f"{r['measure']}-{r['dimensions']}")
def test_transport_is_pots(record) -> None:
    rng = np.random.default_rng(record["seed"])
    shape = record["items"], record["dimensions"]
    x, y = rng.standard_normal(shape), 1.5 * rng.standard_normal(shape) + 0.3
    ours = {
        "wasserstein": lambda: wasserstein(x, y),
        "wasserstein_1": lambda: wasserstein(x, y, p=1.0),
        "sliced_wasserstein": lambda: sliced_wasserstein(x, y),
        "frechet": lambda: frechet(x, y),
    }[record["measure"]]()
    assert np.isclose(ours, record["pot"], rtol=1e-9)


def test_transport_of_a_shift_is_its_length_in_any_order() -> None:
    x, _ = sets(0, 50)
    assert np.isclose(wasserstein(x, x[::-1] + 0.3), 0.3 * np.sqrt(5))
    assert wasserstein(x, x[::-1]) < 1e-6
    assert sliced_wasserstein(x, x + 0.3) < wasserstein(x, x + 0.3)
    with pytest.raises(ValueError, match="got 50 and 49"):
        wasserstein(x, x[1:])


@settings(max_examples=20, deadline=None)
@given(seed=seeds, n=st.integers(2, 8), m=st.integers(2, 8))
def test_frechet_of_fewer_items_than_features_is_that_of_their_covariances(seed: int, n: int, m: int) -> None:
    x, y = sets(seed, n, m, 9)
    laws = [(rows.mean(axis=0), np.cov(rows.T)) for rows in (x, y)]
    # Roots of singular matrices keep half of the digits; the way without them keeps all.
    assert np.isclose(frechet(x, y), frechet_normal(*laws[0], *laws[1]), rtol=1e-6)


def test_a_classifiers_folds_in_closed_form_are_those_of_sklearn() -> None:
    x, y = sets(5, 40, 40)
    y = y / 1.4
    rows, label = np.concatenate([x, y]), np.repeat([1.0, -1.0], 40)
    gamma = 0.5 / (ridges.BANDWIDTH * kernels.median_distance(rows)) ** 2
    rng, right = host("folds", 0), 0.0
    fold = np.concatenate([rng.permutation(40) % 10 for _ in range(2)])
    for k in range(10):
        out = fold == k
        model = KernelRidge(alpha=ridges.RIDGE, kernel="rbf", gamma=gamma).fit(rows[~out], label[~out])
        right += (model.predict(rows[out]) * label[out] > 0).sum()
    assert classifier_two_sample(x, y) == right / 80


def test_a_classifier_tells_what_neighbours_do_not_and_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(0)
    same = [classifier_two_sample(*rng.standard_normal((2, 100, 8))) for _ in range(20)]
    assert abs(np.mean(same) - 0.5) < 4 * np.std(same) / np.sqrt(20)
    x, y = rng.standard_normal((2, 300, 30))
    y[:, :5] *= 1.8
    assert classifier_two_sample(x, y) > 0.6 > two_sample(x, y) - 0.05
    assert classifier_two_sample(x, x + 9) == 1
    with pytest.raises(ValueError, match="got 4"):
        classifier_two_sample(x[:3], y[:3], folds=4)


def test_inception_scores_extremes_and_its_formula() -> None:
    sure = np.tile(np.eye(5), (8, 1))
    assert np.isclose(inception_score(sure), 5)
    assert np.isclose(inception_score(np.full((40, 5), 0.2)), 1)
    assert np.isclose(inception_score(sure[:1].repeat(9, axis=0)), 1)
    p = np.random.default_rng(0).dirichlet(np.ones(5), 40)
    truth = np.exp(np.mean([scipy.stats.entropy(row, p.mean(axis=0)) for row in p]))
    assert np.isclose(inception_score(p), truth)
    parts = [inception_score(part) for part in np.split(p, 4)]
    assert np.isclose(inception_score(p, splits=4), np.mean(parts))


def test_diversity_counts_what_differs() -> None:
    far = 1e3 * np.arange(6.0)[:, None]
    assert np.isclose(vendi(far, 1.0), 6)
    assert np.isclose(vendi(np.repeat(far, 3, axis=0), 1.0), 6)  # copies add nothing
    assert np.isclose(vendi(np.zeros((7, 2)), 1.0), 1)
    x = sets(0)[0]
    values = np.linalg.eigvalsh(rbf_kernel(x, gamma=0.5 / 1.2**2) / 40)
    assert np.isclose(vendi(x, 1.2), np.exp(scipy.stats.entropy(values)))
    pairs = [np.linalg.norm(a - b) for i, a in enumerate(x) for b in x[:i]]
    assert np.isclose(mean_distance(x), np.mean(pairs))
    assert mean_distance(np.ones((4, 3))) == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_are_those_of_skimage(channels: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (3, channels, 20, 17)).astype(np.uint8)
    y = np.clip(x + 30.0 * rng.standard_normal(x.shape), 0, 255).astype(np.uint8)
    noise = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(x, y, strict=True)]
    assert np.allclose(psnr(x, y), noise)
    like = [
        structural_similarity(a, b, data_range=255, channel_axis=0, gaussian_weights=True, sigma=1.5,
                              use_sample_covariance=False)
        for a, b in zip(x, y, strict=True)
    ]  # fmt: skip
    assert np.allclose(ssim(x, y), like, atol=1e-6)
    assert np.allclose(ssim(x, x), 1)
    assert np.isinf(psnr(x, x)).all()
    assert np.all(ssim(x, 255 - x) < 0.1)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(x[..., :8], y[..., :8])


def test_too_few_items_are_refused() -> None:
    one, two = np.zeros((1, 3)), np.zeros((2, 3))
    for call in (lambda: mmd(one, two), lambda: mean_distance(one), lambda: inception_score(two, 3)):
        with pytest.raises(ValueError, match="items"):
            call()
    with pytest.raises(ValueError, match="above 0"):
        kernels.gaussian(0.0)
    assert mmd(two, two) == 0  # a median distance of 0 is no bandwidth
