"""A recipe is its nodes: written out they make the same again, and a wrong one is told by its path."""

import subprocess
import sys

import pytest
import torch
import yaml

from unnoise import recipes
from unnoise.config import UserError
from unnoise.recipe import NODES, load, override, resolve

TINY = ("net.widths=[8,16]", "net.blocks=1", "train.items=512")


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_written_out_makes_itself_again(name):
    made = load(name)
    again = resolve(name, yaml.safe_load(made.text()))
    assert again.nodes == made.nodes
    assert list(made.nodes) == list(NODES)
    assert (again.process, again.target, again.train, again.sampling) == (
        made.process,
        made.target,
        made.train,
        made.sampling,
    )
    assert recipes.listed()[name].endswith(".")


def test_weights_are_a_function_of_the_seed():
    one, two, other = (load("digits", [*TINY, f"train.seed={seed}"]).denoiser().net for seed in (3, 3, 4))
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True)]
    differ = [torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    assert all(same)
    assert not all(differ)


def test_an_override_changes_what_it_names_and_nothing_else():
    nodes = {
        "data": "digits",
        "net": {"kind": "unet", "widths": [32, 64], "blocks": 1},
        "process": {"schedule": "flow"},
    }
    before = yaml.safe_dump(nodes)
    changed = override(nodes, ["net.widths=[8]", "train.lr=1e-3", "process.schedule.shift=3", "data.x=1"])
    assert yaml.safe_dump(nodes) == before
    assert changed["net"] == {"kind": "unet", "widths": [8], "blocks": 1}
    assert changed["process"] == {"schedule": {"kind": "flow", "shift": 3}}
    assert changed["data"] == {"kind": "digits", "x": 1}
    assert override(nodes, []) == nodes
    both = ["net.blocks=2", "net.blocks=3"]
    assert override(nodes, both) == override(nodes, both[1:]), "the last word counts"


def test_another_kind_drops_the_fields_of_the_old():
    nodes = {"net": {"kind": "unet", "widths": [32]}}
    assert override(nodes, ["net.kind=mlp", "net.width=16"])["net"] == {"kind": "mlp", "width": 16}
    assert override(nodes, ["net.kind=unet"])["net"] == nodes["net"]


def test_a_recipe_file_is_named_by_its_name_or_its_stem(tmp_path):
    text = recipes.text("digits")
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "told.yaml").write_text(f"name: yours\n{text}")
    assert load(tmp_path / "mine.yaml", TINY).name == "mine"
    assert load(tmp_path / "told.yaml", TINY).name == "yours"
    assert load(tmp_path / "mine.yaml", TINY).nodes == load("digits", TINY).nodes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["net.widhts=[8]"], "digits: net has no field 'widhts'; did you mean 'widths'"),
        (["net.kind=mpl"], "net has no kind 'mpl'; did you mean 'mlp'"),
        (["process.schedule=cosin"], "process.schedule has no kind 'cosin'; did you mean 'cosine'"),
        (["train.items=many"], "train.items: .* got 'many'"),
        (["train.items"], "node.key=value, got 'train.items'"),
        (["trian.items=3"], "no node|no recipe has a node 'trian'; did you mean 'train'"),
        (["net.widths=[8"], r"YAML.*\[8"),
        (["train.lr=-1"], "lr must be positive, got -1"),
        (["net.widths=[32,-5]"], "digits: net: a U-Net needs widths"),
        (["net.attention=[1]", "net.head_width=0"], "digits: net: head_width"),
        (["net.groups=0"], "digits: net: .*groups"),
        (["net.kind=mlp", "net.width=0"], "digits: net: a perceptron needs width"),
        (["sample.sampler=hein"], "digits: sample: there is no sampler 'hein'; did you mean 'heun'"),
        (["sample.steps=0"], "digits: sample: a grid needs a whole number of steps of at least 1, got 0"),
        (["sample.options={etta: 1}"], "digits: sample: .* no field 'etta'"),
    ],
)
def test_a_wrong_recipe_is_told_by_its_path(changes, told):
    with pytest.raises(UserError, match=told):
        load("digits", changes)


@pytest.mark.parametrize(
    ("text", "told"),
    [("[1, 2]", "named nodes"), ("{a: [", "not YAML"), ("net: mlp", "no node 'data'"), ("dta: digits", "node 'dta'")],
)
def test_what_is_no_recipe_is_told(tmp_path, text, told):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=told):
        load(tmp_path / "mine.yaml")


def test_a_recipe_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="no recipe file"):
        load(tmp_path / "gone.yaml")
    with pytest.raises(UserError, match="did you mean 'digits'"):
        load("digit")


def test_listing_recipes_is_reading_text():
    code = (
        "import sys; from unnoise import recipes; recipes.listed(); "
        "print([m for m in ('torch', 'numpy', 'yaml', 'pydantic') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
