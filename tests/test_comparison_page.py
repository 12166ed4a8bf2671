"""A comparison's page shows the numbers it was given, in the order they have, and needs nothing but itself."""

import base64
import io
import itertools
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from unnoise.report import comparison_page, convergence, fronts, grids, multiples, ranked, style
from unnoise.report.comparison import Comparison, Entry, Point, Scale, Value
from unnoise.report.comparison_samples import samples
from unnoise.report.comparison_tables import amount, costs, duration, quality
from unnoise.report.marks import FAMILIES, Marks, beside, short_name

RNG = np.random.default_rng(0)
EVIL = '<script src="https://evil.example/x.js">alert(1)</script>&"\'{style}'
SCALES = (
    Scale(name="coverage", better="higher", floor=0.97, floor_low=0.96, floor_high=0.98, text=EVIL, warning=EVIL),
    Scale(name="two_sample", better="half", floor=0.51),
    Scale(name="frechet", better="lower"),
)


def around(mean, half=0.01):
    return Value(mean, mean - half, mean + half, (mean - half, mean, mean + half))


def entry(name, judged, **told):
    values = {"two_sample": around(judged), "coverage": around(1.3 - judged), "frechet": Value(math.nan)}
    points = [Point(1000 * k, 2.0 * k, judged + 1 / k, judged + 0.9 / k, judged + 1.1 / k) for k in range(1, 8)]
    given = {
        "values": values,
        "curve": points,
        "quality_curve": points[:3],
        "items": 7000,
        "parameters": 512_000,
        "multiply_adds": 1000,
        "evaluations": 10,
        "train_seconds": 14.0 * judged,
    }
    return Entry(name=name, **{**given, **told})


def whole(text="plain", **told):
    """Three entries; 0.45 is nearer to 1/2 than 0.58, and one has no value at all."""
    entries = [
        entry(text, 0.58, note=text),
        entry("two", 0.45, won=True, front=True, diverse=True),
        entry("lost", 0.7, values={}, curve=(), multiply_adds=3000, front=True),
        entry("three", 0.6, tied=True, multiply_adds=500, front=True),
    ]
    given = {
        "title": text,
        "verdict": text,
        "entries": entries,
        "measures": SCALES,
        "judged": "two_sample",
        "diversity": "coverage",
        "axes": {"net": [e.name for e in entries]},
        "advice": [text],
        "count": 3,
        "pictures": {e.name: list(np.random.default_rng(k).random((4, 8, 8))) for k, e in enumerate(entries)},
        "columns": ["seed 0", "seed 1", "seed 2", "seed 3"],
        "real": list(np.random.default_rng(9).random((4, 8, 8))),
        "facts": {text: text},
        "command": text,
        "recipe": text,
    }
    return Comparison(**{**given, **told})


def product():
    """Two samplers, three numbers of steps, two guidance weights: named by their settings."""
    entries = [
        entry(
            f"{sampler}, {steps} steps, guidance {w}",
            0.5 + 1 / steps / (1 + (sampler == "heun")) + w / 100,
            settings={"sampler": sampler, "steps": str(steps), "guidance": str(w)},
            evaluations=steps * (2 if sampler == "heun" else 1),
            curve=(),
            quality_curve=(),
        )
        for sampler, steps, w in itertools.product(("ddim", "heun"), (4, 8, 16), (1, 2))
    ]
    axes = {"sampler": ["ddim", "heun"], "steps": ["4", "8", "16"], "guidance": ["1", "2"]}
    return whole(entries=entries, axes=axes, pictures={}, real=None, cost="evaluations")


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "source", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def evil():
    return comparison_page.page(whole(EVIL))


# --- the page ----------------------------------------------------------------------------------------------


