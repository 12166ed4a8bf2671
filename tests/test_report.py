"""Pictures are exact, say how they were made, and a page needs nothing but itself."""

import base64
import io
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from PIL import Image

from unnoise import files
from unnoise.metrics.measure import Measure
from unnoise.process.schedules import Cosine, Flow
from unnoise.report import (
    curves,
    errors,
    films,
    grids,
    html,
    panels,
    plans,
    schedules,
    style,
    trajectories,
    words,
)
from unnoise.samplers import Plan

RNG = np.random.default_rng(0)


def digits(count, size=8, channels=()):
    return [RNG.random((size, size, *channels)) for _ in range(count)]


def plan(rows=5, same=True):
    base = RNG.normal(size=(rows, 5)) * np.array([1, 1, 0, 1, 0])
    twice = np.where(np.arange(rows)[:, None] < rows - 1, 2 * base, base)
    return Plan(
        t=np.linspace(1, 0.1, rows),
        keep=np.tile([0.0, 1.0], (rows, 1)),
        slot=np.arange(rows) % 2.0,
        base=base,
        ask=base if same else twice,
        to=np.linspace(0.9, 0, rows),
        weight=np.ones(rows),
        start=1.0,
        end=0.0,
    )


# --- images ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
@pytest.mark.parametrize("factor", [1, 5])
def test_every_cell_of_a_grid_is_its_image_enlarged(channels, factor):
    items = [(255 * item).astype(np.uint8) for item in digits(7, channels=channels)]
    made = grids.grid(items, columns=3, factor=factor)
    placed = grids.layout([items[:3], items[3:6], items[6:]], factor)
    assert made.size == placed.size
    for index, item in enumerate(items):
        cell = np.asarray(made.crop(placed.box(*divmod(index, 3))))
        wanted = np.kron(item.reshape(8, 8, -1), np.ones((factor, factor, 1), dtype=np.uint8))
        colour = wanted if wanted.shape[2] >= 3 else np.repeat(wanted, 3, axis=2)
        assert np.array_equal(cell[..., : colour.shape[2]], colour)
        assert channels == (4,) or np.all(cell[..., 3] == 255)


def test_what_is_no_cell_is_clear():
    made = np.asarray(grids.grid([np.full((4, 4), 255, np.uint8)] * 3, columns=2, factor=2, gap=3))
    assert made.shape == (19, 19, 4)
    assert not made[8:11].any()
    assert not made[:, 8:11].any()
    assert not made[11:, 11:].any()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_rows_by_class_keep_their_pixels_beside_their_names(theme):
    rows = {"ring": digits(3), "square": digits(2)}
    made = grids.class_rows(rows, factor=4, gap=2, theme=theme)
    paper = np.array(Image.new("RGB", (1, 1), style.THEMES[theme].paper))[0, 0]
    pixels = np.asarray(made)
    right = pixels[12 : 12 + 32, -(3 * 32 + 2 * 2) - 12 : -12]
    wanted = np.asarray(grids.rows_of([rows["ring"]], 4, 2))
    opaque = wanted[..., 3] == 255
    assert np.array_equal(right[opaque], wanted[..., :3][opaque])
    left = pixels[:, : made.width - (3 * 32 + 4) - 12]
    assert np.any(left != paper), "no name is drawn"
    assert np.all(left[:, :4] == paper), "a name is cut off"


def test_floating_images_are_rounded_and_bad_ones_refused():
    assert np.asarray(grids.image(np.array([[0.0, 0.5, 1.0, 2.0]]))).tolist() == [[0, 128, 255, 255]]
    with pytest.raises(ValueError, match=r"shape \(2, 8, 8\)"):
        grids.image(np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match="int64"):
        grids.image(np.zeros((8, 8), dtype=np.int64))


def test_a_png_tells_how_it_was_made(tmp_path):
    settings = {"sampler": "dpmpp_2m", "steps": 20, "seed": 2**63, "label": "größe ≤ 3", "w": [1.5, None]}
    item = (255 * digits(1)[0]).astype(np.uint8)
    path = grids.save(item, tmp_path / "a" / "one.png", settings)
    assert grids.settings(path) == settings == grids.settings(path.read_bytes())
    assert np.array_equal(np.asarray(Image.open(path)), item)
    assert b"tEXtunnoise\0" in path.read_bytes()
    with pytest.raises(ValueError, match="hold no settings"):
        grids.settings(grids.png(item))
    with pytest.raises(ValueError, match="JSON compliant"):
        grids.png(item, {"w": float("nan")})


