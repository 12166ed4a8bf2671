"""A comparison says what won and whether that is more than noise; stopped anywhere, it goes on to the same page."""

import csv
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml
from faults import Disk
from hypothesis import given, settings
from hypothesis import strategies as st
from kills import ended, forked
from scipy import stats

import unnoise as un
from unnoise import sweeps
from unnoise.cli import main
from unnoise.comparison import compare, findings, judge, sweep, verdict
from unnoise.comparison.drawing import Drawings
from unnoise.comparison.entries import grouped
from unnoise.comparison.milestones import samples
from unnoise.comparison.verdict import Judged
from unnoise.config import UserError
from unnoise.report import comparison_page
from unnoise.run import Run

TINY = """
# Does a wider net draw better wines?
recipe: wine
set: {train.items: 192, train.batch: 48, train.warmup: 0, train.log_every: 48, train.validate_every: 96,
  train.checkpoint_every: 96, train.snapshots: 0, sample.steps: 2}
vary:
  net:
    narrow: {net.width: 4, net.depth: 1}
    wide: {net.width: 8, net.depth: 1}
seeds: 3
draws: 2
"""


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize("freedom", [2.0, 3.5, 4.0, 20.0])
def test_the_bound_of_one_pair_is_students(freedom):
    assert judge.bound(1, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-4)
    assert judge.bound_paired(1, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-12)


@pytest.mark.parametrize(("pairs", "freedom"), [(3, 4.0), (15, 4.0), (45, 16.0)])
def test_the_bound_of_many_pairs_holds_as_often_as_it_says(pairs, freedom):
    rng = np.random.default_rng(0)
    n = 40_000
    s = np.sqrt(rng.chisquare(freedom, n) / freedom)
    held = (np.abs(rng.standard_normal((n, pairs))).max(axis=1) / s <= judge.bound(pairs, freedom)).mean()
    assert abs(held - 0.95) < 4 * np.sqrt(0.95 * 0.05 / n)
    assert judge.bound(pairs, freedom) < judge.bound_paired(pairs, freedom)  # one spread for all is worth something


def test_two_entries_have_welchs_interval_and_paired_ones_students():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, 4), rng.normal(3, 5, 4)
    (pair,) = judge.compared({"x": x, "y": y}, paired=False)
    told = stats.ttest_ind(y, x, equal_var=False).confidence_interval(0.95)
    assert (pair.low, pair.high) == pytest.approx((told.low, told.high), abs=0.01)
    (pair,) = judge.compared({"x": x, "y": y}, paired=True)
    told = stats.ttest_rel(y, x).confidence_interval(0.95)
    assert (pair.low, pair.high) == pytest.approx((told.low, told.high), rel=1e-9)
    assert judge.interval(x) == pytest.approx(tuple(stats.ttest_1samp(x, 0).confidence_interval(0.95)), rel=1e-9)


@pytest.mark.parametrize(("seeds", "paired"), [(3, False), (5, True)])
def test_equal_entries_are_told_apart_no_more_often_than_promised(seeds, paired):
    rng, trials = np.random.default_rng(2), 200
    wrong = sum(
        any(
            pair.apart
            for pair in judge.compared(dict(zip("abcde", rng.standard_normal((5, seeds)), strict=True)), paired)
        )
        for _ in range(trials)
    )
    assert wrong / trials < 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


def test_seeds_needed_are_those_that_tell():
    x, y = np.array([0.0, 0.1, -0.1]), np.array([0.15, 0.25, 0.05])
    n = judge.seeds_needed(x, y, 3)
    assert n is not None

    def tells(count):
        spread = np.sqrt(x.var(ddof=1) + y.var(ddof=1))
        return judge.bound(3, 2.0 * count - 2) * spread / np.sqrt(count) < 0.15

    assert tells(n)
    assert not tells(n - 1)
    assert judge.seeds_needed(x, x, 3) is None


POINTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.tuples(*[st.integers(0, 6)] * 2), min_size=1)


