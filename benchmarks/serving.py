"""Requests at random times: unnoise's shared steps, one request at a time, and LitServe around diffusers' pipeline.

Open loop: arrivals are a Poisson process whose rate does not wait for answers, at shares of the capacity, which is what
the network alone does at its best batch on an idle machine: the ceiling. It is measured before and after every cell,
for machines change their pace, and the mean of the two is what the cell is compared with. All three serve the same
network, on the same thread, behind HTTP on this machine, where who asks takes processor time too. Requests ask for one
sample, by one of so many settings.

    python serving.py [--seconds 12] [--loads 0.2,0.5,0.8,1,2,10] [--mixes 1,4,16] [--rivals unnoise,one,litserve]
    python serving.py --quick   # a minute and a half: that all three answer

It takes 22 minutes of a quiet machine. A run that was interrupted goes on where it stood: what is in the results is not
measured again, unless --afresh.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import RESULTS, machine, save

HERE = Path(__file__).parent
WIDTHS = "[64,128]"  # of the U-Net: a millisecond a row, so that the network is what is measured
DEADLINE = 10.0  # seconds, for all rivals
LOADS, MIXES, RIVALS = (0.2, 0.5, 0.8, 1.0, 2.0, 10.0), (1, 4, 16), ("unnoise", "one", "litserve")
SETTINGS = {  # (sampler, steps), of 20 steps on average
    1: [("dpmpp_2m", 20)],
    4: [(sampler, steps) for sampler in ("ddim", "dpmpp_2m") for steps in (12, 28)],
    16: [(sampler, steps) for sampler in ("ddim", "dpmpp_2m") for steps in (6, 10, 14, 18, 22, 26, 30, 34)],
}
READY = 120.0


def train(folder: Path, widths: str = WIDTHS) -> Path:
    """A run whose network is of the size that is served; what it has learned does not matter here."""
    import unnoise as un

    if not (folder / "recipe.yaml").exists():
        un.fit("digits", folder, f"net.widths={widths}", "train.items=256", "train.ema=[0.1]")
    return folder


def ceiling(run: Path, seconds: float = 2.0) -> dict[str, Any]:
    """Rows a second of the network alone, at each batch and at the best; the best of several bouts in turn."""
    code = (
        "import sys, time, json, torch; torch.set_num_threads(1)\n"
        "import unnoise as un\n"
        "run = un.open(sys.argv[1]); net, shape = run.denoiser, run.recipe.shape\n"
        "import numpy as np\n"
        "found = {}\n"
        "with torch.no_grad():\n"
        "  end = time.perf_counter() + float(sys.argv[2])\n"
        "  while time.perf_counter() < end:\n"
        "    for size in (1, 16, 32, 64, 128):\n"
        "      x = torch.randn(size, *shape); level = net.process.level(np.linspace(.1, 1, size), x)\n"
        "      cond = {'label': torch.arange(size) % 10}\n"
        "      begun = time.perf_counter(), time.thread_time()\n"
        "      for _ in range(max(1, 64 // size)): net(x, level, cond)\n"
        "      done = size * max(1, 64 // size)\n"
        "      wall, cpu = time.perf_counter() - begun[0], time.thread_time() - begun[1]\n"
        "      best = found.setdefault(size, [0., 0.])\n"
        "      best[0], best[1] = max(best[0], done / wall), max(best[1], done / cpu)\n"
        "print(json.dumps(found))\n"
    )
    made = subprocess.run([sys.executable, "-c", code, str(run), str(seconds)], capture_output=True, text=True,
                          check=True, env=_environment())  # fmt: skip
    found = {int(size): rates for size, rates in json.loads(made.stdout).items()}
    best = max(found, key=lambda size: found[size][0])
    return {"batch": best, "rows_per_second": found[best][0], "rows_per_cpu_second": max(r[1] for r in found.values()),
            "by_batch": {size: rates[0] for size, rates in found.items()}}  # fmt: skip


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent / "src"),
            "PYTHONWARNINGS": "ignore"}  # fmt: skip


class Server:
    """A rival as a process, and how it is asked for a sample."""

    def __init__(self, rival: str, run: Path, place: Path, *options: str):
        self.rival, self.port = rival, _free()
        if rival == "unnoise":
            words = ["-m", "unnoise", "serve", str(run), "--port", str(self.port), "--data", str(place / "data"),
                     "--device", "cpu", "--threads", "1", "--rate", "100000",
                     "--deadline", str(DEADLINE), *options]  # fmt: skip
            ready = "/readyz"
        else:
            words = [str(HERE / f"serving_{rival}.py"), str(run), str(self.port), str(DEADLINE)]
            ready = "/health"
        self.log = open(place / f"{rival}.log", "wb")  # noqa: SIM115
        self.child = subprocess.Popen([sys.executable, *words], stdout=self.log, stderr=self.log, env=_environment())
        end = time.monotonic() + READY
        while asyncio.run(_get(self.port, ready))[0] != 200:
            assert self.child.poll() is None, (place / f"{rival}.log").read_text()[-3000:]
            assert time.monotonic() < end, f"{rival} is not ready after {READY} s"
            time.sleep(0.2)

    def request(self, sampler: str, steps: int, seed: int) -> bytes:
        """The bytes of a request for one sample."""
        if self.rival == "unnoise":
            path = "/v1/images/generations"
            body: dict[str, Any] = {"prompt": "", "stream": True, "partial_images": 3, "seeds": [seed]}
        else:
            path, body = "/predict", {"seed": seed}
        data = json.dumps({**body, "sampler": sampler, "steps": steps}).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: localhost:{self.port}\r\ncontent-type: application/json\r\n"
        return (head + f"content-length: {len(data)}\r\nconnection: close\r\n\r\n").encode() + data

    def usage(self) -> dict[str, float]:
        """Processor seconds and bytes in memory of the process and its children."""
        cpu = memory = 0.0
        for pid in _family(self.child.pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                memory += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:
                continue
            cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return {"cpu": cpu, "memory": memory}

    def counts(self) -> dict[str, float]:
        """What unnoise counts of itself."""
        if self.rival != "unnoise":
            return {}
        text = asyncio.run(_get(self.port, "/metrics"))[1].decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def stop(self) -> None:
        """Ends it and its children."""
        family = _family(self.child.pid)
        self.child.terminate()
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
        for pid in family[1:]:
            with contextlib.suppress(OSError):
                os.kill(pid, 9)
        self.log.close()


def _family(pid: int) -> list[int]:
    """A process and its children, and theirs."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(other for child in children for other in _family(child))]


