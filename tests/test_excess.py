"""Excess risk: zero for the truth alone, equal to divergences and closed forms where it is not, honest intervals."""

import json

import numpy as np
import pytest
from scipy.integrate import trapezoid

from unnoise import recipe as recipes
from unnoise.cli import page
from unnoise.cli.app import main
from unnoise.config import UserError
from unnoise.data import Fields, Gaussians8, Mixture
from unnoise.denoise import Belief, exact
from unnoise.denoise.truth import truth
from unnoise.metrics.excess import RATIOS, Excess, excess, integral
from unnoise.metrics.measure import Measure
from unnoise.modality import Array, Points
from unnoise.process import Gaussian, schedules

KARRAS = Gaussian(schedules.Karras())
PLAIN = {"points": Points(), "array": Array()}


class Off:
    """The truth, changed: what is believed becomes change(D*)."""

    def __init__(self, known, change):
        self.known, self.change, self.process = known, change, known.process

    def __call__(self, x, level, cond):
        return Belief(self.change(self.known(x, level, cond).x0))


@pytest.mark.parametrize("world", [Mixture(dim=8), Fields(side=8, channels=2), Gaussians8()], ids=lambda w: w.name)
@pytest.mark.parametrize("schedule", [schedules.Karras(), schedules.Cosine(), schedules.Flow()], ids=lambda s: type(s))
def test_the_truth_alone_has_no_excess(world, schedule):
    process = Gaussian(schedule)
    known, same = truth(world, process), truth(world, process)
    found = excess(known, same, world, PLAIN[world.raw], items=600)
    assert found.risk == 0
    assert found.bits == 0
    assert [m.value for m in found.measures()] == [0, 0]
    off = excess(Off(known, lambda x0: x0 + 0.01), same, world, PLAIN[world.raw], items=600)
    np.testing.assert_allclose(off.distance, 1e-4, rtol=1e-3)
    assert off.risk == pytest.approx(np.mean(1e-4 / off.optimum), rel=1e-3)
    assert off.items == 600


def test_the_optimum_is_the_least_loss_of_the_same_levels():
    world = Fields(side=6, components=3)
    known = truth(world, KARRAS)
    found = excess(known, known, world, Array(), items=9000)
    told = known.optimal_loss(np.ones(15), RATIOS, labelled=True, n=4000)
    error = [lot.std() / np.sqrt(len(lot)) for lot in found.losses]
    assert (np.abs(found.optimum - told.value) < 4.5 * np.hypot(told.error, error) + 1e-9).all()


def test_the_bits_of_a_wrong_law_are_its_divergence():
    """Half the integral of E|D − D'|² over snr is D(p ‖ q) between the laws, with noise at the two ends (Verdú)."""
    world = Mixture(dim=3, components=1, decay=1.0)
    cov, other, shift = world.covariances[0], np.diag([0.4, 1.5, 0.9]), np.array([0.3, 0.0, -0.2])
    known, wrong = truth(world, KARRAS), exact.Normal(KARRAS, shift, other)
    found = excess(wrong, known, world, Points(), items=30_000)

    def divergence(sigma):
        p, q = (c + sigma**2 * np.eye(3) for c in (cov, other))
        traces = np.trace(np.linalg.solve(q, p)) + shift @ np.linalg.solve(q, shift) - 3
        return 0.5 * (traces + np.linalg.slogdet(q)[1] - np.linalg.slogdet(p)[1])

    told = (divergence(0.02) - divergence(50.0)) / np.log(2) / 3
    spread = found.measures()[1].spread
    assert spread < 0.015 * told
    assert abs(found.bits - told) < 4 * spread + 0.002 * told  # the trapezoid's own error is below the last


def test_the_trapezoid_over_the_levels_is_fine_enough():
    """The same integral from the closed form of one number's distances: no draw, only the rule's error."""
    for v, w in ((1.0, 0.3), (1.0, 2.5), (0.2, 0.6)):
        wiener = [c / (c + RATIOS**2) for c in (v, w)]
        distance = (wiener[0] - wiener[1]) ** 2 * (v + RATIOS**2)
        ends = [0.5 * ((v + s**2) / (w + s**2) - 1 - np.log((v + s**2) / (w + s**2))) for s in (RATIOS[0], RATIOS[-1])]
        assert float(integral(RATIOS, distance)) == pytest.approx((ends[0] - ends[1]) / np.log(2), rel=0.02)


