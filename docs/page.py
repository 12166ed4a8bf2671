"""The pictures of docs/page.md: the views of a server's page, in Debian's chromium.

    unnoise serve runs/digits &
    python docs/page.py http://127.0.0.1:8000

The run must have been evaluated, so that there is a verdict to show.
"""

import io
import sys
from pathlib import Path
from statistics import median

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).parent
WIDE, PHONE = (1200, 800), (390, 780)
DRAWS = 9  # of sixteen digits, for the time to the first preview


def visit(browser: Browser, url: str, theme: str, size: tuple[int, int]) -> Page:
    """The page as somebody sees it who was here before."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
    context.add_init_script("localStorage.setItem('unnoise.met', '1')")
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#stage .view")
    return page


def draw(page: Page) -> float:
    """Draws, and says after how many seconds the first belief was seen."""
    page.click("#view-draw button.draw")
    page.wait_for_selector("#view-draw .stage-head :text('drawn in')")
    return float(page.get_attribute("#view-draw .stage-place", "data-first") or "nan")


def go(page: Page, view: str) -> None:
    page.click(f"#views a:has-text('{view}')")
    page.wait_for_selector(f"#view-{view.lower()}")


def paint(page: Page) -> None:
    """A stroke over the fourth sample, and what comes of it."""
    go(page, "Draw")
    page.locator(".tile").nth(3).click()
    page.click("dialog >> text=Inpaint")
    board = page.wait_for_selector("canvas.board").bounding_box() or {}
    across, down = board["width"], board["height"]
    page.mouse.move(board["x"] + 0.2 * across, board["y"] + 0.68 * down)
    page.mouse.down()
    page.mouse.move(board["x"] + 0.8 * across, board["y"] + 0.72 * down, steps=12)
    page.mouse.up()
    page.click("#view-inpaint button.draw")
    page.wait_for_selector("#view-inpaint >> text=6 drawn in")


def compare(page: Page) -> None:
    go(page, "Compare")
    page.click("#view-compare button.draw")
    page.wait_for_selector("#view-compare .line:has-text('16 cells')")


def understand(page: Page) -> None:
    go(page, "Draw")
    page.locator(".tile").nth(3).click()
    page.click("dialog >> text=Understand")
    page.wait_for_selector("#panel-near figure")
    page.wait_for_selector("#panel-schedule svg")
    page.wait_for_timeout(500)
    middle = "one => { one.value = Math.round(0.62 * one.max); one.dispatchEvent(new Event('input')) }"
    page.eval_on_selector("#panel-way input", middle)


def watch(page: Page) -> None:
    go(page, "Watch")
    page.wait_for_selector("#view-watch .film img[src]")
    page.wait_for_timeout(500)


def shot(page: Page) -> Image.Image:
    page.wait_for_timeout(200)
    page.evaluate("document.getElementById('toasts').replaceChildren()")
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def save(image: Image.Image, name: str) -> None:
    image.quantize(128, dither=Image.Dither.NONE).save(DOCS / name, optimize=True)
    print(f"{name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


def beside(images: list[Image.Image], gap: int = 16) -> Image.Image:
    made = Image.new("RGB", (sum(one.width + gap for one in images) - gap, images[0].height), "#808890")
    for i, one in enumerate(images):
        made.paste(one, (i * (one.width + gap), 0))
    return made


def main(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        light, dark = visit(browser, url, "light", WIDE), visit(browser, url, "dark", WIDE)
        draw(light)
        save(shot(light), "page-draw.png")
        draw(dark)
        understand(dark)
        save(shot(dark), "page-understand.png")
        watch(light)
        save(shot(light), "page-watch.png")
        paint(dark)
        save(shot(dark), "page-inpaint.png")
        phone = visit(browser, url, "dark", PHONE)
        draw(phone)
        seen = [shot(phone)]
        phone.keyboard.press("k")
        phone.wait_for_selector(".toast")
        go(phone, "Keep")
        phone.wait_for_selector(".kept li")
        seen.append(shot(phone))
        light_phone = visit(browser, url, "light", PHONE)
        compare(light_phone)
        seen.append(shot(light_phone))
        go(light_phone, "Draw")
        draw(light_phone)
        watch(light_phone)
        seen.append(shot(light_phone))
        save(beside(seen), "page-phone.png")
        go(light, "Draw")
        times = [draw(light) for _ in range(DRAWS)]
        least, most = min(times), max(times)
        print(f"first preview of sixteen: median {median(times):.2f} s, {least:.2f} to {most:.2f}, {DRAWS} draws")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
