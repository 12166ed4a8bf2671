"""How commands speak: words for people on one stream, JSON on the other, progress where there is some."""

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

WINDOW = 20.0  # seconds over which a rate is measured, at least; half of what has passed, where that is more
PACE = 5.0  # seconds between plain lines, at least
LEAP = 60.0  # seconds between two looks that are no more the machine's work: its clock was set, or it slept


def say(text: str, beside: bool = False) -> None:
    """A line for people; beside: on stderr, where stdout is for a machine."""
    print(text, file=sys.stderr if beside else sys.stdout, flush=True)


def tell(result: Any) -> None:
    """One line of JSON on stdout; numbers that are not finite become null, since JSON has none."""
    plain = json.loads(json.dumps(result), parse_constant=lambda _: None)
    print(json.dumps(plain, allow_nan=False), flush=True)


def table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Collection[str] = (),
    width: int = 160,
    whole: bool = False,
    least: Mapping[str, int] | None = None,
    faint: Sequence[str] | None = None,
) -> None:
    """A table on stdout, its head above a line: as wide as the terminal, or `width` where there is none.

    right: the titles whose columns stand to the right; whole: no cell is broken into lines; least: the least width
    of a column by its title; faint: a last row, behind the others.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        side = "right" if title in right else "left"
        made.add_column(title, justify=side, no_wrap=whole, min_width=(least or {}).get(title))
    for row in rows:
        made.add_row(*row)
    if faint is not None:
        made.add_row(*faint, style="dim")
    Console(width=None if sys.stdout.isatty() else width, highlight=False).print(made)


class Meter:
    """Progress of what is counted: a bar in a terminal, else a plain line now and then, always on stderr.

    done: how many of `total` there are so far, asked a few times a second from a thread beside;
    facts: what else is worth a word, such as the loss.
    """

    def __init__(self, what: str, total: int, unit: str, done: Callable[[], int], facts: Callable[[], str] = str):
        self.what, self.total, self.unit, self._done, self._facts = what, total, unit, done, facts
        self._seen: deque[tuple[float, int]] = deque()
        self._ended = threading.Event()
        self._begun, self._said, self._share = 0.0, 0.0, 0.0
        self.seconds = 0.0  # that it took, leaps of the clock left out
        self._bar: Progress | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Meter":
        self._seen.append((time.perf_counter(), self._done()))
        self._begun = self._said = time.perf_counter()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            bar = BarColumn(bar_width=20)
            text = TextColumn("{task.description}", markup=False)
            self._bar = Progress(TextColumn(self.what), bar, text, console=Console(stderr=True), auto_refresh=False)
            self._bar.add_task("", total=self.total)
            self._bar.start()
        self._show()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._show(last=True)
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            say(text, beside=True)

    def _watch(self) -> None:
        while not self._ended.wait(0.25):
            self._show()

    def _show(self, last: bool = False) -> None:
        now, done = time.perf_counter(), self._done()
        passed = now - self._seen[-1][0]
        if 0 <= passed < LEAP:
            self.seconds += passed
        else:  # what was seen before says nothing of a rate
            self._seen.clear()
            self._begun = self._said = now
        self._seen.append((now, done))
        while now - self._seen[0][0] > max(WINDOW, (now - self._begun) / 2) and len(self._seen) > 2:
            self._seen.popleft()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, description=self.text(done, short=True))
            self._bar.refresh()
            return
        share = done / max(self.total, 1)
        waited = now - self._said
        if done and (last or waited > 6 * PACE or (waited > PACE and share - self._share >= 0.02)):
            self._said, self._share = now, share
            say(f"{self.what}  {self.text(done)}", beside=True)

    def text(self, done: int, short: bool = False) -> str:
        """How far, how fast, how long still."""
        (then, before), (now, _) = self._seen[0], self._seen[-1]
        rate = (done - before) / (now - then) if now - then > 1e-3 else 0.0
        parts = [f"{100 * done // max(self.total, 1):3d} %"]
        if not short:
            parts = [f"{done:,} of {self.total:,} {self.unit} ({parts[0].strip()})"]
        if rate > 0:
            parts.append(f"{rate:,.{0 if rate >= 10 else 1}f} {self.unit}/s")
            if done < self.total:
                parts.append(f"{span((self.total - done) / rate)} left")
        return "  ".join([*parts, *filter(None, [self._facts()])])


def span(seconds: float) -> str:
    """A time in words that are short: 8 s, 2 min 05 s, 1 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


__all__ = ["Meter", "say", "span", "table", "tell"]
