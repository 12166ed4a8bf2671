"""The noises of stochastic samplers are increments of one Brownian path: its law exactly, whoever asks and how."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unnoise import brownian, rng
from unnoise.brownian import SINGLE, Course, clock

LIKE = torch.zeros(1)
SEED = 20_261  # of every generator below


def _chain(edges, drawn=None):
    """The course of a walk through rising half logSNRs."""
    return Course.of(np.array(edges[:-1]), np.array(edges[1:]), drawn)


def _dense(courses):
    """The weights of the courses' draws over all places any of them takes: [(R, K)]."""
    places = sorted({int(p) for c in courses for p in np.unique(c.terms[0][c.terms[1] != 0])})
    column = {place: k for k, place in enumerate(places)}
    tables = []
    for course in courses:
        table = np.zeros((len(course.left), len(places)))
        for row, (named, weights) in enumerate(zip(*course.terms, strict=True)):
            for place, weight in zip(named.tolist(), weights.tolist(), strict=True):
                if weight:
                    table[row, column[place]] += weight
        tables.append(table)
    return tables


def _edges(inner, first=-5.0, last=6.2):
    return [first, *np.linspace(first if math.isfinite(first) else -5, 6.2, inner + 2)[1:-1], last]


levels = st.lists(st.floats(-40, 40), min_size=2, max_size=40, unique=True).map(sorted)


@settings(max_examples=200, deadline=None)
@given(edges=levels, open_ends=st.booleans())
def test_draws_over_disjoint_intervals_are_standard_and_independent(edges, open_ends):
    """The weights of a course are orthonormal: exact algebra, no draw."""
    course = _chain([-np.inf, *edges, np.inf] if open_ends else edges)
    (table,) = _dense([course])
    np.testing.assert_allclose(table @ table.T, np.eye(len(table)), atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(edges=levels)
def test_each_draw_takes_a_place_once_and_places_stay_below_the_prior(edges):
    course = _chain(edges)
    for places, weights in zip(*course.terms, strict=True):
        used = places[weights != 0]
        assert len(np.unique(used)) == len(used)
        on_path = used[used < SINGLE]
        assert (on_path < rng.PRIOR).all()
        assert (used >= 0).all()


def test_intervals_that_overlap_covary_by_what_they_share():
    """Rows of one plan may overlap: Cov of two draws is the shared clock over the root of both lengths."""
    g = np.random.default_rng(SEED)
    for _ in range(20):
        start = g.normal(size=12) * 4
        end = start + g.exponential(size=12)
        course = Course.of(start, end)
        (table,) = _dense([course])
        left, right = clock(start), clock(end)
        shared = np.maximum(np.minimum.outer(right, right) - np.maximum.outer(left, left), 0)
        np.testing.assert_allclose(table @ table.T, shared / np.sqrt(np.outer(right - left, right - left)), atol=1e-9)


def test_a_course_takes_little_more_than_a_normal_a_draw():
    """Where a tree of fixed fineness takes a dozen; ends at infinity take none, others a few."""
    for steps, most in ((10, 1.9), (20, 1.8), (50, 1.6), (1000, 1.4)):
        legs = _chain(_edges(steps - 1, -np.inf, np.inf)).legs
        assert sum(len(leg.places) for leg in legs) <= most * steps
        legs = _chain(_edges(steps - 1)).legs
        assert sum(len(leg.places) for leg in legs) <= most * steps + 12


def test_the_path_keeps_when_steps_change_and_better_the_more_there_are(monkeypatch):
    """sum of f(clock)·dW over n steps against 1024, f smooth: the distance halves when n doubles (order 1).

    By the algebra of the weights, beside the path known at 2^15 cells: a course may leave no more than 1.6 times
    what that leaves.
    """
    steps = [8, 16, 32, 64, 128]

    def distances():
        courses = [_chain(_edges(n - 1)) for n in (1024, *steps)]
        ends = [
            (np.cos(3 * course.left) * np.sqrt(course.right - course.left)) @ table
            for course, table in zip(courses, _dense(courses), strict=True)
        ]
        return np.array([np.linalg.norm(end - ends[0]) for end in ends[1:]])

    ours = distances()
    monkeypatch.setattr(brownian, "FEW", 0)
    monkeypatch.setattr(brownian, "DEEPEST", 15)
    exact = distances()
    assert np.log2(exact[0] / exact[-1]) / 4 > 0.95
    assert np.log2(ours[0] / ours[-1]) / 4 > 0.9, ours
    assert (ours < 1.6 * exact).all(), ours / exact


@pytest.mark.parametrize("steps", [1, 2, 5, 64, 300])
def test_the_whole_way_is_one_increment_in_every_plan(steps):
    """sqrt(length)·draw adds up to the path's end: the same for any number of steps between the same ends."""
    for first, last in ((-np.inf, np.inf), (-np.inf, 6.2), (-5.0, 6.2)):
        course, whole = _chain(_edges(steps - 1, first, last)), _chain([first, last])
        tables = _dense([course, whole])
        added = np.sqrt(course.right - course.left) @ tables[0] / np.sqrt(whole.right - whole.left)[0]
        np.testing.assert_allclose(np.linalg.norm(added), 1, atol=1e-9)
        if not math.isfinite(first) and not math.isfinite(last):
            np.testing.assert_allclose(added, tables[1][0], atol=1e-9)


def test_walking_and_asking_for_one_row_draw_the_same():
    """The two ways, with rows that do not draw, rows off the path, a gap, and a way walked again."""
    g = np.random.default_rng(SEED)
    for steps in (1, 3, 17, 60):
        start = np.array(_edges(steps, -np.inf))[:-1]
        end = np.array(_edges(steps, -np.inf))[1:]
        start, end = (np.concatenate([side, side[::2], side]) for side in (start, end))
        off = g.random(len(start)) < 0.2
        end = np.where(off, start, end)
        drawn = g.random(len(start)) < 0.8
        course, seeds = Course.of(start, end, drawn), [3, 1 << 40, 0]
        walked = list(brownian.walk(seeds, course, (7,), LIKE))
        rows = np.flatnonzero(drawn).tolist()
        assert len(walked) == len(rows)
        for row, found in zip(rows, walked, strict=True):
            asked = brownian.draw(seeds, [course] * 3, [row] * 3, (7,), LIKE)
            torch.testing.assert_close(found, asked, rtol=0, atol=5e-6)


@pytest.mark.parametrize("shape", [(1,), (9,), (1, 8, 8), (5, 33)], ids=str)
def test_a_walk_is_cut_level_by_level_or_piece_by_piece_and_in_runs_without_a_trace(shape, monkeypatch):
    """To the bit, also where rows are walked again, drawn off the path, or not at all."""
    g = np.random.default_rng(SEED)
    for steps in (1, 2, 30):
        start, end = np.array(_edges(steps, -np.inf))[:-1], np.array(_edges(steps, -np.inf))[1:]
        start, end = (np.concatenate([side, side[::3], side]) for side in (start, end))
        course = Course.of(start, np.where(g.random(len(end)) < 0.1, start, end), g.random(len(end)) < 0.9)
        with monkeypatch.context() as patch:
            patch.setattr(brownian, "_TOGETHER", 1 << 40)
            whole = list(brownian.walk([1, 2, 7], course, shape, LIKE))
            patch.setattr(brownian, "_TOGETHER", 0)
            pieces = list(brownian.walk([1, 2, 7], course, shape, LIKE))
            patch.setattr(rng, "_CHUNK", 50)
            runs = list(brownian.walk([1, 2, 7], course, shape, LIKE))
        for one in (pieces, runs):
            assert all(torch.equal(a, b) for a, b in zip(one, whole, strict=True))


@pytest.mark.parametrize("shape", [(1,), (3,), (1, 8, 8), (5, 33)], ids=str)
def test_an_item_is_bitwise_blind_to_its_company(shape):
    g = np.random.default_rng(SEED)
    courses = [_chain(_edges(n)) for n in (2, 5, 30)]
    for B in (2, 8, 31):
        seeds = g.integers(0, 1 << 40, B).tolist()
        mine = [courses[k] for k in g.integers(0, 3, B)]
        rows = [int(g.integers(len(course.left))) for course in mine]
        found = brownian.draw(seeds, mine, rows, shape, LIKE)
        walked = list(brownian.walk(seeds, courses[1], shape, LIKE))
        order = g.permutation(B)
        shuffled = brownian.draw(*([one[i] for i in order] for one in (seeds, mine, rows)), shape, LIKE)
        assert torch.equal(shuffled, found[order])
        for i in range(B):
            assert torch.equal(brownian.draw(seeds[i : i + 1], [mine[i]], [rows[i]], shape, LIKE)[0], found[i])
            alone = brownian.walk(seeds[i : i + 1], courses[1], shape, LIKE)
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, walked, strict=True))


