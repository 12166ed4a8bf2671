"""Commands do what they say, say it in plain lines, and tell a mistake in one of them."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import unnoise as un
from unnoise import recipes
from unnoise.cli import main, options, speak
from unnoise.conformance.judge import distance
from unnoise.process.schedules import Flow, Karras
from unnoise.report import errors, films, grids

TRAIN = ("train.items=256", "train.batch=64", "train.log_every=64", "train.validate_every=128")
SMALL = (*TRAIN, "sample.sampler=heun", "sample.steps=3")
DIGITS = ("digits", "net.widths=[8,16]", *SMALL)
POINTS = ("classes2d", "net.width=16", "net.depth=1", *SMALL)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with runs/digits and runs/classes2d, trained by the command line."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *DIGITS, "train.sample_every=128", "--device", "cpu"]) == 0
        assert main(["train", *POINTS, "--device", "cpu"]) == 0
    return folder


@pytest.fixture
def here(runs, monkeypatch):
    monkeypatch.chdir(runs)
    return runs


def lines(capsys):
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err, "control codes without a terminal"
    return said.out.splitlines(), said.err.splitlines()


# --- start-up ----------------------------------------------------------------------------------------------

HEAVY = {"torch", "numpy", "scipy", "matplotlib", "sklearn", "PIL", "yaml"}


@pytest.mark.parametrize("words", [["--help"], ["recipes"], ["recipes", "digits"], ["train", "--help"], []])
def test_help_and_recipes_import_nothing_heavy(words):
    code = f"""
import sys, time
from unnoise.cli import main
assert main({words}) == 0
print(sorted({HEAVY} & set(sys.modules)), time.process_time(), file=sys.stderr)"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, seconds = ran.stderr.rsplit(" ", 1)
    assert heavy == "[]"
    assert float(seconds) < 0.5, "processor time, which a busy machine does not change much"


def test_the_package_is_lazy_and_has_two_doors():
    code = f"import sys, unnoise; print(sorted({HEAVY} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    ran = subprocess.run([sys.executable, "-m", "unnoise", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"unnoise {un.__version__}"


def test_a_reader_who_leaves_is_no_error():
    code = "import sys; from unnoise.cli import main; sys.exit(main(['recipes', 'digits']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0


# --- recipes and train -------------------------------------------------------------------------------------


def test_recipes_are_listed_and_printed(capsys):
    assert main(["recipes"]) == 0
    out, _ = lines(capsys)
    assert [line.split()[0] for line in out[: len(recipes.names())]] == recipes.names()
    assert main(["recipes", "digits"]) == 0
    assert capsys.readouterr().out.strip() == recipes.text("digits").strip()
    assert main(["recipes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == recipes.listed()


def test_training_says_what_will_be_what_is_and_what_is_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *DIGITS, "--device", "cpu", "--out", "a run"]) == 0
    out, err = lines(capsys)
    assert re.fullmatch(r"digits: [\d,]+ parameters, 256 items, cpu, \d threads? → a run", out[0])
    assert re.fullmatch(r"Trained in .* s: loss [\d.]+, held out [\d.]+\. Next: unnoise evaluate 'a run'", out[-1])
    assert len(out) == 2
    assert err[-1].startswith("train  256 of 256 items (100 %)")
    assert main(["train", *DIGITS, "--device", "cpu", "--out", "a run", "--resume", "--json"]) == 0
    out, err = lines(capsys)
    assert err == ["a run is trained already: 256 items. Next: unnoise evaluate 'a run'"]
    told = json.loads(out[0])
    assert (told["items"], told["of"], told["run"]) == (256, 256, "a run")


