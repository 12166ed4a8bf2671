"""Drawn scenes: layouts obey their law, captions tell what is there, and a reader sees it from the picture alone."""

import numpy as np
import pytest
import torch

from unnoise.config import UserError
from unnoise.data import Scenes, grammar, layout, outlines
from unnoise.data.grammar import NAMES, SAID, UNTOLD, Told
from unnoise.data.layout import Layout
from unnoise.data.scenes import PALETTE, draw
from unnoise.metrics import reader
from unnoise.rng import host
from unnoise.train.order import Shuffled


def one(shape="circle", colour="red", size=0.3, at=(0.5, 0.5), *more):
    """A layout of one scene; more: further objects, each such a tuple."""
    objects = [(shape, colour, size, at), *more]
    return Layout(
        np.array([len(objects)]),
        np.array([[NAMES["shape"].index(o[0]) for o in objects]]),
        np.array([[NAMES["colour"].index(o[1]) for o in objects]]),
        np.array([[o[2] for o in objects]]),
        np.array([[o[3] for o in objects]], dtype=np.float64),
    )


@pytest.fixture(scope="module")
def lot():
    """2000 scenes, what is told of them, and their pictures."""
    world = Scenes()
    scenes, told = world.scenes(2000, 1)
    return world, scenes, told, world.draw(2000, 1)


def right(scenes, told, pictures):
    """(N,) whether a reading names all objects, sizes and positions of the scenes, and finds all that is told."""
    seen = reader.read(pictures).layout
    # Objects are matched by position: of each, the nearest that was read.
    apart = np.linalg.norm(scenes.position[:, :, None] - seen.position[:, None], axis=-1)
    apart = np.where(seen.here[:, None], apart, np.inf)
    match = apart.argmin(axis=2)
    rows = np.arange(len(scenes))[:, None]
    where = seen.position[rows, match]
    way = np.diff(where, axis=1)
    good = (
        (seen.shape[rows, match] == scenes.shape)
        & (seen.colour[rows, match] == scenes.colour)
        & (layout.size_of(seen.size[rows, match]) == layout.size_of(scenes.size))
        & (np.take_along_axis(apart, match[..., None], 2)[..., 0] < 1 / 32)
        & ((told.place == UNTOLD["place"]) | (layout.place_of(where) == told.place))
    )
    related = (told.relation == UNTOLD["relation"]) | (layout.relation_of(way) == told.relation)
    return (seen.count == scenes.count) & (good | ~scenes.here).all(1) & related.all(1)


def noisy(pictures, sigma, seed=0):
    """With normal noise of that deviation in units of the whole range, rounded and clipped."""
    noise = 255 * sigma * np.random.default_rng(seed).standard_normal(pictures.shape)
    return np.clip(np.rint(pictures + noise), 0, 255).astype(np.uint8)


# Figures


@pytest.mark.parametrize("kind", range(len(outlines.KINDS)), ids=outlines.KINDS)
def test_figures_have_their_area_width_and_centroid(kind):
    rng = np.random.default_rng(kind)
    size, centre = rng.uniform(6, 30, 12), 20 + rng.uniform(-0.5, 0.5, (12, 2))
    covered = outlines.cover(kind, size, centre, np.zeros((12, 2), np.int64), 40).astype(np.float64)
    area = outlines.AREA[kind] * size**2
    assert np.all(np.abs(covered.sum((1, 2)) / area - 1) < 0.02 * 12 / size)
    grid = np.arange(40) + 0.5
    for axis, sums in enumerate((covered.sum(1), covered.sum(2))):
        assert np.allclose((sums * grid).sum(1) / sums.sum(1), centre[:, axis], atol=0.03)
        reach = (0.5, 0.5) if axis == 0 else (outlines.UP[kind], outlines.DOWN[kind])
        ends = np.array([np.flatnonzero(row > 1e-6)[[0, -1]] for row in sums])
        low, high = centre[:, axis] - reach[0] * size, centre[:, axis] + reach[1] * size
        # The first pixel that is touched is the one in which the figure ends; a sharp tip may slip through it.
        assert np.all((ends[:, 0] > low - 1.01) & (ends[:, 0] < low + 1.01))
        assert np.all((ends[:, 1] > high - 2.01) & (ends[:, 1] < high + 0.01))


