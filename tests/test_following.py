"""Prompts of scenes are checked by what is read off the picture: shares that are known by construction come out."""

import numpy as np
import pytest

from unnoise.cli import main
from unnoise.config import UserError
from unnoise.data import Digits, Scenes, grammar
from unnoise.data.grammar import NAMES, Told
from unnoise.metrics.following import Following, follow, following

WORLD = Scenes(items=40, held_out=20)


@pytest.fixture(scope="module")
def asked():
    """40 prompts and 40 of unseen pairs, two samples of each, and real pictures of them."""
    made = Following(WORLD, prompts=40)
    return made, made.real


def table(made, pictures):
    return {m.name: m for m in made.measure(pictures)}


def test_real_pictures_show_all_that_is_told(asked):
    made, real = asked
    found = follow(made.told, real)
    assert found.whole.all()
    assert np.array_equal(found.right, found.told)
    rows = table(made, real)
    assert all(m.value == m.floor == 1 for name, m in rows.items() if name not in ("variety", "unseen_gap"))
    assert rows["unseen_gap"].value == 0
    assert rows["variety"].value == rows["variety"].floor > 5
    assert set(made.parts(real).values()) == {1.0}


def test_captions_and_labels_tell_the_same(asked):
    made, _ = asked
    assert len(made) == len(made.cond["text"]) == 160
    again = Told.join(grammar.read(caption) for caption in made.cond["text"]).cond()
    assert all(np.array_equal(again[name], leaf) for name, leaf in made.told.cond().items())
    strange = WORLD.is_strange(made.told.shape, made.told.colour)
    assert not strange[:80].any()
    assert strange[80:].any(axis=1).mean() > 0.75  # of the others, the shape or the colour is not told
    assert np.array_equal(made.cond["text"][::2], made.cond["text"][1::2])


@pytest.mark.parametrize("name", ["shape", "colour", "size", "relation"])
def test_what_is_drawn_otherwise_is_counted_wrong(asked, name):
    """Pictures of prompts in which one kind of thing was changed: that kind is wrong, by as much, and nothing else."""
    told = asked[0].told
    single = told.take(np.flatnonzero(told.count == (2 if name == "relation" else 1))[:40])
    changed = {n: getattr(single, n).copy() for n in ("shape", "colour", "size", "place", "relation")}
    values, asked_of = len(NAMES[name]), changed[name] < len(NAMES[name])
    # Each told value becomes its neighbour; left becomes right, above below.
    changed[name] = np.where(asked_of, changed[name] ^ 1 if name == "relation" else (changed[name] + 1) % values,
                             changed[name])  # fmt: skip
    pictures = WORLD.fulfil(Told(single.count, **changed), 7)
    found = follow(single, pictures)
    assert asked_of.any()
    if name == "relation":
        # Two objects of one name may change places instead, and then all is as told.
        assert found.obeyed.sum() <= 0.1 * found.relations.sum()
        return
    place = ("shape", "colour", "size").index(name)
    assert not found.right[..., place].any()
    others = [k for k in range(4) if k != place]
    assert np.array_equal(found.right[..., others], found.told[..., others])
    assert found.counted.all()


def test_too_many_too_few_and_none(asked):
    made, real = asked
    two = grammar.read("a red square on the left and a blue ring on the right")
    picture = WORLD.fulfil(two, 0)
    one = follow(grammar.read("a red square"), picture)
    assert one.right[0, 0, :2].all()
    assert not one.counted.any()
    assert not one.whole.any()
    assert follow(grammar.read("a blue ring and a red square"), picture).whole.all()  # in either order
    missing = follow(grammar.read("a red square, a blue ring and a green star"), picture)
    assert missing.right[0].sum() == 4
    assert not missing.right[0, 2].any()
    nothing = table(made, np.zeros_like(real))
    assert all(nothing[name].value == 0 for name in ("attributes", "relations", "objects_counted", "variety"))


def test_shares_are_the_means_over_prompts(asked):
    """Half of the prompts of one object ignored altogether: attributes fall to a half, seen pairs alone."""
    made, real = asked
    spoilt = real.copy()
    rows = np.flatnonzero(made.told.count[:80:2] == 1)
    off = rows[: len(rows) // 2]
    for row in off:
        spoilt[2 * row : 2 * row + 2] = 0
    found = table(made, spoilt)
    assert found["attributes_of_one"].value == pytest.approx(1 - len(off) / len(rows))
    assert found["attributes"].value == pytest.approx(1 - len(off) / 40)
    assert found["unseen_pairs"].value == 1
    assert found["unseen_gap"].value < 0
    low, high = found["attributes"].low, found["attributes"].high
    assert low < 1 - len(off) / 40 < high <= 1
    assert found["attributes_of_two"].value == 1


def test_one_picture_a_prompt_has_no_variety(asked):
    made, real = asked
    same = np.repeat(real[::2], 2, axis=0)
    rows = table(made, same)
    assert rows["variety"].value == 0
    assert rows["variety"].verdict == "told apart from real"
    assert rows["attributes"].value == 1


def test_mistakes_are_told_in_one_sentence(asked):
    made, real = asked
    for make, says in (
        (lambda: following(Digits()), "'digits' draws none"),
        (lambda: following(WORLD, prompts=3), "12 prompts at least"),
        (lambda: made.measure(real[:5]), "160 prompts take pictures"),
    ):
        with pytest.raises(UserError, match=says):
            make()
    bare = following(Scenes(unseen=0), prompts=12)
    assert not {"unseen_gap", "unseen_pairs"} & table(bare, bare.real).keys()


def test_look_shows_captions(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["look", "scenes", "data.items=60", "data.held_out=20", "--out", "seen"]) == 0
    said = capsys.readouterr().out
    assert "60 captions" in said
    assert "colour    red " in said
    assert "1 group" not in said  # what is drawn anew is alike by chance
    from PIL import Image

    with Image.open(tmp_path / "seen/sheet.png") as sheet:
        assert sheet.width > 4 * 192
    assert main(["look", "scense"]) == 2
    assert "did you mean 'scenes'" in capsys.readouterr().err