def test_samples_are_drawn_as_it_trains(here):
    for items in (128, 256):
        with Image.open(here / f"runs/digits/samples/{items:012d}.png") as picture:
            assert picture.width > 100


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    words = ["train", *DIGITS, "train.items=1000000", "train.log_every=256", "--device", "cpu"]
    command = [sys.executable, "-m", "unnoise", *words]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics, clock = tmp_path / "runs/digits/metrics.jsonl", time.monotonic()
    while not metrics.exists() and time.monotonic() - clock < 60:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "\x1b" not in said
    found = re.search(
        r"Stopped at ([\d,]+) of 1,000,000 items, saved in runs/digits\. Go on with:\n  unnoise (.*)", said
    )
    items = int(found[1].replace(",", ""))
    assert found[2] == "train digits 'net.widths=[8,16]' " + " ".join(words[3:]) + " --resume"
    assert items % 64 == 0
    assert (tmp_path / f"runs/digits/checkpoints/{items:012d}/state.json").exists()


# --- sample ------------------------------------------------------------------------------------------------


def test_a_single_picture_tells_all_that_makes_it_again(here, capsys):
    words = "sample runs/digits --sampler ddim --seeds 3,8-9 --label 7 eta=0.5 --each"
    assert main(words.split()) == 0
    out, _ = lines(capsys)
    folder = here / "runs/digits/samples/ddim-3-eta-0.5-label-7-seeds-3,8-9"
    assert str(folder.relative_to(here)) in out[0]
    for seed in (3, 8, 9):
        path = folder / f"seed-{seed:04d}-label-7.png"
        told = grids.settings(path)
        again = un.open(told["run"]).sample(
            sampler=told["sampler"], steps=told["steps"], eta=told["eta"], label=told["label"], seeds=[told["seed"]]
        )
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(again[0]))
    assert grids.settings(f"{folder}.png")["seeds"] == [3, 8, 9]


def test_numbers_are_the_samples_in_raw_units(here, capsys, tmp_path):
    assert main(["sample", "runs/digits", "--n", "3", "--out", str(tmp_path / "x.npy"), "--json"]) == 0
    out, _ = lines(capsys)
    told, x = json.loads(out[0]), np.load(tmp_path / "x.npy")
    run = un.open("runs/digits")
    assert np.array_equal(x, run.recipe.modality.quantise(run.sample(3, raw=False)))
    assert told["files"] == [str(tmp_path / "x.npy")]
    assert (told["seeds"], told["evaluations"]) == ([0, 1, 2], 5)
    for name in ("y.csv", "y.npy"):
        assert main(["sample", "runs/classes2d", "--label", "all", "--n", "4", "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / "y.png").stat().st_size > 1000, "points are seen beside their numbers"
    with open(tmp_path / "y.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [name for name in ("ring", "square", "blob") for _ in range(4)]
    assert [row["seed"] for row in rows] == list("0123") * 3
    assert np.array_equal(np.float32([[row["x"], row["y"]] for row in rows]), np.load(tmp_path / "y.npy"))
    assert len(list(tmp_path.iterdir())) == 4, "something was left beside"


def test_a_known_law_tells_the_excess_over_the_least_loss(tmp_path, capsys):
    words = ["data.held_out=64", "data.items=512", "data.dim=8", "net.width=16", "net.depth=1", *SMALL]
    assert main(["train", "mixture", *words, "--out", str(tmp_path), "--json", "--device", "cpu"]) == 0
    told = json.loads(lines(capsys)[0][0])
    last = next(iter(un.open(tmp_path).history[-1]["held_out"].values()))
    assert told["excess"] == pytest.approx(np.mean(last["excess"]))
    assert min(last["excess"]) > 0
    gap = np.array(last["error"]) - last["optimum"]
    assert told["excess"] == pytest.approx(np.mean(gap / last["optimum"]), rel=0.2), (
        "the same, but for the draw's noise"
    )


def test_seeds_and_labels_are_read_as_they_are_written(here, capsys):
    assert main(["sample", "runs/digits", "--label", "3,1,3", "--steps", "1", "--json", "--out", "a.npy"]) == 0
    told = json.loads(lines(capsys)[0][0])
    assert (told["labels"], told["seeds"]) == (["3", "1", "3"], [0, 1, 2])
    assert main(["sample", "runs/classes2d", "--label", "2", "--seeds", "5", "--steps", "1", "--json"]) == 0
    assert json.loads(lines(capsys)[0][0])["labels"] == [2]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 9)), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_seeds_name_what_they_count(spans):
    text = ",".join(f"{first}-{first + more}" if more else str(first) for first, more in spans)
    assert list(options.seeds(text)) == [first + i for first, more in spans for i in range(more + 1)]


# --- evaluate and plot -------------------------------------------------------------------------------------


def test_evaluation_leaves_a_table_its_numbers_and_a_page(here, capsys):
    words = ["evaluate", "runs/digits", "--draws", "2", "--sampler", "ddim", "--steps", "1"]
    assert main(words) == 0
    out, _ = lines(capsys)
    told = json.loads((here / "runs/digits/metrics.json").read_text())
    assert told["weights"] == un.open("runs/digits").weights
    assert (told["samples"], told["sampler"]["evaluations"]) == (1080, 1)
    verdict = told["verdict"]
    assert "measure" in verdict
    assert verdict in out
    assert sum("told apart from real" in line for line in out) >= 4, "a network of 256 items draws no digits"
    assert {m["name"] for m in told["measures"]} >= {"frechet", "two_sample", "coverage", "near_copies"}
    page = (here / "runs/digits/report.html").read_text(encoding="utf-8")
    titles = re.findall(r"<h2>([^<]*)</h2>", page)
    assert titles == ["How good it is", "Samples by class", "From noise to data", "Nearest training items",
                      "Training", "Recipe", "Do it again"]  # fmt: skip
    assert "unnoise evaluate runs/digits --sampler ddim --steps 1 --draws 2" in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)


