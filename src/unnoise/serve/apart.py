"""The loop that takes the steps in a process of its own: what answers and draws pictures never holds up a step.

The threads of one process take turns at Python, and a network call gives its turn up at every operation; beside
requests it would get it back late a hundred times a step. The other process is spoken to through its input and output,
in parts that say their length; what goes over them is this program's own. When this process ends, however it ends, the
other ends after the step that it takes.
"""

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO, cast

import torch

from unnoise.serve import logs
from unnoise.serve.messages import Ended, Message, News, Place, Turn
from unnoise.serve.steps import Steps
from unnoise.tensor import Tensor

LENGTH = 8  # bytes before every part
BRIEF = 5.0  # seconds: a process that lived no longer is begun anew no sooner than PAUSE after its end
PAUSE = 1.0


class Apart:
    """The loop in a process of its own; begun anew, with nothing at hand, by the first message after its end."""

    def __init__(self, tell: Callable[[News], None], threads: int):
        self._tell, self._threads = tell, threads
        self._outbox: SimpleQueue[tuple[subprocess.Popen[bytes] | None, Message]] = SimpleQueue()
        self._writer = Thread(target=self._write, name="to the steps", daemon=True)
        self._stopping = False

    def start(self) -> None:
        """Begins to take messages."""
        self._writer.start()

    def is_alive(self) -> bool:
        """Whether messages are taken."""
        return self._writer.is_alive()

    def send(self, message: Message) -> None:
        """Says something to it, from any thread."""
        self._outbox.put((None, message))

    def stop(self) -> None:
        """Ends it after the step that it takes."""
        self._stopping = True
        self.send(None)
        self._writer.join()

    def _write(self) -> None:
        """Hands on messages in their order; what is said to a process that has ended is lost, and its end is told."""
        child: subprocess.Popen[bytes] | None = None
        while True:
            ended, message = self._outbox.get()
            if ended is not None:
                child = None if ended is child else child
                continue
            if child is None and message is not None:
                child = self._begin()
            if child is not None:
                _put(cast(BinaryIO, child.stdin), _packed(message))
            if message is None:
                break
        if child is not None:
            child.wait()

    def _begin(self) -> "subprocess.Popen[bytes]":
        words = [sys.executable, "-c", f"from unnoise.serve.apart import main; main({self._threads})"]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        Thread(target=self._read, args=(child, time.monotonic()), name="from the steps", daemon=True).start()
        return child

    def _read(self, child: "subprocess.Popen[bytes]", begun: float) -> None:
        """Hands on its news until it ends."""
        try:
            while (part := _take(cast(BinaryIO, child.stdout))) is not None:
                self._tell(cast(News, pickle.loads(part)))
        except Exception as error:  # a mistake of ours: better no process than one that nobody hears
            logs.error("from the steps", error)
            child.kill()
        status = child.wait()
        if self._stopping:
            return
        if time.monotonic() - begun < BRIEF:
            time.sleep(PAUSE)
        self._outbox.put((child, None))
        why = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        self._tell(Ended(f"the process that takes the steps has ended by itself ({why})"))


class _Pickler(pickle.Pickler):
    """Tensors go as their own numbers, from wherever they live: a row does not take its whole batch along, and rows of
    a kind go together."""

    def reducer_override(self, obj: object) -> Any:
        if isinstance(obj, Tensor):
            return torch.from_numpy, (obj.detach().cpu().numpy(),)  # pyright: ignore[reportUnknownMemberType]
        if isinstance(obj, Turn):
            beliefs, found = ((list(rows), _stack(rows)) for rows in (obj.beliefs, obj.found))
            return _turn, (obj.lane, obj.seconds, obj.rows, beliefs, found, obj.failed)
        return NotImplemented


def _stack(rows: dict[Place, Tensor]) -> Tensor | None:
    return torch.stack(list(rows.values())) if rows else None


def _turn(
    lane: int, seconds: float, rows: dict[Place, int], beliefs: tuple[list[Place], Tensor | None],
    found: tuple[list[Place], Tensor | None], failed: dict[Place, str],
) -> Turn:  # fmt: skip
    """What `_Pickler` took apart."""
    seen, done = ({} if x is None else dict(zip(places, x, strict=True)) for places, x in (beliefs, found))
    return Turn(lane, seconds, rows, seen, done, failed)


def _packed(said: Message | News) -> bytes:
    file = io.BytesIO()
    _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(said)
    return file.getvalue()


def _put(stream: BinaryIO, part: bytes) -> None:
    try:
        stream.write(len(part).to_bytes(LENGTH, "little") + part)
        stream.flush()
    except OSError:  # nobody reads any more, of which the reader tells
        return


def _take(stream: BinaryIO) -> bytes | None:
    """The next part; None where no more come."""
    try:
        head = stream.read(LENGTH)
        size = int.from_bytes(head, "little")
        part = stream.read(size)
    except (OSError, ValueError):
        return None
    return part if len(head) == LENGTH and len(part) == size else None


def main(threads: int) -> None:
    """The other process. It ends when it is told to, or when nobody can tell it anything any more."""
    for name in (signal.SIGINT, signal.SIGTERM):  # those are for the process that answers
        signal.signal(name, signal.SIG_IGN)
    input_, output = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no news
    torch.set_num_threads(threads)
    inbox: SimpleQueue[Message] = SimpleQueue()
    outbox: SimpleQueue[bytes | None] = SimpleQueue()

    def read() -> None:
        while (part := _take(input_)) is not None:
            inbox.put(cast(Message, pickle.loads(part)))
        inbox.put(None)

    def write() -> None:
        while (part := outbox.get()) is not None:
            _put(output, part)

    writer = Thread(target=write, daemon=True)
    writer.start()
    Thread(target=read, daemon=True).start()
    Steps(lambda news: outbox.put(_packed(news))).run(inbox)
    outbox.put(None)
    writer.join()


__all__ = ["Apart"]
