"""All pictures of a store decoded once, in order, in bounded memory; interrupted, it goes on where it stood."""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from unnoise.config import UserError
from unnoise.files import naming
from unnoise.reading import progress
from unnoise.reading.decode import EMPTY, SUFFIXES, UNKNOWN, Limits, Unreadable, decode, quiet
from unnoise.reading.fit import Fit, Size, bucket, pixels
from unnoise.reading.stores import LARGEST_TEXT, Entry, Store

CHUNK = 16, 1 << 22  # files, and bytes after which no more are added, that a thread takes at a time
AHEAD = 2, 1 << 26  # chunks, beside one for each thread, and bytes, that wait or are done
THREADS = 8  # at most
RAW, JOURNAL = "pixels.raw", "journal.jsonl"
PASSED = "no picture"  # the reason of a file that never promised to be one


@dataclass(frozen=True)
class View:
    """How pictures are seen: to what size, in how many channels (0: as many as they turn out to need), in buckets."""

    fit: Fit
    channels: int
    limits: Limits
    buckets: tuple[Size, ...] = ()

    @property
    def planes(self) -> int:
        """Channels as written while decoding."""
        return self.channels or 3


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one file. The bytes of its pixels follow those of the record before: first the item, then the
    whole around it (or its bucket's shape), where one is kept."""

    name: str
    reason: str  # why it gave no picture; empty where it gave one
    label: str | None = None
    part: str | None = None
    content: str = ""  # BLAKE2 of the file: what the split goes by, so that it is the same at every size
    digest: str = ""  # SHA-256 of the pixels
    grey: bool = True
    width: int = 0  # of the file's picture, upright
    height: int = 0
    caption: str | None = None
    whole: tuple[int, int] = (0, 0)  # height and width of what is kept around the item


def decode_all(store: Store, view: View, folder: Path, strict: bool) -> tuple[list[Record], dict[str, bytes]]:
    """Writes folder/pixels.raw and folder/journal.jsonl; gives the records and the texts beside the pictures.

    Memory: AHEAD[1] bytes of files and one file more, the pixels of threads + AHEAD[0] chunks, one large picture at a
    time (decode.LARGE), and some 600 bytes for each record. What a former call left is kept, up to the last record
    whose pixels are complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    threads = min(THREADS, os.cpu_count() or 1)
    told = 0.0
    with naming(folder / RAW), open(folder / RAW, "ab") as raw, open(folder / JOURNAL, "ab") as journal, quiet():
        records = _resume(raw, journal, view)
        texts: dict[str, bytes] = {}
        with ThreadPoolExecutor(threads, "decode") as pool:
            waiting: deque[tuple[float, int, Future[list[tuple[Record, list[bytes]]]]]] = deque()

            def settle() -> None:
                nonlocal told
                share, _, future = waiting.popleft()
                for record, parts in future.result():
                    if strict and record.reason not in ("", PASSED):
                        raise UserError(f"{store.path}: {record.name} is {record.reason} (strict: true refuses it)")
                    for part in parts:
                        raw.write(part)
                    journal.write(json.dumps(astuple(record)).encode() + b"\n")
                    records.append(record)
                if time.monotonic() > told + 0.1:
                    raw.flush()  # before the journal: a record whose pixels are not there is not believed
                    journal.flush()
                    told = time.monotonic()
                    progress.tell(f"reading {store.path.name}", share, len(records))

            try:
                for share, chunk in _chunks(store, len(records), view.limits, texts):
                    size = sum(len(data) for _, data in chunk)
                    waiting.append((share, size, pool.submit(_decode_chunk, chunk, view)))
                    while len(waiting) > threads + AHEAD[0] or sum(size for _, size, _ in waiting) > AHEAD[1]:
                        settle()
                while waiting:
                    settle()
            finally:
                for *_, future in waiting:
                    future.cancel()
        for file in (raw, journal):
            file.flush()
            os.fsync(file.fileno())
    progress.tell(f"reading {store.path.name}", 1.0, len(records))
    return records, texts


def _chunks(
    store: Store, done: int, limits: Limits, texts: dict[str, bytes]
) -> Iterator[tuple[float, list[tuple[Entry, bytes | str]]]]:
    """(share, files) for the threads: each file's entry with its bytes, or why these cannot be had."""
    chunk: list[tuple[Entry, bytes | str]] = []
    size, place = 0, 0
    for entry in store:
        if entry.is_text:
            texts[entry.name] = _text(store, entry)
            continue
        place += 1
        if place <= done:
            continue
        try:
            data: bytes | str = entry.read(limits.bytes)
        except Unreadable as error:
            data = str(error)
        chunk.append((entry, data))
        size += len(data)
        if len(chunk) >= CHUNK[0] or size >= CHUNK[1]:
            yield entry.share, chunk
            chunk, size = [], 0
    if chunk:
        yield 1.0, chunk


def _text(store: Store, entry: Entry) -> bytes:
    try:
        data = entry.read(LARGEST_TEXT)
    except Unreadable as error:
        raise UserError(f"{store.path}: {entry.name} is {error}") from None
    if len(data) > LARGEST_TEXT:
        raise UserError(f"{store.path}: {entry.name} holds more than {LARGEST_TEXT:,} bytes")
    return data


def _decode_chunk(chunk: Sequence[tuple[Entry, bytes | str]], view: View) -> list[tuple[Record, list[bytes]]]:
    return [_decode(entry, data, view) for entry, data in chunk]


def _decode(entry: Entry, data: bytes | str, view: View) -> tuple[Record, list[bytes]]:
    if isinstance(data, str):
        return Record(entry.name, _promised(entry, data)), []
    fit = view.fit
    wanted = tuple(max(sides) for sides in zip(fit.size, *view.buckets, strict=True))
    try:
        image = decode(data, view.limits, fit.background, (wanted[0], wanted[1]))
    except Unreadable as error:
        return Record(entry.name, _promised(entry, str(error))), []
    width, height = image.size
    made = [fit.middle(image)]
    if view.buckets:
        made.append(fit.middle(image, bucket(width, height, view.buckets)))
    elif fit.crop == "random":
        made.append(fit.around(image))
    arrays = [pixels(one, view.planes) for one in made]
    grey = view.planes == 1 or all(bool((a[:1] == a[1:]).all()) for a in arrays)
    parts = [array.tobytes() for array in arrays]
    digest = hashlib.sha256(repr([a.shape for a in arrays]).encode())
    for part in parts:
        digest.update(part)
    whole = (arrays[1].shape[1], arrays[1].shape[2]) if len(arrays) > 1 else (0, 0)
    content = hashlib.blake2b(data, digest_size=16).hexdigest()
    told = (entry.label, entry.part, content, digest.hexdigest(), grey, width, height, entry.caption)
    return Record(entry.name, "", *told, whole), parts


def _promised(entry: Entry, reason: str) -> str:
    """The reason, or that a file which lies among pictures never was one."""
    doubtful = reason in (EMPTY, UNKNOWN) or reason.endswith("allowed")
    named = entry.sure or PurePosixPath(entry.name).suffix.lower() in SUFFIXES
    return PASSED if doubtful and not named else reason


def sizes(record: Record, view: View) -> tuple[int, int]:
    """How many bytes the item takes, and how many what is kept around it."""
    if record.reason:
        return 0, 0
    return view.planes * int(np.prod(view.fit.size)), view.planes * record.whole[0] * record.whole[1]


def _resume(raw: IO[bytes], journal: IO[bytes], view: View) -> list[Record]:
    """The records whose pixels are all there; the two files are cut to them."""
    there, end, lines = os.fstat(raw.fileno()).st_size, 0, 0
    records: list[Record] = []
    with open(journal.name, "rb") as before:
        for line in before:
            try:
                *fields, whole = json.loads(line)
                record = Record(*fields, whole=(whole[0], whole[1]))
            except (ValueError, TypeError, IndexError):  # half a line, where the process ended
                break
            taken = sum(sizes(record, view))
            if not line.endswith(b"\n") or end + taken > there:
                break
            records.append(record)
            end, lines = end + taken, lines + len(line)
    raw.truncate(end)
    journal.truncate(lines)
    return records


__all__ = ["JOURNAL", "PASSED", "RAW", "Record", "View", "decode_all", "sizes"]