def test_drawn_increments_are_normal_uncorrelated_and_not_the_prior():
    n = 20_000
    course = _chain([-np.inf, -6.0, -2.0, -1.9, 0.0, 3.0, 5.0, np.inf])
    pieces = torch.cat(list(brownian.walk(range(n), course, (1,), LIKE)), dim=1).double()
    for piece in pieces.T:
        assert stats.kstest(piece.numpy(), "norm").pvalue > 1e-3
        assert abs(float(piece.square().mean()) - 1) < 4 * math.sqrt(2 / n)
    covariance = pieces.T @ pieces / n
    assert float((covariance - torch.diag(covariance.diagonal())).abs().max()) < 5 / math.sqrt(n)
    for other in (rng.prior(range(n), (4,), LIKE).double(), torch.roll(pieces, 1, 0)):
        assert float((pieces.T @ other / n).abs().max()) < 5 / math.sqrt(n)


def test_draws_off_the_path_are_told_apart_by_their_row():
    """A correction stays at its level, noise put back goes up, a step may be too short to tell: each its own."""
    n = 20_000
    course = Course.of(np.array([1.0, 1.0, 1.0, 1.0]), np.array([1.0, 0.5, 1.0 + 1e-15, 1.5]))
    draws = [x.double() for x in brownian.walk(range(n), course, (1,), LIKE)]
    assert [int(p[0]) for p in course.terms[0][:3]] == [SINGLE, SINGLE + 1, SINGLE + 2]
    stacked = torch.cat(draws, dim=1)
    covariance = stacked.T @ stacked / n
    np.testing.assert_allclose(covariance, np.eye(4), atol=5 * math.sqrt(2 / n))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_draw_is_the_same_in_every_dtype(dtype):
    course, like = _chain(_edges(4)), torch.zeros(1, dtype=dtype)
    for one, other in zip(
        brownian.walk([1], course, (50,), LIKE), brownian.walk([1], course, (50,), like), strict=True
    ):
        assert other.dtype == dtype
        assert torch.equal(other, one.to(dtype))


def test_a_course_without_draws_and_an_empty_batch_are_no_mistake():
    course = _chain(_edges(3), np.zeros(4, dtype=bool))
    assert list(brownian.walk([1], course, (2,), LIKE)) == []
    assert [len(x) for x in brownian.walk([], _chain(_edges(1)), (2,), LIKE)] == [0, 0]
    assert brownian.draw([], [], [], (2,), LIKE).shape == (0, 2)
