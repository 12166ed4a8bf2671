"""A path becomes a recipe that trains; every rule has its reason; nothing starts without a yes."""

import io
import json
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

import unnoise as un
from unnoise.advise import propose as rules
from unnoise.advise.propose import RULES, Found, expectation, plan
from unnoise.advise.survey import is_data, name_of, survey
from unnoise.cli import ask_first, main
from unnoise.train import TrainConfig


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(rules, "SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)


def pictures(folder, count, size=(40, 50), colour=True, labels=("",)):
    rng = np.random.default_rng(0)
    for i in range(count):
        inner = folder / labels[i % len(labels)]
        inner.mkdir(parents=True, exist_ok=True)
        shape = (*size, 3) if colour else size
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(inner / f"{i}.png")
    return folder


def made(path, *words, **options):
    return plan(path, words, seconds=0.0, **options)


# --- what lies at a path -----------------------------------------------------------------------------------


def test_pictures_are_told_from_a_folder_a_zip_and_a_tar(tmp_path):
    folder = pictures(tmp_path / "photos", 12, labels=("cat", "dog"))
    with zipfile.ZipFile("photos.zip", "w") as archive, tarfile.open("photos.tar.gz", "w:gz") as tar:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path))
            tar.add(file, file.relative_to(tmp_path))
    for path in ("photos", "photos.zip", "photos.tar.gz"):
        seen = survey(path)
        assert (seen.kind, seen.one_size, seen.side) == ("pictures", (40, 50), 40)
        assert name_of(path) == "photos"
        found = made(path).found
        assert found.labels == {"cat": 6, "dog": 6}
        assert found.shape == (3, 32, 32)


def test_the_items_of_an_npz_are_told_from_its_labels(tmp_path):
    rng = np.random.default_rng(0)
    np.savez("two.npz", y=rng.integers(0, 3, 90), x=rng.normal(size=(90, 5)))
    np.savez("one.npz", anything=rng.normal(size=(90, 5)))
    assert survey("two.npz").node == {"kind": "array", "path": str(tmp_path / "two.npz"), "key": "x", "labels": "y"}
    assert "key" not in survey("one.npz").node
    assert made("two.npz").found.labels.keys() == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("header", "row", "label", "drop"),
    [
        ("a,b,species", "{a},{b},{word}", "species", []),
        ("a,b,target", "{a},{b},{few}", "target", []),
        ("id,a,b", "name-{i},{a},{b}", None, ["id"]),
        ("a,kind,note", "{a},{word},text {i}", "kind", ["note"]),
        ("a,b", "{a},{b}", None, []),
    ],
)
def test_the_label_of_a_table_is_told_from_its_columns(tmp_path, header, row, label, drop):
    rng = np.random.default_rng(0)
    lines = [
        row.format(i=i, a=rng.normal(), b=rng.normal(), word="xyz"[i % 3], few=i % 2) for i in range(60)
    ]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]) + "\n")
    node = survey("t.csv").node
    assert (node.get("label"), node.get("drop", [])) == (label, drop)
    assert made("t.csv").found.kind == "rows"


@pytest.mark.parametrize(
    ("word", "data"),
    [("digits", False), ("digit", False), ("mine.yaml", False), ("runs/x/recipe.yaml", False), ("./photos", True),
     ("a/b", True), ("x.zip", True), ("x.tar.gz", True), ("x.CSV", True), ("here", True)],
)  # fmt: skip
def test_recipes_and_data_are_told_apart(tmp_path, word, data):
    (tmp_path / "here").mkdir()
    (tmp_path / "digits").mkdir()
    assert is_data(word) == data


# --- rules -------------------------------------------------------------------------------------------------

FOUND = [
    Found(kind, device, minutes, side, None, (side, side), 2 * count, count, shape, {}, 0.5, bf16)
    for kind, shapes in {
        "pictures": [(1, 8, 8), (3, 32, 32), (3, 64, 64), (1, 28, 28), (3, 256, 256)],
        "array": [(1, 64), (2, 16, 16), (1, 16, 16, 16)],
        "rows": [(2,), (13,), (200,)],
    }.items()
    for shape in shapes
    for device in ("cpu", "cuda")
    for minutes in (1, 100)
    for side in (0, 20, 300)
    for count in (5, 800, 10**6)
    for bf16 in (False, True)
]