def test_the_page_stands_alone_and_escapes_all_that_it_is_told(evil):
    read = Reader(evil)
    names = [tag for tag, _ in read.tags]
    assert not read.open, "a tag is left open"
    assert "script" not in names
    assert "link" not in names
    assert not [a for a in read.attributes if a[1].startswith("on")]
    addresses = [value for _, name, value in read.attributes if name in ("src", "srcset", "href")]
    assert len(addresses) > 12
    for value in addresses:
        kind, data = re.fullmatch(r"data:(image/[a-z+]+);base64,(\S+)", value).groups()
        raw = base64.b64decode(data)
        if kind == "image/svg+xml":
            assert not re.search(rb'(?:href|src)="(?!#|data:)', raw)
        else:
            Image.open(io.BytesIO(raw)).verify()
    assert all(told.get("alt") for tag, told in read.tags if tag == "img")
    assert all(told.get("aria-label") or told.get("aria-hidden") for tag, told in read.tags if tag == "svg")
    ids = [told["id"] for _, told in read.tags if "id" in told]
    assert len(ids) == len(set(ids))
    assert {told["for"] for tag, told in read.tags if tag == "label"} == set(ids)
    assert "default-src 'none'" in evil
    assert "url(" not in evil


def test_the_verdict_comes_first_and_what_is_missing_leaves_no_trace(evil):
    assert evil.index('class="verdict"') < evil.index("<section>")
    sections = re.findall(r"<h2>(.*?)</h2>", evil)
    assert sections == [
        "Measured side by side",
        "Samples side by side",
        "Quality against cost and diversity",
        "How fast each learns",
        "What each costs",
        "Do it again",
    ]
    one = Entry(name="a", values={"two_sample": Value(0.6)})
    bare = comparison_page.page(Comparison(title="t", verdict="v", entries=[one], measures=SCALES, judged="two_sample"))
    assert re.findall(r"<h2>(.*?)</h2>", bare) == ["Measured side by side"]
    assert "nan" not in re.sub(r"<style>.*?</style>", "", bare, flags=re.S)
    assert "None" not in bare
    with pytest.raises(ValueError, match="title and a verdict"):
        comparison_page.page(whole(""))
    with pytest.raises(ValueError, match="'speed' is none of coverage, two_sample, frechet"):
        whole(judged="speed")
    with pytest.raises(ValueError, match="different names"):
        whole(entries=[one, one])


def test_a_comparison_always_gives_the_same_page(evil, tmp_path):
    path = comparison_page.save(whole(EVIL), tmp_path / "a" / "comparison.html")
    assert path.read_text(encoding="utf-8") == evil


def test_samples_stand_in_rows_by_rank_pixel_for_pixel():
    found = whole(pictures={"two": [RNG.random((8, 8))] * 3, "plain": [RNG.random((8, 8))] * 3})
    text = samples(found)
    rows = re.findall(r'<div class="row( best)?"><div>(.*?)<.*?base64,([^"]+)', text)
    assert [best for best, _, _ in rows] == ["", " best", ""]
    for (_, _, data), items in zip(rows, (found.real[:3], *found.pictures.values()), strict=True):
        wanted = np.asarray(grids.rows_of([items], 1, 1))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")), wanted)
    assert re.search(r"<div>seed</div>.*?<span>0</span><span>1</span>", text)


# --- the table ---------------------------------------------------------------------------------------------


def test_entries_are_ranked_by_their_distance_from_the_best():
    assert [e.name for e in whole().ranked] == ["two", "plain", "three", "lost"]
    assert [e.name for e in whole(judged="coverage", diversity="").ranked] == ["two", "plain", "three", "lost"]
    assert [SCALES[k].loss(0.2) for k in range(3)] == [-0.2, 0.3, 0.2]


def test_every_heading_sorts_every_row_without_a_script(evil):
    """A browser puts rows in the order of --key-j where button j is on: each is a permutation, best first."""
    table = evil[evil.index('id="quality-0"') : evil.index("<h2>Samples")]
    rows = re.findall(
        r'<tr role="row"[^>]*style="([^"]+)"><th role="rowheader" scope="row">(.*?)<(?:small|span|/th)', table
    )
    order = [dict(item.split(":") for item in style.split(";")) for style, _ in rows]
    assert len(rows) == 4
    for j in range(4):
        assert sorted(int(one[f"--quality-{j}"]) for one in order) == [1, 2, 3, 4]
        assert f"#quality-{j}:checked ~ .frame tbody tr {{ order: var(--quality-{j}) }}" in evil
    by_given = sorted(range(4), key=lambda row: int(order[row]["--quality-0"]))
    assert ["alert" in rows[row][1] for row in by_given] == [True, False, False, False]
    assert [int(one["--quality-1"]) for one in order] == [1, 2, 3, 4], "the judged measure comes first"
    assert int(order[-1]["--quality-2"]) == 4, "what has no value comes last"
    assert re.findall(r'id="quality-(\d)" checked', evil) == ["1"]


