"""A run folder is enough: it resumes to the bit, draws the same from the same seed, and refuses what does not fit."""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import unnoise as un
from unnoise.config import UserError
from unnoise.data import SOURCES
from unnoise.recipe import load
from unnoise.train import TrainConfig, checkpoint
from unnoise.training import Training

TINY = (
    "net.widths=[8,16]",
    "train.items=384",
    "train.lr=0.002",
    "train.ema=[0.1]",
    "train.batch=32",
    "train.warmup=64",
    "train.log_every=64",
    "train.validate_every=192",
    "train.checkpoint_every=128",
    "sample={sampler: heun, steps: 3}",
    "process.schedule=karras",  # what a recipe is tuned to is not what is tested here
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return un.fit("digits", tmp_path_factory.mktemp("runs") / "digits", *TINY)


def weights(run):
    return checkpoint.newest(run.folder / "checkpoints").tensors("ema-0.1")


def test_a_run_stopped_and_resumed_is_the_run_not_stopped(run, tmp_path):
    recipe = load("digits", TINY)
    for stop in (64, 256, None):
        training = Training(recipe, tmp_path / "b", resume=True)
        for tick in training.ticks():
            if tick.items == stop:
                training.stop()
        assert training.done == (stop is None)
    again = un.open(tmp_path / "b")
    assert again.weights == run.weights, "the same bytes, hence the same hash"
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(run).items())
    assert again.history[-1] == run.history[-1]
    seen = [record["items"] for record in again.history]
    assert seen == sorted(set(seen)), "a record is said twice"
    assert [r["items"] for r in again.history if "held_out" in r] == [192, 384]


def test_what_a_folder_opens_to_is_what_was_trained(run):
    opened = un.open(run.folder)
    assert opened.recipe.nodes == run.recipe.nodes
    assert opened.weights == run.weights
    assert torch.equal(opened.sample(3, raw=False), run.sample(3, raw=False))


def test_a_standing_run_is_not_overwritten_and_not_mixed(run):
    recipe = load("digits", TINY)
    with pytest.raises(UserError, match="holds a run already: go on with --resume"):
        Training(recipe, run.folder)
    with pytest.raises(UserError, match=r"started with train\.lr = 0\.002, now it is 0\.1"):
        Training(load("digits", [*TINY, "train.lr=0.1"]), run.folder, resume=True)
    books = Training(load("digits", [*TINY, "train.log_every=32", "train.keep=5"]), run.folder, resume=True)
    assert books.done, "how often a training speaks may change"
    assert list(books.ticks()) == []


def test_checkpoints_without_their_recipe_are_not_taken_for_a_runs(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "lost")
    (tmp_path / "lost" / "recipe.yaml").unlink()
    for resume in (False, True):
        with pytest.raises(UserError, match=r"has checkpoints but no recipe\.yaml, so nobody knows what they are of"):
            Training(run.recipe, tmp_path / "lost", resume=resume)
    between = Training(run.recipe, tmp_path / "between")
    shutil.copytree(run.folder / "checkpoints", tmp_path / "between" / "checkpoints")
    with pytest.raises(UserError, match=r"has checkpoints but no recipe\.yaml"):
        list(between.ticks())


def test_a_run_started_before_a_field_was_there_goes_on(run, tmp_path):
    """What an older recipe does not say stands at its default."""
    nodes, defaults = yaml.safe_load(run.recipe.text()), asdict(TrainConfig())
    silent = [name for name, value in nodes["train"].items() if value == defaults[name]]
    assert silent
    for name in silent:
        del nodes["train"][name]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(nodes))
    assert Training(run.recipe, tmp_path, resume=True).trainer.items == 0
    nodes["train"]["seed"] = 99
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(nodes))
    with pytest.raises(UserError, match=r"started with train\.seed = 99, now it is 0"):
        Training(run.recipe, tmp_path, resume=True)


