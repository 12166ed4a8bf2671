"""The page in a browser: a server in a thread, Debian's Chromium, and what must never happen on any page."""

import contextlib
import shutil
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import uvicorn
from serving import SOON

from unnoise.serve.app import create
from unnoise.serve.settings import Settings

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Live:
    """An application on a free port of this machine, while it runs."""

    def __init__(self, app):
        self.app = app
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=2)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)

    def stop(self):
        self.app.state.service.drain()  # ends the streams of those who listen
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()


@contextlib.contextmanager
def live(data, *runs, **settings):
    server = Live(
        create({path.name: path for path in runs}, Settings(data=data, **{**SOON, "preview": 0.05, **settings}))
    )
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def chromium():
    """Skips, and says why, where there is no browser to test in."""
    api = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
    if CHROMIUM is None:
        pytest.skip("the page's tests need a browser: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def visit(browser, url, met=True, mistakes=(), **how):
    """A new visitor's page. Nobody but the server is asked, and nothing goes wrong but what `mistakes` names."""
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, "accept_downloads": True, **how})
    if met:
        context.add_init_script("localStorage.setItem('unnoise.met', '1')")
    page, asked, wrong = context.new_page(), [], []
    context.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.set_default_timeout(60000)
    page.goto(url)
    try:
        yield page
        hosts = {urlsplit(one).netloc for one in asked if urlsplit(one).scheme not in ("blob", "data")}
        assert hosts == {urlsplit(url).netloc}
        assert [text for text in wrong if not any(known in text for known in mistakes)] == []
    finally:
        context.close()


def serious(page):
    """What axe-core finds on a page that is serious: rule → the elements."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    found = axe.run(page).response["violations"]
    return {
        rule["id"]: [node["html"][:160] + " " + node["failureSummary"][:200] for node in rule["nodes"][:3]]
        for rule in found
        if rule["impact"] in ("serious", "critical")
    }
