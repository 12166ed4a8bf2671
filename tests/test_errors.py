"""Bad input ends in one clear line, a status that is not zero, and nothing lost; docs/errors.md is written from here.

`python tests/test_errors.py` writes the page anew.
"""

import errno
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unnoise import files
from unnoise.advise import propose
from unnoise.cli import ask_first, main
from unnoise.train import lock

PAGE = Path(__file__).parents[1] / "docs/errors.md"
SPIRAL = "net.width=8 net.depth=1 train.items=128 train.batch=64 train.warmup=0 data.items=500 data.held_out=50"
PHOTOS = "--yes --minutes 0.001 net.widths=[8] train.batch=4"

HEAD = """# What goes wrong, and what one is told

A mistake ends in one line on stderr that begins with `unnoise:`, and says what was given, what was expected and the
nearest right name. The exit status is 2 where the command line or the data are at fault, 1 where the machine is, 130
after Ctrl-C. Nothing that was there before is lost. `UNNOISE_DEBUG=1` shows where in the code it happened.

This page is written by `tests/test_errors.py`, which makes each mistake and reads the line; long lists of names are
left out of it (of: …).
"""


class Evil:
    """What a pickle may do when it is opened: here, leave a file."""

    def __reduce__(self):
        return Path("opened").touch, ()


@dataclass(frozen=True)
class Case:
    """A mistake: what was done, the command line, how the place is prepared, what holds while it runs."""

    done: str
    words: str
    prepare: Callable[[], Any] = lambda: None
    during: Callable[[], Any] = nullcontext
    status: int = 2


# --- the place ---------------------------------------------------------------------------------------------


def picture(path, seed=0, side=40):
    rng = np.random.default_rng(seed)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(path)


