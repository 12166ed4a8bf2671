"""From data to its noise and back, and between two noises: orders, laws and round trips."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import PROCESSES, SHAPES, every, fine_flow, named, open_grid, slopes
from PIL import Image
from test_orders import FIRST, MEAN, VARIANCE, promised

import unnoise as un
from unnoise.cli import main
from unnoise.cli.given import real
from unnoise.config import UserError
from unnoise.denoise import exact
from unnoise.process.between import weights
from unnoise.report import grids
from unnoise.samplers.grid import GRIDS
from unnoise.samplers.moments import exact_factor, flow_factor

DETERMINISTIC = list(every(stochastic=False))
LONG = {"unip_2"}  # with a_1 = 1/2 by B(h) = h, its order shows late


def _error(rule, process, steps):
    plan = un.plan(rule[0], process, grid=open_grid(process.schedule, steps), reverse=True, **rule[1])
    factor, center = flow_factor(plan, process.schedule, MEAN, VARIANCE)
    alpha = process.schedule.alpha(np.array(plan.end))
    truth = exact_factor(plan, process.schedule, VARIANCE)
    return float(np.linalg.norm(factor / truth - 1) + np.linalg.norm(center - alpha * MEAN))


@pytest.mark.parametrize("rule", DETERMINISTIC, ids=named)
def test_every_deterministic_rule_keeps_its_order_on_the_way_to_noise(rule):
    """By algebra, on Gaussian data, on the sampling grid walked from its end; the processes in turn."""
    process = list(PROCESSES.values())[DETERMINISTIC.index(rule) % 9]
    order = promised(rule)
    first = 2 * FIRST.get(rule[0], 32 if order > 2 else 16) * (4 if rule[0] in LONG else 1)
    found = slopes(lambda n: _error(rule, process, n), first, 1, floor=1e-13)
    assert all(order - 0.1 <= slope <= order + 0.35 for slope in found), found


@pytest.mark.parametrize("rule", list(every(stochastic=True)), ids=named)
def test_a_rule_that_draws_noise_is_not_walked_back(rule):
    with pytest.raises(UserError, match=f"a rule that draws none, and {rule[0]} draws"):
        un.plan(rule[0], PROCESSES["cosine"], 8, reverse=True, **rule[1])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", PROCESSES)
def test_the_way_to_noise_begins_at_the_spans_minimum(name, grid):
    """Never at sigma = 0 (trap 15); it ends where the sampling plan of the same grid starts."""
    process = PROCESSES[name]
    down, up = (un.plan("ddim", process, 7, grid, reverse=reverse) for reverse in (False, True))
    least = process.schedule.span[0]
    assert float(np.exp(-process.schedule.logsnr(np.array(up.start)) / 2)) == pytest.approx(least, rel=1e-5)
    assert up.end == down.start
    assert np.all(np.diff([*up.t, up.end]) > 0)
    assert set(np.round(up.t[1:], 9)) <= set(np.round(down.t, 9)), "the same times, the other way"


def _returned(rule, process, steps, x0):
    """Where x_0 comes back to by algebra, and the noise it was, in units of that noise's deviation: (D,) each."""
    up, down = (un.plan(rule[0], process, steps, "logsnr", reverse=reverse, **rule[1]) for reverse in (True, False))
    (rise, shift), (fall, back) = (flow_factor(plan, process.schedule, MEAN, VARIANCE) for plan in (up, down))
    alpha, sigma = (f(np.array([up.start, up.end])) for f in (process.schedule.alpha, process.schedule.sigma))
    noise = rise * alpha[0] * (x0 - MEAN) + shift  # the factors act on what differs from alpha·mean
    return fall * (noise - alpha[1] * MEAN) + back, (noise - alpha[1] * MEAN) / sigma[1]


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("rule", [r for r in DETERMINISTIC if r[0] in SHAPES], ids=named)
def test_gaussian_data_come_back(name, rule):
    """There and back on every process, up to alpha = 0 where it has that; the noise is the item, standardised."""
    x0 = MEAN + np.sqrt(VARIANCE)
    back, noise = _returned(rule, PROCESSES[name], 800 if promised(rule) == 1 else 100, x0)
    floor = PROCESSES[name].schedule.span[0] ** 2 / VARIANCE.min()  # of the last step's own, onto sigma = 0
    assert np.abs(back - x0).max() < 0.02 + 2 * floor
    assert noise == pytest.approx(1.0, rel=0.05 + 2 * floor)


