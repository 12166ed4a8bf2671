"""The page does what it says, in a browser: every flow, no error, no other host asked, nothing serious for axe-core."""

import io
import json
import zipfile

import numpy as np
import PIL.Image
import pytest
from serving import copied, trained
from studio import chromium, live, serious, visit

import unnoise as un
from unnoise.distill import Tuned
from unnoise.distill.race import Untuned
from unnoise.distill.shelf import Shelf
from unnoise.report import grids
from unnoise.serve import static


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = trained(tmp_path_factory.mktemp("runs") / "digits")
    for items in (128, 256):
        grids.save(np.full((8, 8), items // 2, np.uint8), run.folder / "samples" / f"{items:012d}.png")
    return run


@pytest.fixture(scope="module")
def server(browser, run, tmp_path_factory):
    with live(tmp_path_factory.mktemp("data"), run.folder) as server:
        yield server


def count(page, selector, number):
    """Waits until there are so many."""
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_count(number)


def go(page, view):
    page.click(f"#views a:has-text('{view}')")
    page.wait_for_selector(f"#view-{view.lower()}")


def draw(page):
    """Presses Draw and waits until all stands."""
    page.click("#view-draw button.draw")
    stands(page)


def stands(page):
    page.wait_for_selector("#view-draw .stage-head :text('drawn in')")


def shown(page, selector="#view-draw .tile img"):
    """The pictures on the page, as numbers."""
    sources = page.eval_on_selector_all(selector, "all => all.map(one => one.src.split(',')[1])")
    return [np.asarray(picture(source)) for source in sources]


def picture(letters):
    import base64

    return PIL.Image.open(io.BytesIO(base64.b64decode(letters))).convert("L")


def slide(page, view, value):
    """Moves the slider of the steps to its n-th stop."""
    page.wait_for_selector(f"#view-{view} input[type=range][aria-valuetext$=steps]")
    page.eval_on_selector(
        f"#view-{view} input[type=range][aria-valuetext$=steps]",
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})) }",
        value,
    )


def test_no_part_of_the_page_names_another_host_or_stands_in_line():
    """Strict rules need no exception: no inline script or style, and nothing from elsewhere."""
    for name, path in static.files().items():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, name
        assert "https://" not in text, name
        if name.endswith(".html"):
            assert " style=" not in text
            assert " on" not in text.replace(" one", "").partition("<body>")[2].partition("<noscript>")[0], name
    assert "unsafe" not in static.RULES["content-security-policy"]
    assert "script-src 'self'" in static.RULES["content-security-policy"]


def test_a_first_visit_is_told_in_three_sentences_and_draws(browser, server, run):
    with visit(browser, server.url, met=False) as page:
        page.wait_for_selector(".welcome")
        assert page.locator(".welcome p").count() == 3
        page.click(".welcome button")
        draw(page)
        assert "Draw" in page.title()
        pictures = shown(page)
        labels = [i % 10 for i in range(16)]
        wanted = run.sample(seeds=range(7, 23), label=labels)
        assert all(np.array_equal(a, np.asarray(b.convert("L"))) for a, b in zip(pictures, wanted, strict=True))
        assert "drawn" in page.inner_text("#live")  # told to who does not see it
        page.reload()
        page.wait_for_selector("#view-draw")
        assert page.locator(".welcome").count() == 0


def test_samples_form_and_a_drawing_is_cancelled(browser, server):
    with visit(browser, server.url) as page:
        page.fill("#view-draw input[aria-label='Steps, as a number']", "1000")
        page.dispatch_event("#view-draw input[aria-label='Steps, as a number']", "change")
        page.get_by_label("How many").first.select_option("64")
        page.click("#view-draw button.draw")
        page.wait_for_selector(".tile.forming img[src]")  # a belief, long before the end
        assert page.inner_text("#view-draw button.draw") == "Cancel"
        first = page.get_attribute(".tile img >> nth=0", "src")
        page.wait_for_selector(f".tile:first-child img:not([src='{first}'])")  # the next belief
        page.keyboard.press("Escape")
        page.wait_for_selector("text=Cancelled")
        assert page.inner_text("#view-draw button.draw") == "Draw"
        for _ in range(100):
            (job, *_) = page.evaluate("fetch('v1/jobs').then(one => one.json())")["data"]
            if job["status"] == "cancelled":
                break
            page.wait_for_timeout(50)
        assert job["status"] == "cancelled"