def test_ranges_share_the_scale_of_their_column():
    values = [around(0.5), around(0.6, 0.03), None, Value(0.9)]
    column = ranked.Column(
        name="m", note="", texts=["", "", "", ""], values=values, order=[0.0] * 4, floor=Value(0.45, 0.44, 0.46)
    )
    axis = ranked.Axis.of(column)
    assert not axis.log
    text = ranked.table("t", ["a", "b", "c", "d"], replace(column, name="e"), [column])
    means = [float(x) for x in re.findall(r'class="mean" cx="([\d.]+)%', text)]
    assert means == pytest.approx([axis.share(0.5), axis.share(0.6), axis.share(0.9)], abs=0.01)
    assert (means[1] - means[0]) / (means[2] - means[0]) == pytest.approx(0.25, abs=1e-3)
    ticks = set(re.findall(r'class="real" x1="([\d.]+)%', text))
    assert ticks == {f"{axis.share(0.45):.2f}"}
    spans = [[float(x) for x in pair] for pair in re.findall(r'class="interval" x1="([\d.]+)%" x2="([\d.]+)%', text)]
    assert spans[1] == pytest.approx([axis.share(0.57), axis.share(0.63)], abs=0.01)
    assert "95 % interval 0.570 to 0.630; single ones 0.570, 0.600, 0.630; real 0.450" in text
    off = ranked.Axis.of(replace(column, floor=Value(-5.0)))
    assert (off.low, off.high, off.beyond(-5.0), off.beyond(0.49)) == (0.49, 0.9, -1, 0), "a far floor is told aside"
    far = ranked.Axis.of(replace(column, values=[Value(0.01), Value(1.0), Value(0.1), None], floor=None))
    assert far.log
    assert far.share(0.1) == pytest.approx(50)


def test_costs_that_all_share_are_said_once():
    text = costs(whole())
    assert "The same for all: 512 k parameters, 10 evaluations a sample, 7 k items of training." in text
    assert re.findall(r'<label for="cost-\d">(.*?)</label>', text) == [
        "entry",
        "multiply–adds",
        "multiply–adds",
        "training",
    ]


@pytest.mark.parametrize(
    ("count", "tied", "wanted"), [(3, False, "best"), (3, True, "reads best"), (1, False, "reads best")]
)
def test_the_best_is_called_so_where_noise_does_not_explain_it(count, tied, wanted):
    entries = [entry("a", 0.5, won=True), entry("b", 0.6, tied=tied)]
    text = quality(whole(entries=entries, count=count))
    assert f'<span class="badge">{wanted}</span>' in text
    assert ("as good, within the noise" in text) == tied


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.0, "0"), (950.0, "950"), (512_345.0, "512 k"), (999_999.0, "1 M"), (48.3e9, "48.3 G")]
)
def test_amounts_have_three_digits(value, wanted):
    assert amount(value) == wanted


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(4.2e-4, "420 µs"), (0.0024, "2.4 ms"), (2.44, "2.4 s"), (61.2, "61 s"), (725.0, "12 min"), (12600.0, "3.5 h")],
)
def test_times_have_the_unit_that_suits_them(seconds, wanted):
    assert duration(seconds) == wanted


# --- fronts and marks --------------------------------------------------------------------------------------


def test_costs_are_of_a_whole_sample():
    one = entry("a", 0.5, seconds_per_sample=0.25)
    assert one.cost("multiply_adds_per_sample") == 10_000
    assert one.cost("evaluations") == 10
    assert one.cost("seconds_per_sample") == 0.25
    assert math.isnan(replace(one, multiply_adds=None).cost("multiply_adds_per_sample"))
    assert fronts.costs_differ(whole())
    assert not fronts.costs_differ(whole(cost="evaluations"))


