"""Noise is a function of seed and place: normal, independent, and blind to its company."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from unnoise import hashed, rng
from unnoise.brownian import SINGLE, Course, walk
from unnoise.rng import _keys

LIKE = torch.zeros(1)
SEED = 20_261  # of every generator below


# Words


def test_words_name_a_number_for_good():
    """Recorded values: a seed written in a run's recipe means the same order of data for ever."""
    assert rng.key("order", 0) == 10328986470509396298
    assert rng.key() != rng.key("")
    assert len({rng.key(*w) for w in ((1, 2), (12,), ("1", 2), (1, "2"), (2, 1), ("1, 2",), ((1 << 64) + 1, 2))}) == 7


def test_generators_depend_on_their_words_alone():
    torch.manual_seed(1)
    first, a = torch.randn(3, generator=rng.generator("w", 1)), rng.host("w", 1).random(3)
    torch.manual_seed(2)
    assert torch.equal(first, torch.randn(3, generator=rng.generator("w", 1)))
    assert not torch.equal(first, torch.randn(3, generator=rng.generator("w", 2)))
    np.testing.assert_array_equal(a, rng.host("w", 1).random(3))
    assert not np.array_equal(a, rng.host("w", 2).random(3))


def test_a_million_names_give_a_million_keys():
    """All pairs of 1000 seeds and 1000 places, the same small numbers: (3, 5) is not (5, 3)."""
    numbers = np.arange(1000)
    words = _keys(numbers.tolist(), np.tile(numbers, (1000, 1)))
    keys = np.ascontiguousarray(words).view(np.int64).reshape(-1)
    assert len(np.unique(keys)) == keys.size
    bits = np.unpackbits(np.ascontiguousarray(keys).view(np.uint8)).reshape(-1, 64).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 5 * 0.5 / 1000


def test_seeds_beyond_64_bits_and_below_zero_are_seeds():
    x = rng.normal([-1, (1 << 64) - 1, 1, 2**40], [0] * 4, (8,), LIKE)
    assert torch.equal(x[0], x[1])  # seeds count modulo 2^64
    assert len(torch.unique(x[1:].reshape(-1))) == 24


# Normals


def test_a_seed_draws_the_same_for_good():
    """Recorded values: of keys, of normals at places, and of what two seeds draw along a path of three steps."""
    keys = [[12103184956288865414, 9721045329212343856], [14602521892564604090, 8000891709858805408]]
    assert _keys([0, 7], np.array([[0, 5], [0, 5]])).tolist() == keys
    drawn = [
        [0.3952304720878601, 0.6225744485855103, 0.923283576965332],
        [-1.2054905891418457, -0.4756232500076294, 1.7009447813034058],
        [-0.5009942054748535, 0.488776296377182, -1.0329540967941284],
    ]
    found = rng.normal([0, 7, -1], [0, 5, rng.PRIOR], (3,), LIKE)
    assert torch.allclose(found, torch.tensor(drawn), atol=4e-6, rtol=0)
    course = Course.of(np.array([-3.0, -1.0, 0.5]), np.array([-1.0, 0.5, 2.0]))
    steps = [
        [[-0.8390453457832336, -0.03452390432357788], [1.200064778327942, -0.1556510329246521]],
        [[0.4954521358013153, 0.29463285207748413], [1.4225716590881348, 0.41593751311302185]],
        [[1.8194453716278076, 1.231493353843689], [-1.0833401679992676, -0.02502828650176525]],
    ]
    found = torch.stack([*walk([3, 4], course, (2,), LIKE)])
    assert torch.allclose(found, torch.tensor(steps), atol=4e-6, rtol=0)


@pytest.mark.parametrize("shape", [(1,), (3, 7), (3, 32, 32)])
def test_other_devices_draw_what_a_cpu_draws(shape, monkeypatch):
    """The operations that are torch's make the same normals as NumPy's, up to the rounding of cos and log."""
    course = Course.of(np.array([-3.0, -1.0, 0.5]), np.array([-1.0, 0.5, 2.0]))
    rows = (range(9), np.arange(5), np.linspace(0.1, 2, 5), shape, LIKE)
    here, along = rng.fields(*rows), torch.stack([*walk(range(9), course, shape, LIKE)])
    monkeypatch.setattr(hashed, "operations", lambda _: hashed.Torch)
    again = Course.of(np.array([-3.0, -1.0, 0.5]), np.array([-1.0, 0.5, 2.0]))
    assert torch.allclose(rng.fields(*rows), here, atol=4e-6, rtol=0)
    assert torch.allclose(torch.stack([*walk(range(9), again, shape, LIKE)]), along, atol=4e-6, rtol=0)


@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (3, 7)])
def test_an_item_is_drawn_alone_as_in_any_company(shape):
    together = rng.normal(range(3000), [7] * 3000, shape, LIKE)
    for seed in (0, 1, 63, 2999):
        assert torch.equal(rng.normal([seed], [7], shape, LIKE)[0], together[seed])


def test_draws_are_normal():
    """Kolmogorov–Smirnov and the first four moments of 2·10^6 draws."""
    for shape, seeds in (((2000,), 500), ((1,), 200_000), ((3, 7), 20_000)):
        x = rng.normal(range(seeds), [7] * seeds, shape, LIKE).double().reshape(-1).numpy()
        n = x.size
        assert stats.kstest(x[:200_000], "norm").pvalue > 1e-3
        assert abs(x.mean()) < 4 / math.sqrt(n)
        assert abs(np.mean(x**2) - 1) < 4 * math.sqrt(2 / n)
        assert abs(np.mean(x**3)) < 4 * math.sqrt(15 / n)
        assert abs(np.mean(x**4) - 3) < 4 * math.sqrt(96 / n)
        assert abs(np.mean(np.abs(x) > 3) - 0.0026998) < 4 * math.sqrt(0.0027 / n)


