"""A clock that jumps: nothing is divided by nothing, said that cannot be, or done otherwise."""

import itertools
import re
import time

import pytest
from kills import outcome

from unnoise.cli import main
from unnoise.cli.speak import Meter

RECIPE = """
data: {kind: shapes, items: 40, held_out: 8, side: 6}
modality: image
net: {kind: mlp, width: 8, depth: 1}
train: {items: 96, batch: 16, warmup: 16, ema: [0.1], log_every: 16, validate_every: 48, validate_items: 8,
        checkpoint_every: 48, snapshots: 0}
sample: {sampler: ddim, steps: 2}
"""
TRUE = time.perf_counter


def clocks():
    """Each a function of how often it was asked."""
    return {
        "stands still": lambda i: 5.0,
        "runs back": lambda i: 1e6 - i,
        "is set back by a day": lambda i: TRUE() - 86_400 * (i // 7 % 2),
        "is set forward by 30 years": lambda i: TRUE() + 1e9 * (i // 9),
        "does both": lambda i: TRUE() + (-1) ** i * 1e7,
        "begins at nothing": lambda i: 0.0 if i < 20 else 1e-300,
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    place = tmp_path_factory.mktemp("clock")
    (place / "small.yaml").write_text(RECIPE)
    assert main(["train", str(place / "small.yaml"), "--out", str(place / "run")]) == 0
    return outcome(place / "run")


@pytest.mark.parametrize("name", clocks())
def test_a_training_hears_no_clock(tmp_path, undisturbed, capsys, monkeypatch, name):
    (tmp_path / "small.yaml").write_text(RECIPE)
    asked, reading = itertools.count(), clocks()[name]
    for clock in ("perf_counter", "time", "monotonic"):
        monkeypatch.setattr(time, clock, lambda: reading(next(asked)))
    status = main(["train", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "run")])
    monkeypatch.undo()
    told = "\n".join(capsys.readouterr()).replace(str(tmp_path), "")
    assert status == 0
    assert outcome(tmp_path / "run") == undisturbed
    assert not re.search(r"\bnan\b|\binf|-\d|\d{4,} h|\d e\+", told), told
    assert re.search(r"Trained in \d+ s", told)
    assert next(asked) > 10


@pytest.mark.parametrize("leap", [-86_400.0, 1e9])
def test_a_rate_is_measured_anew_after_a_leap(monkeypatch, leap):
    """100 items a second, before and after; the time left is that of the items left, and only seconds are counted."""
    now, done = [50.0], [0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = Meter("train", 10_000, "items", lambda: done[0])
    with meter:
        for second in range(40):
            now[0] += 1.0 + leap * (second == 20)
            done[0] += 100
            meter._show()
            text = meter.text(done[0])
            assert "-" not in text
            if second not in (0, 20):
                assert "100 items/s" in text
                assert f"{100 - second - 1} s left" in text or "min" in text
        # the leap itself is not known from the work that was done in it
        assert 39 <= meter.seconds <= 40
