"""Faults put into the system calls by which a training writes: no space, a broken disk, a kill at any moment."""

import errno
import os
import signal
from collections import Counter
from contextlib import suppress

KINDS = ("open", "write", "fsync", "rename", "mkdir", "truncate")
CALLS = {"open": "open", "write": "write", "fsync": "fsync", "rename": "rename", "replace": "rename",
         "mkdir": "mkdir", "ftruncate": "truncate"}  # fmt: skip


class Disk:
    """Counts the calls of each kind below a folder, or several; the `at`-th one of `kind` (of any, if None) fails.

    fault: an errno, or None to kill the process there. A write that fails has written half. A disk that is full
    (ENOSPC) stays full; a broken sector (EIO) is met once.
    """

    def __init__(self, folder, kind=None, at=0, fault=errno.ENOSPC):
        self.folders = tuple(map(os.fspath, folder)) if isinstance(folder, tuple) else os.fspath(folder)
        self.kind, self.at, self.fault = kind, at, fault
        self.calls = Counter()
        self.met = None  # the kind of call at which the fault was met
        self.written = 0  # files opened to be written
        self._handles = set()
        self._own = {}

    def __enter__(self):
        for name, kind in CALLS.items():
            self._own[name] = getattr(os, name)
            setattr(os, name, self._around(name, kind))
        return self

    def __exit__(self, *_):
        for name, call in self._own.items():
            setattr(os, name, call)

    def _around(self, name, kind):
        own = self._own[name]

        def call(*arguments, **options):
            if not self._concerned(name, arguments[0]):
                made = own(*arguments, **options)
                if name == "open":
                    self._handles.discard(made)
                return made
            self._meet(kind, arguments)
            made = own(*arguments, **options)
            if name == "open":
                self._handles.add(made)
                self.written += bool(arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            return made

        return call

    def _concerned(self, name, first):
        if name in ("write", "fsync", "ftruncate"):
            return first in self._handles
        return isinstance(first, (str, os.PathLike)) and os.fspath(first).startswith(self.folders)

    def _meet(self, kind, arguments):
        self.calls[kind] += 1
        if self.met is None and self.at == (self.calls[self.kind] if self.kind else self.calls.total()):
            if self.kind in (None, kind):
                self.met = kind
                self._fail(kind, arguments)
        elif self.met and self.fault == errno.ENOSPC and self._needs_space(kind, arguments):
            self._fail(kind, arguments)

    def _needs_space(self, kind, arguments):
        return kind in ("write", "mkdir") or (kind == "open" and arguments[1] & os.O_CREAT)

    def _fail(self, kind, arguments):
        if kind == "write":
            with suppress(OSError):
                self._own["write"](arguments[0], arguments[1][: len(arguments[1]) // 2])
        if self.fault is None:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self.fault, os.strerror(self.fault))