@pytest.mark.parametrize("text", ["", "[1]", "{a: ["])
def test_a_damaged_run_is_told(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(UserError, match=r"recipe\.yaml is damaged"):
        un.open(tmp_path)


def test_samples_depend_on_their_seed_alone(run):
    x = run.sample(seeds=[5, 2, 9], label=[1, 2, 3], raw=False)
    alone = run.sample(seeds=[2], label="2", raw=False)
    assert torch.equal(x[1:2], alone), "at one padded size an item does not feel its company"
    named = run.sample(seeds=[5, 2, 9], label=["1", "2", "3"], raw=False)
    assert torch.equal(x, named)
    closed = torch.cat(list(run.batches([5, 2, 9], label=[1, 2, 3])))
    torch.testing.assert_close(closed, x, rtol=0, atol=1e-5 * 80)  # states begin at sigma = 80


def test_raw_samples_are_pictures_of_the_tensor(run):
    pictures, x = run.sample(4), run.sample(4, raw=False)
    for picture, item in zip(pictures, run.recipe.modality.quantise(x), strict=True):
        assert picture.size == (8, 8)
        assert np.array_equal(np.asarray(picture), np.rint(item[0] * (255 / 16)).astype(np.uint8))


def test_guidance_of_one_is_none(run):
    plain, one = (run.sample(4, label=3, guidance=w, raw=False) for w in (None, 1.0))
    assert torch.equal(plain, one)
    strong = run.sample(4, label=3, guidance=4.0, raw=False)
    zero, null = run.sample(4, label=3, guidance=0.0, raw=False), run.sample(4, raw=False)
    torch.testing.assert_close(zero, null, rtol=0, atol=1e-5)
    assert not torch.equal(strong, plain)


def test_a_trajectory_begins_at_the_prior_and_ends_at_the_sample(run):
    plan = run.plan("heun", 4)
    way = run.trajectory(range(64), plan)
    assert way.states.shape == way.beliefs.shape == (plan.rows + 1, 64, 1, 8, 8)
    assert list(way.times) == [*plan.t, 0.0]
    sample = torch.cat(list(run.batches(range(64), plan)))
    assert torch.equal(way.states[-1], sample)
    assert torch.equal(way.beliefs[-1], way.states[-1])
    assert way.scale[0] == pytest.approx(np.sqrt(1 + 80.0**2))
    assert abs(float(way.shown[0].std()) - 1) < 0.05  # 4096 normal numbers: 0.011 is one deviation
    level = run.recipe.process.level(plan.t[:1].repeat(64), way.states)
    belief = run.denoiser(way.states[0], level, run.labels(None, 64)).x0
    torch.testing.assert_close(way.beliefs[0], belief, rtol=0, atol=1e-5)


def test_another_sampler_comes_with_its_own_grid_and_options(run):
    own = replace(run, recipe=replace(run.recipe, sampling=replace(run.recipe.sampling, grid="logsnr")))
    assert own.sampling(steps=5).grid == "logsnr"
    assert own.sampling("heun").grid == "logsnr"
    assert own.sampling("ddim", eta=0.5).grid is None
    assert own.sampling("ddim", eta=0.5).options == {"eta": 0.5}
    assert own.plan("ddim", 5, eta=0.5) == un.plan("ddim", run.recipe.process, 5, eta=0.5)


def test_measuring_is_the_protocol_on_raw_items(run):
    rules = replace(run.protocol(), draws=1)
    real = run.recipe.source.split("train")
    rows = np.random.default_rng(0).permutation(len(real))[: rules.count]
    x = run.recipe.modality.encode(real.items[rows])
    made = run.measure(rules, x)
    assert made == rules.measure(real.items[rows][None], rules.labels)
    found = {m.name: m for m in made}
    assert found["near_copies"].value == 1.0, "training items are copies of training items"
    assert found["coverage"].value > 0.9


def test_a_run_in_training_draws_from_the_network_in_memory(tmp_path):
    training = Training(load("digits", TINY), tmp_path / "c")
    first, last = None, None
    for _ in training.ticks():
        last = training.now().sample(1, raw=False)
        first = last if first is None else first
    assert not torch.equal(first, last)
    torch.testing.assert_close(training.run().sample(1, raw=False), last, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"n": 3, "seeds": [1, 2]}, "3 samples of 2 seeds"),
        ({"n": 2, "label": [1, 2, 3]}, "3 labels for 2 samples"),
        ({"label": 10}, "no label 10: expected 0 to 9"),
        ({"label": "ten"}, "no label 'ten'"),
        ({"sampler": "hein"}, "did you mean 'heun'"),
        ({"eta": 0.5}, "heun has no field 'eta'"),
    ],
)
def test_what_cannot_be_drawn_is_told(run, asked, told):
    with pytest.raises(UserError, match=told):
        run.sample(**asked)