@given(POINTS)
@settings(deadline=None)
def test_whatever_is_on_a_front_is_beaten_by_nothing_and_all_else_by_something_on_it(points):
    front = judge.front({name: (float(a), float(b)) for name, (a, b) in points.items()})

    def beats(x, y):
        return points[x][0] <= points[y][0] and points[x][1] <= points[y][1] and points[x] != points[y]

    assert front
    assert not any(beats(other, name) for name in front for other in points)
    assert all(any(beats(name, other) for name in front) for other in set(points) - front)


# ---------------------------------------------------------------- words


def judged(**values):
    return Judged("two_sample", "half", values, 0.51, "training seeds", False)


CASES = {
    "one that wins": (
        judged(a=[0.560, 0.562, 0.561], b=[0.640, 0.641, 0.639], c=[0.70, 0.71, 0.69]),
        "a won: two-sample test 0.561 where real items read 0.510. b follows at 0.640, 0.0790 (0.0",
        set(),
    ),
    "below a half": (
        judged(a=[0.500, 0.502, 0.501], b=[0.440, 0.441, 0.439]),
        "a won: two-sample test 0.501 where real items read 0.510. b follows at 0.440, 0.059",
        set(),
    ),
    "one that is told from some": (
        judged(a=[0.560, 0.562, 0.561], b=[0.562, 0.563, 0.561], c=[0.70, 0.71, 0.69]),
        "a reads best: two-sample test 0.561 where real items read 0.510. b cannot be told from it by 3 training "
        "seeds; c is worse by 0.139 (",
        {"b"},
    ),
    "none": (
        judged(a=[0.56, 0.60, 0.58], b=[0.57, 0.61, 0.58]),
        "a reads best: two-sample test 0.580 where real items read 0.510, but nothing won: b at 0.587 is 0.007 (−0.0",
        {"b"},
    ),
    "too few seeds": (
        judged(a=[0.56, 0.56], b=[0.7, 0.7]),
        "a reads best: two-sample test 0.560 where real items read 0.510; b follows at 0.700. With 2 seeds of each, "
        "nothing tells how much of this is the noise of training: 3 seeds would.",
        set(),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_in_words(case):
    asked, sentence, tied = CASES[case]
    found = verdict.verdict(asked)
    assert found.sentence.startswith(sentence)
    assert found.tied == tied
    assert found.best == "a"


def test_a_tie_says_how_many_seeds_would_tell():
    (advice,) = verdict.verdict(CASES["none"][0]).advice
    assert "more than 50 seeds would be needed to tell a from b" in advice
    (advice,) = verdict.verdict(judged(a=[0.56, 0.58, 0.57], b=[0.57, 0.59, 0.595])).advice
    assert "about 7 seeds would tell a from b" in advice


def test_the_cheapest_that_cannot_be_told_from_the_best_is_named():
    asked = CASES["one that is told from some"][0]
    cheap, diverse, told = verdict.on_fronts(asked, verdict.verdict(asked), {"a": 10.0, "b": 4.0, "c": 1.0}, None)
    assert cheap == {"a", "b", "c"}
    assert diverse == set()
    assert told == ["b cannot be told from it at 40 % of its cost per sample."]


# ---------------------------------------------------------------- sweeps


def written(tmp_path, text=TINY, name="tiny"):
    path = tmp_path / f"{name}.yaml"
    path.write_text(text.lstrip())
    return path


def compared(*what, **asked):
    """What `un.compare` does, but for the page, which takes longer to draw than all else here."""
    contest = compare.prepare(what, jobs=1, **asked)
    assert contest.training.run()
    assert contest.measuring.run()
    found = findings.found(contest)
    findings.save(contest, found)
    return found.page


def test_axes_are_multiplied_and_named(tmp_path):
    text = TINY.replace("seeds: 3", "  train.lr: [1.0e-3, 0.01]\nseeds: [4, 7]")
    found = sweep.read(written(tmp_path, text), ["train.items=96"])
    assert found.asks == "Does a wider net draw better wines?"
    names = ["narrow · lr 0.001", "narrow · lr 0.01", "wide · lr 0.001", "wide · lr 0.01"]
    assert [variant.name for variant in found.variants] == names
    assert found.axes == {"net": ("narrow", "wide"), "train.lr": ("0.001", "0.01")}
    trainings = found.trainings(tmp_path)
    assert [task.seed for task in trainings] == [4] * 4 + [7] * 4
    assert {task.recipe.train.items for task in trainings} == {96}
    wide = trainings[-1]
    assert (wide.recipe.train.lr, wide.recipe.train.seed, wide.recipe.nodes["net"]["width"]) == (0.01, 7, 8)
    assert wide.folder == tmp_path / "runs" / "wide-lr-0.01-seed7"
    assert wide.recipe.nodes["train"]["seed"] == 7  # what is written down is what is trained


@pytest.mark.parametrize("name", sweeps.names())
def test_every_sweep_that_comes_along_is_one(name):
    found = sweep.read(name)
    assert found.asks.endswith("?")
    assert len(found.seeds) >= judge.LEAST
    assert len(found.variants) * len(list(found.drawings)) > 1
    compare.prepare([name], out="nowhere")  # each way of drawing can be gone
    assert not Path("nowhere").exists()


BAD = {
    "a field": (TINY + "sedes: 3", "has no field 'sedes'; did you mean 'seeds'?"),
    "a node": (
        TINY.replace("net.width: 4", "nett.width: 4"),
        "narrow: no recipe has a node 'nett'; did you mean 'net'",
    ),
    "an override": (TINY.replace("{net.width: 4, net.depth: 1}", "[net.width]"), "written node.key=value"),
    "an axis": (TINY.replace("  net:\n", "  net: 3\n  other:\n"), "vary.net: expected names with their overrides"),
    "a recipe": (TINY.replace("recipe: wine", "recipe: whine"), "there is no recipe 'whine'; did you mean 'wine'"),
    "a judge": (TINY + "judge: two_samples", "there is no measure 'two_samples'; did you mean 'two_sample'"),
    "a sampler": (TINY + "sampling: {samplers: [huen]}", "there is no sampler 'huen'; did you mean 'heun'"),
    "draws": (TINY.replace("draws: 2", "draws: 1"), "draws must be 2 at least"),
    "seeds": (TINY.replace("seeds: 3", "seeds: [1, 1]"), "seeds are different whole numbers"),
    "yaml": (TINY + "vary: [", "is not YAML: line"),
    "one": ("recipe: wine\n", "there is nothing to compare wine with"),
    "two lengths": (TINY + "sampling: {steps: [2], evaluations: [2]}", "give one of the two"),
    "other data": (
        TINY.replace("net.width: 4,", "data.held_out: 0.3, net.width: 4,"),
        "differ in data.held_out (0.3, 0.2)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_in_a_sweep_is_told_before_anything_is_trained(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, told = BAD[case]
    with pytest.raises(UserError) as error:
        compare.prepare([written(tmp_path, text)])
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


# ---------------------------------------------------------------- the whole


TIMES = ("train_seconds", "seconds_per_sample", "seconds")


def timeless(value):
    """Plain values without what a clock says."""
    if isinstance(value, dict):
        return {name: timeless(v) for name, v in value.items() if name not in TIMES}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def still(page):
    """A comparison whose clocks stood still."""
    entries = [
        replace(
            entry,
            train_seconds=1.0,
            seconds_per_sample=1.0,
            curve=[point._replace(seconds=point.items) for point in entry.curve],
            quality_curve=[point._replace(seconds=point.items) for point in entry.quality_curve],
        )
        for entry in page.entries
    ]
    return replace(page, entries=entries)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tiny sweep compared without any disturbance: its folder, the comparison, and its calls of the disk."""
    place = tmp_path_factory.mktemp("whole")
    with Disk(place / "out") as disk:
        page = compared(written(place), out=place / "out")
    return place, page, disk.calls.total()


def test_a_sweep_leaves_its_numbers_its_table_and_its_page(whole):
    place, page, _ = whole
    told = json.loads((place / "out" / "comparison.json").read_text())
    assert [entry["name"] for entry in told["entries"]] == ["narrow", "wide"]
    for entry in page.entries:
        values = entry.values[page.judged]
        assert values.mean == pytest.approx(np.mean(values.seeds))
        assert len(values.seeds) == 3
        assert entry.evaluations == 2
        assert entry.parameters == sum(
            p.numel() for p in un.open(place / "out" / "runs" / f"{entry.name}-seed0").denoiser.net.parameters()
        )
        assert [point.items for point in entry.quality_curve] == [48, 96, 144, 192]
        assert entry.quality_curve[-1].value == pytest.approx(values.mean)
        assert entry.curve[-1].items == 192
        assert 0 < entry.curve[0].seconds < entry.curve[-1].seconds <= entry.train_seconds
    rows = list(csv.DictReader((place / "out" / "comparison.csv").open()))
    assert len(rows) == 7
    assert rows[-1]["entry"] == "real against real"
    judged = [float(row[page.judged]) for row in rows if row["entry"] == "wide"]
    assert judged == [*page.entries[1].values[page.judged].seeds]
    assert len({row["weights"] for row in rows}) == 7  # six runs, and nothing for real items


def test_what_was_measured_is_not_measured_again(whole, monkeypatch):
    place, page, _ = whole
    monkeypatch.setattr(Run, "batches", None)
    before = {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()}
    again = compared(place / "tiny.yaml", out=place / "out")
    assert again.entries == page.entries
    assert {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_variant_that_diverges_is_told_and_the_sweep_goes_on(tmp_path, jobs):
    text = TINY.replace("seeds: 3", "    wild: {net.width: 8, train.lr: 1.0e+30}\nseeds: 2")
    contest = compare.prepare([written(tmp_path, text)], out=tmp_path / "out", jobs=jobs)
    assert contest.training.run()
    assert set(contest.training.diverged) == {"wild, seed 0", "wild, seed 1"}
    if jobs == 1:
        assert contest.measuring.run()
        page = findings.found(contest).page
        assert [entry.name for entry in page.entries] == ["narrow", "wide"]
        assert page.advice[0].startswith("Failed, and left out: wild, seed 0: ")
        alone = compare.prepare([written(tmp_path, text.replace("    wide: {net.width: 8, net.depth: 1}\n", ""))],
                                out=tmp_path / "out", jobs=1)  # fmt: skip
        assert alone.training.run()
        with pytest.raises(UserError, match=r"nothing left to compare\. Failed"):
            alone.measuring.run()


@pytest.mark.parametrize("name", ["jobs", "threads", "seeds"])
def test_no_work_at_all_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=f"{name} are 1 or more, got 0"):
        un.compare(written(tmp_path), out=tmp_path / "out", **{name: 0})


def test_a_finished_training_is_not_reported_under_a_changed_sweep(whole, tmp_path):
    place, _, _ = whole
    path, out = place / "tiny.yaml", place / "out"
    compare.prepare([path], out=out)
    with pytest.raises(UserError, match=r"started with train.lr = .*, now it is 0.5: .*--out") as error:
        compare.prepare([path], changes=["train.lr=0.5"], out=out)
    assert "\n" not in str(error.value)
    compare.prepare([path], changes=["train.lr=0.5"], out=tmp_path / "out")
    other = written(tmp_path, TINY.replace("set: {", "set: {data.held_out: 0.3, "))
    with pytest.raises(UserError, match=r"data.held_out = 0.2, now it is 0.3"):
        compare.prepare([other], out=out)


def test_milestones_are_drawn_as_they_are_asked_and_left_out_where_they_are_not(tmp_path):
    path = written(tmp_path, TINY.replace("seeds: 3", "seeds: 1") + "count: 20")
    told = compared(path, out=tmp_path / "out")
    assert [point.items for point in told.entries[0].quality_curve] == [48, 96, 144, 192]
    assert {len(samples(file)) for file in tmp_path.rglob("milestones/*.npy")} == {20}
    for asked in ({"count": 24}, {"against": "validation"}):
        told = compared(path, out=tmp_path / "out", **asked)
        assert not any(entry.quality_curve for entry in told.entries)


@pytest.mark.parametrize("share", [*(pytest.param(s, marks=pytest.mark.slow) for s in (0.15, 0.93)), 0.5])
def test_a_sweep_killed_half_way_and_run_again_gives_the_same_page(whole, share, tmp_path):
    place, page, calls = whole
    path, out = written(tmp_path), tmp_path / "out"

    def dies():
        with Disk(out, None, int(share * calls), None):
            compared(path, out=out)

    assert not ended(forked(dies)), "it was to be killed"
    assert not (out / "comparison.json").exists()
    again = compared(path, out=out)
    told = [json.loads((folder / "comparison.json").read_text()) for folder in (place / "out", out)]
    assert timeless(told[0]) == timeless(told[1])
    assert still(page) == still(again)
    if share == 0.93:
        assert comparison_page.page(still(page)) == comparison_page.page(still(again))


@pytest.mark.slow
def test_a_stop_is_gone_on_from(whole, tmp_path):
    place, _, _ = whole
    contest = compare.prepare([written(tmp_path)], out=tmp_path / "out", jobs=1)
    contest.training._begun = lambda job, work, begun=contest.training._begun: (
        begun(job, work),
        contest.training.stop(),
    )
    assert not contest.training.run()
    assert contest.training.done == 48  # the first step of the first training
    compared(tmp_path / "tiny.yaml", out=tmp_path / "out")
    told = [json.loads((folder / "comparison.json").read_text()) for folder in (place / "out", tmp_path / "out")]
    assert timeless(told[0]) == timeless(told[1])


@pytest.mark.slow
def test_processes_beside_each_other_change_no_bit(whole, tmp_path):
    place, _, _ = whole
    un.compare(written(tmp_path), out=tmp_path / "out", jobs=2)
    told = [json.loads((folder / "comparison.json").read_text()) for folder in (place / "out", tmp_path / "out")]
    assert timeless(told[0]) == timeless(told[1])


def test_runs_are_put_together_by_all_but_their_seed(whole, tmp_path):
    place, page, _ = whole
    folders = sorted((place / "out" / "runs").iterdir())
    groups = grouped([un.open(folder) for folder in folders])
    assert [(group.name, group.seeds) for group in groups] == [("narrow", (0, 1, 2)), ("wide", (0, 1, 2))]
    assert [group.settings for group in groups] == [{"net.width": "4"}, {"net.width": "8"}]
    again = compared(*folders, draws=2, out=tmp_path / "runs")
    assert [entry.values for entry in again.entries] == [entry.values for entry in page.entries]
    assert again.verdict == page.verdict


def test_ways_of_drawing_one_run_are_judged_by_their_draws(whole, tmp_path):
    place, _, _ = whole
    run = place / "out" / "runs" / "wide-seed0"
    page = compared(run, samplers=["ddim", "heun"], evaluations=[4], draws=5, out=tmp_path / "ways")
    assert [entry.name for entry in page.entries] == ["ddim, 4 evaluations", "heun, 4 evaluations"]
    assert [entry.evaluations for entry in page.entries] == [4, 3]  # heun asks twice, but for the last step
    assert (page.seeds, page.count) == ("draws of samples", 5)
    assert page.axes == {"sampler": ["ddim", "heun"]}
    assert any("only other seeds can tell" in sentence for sentence in page.advice)
    guided = compared(run, guidance=[1.0, 2.0], draws=2, out=tmp_path / "guided")
    assert [entry.evaluations for entry in guided.entries] == [2, 4]  # guidance asks twice


def test_the_product_of_ways_is_drawn():
    ways = list(Drawings(samplers=["ddim", "heun"], steps=[2, 4], guidance=[1.5]))
    assert [way.name for way in ways] == [f"{s}, {n} steps, guidance 1.5" for s in ("ddim", "heun") for n in (2, 4)]
    assert [way.name for way in Drawings()] == [""]


def test_the_command_says_it_in_words_and_in_json(whole, capsys, tmp_path, monkeypatch):
    place, page, _ = whole
    monkeypatch.chdir(tmp_path)
    words = [str(place / "tiny.yaml"), "--out", str(place / "out"), "--device", "cpu"]
    assert main(["compare", *words]) == 0
    said = capsys.readouterr()
    assert page.verdict in said.out
    assert page.verdict in (place / "out" / "comparison.html").read_text()
    assert "real against real" in said.out
    monkeypatch.setattr(comparison_page, "save", lambda page, path: path)  # it takes seconds to draw
    assert main(["compare", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == page.verdict
    assert {entry["name"] for entry in told["entries"]} == {"narrow", "wide"}
    assert main(["compare", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{n:<9}  {asks}" for n, asks in sweeps.listed().items()]


MISTAKES = {
    "no words": ("", "give a sweep, or the folders of runs"),
    "no run": ("RUN nowhere", "nowhere is no run"),
    "no sweep": ("sampler", "sampler is no run and no sweep; did you mean 'samplers'?"),
    "itself": ("RUN RUN", "a run cannot be compared with itself"),
    "one": ("RUN", "there is nothing to compare wide-seed0 with"),
    "steps": ("RUN --steps 5,x", "--steps takes whole numbers with commas between them, got '5,x'"),
    "zero": ("RUN --steps 0,2", "steps are from 1 to 10,000, got 0"),
    "grid": ("RUN --grids karas,time", "there is no grid 'karas'; did you mean 'karras'"),
    "measure": ("RUN --steps 1,2 --judge kd", "there is no measure 'kd'; did you mean 'kid'"),
    "shape": ("RUN OTHER", "only runs of the same data can be compared"),
    "guidance": ("OTHER --guidance 1,2", "trained without conditions, so guidance has nothing to follow"),
    "seeds": ("RUN OTHER --seeds 3", "seeds belong to a sweep"),
}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A run of other data, without labels."""
    small = ("train.items=64", "train.batch=64", "net.width=4", "net.depth=1", "data.items=300", "data.held_out=40")
    return un.fit("spiral", tmp_path_factory.mktemp("other") / "spiral", *small, "train.validate_every=0").folder


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(case, whole, other, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, told = MISTAKES[case]
    run = whole[0] / "out" / "runs" / "wide-seed0"
    words = [{"RUN": str(run), "OTHER": str(other)}.get(word, word) for word in words.split()]
    assert main(["compare", *words, "--device", "cpu"]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.startswith("unnoise: ")
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


def test_the_clock_goes_on_after_a_stop(tmp_path):
    from unnoise.recipe import load
    from unnoise.training import Training

    small = ("train.items=512", "train.batch=64", "train.log_every=64", "train.checkpoint_every=128",
             "net.width=4", "net.depth=1", "data.items=300", "data.held_out=40", "train.validate_every=0")  # fmt: skip
    recipe = load("spiral", small)
    for tick in Training(recipe, tmp_path / "run").ticks():
        if tick.items == 320:  # the last checkpoint is at 256
            break
    before = un.open(tmp_path / "run").clock
    for _ in Training(recipe, tmp_path / "run", resume=True).ticks():
        pass
    after = un.open(tmp_path / "run").clock
    assert [items for items, _ in after] == list(range(64, 513, 64))
    assert after[:4] == before[:4]  # what was trained again is timed again
    seconds = [s for _, s in after]
    assert seconds == sorted(seconds)


def test_the_record_of_pairs_is_what_the_verdict_rests_on(whole):
    place, page, _ = whole
    told = json.loads((place / "out" / "comparison.json").read_text())
    values = {e.name: [abs(v - 0.5) if told["judged"] == "two_sample" else v for v in e.values[page.judged].seeds]
              for e in page.entries}  # fmt: skip
    (pair,) = told["pairs"]
    assert pair["difference"] == pytest.approx(np.mean(values[pair["other"]]) - np.mean(values[pair["best"]]))
    assert len(list(combinations(values, 2))) == 1
    assert yaml.safe_load((place / "out" / "sweep.yaml").read_text())["recipe"] == "wine"