@pytest.mark.slow
def test_the_slider_of_steps_keeps_the_seed(browser, server):
    """The same noise at 10 and at 15 steps: each picture is nearer to itself than to any other."""
    with visit(browser, server.url) as page:
        slide(page, "draw", 8)
        draw(page)
        first = np.stack(shown(page)).astype(float)
        slide(page, "draw", 10)
        page.wait_for_selector(".tile.forming")
        stands(page)
        assert "seeds 7 to 22" in page.inner_text("#view-draw .line")
        second = np.stack(shown(page)).astype(float)
        apart = np.square(first[:, None] - second[None]).mean(axis=(2, 3))
        assert (apart.argmin(axis=1) == np.arange(16)).all()


def test_what_is_kept_survives_and_is_found(browser, server, tmp_path):
    with visit(browser, server.url) as page:
        draw(page)
        page.keyboard.press("k")
        page.wait_for_selector(".toast:has-text('Kept 16')")
        go(page, "Keep")
        page.wait_for_selector(".kept li")
        page.reload()
        page.wait_for_selector(".kept li")
        assert page.locator(".kept li").count() == 16
        page.fill("input[type=search]", "label=3")
        count(page, ".kept li", 2)
        page.locator(".star").first.click()
        page.fill("input[type=search]", "")
        page.click("text=Favourites")
        count(page, ".kept li", 1)
        with page.expect_download() as download:
            page.click("text=Save zip")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert archive.testzip() is None
            (name,) = archive.namelist()
            told = grids.settings(archive.read(name))
            assert told["label"] == "3"
            kept = tmp_path / name
            kept.write_bytes(archive.read(name))
        page.locator(".kept .tile").click()
        page.click("dialog >> text=Delete")
        page.wait_for_selector("text=Nothing kept is like that")
        page.click(".toast >> text=Undo")
        count(page, ".kept li", 1)
        assert page.locator(".star[aria-pressed=true]").count() == 1
    with visit(browser, server.url) as page:  # another visitor: the picture alone says how it was made
        drop(page, kept)
        stands(page)
        assert page.input_value("#view-draw input.seed") == str(told["seed"])
        assert page.locator("#view-draw .chip input:checked + span").inner_text() == "3"
        assert np.array_equal(shown(page)[0], np.asarray(PIL.Image.open(kept).convert("L")))


def drop(page, path):
    """A file dropped on the page, as a person would."""
    handle = page.evaluate_handle(
        """([bytes, name]) => {
            const given = new DataTransfer();
            given.items.add(new File([Uint8Array.from(bytes)], name, {type: "image/png"}));
            return given;
        }""",
        [list(path.read_bytes()), path.name],
    )
    page.wait_for_selector("#view-draw, #view-keep")
    page.dispatch_event("main", "drop", {"dataTransfer": handle})


@pytest.mark.slow
def test_a_seed_of_twenty_digits_comes_back_whole(browser, server, run, tmp_path):
    seed = 2**64 - 3
    path = tmp_path / "long.png"
    path.write_bytes(grids.png(run.recipe.modality.show(run.sample(seeds=[seed], raw=False))[0], {"seed": seed}))
    with visit(browser, server.url) as page:
        drop(page, path)
        stands(page)
        assert page.input_value("#view-draw input.seed") == str(seed)
        wanted = run.sample(seeds=[seed])[0].convert("L")
        assert np.array_equal(shown(page)[0], np.asarray(wanted))


@pytest.mark.slow
def test_a_grid_compares_by_equal_seeds(browser, server, run):
    with visit(browser, server.url) as page:
        go(page, "Compare")
        page.fill("input[aria-label='Values across']", "2 5")
        page.dispatch_event("input[aria-label='Values across']", "change")
        page.fill("input[aria-label='Values down']", "ddim heun")
        page.dispatch_event("input[aria-label='Values down']", "change")
        page.click("#view-compare button.draw")
        page.wait_for_selector("#view-compare .line:has-text('4 cells')")
        found = shown(page, ".compare img")
        ways = [(sampler, steps) for sampler in ("ddim", "heun") for steps in (2, 5)]
        for (sampler, steps), one in zip(ways, found, strict=True):
            wanted = run.sample(seeds=[7], sampler=sampler, steps=steps)[0].convert("L")
            assert np.array_equal(one, np.asarray(wanted)), (sampler, steps)
        page.fill("input[aria-label='Values down']", "ddmi")
        page.dispatch_event("input[aria-label='Values down']", "change")
        page.click("#view-compare button.draw")
        page.wait_for_selector("text=“ddmi” is no sampler")