def test_some_rule_decides_every_key_and_the_last_one_always_holds():
    keys = dict.fromkeys(rule.key for rule in RULES)
    for key in keys:
        own = [rule for rule in RULES if rule.key == key]
        assert all(own[-1].when(found) for found in FOUND)
        if key == "data.size":
            continue
        decided = {id(next(rule for rule in own if rule.when(found))) for found in FOUND}
        assert len(decided) == len(own), f"a rule of {key} never decides"
    assert all(rule.because for rule in RULES)


def test_the_first_rule_that_holds_decides():
    nodes = {}
    small, large = (Found("pictures", "cpu", 10, side=side) for side in (20, 300))
    assert rules.choose_size(small) == 20
    assert rules.choose_size(large) == 32
    assert rules.choose_size(Found("pictures", "cuda", 10, side=300)) == 64
    assert rules.choose_size(Found("pictures", "cpu", 60, side=300)) == 64
    assert rules.choose_size(Found("pictures", "cpu", 10, side=28, one_size=(28, 28))) == [28, 28]
    assert nodes == {}


def test_the_deviation_of_the_data_is_the_target_s(tmp_path):
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.normal(3, 5, size=(400, 6)))
    recipe = made("x.npy").recipe
    assert recipe.nodes["target"] == {"kind": "edm", "sigma_data": 1.0}, "rows are standardised"
    x = recipe.modality.encode(recipe.source.split("train").items)
    assert x.std().item() == pytest.approx(1, abs=1e-3)
    pictures(tmp_path / "p", 30)
    recipe = made("p").recipe
    x = recipe.modality.encode(recipe.source.split("train").items)
    assert recipe.nodes["target"]["sigma_data"] == pytest.approx(x.std().item(), abs=0.006)


def test_overrides_are_stronger_than_rules_and_lengths_follow(tmp_path):
    np.save("x.npy", np.random.default_rng(0).normal(size=(400, 6)))
    told = made("x.npy", "train.items=6400", "net.width=32", "train.warmup=7", "data.held_out=0.2")
    train = told.recipe.train
    assert (train.items, train.warmup, train.validate_every) == (6400, 7, 800)
    assert told.recipe.nodes["net"]["width"] == 32
    assert told.recipe.nodes["data"]["held_out"] == 0.2
    with pytest.raises(ValueError, match="did you mean 'width'"):
        made("x.npy", "net.widht=32")
    with pytest.raises(ValueError, match="no recipe has a node 'nte'"):
        made("x.npy", "nte.width=32")
    with pytest.raises(ValueError, match="minutes"):
        made("x.npy", minutes=0)


def test_the_recipe_saved_makes_the_same_again(tmp_path):
    import yaml

    from unnoise.recipe import resolve

    np.save("x.npy", np.random.default_rng(0).normal(size=(400, 2, 16)))
    recipe = un.infer("x.npy", "net.widths=[8]", minutes=0.01)
    nodes = yaml.safe_load(recipe.text())
    again = resolve(nodes.pop("name"), nodes)
    assert again.nodes == json.loads(json.dumps(recipe.nodes)) or again.text() == recipe.text()
    assert again.source.digest == recipe.source.digest
    assert again.train == recipe.train


def test_items_fit_the_time_and_the_data(tmp_path):
    np.save("x.npy", np.random.default_rng(0).normal(size=(3000, 6)))
    short, long = (plan("x.npy", ("net.width=16",), minutes, seconds=0.2) for minutes in (0.02, 1000))
    assert short.recipe.train.items <= short.cost.rate * 0.02 * 60
    assert short.seconds[1] <= short.seconds[0] <= short.seconds[2]
    assert long.recipe.train.items == pytest.approx(100 * long.found.count, rel=0.01), "passes are bounded"
    assert long.cost.memory > 50 << 20


def test_a_short_time_halves_the_network_but_not_one_that_was_asked_for(tmp_path, monkeypatch):
    """On a machine of 100 items a second, whatever the network."""
    pictures(tmp_path / "p", 30)
    seen = []

    def costs(recipe, device, seconds):
        seen.append(recipe.nodes["net"]["widths"])
        return rules.Cost((0.32, 0.32, 0.32), recipe.train.batch, 1 << 30, 1.0, recipe.train.validate_items)

    monkeypatch.setattr(rules, "measure", costs)
    told = plan("p", minutes=1.0)
    assert seen == [[32, 64, 96], [16, 32, 48]]
    assert told.recipe.nodes["net"]["widths"] == [16, 32, 48]
    assert told.recipe.train.items == pytest.approx(100 * 60 * rules.SHARE, abs=32)
    assert told.seconds[0] < 66
    assert plan("p", ("net.blocks=2",), minutes=1.0).recipe.nodes["net"]["widths"] == [32, 64, 96]
    assert plan("p", minutes=10.0).recipe.nodes["net"]["widths"] == [32, 64, 96]


