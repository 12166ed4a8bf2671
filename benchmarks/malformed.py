"""A hundred thousand requests that nobody means well: no answer of the server's own fault, no crash, no growth.

Schemathesis makes requests of the server's own OpenAPI document, right and wrong ones; beside it pictures of every
format are broken (bits, lengths, cut off, sizes that lie), JSON, forms and HTTP itself too, on every route, each
request from its own number. The server is a process of its own, asked over connections that are kept.

    python malformed.py [--requests 100000] [--schemathesis 20000] [--first 0]
"""

import argparse
import asyncio
import base64
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from harness import machine, save
from serving import Server, train

SAMPLERS = ("ddim", "heun", "dpmpp_2m", "edm", "sa_solver", "restart", "deis_3", "unipc_2", "plms", "langevin")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
AT_A_TIME = 16
WORDS = ("samples", "seeds", "sampler", "steps", "grid", "options", "guidance", "label", "size", "image", "strength",
         "mask", "format", "deadline", "model", "text", "tell", "prompt", "n", "stream")  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 2**31, 2**63, 2**64, 10**400, -0.0, 1e308, 0.5, "", "heun", "karras", "\ud800", "\x00",
    "../../etc/passwd", "A" * 5000, "cfg weight=3 + dynamic", "apg weight=[[[[", [], [[]], [1, 2], ["7"] * 70, {},
    {"eta": 1}, {"order": -5}, {"": {}}, "0x10", "8x8", "9999x9999", "data:image/png;base64,", "NaN",
)  # fmt: skip


def picture(chance: random.Random) -> bytes:
    """A picture of some format, broken in some way."""
    mode, size = chance.choice(["L", "RGB", "RGBA", "P", "1"]), (chance.randint(1, 40), chance.randint(1, 40))
    made, file, kind = PIL.Image.new(mode, size, chance.randint(0, 1)), io.BytesIO(), chance.choice(FORMATS)
    if kind in ("JPEG", "PPM", "WEBP"):
        made = made.convert("RGB")
    made.save(file, kind)
    data = bytearray(file.getvalue())
    way = chance.randrange(5)
    if way == 0:
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif way == 1:
        del data[chance.randrange(len(data)) :]
    elif way == 2:  # a length or a size somewhere near the head
        at = chance.randrange(min(len(data), 40))
        data[at : at + 4] = chance.choice(
            [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x00\x00\xff\xff"]
        )
    elif way == 3:
        at = chance.randrange(len(data))
        data[at:at] = chance.randbytes(chance.randint(1, 300))
    return bytes(data)


def job(chance: random.Random) -> bytes:
    """JSON for /v1/jobs or /v1/images/generations, some of it odd."""
    asked = {chance.choice(WORDS): chance.choice(ODD) for _ in range(chance.randint(0, 4))}
    text = json.dumps(asked).encode()
    if chance.random() < 0.2:
        text = bytearray(text)
        text[chance.randrange(len(text))] = chance.randrange(256)
    path = chance.choice(["/v1/jobs", "/v1/images/generations"])
    return _request("POST", path, bytes(text), "application/json")


def studio(chance: random.Random) -> bytes:
    """What the page asks, odd: plans, errors, ways, copies of broken pictures and of odd rows."""
    path = chance.choice(["plan", "error", "trajectory", "nearest", "nearest", "models"])
    asked = {chance.choice(WORDS): chance.choice(ODD) for _ in range(chance.randint(1, 4))}
    if path == "nearest":
        asked = {"image": base64.b64encode(picture(chance)).decode()}
        if chance.random() < 0.3:
            asked = {chance.choice(["values", "model", "image"]): chance.choice(ODD) for _ in range(2)}
    elif chance.random() < 0.3:
        asked = {"sampler": chance.choice(SAMPLERS), "steps": chance.choice([1, 2, 3]), "options":
                 {chance.choice(["eta", "order", "rho", "corrector"]): chance.choice(ODD)}}  # fmt: skip
    return _request("POST", f"/v1/studio/{path}", json.dumps(asked).encode(), "application/json")


def begun(chance: random.Random) -> bytes:
    """A job with a broken picture in base64, and perhaps a broken mask."""
    asked: dict[str, Any] = {"image": base64.b64encode(picture(chance)).decode(), "steps": 1}
    if chance.random() < 0.5:
        asked["mask"] = base64.b64encode(picture(chance)).decode()
    return _request("POST", "/v1/jobs", json.dumps(asked).encode(), "application/json")


def edit(chance: random.Random) -> bytes:
    """A form for /v1/images/edits, with broken pictures, in a form that may be broken too."""
    parts = [("prompt", None, b"7"), ("image", "a.png", picture(chance))]
    if chance.random() < 0.5:
        parts.append(
            (chance.choice(["mask", "image", "../x"]), chance.choice(["m.png", "../../m", "\x00"]), picture(chance))
        )
    if chance.random() < 0.3:
        parts.append((chance.choice(WORDS), None, str(chance.choice(ODD[3:20])).encode("utf-8", "replace")))
    body = b""
    for name, file, data in parts:
        named = f'; filename="{file}"' if file else ""
        body += f'--edge\r\ncontent-disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + data + b"\r\n"
    body += b"--edge--\r\n"
    if chance.random() < 0.2:
        body = body[: chance.randrange(len(body))]
    return _request("POST", "/v1/images/edits", body, "multipart/form-data; boundary=edge")


def path(chance: random.Random) -> bytes:
    """Routes, and what only looks like one."""
    start = chance.choice(["/v1/", "/v1/", "/v1/runs/", "/v1/runs/digits/", "/v1/studio/models/", "/js/", "/css/", "/"])
    middle = chance.choice(["jobs", "models", "images", "..", "%2e%2e", "jobs/%00", "jobs/" + "a" * 3000, "\u2603",
                            "runs", "page", "digits", "samples", "frames", "metrics", "healthz", "."])  # fmt: skip
    end = chance.choice(["", "/events", "/result", "/result?sample=-1", "/result?format=exe", "?limit=1e9", "/../../x",
                         "/256.png", "/-1.png", "/" + "9" * 30 + ".png", "/%2e%2e%2frun.yaml", ".js"])  # fmt: skip
    method = chance.choice(["GET", "GET", "GET", "DELETE", "POST", "PUT", "PATCH", "OPTIONS", "HEAD", "BREW"])
    return _request(method, f"{start}{middle}{end}", b"", "text/plain")


def raw(chance: random.Random) -> bytes:
    """What is hardly HTTP."""
    whole = bytearray(job(chance))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(whole))
        whole[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 4))
    return bytes(whole)