def test_families_stay_apart_without_colour():
    for count in range(2, FAMILIES + 1):
        names = [f"n{k}" for k in range(count)]
        found = whole(entries=[entry(name, 0.5 + k / 50) for k, name in enumerate(names)], axes={}, pictures={})
        marks = Marks.of(found)
        looks = [marks.look(style.THEMES["light"], name) for name in names]
        assert len({look["marker"] for look in looks}) == count
        grey = sorted(float(np.dot(to_rgb(look["color"]), (0.2126, 0.7152, 0.0722))) for look in looks)
        assert min(np.diff(grey)) > 0.015
    many = whole(entries=[entry(f"n{k}", 0.9 - k / 50) for k in range(12)], axes={}, pictures={})
    named = Marks.of(many).names
    assert set(named) == {e.name for e in many.ranked[: FAMILIES - 1]}
    assert Marks.of(many).family(many.entries[0]) == ""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_names_beside_points_never_lie_on_each_other(theme):
    with style.themed(theme):
        fig = style.figure()
        axes = fig.add_subplot()
        x, y = 0.5 + 0.02 * RNG.normal(size=(2, 9))
        axes.scatter(x, y)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        beside(axes, [(a, b, f"entry {k}", "#000000", k == 4) for k, (a, b) in enumerate(zip(x, y, strict=True))])
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert any(text.get_text() == "entry 4" for text in axes.texts)
    assert len(boxes) > 5
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)


def test_long_names_keep_both_ends():
    assert short_name("magnitude-preserving unet, 3 blocks") == "magnitude-p…, 3 blocks"
    assert short_name("unet") == "unet"


# --- curves and small multiples ----------------------------------------------------------------------------


def test_a_curve_shows_the_points_it_was_given():
    found = whole()
    for against, of in (("items", "curve"), ("seconds", "quality_curve")):
        axes = convergence.curves(found, against, of).axes[0]
        lines = [np.asarray(line.get_xydata()) for line in axes.lines if len(line.get_xdata()) > 2]
        told = [getattr(e, of) for e in found.entries if getattr(e, of)]
        assert len(lines) == len(told)
        for line, points in zip(lines, told, strict=True):
            assert np.allclose(line, [(getattr(p, against), p.value) for p in points])
    assert "held-out loss" in convergence.curves(found, "items").axes[0].get_ylabel()


def test_small_multiples_run_along_the_evaluations():
    found = product()
    plan = multiples.Arrangement.of(found)
    assert (plan.along, plan.lines, plan.panels) == ("steps", "sampler", ("guidance",))
    fig = multiples.multiples(found, "two_sample")
    panels = [axes for axes in fig.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["guidance 1", "guidance 2"]
    for axes, w in zip(panels, (1, 2), strict=True):
        lines = [np.asarray(line.get_xydata()) for line in axes.lines if len(line.get_xdata()) == 3]
        assert np.allclose(lines[0], [(s, 0.5 + 1 / s + w / 100) for s in (4, 8, 16)])
        assert np.allclose(lines[1], [(2 * s, 0.5 + 0.5 / s + w / 100) for s in (4, 8, 16)])
    assert Marks.of(found).names == ("ddim", "heun")


def test_an_axis_of_numbers_alone_gives_one_line():
    entries = [entry(f"width {w}", 0.5 + w, settings={"ema.width": str(w)}) for w in (0.05, 0.1, 0.2)]
    found = whole(entries=entries, axes={"ema.width": ["0.05", "0.1", "0.2"]}, pictures={})
    axes = multiples.multiples(found, "two_sample").axes[0]
    assert axes.get_xlabel() == "ema.width"
    (line,) = [np.asarray(line.get_xydata()) for line in axes.lines if len(line.get_xdata()) == 3]
    assert np.allclose(line, [(w, 0.5 + w) for w in (0.05, 0.1, 0.2)])
    assert multiples.Arrangement.of(whole()) is None