def test_measures_are_asked_by_name_and_told_with_their_intervals(here, capsys):
    words = ["evaluate", "runs/classes2d", "--measures", "energy,coverage", "--draws", "1", "--count", "30",
             "--sampler", "ddim", "--steps", "1", "--out", "told"]  # fmt: skip
    assert main(words) == 0
    out, _ = lines(capsys)
    told = json.loads((here / "told/metrics.json").read_text())
    assert [m["name"] for m in told["measures"]] == ["energy", "coverage"]
    assert all(m["low"] <= m["value"] <= m["high"] and m["spread"] > 0 for m in told["measures"])
    assert (told["samples"], told["measures"][0]["interval"]) == (30, "halves of 30 items")
    assert any("30 items in a draw are too few for this measure, which takes 50 at least" in line for line in out)
    page = (here / "told/report.html").read_text(encoding="utf-8")
    assert page.count('<small class="warning">') == 2
    assert "--measures energy,coverage --draws 1 --count 30" in page


PLOTS = {
    "schedules --schedules cosine,zero_terminal,sub_vp,discrete --out {}.svg": "svg",
    "forward digits --n 2 --out {}.png": "png",
    "forward classes2d --schedule linear --theme dark --out {}.png": "png",
    "plan heun --steps 4 --out {}.svg": "svg",
    "plan runs/digits --out {}.png": "png",
    "trajectory runs/digits --steps 4 --out {}.png": "png",
    "trajectory runs/classes2d --n 50 --label 1 --out {}.png": "png",
    "trajectory runs/digits --n 4 --out {}.apng": "apng",
    "history runs/digits --out {}.png": "png",
    "error --most 16 --schedule flow --out {}.png": "png",
}


@pytest.mark.parametrize("words", PLOTS)
def test_plots_are_drawn_where_they_are_asked(here, tmp_path, words, capsys):
    place = tmp_path / f"drawn.{PLOTS[words]}"
    assert main(["plot", *words.format(tmp_path / "drawn").split()]) == 0
    out, _ = lines(capsys)
    assert out == [f"drawn in {place}"]
    if place.suffix == ".svg":
        assert place.read_text().lstrip().startswith("<?xml")
    else:
        with Image.open(place) as picture:
            assert min(picture.size) >= 200
        assert (films.frames_in(place.read_bytes()) > 1) == (place.suffix == ".apng")