def test_a_star_is_where_at_most_one_of_five_lines_is_crossed():
    """Against a polygon of ten corners by the winding of its edges."""
    tip = 0.5 / np.sin(2 * np.pi / 5)
    inner = tip * np.cos(2 * np.pi / 5) / np.cos(np.pi / 5)
    turn = np.pi / 5 * np.arange(10)
    radius = np.where(np.arange(10) % 2 == 0, tip, inner)
    x, y = radius * np.sin(turn), -radius * np.cos(turn)
    p = np.random.default_rng(0).uniform(-0.6, 0.6, (4000, 2))
    inside = np.zeros(len(p), bool)
    for i in range(10):
        j = (i + 1) % 10
        crosses = (y[i] > p[:, 1]) != (y[j] > p[:, 1])
        at = x[i] + (p[:, 1] - y[i]) * (x[j] - x[i]) / np.where(crosses, y[j] - y[i], 1)
        inside ^= crosses & (p[:, 0] < at)
    assert np.array_equal(outlines.depth(3, p[:, 0], p[:, 1], 1.0) < 0, inside)
    assert outlines.AREA[3] == pytest.approx(0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


# Layouts


def test_layouts_obey_their_law(lot):
    _, scenes, _, _ = lot
    here = scenes.here
    assert np.all(np.abs(np.bincount(scenes.count)[1:] - 2000 / 3) < 5 * np.sqrt(2000 * 2 / 9))
    up, down = (edge[np.minimum(scenes.shape, 4)] * scenes.size for edge in (outlines.UP, outlines.DOWN))
    x, y = np.moveaxis(scenes.position, -1, 0)
    for end in (x - scenes.size / 2, 1 - x - scenes.size / 2, y - up, 1 - y - down):
        assert np.all(end[here] > 0.02 - 1e-12)
    pair = scenes.colour * 5 + scenes.shape
    for a in range(3):
        for b in range(a):
            both = here[:, a] & here[:, b]
            beside = np.abs(x[:, a] - x[:, b]) - (scenes.size[:, a] + scenes.size[:, b]) / 2
            over = np.maximum((y - up)[:, a] - (y + down)[:, b], (y - up)[:, b] - (y + down)[:, a])
            assert np.all(np.maximum(beside, over)[both] >= layout.GAP - 1e-12)
            assert np.all(pair[both, a] != pair[both, b])
    single = scenes.count == 1  # nothing stands in the way of a single object: each word and each pair as often
    words = np.bincount(layout.size_of(scenes.size[single, 0]), minlength=3)
    assert np.all(np.abs(words - words.sum() / 3) < 5 * np.sqrt(words.sum() * 2 / 9))
    ways = np.diff(scenes.position, axis=1)[here[:, 1:]]
    left, right, above, below = np.bincount(layout.relation_of(ways), minlength=4)
    assert abs(left - right) < 5 * np.sqrt(left + right)  # which of two objects comes first is chance
    assert abs(above - below) < 5 * np.sqrt(above + below)
    often = np.bincount(pair[here], minlength=40)
    strange = {NAMES["colour"].index(c) * 5 + NAMES["shape"].index(s) for c, s in Scenes().strange}
    assert {int(k) for k in np.flatnonzero(often == 0)} == strange
    kept = often[often > 0]
    assert np.all(np.abs(kept - kept.mean()) < 5 * np.sqrt(kept.mean()))


def test_pairs_that_are_held_out_occur_in_novel_scenes_alone():
    world = Scenes()
    strange = {(NAMES["shape"].index(s), NAMES["colour"].index(c)) for c, s in world.strange}
    assert len(strange) == 6
    assert len({c for _, c in strange}) == 6
    assert max(np.bincount([s for s, _ in strange])) <= 2
    scenes, told = world.scenes(500, 3, novel=True)
    found = np.array([[(int(s), int(c)) in strange for s, c in zip(*row, strict=True)]
                      for row in zip(scenes.shape, scenes.colour, strict=True)])  # fmt: skip
    assert np.all(found.sum(1) == 1)
    assert np.array_equal(Told.of(world.novel(500, 3).cond).shape, told.shape)
    with pytest.raises(UserError, match="unseen is 0"):
        Scenes(unseen=0).novel(1, 0)


def test_a_scene_is_the_same_at_every_size_and_in_every_draw():
    small, large = Scenes().draw(40, 2), Scenes(side=64).draw(40, 2)
    assert list(small.cond["text"]) == list(large.cond["text"])
    halved = large.items.reshape(40, 3, 32, 2, 32, 2).mean((3, 5))
    assert np.abs(halved - small.items).max() < 255 * 0.06  # edges are sampled at other points
    whole = Scenes().draw(1100, 2)  # over the end of a chunk
    assert np.array_equal(whole.items[:40], small.items)
    assert np.array_equal(whole.items[:1030], Scenes().draw(1030, 2).items)


def test_pictures_obey_what_is_told():
    """Real pictures of captions: layouts drawn for what is told tell it themselves, the rest has the scenes' law."""
    world = Scenes()
    told = world.scenes(600, 4)[1]
    (made,) = world._obeying(told, "x")
    again = layout.tell(made, np.zeros((600, 15)))  # all that is clear
    for name in ("shape", "colour", "size"):
        asked = getattr(told, name)
        assert np.all((asked == UNTOLD[name]) | (asked == getattr(again, name)))
    way, at = np.diff(made.position, axis=1), made.position
    assert np.all((told.relation == UNTOLD["relation"]) | (layout.relation_of(way) == told.relation))
    assert np.all((told.place == UNTOLD["place"]) | (layout.place_of(at) == told.place))
    assert np.array_equal(made.count, told.count)
    free = layout.nothing(np.repeat([1, 2, 3], 700), 3)  # nothing told: the law of the draws, size by size
    loose = Layout.join(world._obeying(free, "y"))
    draws = world.scenes(2100, 9)[0]
    for count in (1, 2, 3):
        a, b = (np.bincount(layout.size_of(s.size[s.count == count][:, :count].ravel())) for s in (loose, draws))
        p = a / a.sum()
        assert np.all(np.abs(p - b / b.sum()) < 5 * np.sqrt(p * (1 - p) * (1 / a.sum() + 1 / b.sum())))


def test_what_cannot_be_is_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(layout, "MOST_ROUNDS", 2)
    crowd = grammar.read("a large square left of a large box left of a large square")
    with pytest.raises(UserError, match="do its objects fit"):
        Scenes().fulfil(crowd, 0)
    for bad, says in (({"side": 20}, "32 pixels"), ({"objects": 4}, "1 to 3"), ({"unseen": 9}, "0 to 8")):
        with pytest.raises(UserError, match=says):
            Scenes(**bad)


# Captions


@pytest.mark.parametrize("objects", [1, 2, 3])
def test_captions_read_back_as_what_they_tell(objects):
    """Anything that can be told of the objects that are there, in any of the ways to say it."""
    rng, n = np.random.default_rng(objects), 700
    count = rng.integers(1, objects + 1, n)
    here = np.arange(objects) < count[:, None]
    told = {
        name: np.where(here[:, 1:] if name == "relation" else here, rng.integers(0, most + 1, (n, objects))[
            :, int(name == "relation"):], most)
        for name, most in UNTOLD.items()
    }  # fmt: skip
    related = np.any(told["relation"] < UNTOLD["relation"], axis=1)
    told["place"][related] = UNTOLD["place"]  # "on the left" before "left of" would be a riddle
    scenes = Told(count, **told)
    captions = grammar.say(scenes, rng.random((n, grammar.CHOICES)))
    found = Told.join(grammar.read(caption, objects) for caption in captions).cond()
    for name, leaf in scenes.cond().items():
        assert np.array_equal(found[name], leaf), name


def test_captions_of_the_data_tell_what_is_there(lot):
    _, scenes, told, items = lot
    assert len(set(items.cond["text"])) > 1700
    words = {word for caption in items.cond["text"] for word in caption.replace(",", " ,").split()}
    known = {word for ways in SAID.values() for values in ways.values() for way in values for word in way.split()}
    assert known <= words  # every way to say a thing is said
    for name, values in Told.of(items.cond).cond().items():
        assert np.array_equal(values, told.cond()[name])
    for i in range(0, 2000, 7):
        found = grammar.read(items.cond["text"][i]).cond()
        assert all(np.array_equal(found[name][0], leaf[i]) for name, leaf in told.cond().items())
    for name, truth in (("shape", scenes.shape), ("colour", scenes.colour), ("size", layout.size_of(scenes.size)),
                        ("place", layout.place_of(scenes.position))):  # fmt: skip
        value = getattr(told, name)
        assert np.all((value == UNTOLD[name]) | (scenes.here & (value == truth)))
    of = told.relation < UNTOLD["relation"]
    assert np.all(~of | (told.relation == layout.relation_of(np.diff(scenes.position, axis=1))))
    assert np.array_equal(told.count, scenes.count)
    # Shares: 0.9 of colours; sizes 0.5; relations 0.75 of those that are clear.
    n = scenes.here.sum()
    assert abs((told.colour < 8).sum() / n - 0.9) < 5 * np.sqrt(0.09 / n)
    assert abs((told.size < 3).sum() / n - 0.5) < 5 * np.sqrt(0.25 / n)
    clear = scenes.here[:, 1:] & layout.clear_relation(np.diff(scenes.position, axis=1))
    assert abs(of.sum() / clear.sum() - 0.75) < 5 * np.sqrt(0.19 / clear.sum())


@pytest.mark.parametrize(
    ("caption", "says"),
    [
        ("a rde circle", "at 'rde'.*did you mean 'red'"),
        ("a red", "ends before its last object is named"),
        ("a red circle lef of a star", "at 'lef'"),
        ("a red circle and", "ends before"),
        ("two red circles", "at 'two'"),
        ("a star, a star, a star and a star", "tells of 4 objects"),
        ("a red blue circle", "at 'blue'"),
        ("", "ends before"),
        ("ein roter Kreis", "at 'ein'"),
    ],
)
def test_a_caption_that_is_none_is_told_where(caption, says):
    with pytest.raises(UserError, match=says):
        grammar.read(caption)


def test_captions_are_read_as_people_write_them():
    plain = grammar.read("a large red circle left of a small blue square").cond()
    other = grammar.read("There is a HUGE red disc that is to the left of a tiny blue box.").cond()
    assert all(np.array_equal(plain[name], leaf) for name, leaf in other.items())
    single = grammar.read("large red circle at the top left", objects=1).cond()
    assert single["place"].tolist() == [[0]]
    assert "relation" not in single
    for words, x, y in (("left of", -1, 0), ("to the right of", 1, 0), ("over", 0, -1), ("under", 0, 1)):
        (made,) = Scenes()._obeying(grammar.read(f"a star {words} a ring"), "x")
        way = made.position[0, 0] - made.position[0, 1]
        assert way @ (x, y) > abs(way @ (y, x))  # y runs downwards


# The reader


def test_a_reader_sees_real_pictures(lot):
    _, scenes, told, items = lot
    assert np.mean(right(scenes, told, items.items)) >= 0.995
    assert np.mean(right(scenes, told, noisy(items.items, 0.05))) >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 64])