def giant(path, side=60_000):
    """A PNG of a few kilobytes that claims 3.6 thousand million pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def furnish():
    """runs/spiral (trained), photos, table.csv, x.npy: what mistakes are made with."""
    for i in range(12):
        picture(f"photos/{i:02d}.png", i)
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.normal(size=(60, 4)))
    rows = "\n".join(f"{a:.3f},{b:.3f}" for a, b in rng.normal(size=(60, 2)))
    Path("table.csv").write_text(f"height,weight\n{rows}\n")
    assert said(f"train spiral {SPIRAL} --out runs/spiral --device cpu")[0] == 0


def copy_of_run(name):
    shutil.copytree("runs/spiral", name)
    return next(Path(name, "checkpoints").iterdir())


def cut_checkpoint():
    path = copy_of_run("runs/cut") / "ema-0.1.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def foreign_checkpoint():
    shutil.rmtree("runs/other", ignore_errors=True)
    found = copy_of_run("runs/other")
    recipe = Path("runs/other/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("width: 8", "width: 16", 1))
    return found


def newer_checkpoint():
    path = copy_of_run("runs/newer") / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "format": 99}))


def evil_checkpoint():
    """A pickle in the place of weights, with size and hash that agree."""
    folder = copy_of_run("runs/evil")
    data = pickle.dumps(Evil())
    manifest = json.loads((folder / "state.json").read_text())
    for name in manifest["files"]:
        (folder / name).write_bytes(data)
        manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "state.json").write_text(json.dumps(manifest))


def damaged_recipe():
    copy_of_run("runs/damaged")
    Path("runs/damaged/recipe.yaml").write_bytes(b"\x00\xff\xfe nothing")


def mixed_photos():
    shutil.copytree("photos", "mixed", dirs_exist_ok=True)
    data = Path("photos/00.png").read_bytes()
    Path("mixed/broken.png").write_bytes(data[: len(data) // 2])
    Path("mixed/empty.jpg").touch()
    Path("mixed/renamed.png").write_text("no picture at all")
    giant("mixed/giant.png")


def text(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content)


def table(path, change):
    lines = Path("table.csv").read_text().splitlines()
    change(lines)
    Path(path).write_text("\n".join(lines) + "\n")


def numbers(path, change):
    x = np.load("x.npy")
    change(x)
    np.save(path, x)


def objects():
    x = np.empty(3, dtype=object)
    x[:] = Evil()
    np.save("objects.npy", x, allow_pickle=True)


@contextmanager
def system(name, number, where):
    """Calls of the system by that name fail with an error wherever the path says so (no permission stops root)."""
    old = getattr(os, name)

    def failing(first, *rest, **more):
        target = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else os.fspath(first)
        if where in str(target):
            raise OSError(number, os.strerror(number), None if isinstance(first, int) else str(first))
        return old(first, *rest, **more)

    setattr(os, name, failing)
    try:
        yield
    finally:
        setattr(os, name, old)


@contextmanager
def no_terminal():
    old, ask_first._terminal = ask_first._terminal, lambda: False
    try:
        yield
    finally:
        ask_first._terminal = old


# --- the cases ---------------------------------------------------------------------------------------------

CASES: dict[str, list[Case]] = {
    "Commands and options": [
        Case("a command that does not exist", "trian digits"),
        Case("an option that does not exist", "sample runs/spiral --stesp 3"),
        Case("an argument forgotten", "train"),
        Case("a word for a number", "sample runs/spiral --steps many"),
        Case("a number out of range", "sample runs/spiral --steps 0"),
        Case("a device that is not there", "train spiral --device tpu"),
        Case("seeds that cannot be read", "sample runs/spiral --seeds x"),
        Case("two options that disagree", "sample runs/spiral --n 4 --seeds 0-7"),
        Case("a sampler misspelt", "sample runs/spiral --sampler hein"),
        Case("an ending that samples are not written as", "sample runs/spiral --out x.docx"),
        Case("a label where there are none", "sample runs/spiral --label 3"),
    ],
    "Recipes": [
        Case("an unknown recipe", "train digit"),
        Case("a recipe file that is not there", "train mine.yaml"),
        Case("a file that is not YAML", "train bad.yaml", lambda: text("bad.yaml", "data: [digits")),
        Case("a file that is no text", "train raw.yaml", lambda: Path("raw.yaml").write_bytes(b"\xff\xfe\x00\x01")),
        Case("a YAML file that is no recipe", "train list.yaml", lambda: text("list.yaml", "- digits\n")),
        Case("a folder for a recipe file", "train folder.yaml", lambda: os.makedirs("folder.yaml")),
        Case("an unknown node", "train spiral tarin.items=3"),
        Case("an unknown key", "train spiral train.itmes=3"),
        Case("an unknown kind", "train spiral process.schedule=cosin"),
        Case("a value of the wrong type", "train spiral train.items=many"),
        Case("a value out of range", "train spiral train.batch=0"),
        Case("an override without a value", "train spiral train.items"),
        Case("data and modality that do not fit", "train digits modality=points"),
        Case("a network that cannot be made", "train digits net.widths=[]"),
        Case("a sampler that cannot end where the schedule does", "train digits sample.steps=0"),
    ],
    "Runs and checkpoints": [
        Case("no run at the path", "sample runs/spirla"),
        Case("a run where one stands", f"train spiral {SPIRAL} --out runs/spiral"),
        Case("a resume with another recipe", "train spiral --out runs/spiral --resume"),
        Case("a run that another process trains", f"train spiral {SPIRAL} --out runs/busy",
             during=lambda: lock(Path("runs/busy"))),
        Case("a run given as data", "train runs/spiral"),
        Case("a run whose recipe is damaged", "sample runs/damaged", damaged_recipe),
        Case("a checkpoint cut short", "sample runs/cut", cut_checkpoint),
        Case("a checkpoint of another network", "sample runs/other", foreign_checkpoint),
        Case("a checkpoint of a newer format", "sample runs/newer", newer_checkpoint),
        Case("a pickle that poses as a checkpoint (it is not opened)", "sample runs/evil", evil_checkpoint),
        Case("--from where there is no run", f"train spiral {SPIRAL} --from runs/none --out runs/fine"),
        Case("--from a file of pickled weights", f"train spiral {SPIRAL} --from w.pt --out runs/fine",
             lambda: Path("w.pt").write_bytes(pickle.dumps(Evil()))),
        Case("advice on what is no run", "advise photos"),
    ],
    "Files and the machine": [
        Case("an output folder that is a file", f"train spiral {SPIRAL} --out table.csv", status=1),
        Case("samples into a folder that is a file", "sample runs/spiral --n 4 --steps 2 --out table.csv/x.npy",
             status=1),
        Case("no space on the disk", f"train spiral {SPIRAL} --out runs/full",
             during=lambda: system("write", errno.ENOSPC, "runs/full"), status=1),
        Case("a folder that may not be written", f"train spiral {SPIRAL} --out locked/run",
             during=lambda: system("makedirs", errno.EACCES, "locked"), status=1),
        Case("a run that may not be read", "sample runs/spiral",
             during=lambda: opening(errno.EACCES, "recipe.yaml"), status=1),
        Case("a cache folder that cannot be made", f"train photos {PHOTOS} data.cache=table.csv/x"),
    ],
    "Measures": [
        Case("an unknown measure", "evaluate runs/spiral --measures fid"),
        Case("features that there are not", "measure photos photos --features incepton"),
        Case("features without their weights", "measure photos photos --features inception"),
        Case("weights that are another pickle (it is not opened)", "measure photos photos --features inception:bad.pth",
             lambda: Path("bad.pth").write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")),
        Case("a classifier of data without labels", "evaluate runs/spiral --features classifier"),
        Case("too few items to measure", "measure few.npy few.npy", lambda: np.save("few.npy", np.ones((3, 2)))),
        Case("sets that have nothing to do with each other", "measure photos x.npy"),
    ],
    "Comparing and judging": [
        Case("a sweep that does not come along", "compare netwrks"),
        Case("a sweep without its recipe", "compare s1.yaml", lambda: text("s1.yaml", "seeds: 3\n")),
        Case("an axis that no recipe has", "compare s2.yaml",
             lambda: text("s2.yaml", "recipe: spiral\nvary: {nett.width: [8, 16]}\n")),
        Case("an unknown judge", "compare runs/spiral --samplers ddim,heun --judge fid"),
        Case("an unknown sampler", "compare runs/spiral --samplers ddim,dpmp_2m"),
        Case("a network that there is not", "nets unett"),
        Case("another library that is not installed", "conformance nowhere:Sampler"),
        Case("a sampler of no library", "conformance DDIMScheduler"),
        Case("a mixture of no data", "plot error --mixture 4"),
    ],
    "Pictures": [
        Case("a folder that is not there", "train ./photo --yes"),
        Case("an empty folder", "train ./nothing --yes", lambda: os.makedirs("nothing")),
        Case("a folder without a picture", "train ./notes --yes", lambda: text("notes/todo.txt", "buy milk")),
        Case("a folder of tables", "train ./tables --yes", lambda: text("tables/a.csv", "x,y\n1,2\n")),
        Case("a single picture", "train photos/00.png --yes"),
        Case("two pictures", "train ./two --yes", lambda: [picture(f"two/{i}.png", i) for i in range(2)]),
        Case("the same picture many times", "train ./same --yes", lambda: [picture(f"same/{i}.png") for i in range(9)]),
        Case("a broken picture among good ones, where strict refuses it", f"train mixed {PHOTOS} data.strict=true",
             mixed_photos),
        Case("a zip that is none", "train bad.zip --yes", lambda: text("bad.zip", "PK but no zip")),
        Case("a file of an unknown kind", "train ./data.bin --yes", lambda: text("data.bin", "what is it")),
        Case("an unknown field of the data", f"train photos {PHOTOS} data.sise=32"),
        Case("no terminal to ask at", "train photos", during=no_terminal),
        Case("a time for a recipe", "train digits --minutes 5"),
        Case("no time at all", "train photos --minutes 0 --yes"),
        Case("a look at what is not there", "look ./photo"),
    ],
    "Numbers": [
        Case("text in a column of numbers", "train t1.csv --yes",
             lambda: table("t1.csv", lambda rows: rows.__setitem__(7, "1.5,tall"))),
        Case("a decimal comma", "train t2.csv --yes",
             lambda: table("t2.csv", lambda rows: rows.__setitem__(7, '1.5,"1,5"'))),
        Case("a value that is missing", "train t3.csv --yes",
             lambda: table("t3.csv", lambda rows: rows.__setitem__(7, "1.5,"))),
        Case("an infinite value in a table", "train t4.csv --yes",
             lambda: table("t4.csv", lambda rows: rows.__setitem__(7, "1.5,inf"))),
        Case("a row of another length", "train t5.csv --yes",
             lambda: table("t5.csv", lambda rows: rows.__setitem__(7, "1.5,2,3"))),
        Case("a table of a header alone", "train t6.csv --yes", lambda: text("t6.csv", "height,weight\n")),
        Case("an empty table", "train t7.csv --yes", lambda: text("t7.csv", "")),
        Case("a table that is not UTF-8", "train t8.csv --yes",
             lambda: Path("t8.csv").write_bytes(b"gr\xf6\xdfe\n1\n2\n")),
        Case("a column that is not there", "train table.csv --yes data.label=colour"),
        Case("NaN in an array", "train n1.npy --yes",
             lambda: numbers("n1.npy", lambda x: x.__setitem__((3, 1), np.nan))),
        Case("infinities in an array", "train n2.npy --yes",
             lambda: numbers("n2.npy", lambda x: x.__setitem__(3, np.inf))),
        Case("an array of a single number", "train n3.npy --yes", lambda: np.save("n3.npy", 1.0)),
        Case("an array of complex numbers", "train n4.npy --yes", lambda: np.save("n4.npy", np.ones((9, 2)) * 1j)),
        Case("an array cut short", "train n5.npy --yes",
             lambda: Path("n5.npy").write_bytes(Path("x.npy").read_bytes()[:500])),
        Case("an empty array file", "train n6.npy --yes", lambda: Path("n6.npy").touch()),
        Case("labels of another length", "train n7.npz --yes data.labels=y",
             lambda: np.savez("n7.npz", x=np.random.default_rng(0).normal(size=(50, 3)), y=np.zeros(7, int))),
        Case("pickled objects in an array (they are not opened)", "train objects.npy --yes", objects),
    ],
}  # fmt: skip


@contextmanager
def opening(number, where):
    """Files by that name cannot be opened."""
    import builtins

    old = io.open

    def failing(file, *rest, **more):
        if not isinstance(file, int) and str(file).endswith(where):
            raise OSError(number, os.strerror(number), str(file))
        return old(file, *rest, **more)

    builtins.open = io.open = failing
    try:
        yield
    finally:
        builtins.open = io.open = old


# --- making mistakes ---------------------------------------------------------------------------------------


def said(words):
    """(status, stdout, stderr) of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(words.split())
    return status, out.getvalue(), err.getvalue()


