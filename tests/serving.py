"""A small run that is served, in this process."""

import atexit
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
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


class Process:
    """`unnoise serve` as a process of its own, on a free port; it ends with the test's process at the latest."""

    def __init__(self, data: Path, *runs: Path, options: tuple[str, ...] = ()):
        words = [sys.executable, "-m", "unnoise", "serve", *map(str, runs), "--port", "0", "--data", str(data),
                 "--device", "cpu", "--threads", "1", *options]  # fmt: skip
        self.log = open(data.with_suffix(".log"), "ab")  # noqa: SIM115
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=self.log, text=True)
        atexit.register(self.child.kill)
        line = self.child.stdout.readline()
        assert " on http://" in line, data.with_suffix(".log").read_text()[-2000:]
        self.url = line.split(" on ")[1].split()[0]

    def ask(self, method: str, path: str, body=None, timeout: float = 60.0) -> tuple[int, bytes]:
        """Status and body of an answer; 0 where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except (urllib.error.URLError, ConnectionError, http.client.HTTPException, TimeoutError):
            return 0, b""

    def kill(self) -> None:
        """As the power does it, but for the disk's own cache."""
        self.child.kill()
        self.close()

    def stop(self) -> int:
        """As a service manager does it; the exit status."""
        self.child.terminate()
        return self.close()

    def close(self) -> int:
        status = self.child.wait(60)
        self.child.stdout.close()
        self.log.close()
        return status

    @property
    def memory(self) -> int:
        """Bytes of it that are in memory, on Linux."""
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