@pytest.mark.slow
def test_it_is_shown_why(browser, server, run):
    """The sentence says the number that algebra gives, and the slider goes from noise to the sample itself."""
    with visit(browser, server.url) as page:
        draw(page)
        page.locator(".tile").nth(3).click()
        page.click("dialog >> text=Understand")
        page.wait_for_selector("#panel-near figure")
        page.wait_for_selector("#panel-way .slide")
        page.wait_for_selector("#panel-error svg")
        plan = run.plan()
        assert f"With {plan.rows} evaluations" in page.inner_text("#panel-error")
        assert page.locator("#panel-plan tbody tr").count() == plan.rows
        page.wait_for_selector("#panel-schedule svg")
        sample = picture(page.eval_on_selector("#panel-way img", "one => one.src.split(',')[1]"))
        assert (
            np.abs(np.asarray(sample).astype(int) - np.asarray(run.sample(seeds=[10], label=3)[0]).astype(int)).max()
            < 2
        )
        page.eval_on_selector(
            "#panel-way input", "one => { one.value = 0; one.dispatchEvent(new Event('input', {bubbles: true})) }"
        )
        assert "Question 1: t = 1" in page.inner_text("#panel-way output")
        assert page.locator("#panel-near figure").count() == 7


def test_a_painted_region_is_drawn_anew_and_the_rest_kept(browser, server):
    with visit(browser, server.url) as page:
        draw(page)
        first = shown(page)[0]
        page.locator(".tile").first.click()
        page.click("dialog >> text=Inpaint")
        board = page.wait_for_selector("canvas.board").bounding_box()
        cell = board["width"] / 8
        page.mouse.move(board["x"] + 0.5 * cell, board["y"] + 6.5 * cell)
        page.mouse.down()
        page.mouse.move(board["x"] + 7.5 * cell, board["y"] + 6.5 * cell, steps=12)
        page.mouse.up()
        page.click("#view-inpaint button.draw")
        page.wait_for_selector("#view-inpaint >> text=6 drawn in")
        found = np.stack(shown(page, "#view-inpaint .stage-place .tile img"))
        assert (np.delete(found, 6, axis=1) == np.delete(first, 6, axis=0)).all()
        assert (found[:, 6] != first[6]).any()
        page.focus("canvas.board")  # and without a pointer: the middle, then one up
        page.click("#view-inpaint >> text=Clear")
        assert page.is_disabled("#view-inpaint button.draw")
        page.click("#view-inpaint >> text=the whole, by strength")
        page.eval_on_selector(
            "#view-inpaint input[max='1']",
            "one => { one.value = 0.35; one.dispatchEvent(new Event('input', {bubbles: true})) }",
        )
        page.click("#view-inpaint button.draw")
        page.wait_for_selector("#view-inpaint >> text=6 drawn in")
        near = np.stack(shown(page, "#view-inpaint .stage-place .tile img")).astype(float)
        assert np.abs(near - first).mean() < 0.7 * np.abs(found.astype(float)[:, ::-1] - first).mean()
        page.click("#view-inpaint >> text=a region")
        page.focus("canvas.board")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Space")
        assert page.is_enabled("#view-inpaint button.draw")


def test_a_training_is_watched(browser, server, run):
    with visit(browser, server.url + "/#watch") as page:
        page.wait_for_selector("#view-watch .film img[src]")
        assert "finished" in page.inner_text(".run")
        assert "Finished: 256 items" in page.inner_text("#view-watch .line")
        assert "after 256 items" in page.inner_text("#view-watch output >> nth=-1")
        assert page.locator("#view-watch .advice").count() >= 1