WAYS: dict[str, tuple[int, Callable[[random.Random], bytes]]] = {  # how often, of twenty
    "job": (5, job), "picture in a job": (5, begun), "picture in a form": (4, edit), "studio": (2, studio),
    "path": (2, path), "raw": (2, raw),
}  # fmt: skip


def _request(method: str, path: str, body: bytes, kind: str) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
    return (head + f"content-length: {len(body)}\r\n\r\n").encode("utf-8", "surrogatepass") + body


class Line:
    """A connection that is kept for as long as the server keeps it."""

    def __init__(self, port: int):
        self._port, self._ends = port, None

    async def ask(self, data: bytes, keep: bool = True) -> int:
        """The status of the answer; 0 where the connection was closed without one, -1 where nothing came.

        keep: whether the answer is read to its end, and the connection kept; else more may be promised than is sent.
        """
        fresh = self._ends is None
        try:
            reader, writer = self._ends = self._ends or await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(data)
            if not keep:
                writer.write_eof()
            status, more = await asyncio.wait_for(self._answer(reader, keep and not data.startswith(b"HEAD")), 60)
        except (TimeoutError, asyncio.TimeoutError):
            self.close()
            return -1
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0 if fresh else await self.ask(data, keep)  # a kept line may have been let go meanwhile
        if not (keep and more):
            self.close()
        return status

    async def _answer(self, reader: asyncio.StreamReader, whole: bool) -> tuple[int, bool]:
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.1 (\d{3})", head)
        status, low = int(found[1]) if found else 0, head.lower()
        length = re.search(rb"\r\ncontent-length: (\d+)", low)
        if whole and length:
            await reader.readexactly(int(length[1]))
        elif whole and b"\r\ntransfer-encoding: chunked" in low:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readuntil(b"\r\n")
        return status, b"\r\nconnection: close" not in low

    def close(self) -> None:
        """Lets the connection go."""
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None