def _free() -> int:
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


async def _get(port: int, path: str) -> tuple[int, bytes]:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\r\n".encode())
        data = await asyncio.wait_for(reader.read(), 30)
        writer.close()
    except (OSError, TimeoutError, asyncio.TimeoutError):
        return 0, b""
    head, _, body = data.partition(b"\r\n\r\n")
    return (int(head.split()[1]), body) if head else (0, b"")


async def ask(server: Server, sampler: str, steps: int, seed: int) -> dict[str, Any]:
    """One request: its status and the seconds to the first preview and to the result."""
    begun, told = time.perf_counter(), {"status": 0, "steps": steps}
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(server.request(sampler, steps, seed))
        data = b""
        while part := await asyncio.wait_for(reader.read(1 << 16), DEADLINE + 20):
            data += part
            now = time.perf_counter() - begun
            if "preview" not in told and b"event: image_generation.partial_image" in data:
                told["preview"] = now
            if "result" not in told and b'"b64_json"' in data.rpartition(b"image_generation.completed")[2]:
                told["result"] = now
        writer.close()
    except (OSError, TimeoutError, asyncio.TimeoutError) as error:
        return {**told, "error": str(error) or type(error).__name__, "seconds": time.perf_counter() - begun}
    status = int(data.split()[1]) if data else 0
    if not status:
        told["error"] = "closed without an answer"
    if status == 200 and "result" not in told:  # the stream had begun when the deadline passed
        status = 504 if b'"code": "deadline"' in data else -1
    return {**told, "status": status, "seconds": time.perf_counter() - begun}


async def offer(
    server: Server, mix: int, rate: float, seconds: float, seed: int
) -> tuple[list[dict[str, Any]], float, list[float]]:
    """Requests at Poisson times for so long; every answer, the seconds until the last, and the memory on the way."""
    chance = np.random.default_rng(seed)
    arrivals = np.cumsum(chance.exponential(1 / rate, max(20, int(2 * rate * seconds))))
    arrivals = arrivals[arrivals < seconds]
    picked = chance.integers(len(SETTINGS[mix]), size=len(arrivals))
    begun, tasks, memory = time.perf_counter(), [], []
    watching = asyncio.create_task(_watch(server, memory))
    for number, (at, which) in enumerate(zip(arrivals, picked, strict=True)):
        await asyncio.sleep(max(0.0, begun + at - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(server, *SETTINGS[mix][which], seed * 1_000_000 + number)))
    found = list(await asyncio.gather(*tasks))
    watching.cancel()
    return found, time.perf_counter() - begun, memory


async def _watch(server: Server, memory: list[float]) -> None:
    while True:
        memory.append(server.usage()["memory"])
        await asyncio.sleep(0.5)


def compare(cell: dict[str, Any], roofs: list[dict[str, Any]]) -> None:
    """Writes into a cell what share it is of the ceilings before and after it, by the clock and by processor time."""
    cell["ceiling"] = [roof["rows_per_second"] for roof in roofs]
    cell["of_ceiling"] = cell["rows_per_second"] / float(np.mean(cell["ceiling"]))
    by_cpu = float(np.mean([roof["rows_per_cpu_second"] for roof in roofs]))
    cell["of_ceiling_by_cpu"] = cell["rows_per_cpu_second"] / by_cpu


