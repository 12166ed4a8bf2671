"""The page beside a training, in a thread of its own: it watches, and draws nothing."""

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import uvicorn
from fastapi import FastAPI

from unnoise.serve import studio
from unnoise.serve.answers import Json
from unnoise.serve.app import answer_errors
from unnoise.serve.guard import Guard
from unnoise.serve.keys import Keys
from unnoise.serve.metrics import Metrics
from unnoise.serve.rates import Rates
from unnoise.serve.settings import Settings, version


def create(folder: Path) -> FastAPI:
    """The page over a run under training and those that lie beside it."""
    app = FastAPI(title="unnoise", version=version(), default_response_class=Json, docs_url=None, redoc_url=None)
    settings = Settings()
    app.state.keys, app.state.rates = Keys(None), Rates(1e6, 1e6)
    app.add_middleware(Guard, settings=settings, keys=app.state.keys, metrics=Metrics(), logged=False)
    answer_errors(app)
    studio.attach(app, {folder.resolve().name: folder}, local=True, draws=False)
    return app


@contextmanager
def watched(folder: Path) -> Generator[str]:
    """The page's address, on this machine alone, while the block lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create(folder), log_config=None, access_log=False, ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, args=([bound],), name="page", daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/#watch/{folder.resolve().name}"
        finally:
            server.should_exit = True
            thread.join(2.0)


__all__ = ["create", "watched"]