@pytest.mark.slow
def test_a_server_that_is_lost_is_missed_and_found_again(browser, run, tmp_path):
    mistakes = ("ERR_", "Failed to load")
    with live(tmp_path / "data", run.folder) as server, visit(browser, server.url, mistakes=mistakes) as page:
        draw(page)
        page.keyboard.press("k")
        page.wait_for_selector(".toast")
        page.context.set_offline(True)
        page.click("#view-draw button.draw")
        page.wait_for_selector("#offline:visible")
        assert "unnoise serve" in page.inner_text("#offline")
        page.context.set_offline(False)
        page.wait_for_selector("#offline", state="hidden")
        page.click("#view-draw >> text=Try again")
        stands(page)


@pytest.mark.slow
def test_a_mistake_is_told_with_what_to_do(browser, server):
    with visit(browser, server.url, mistakes=("400", "422")) as page:
        page.click("#view-draw summary")
        page.fill("#view-draw input[placeholder='eta=0.5']", "etta=1")
        page.dispatch_event("#view-draw input[placeholder='eta=0.5']", "change")
        page.click("#view-draw button.draw")
        page.wait_for_selector(".card.failed")
        said = page.inner_text(".card.failed")
        assert "etta" in said
        assert "Change the setting" in said


@pytest.mark.slow
def test_a_key_is_asked_for_and_remembered(browser, run, tmp_path):
    from unnoise.serve.keys import make

    key = make(tmp_path / "keys.txt", "somebody")
    server = live(tmp_path / "data", run.folder, keys=tmp_path / "keys.txt")
    with server as server, visit(browser, server.url, mistakes=("401",)) as page:
        page.fill("#key", "un-wrong")
        page.click("dialog >> button.primary")
        page.wait_for_selector("text=That key does not fit")
        page.fill("#key", key)
        page.click("dialog >> button.primary")
        draw(page)
        page.reload()
        draw(page)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_nothing_serious_for_axe(browser, server, theme, width):
    how = {"color_scheme": theme, "viewport": {"width": width, "height": 840}, "reduced_motion": "reduce"}
    with visit(browser, server.url, met=False, **how) as page:
        page.wait_for_selector(".welcome")
        assert serious(page) == {}
        page.click(".welcome button")
        draw(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert serious(page) == {}
        page.keyboard.press("k")
        page.locator(".tile").first.click()
        page.wait_for_selector("dialog")
        assert serious(page) == {}
        page.click("dialog >> text=Understand")
        page.wait_for_selector("#panel-near figure")
        page.wait_for_selector("#panel-plan tbody")
        count(page, "[aria-busy=true]", 0)
        assert serious(page) == {}
        for view, there in (("Compare", ".empty"), ("Keep", ".kept li"), ("Inpaint", ".empty"), ("Watch", "svg")):
            go(page, view)
            page.wait_for_selector(f"#view-{view.lower()} {there}")
            page.wait_for_timeout(200)
            assert serious(page) == {}, view
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        page.keyboard.press("?")
        page.wait_for_selector("dialog")
        assert serious(page) == {}


@pytest.mark.slow
def test_the_first_preview_comes_within_a_second(browser, tmp_path):
    """Of the digits' own network, sixteen at a time; the second draw, as the first has the model loaded."""
    run = un.fit("digits", tmp_path / "digits", "train.items=256", "train.checkpoint_every=256", "train.sample_every=0")
    with live(tmp_path / "data", run.folder, preview=0.1, places=None) as server, visit(browser, server.url) as page:
        times = []
        for _ in range(4):
            draw(page)
            times.append(float(page.eval_on_selector("#view-draw .stage-place", "one => one.dataset.first")))
        assert min(times[1:]) < 1.0, times


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["classes2d", "wine"])
def test_points_and_tables_are_drawn(browser, tmp_path, recipe):
    run = un.fit(recipe, tmp_path / recipe, "train.items=512", "train.checkpoint_every=512", "train.sample_every=0")
    with live(tmp_path / "data", run.folder, places=None) as server, visit(browser, server.url) as page:
        draw(page)
        if recipe == "wine":
            assert page.locator("table.rows tbody tr").count() == 100
            wanted = run.sample(seeds=[7], label="class_0")[0]
            cells = page.locator("table.rows tbody tr").first.locator("td").all_inner_texts()
            assert np.allclose([float(cell) for cell in cells[1:]], wanted, rtol=1e-3)
        else:
            assert "256 drawn points" in page.get_attribute("canvas.cloud", "aria-label")
        with page.expect_download() as download:
            page.click("text=Save CSV")
        lines = download.value.path().read_text().splitlines()
        assert len(lines) == 257
        assert serious(page) == {}
        page.click("#view-draw .stage-head >> text=Understand")
        page.wait_for_selector("#panel-near table")
        assert serious(page) == {}
        go(page, "Inpaint")
        page.wait_for_selector("text=draws no pictures")