def cell(server: Server, mix: int, load: float, capacity: float, seconds: float) -> dict[str, Any]:
    """One load of one mix: throughput, latencies, outcomes, what it took."""
    before, counted, begun = server.usage(), server.counts(), time.perf_counter()
    found, took, memory = asyncio.run(offer(server, mix, load * capacity, seconds, int(1000 * load) + mix))
    after, counts = server.usage(), server.counts()
    fine, seen = [one for one in found if one["status"] == 200], sorted({one["status"] for one in found})
    rows = sum(one["steps"] for one in fine)
    cpu = after["cpu"] - before["cpu"]
    told = {
        "rival": server.rival, "settings": mix, "load": load, "offered_per_second": load * capacity,
        "requests": len(found), "seconds": took, "done_per_second": len(fine) / took,
        "outcomes": {str(k): sum(one["status"] == k for one in found) for k in seen},
        "rows_per_second": rows / took, "rows_per_cpu_second": rows / max(cpu, 0.01),
        "preview": _quantiles([one["preview"] for one in fine if "preview" in one]),
        "result": _quantiles([one["seconds"] for one in fine]),
        "longest_answer": max((one["seconds"] for one in found), default=0.0),
        "memory_first": memory[0] if memory else None, "memory_last": memory[-1] if memory else None,
        "others_load": os.getloadavg()[0], "wall": time.perf_counter() - begun,
    }  # fmt: skip
    if errors := sorted({one["error"] for one in found if "error" in one}):
        told["errors"] = errors
    if counts:
        told["admission_ticks_p95"] = _bucket(counted, counts, "unnoise_admission_ticks", 0.95)
        ticks, done = (counts[f"unnoise_{k}_total"] - counted[f"unnoise_{k}_total"] for k in ("ticks", "rows"))
        told |= {"rows_per_tick": done / max(ticks, 1), "steps_busy":
                 (counts["unnoise_step_seconds_sum"] - counted["unnoise_step_seconds_sum"]) / took}  # fmt: skip
    return told


def _quantiles(values: list[float]) -> dict[str, float]:
    return {f"p{q}": float(np.quantile(values, q / 100)) for q in (50, 95, 99)} if values else {}


def _bucket(before: dict[str, float], after: dict[str, float], name: str, share: float) -> float:
    """The least bound of a histogram below which that share of what came in between lies."""
    bounds = [key for key in after if key.startswith(f"{name}_bucket")]
    total = after[f"{name}_count"] - before.get(f"{name}_count", 0)
    for key in bounds:
        if after[key] - before.get(key, 0) >= share * total:
            return float(key.split('le="')[1].split('"')[0])
    return float("inf")


def done_before(name: str, about: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Cells and ceilings of an interrupted run that was about the same; none where there was no such run."""
    path = RESULTS / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    if any(known.get(key) != value for key, value in about.items()):
        return [], []
    return known["cells"], known["ceilings"]


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--quick", action="store_true", help="4 s at two loads of 4 settings, kept as serving-quick")
    asked.add_argument("--afresh", action="store_true", help="measure what is measured already, too")
    asked.add_argument("--seconds", type=float, default=12.0)
    asked.add_argument("--loads", default=",".join(map(str, LOADS)))
    asked.add_argument("--mixes", default=",".join(map(str, MIXES)))
    asked.add_argument("--rivals", default=",".join(RIVALS))
    asked.add_argument("--run", type=Path, default=None)
    asked.add_argument("--name", default="serving")
    given = asked.parse_args()
    if given.quick:
        given.seconds, given.loads, given.mixes, given.name, given.afresh = 4.0, "0.5,2", "4", "serving-quick", True
    about = {"machine": machine(), "widths": WIDTHS, "deadline": DEADLINE, "seconds": given.seconds}
    cells, roofs = ([], []) if given.afresh else done_before(given.name, about)
    loads = [float(word) for word in given.loads.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        run = train(given.run or Path(folder) / "digits")
        for mix in (int(word) for word in given.mixes.split(",")):
            for rival in given.rivals.split(","):
                there = {one["load"] for one in cells if (one["rival"], one["settings"]) == (rival, mix)}
                if not (left := [load for load in loads if load not in there]):
                    continue
                place = Path(folder) / f"{rival}-{mix}"
                place.mkdir()
                roof, steps = ceiling(run), float(np.mean([steps for _, steps in SETTINGS[mix]]))
                server = Server(rival, run, place)
                try:
                    # what is made at the first request is made
                    asyncio.run(offer(server, mix, roof["rows_per_second"] / steps / 4, 2.0, 1))
                    for load in left:
                        made = cell(server, mix, load, roof["rows_per_second"] / steps, given.seconds)
                        before, roof = roof, ceiling(run)
                        compare(made, [before, roof])
                        roofs.append(roof)
                        cells.append(made)
                        save(given.name, {**about, "ceilings": roofs, "cells": cells})
                        print(f"{rival:9} {mix:2} settings, load {load:4g}: {made['done_per_second']:6.1f}/s, "
                              f"{made['of_ceiling']:.2f} of ceiling, preview p50/p95 {_said(made['preview'])}, result "
                              f"{_said(made['result'])} s, {made['outcomes']}", flush=True)  # fmt: skip
                finally:
                    server.stop()


def _said(quantiles: dict[str, float]) -> str:
    return "/".join(f"{quantiles[q]:.2f}" for q in ("p50", "p95") if q in quantiles) or "-"


if __name__ == "__main__":
    main()