def test_the_interval_covers_as_often_as_it_says(monkeypatch):
    """Gaps with a known mean and a long tail: 95 % intervals of 200 repetitions hold it 90 % to 99 % of the time."""
    monkeypatch.setattr("unnoise.metrics.excess.RESAMPLES", 200)
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        gaps = tuple(rng.chisquare(2, 150) * 0.01 for _ in range(5))
        losses = tuple(0.5 + 0.1 * rng.standard_normal(150) for _ in range(5))
        row = Excess(np.geomspace(0.1, 10, 5), gaps, losses).measures()[0]
        assert row.low < row.value < row.high
        held += row.low <= 0.02 / 0.5 <= row.high
    assert 180 <= held <= 198


def test_levels_beyond_the_schedule_are_left_out():
    process = Gaussian(schedules.ScaledLinear())
    world = Mixture(dim=2)
    found = excess(truth(world, process), truth(world, process), world, Points(), items=300)
    assert found.ratios[-1] < 10 < RATIOS[-1]
    assert len(found.distances) == len(found.ratios) < 15
    assert "12 noise levels" in found.measures()[0].protocol
    with pytest.raises(UserError, match="2 items or more"):
        excess(truth(world, process), truth(world, process), world, Points(), items=20)


def test_equal_questions_are_put_to_all():
    """Two denoisers are told apart by far less than the spread of either."""
    world = Mixture(dim=4)
    known = truth(world, KARRAS)
    a, b, again = (
        excess(Off(known, lambda x0, s=s: s * x0), known, world, Points(), items=900) for s in (0.9, 0.901, 0.9)
    )
    np.testing.assert_array_equal(a.distance, again.distance)
    assert (a.distance > b.distance).all()
    np.testing.assert_allclose(a.distance / b.distance, (0.1 / 0.099) ** 2, rtol=1e-3)


# In a run


TINY = [
    "data={kind: mixture, dim: 8, components: 2, items: 2000, held_out: 300}",
    "net={kind: mlp, width: 32, depth: 1}",
    "train={items: 1024, batch: 64, warmup: 64, lr: 5.0e-3}",
    "sample={sampler: ddim, steps: 3}",
]


def test_evaluate_tells_the_excess_of_a_world(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "mixture", *TINY, "--out", str(folder), "--device", "cpu"]) == 0
    assert main(["evaluate", str(folder), "--draws", "2", "--device", "cpu", "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = {m["name"]: m for m in record["measures"]}
    risk, told = rows["excess_risk"], record["excess"]
    assert risk["value"] == pytest.approx(np.mean(told["excess"]))
    assert risk["low"] < risk["value"] < risk["high"]
    assert (risk["floor"], risk["count"], told["items"]) == (0, 20_000, 20_000)
    assert rows["excess_bits"]["value"] == pytest.approx(trapezoid(told["bits"], told["noise"]))
    assert "more than the least possible" in record["verdict"]
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "What it believes" in html
    assert "Excess risk" in html


def test_data_without_a_truth_and_networks_asked_once_have_none():
    assert recipes.load("shapes").truth is None
    assert recipes.load("digits").truth is None
    assert recipes.load("mixture").truth is not None
    assert recipes.load("fields").truth is not None
    assert recipes.load("mixture", ["modality={kind: points, scale: 2.0}"]).truth is None


def test_the_verdict_counts_samples_and_beliefs_apart():
    def row(name, value, features="raw"):
        return Measure(
            name=name, value=value, spread=0.01, floor=0.5, floor_spread=0.01, draws=2, count=500, better="lower",
            protocol="", features=features,
        )  # fmt: skip

    said = page.verdict([row("sliced_wasserstein", 0.5), row("excess_risk", 0.042, "beliefs")])
    assert said.startswith("All 1 measures")
    assert said.endswith("errs 4.2 % more than the least possible.")
    assert "furthest off: Coverage" in page.verdict([row("coverage", 0.9), row("excess_bits", 9.0, "beliefs")])


def test_a_label_that_is_heard_is_judged_by_the_truth_that_hears_it():
    world = Fields(side=6, components=3, between=0.3)
    known = truth(world, KARRAS)

    class Deaf:
        process = KARRAS

        def __call__(self, x, level, cond):
            return known(x, level, {})

    found = excess(Deaf(), known, world, Array(), items=1500)
    free, told = (known.optimal_loss(np.ones(15), RATIOS, labelled=flag, n=3000) for flag in (False, True))
    error = 4.5 * np.hypot(free.error, told.error) + 0.15 * (free.value - told.value) + 1e-6
    assert (np.abs(found.distance - (free.value - told.value)) < error).all()
    assert found.risk > 0.01