def contents(folder):
    """Every file's bytes, but for caches and locks."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and "cache" not in path.parts and path.name != ".lock"
    }


def mistake(case):
    """The line that a mistake gives; all that must hold of it holds."""
    case.prepare()
    before = contents(".")
    with case.during():
        status, out, err = said(case.words)
    lines = [line for line in err.splitlines() if not re.match("unnoise: note: |train  |sample  ", line)]
    assert status == case.status, (status, err)
    assert out == "" or "→" in out, "a training says what it is before it meets the disk"
    assert len(lines) == 1, err
    assert lines[0].startswith("unnoise: ")
    assert "UNNOISE_DEBUG" not in lines[0], lines[0]
    assert "\x1b" not in lines[0]
    after = contents(".")
    assert {path: after.get(path) for path in before} == before, "something was lost"
    assert not Path("opened").exists(), "a pickle was opened"
    return plain(lines[0])


def plain(line):
    """A line as one gets it in the folder /home/me, long lists cut short."""
    return re.sub(r"\(of: [^)]*\)", "(of: …)", line.replace(str(Path.cwd()), "/home/me"))


@contextmanager
def furnished(folder) -> Generator[None]:
    old, cache = Path.cwd(), os.environ.get("XDG_CACHE_HOME")
    seconds, propose.SECONDS = propose.SECONDS, 0.05
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache").resolve())
    try:
        furnish()
        yield
    finally:
        os.chdir(old)
        propose.SECONDS = seconds
        if cache is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = cache


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with furnished(tmp_path_factory.mktemp("place")):
        yield


LINES: dict[str, str] = {}  # what was told in this session, by the command line


@pytest.mark.parametrize("case", [pytest.param(c, id=c.done) for group in CASES.values() for c in group])
def test_a_mistake_is_one_line_and_nothing_is_lost(place, case):
    if case.status == 1 and sys.platform != "linux":
        pytest.skip("errors of the system are simulated on Linux")
    LINES[case.words] = mistake(case)


def test_broken_pictures_among_good_ones_are_counted_and_left_out(place):
    mixed_photos()
    status, _, err = said(f"train mixed {PHOTOS} --out runs/mixed")
    assert status == 0
    notes = [line for line in err.splitlines() if line.startswith("unnoise: note: ")]
    assert any("4 files are left out beside 12 pictures" in note for note in notes), err
    _, out, _ = said("look mixed --json")
    told = dict(json.loads(out)["skipped"])
    assert set(told) == {"broken.png", "empty.jpg", "giant.png", "renamed.png"}
    assert "pixels" in told["giant.png"]
    assert told["empty.jpg"] == "empty"


def test_a_clock_that_jumps_does_no_harm(place, monkeypatch):
    """Back by a day and forth by a year, in the middle of a training: lengths are counted in items."""
    import random

    jumps = random.Random(0)
    for name in ("time", "perf_counter", "monotonic"):
        real = getattr(time, name)
        monkeypatch.setattr(time, name, lambda real=real: real() + jumps.choice([-86_400.0, 0.0, 31_536_000.0]))
    status, out, err = said(f"train spiral {SPIRAL} --out runs/jumped --device cpu")
    monkeypatch.undo()
    assert status == 0, err
    assert "Trained in" in out
    same = [next(Path(run, "checkpoints").iterdir()) for run in ("runs/jumped", "runs/spiral")]
    states = [json.loads((path / "state.json").read_text())["files"] for path in same]
    assert states[0] == states[1], "the same weights, whatever the clock said"


def test_no_space_for_samples_keeps_the_run(place):
    before = contents("runs/spiral")
    with system("write", errno.ENOSPC, "runs/spiral"):
        status, _, err = said("sample runs/spiral --n 4 --steps 2")
    assert (status, err.splitlines()[-1].startswith("unnoise: cannot write runs/spiral/samples/")) == (1, True)
    assert contents("runs/spiral") == before


# --- the page ----------------------------------------------------------------------------------------------


def page(lines):
    """docs/errors.md from the lines by command."""
    parts = [HEAD]
    for title, cases in CASES.items():
        parts.append(f"\n## {title}\n\n| what was done | the line one gets |\n| --- | --- |\n")
        for case in cases:
            line = lines[case.words].removeprefix("unnoise: ").replace("|", "\\|")
            parts.append(f"| {case.done}<br>`unnoise {short(case.words)}` | {line} |\n")
    return "".join(parts)


def short(words):
    """A command line without what only makes it quick."""
    for extra in (SPIRAL, PHOTOS):
        words = words.replace(f" {extra}", "")
    return words.replace("|", "\\|")


@pytest.mark.skipif(sys.platform != "linux", reason="errors of the system are simulated on Linux")
def test_the_page_of_errors_says_what_is_said(place):
    for case in (case for group in CASES.values() for case in group):
        if case.words not in LINES:
            pytest.skip("some cases were not run")
    assert PAGE.read_text(encoding="utf-8") == page(LINES), "run: python tests/test_errors.py"


if __name__ == "__main__":
    import tempfile

    with ExitStack() as stack:
        stack.enter_context(furnished(stack.enter_context(tempfile.TemporaryDirectory())))
        for group in CASES.values():
            for one in group:
                try:
                    LINES[one.words] = mistake(one)
                except AssertionError as error:
                    print(f"{one.done}: {error}", file=sys.stderr)
                    LINES[one.words] = "?"
                print(f"{one.done:60} {LINES[one.words]}")
    files.put(PAGE, page(LINES))