async def storm(
    server: Server, numbers: range, found: dict[str, Counter[int]], memory: list[float], wrong: list[str]
) -> None:
    """These requests, some at a time."""
    names = [name for name, (share, _) in WAYS.items() for _ in range(share)]

    async def worker(first: int) -> None:
        line = Line(server.port)
        for number in numbers[first::AT_A_TIME]:
            chance = random.Random(number)
            name = names[number % len(names)]
            data = WAYS[name][1](chance)
            status = await line.ask(data, keep=name != "raw")
            found.setdefault(name, Counter())[status] += 1
            if status == -1 or (status >= 500 and status != 504):
                wrong.append(f"{name} {number}: {status}")
                print(wrong[-1], flush=True)
            if number % 500 == 0:
                memory.append(server.usage()["memory"])
                assert server.child.poll() is None, f"the server has ended after request {number}"
            if number % 10_000 == 0:
                print(number, f"{memory[-1] / 1e6:.0f} MB" if memory else "", flush=True)
        line.close()

    await asyncio.gather(*(worker(first) for first in range(AT_A_TIME)))


def by_schema(server: Server, count: int) -> dict[str, Any]:
    """Schemathesis' own run on the OpenAPI document: how many cases, and what it found of server errors."""
    examples = max(10, count // 40)  # a case is made of each example, for each operation and way of making it
    words = [str(Path(sys.executable).parent / "schemathesis"), "run", f"http://127.0.0.1:{server.port}/openapi.json",
             "--checks", "not_a_server_error", "--max-examples", str(examples), "--phases", "fuzzing", "--mode", "all",
             "--exclude-path", "/readyz", "--exclude-path", "/v1/jobs/{job}/events", "--seed", "0",
             "--request-timeout", "60", "--suppress-health-check", "all", "--continue-on-failure"]  # fmt: skip
    made = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    text = made.stdout + made.stderr
    cases = re.search(r"([\d,]+) generated", text)
    errors = Counter(re.findall(r"^\[(5\d\d)\]", text, re.M))
    return {"cases": int(cases[1].replace(",", "")) if cases else 0, "server_errors": dict(errors),
            "status": made.returncode, "end": text[-1500:]}  # fmt: skip


def growth(memory: list[float]) -> dict[str, float]:
    """What the process held after a quarter, when all that is made once is made, and at the end; bytes a request of
    the line through what came after the half (a measure is taken every 500)."""
    held = memory or [0.0]
    second = held[len(held) // 2 :]
    slope = float(np.polyfit(range(len(second)), second, 1)[0]) / 500 if len(second) > 2 else 0.0
    return {"after_a_quarter": held[len(held) // 4], "last": held[-1], "most": max(held), "bytes_a_request": slope}


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--requests", type=int, default=100_000)
    asked.add_argument("--schemathesis", type=int, default=20_000)
    asked.add_argument("--first", type=int, default=0, help="the first number of those that stand for themselves")
    asked.add_argument("--run", type=Path, default=None)
    asked.add_argument("--name", default="malformed")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = given.run or train(Path(folder) / "digits", "[8,16]")  # what is drawn is not what is looked at
        server = Server("unnoise", run, Path(folder), "--queue", "64", "--deadline", "2")
        found: dict[str, Counter[int]] = {}
        memory: list[float] = []
        wrong: list[str] = []
        begun = time.monotonic()
        try:
            schema: dict[str, Any] = by_schema(server, given.schemathesis) if given.schemathesis else {"cases": 0}
            print(json.dumps(schema), flush=True)
            wrong += [f"by the schema: {status}" for status in schema.get("server_errors", {}) if status != "504"]
            numbers = range(given.first, given.first + max(0, given.requests - schema["cases"]))
            asyncio.run(storm(server, numbers, found, memory, wrong))
            alive = asyncio.run(Line(server.port).ask(_request("GET", "/readyz", b"", "text/plain")))
            cpu = server.usage()["cpu"]
        finally:
            server.stop()
            log = (Path(folder) / "unnoise.log").read_text(errors="replace").splitlines()
    errors = [json.loads(line) for line in log if line.startswith("{") and '"event": "error"' in line]
    figures = {
        "machine": machine(), "seeds": {"schemathesis": 0, "first": given.first},
        "requests": schema["cases"] + sum(sum(c.values()) for c in found.values()), "schemathesis": schema,
        "by_status": dict(sorted(sum(found.values(), Counter()).items())),
        "by_way": {name: dict(sorted(c.items())) for name, c in found.items()}, "wrong": wrong,
        "errors_logged": sorted({error["error"] for error in errors}), "ready_after": alive,
        "seconds": time.monotonic() - begun, "processor_seconds_of_the_server": cpu, "memory": growth(memory),
    }  # fmt: skip
    save(given.name, figures)
    print(json.dumps({k: v for k, v in figures.items() if k != "machine"}, indent=1))


if __name__ == "__main__":
    main()
