"""A run's numbers are read for what they are: made-up histories with known answers, and real tiny runs."""

import json

import numpy as np
import pytest

from unnoise.advise import advice
from unnoise.advise.advice import Story, judge
from unnoise.cli import main
from unnoise.train import TrainConfig

TRAIN = TrainConfig(items=200_000, batch=100, warmup=10_000)
NODES = {"modality": {"kind": "image"}, "net": {"kind": "unet", "widths": [32, 64], "dropout": 0.0}}
ITEMS = np.arange(5_000, 200_001, 5_000)


def told(loss, held=None, *, items=ITEMS, norm=0.4, skipped=0, train=TRAIN, count=10_000, **measures):
    """A history from functions of the items seen."""
    rows = []
    for n in items:
        row = {"items": int(n), "loss": loss(n), "norm": norm(n) if callable(norm) else norm,
               "skipped": skipped(n) if callable(skipped) else skipped}  # fmt: skip
        if held is not None:
            row["held_out"] = {"ema-0.1": {"mean": held(n), "spread": 0.01, "noise": [0.0], "loss": [held(n)]}}
        rows.append(row)
    return Story(rows, train, count, NODES, measures)


def names(story):
    return [finding.name for finding in judge(story)]


def settled(n):
    return 0.2 + 0.5 * np.exp(-n / 15_000)


def measure(name, value, floor, gap):
    return {"name": name, "value": value, "floor": floor, "gap": gap}


def test_what_settled_is_fine():
    (found,) = judge(told(settled, settled))
    assert found.name == "fine"
    assert found.change == ()
    assert found.figures["fall"] == pytest.approx(1 - settled(200_000) / settled(100_000), abs=1e-3)
    assert names(told(settled, settled, two_sample=measure("two_sample", 0.51, 0.508, 0.2))) == ["fine"]


def test_a_held_out_loss_that_turns_names_where_it_was_least():
    def turning(n):
        return 0.3 + 0.1 * np.log(n / 60_000) ** 2

    (found,) = judge(told(lambda n: 0.3 * (n / 5_000) ** -0.3, turning, count=1_000))
    assert found.name == "overfitting"
    assert found.figures["at"] == 60_000
    assert found.figures["rise"] == pytest.approx(turning(200_000) / 0.3 - 1)
    assert "train.items=60000" in found.change
    assert "net.widths=[16,32]" in found.change
    assert "augment=warp" in found.change
    assert "60,000 items" in found.sentence


def test_both_losses_rising_is_no_overfitting():
    assert names(told(lambda n: 0.2 + n / 2e5, lambda n: 0.2 + n / 2e5)) == ["unstable"]


def test_a_gap_alone_is_overfitting_only_after_many_passes():
    def far(n):
        return 2 * settled(n)

    assert names(told(settled, far, count=1_000)) == ["overfitting"]
    assert names(told(settled, far, count=100_000)) == ["fine"], "two passes are not enough to know it by heart"


def test_the_level_that_is_worst_is_named():
    story = told(settled, lambda n: 2 * settled(n), count=500)
    levels = [-3.5, -1.5, 0.5]
    last = {**story.rows[-1], "levels": levels, "losses": [0.1, 0.2, 0.3]}
    last["held_out"] = {"ema": {"mean": 0.4, "noise": [-3.0, -1.5, 0.0, 9.0], "loss": [0.2, 0.8, 0.3, 9.0]}}
    (found,) = judge(Story([*story.rows[:-1], last], TRAIN, 500, NODES))
    assert found.figures["worst_level"] == -1.5
    assert found.figures["worst_ratio"] == pytest.approx(4)


@pytest.mark.parametrize("power", [0.1, 0.3])
def test_a_loss_that_still_falls_is_too_short_and_the_next_doubling_is_told(power):
    def falling(n):
        return n**-power

    (found,) = judge(told(falling, falling))
    gain = 1 - 2**-power
    assert found.name == "too short"
    assert found.figures["fall"] == pytest.approx(gain, rel=0.05)
    assert found.change[0].startswith("train.items=")
    assert int(found.change[0].partition("=")[2]) >= 400_000


def test_without_held_out_items_the_training_loss_tells():
    noise = np.random.default_rng(0).normal(size=10**6)
    assert names(told(lambda n: n**-0.3 * (1 + 0.02 * noise[n]))) == ["too short"]
    assert names(told(lambda n: settled(n) * (1 + 0.02 * noise[n]))) == ["fine"]