@pytest.mark.parametrize("name", [name for name, one in PROCESSES.items() if one.schedule.alpha(np.array(1.0)) == 0])
@pytest.mark.parametrize("sampler", ["ddim", "heun", "dpmpp_2m", "unipc_2"])
def test_where_nothing_of_the_data_is_left_the_noise_is(name, sampler):
    """Up to alpha = 0 itself, by a last step of order one: the noise of Gaussian data, standardised."""
    process = PROCESSES[name]
    up = un.plan(sampler, process, 400, "time", reverse=True)
    assert process.schedule.alpha(np.array(up.end)) == 0
    factor, center = flow_factor(up, process.schedule, MEAN, VARIANCE)
    assert factor == pytest.approx(exact_factor(up, process.schedule, VARIANCE), rel=0.03)
    assert center == pytest.approx(0, abs=0.03)
    last = un.plan(sampler, process, grid=[1.0, 0.5], reverse=True)  # x_1 = sigma_1·eps, eps = (x − alpha·x_0)/sigma
    alpha, sigma = (float(f(np.array(0.5))) for f in (process.schedule.alpha, process.schedule.sigma))
    kept = last.base[-1, 1] * last.keep[-1]
    assert [last.base[-1, 0] + kept[0], kept[1]] == pytest.approx([1 / sigma, -alpha / sigma], rel=1e-12)


# --- laws --------------------------------------------------------------------------------------------------


MEANS, COVS = np.array([[-1.5, 0.0], [1.0, 1.0]]), np.array([[[0.05, 0.02], [0.02, 0.1]], [[0.2, 0.0], [0.0, 0.02]]])


def _mixture(process):
    return exact.Mixture(process, np.array([0.5, 0.5]), MEANS, COVS)


def test_the_noise_of_a_mixture_is_where_its_flow_leads():
    """Against an eighth-order solver in float64: the error falls by the sampler's order.

    That of the return falls no slower, and says less: errors of the two ways cancel in part, all of Heun's first.
    """
    process = PROCESSES["cosine"]
    truth, schedule = _mixture(process), process.schedule
    x0 = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 2)))

    def believe(x, t):
        level = process.level(np.full(len(x), t), torch.from_numpy(x))
        return truth(torch.from_numpy(x), level, {}).x0.numpy()

    up = un.plan("heun", process, grid=open_grid(schedule, 8), reverse=True)
    start = float(schedule.alpha(np.array(up.start))) * x0
    goal = fine_flow(believe, schedule, start.numpy(), up.start, up.end)

    def errors(sampler, steps):
        grid = open_grid(schedule, steps)
        there, back = (un.plan(sampler, process, grid=grid, reverse=reverse) for reverse in (True, False))
        noise = un.invert(truth, x0, there)
        again = un.sample(truth, back, (2,), range(8), start=noise)
        return np.median(np.abs(noise.numpy() - goal)), (again - start).abs().median().item()

    for sampler, order, returned in (("heun", 2, 3), ("dpmpp_3m", 3, 3)):
        (coarse, out), (fine, home) = errors(sampler, 128), errors(sampler, 256)
        assert order - 0.3 <= np.log2(coarse / fine) <= order + 0.7, sampler
        assert returned - 0.3 <= np.log2(out / home) <= returned + 0.7, sampler


def test_by_seeds_the_noise_of_real_things_has_the_law_of_noise():
    """Without them it is shorter by what the start lacks: v/(v + s²) of its variance, s the least sigma/alpha."""
    process = un.Gaussian(un.schedules.Karras(sigma_min=0.3, sigma_max=20.0))
    cov = np.array([[0.3, 0.1], [0.1, 0.2]])
    truth = exact.Normal(process, np.zeros(2), cov)
    x0 = torch.from_numpy(np.random.default_rng(1).multivariate_normal(np.zeros(2), cov, size=20_000))
    up = un.plan("heun", process, 40, reverse=True)
    top = np.array(up.end)
    spread = process.schedule.alpha(top) ** 2 * cov + process.schedule.sigma(top) ** 2 * np.eye(2)
    lawful = un.invert(truth, x0, up, seeds=range(20_000)).numpy()
    assert np.cov(lawful.T) == pytest.approx(spread, rel=0.03, abs=0.03 * spread.max())  # 3 standard errors
    short = un.invert(truth, x0, up).numpy()
    values, axes = np.linalg.eigh(cov)
    share = values / (values + 0.3**2)
    found = np.var(short @ axes, axis=0) / np.diag(axes.T @ spread @ axes)
    assert found == pytest.approx(share, rel=0.05)