@pytest.mark.parametrize("channels", [(), (3,), (4,), (2, 2)])
def test_a_film_shows_every_frame_exactly(channels):
    frames = digits(6, 9, channels) if channels != (2, 2) else list(films.point_frames(RNG.normal(size=(6, 50, 2)), 60))
    frames[4] = frames[3]  # a pause is a frame too
    data = films.film(frames, seconds=1.0, hold=2.0)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.n_frames == len(frames) == films.frames_in(data)
        assert opened.info["loop"] == 0
        waits = []
        for index, frame in enumerate(frames):
            opened.seek(index)
            waits.append(opened.info["duration"])
            assert np.array_equal(np.asarray(opened.convert("RGBA")), np.asarray(grids.image(frame).convert("RGBA")))
    assert waits == [200.0] * 5 + [2000.0]


def test_points_stand_where_they_are():
    frames = films.point_frames(np.array([[[0.0, 0.0]], [[0.5, -0.75]]]), 101, limits=(-1.0, 1.0, -1.0, 1.0))
    for frame, (x, y) in zip(frames, [(0.0, 0.0), (0.5, -0.75)], strict=True):
        alpha = np.asarray(frame)[..., 3]
        row, column = np.unravel_index(alpha.argmax(), alpha.shape)
        assert abs(column - (x + 1) * 50) <= 1
        assert abs(row - (1 - y) * 50) <= 1


def test_chosen_rows_hold_both_ends():
    assert films.chosen(100, 4) == [0, 33, 66, 99]
    assert films.chosen(3, 10) == [0, 1, 2]
    assert films.chosen(0, 5) == []


# --- figures -----------------------------------------------------------------------------------------------

