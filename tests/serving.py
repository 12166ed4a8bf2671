"""A small run that is served, in this process."""

import atexit
import contextlib
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import unnoise as un

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
    from starlette.testclient import TestClient

    from unnoise.serve.app import create
    from unnoise.serve.settings import Settings

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


def finished(server: Process, job: str, patience: float = 120.0) -> bytes:
    """The archive of a job, when it is done."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        status, body = server.ask("GET", f"/v1/jobs/{job}")
        assert status in (0, 200, 429), body  # 429: asked more often than one may
        if status == 200 and json.loads(body)["status"] not in ("queued", "running"):
            assert json.loads(body)["status"] == "done", body
            status, data = server.ask("GET", f"/v1/jobs/{job}/result?format=zip")
            assert status in (200, 429), data
            if status == 200:
                return data
        time.sleep(0.05)
    raise AssertionError(f"job {job} is not done after {patience} s")


def asked(number: int) -> dict:
    """The request of a number: every one another, in what it asks and in how long it takes."""
    sampler = ("ddim", "heun", "ddpm", "dpmpp_2m_sde")[number % 4]
    return {"sampler": sampler, "steps": 5 + 7 * (number % 9), "seeds": [number, number + 1000], "label": number % 10,
            "guidance": (1, 3, "apg weight=4")[number % 3], "deadline": 3000}  # fmt: skip


def struck(folder: Path, run: Path, kills: int, seed: int = 0, said=print) -> dict:
    """A server killed so many times at random instants under load, then each accepted job again on a calm one.

    Raises where one was lost or differs by a byte. How many were accepted, and where each kill found them.
    """
    chance, accepted, found, number, refused = random.Random(seed), {}, [], 0, 0
    for _ in range(kills):
        server, before = Process(folder / "data", run), len(accepted)
        begun, until = time.monotonic(), None  # struck some time after it has begun to draw what was left, too
        while until is None or time.monotonic() < until:
            if until is None and server.ask("GET", "/readyz")[0] == 200:
                until = time.monotonic() + chance.uniform(0.1, 3.0)
            status, body = server.ask("POST", "/v1/jobs", asked(number))
            assert status in (202, 429), body
            if status == 202:
                accepted[json.loads(body)["id"]] = number
            refused += status == 429
            number += 1
            time.sleep(chance.expovariate(20))
        jobs = json.loads(server.ask("GET", "/v1/jobs?limit=200")[1])["data"]
        states = [job["status"] for job in jobs]
        server.kill()
        found.append({"seconds": round(time.monotonic() - begun, 3), "accepted": len(accepted) - before,
                      **{state: states.count(state) for state in ("queued", "running", "done")}})  # fmt: skip
        said(found[-1])
    server = Process(folder / "data", run)
    made = {number: finished(server, job, 900) for job, number in accepted.items()}
    server.stop()
    (folder / "calm").mkdir()  # the class of bits that was found there, whatever a busy moment would find
    (folder / "calm" / "bits.json").write_bytes((folder / "data" / "bits.json").read_bytes())
    calm = Process(folder / "calm", run)
    for number, data in made.items():
        status, body = calm.ask("POST", "/v1/jobs?wait=true", asked(number))
        assert status == 200, body
        assert finished(calm, json.loads(body)["id"]) == data, number
    calm.stop()
    return {"kills": found, "accepted": len(accepted), "refused": refused, "done": len(made), "identical": len(made)}
