"""Noise is a function of seed and place: normal, independent, and blind to its company."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unnoise import rng
from unnoise.rng import DEPTH, _cell, _keys, _tree

LIKE = torch.zeros(1)
SEED = 20_261  # of every generator below


def _path(seeds, start, end, shape=(1,), rows=None, like=LIKE):
    B = len(seeds)
    ends = [np.broadcast_to(np.asarray(e, dtype=np.float64), (B,)).copy() for e in (start, end)]
    return rng.brownian(seeds, *ends, [0] * B if rows is None else rows, shape, like)


def _length(start, end):
    """The share of the path's clock between two levels."""
    clock = [1 / (1 + np.exp(-np.asarray(e) / 4)) for e in (start, end)]
    return clock[1] - clock[0]


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
    for place in (1, 2, 3, 1 << 17, rng.PRIOR, rng.SINGLE):
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
        start = g.normal(size=B) * 4
        end = start + np.where(g.random(B) < 0.7, 1, -1) * g.exponential(size=B)
        start[0], end[-1] = -np.inf, np.inf
        rows = g.integers(0, 1000, B).tolist()
        normal = rng.normal(seeds, places, shape, LIKE)
        path = rng.brownian(seeds, start, end, rows, shape, LIKE)
        first = rng.prior(seeds, shape, LIKE)
        order = g.permutation(B)
        shuffled = rng.brownian(
            [seeds[i] for i in order], start[order], end[order], [rows[i] for i in order], shape, LIKE
        )
        assert torch.equal(shuffled, path[order])
        for i in range(B):
            assert torch.equal(rng.normal(seeds[i : i + 1], places[i : i + 1], shape, LIKE)[0], normal[i])
            assert torch.equal(rng.prior(seeds[i : i + 1], shape, LIKE)[0], first[i])
            alone = rng.brownian(seeds[i : i + 1], start[i : i + 1], end[i : i + 1], rows[i : i + 1], shape, LIKE)
            assert torch.equal(alone[0], path[i])


def test_a_large_batch_is_hashed_in_parts_without_a_trace(monkeypatch):
    whole = _path(range(50), -3.0, 2.0, (64,))
    monkeypatch.setattr(rng, "_CHUNK", 700)
    assert torch.equal(_path(range(50), -3.0, 2.0, (64,)), whole)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_draw_is_the_same_in_every_dtype(dtype):
    like = torch.zeros(1, dtype=dtype)
    single, other = rng.normal([1, 2], [3, 4], (50,), LIKE), rng.normal([1, 2], [3, 4], (50,), like)
    assert other.dtype == dtype
    assert torch.equal(other, single.to(dtype))
    assert torch.equal(_path([1, 2], -1.0, 1.0, (50,), like=like), _path([1, 2], -1.0, 1.0, (50,)).to(dtype))


# The path


@settings(max_examples=100, deadline=None)
@given(a=st.floats(-40, 40), b=st.floats(-40, 40))
def test_increments_have_the_variance_of_their_interval(a, b):
    """The squares of the weights add up to the length of the clock: exact algebra, no draw."""
    left, right = np.sort(_cell(np.array([a, b])))[:, None]
    nodes, weights = _tree(left, right)
    np.testing.assert_allclose(np.square(weights).sum(), (right - left)[0] / 2.0**DEPTH, rtol=1e-9, atol=1e-15)
    used = nodes[0][weights[0] != 0]
    assert len(np.unique(used)) == len(used)  # no node counted twice
    assert nodes.min() >= 0
    assert nodes.max() < 1 << DEPTH