def test_few_steps_are_too_short_whatever_the_loss():
    train = TrainConfig(items=10_000, batch=100)
    (found,) = judge(told(settled, settled, items=ITEMS[:2], train=train))
    assert found.name == "too short"
    assert found.figures["steps"] == 100


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"skipped": lambda n: n // 2_000}, "had no finite gradient"),
        ({"norm": lambda n: 9.0 if n == 100_000 else 0.4}, "rose to 22.5 times its median"),
        ({"loss": lambda n: None if n > 190_000 else settled(n)}, "no finite loss"),
        ({"loss": lambda n: settled(n) if n < 100_000 else 1.5 * settled(n)}, "training loss rose"),
    ],
)
def test_an_unstable_training_is_told_by_its_sign(bad, says):
    found = judge(told(**{"loss": settled, **bad}))[0]
    assert found.name == "unstable"
    assert says in found.sentence
    assert "train.lr=0.0007" in found.change


def test_a_few_steps_skipped_at_the_start_are_a_matter_of_course():
    assert names(told(settled, settled, skipped=8, norm=lambda n: 9.0 if n < 20_000 else 0.4)) == ["fine"]


def test_copies_are_told_by_either_measure():
    copies = told(settled, settled, near_copies=measure("near_copies", 0.2, 0.01, 30))
    (found,) = judge(copies)
    assert found.name == "memorised"
    assert "20.0 % of samples are near-copies" in found.sentence
    assert names(told(settled, settled, two_sample=measure("two_sample", 0.3, 0.51, 9))) == ["memorised"]
    assert names(told(settled, settled, near_copies=measure("near_copies", 0.011, 0.01, 0.3))) == ["fine"]


def test_bad_samples_at_a_settled_loss_are_a_weak_network():
    (found,) = judge(told(settled, settled, coverage=measure("coverage", 0.5, 0.97, 12)))
    assert found.name == "weak"
    assert "net.widths=[48,96]" in found.change
    assert names(told(lambda n: n**-0.3, None, coverage=measure("coverage", 0.5, 0.97, 12))) == ["too short"]


def test_what_was_stopped_is_unfinished_beside_what_else_is_said():
    assert names(told(settled, settled, items=ITEMS[:30])) == ["unfinished"]
    assert names(Story([], TRAIN)) == ["unfinished"]


# --- real runs ---------------------------------------------------------------------------------------------

SPIRAL = ("spiral", "net.width=64", "net.depth=2", "train.warmup=2000", "train.log_every=2000", "--device", "cpu")


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (("data.items=8", "train.items=64000", "train.batch=64", "train.validate_every=8000"), "overfitting"),
        (("train.items=6400", "train.batch=64", "train.validate_every=1600"), "too short"),
    ],
)
def test_real_runs_are_told_for_what_they_are(tmp_path, capsys, words, verdict):
    assert main(["train", *SPIRAL, *words, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["advise", str(tmp_path / "run"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [finding["name"] for finding in said["findings"]] == [verdict]
    assert main(["advise", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].lower().startswith(verdict)
    assert lines[1].startswith(f"  unnoise train {tmp_path}/run/recipe.yaml train.items=")
    assert "Not measured yet" in lines[-1]


def test_the_report_says_it_below_its_verdict():
    from unnoise.report.html import Report, page

    text = page(Report(title="a", verdict="Good.", advice=("Too short: 9 steps & few.",)))
    assert text.index("Good.") < text.index('<p class="advice">Too short: 9 steps &amp; few.</p>')


def test_measures_of_other_weights_say_nothing(tmp_path, capsys):
    assert main(["train", *SPIRAL, "train.items=640", "train.batch=64", "--out", str(tmp_path)]) == 0
    from unnoise import run as runs

    run = runs.open(tmp_path)
    rows = [measure("two_sample", 0.3, 0.51, 9)]
    (tmp_path / "metrics.json").write_text(json.dumps({"weights": "others", "measures": rows}))
    assert advice.story(run).measures == {}
    (tmp_path / "metrics.json").write_text(json.dumps({"weights": run.weights, "measures": rows}))
    assert list(advice.story(run).measures) == ["two_sample"]