def test_large_pictures_can_be_cut_into_patches(tmp_path):
    pictures(tmp_path / "p", 4, size=(160, 160))
    found = made("p", "data.kind=patches", "data.labels=false").found
    assert found.patches
    assert found.shape == (3, 32, 32)
    assert found.total > 500
    few = made("p").expectation
    assert any("data.kind=patches" in sentence for sentence in few)


@pytest.mark.parametrize(
    ("total", "words"), [(42, "by heart"), (500, "are few"), (5_000, "of one kind"), (50_000, "are enough")]
)
def test_what_to_expect_of_so_many_pictures(total, words):
    found = Found("pictures", "cpu", 10, total=total, count=total, shape=(3, 32, 32), labels={"a": 3, "b": total - 3})
    said = expectation(found, TrainConfig(items=10**7), None)
    assert said[0].startswith(f"{total:,} pictures")
    assert words in said[0]
    assert said[1] == "Labels with fewer than 20 items will be drawn poorly: a."
    assert "10,000 items seen bring colours" in expectation(found, TrainConfig(items=10_000), None)[-1] or total < 500


# --- the command -------------------------------------------------------------------------------------------

QUICK = ("--minutes", "0.01", "--device", "cpu", "net.widths=[8]", "train.batch=4")


@pytest.fixture
def photos(tmp_path):
    return pictures(tmp_path / "photos", 24, labels=("cat", "dog"))


def test_a_dry_run_shows_the_plan_and_leaves_nothing(photos, capsys):
    assert main(["train", "photos", *QUICK, "--dry-run"]) == 0
    out = capsys.readouterr().out
    for word in ("found       24 pictures in colour", "2 labels: cat 12, dog 12", "size        32 × 32 (", "network ",
                 "training ", "time ", "memory ", "expect      24 pictures: the model will know them by heart",
                 "goes to     runs/photos"):  # fmt: skip
        assert word in out
    assert not (photos.parent / "runs").exists()
    assert main(["train", "photos", *QUICK, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["found"]["total"] == 24
    assert told["recipe"]["net"]["widths"] == [8]
    assert told["seconds"][0] > 0


def test_a_recipe_has_a_plan_too(capsys):
    words = ["net.width=8", "net.depth=1", "train.items=12800", "train.batch=128", "data.items=500"]
    assert main(["train", "spiral", *words, "--dry-run", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "training    12,800 items in batches of 128, 26 passes" in out
    assert "goes to     runs/spiral" in out
    assert main(["train", "spiral", *words, "--dry-run", "--json", "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds"][0] > 12800 / told["rate"]
    assert main(["train", "spiral", "--minutes", "3"]) == 2


def test_yes_trains_and_the_run_stands_without_asking_again(photos, capsys):
    assert main(["train", "photos", *QUICK, "--yes"]) == 0
    out = capsys.readouterr().out
    assert "Next: unnoise evaluate runs/photos" in out
    run = un.open("runs/photos")
    assert run.recipe.nodes["data"]["path"] == str(photos)
    assert len(run.sample(2, label="dog", steps=2)) == 2
    assert main(["train", "photos", *QUICK]) == 2
    assert "runs/photos holds a run already: go on with --resume" in capsys.readouterr().err
    assert main(["train", "photos", *QUICK[2:], "--resume"]) == 0
    assert "is trained already" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "starts"), [("y\n", True), ("n\n", False)])
def test_it_asks_first(photos, capsys, monkeypatch, answer, starts):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(ask_first, "_terminal", lambda: True)
    assert main(["train", "photos", *QUICK]) == 0
    said = capsys.readouterr()
    assert "Start? [Y/n]" in said.err
    assert (photos.parent / "runs/photos").exists() == starts
    assert ("Nothing was trained." in said.out) != starts


@pytest.mark.parametrize(
    ("answer", "agreed"), [("\n", True), ("Yes\n", True), ("no\n", False), ("", False), ("?", False)]
)
def test_an_answer_is_yes_or_it_is_no(monkeypatch, answer, agreed):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert ask_first._agreed() == agreed


def test_without_a_terminal_nothing_is_read_and_one_line_says_why(photos, capsys, monkeypatch):
    monkeypatch.setattr(ask_first, "_terminal", lambda: False)
    assert main(["train", "photos"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("unnoise: what was inferred from photos is to be agreed upon")
    assert said.err.count("\n") == 1
    assert not (photos.parent / "cache").exists()
