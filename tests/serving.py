"""A small run that is served, in this process."""

import contextlib
import shutil
from pathlib import Path

from starlette.testclient import TestClient

import unnoise as un
from unnoise.serve.app import create
from unnoise.serve.settings import Settings

TINY = (
    "net.widths=[8,16]",
    "train.items=256",
    "train.ema=[0.1]",
    "train.batch=32",
    "train.warmup=64",
    "train.checkpoint_every=256",
    "sample={sampler: heun, steps: 3}",
)
SOON = {"watch": 0.2, "preview": 0.0, "patience": 5.0, "places": 16}


def trained(folder: Path, *changes: str):
    """A run of digits that has seen little: good for all but its pictures."""
    return un.fit("digits", folder, *TINY, *changes)


@contextlib.contextmanager
def served(data: Path, *runs: Path, **settings):
    """A client of a server of these runs; its service is at client.app.state.service."""
    app = create({path.name: path for path in runs}, Settings(data=data, **{**SOON, **settings}))
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def copied(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to