def test_a_reader_sees_many_real_pictures(side):
    world = Scenes(side=side)
    for seed in range(4):
        scenes, told = world.scenes(5000, 100 + seed, novel=seed == 3)
        pictures = draw(scenes, side)
        assert np.mean(right(scenes, told, pictures)) >= 0.999
        assert np.mean(right(scenes, told, noisy(pictures, 0.05, seed))) >= 0.998


def test_a_reader_sees_nothing_where_there_is_nothing():
    assert reader.read(np.zeros((3, 3, 32, 32), np.uint8)).layout.count.tolist() == [0, 0, 0]
    assert reader.read(np.zeros((0, 3, 32, 32), np.uint8)).layout.count.tolist() == []
    with pytest.raises(UserError, match="shape"):
        reader.read(np.zeros((3, 32, 32), np.uint8))
    faint = noisy(np.zeros((50, 3, 32, 32), np.uint8), 0.1)
    assert reader.read(faint).layout.count.sum() == 0
    static = np.random.default_rng(0).integers(0, 256, (50, 3, 32, 32)).astype(np.uint8)
    seen = reader.read(static).layout
    assert np.mean(seen.shape[seen.here] == UNTOLD["shape"]) > 0.9


def test_what_is_like_nothing_is_read_as_nothing():
    """A bar has no shape of the five, a grey disc no colour of the eight; and what is there besides is read."""
    picture = draw(one("circle", "red", 0.3, (0.25, 0.25)), 32)
    picture[0, :2, 20:24, 4:28] = 255  # a yellow bar
    seen = reader.read(picture).layout
    assert seen.count.tolist() == [2]
    assert seen.shape[0, :2].tolist() == [UNTOLD["shape"], 0]
    assert seen.colour[0, :2].tolist() == [2, 0]
    grey = draw(one("circle", "white", 0.4), 32) // 2
    seen = reader.read(grey).layout
    assert (seen.shape[0, 0], seen.colour[0, 0]) == (0, UNTOLD["colour"])