def test_an_items_noise_is_its_own():
    process = PROCESSES["karras"]
    truth = _mixture(process)
    x0 = torch.from_numpy(np.random.default_rng(2).normal(size=(5, 2)))
    up = un.plan("dpmpp_2m", process, 12, reverse=True)
    whole = un.invert(truth, x0, up, seeds=[3, 1, 4, 1, 5])
    assert torch.equal(whole[1:3], un.invert(truth, x0[1:3], up, seeds=[1, 4]))
    assert not torch.equal(whole[1], whole[3])


@pytest.mark.parametrize("count", [2, 3, 9, 100])
def test_between_two_noises_is_noise(count):
    """cos² + sin² = 1 to rounding, the ends to the bit; the straight line loses half of the variance."""
    made = weights(count)
    assert np.square(made).sum(1) == pytest.approx(1, abs=1e-15)
    first, last = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    line = un.between(first, last, count)
    assert torch.equal(line[0], first)
    assert torch.equal(line[-1], last)
    assert line.square().mean(1).numpy() == pytest.approx(1, abs=0.1)
    assert np.all(np.diff(made[:, 1]) > 0)


def test_a_way_to_noise_begins_with_data():
    truth = _mixture(PROCESSES["cosine"])
    up, down = (un.plan("heun", PROCESSES["cosine"], 4, reverse=reverse) for reverse in (True, False))
    with pytest.raises(UserError, match=r"from data .* to noise .*: give the data as start"):
        un.sample(truth, up, (2,), range(3))
    with pytest.raises(UserError, match="from data"):
        un.Engine(truth).submit(un.Job(up, (2,), range(3)))
    with pytest.raises(UserError, match="by a plan that draws none"):
        un.invert(truth, torch.zeros(1, 2), down)
    with pytest.raises(UserError, match="at least 2"):
        un.between(torch.zeros(2), torch.zeros(2), 1)


# --- runs and the command line -----------------------------------------------------------------------------

TINY = ("net.widths=[8,16]", "train={items: 128, batch: 64, lr: 0.002}", "sample={sampler: dpmpp_2m, steps: 12}")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return un.fit("digits", tmp_path_factory.mktemp("runs") / "digits", *TINY)


def test_a_run_draws_again_what_it_found_the_noise_of(run):
    """The flow of any network is a bijection: what comes back differs by the solver's error and the last step's."""
    drawn = run.sample(3, label=[1, 2, 3], steps=40)
    noise = run.invert(drawn, label=[1, 2, 3], steps=40)
    assert torch.equal(noise, run.invert(run.recipe.modality.batch(drawn), label=[1, 2, 3], steps=40))
    at_least = run.invert(drawn, label=[1, 2, 3], sampler="adaptive", tolerance=1e-4)
    assert (noise - at_least).abs().max() < 0.05 * at_least.abs().max()
    x0 = run.encode(drawn)
    coarse, fine = (
        (run.sample(start=run.invert(drawn, label=7, steps=n), label=7, steps=n, raw=False) - x0).square().mean().sqrt()
        for n in (6, 40)
    )
    assert fine < coarse
    assert fine < 0.2


def test_a_sampler_that_draws_noise_gives_way_or_is_refused(run):
    assert run.still() == "dpmpp_2m"
    assert run.still("ddpm") == "ddpm"
    noisy = replace(run, recipe=replace(run.recipe, sampling=replace(run.recipe.sampling, sampler="ddpm")))
    assert noisy.still() == "heun"
    assert noisy.rising() == run.rising("heun", 12)
    with pytest.raises(UserError, match="ddpm draws"):
        run.invert(run.sample(1), sampler="ddpm")