def test_a_plot_without_a_name_stands_with_its_run(here):
    assert main(["plot", "history", "runs/digits"]) == 0
    assert (here / "runs/digits/plots/history.png").exists()


def test_the_error_drawn_is_the_distance_of_two_normal_laws():
    """One DDIM step from t = 1 ends at the belief, whose deviation is alpha·v/sqrt(alpha²v + sigma²)."""
    schedule, mean, v = Karras(), np.array([0.5, -1.0]), np.array([1.0, 0.25])
    plan = un.plan("ddim", un.Gaussian(schedule), 1, "time")
    alpha, sigma = schedule.alpha(np.array(1.0)), schedule.sigma(np.array(1.0))
    deviation = alpha * v / np.sqrt(alpha**2 * v + sigma**2)
    wanted = np.sqrt(np.mean((deviation - np.sqrt(v)) ** 2))
    assert distance(plan, schedule, mean, v) == pytest.approx(wanted, rel=1e-9)
    # From the prior the center is off as well, by gain·alpha·mean: D = mean + gain·(x − alpha·mean), E x = 0.
    gain, spread = alpha * v / (alpha**2 * v + sigma**2), alpha * v * sigma / (alpha**2 * v + sigma**2)
    off = (gain * alpha * mean) ** 2 + (spread - np.sqrt(v)) ** 2
    assert distance(plan, schedule, mean, v, from_prior=True) == pytest.approx(np.sqrt(off.mean()), rel=1e-9)


def test_the_error_drawn_falls_by_its_order():
    process, v = un.Gaussian(Flow()), np.geomspace(0.1, 2, 8)
    steps = [32, 64, 128, 256]
    for name, order in (("ddim", 1), ("dpmpp_2m", 2)):
        plans = [un.plan(name, process, n, "logsnr") for n in steps]
        found = errors.slope(steps, [distance(plan, Flow(), 0 * v, v) for plan in plans])
        assert order - 0.15 < found < order + 0.35, name


# --- mistakes ----------------------------------------------------------------------------------------------

