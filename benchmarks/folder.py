"""A folder of 20,000 pictures: the memory that decoding and training take, and what reading from the cache costs.

Every stage is a process of its own, so that each peak is that stage's alone. `anonymous` is memory that belongs to
the process; `mapped` are pages of files (libraries, decoded pictures), which the system takes back whenever it needs
them: peak_rss is both. BOUND is promised of anonymous memory, whatever the number of pictures: for decoding beyond
the imports, and for training beyond what the same network takes on 64 pictures.

    python benchmarks/folder.py [--pictures 20000] [--side 64] [--items 1600]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

BOUND = 200  # MB
BAD = 10  # truncated files among the good ones


class Peak:
    """The largest anonymous and mapped memory of this process, looked at a hundred times a second."""

    def __enter__(self) -> "Peak":
        self.most: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        names = {"RssAnon": "anonymous_mb", "RssFile": "mapped_mb", "VmHWM": "peak_rss_mb"}
        while not self._stop.wait(0.01):
            for line in Path("/proc/self/status").read_text().splitlines():
                key, _, rest = line.partition(":")
                if key in names:
                    value = int(rest.split()[0]) * 1024 / 1e6
                    self.most[names[key]] = round(max(value, self.most.get(names[key], 0)), 1)


def generate(folder: Path, pictures: int, side: int) -> dict[str, Any]:
    """Coloured shapes of the world `shapes` as PNG files, in a folder a class, and a few files cut short."""
    import numpy as np
    import PIL.Image

    from unnoise.data import Shapes

    world = Shapes(side=side, channels=3)
    for first in range(0, pictures, 500):
        draw = world.draw(min(500, pictures - first), first)
        for i, (item, label) in enumerate(zip(draw.items, draw.cond["label"], strict=True)):
            path = folder / world.classes[label] / f"{first + i:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(np.moveaxis(item, 0, -1)).save(path)
            if first + i < BAD:
                bad = path.with_name(f"bad-{first + i}.png")
                bad.write_bytes(path.read_bytes()[:-100])
    files = [file.stat().st_size for file in folder.rglob("*.png")]
    return {"files": len(files), "bytes": sum(files)}


def recipe(folder: Path, side: int, items: int) -> Any:
    """A small U-Net on the folder."""
    from unnoise.recipe import resolve

    where = {"path": str(folder / "pictures"), "cache": str(folder / "cache")}
    nodes = {
        "data": {"kind": "pictures", "size": side, **where},
        "modality": "image",
        "net": {"kind": "unet", "widths": [8, 16], "blocks": 1},
        "train": {"items": items, "batch": 32, "validate_every": 0, "checkpoint_every": 0, "log_every": items},
    }
    return resolve("folder", nodes)


def imports(folder: Path, side: int, items: int) -> dict[str, Any]:
    """What the libraries alone take."""
    import unnoise.training

    assert unnoise.training
    time.sleep(0.2)
    return {}


def decode(folder: Path, side: int, items: int) -> dict[str, Any]:
    """All pictures into the cache."""
    from unnoise.data import Pictures

    start = time.perf_counter()
    source = Pictures(path=str(folder / "pictures"), size=side, cache=str(folder / "cache"))
    counts = source.facts["counts"]
    seconds = time.perf_counter() - start
    assert len(source.skipped) == BAD
    start = time.perf_counter()
    again = Pictures(path=str(folder / "pictures"), size=side, cache=str(folder / "cache"))
    assert again.digest == source.digest
    reopened = time.perf_counter() - start
    return {
        "counts": counts,
        "skipped": len(source.skipped),
        "seconds": round(seconds, 2),
        "pictures_a_second": round(sum(counts.values()) / seconds),
        "opened_again_in_seconds": round(reopened, 2),
    }


def network(folder: Path, side: int, items: int) -> dict[str, Any]:
    """The same training on 64 pictures that are drawn: what the network takes, and no data."""
    from unnoise.recipe import resolve
    from unnoise.training import Training

    nodes = dict(recipe(folder, side, items).nodes)
    nodes["data"] = {"kind": "shapes", "side": side, "channels": 3, "items": 64, "held_out": 8}
    training = Training(resolve("network", nodes), folder / "network")
    for _ in training.ticks():
        pass
    return {"items": training.trainer.items}


def train(folder: Path, side: int, items: int) -> dict[str, Any]:
    """A training from the cache, and a pass over all of it."""
    from unnoise.train import feed
    from unnoise.training import Training

    made = recipe(folder, side, items)
    training = Training(made, folder / "run")
    for _ in training.ticks():
        pass
    part = made.source.split("train")
    batches = feed(part, made.modality.encode)
    start = time.perf_counter()
    for first in range(0, len(part), 32):
        batches(first, 32)
    return {"items": training.trainer.items, "read_a_second": round(len(part) / (time.perf_counter() - start))}


def rates(folder: Path, side: int, items: int) -> dict[str, Any]:
    """Steps of one network on batches from the cache and on the same items in memory, in turn."""
    import harness
    import numpy as np

    from unnoise.data import Items
    from unnoise.train import Trainer, feed

    made = recipe(folder, side, items)
    mapped = made.source.split("train")
    held = Items(np.array(mapped.items), mapped.cond)
    feeds = {name: feed(part, made.modality.encode) for name, part in (("cache", mapped), ("memory", held))}
    steps = 2
    found: dict[str, Any] = {}
    trainers = {
        name: Trainer(made.denoiser(), made.objective, batches, made.train, made.nulls)
        for name, batches in feeds.items()
    }

    def walk(name: str) -> None:
        for _ in range(steps):
            trainers[name].step()

    def read(name: str) -> None:
        for _ in range(16 * steps):
            place[name] += 32
            feeds[name](place[name], 32)

    place = dict.fromkeys(feeds, 0)
    for kind, work in (("train", walk), ("read", read)):
        seconds = harness.alternate({name: lambda name=name, work=work: work(name) for name in feeds}, repeats=5)
        count = 32 * steps * (16 if kind == "read" else 1)
        found[kind] = {
            **{f"{name}_items_a_second": round(count / float(np.median(seconds[name]))) for name in feeds},
            "memory_over_cache": harness.ratio(seconds["cache"], seconds["memory"]),
        }
    return found


STAGES = {"imports": imports, "decode": decode, "network": network, "train": train, "rates": rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--items", type=int, default=1600)
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.stage:
        with Peak() as peak:
            found = STAGES[asked.stage](asked.folder, asked.side, asked.items)
        print(json.dumps({**found, **peak.most}))
        return
    import harness

    folder = Path(tempfile.mkdtemp(prefix="folder-"))
    try:
        start = time.perf_counter()
        made = generate(folder / "pictures", asked.pictures, asked.side)
        print(
            f"generated {made['files']:,} files, {made['bytes'] / 1e6:.0f} MB, in {time.perf_counter() - start:.0f} s"
        )
        results: dict[str, Any] = {"pictures": asked.pictures, "side": asked.side, "files": made, "bound_mb": BOUND}
        for stage in STAGES:
            words = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
            words += ["--side", str(asked.side), "--items", str(asked.items)]
            done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
            if done.returncode:
                raise SystemExit(done.stderr)
            results[stage] = json.loads(done.stdout.splitlines()[-1])
            print(f"{stage}: {json.dumps(results[stage])}")
        own = {stage: results[stage]["anonymous_mb"] for stage in STAGES}
        results["taken_mb"] = {
            "decoding beyond the imports": round(own["decode"] - own["imports"], 1),
            "training beyond the same on 64 pictures": round(own["train"] - own["network"], 1),
        }
        results["decoded_mb"] = round(asked.pictures * 3 * asked.side**2 / 1e6, 1)
        print(f"taken: {results['taken_mb']} MB; decoded pictures: {results['decoded_mb']} MB")
        assert max(results["taken_mb"].values()) < BOUND
        harness.save("folder", results)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
