"""Batches read and encoded ahead by processes of their own; no bit depends on how many they are."""

import signal
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import copy
from multiprocessing.reduction import ForkingPickler
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from unnoise.tensor import Tensor, send
from unnoise.train.order import Feed

AHEAD = 2  # batches that each process may be ahead by: one being made, one waiting
STOPS = ("SIGINT", "SIGTERM")  # what asks a training to end; its readers end when it says so


class Loader:
    """A feed whose batches `workers` processes make ahead of time; 0: it makes them itself, when asked.

    feed: a function of (first, size) alone, on the CPU, hence the same batches whoever makes them; where processes
    are spawned rather than forked it must be one that pickle takes. items: of the whole training, beyond which
    nothing is read. device: where the batches go. method: "fork", "spawn" or "forkserver"; the system's own if None.

    Processes start with the first batch. They end with `close`, with the `with` that the loader stands in, and
    within seconds of the death of the process that started them; never by Ctrl-C, which leaves a training its last
    step. An error in one of them is raised here, of the type and in the words that it had there.
    """

    def __init__(
        self,
        feed: Feed,
        workers: int = 0,
        items: int = 0,
        device: torch.device | str = "cpu",
        method: str | None = None,
    ):
        self._feed, self._workers, self._items, self._method = feed, workers, items, method
        self._device = torch.device(device)
        self._batches: Iterator[Any] | None = None
        self._end: Callable[[], Any] = tuple
        self._next = -1, 0  # the batch that comes next: its first item, and how many

    def __call__(self, first: int, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        x0, cond = self._ask(first, size) if self._workers else self._feed(first, size)
        return send(x0, self._device), {name: send(leaf, self._device) for name, leaf in cond.items()}

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, RuntimeError) and (said := _told(error)):  # torch raises it wherever the main thread is
            raise said from None

    def close(self) -> None:
        """Ends the processes, whatever they are at. The next batch asked for starts them again."""
        if self._batches is not None:
            self._batches = None
            self._end()

    def _ask(self, first: int, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        beyond = first >= self._items  # of the training: nobody read ahead
        if self._batches is None or beyond or self._next != (first, size):
            self.close()
            self._batches = self._start(first, size)
        try:
            made = next(self._batches)
        except (RuntimeError, OSError, EOFError) as error:  # the last two where it died with a batch half sent
            self.close()
            raise _told(error) or error from None
        if isinstance(made, _Failed):
            self.close()
            raise made.error from _Elsewhere(made.trace)
        self._next = first + size, size
        return made[0], made[1]

    def _start(self, first: int, size: int) -> Iterator[Any]:
        loader = DataLoader(
            _Batches(self._feed, size),
            batch_size=None,
            sampler=range(first, max(self._items, first + 1), size),
            num_workers=self._workers,
            prefetch_factor=AHEAD,
            collate_fn=_as_it_is,
            worker_init_fn=_begin,
            generator=torch.Generator(),  # its own, or torch's would be moved
            multiprocessing_context=self._method,
            pin_memory=self._device.type == "cuda",
        )
        with _masked(*STOPS):  # until `_begin` says so for good
            made = iter(loader)
        self._end = Finalize(self, _end, (made,), exitpriority=100)  # where nobody closes it: before its queues go
        return made


class _Failed(NamedTuple):
    error: Exception
    trace: str


class _Elsewhere(Exception):
    """The traceback of the process where an error was raised, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Batches(Dataset[Any]):
    """What a process is asked for: by the first item of a batch, the batch."""

    def __init__(self, feed: Feed, size: int):
        self._feed, self._size = feed, size

    def __getitem__(self, first: int) -> Any:
        try:
            return self._feed(first, self._size)
        except Exception as error:
            return _Failed(_portable(error), traceback.format_exc())


def _portable(error: Exception) -> Exception:
    """The error itself if it survives the way to another process, else one that says as much."""
    try:
        ForkingPickler.dumps(error)
        same = copy(error)  # made anew from its arguments, as it is at the other end
        if type(same) is type(error) and str(same) == str(error):
            return error
    except Exception:  # whatever a foreign class does when it is taken apart
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")


def _begin(worker: int) -> None:
    """What a process does first. Torch has set it to one thread already."""
    for name in STOPS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def _end(batches: Iterator[Any]) -> None:
    """Ends processes as torch ends them, and where that fails, by force: they hold nothing that could be lost."""
    polite, processes = (getattr(batches, name) for name in ("_shutdown_workers", "_workers"))
    try:
        with _masked("SIGCHLD"):  # of a process that died torch speaks whenever another ends
            polite()
    except (RuntimeError, OSError) as error:
        if _told(error) is None:
            raise
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def _masked(*names: str) -> Generator[None]:
    """The signals wait until this is over; processes started within never hear them."""
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _told(error: BaseException) -> ChildProcessError | None:
    """What is to be said of a process that died, if the error comes of that."""
    text = str(error)
    if isinstance(error, RuntimeError) and not text.startswith("DataLoader worker"):
        return None
    reason = "it was killed, perhaps for want of memory" if "Killed" in text else "it ended unasked"
    reason = "shared memory (/dev/shm) is full" if "shared memory" in text else reason
    return ChildProcessError(f"a process that reads ahead was lost: {reason}; go on with --resume and fewer workers")


def _as_it_is(batch: Any) -> Any:
    return batch


__all__ = ["Loader"]