@settings(max_examples=200, deadline=None)
@given(cells=st.lists(st.integers(0, 1 << DEPTH), min_size=4, max_size=4))
def test_increments_over_disjoint_intervals_are_independent_and_overlaps_covary(cells):
    """Cov of two increments is the length they share, by the inner product of their weights."""
    (a, b, c, d) = cells
    pairs = [np.sort([a, b]), np.sort([c, d])]
    rows = []
    for left, right in pairs:
        nodes, weights = _tree(np.array([left]), np.array([right]))
        rows.append(dict.fromkeys(nodes[0].tolist(), 0.0))
        for node, weight in zip(nodes[0].tolist(), weights[0].tolist(), strict=True):
            rows[-1][node] += weight
    shared = max(0, min(pairs[0][1], pairs[1][1]) - max(pairs[0][0], pairs[1][0]))
    product = sum(weight * rows[1].get(node, 0.0) for node, weight in rows[0].items())
    assert product == pytest.approx(shared / 2.0**DEPTH, rel=1e-9, abs=1e-14)


def test_drawn_increments_have_unit_variance_and_are_normal():
    n, edges = 20_000, [-np.inf, -6.0, -2.0, -1.9, 0.0, 3.0, 5.0, np.inf]
    pieces = [_path(range(n), a, b)[:, 0].double() for a, b in pairwise(edges)]
    for piece in pieces:
        assert stats.kstest(piece.numpy(), "norm").pvalue > 1e-3
        assert abs(float(piece.square().mean()) - 1) < 4 * math.sqrt(2 / n)
    stacked = torch.stack(pieces, dim=1)
    covariance = stacked.T @ stacked / n
    off = covariance - torch.diag(covariance.diagonal())
    assert float(off.abs().max()) < 5 / math.sqrt(n)
    _uncorrelated(stacked, rng.prior(range(n), (4,), LIKE).double())  # x_T is not the path's
    _uncorrelated(stacked[:-1], stacked[1:])


@pytest.mark.parametrize("steps", [2, 5, 64, 1000])
def test_a_refined_grid_adds_up_to_the_coarse_one(steps):
    """sqrt(length)·increment is additive: the sample keeps when the number of steps changes."""
    for first, last in ((-5.0, 6.2), (-np.inf, np.inf)):
        inner = np.linspace(-5, 6.2, steps + 1)[1:-1]
        edges = np.array([first, *inner, last])
        cells = _cell(edges)
        length = np.diff(cells) / 2.0**DEPTH
        np.testing.assert_allclose(length, _length(edges[:-1], edges[1:]), atol=2.0**-DEPTH)
        assert (length > 0).all()
        for seed in (3, 159):
            parts = _path([seed] * steps, edges[:-1], edges[1:], (6,)).double().numpy()
            whole = _path([seed], first, last, (6,)).double().numpy()
            np.testing.assert_allclose(np.sqrt(length) @ parts, np.sqrt(length.sum()) * whole[0], atol=2e-6)


def test_draws_at_one_level_are_told_apart_by_their_row():
    """A correction stays at its level, noise put back goes up: each row has a draw of its own, normal."""
    n = 20_000
    still = [_path(range(n), 1.0, 1.0, (4,), rows=[r] * n).double() for r in (0, 1)]
    back = _path(range(n), 1.0, 0.5, (4,), rows=[0] * n).double()
    onward = _path(range(n), 1.0, 1.5, (4,), rows=[0] * n).double()
    _uncorrelated(still[0], still[1])
    _uncorrelated(still[0], onward)
    _uncorrelated(still[0], rng.prior(range(n), (4,), LIKE).double())
    for x in (*still, back):
        assert stats.kstest(x.reshape(-1).numpy(), "norm").pvalue > 1e-3
    assert torch.equal(onward, _path(range(n), 1.0, 1.5, (4,), rows=[9] * n).double())  # the path has no rows


def test_steps_too_short_for_the_path_differ_by_row_too():
    tiny = [_path([5, 6], 1.0, 1.0 + 1e-9, (4,), rows=[r, r]) for r in (0, 1)]
    assert not torch.equal(tiny[0], tiny[1])
    assert torch.equal(tiny[0], _path([5, 6], 1.0, 1.0 + 1e-9, (4,), rows=[0, 0]))


def test_an_empty_batch_or_item_is_no_mistake():
    assert rng.normal([], [], (3,), LIKE).shape == (0, 3)
    assert rng.normal([1], [0], (), LIKE).shape == (1,)
