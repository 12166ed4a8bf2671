"""Statistics of features: one pass is all passes, merging is seeing both, a file tells where it comes from."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unnoise.config import UserError
from unnoise.metrics import Statistics, frechet
from unnoise.metrics.statistics import is_statistics


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(0, 60), max_size=5), offset=st.sampled_from([0.0, 1e8]))
def test_batches_of_any_size_give_the_covariance_of_all(seed: int, cuts: list[int], offset: float) -> None:
    rows = np.random.default_rng(seed).standard_normal((60, 4)) + offset
    seen = Statistics.gather(np.split(rows, sorted(cuts)))
    assert seen.count == 60
    assert np.allclose(seen.mean, rows.mean(axis=0), rtol=1e-15)
    assert np.allclose(seen.covariance, np.cov(rows.T), atol=1e-7 if offset else 1e-14)  # 1e8² would leave nothing
    first, second = Statistics.gather([rows[:17]]), Statistics.gather([rows[17:]])
    both = first.merge(second)
    assert np.allclose(both.covariance, seen.covariance, atol=1e-7)
    assert both.count == 60


def test_their_distance_is_that_of_the_features() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 6)), 1.2 * rng.standard_normal((150, 6)) + 0.4
    a, b = (Statistics.gather(np.array_split(rows, 7)) for rows in (x, y))
    assert np.isclose(a.frechet(b), frechet(x, y), rtol=1e-12)
    assert a.frechet(a) < 1e-12


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((30, 5))
    made = Statistics.empty(5, "inception", "abc", "faces", size="64").update(rows)
    path = made.save(tmp_path / "faces.safetensors")
    read = Statistics.load(path)
    assert np.array_equal(read.mean, made.mean)
    assert np.array_equal(read.covariance, made.covariance)
    assert (read.count, read.features, read.digest, read.of) == (30, "inception", "abc", "faces")
    assert read.notes == {"size": "64"}
    assert is_statistics(path)
    more = read.update(rows + 1)
    assert np.allclose(more.covariance, np.cov(np.concatenate([rows, rows + 1]).T))
    named = made.merge(Statistics.empty(5, "inception", "abc", "cats").update(rows))
    assert (named.of, named.count) == ("faces and cats", 60)


def test_the_files_of_others_are_read_without_a_count(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((30, 5))
    path = tmp_path / "stats.npz"
    np.savez(path, mu=rows.mean(axis=0), sigma=np.cov(rows.T))
    read = Statistics.load(path)
    assert is_statistics(path)
    assert read.stated
    assert read.frechet(Statistics.gather([rows])) < 1e-12
    with pytest.raises(UserError, match="without their count"):
        read.update(rows)


def test_memory_is_that_of_a_batch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    batch = rng.standard_normal((100, 50)).astype(np.float32)
    tracemalloc.start()
    seen = Statistics.gather(batch + i for i in range(500))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen.count == 50_000
    assert peak < 1_000_000  # all of the features would be 20 MB


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((30, 5))
    made = Statistics.gather([rows], "inception", "a" * 64)
    for other, sentence in (
        (Statistics.gather([rows[:, :4]]), "5 and of 4 features"),
        (Statistics.gather([rows], "clip"), "inception and clip"),
        (Statistics.gather([rows], "inception", "b" * 64), "different weights"),
        (Statistics.empty(5), "no item"),
    ):
        with pytest.raises(UserError, match=sentence):
            made.frechet(other)
    with pytest.raises(UserError, match="nothing to make"):
        Statistics.gather([])
    with pytest.raises(UserError, match="no statistics at"):
        Statistics.load(tmp_path / "none.safetensors")
    damaged = made.save(tmp_path / "made.safetensors")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-8])
    with pytest.raises(UserError, match="damaged"):
        Statistics.load(damaged)
    for name, data in (("x.safetensors", b"\x02\0\0\0\0\0\0\0{}"), ("y.safetensors", b"text"), ("z.npz", b"text")):
        (tmp_path / name).write_bytes(data)
        assert not is_statistics(tmp_path / name)
        with pytest.raises(UserError, match=r"no statistics|damaged"):
            Statistics.load(tmp_path / name)
    np.savez(tmp_path / "w.npz", mean=rows)
    assert not is_statistics(tmp_path / "w.npz")
    with pytest.raises(UserError, match="mu and sigma"):
        Statistics.load(tmp_path / "w.npz")
    with pytest.raises(ValueError, match="a covariance"):
        Statistics(3, np.zeros(2), np.zeros((3, 3)))
