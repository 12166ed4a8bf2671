"""A server's process: the socket, the signals, and what is set for all of it."""

import signal
import socket
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

import PIL.Image
import python_multipart  # noqa: F401  # pyright: ignore[reportUnusedImport] (reads forms, when the first comes)
import torch
import uvicorn

from unnoise.serve import logs
from unnoise.serve.app import create
from unnoise.serve.settings import Settings

BACKLOG = 4096  # connections that wait to be taken: who comes in a crowd is told so, not left without an answer
SWITCH = 0.0005  # seconds: the thread that does the steps waits for Python no longer than this


class _Server(uvicorn.Server):
    """At the first signal streams end and nothing more is accepted; at a second Ctrl-C it stops at once.

    Either way it has done what it was told, so its exit status is 0.
    """

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None]):
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        logs.say("stopping", signal=signal.Signals(sig).name)
        self._drain()
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def serve(
    folders: Mapping[str, Path], settings: Settings, host: str, port: int, told: Callable[[str], None] = print
) -> None:
    """Serves until it is told to stop. port 0: any that is free; told: is given a line with the address."""
    if not settings.apart:
        sys.setswitchinterval(SWITCH)
    warnings.filterwarnings("ignore", module=r"PIL\..*")
    warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
    torch.backends.cudnn.deterministic = True  # the same bits for the same call
    app = create(folders, settings)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)  # who reads the address may ask at once
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, server_header=False, lifespan="on",
            timeout_keep_alive=15, h11_max_incomplete_event_size=1 << 14, http="h11", ws="none",
            timeout_graceful_shutdown=round(settings.patience) + 5, backlog=BACKLOG,
        )  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        told(f"Serving {', '.join(folders)} on http://{shown}:{bound.getsockname()[1]} (Ctrl-C stops)")
        _Server(config, app.state.service.drain).run(sockets=[bound])


__all__ = ["serve"]