MISTAKES = {
    "trian digits": "there is no command 'trian'; did you mean 'train'",
    "plot shedules": "there is no command 'shedules'; did you mean 'schedules'",
    "sample runs/digits --stesp 3": "sample has no option '--stesp'; did you mean '--steps'",
    "train": "missing argument 'RECIPE|DATA'; see unnoise train --help",
    "train digit": "no recipe 'digit'; did you mean 'digits'",
    "train digits": "runs/digits holds a run already: go on with --resume",
    "train digits --resume": "started with net.widths = [8, 16], now it is [",
    "train digits --out x train.itmes=3": "train has no field 'itmes'; did you mean 'items'",
    "train digits --out x --device gpu": "no device 'gpu'",
    "sample digits": "digits is no run: it has no recipe.yaml; did you mean 'runs/digits'",
    "sample runs/digits --n 4 --seeds 0-7": "--n 4 and --seeds 0-7 (8 seeds) differ",
    "sample runs/digits --seeds 9-3": "seeds run upwards: write 3-9, not 9-3",
    "sample runs/digits --seeds 0-99999999999": "at most 10,000,000 samples",
    "sample runs/digits --seeds 18446744073709551616": "from 0 to 18446744073709551615",
    "sample runs/digits --seeds x": "seeds are written 0-63 or 1,5,9-12, got 'x'",
    "sample runs/digits --label 11": "no label 11: expected 0 to 9",
    "sample runs/digits --sampler hein": "no sampler 'hein'; did you mean 'heun'",
    "sample runs/digits --grid karas": "no grid 'karas'; did you mean 'karras'",
    "sample runs/digits eta": "option=value, such as eta=0.5; got 'eta'",
    "sample runs/digits eta=1": "sampler heun has no field 'eta'",
    "sample runs/digits --out x.csv": "not written as '.csv'",
    "sample runs/digits --steps 0": "invalid value for '--steps'",
    "sample runs/classes2d --each": "--each writes single images",
    "evaluate runs/digits --against tset": "no held-out split 'tset'; did you mean 'test'",
    "evaluate runs/classes2d --against train": "no held-out split 'train'",
    "evaluate runs/digits --measures kidd": "no measure 'kidd'; did you mean 'kid'",
    "evaluate runs/digits --measures ,": "--measures names some, or all",
    "evaluate runs/classes2d --measures frechet": "no classifier is stored for classes2d: give --features",
    "evaluate runs/digits --count 541": "test holds 540 items, fewer than the 541",
    "evaluate runs/digits --count 6": "at least 1 draw of 7 samples",
    "evaluate runs/digits --features incepton": "features 'incepton'; did you mean 'inception'",
    "plot schedules --schedules liner": "no kind 'liner'; did you mean 'linear'",
    "plot schedules --out a.pdf": "no picture format 'pdf'",
    "plot plan hein": "no sampler 'hein'",
    "plot error --samplers heun,x": "no sampler 'x'",
    "recipes digit": "did you mean 'digits'",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(here, capsys, words):
    before = sorted(here.rglob("*"))
    assert main(words.split()) == 2
    out, err = lines(capsys)
    assert out == []
    assert len(err) == 1
    assert err[0].startswith("unnoise: ")
    assert MISTAKES[words] in err[0]
    assert sorted(here.rglob("*")) == before, "a mistake leaves nothing behind"


def test_what_is_not_expected_is_one_line_too(here, capsys, monkeypatch):
    def fail(*_):
        raise RuntimeError("the disk\nis tired")

    monkeypatch.setattr(recipes, "listed", fail)
    assert main(["recipes"]) == 1
    assert lines(capsys)[1] == ["unnoise: RuntimeError: the disk is tired (UNNOISE_DEBUG=1 shows where)"]
    monkeypatch.setenv("UNNOISE_DEBUG", "1")
    with pytest.raises(RuntimeError, match="tired"):
        main(["recipes"])
    monkeypatch.delenv("UNNOISE_DEBUG")
    monkeypatch.setattr(recipes, "listed", lambda: (_ for _ in ()).throw(FloatingPointError("sample 3: not finite")))
    assert main(["recipes"]) == 1
    assert lines(capsys)[1] == ["unnoise: sample 3: not finite"]
    monkeypatch.setattr(recipes, "listed", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["recipes"]) == 130


# --- progress ----------------------------------------------------------------------------------------------


def test_a_meter_says_how_fast_and_how_long_still(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(speak.time, "perf_counter", lambda: now[0])
    done = [500]  # a resumed training: what stood before is not this one's speed
    meter = speak.Meter("train", 2000, "items", lambda: done[0], lambda: "loss 1")
    monkeypatch.setattr(meter._thread, "start", lambda: None)
    monkeypatch.setattr(meter._thread, "join", lambda: None)
    with meter:
        for now[0], done[0] in ((103.0, 650), (106.0, 800), (107.0, 850)):
            meter._show()
        done[0] = 1000
        now[0] = 110.0
    _, err = lines(capsys)
    assert err == [
        "train  800 of 2,000 items (40 %)  50 items/s  24 s left  loss 1",
        "train  1,000 of 2,000 items (50 %)  50 items/s  20 s left  loss 1",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (4200, "1 h 10 min")]
)
def test_times_are_short(seconds, said):
    assert speak.span(float(seconds)) == said


def test_no_command_needs_a_terminal_or_a_home(tmp_path):
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "TERM", "COLUMNS")}
    command = [sys.executable, "-m", "unnoise", "plot", "plan", "ddim", "--steps", "3"]
    ran = subprocess.run(command, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "drawn in plan-ddim-3.png\n")
