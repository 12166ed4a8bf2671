"""Intervals hold what they say; the table of measures is asked by name, on the numbers that were asked for."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unnoise.config import UserError
from unnoise.data import Classes2d, Digits, SwissRoll
from unnoise.metrics import MEASURES, Protocol, coverage, energy, interval, kid, protocol, two_sample
from unnoise.metrics.interval import about, clipped, of_share, over_draws, over_halves
from unnoise.metrics.measure import row
from unnoise.report.words import range_of

RECORDS = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "measures.json").read_text())


@pytest.mark.parametrize("n", [2, 5, 20])
def test_intervals_over_draws_hold_the_mean_as_often_as_they_say(n: int) -> None:
    rng = np.random.default_rng(n)
    held = 0
    for _ in range(600):
        low, high = over_draws(rng.standard_normal(n) + 3) or (0.0, 0.0)
        held += low <= 3 <= high
    assert 0.91 < held / 600 < 0.98
    assert over_draws([1.0]) is None
    assert over_draws([2.0, 2.0]) == (2.0, 2.0)


def test_intervals_keep_the_skew_of_the_draws() -> None:
    low, high = over_draws([0.0] * 9 + [1.0]) or (0.0, 0.0)
    assert high - 0.1 > 1.5 * (0.1 - low) > 0


@pytest.mark.parametrize("of", [energy, two_sample, coverage])
def test_halves_of_one_draw_know_its_deviation(of) -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.standard_normal((80, 3)), 1.3 * rng.standard_normal((80, 3)) + 0.3) for _ in range(120)]
    truth = np.std([of(*pair) for pair in pairs], ddof=1)
    told = np.mean([over_halves(of, *pair) for pair in pairs[:40]])
    assert 0.8 < told / truth < 1.4
    assert over_halves(of, *pairs[0]) == over_halves(of, *pairs[0])


def test_parts_of_many_items_know_the_same_as_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2000, 1)), rng.standard_normal((2000, 1)) + 1
    truth = np.sqrt(2 / 2000)

    def shift(a, b):
        return float(b.mean() - a.mean())

    whole = over_halves(shift, x, y, 400)
    monkeypatch.setattr(interval, "PART", 100)
    assert np.allclose([whole, over_halves(shift, x, y, 400)], truth, rtol=0.15)
    assert interval.halved(201) == "parts of 100 of 201 items"


def test_a_share_is_wilsons() -> None:
    low, high = of_share(0.0, 540)
    assert low == 0
    assert np.isclose(high, 3.841459 / (540 + 3.841459))
    for share, count in ((0.1, 50), (0.5, 7), (1.0, 20)):
        for end in of_share(share, count):  # where |share − p| is 1.96 deviations of p
            assert np.isclose((share - end) ** 2, 1.959964**2 * end * (1 - end) / count, atol=1e-6)
    assert clipped(about(0.99, 0.1), (0.0, 1.0))[1] == 1.0
    assert clipped(None, (0.0, 1.0)) == (None, None)


def test_recorded_intervals_hold_what_is_meant() -> None:
    told = RECORDS["intervals"]
    assert all(0.92 < told[f"normal, {n} draws"]["ours"] < 0.97 for n in (2, 5, 20))
    assert told["normal, 5 draws"]["percentiles"] < 0.85  # what the stretch is for


COUNT = 150
STANDARD = Protocol(Digits(), 5, COUNT, classifier=protocol(Digits()).classifier)


def digits(draws: int, level: float = 1.5) -> np.ndarray:
    rng, train = np.random.default_rng(0), Digits().split("train").items
    lots = [train[rng.permutation(1131)[:COUNT]] for _ in range(draws)]
    return np.stack([np.clip(np.rint(lot + level * rng.standard_normal(lot.shape)), 0, 16) for lot in lots])


def test_every_row_has_its_interval_what_it_was_read_on_and_no_idle_warning() -> None:
    rows = {m.name: m for m in STANDARD.measure(digits(5), STANDARD.labels)}
    assert all(m.low is not None and m.low <= m.value <= m.high for m in rows.values())
    assert not any(m.warning for m in rows.values())
    assert rows["frechet"].features == "stored classifier"
    assert rows["coverage"].features == "raw"
    assert rows["coverage"].interval == "5 draws"
    assert rows["near_copies"].interval == "750 items"
    one = {m.name: m for m in replace(STANDARD, draws=1).measure(digits(1))}
    assert one["coverage"].interval == "halves of 150 items"
    for name in ("coverage", "two_sample", "frechet"):
        assert 0.5 * rows[name].spread < one[name].spread < 4 * rows[name].spread


def test_all_measures_that_can_be_asked_tell_fakes_from_real_items() -> None:
    rules = replace(STANDARD, draws=2, measures=("all",))
    assert set(MEASURES) - set(rules.names) == {"inception_score"}
    told = {m.name: m for m in rules.measure(digits(2, 4.0), rules.labels)}
    assert list(told) == list(rules.names)
    seen = {name for name, m in told.items() if m.gap > 4}
    assert seen >= {"frechet", "kid", "energy", "mmd", "wasserstein", "classifier_two_sample", "coverage", "density"}
    real = np.stack([real.items for real, _ in rules.reals[:2]])
    assert all(m.gap < 3.5 for m in rules.measure(real) if m.name != "near_copies")  # these are training items


class Halved:
    """A view of digits: the means of the rows of pixels."""

    name, digest = "rows", "0"

    def features(self, raw):
        return raw.reshape(len(raw), 8, 8).mean(axis=2).astype(np.float64)

    def probabilities(self, raw):
        likes = np.exp(self.features(raw))
        return likes / likes.sum(axis=1, keepdims=True)


def test_named_measures_are_read_on_the_features_that_were_given() -> None:
    samples, view = digits(2), Halved()
    rules = replace(STANDARD, draws=2, features=view, measures=("coverage", "kid", "inception_score"))
    told = {m.name: m for m in rules.measure(samples)}
    real = rules.references[0].items
    truth = [coverage(view.features(real), view.features(lot)) for lot in samples]
    assert np.isclose(told["coverage"].value, np.mean(truth))
    assert np.isclose(told["kid"].value, np.mean([kid(view.features(lot), view.features(real)) for lot in samples]))
    assert {m.features for m in told.values()} == {"rows"}
    assert len(rules.floors["kid"]) == 5  # a large network reads every item of them
    beside = {m.name: m for m in replace(rules, measures=None).measure(samples)}
    plain = {m.name: m for m in replace(STANDARD, draws=2).measure(samples)}
    assert list(beside)[:2] == ["frechet", "kid"]
    assert replace(beside["coverage"]) == plain["coverage"]  # the standard table's own rows stay what they are


def test_what_costs_much_takes_the_same_lot_of_every_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Protocol(SwissRoll(), 1, 60, measures=("wasserstein", "energy"))
    samples = SwissRoll().draw(60, 5).items[None]
    whole = {m.name: m for m in rules.measure(samples)}
    monkeypatch.setitem(MEASURES, "wasserstein", replace(MEASURES["wasserstein"], most=20))
    part = {m.name: m for m in replace(rules).measure(samples)}
    assert (whole["wasserstein"].count, part["wasserstein"].count) == (60, 20)
    assert part["energy"] == whole["energy"]
    assert part["wasserstein"].value != whole["wasserstein"].value


def test_worlds_give_as_many_fresh_items_as_are_asked() -> None:
    rules = Protocol(Classes2d(held_out=100), 1, 3000, measures=("sliced_wasserstein",))
    (told,) = rules.measure(Classes2d().draw(3000, 9).items[None])
    assert told.count == 3000
    assert told.spread > 0
    assert told.floor_spread > 0
    assert told.gap < 4


@pytest.mark.parametrize(
    ("name", "count", "columns", "sentence"),
    [
        ("frechet", 2048, 2048, "covariance of 2,048 features is singular"),
        ("frechet", 2049, 2048, ""),
        ("near_copies", 99, 0, "1 % of fewer is less than one item"),
        ("inception_score", 99, 10, "ten items a class"),
        ("coverage", 49, 64, "takes 50 at least"),
        ("coverage", 50, 64, ""),
    ],
)
def test_counts_too_small_to_mean_anything_are_warned_of(name: str, count: int, columns: int, sentence: str) -> None:
    told = MEASURES[name].warning(count, columns)
    assert (sentence in told) if sentence else told == ""
    assert "{" not in told


def test_what_cannot_be_asked_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match="no measure 'kidd'; did you mean 'kid'"):
        Protocol(Digits(), 2, 60, measures=("kidd",))
    with pytest.raises(UserError, match="kid is read on features, and no classifier is stored for swissroll"):
        protocol(SwissRoll(), measures=("kid",))
    with pytest.raises(UserError, match="inception_score is read on class probabilities"):
        protocol(Digits(), measures=("inception_score",))
    with pytest.raises(UserError, match="swissroll has none"):
        protocol(SwissRoll(), measures=("label_accuracy",))
    assert "near_copies" in protocol(SwissRoll(), measures=("all",)).names


def test_an_interval_has_the_digits_that_its_width_allows() -> None:
    assert range_of(0.5512, 0.5731) == "0.551 to 0.573"
    assert range_of(-0.001, 0.27) == "0.00 to 0.27"
    assert range_of(17.2, 30.9) == "17 to 31"
    assert range_of(0.5, 0.5) == "0.500 to 0.500"
    assert range_of(None, None) == range_of(float("nan"), 1.0) == ""


def test_a_row_without_an_interval_is_plain_json() -> None:
    told = row("x", [1.0], [0.9], better="lower", count=9, protocol="").to_json()
    assert (told["low"], told["high"], told["warning"]) == (None, None, "")