HISTORY = curves.History(
    np.arange(1, 400) * 64, 1 + RNG.random(399), np.arange(1, 5) * 6400, [2, 1.6, 1.4, 1.3], np.arange(1, 400) * 0.1
)
LEVELS = curves.Levels(np.linspace(-5, 5, 11), np.geomspace(0.01, 1, 11), (), np.geomspace(0.009, 0.9, 11))
POINTS = RNG.normal(size=(4, 60, 2))
IMAGES = [digits(2) for _ in range(6)]
FIGURES = {
    "history": lambda theme: curves.history(HISTORY, theme),
    "levels": lambda theme: curves.levels(LEVELS, theme),
    "rate": lambda theme: curves.rate(HISTORY, theme),
    "schedules": lambda theme: schedules.schedules({"cosine": Cosine(), "again": Cosine()}, theme),
    "forward images": lambda theme: schedules.forward(RNG.random((2, 1, 8, 8)), Cosine(), theme=theme),
    "forward points": lambda theme: schedules.forward(POINTS[0], Cosine(), (0, 0.5, 1), theme=theme),
    "plan": lambda theme: plans.plan(plan(same=False), "heun", Cosine().logsnr, theme),
    "long plan": lambda theme: plans.plan(plan(60), "ddim", None, theme),
    "error": lambda theme: errors.error({"a": ([4, 8, 16], [1, 0.5, 0.25]), "b": ([4, 8], [1, 0])}, theme=theme),
    "strip": lambda theme: trajectories.image_strip(IMAGES, IMAGES, np.linspace(1, 0, 6), theme=theme),
    "panels": lambda theme: trajectories.point_panels(POINTS, POINTS, [1, 0.6, 0.3, 0], POINTS[-1], 2, theme),
    "paths": lambda theme: trajectories.paths(POINTS, POINTS[-1], theme=theme),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_plot_has_a_title_and_labelled_axes_and_nothing_is_cut_off(name):
    before = dict(matplotlib.rcParams)
    fig = FIGURES[name]("dark" if len(name) % 2 else "light")
    assert dict(matplotlib.rcParams) == before, "the style leaks"
    shown = [axes for axes in fig.axes if axes.get_visible()]
    assert any(axes.get_xlabel() for axes in shown)
    # A strip of images has names for its rows instead of a vertical axis.
    assert any(axes.get_ylabel() for axes in shown) or len(shown[0].get_yticklabels()) >= 2
    assert fig.get_suptitle() or all(axes.get_title(loc="left") for axes in shown)
    fig.canvas.draw()
    tight = fig.get_tightbbox()
    width, height = fig.get_size_inches()
    assert tight.x0 >= -0.02
    assert tight.y0 >= -0.02
    assert tight.x1 <= width + 0.02
    assert tight.y1 <= height + 0.02


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_survive_greyscale(theme):
    def lightness(colours):
        return np.asarray([matplotlib.colors.to_rgb(c) for c in colours]) @ (0.2126, 0.7152, 0.0722)

    look = style.THEMES[theme]
    ramp = lightness(look.map(np.linspace(0, 1, 64)))
    assert np.all(np.diff(ramp) < 0) if theme == "light" else np.all(np.diff(ramp) > 0)
    series = lightness([line["color"] for line in look.series(6)])
    assert np.all(np.abs(np.diff(series)) > 0.02)
    assert np.all(np.abs(series - lightness([look.paper])) > 0.25)


def test_files_are_written_beside_and_renamed(tmp_path, monkeypatch):
    path = files.put(tmp_path / "new" / "a.txt", "first")
    monkeypatch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        style.save(curves.rate(HISTORY), path.with_suffix(".png"))
    with pytest.raises(OSError, match="full"):
        files.put(path, "second")
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"], "a part was left behind"
    with pytest.raises(ValueError, match="did you mean 'png'"):
        style.save(curves.rate(HISTORY), tmp_path / "a.pngg")


def test_same_picture_same_bytes():
    one, two = (style.svg(curves.levels(LEVELS)) for _ in range(2))
    assert one == two


# --- arithmetic of the pictures ----------------------------------------------------------------------------


def test_the_chain_of_logsnr_is_the_textbook_chain():
    """abar_k = alpha_k² where variance is preserved; flow's signal share is (1 − t)² / ((1 − t)² + t²)."""
    beta, abar, logsnr = schedules.chain(Cosine(), 1000)
    wanted = Cosine().alpha(np.arange(1001) / 1000) ** 2
    np.testing.assert_allclose(abar, wanted[1:], atol=1e-14)
    np.testing.assert_allclose(beta[:-1], 1 - wanted[1:-1] / wanted[:-2], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(np.cumprod(1 - beta), abar, atol=1e-13)
    t = np.arange(1, 1001) / 1000
    beta, abar, logsnr = schedules.chain(Flow(), 1000)
    np.testing.assert_allclose(abar, (1 - t) ** 2 / ((1 - t) ** 2 + t**2), atol=1e-14)
    assert beta[-1] == 1
    assert logsnr[-1] == -np.inf


def test_corruption_has_the_moments_of_its_level_and_keeps_its_noise():
    x0 = np.full((40_000, 1), 2.0)
    x = schedules.corrupt(x0, Flow(), 0.25, seed=3)
    assert abs(x.mean() - 1.5) < 4 * 0.25 / 200
    assert abs(x.std() / 0.25 - 1) < 0.02
    end = schedules.corrupt(x0, Flow(), 1.0, seed=3)
    np.testing.assert_allclose((x - 0.75 * x0) / 0.25, end, atol=1e-12)


def test_smoothing_keeps_lines_and_calms_noise():
    items = np.arange(1, 2001) * 64.0
    line = 3 + 2e-5 * items
    at = items[200:-400:50]
    np.testing.assert_allclose(curves.smooth(items, line, at), 3 + 2e-5 * at, rtol=2e-3)
    noisy = 3 + RNG.normal(size=2000)
    assert np.std(curves.smooth(items, noisy, at[10:])) < 0.15


def test_history_reads_records_that_have_what_they_have():
    rows = [
        {"items": 64, "loss": 2.0, "seconds": 1.0},
        {"items": 64, "held_loss": 1.9},
        {"items": 128, "loss": 1.5, "seconds": 2.0, "held_loss": None},
    ]
    read = curves.History.of(rows)
    assert list(read.items) == [64, 128]
    assert list(read.seconds) == [1, 2]
    assert list(read.held_items) == [64]
    assert list(read.held) == [1.9]


@pytest.mark.parametrize("order", [1.0, 2.0, 3.5])
def test_the_order_shown_is_the_slope(order):
    n = 2.0 ** np.arange(1, 8)
    assert errors.slope(n, 7 * n**-order) == pytest.approx(order)


def test_a_plan_shows_all_its_numbers_and_no_columns_of_zeros():
    made = plan(same=False)
    groups = plans.table(made)
    assert [(name, columns) for name, columns, _ in groups] == [
        ("keep", ["x₀"]),
        ("new base", ["base", "m0", "m2"]),
        ("next question", ["base", "m0", "m2"]),
    ]
    np.testing.assert_array_equal(groups[1][2], made.base[:, [0, 1, 3]])
    assert len(plans.table(plan())) == 2
    texts = [text.get_text() for text in plans.plan(made).axes[0].texts]
    assert f"{made.base[2, 1]:.3f}".replace("-", "−") in texts


@pytest.mark.parametrize(
    ("value", "spread", "wanted"),
    [
        (0.5634, 0.0142, "0.563 ± 0.014"),
        (0.9681, 0.0063, "0.968 ± 0.006"),
        (17.28, None, "17.3"),
        (540.2, 31.0, "540 ± 31"),
        (0.98, 0.0, "0.980"),
        (0.0, None, "0.00"),
        (-0.5, 0.1, "−0.50 ± 0.10"),
        (None, None, "–"),
    ],
)
def test_a_figure_has_the_digits_that_its_spread_allows(value, spread, wanted):
    assert words.figure_of(value, spread) == wanted


# --- the page ----------------------------------------------------------------------------------------------

EVIL = '<script src="https://evil.example/x.js">alert(1)</script>&"\'{style}'


def whole(text="plain"):
    points = RNG.normal(size=(3, 40, 2))
    return html.Report(
        title=text,
        verdict=text,
        measures=[
            Measure(
                name=text,
                value=0.5,
                spread=0.01,
                floor=0.4,
                floor_spread=0.02,
                draws=5,
                count=540,
                better="half",
                protocol=text,
            )
        ],
        facts={text: text},
        samples={text: digits(3), "b": digits(3)},
        cloud=html.Cloud(points[0], points[1]),
        trajectory=html.Trajectory([1, 0.5, 0], [digits(4) for _ in range(3)], None, None, text),
        neighbours=[html.Neighbour(*digits(2), 3.25, text)],
        near=text,
        history=HISTORY,
        levels=LEVELS,
        recipe=text,
        commands=[(text, text)],
    )


@pytest.fixture(scope="module")
def evil():
    return html.page(whole(EVIL))


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "source", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_escapes_all_that_it_is_told(evil):
    text, read = evil, Reader(evil)
    assert not read.open, "a tag is left open"
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert "evil.example/x.js" in text, "the words themselves are shown"
    assert not [entry for entry in read.attributes if entry[1].startswith("on")]
    addresses = [value for _, name, value in read.attributes if name in ("src", "srcset", "href")]
    assert len(addresses) > 8
    assert all(value.startswith("data:image/") for value in addresses)
    assert "url(" not in text
    assert "@import" not in text
    for value in addresses:
        kind, data = re.fullmatch(r"data:(image/[a-z+]+);base64,(\S+)", value).groups()
        raw = base64.b64decode(data)
        if kind == "image/svg+xml":
            assert not re.search(rb'(?:href|src)="(?!#|data:)', raw)
            assert b"<script" not in raw
        else:
            Image.open(io.BytesIO(raw)).verify()
    images = [[a for a in read.attributes if a[0] == "img" and a[1] == name] for name in ("src", "alt", "width")]
    assert len(images[0]) == len(images[1]) == len(images[2])
    assert all(alt for _, _, alt in images[1])
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_the_film_on_the_page_has_a_frame_for_each_row():
    text = html.page(html.Report("t", "v", trajectory=whole().trajectory))
    found = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert sorted(films.frames_in(base64.b64decode(data)) for data in found) == [1, 3]


def test_missing_sections_leave_no_trace(evil):
    bare = html.page(html.Report("digits", "It is good."))
    assert "<section" not in bare
    assert "None" not in bare
    body = Reader(bare)
    assert body.tags.count("h1") == 1
    assert evil.count("<section>") == 8
    assert evil.index('<p class="verdict">') < evil.index("<section>"), "the verdict comes first"
    with pytest.raises(ValueError, match="title and a verdict"):
        html.page(html.Report("digits", ""))


def test_a_report_is_a_file(tmp_path):
    path = html.save(html.Report("digits", "It is good."), tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_measure_is_never_a_bare_number(evil):
    row = re.search(r"<tr><th scope=\"row\">(?!measure).*?</tr>", evil).group()
    for told in ("0.500 ± 0.010", "0.400 ± 0.020", "5 × 540", "0.5 is best", "indistinguishable"):
        assert told in row
    assert words.called("label_accuracy") == "Label accuracy"
    assert words.called("near_copies") == "Near-copies"
    assert words.count_of(12345) == "12\u202f345"


def test_a_cloud_of_other_dimension_is_refused():
    with pytest.raises(ValueError, match=r"\(N, 2\), got \(5, 3\) for 'a'"):
        panels.clouds({"a": np.zeros((5, 3))}, "t")