def test_the_tail_is_full_and_finite():
    x = rng.normal(range(4000), [0] * 4000, (2000,), LIKE).abs()
    for beyond in (4.0, 4.5):
        expected = 2 * stats.norm.sf(beyond) * x.numel()
        assert abs(float((x > beyond).sum()) - expected) < 4 * math.sqrt(expected)
    assert float(x.max()) < 5.9


def _uncorrelated(x, y):
    """Correlations of the values and of their squares within four and a half deviations of 0."""
    n = x.shape[0]
    for f in (lambda z: z, lambda z: (z.square() - 1) / math.sqrt(2)):
        correlation = (f(x).T @ f(y) / n).abs()
        assert float(correlation.max()) < 5.0 / math.sqrt(n), correlation


def test_seeds_places_and_elements_are_independent():
    n = 20_000
    x = rng.normal(range(n), [0] * n, (16,), LIKE).double()
    covariance = x.T @ x / n
    off = covariance - torch.diag(covariance.diagonal())
    assert float(off.abs().max()) < 5 / math.sqrt(n)  # elements
    _uncorrelated(x[:-1], x[1:])  # next seeds
    for place in (1, 2, 3, 1 << 17, rng.PRIOR, SINGLE):
        _uncorrelated(x, rng.normal(range(n), [place] * n, (16,), LIKE).double())  # places
    places = rng.normal([0] * n, range(n), (16,), LIKE).double()
    _uncorrelated(x, places)  # seed i at place 0, and seed 0 at place i
    _uncorrelated(rng.normal(range(n), range(n), (16,), LIKE).double(), x)  # seed i at place i


def test_long_fields_have_no_rhythm():
    """No lag of one long field stands out, and its spectrum is flat."""
    x = rng.normal([SEED], [0], (1 << 18,), LIKE)[0].double()
    power = torch.fft.rfft(x).abs().square()[1:-1] / len(x)
    assert stats.kstest(power.numpy(), "expon").pvalue > 1e-3
    lags = torch.fft.irfft(torch.fft.rfft(x).abs().square())[1 : 1 << 16] / len(x)
    assert float(lags.abs().max()) < 5.5 / math.sqrt(len(x))


def test_no_field_is_a_window_of_another():
    """Three neighbours in a row never come twice among 6·10^6, as they would if fields shared one long sequence."""
    bits = rng.normal(range(6000), [0] * 6000, (2000,), LIKE)[:, :1000].contiguous().view(torch.int32).long().numpy()
    runs = (bits[:, :-2] * 0x9E3779B97F4A7C1 + bits[:, 1:-1]) * 0x94D049BB133111B + bits[:, 2:]
    assert (np.diff(np.sort(runs.reshape(-1))) > 0).all()


# Company


@pytest.mark.parametrize("shape", [(1,), (3,), (1, 8, 8), (5, 33), (4099,)], ids=str)
def test_an_item_is_bitwise_blind_to_its_company(shape):
    g = np.random.default_rng(SEED)
    for B in (2, 3, 8, 31):
        seeds, places = g.integers(0, 1 << 40, B).tolist(), g.integers(0, 1 << 20, B).tolist()
        normal, first = rng.normal(seeds, places, shape, LIKE), rng.prior(seeds, shape, LIKE)
        several = rng.fields(seeds, places[:2], [1.0, 0.3], shape, LIKE)
        for i in range(B):
            assert torch.equal(rng.normal(seeds[i : i + 1], places[i : i + 1], shape, LIKE)[0], normal[i])
            assert torch.equal(rng.prior(seeds[i : i + 1], shape, LIKE)[0], first[i])
            alone = rng.fields(seeds[i : i + 1], places[:2], [1.0, 0.3], shape, LIKE)
            assert all(torch.equal(mine[0], theirs[i]) for mine, theirs in zip(alone, several, strict=True))


def test_fields_are_the_normals_of_their_places_times_their_deviations():
    seeds, places = [4, 9, 2], [0, 7]
    plain, scaled = rng.fields(seeds, places, [1.0, 0.25], (5, 3), LIKE)
    torch.testing.assert_close(plain, rng.normal(seeds, [0] * 3, (5, 3), LIKE), rtol=1e-6, atol=0)
    torch.testing.assert_close(scaled, 0.25 * rng.normal(seeds, [7] * 3, (5, 3), LIKE), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("module", "name"), [(rng, "_CHUNK"), (hashed, "_CACHED")])
def test_a_large_batch_is_hashed_in_parts_without_a_trace(monkeypatch, module, name):
    whole, weights = rng.normal(range(50), range(50), (64,), LIKE), np.linspace(-1, 1, 150).reshape(50, 3)
    several = rng.combine(range(50), np.arange(150).reshape(50, 3), weights, (64,), LIKE)
    monkeypatch.setattr(module, name, 700)
    assert torch.equal(rng.normal(range(50), range(50), (64,), LIKE), whole)
    assert torch.equal(rng.combine(range(50), np.arange(150).reshape(50, 3), weights, (64,), LIKE), several)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_draw_is_the_same_in_every_dtype(dtype):
    like = torch.zeros(1, dtype=dtype)
    single, other = rng.normal([1, 2], [3, 4], (50,), LIKE), rng.normal([1, 2], [3, 4], (50,), like)
    assert other.dtype == dtype
    assert torch.equal(other, single.to(dtype))


def test_an_empty_batch_or_item_is_no_mistake():
    assert rng.normal([], [], (3,), LIKE).shape == (0, 3)
    assert rng.normal([1], [0], (), LIKE).shape == (1,)