@pytest.fixture
def here(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").symlink_to(run.folder)
    return tmp_path


def told(capsys, *words):
    capsys.readouterr()
    assert main([*words, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_inverted_noise_is_a_file_that_sampling_begins_at(here, run, capsys):
    found = told(capsys, "invert", "digits", "test:0-2", "--steps", "30")
    items, cond = run.recipe.source.split("test").take([0, 1, 2])
    assert found["labels"] == cond["label"].tolist(), "an item of the data is what its label says"
    kept, drawn = found["files"]
    assert grids.settings(drawn)["given"] == "test:0-2"
    again = told(capsys, "sample", "digits", "--start", kept, "--steps", "30", "--label",
                 ",".join(map(str, found["labels"])), "--out", "again.npy")  # fmt: skip
    assert "seeds" not in again
    x0, x = (run.encode(part) for part in (items, np.load("again.npy")))
    assert (x - x0).square().mean().sqrt() == pytest.approx(found["error"], abs=0.02)  # one is rounded
    plain = told(capsys, "invert", "digits", "test:0-2", "--steps", "30", "--out", "noise.npy")
    assert plain["noise"] == found["noise"]
    told(capsys, "sample", "digits", "--start", "noise.npy", "--label", "all", "--out", "all.npy")
    assert np.load("all.npy").shape == (30, 1, 8, 8), "every label of each"


def test_the_way_is_told_by_all_that_it_was_found_by(here, capsys):
    """What stands under another label, guidance or seed is another file, and the next command draws by the same."""
    words = ["invert", "digits", "test:0", "--steps", "2"]
    files = [told(capsys, *words, *more)["files"][0] for more in ([], ["--seed", "3"], ["--label", "7"])]
    assert len(set(files)) == 3
    capsys.readouterr()
    assert main([*words, "--guidance", "2"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "-w-2" in last
    assert last.endswith(" --sampler dpmpp_2m --steps 2 --label 0 --guidance 2")
    assert main([word for word in last.removeprefix("Next: unnoise ").split() if word]) == 0


def test_between_two_seeds_stand_their_own_samples(here, capsys):
    told(capsys, "sample", "digits", "--seeds", "3,5", "--label", "2", "--out", "ends.npy")
    told(capsys, "sample", "digits", "--between", "3", "5", "--label", "2", "--out", "line.npy")
    ends, line = np.load("ends.npy"), np.load("line.npy")
    assert len(line) == 9
    assert np.array_equal(line[[0, -1]], ends)
    assert len(np.unique(line.reshape(9, -1), axis=0)) > 3
    made = told(capsys, "sample", "digits", "--between", "3", "5", "--count", "4", "--label", "all")
    assert Image.open(made["files"][0]).width < 400, "a row for each label, four pictures wide"


def test_real_things_are_read_as_they_come(here, run, capsys):
    """A folder of pictures, one of them, an array, rows of a table: all are the same items."""
    items, _ = run.recipe.source.split("test").take([0, 1])
    x0 = run.encode(items)
    (here / "folder").mkdir()
    for k, picture in enumerate(run.recipe.modality.show(x0)):
        picture.convert("RGB").save(here / "folder" / f"{k}.png")
    np.save(here / "items.npy", items)
    np.save(here / "one.npy", items[0, 0])
    for word, many in (("folder", 2), ("items.npy", 2), ("folder/0.png", 1), ("one.npy", 1)):
        raw, labels = real(run, word)
        assert labels is None
        assert torch.equal(run.encode(raw), x0[:many]), word


def test_noise_of_another_level_is_not_taken(here, capsys):
    kept = told(capsys, "invert", "digits", "test:0", "--steps", "8")["files"][0]
    assert main(["sample", "digits", "--start", kept, "--grid", "leading", "--steps", "8"]) == 2
    assert "stands at sigma/alpha = 10, and this plan starts at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sample", "digits", "--between", "0", "1", "--sampler", "ddpm"], "told by their first noise alone"),
        (["sample", "digits", "--between", "0", "1", "--seeds", "0-3"], "leave out --seeds"),
        (["sample", "digits", "--between", "0", "1", "--n", "1"], "at least 2"),
        (["sample", "digits", "--between", "3", "3"], "between two different noises there is a way"),
        (["sample", "digits", "--start", "nan.npy"], "nan.npy holds numbers that are not finite"),
        (["sample", "digits", "--start", "three.npy", "--n", "7"], "three.npy holds 3 beginnings, one for each sample"),
        (["sample", "digits", "--start", "nothing.npy"], "there is no noise at"),
        (["sample", "digits", "--start", "digits/recipe.yaml"], "a .safetensors or .npy file"),
        (["invert", "digits", "test:9999"], "the test part has the items 0 to 539"),
        (["invert", "digits", "tset:0"], "did you mean 'test'?"),
        (["invert", "digits", "test:"], "items are written test:0-7 or test:1,5,9-12, upwards, got 'test:'"),
        (["invert", "digits", "nan.npy"], "nan.npy holds numbers that are not finite"),
        (["invert", "digits", "digits/recipe.yaml"], "is no picture that can be read"),
        (["invert", "digits", "test:0", "--sampler", "ddpm"], "ddpm draws"),
        (["invert", "digits", "test:0-3", "--label", "1,2"], "says what the 4 items are"),
        (["invert", "digits", "test:0", "--out", "noise.png"], "noise is not written as '.png'"),
    ],
)
def test_mistakes_are_told_in_a_line(here, capsys, words, sentence):
    np.save("nan.npy", np.full((1, 1, 8, 8), np.nan, np.float32))
    np.save("three.npy", np.zeros((3, 1, 8, 8), np.float32))
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert sentence in said[-1]
    assert len([line for line in said if line.startswith("unnoise:")]) == 1