def test_a_reading_is_told_in_words():
    pair = one("circle", "red", 0.4, (0.25, 0.4), ("square", "blue", 0.2, (0.75, 0.5)))
    far = one("star", "white", 0.4, (0.2, 0.2))
    pictures = np.concatenate([draw(pair, 32), draw(far, 32), np.zeros((1, 3, 32, 32), np.uint8)])
    assert reader.read(pictures).captions() == [
        "a large red circle left of a small blue square",
        "a large white star at the top left",
        "nothing",
    ]


def test_objects_of_two_colours_that_touch_are_two():
    pair = one("square", "red", 0.3, (0.35, 0.5), ("square", "blue", 0.3, (0.65, 0.5)))
    seen = reader.read(draw(pair, 32)).layout
    assert seen.count.tolist() == [2]
    assert sorted(seen.colour[0, :2].tolist()) == [0, 5]
    assert seen.shape[0, :2].tolist() == [1, 1]


def test_what_is_read_is_exact_to_a_part_of_a_pixel(lot):
    _, scenes, _, items = lot
    rows = scenes.count == 1
    seen = reader.read(items.items[rows]).layout
    assert np.abs(seen.position[:, 0] - scenes.position[rows, 0]).max() < 0.06 / 32
    assert np.abs(seen.size[:, 0] / scenes.size[rows, 0] - 1).max() < 0.02


def test_colours_lie_apart():
    way = PALETTE / np.linalg.norm(PALETTE, axis=1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip(way @ way.T, -1, 1)))
    assert angle[~np.eye(8, dtype=bool)].min() > 18


def test_training_is_fed_the_labels_and_leaves_text_to_who_hears_it():
    items = Scenes(items=20, held_out=8).split("train")
    feed = Shuffled(items, lambda raw, rng: torch.from_numpy(raw / 255).float())
    x0, cond = feed(0, 6)
    rows = feed.indices(0, 6)
    assert tuple(x0.shape) == (6, 3, 32, 32)
    assert cond.keys() == {"count", "shape", "colour", "size", "place", "relation"}
    assert all(np.array_equal(leaf.numpy(), items.cond[name][rows]) for name, leaf in cond.items())
    assert Scenes().values["colour"][0] == "red"
    assert "relation" not in Scenes(objects=1).values


def test_a_draw_depends_on_seed_and_place_alone():
    u = host("say", 0).random((3, 24))
    told = Scenes().scenes(3, 0)[1]
    assert grammar.say(told, u) == grammar.say(told, u)
    assert grammar.say(told.take(slice(1, 2)), u[1:2]) == grammar.say(told, u)[1:2]
