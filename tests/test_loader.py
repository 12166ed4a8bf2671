"""Batches read ahead are the batches read when asked, bit for bit; their processes end well and leave a run alone."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.train import Shuffled, lock
from unnoise.train.loader import Loader

FORK = "fork" in multiprocessing.get_all_start_methods()
needs_fork = pytest.mark.skipif(not FORK, reason="no fork on this system")


def encode(raw, generator):  # with randomness of its own, as dequantisation has
    return torch.from_numpy(raw + generator.random(raw.shape).astype(np.float32))


def shuffled():
    items = Items(rng.host("read").standard_normal((37, 2, 3)).astype(np.float32), {"label": np.arange(37) % 5})
    return Shuffled(items, encode, seed=3)


class Failing:
    """Gives batches of nothing, and at item 20 the error."""

    def __init__(self, error):
        self.error = error

    def __call__(self, first, size):
        if first >= 20:
            raise self.error
        return torch.zeros(size), {}


class Foreign(Exception):
    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


def threads(first, size):
    return torch.tensor([float(torch.get_num_threads())]), {}


def same(got, wanted):
    return torch.equal(got[0], wanted[0]) and all(torch.equal(got[1][name], leaf) for name, leaf in wanted[1].items())


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_whoever_reads_the_batches_are_the_same(workers):
    """From anywhere, forward, back to an earlier item, in another size, and beyond the end that was told."""
    feed = shuffled()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with Loader(shuffled(), workers, items=100) as loader:
        for first, size in [(0, 16), (16, 16), (32, 16), (10, 16), (26, 16), (42, 7), (49, 7), (95, 16), (111, 16)]:
            assert same(loader(first, size), feed(first, size))
    assert torch.equal(torch.get_rng_state(), state), "torch's own generator was moved"
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_however_processes_are_started_the_batches_are_the_same(method):
    feed = shuffled()
    with Loader(shuffled(), 2, items=100, method=method) as loader:
        for first in range(0, 100, 16):
            assert same(loader(first, 16), feed(first, 16))


def test_a_loader_can_be_sent_to_a_spawned_process():
    """All that the slow test above needs, without the seconds that it takes."""
    import pickle

    from unnoise.train import loader

    sent = pickle.loads(pickle.dumps(loader._Batches(shuffled(), 16)))
    assert same(sent[48], shuffled()(48, 16))


def test_a_process_has_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Loader(threads, 1, items=1) as loader:
            assert loader(0, 1)[0].item() == 1
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (UserError("photo.png is no picture"), UserError, "photo.png is no picture"),
        (OSError(5, "Input/output error", "photo.png"), OSError, "[Errno 5] Input/output error: 'photo.png'"),
        (Foreign("one", "other"), RuntimeError, "Foreign: one and other"),
    ],
    ids=["ours", "the system's", "what cannot be sent"],
)
def test_an_error_there_is_the_error_here(error, kind, says):
    """Its type and its sentence, at the batch that it is in; what can be sent is what no workers would raise."""
    for workers in (0, 2) if kind is type(error) else (2,):
        with Loader(Failing(error), workers, items=100) as loader:
            assert loader(0, 10)[0].shape == (10,)
            assert loader(10, 10)[0].shape == (10,)
            with pytest.raises(kind) as raised:
                loader(20, 10)
            assert type(raised.value) is kind
            assert str(raised.value) == says
            assert not multiprocessing.active_children()
    assert "tests/test_loader.py" in str(raised.value.__cause__), "where it happened is not told"


@needs_fork
def test_what_stops_a_training_leaves_it_its_batches():
    """Ctrl-C reaches all processes of a terminal: those that read go on until the training is done with them."""
    feed = shuffled()
    with Loader(shuffled(), 2, items=200, method="fork") as loader:
        loader(0, 16)
        children = multiprocessing.active_children()
        assert len(children) == 2
        for number in (signal.SIGINT, signal.SIGTERM):
            for child in children:
                os.kill(child.pid, number)
        for first in range(16, 200, 16):
            assert same(loader(first, 16), feed(first, 16))
        assert all(child.is_alive() for child in children)
    assert not any(child.is_alive() for child in children)


def test_a_loader_that_nobody_closed_does_not_keep_its_process():
    said = "from test_loader import shuffled, Loader; feed = Loader(shuffled(), 2, 1000); feed(0, 16); print('end')"
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    made = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, timeout=30, env=here)
    assert (made.returncode, made.stdout, made.stderr) == (0, "end\n", "")


@needs_fork
def test_a_lost_process_is_one_sentence():
    def read():
        with Loader(shuffled(), 2, items=10_000, method="fork") as loader:
            loader(0, 16)
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
            for first in range(16, 10_000, 16):
                loader(first, 16)

    with pytest.raises(ChildProcessError, match="a process that reads ahead was lost: ") as raised:
        read()
    assert "\n" not in str(raised.value)
    assert not multiprocessing.active_children()


HOLDER = """
import sys, time, pathlib
sys.path.insert(0, {tests!r})
from test_loader import shuffled
from unnoise.train.loader import Loader
from unnoise.train import lock
import multiprocessing
with lock(pathlib.Path(sys.argv[1])), Loader(shuffled(), 2, items=1000, method="fork") as loader:
    loader(0, 16)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""


@needs_fork
def test_readers_outlive_a_kill_by_seconds_and_do_not_hold_its_folder(tmp_path):
    holder = HOLDER.format(tests=os.path.dirname(__file__))
    child = subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    readers = [int(word) for word in child.stdout.readline().split()]
    assert len(readers) == 2
    child.kill()
    child.wait()
    with lock(tmp_path):
        pass
    end = time.monotonic() + 20
    while any(lives(reader) for reader in readers):
        assert time.monotonic() < end, "a reader is left behind"
        time.sleep(0.1)


def lives(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
