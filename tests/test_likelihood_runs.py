"""Likelihoods of runs: told by the command line, in metrics.json and the report; a trained model near the truth."""

import json

import numpy as np
import pytest

import unnoise as un
from unnoise.cli import main
from unnoise.config import UserError

DIGITS = ("net.widths=[8,16]", "train.items=320", "train.batch=32", "train.warmup=64", "train.ema=[0.1]",
          "train.checkpoint_every=320", "train.validate_every=0")  # fmt: skip
POINTS = ("data=gaussians8", "net.width=32", "net.depth=2", "train.items=3200", "train.batch=128", "train.warmup=640",
          "train.log_every=3200", "train.validate_every=0", "objective.weight=noise")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    un.fit("digits", folder / "digits", *DIGITS)
    un.fit("swissroll", folder / "points", *POINTS)
    return folder


def test_evaluate_tells_bits_of_pictures_both_ways(place, capsys):
    run = place / "digits"
    words = ["evaluate", str(run), "--likelihood", "both", "--tolerance", "3e-3", "--count", "12", "--draws", "2"]
    assert main([*words, "--steps", "4", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "By the probability flow" in said
    assert "By the variational bound" in said
    assert "bits/dim" in said
    ode, bound = json.loads((run / "metrics.json").read_text())["likelihood"]
    assert (ode["name"], bound["name"]) == ("likelihood_ode", "likelihood_bound")
    assert ode["unit"] == bound["unit"] == "bits/dim"
    assert ode["items"] == 12
    assert ode["numbers"] == 64
    assert ode["own_error"] > 0
    assert "2 random signs" in ode["protocol"]
    # A network that has seen 320 items knows the digits' scale and little else; the bound lies above the flow.
    assert 2 < ode["value"] < 5
    assert bound["value"] > ode["value"] - 4 * np.hypot(ode["error"], bound["error"])
    page = (run / "report.html").read_text()
    assert "How likely it finds real items" in page
    assert "--likelihood both --tolerance 0.003" in page


def test_nats_of_points_and_how_far_they_are_from_the_least(place):
    run = un.open(place / "points")
    raw = run.recipe.source.split("test").items[:100]
    told = run.likelihood(raw=raw)
    assert told.record()["unit"] == "nats/dim"
    assert told.own_error is None
    assert "trace exact" in told.text
    assert told.gap is not None
    assert told.gap[0] > 4 * told.gap[1] > 0
    signs = run.likelihood(raw=raw, exact=0)
    assert "2 random signs" in signs.text
    assert signs.own_error is not None
    assert abs(signs.value - told.value) < 5 * signs.own_error


def test_samples_of_the_adaptive_flow(place, tmp_path, capsys):
    run = un.open(place / "points")
    fine = run.sample(6, sampler="adaptive", tolerance=1e-5, raw=False)
    assert (fine - run.sample(6, sampler="heun", steps=200, raw=False)).abs().max() < 5e-3
    assert (fine - run.sample(6, sampler="adaptive", tolerance=1e-3, raw=False)).abs().max() < 5e-2
    out = tmp_path / "drawn.csv"
    words = ["sample", str(place / "points"), "--sampler", "adaptive", "tolerance=1e-5", "--n", "6", "--out", str(out)]
    assert main([*words, "--device", "cpu"]) == 0
    assert "evaluations on average" in capsys.readouterr().out
    drawn = np.loadtxt(out, delimiter=",", skiprows=1)
    assert np.abs(drawn[:, -2:] - fine.numpy()).max() < 1e-5


WRONG = {
    "evaluate points --likelihood odd": "there is no way to a likelihood 'odd'; did you mean 'ode'?",
    "evaluate points --tolerance 1e-3": "--tolerance is of the flow: give --likelihood ode, or both",
    "evaluate points --likelihood bound --exact 4": "--exact is of the flow",
    "evaluate points --likelihood ode --tolerance 2": "a tolerance lies between 0 and 1, such as 1e-5, got 2.0",
    "evaluate points --likelihood ode --tolerance 1e-9": "float32 keeps no tolerance below 1e-06",
    "evaluate points --likelihood ode --count 99999999": "test holds 10000 items, fewer than the 99999999 asked",
    "sample points --sampler adaptive --steps 4": "adaptive finds its steps by itself",
    "sample points --sampler adaptive tolerence=1e-5": "did you mean 'tolerance'?",
    "sample points --sampler adaptive tolerance=fine": "tolerance of sampler 'adaptive' is a number, got 'fine'",
    "sample points --sampler adaptive evaluations=20": "no more are allowed: a tolerance above 1e-05 needs fewer",
}


@pytest.mark.parametrize("words", WRONG)
def test_mistakes_are_one_line(place, monkeypatch, capsys, words):
    monkeypatch.chdir(place)
    assert main([*words.split(), "--device", "cpu"]) != 0
    said = capsys.readouterr().err.strip().splitlines()
    assert WRONG[words] in said[-1]
    assert not any("Traceback" in line for line in said)


def test_a_generator_has_no_likelihood(tmp_path, capsys):
    run = un.fit("digits-gan", tmp_path / "gan", "net.width=16", "net.depth=1", "train.items=64", "train.batch=32",
                 "train.warmup=32", "train.validate_every=0")  # fmt: skip
    with pytest.raises(UserError, match="asked once"):
        run.likelihood()
    with pytest.raises(UserError, match="there is no flow to follow"):
        run.sample(4, sampler="adaptive")
    capsys.readouterr()
    assert main(["evaluate", str(run.folder), "--likelihood", "ode", "--device", "cpu"]) == 2
    err = capsys.readouterr().err
    assert "asked once" in err
    assert "samples" not in err, "told before anything is drawn"


@pytest.mark.slow
def test_a_trained_model_comes_within_two_hundredths_of_a_nat_of_a_known_entropy(tmp_path):
    """Some 90 s on one core. Eight bells in the plane; the same items for both, so the gap is known well."""
    words = ("data=gaussians8", "objective.weight=noise", "objective.levels.mean=-1.0", "train.items=2000000")
    run = un.fit("swissroll", tmp_path / "bells", *words)
    told = run.likelihood(raw=run.recipe.source.split("test").items[:4000])
    assert told.gap is not None
    gap, error = told.gap
    print(f"gap {gap:.4f} ± {error:.4f} nats a number")
    assert -0.001 < gap + 2 * error < 0.02
    truth = run.recipe.truth
    assert truth is not None
    assert abs(told.value - float(truth.entropy().value) / 2) < 0.02 + 3 * told.error