def test_what_is_no_run_names_the_nearest(run, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no run: it has no recipe\.yaml; did you mean '.*digits'"):
        un.open(run.folder.parent / "digts")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no run: it has no recipe\.yaml$"):
        un.open("nowhere")
    (tmp_path / "recipe.yaml").write_text(run.recipe.text())
    with pytest.raises(UserError, match="no complete checkpoint yet"):
        un.open(tmp_path).sample(1)


# --- without the data ----------------------------------------------------------------------------------------


def test_a_run_is_sampled_without_its_data(run, tmp_path, monkeypatch):
    """What is drawn, asked for and refused is the same; only what needs the data says that they are gone."""
    copied = shutil.copytree(run.folder, tmp_path / "digits")
    wanted = run.sample(3, label=[1, 2, "3"], guidance=2.0, raw=False)

    def gone(validation: int):
        raise UserError("there is no folder photos")

    monkeypatch.setitem(SOURCES, "digits", gone)
    opened = un.open(copied)
    assert torch.equal(opened.sample(3, label=[1, 2, "3"], guidance=2.0, raw=False), wanted)
    assert (opened.recipe.shape, opened.recipe.classes, opened.recipe.nulls) == (
        (1, 8, 8),
        tuple("0123456789"),
        {"label": 10},
    )
    assert opened.recipe.nodes == run.recipe.nodes
    with pytest.raises(UserError, match="no label 10: expected 0 to 9"):
        opened.sample(1, label=10)
    with pytest.raises(UserError, match=r"the data of digits is not there: .* \(.*there is no folder photos\)$"):
        opened.evaluate()
    (copied / "facts.json").unlink()
    with pytest.raises(UserError, match="there is no folder photos"):
        un.open(copied)


def test_a_run_without_facts_asks_its_data_and_writes_them_when_it_goes_on(run, tmp_path):
    copied = shutil.copytree(run.folder, tmp_path / "digits")
    told = (copied / "facts.json").read_bytes()
    (copied / "facts.json").unlink()
    shutil.rmtree(copied / "checkpoints" / f"{384:012d}")
    assert torch.equal(un.open(copied).sample(1, raw=False), un.open(copied).sample(1, raw=False))
    again = un.fit("digits", copied, *TINY, resume=True)
    assert (copied / "facts.json").read_bytes() == told
    assert again.weights == run.weights
    (copied / "facts.json").write_text("{}")
    with pytest.raises(UserError, match=r"facts\.json is damaged"):
        un.open(copied)


def test_changed_data_are_not_gone_on_with(run, tmp_path):
    copied = shutil.copytree(run.folder, tmp_path / "digits")
    told = json.loads((copied / "facts.json").read_text())
    assert (told["items"], told["shape"], len(told["digest"])) == (1231, [1, 8, 8], 64)
    (copied / "facts.json").write_text(json.dumps({**told, "items": 1000, "digest": "0" * 64}))
    with pytest.raises(UserError, match=r"data have changed since .* \(1,000 training items then, 1,231 now\)"):
        Training(run.recipe, copied, resume=True)
    (copied / "facts.json").write_text(json.dumps({**told, "digest": ""}))
    assert Training(run.recipe, copied, resume=True).done, "nothing is known against them"


def test_a_path_in_a_recipe_no_longer_depends_on_where_one_stands(tmp_path, monkeypatch):
    """And data of the same content may lie elsewhere at a resume."""

    @dataclass(frozen=True)
    class Here(type(SOURCES["digits"]())):
        path: str = ""

        @property
        def digest(self):
            return Path(self.path).read_text()

    monkeypatch.setitem(SOURCES, "digits", Here)
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x").write_text("content")
    monkeypatch.chdir(tmp_path / "a")
    run = un.fit("digits", "run", *TINY, "train.items=32", "data={kind: digits, path: x}")
    assert run.recipe.nodes["data"]["path"] == str(tmp_path / "a" / "x")
    monkeypatch.chdir(tmp_path)
    assert un.open("a/run").recipe.source.path == str(tmp_path / "a" / "x")
    moved = load("digits", [*TINY, "train.items=32", "data={kind: digits, path: b/x}"])
    assert Training(moved, "a/run", resume=True).done
    (tmp_path / "b" / "x").write_text("another")
    with pytest.raises(UserError, match="data have changed"):
        Training(moved, "a/run", resume=True)
