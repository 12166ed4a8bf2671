"""Lines of JSON on stderr: one for each request and each thing worth a word."""

import json
import sys
import time
import traceback
from threading import Lock
from typing import Any

_LOCK = Lock()


def say(event: str, **told: Any) -> None:
    """One line; what is None is left out."""
    line = {"time": round(time.time(), 3), "event": event, **{k: v for k, v in told.items() if v is not None}}
    with _LOCK:
        print(json.dumps(line, default=str), file=sys.stderr, flush=True)


def error(where: str, raised: BaseException, **told: Any) -> None:
    """An error of the server's own, with its traceback."""
    trace = "".join(traceback.format_exception(type(raised), raised, raised.__traceback__)[-6:])
    say("error", where=where, error=f"{type(raised).__name__}: {raised}", trace=trace, **told)


__all__ = ["error", "say"]