def test_settings_are_read_as_the_library_writes_them(browser, server):
    """PNG text, archives and arrays: what the page's own readers make of files that other programs wrote."""
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    file = io.BytesIO()
    np.save(file, numbers)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.npy", file.getvalue())
        archive.writestr("b/ü.txt", "hello")
    made = grids.png(np.zeros((2, 2), np.uint8), {"seed": 2**64 - 1, "deep": {"a": [1, 2]}, "word": "ü"})
    with visit(browser, server.url) as page:
        page.wait_for_selector("#view-draw")
        told = page.evaluate(
            """async ([png, whole]) => {
                const files = await import("/page/js/files.js");
                const found = files.unzip(Uint8Array.from(whole));
                const {shape, values} = files.npy(found.get("a.npy"));
                const again = new Uint8Array(await files.zip([...found]).arrayBuffer());
                return {told: files.settingsOf(Uint8Array.from(png)), shape, values, names: [...found.keys()],
                        none: files.settingsOf(Uint8Array.from([1, 2, 3])), again: [...again]};
            }""",
            [list(made), list(whole.getvalue())],
        )
    assert told["told"] == {"seed": str(2**64 - 1), "deep": {"a": [1, 2]}, "word": "ü"}
    assert told["shape"] == [2, 3]
    assert np.array_equal(np.array(told["values"], np.float32), numbers.ravel())
    assert told["none"] is None
    with zipfile.ZipFile(io.BytesIO(bytes(told["again"]))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == told["names"] == ["a.npy", "b/ü.txt"]
        assert archive.read("b/ü.txt") == b"hello"
    assert json.dumps(told["told"])


def say(page, field, words):
    """Writes into a field of the drawing's settings and leaves it, as a person does."""
    page.locator("#view-draw").get_by_label(field, exact=True).fill(words)
    page.keyboard.press("Tab")


@pytest.fixture(scope="module")
def tuned(run, tmp_path_factory):
    """A run with plans of three and of five evaluations, tuned for a guidance of 1 to 3."""
    folder = copied(run.folder, tmp_path_factory.mktemp("tuned") / "digits")
    opened = un.open(folder)
    for evaluations in (3, 5):
        plan = opened.plan("dpmpp_2m", evaluations)
        made = Tuned(plan, Untuned("dpmpp_2m", "karras", evaluations, plan, 1.0), 0.4, 1.0, (1.0, 0.4), (1.0, 3.0), 64)
        Shelf(folder, opened.weights).put(made)
    return un.open(folder)


@pytest.mark.slow
def test_a_tuned_plan_is_chosen_and_looked_into(browser, tuned, tmp_path):
    with live(tmp_path / "data", tuned.folder, places=16) as server, visit(browser, server.url) as page:
        draw(page)  # the model is at hand now, and says what was tuned to it
        page.reload()
        page.select_option("#view-draw select:has(option[value=tuned])", "tuned")
        page.wait_for_selector("#view-draw div.field:has-text('Evaluations')")
        assert page.locator("#view-draw option:has-text('of dpmpp_2m’s error')").count() == 2
        page.select_option("#view-draw div.field:has-text('Evaluations') select", "3")
        draw(page)
        assert "tuned, 3 evaluations" in page.inner_text("#view-draw .line")
        seed = int(page.input_value("#view-draw input.seed"))
        wanted = tuned.sample(seeds=range(seed, seed + 16), label=[i % 10 for i in range(16)], sampler="tuned",
                              evaluations=3)  # fmt: skip
        assert all(np.array_equal(a, np.asarray(b.convert("L"))) for a, b in zip(shown(page), wanted, strict=True))
        page.locator("#view-draw .tile").first.click()
        assert "--sampler tuned --evaluations 3" in page.inner_text("dialog")
        page.click("dialog >> text=Understand")
        page.wait_for_selector("#panel-schedule :text('tuned to the run: 3 evaluations')")
        page.wait_for_selector("#panel-error :text('With 3 evaluations tuned misses')")
        page.wait_for_selector("#panel-near figure")
        assert serious(page) == {}


@pytest.mark.slow
def test_a_model_hears_words_and_labels(browser, tmp_path):
    """What stands in the fields is what is drawn by: the pictures are the library's own for the same words."""
    heard = ("conditions={text: words, colour: labels}", "net.widths=[8,16]", "net.blocks=1", "net.attention=[1]",
             "net.head_width=16", "data.objects=1", "data.items=400", "data.held_out=100", "train.items=64",
             "train.batch=32", "train.ema=[0.1]", "train.checkpoint_every=64", "train.warmup=32",
             "sample={sampler: heun, steps: 3, guidance: 2}")  # fmt: skip
    run = un.fit("scenes", tmp_path / "scenes", *heard)
    with (
        live(tmp_path / "data", run.folder, places=16) as server,
        visit(browser, server.url, mistakes=("400", "422")) as page,
    ):
        page.wait_for_selector("#view-draw div.field:has-text('Prompt')")
        page.uncheck("#view-draw label.check input")
        page.select_option("#view-draw div.field:has-text('How many') select", "4")
        say(page, "Prompt", "a red circle")
        say(page, "colour", "red")
        draw(page)
        seed = int(page.input_value("#view-draw input.seed"))
        told = {"text": "a red circle", "tell": {"colour": ["red"]}}
        wanted = run.sample(seeds=range(seed, seed + 4), **told)
        assert all(np.array_equal(a, np.asarray(b.convert("L"))) for a, b in zip(shown(page), wanted, strict=True))
        page.locator("#view-draw .tile").first.click()
        assert "a red circle" in page.inner_text("dialog")
        assert "red" in page.inner_text("dialog")
        page.keyboard.press("Escape")
        assert serious(page) == {}
        say(page, "Prompt", "a zebra of nine colours")
        page.click("#view-draw button.draw")
        page.wait_for_selector("#view-draw .failed :text('zebra')")  # a word that was never read
        say(page, "Prompt", "a red circle")
        say(page, "colour", "mauve")
        page.click("#view-draw button.draw")
        page.wait_for_selector("#view-draw .failed :text('mauve')")


@pytest.mark.slow
def test_a_model_hears_numbers(browser, tmp_path):
    run = un.fit("shapes-told", tmp_path / "shapes", "net.widths=[8,16]", "data.items=400", "data.held_out=100",
                 "train.items=64", "train.batch=32", "train.ema=[0.1]", "train.checkpoint_every=64", "train.warmup=32",
                 "sample={sampler: heun, steps: 3}")  # fmt: skip
    with (
        live(tmp_path / "data", run.folder, places=16) as server,
        visit(browser, server.url, mistakes=("400", "422")) as page,
    ):
        page.wait_for_selector("#view-draw div.field:has-text('position')")
        page.uncheck("#view-draw label.check input")
        page.click("#view-draw .chip:has-text('square')")
        page.select_option("#view-draw div.field:has-text('How many') select", "4")
        say(page, "size", "0.5")
        say(page, "position", "0.3, *")
        draw(page)
        seed = int(page.input_value("#view-draw input.seed"))
        wanted = run.sample(seeds=range(seed, seed + 4), label="square", tell={"size": 0.5, "position": [0.3, None]})
        assert all(np.array_equal(a, np.asarray(b.convert("L"))) for a, b in zip(shown(page), wanted, strict=True))
        page.reload()  # what was told is remembered
        page.wait_for_selector("#view-draw div.field:has-text('position')")
        assert page.locator("#view-draw div.field:has-text('position') input").input_value() == "0.3, *"
        say(page, "size", "large")
        page.click("#view-draw button.draw")
        page.wait_for_selector("#view-draw .failed :text('size')")
        assert serious(page) == {}
