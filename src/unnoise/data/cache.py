"""Decoded pictures in a folder of their own: each part an array that is read as it is asked for."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from unnoise.config import UserError
from unnoise.data.decoding import JOURNAL, PASSED, RAW, Record, View, decode_all, sizes
from unnoise.data.source import SPLITS, Items, Raw
from unnoise.data.split import divide_stated
from unnoise.files import naming, put
from unnoise.reading.labels import Named
from unnoise.reading.stores import Store
from unnoise.reading.windows import Windows

FORMAT = 2
FACTS = "facts.json"
COMMON = 100  # of the sizes that the files' pictures have, so many are kept, the commonest first

if os.name == "nt":
    import msvcrt

    def _wait_for(handle: int) -> None:
        while True:
            with suppress(OSError):  # it gives up after ten seconds
                return msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
else:
    import fcntl

    def _wait_for(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)


# Of names, what the store knows of each (label, part, caption), and the texts beside them.
Namer = Callable[[Sequence[str], Sequence[tuple[str | None, str | None, str | None]], Mapping[str, bytes]], Named]


@dataclass(frozen=True)
class Order:
    """What is wanted of a store: the view, how labels and parts are found (`words` tell two ways apart), the split."""

    store: Store
    view: View
    namer: Namer
    words: tuple[Any, ...]
    held_out: float
    seed: int

    @property
    def key(self) -> str:
        """What the cache is known by: it changes with the files' names, sizes and times, and with every setting."""
        store = (type(self.store).__name__, os.path.abspath(self.store.path), self.store.stamp())
        facts = [FORMAT, store, asdict(self.view), self.words, self.held_out, self.seed]
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:40]


@dataclass(frozen=True)
class Decoded:
    """The folder of a decoding that is complete."""

    folder: Path
    facts: Mapping[str, Any]

    def part(self, name: str) -> Items:
        """A part, mapped: rows are read from the disk when they are taken, or from the system's own cache of it."""
        items = self._array(name)
        cond = {"label": np.array(self._array(f"{name}-label"))} if self.facts["classes"] else {}
        if self.facts["captions"]:
            cond["text"] = self._array(f"{name}-text")
        if not self.facts["windows"]:
            return Items(items, cond)
        flat, index = self._array(f"{name}-whole"), np.array(self._array(f"{name}-index"))
        return Items(items, cond, Windows(flat, index, items.shape[1]), self.facts["windows"] == "buckets")

    def _array(self, name: str) -> Raw:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def decoded(order: Order, root: Path, strict: bool = False) -> Decoded:
    """The pictures of a store, decoded when they were not yet; any number of processes may ask at once."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"decoded pictures are kept in {root}, which cannot be made ({error.strerror}): name a folder in data.cache"
        ) from None
    folder = root / order.key
    made = _standing(folder)
    if made is None:
        with _one_at_a_time(root / f"{order.key}.lock"):
            made = _standing(folder) or _make(order, folder, strict)
    if strict and made.facts["skipped"]:
        name, reason = made.facts["skipped"][0]
        raise UserError(f"{order.store.path}: {name} is left out: {reason} (strict: true refuses it)")
    return made


def _standing(folder: Path) -> Decoded | None:
    """The decoding in a folder; None where there is none, or where its files were tampered with."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        made = Decoded(folder, facts)
        if all(len(made.part(name)) == facts["counts"][name] for name in SPLITS):
            return made
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


@contextmanager
def _one_at_a_time(path: Path) -> Generator[None]:
    with naming(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _wait_for(handle)
        yield
    finally:
        os.close(handle)


def _make(order: Order, folder: Path, strict: bool) -> Decoded:
    beside = folder.with_name(f"{folder.name}.part")
    records, texts = decode_all(order.store, order.view, beside, strict)
    good = [i for i, record in enumerate(records) if not record.reason]
    skipped = [(record.name, record.reason) for record in records if record.reason not in ("", PASSED)]
    if not good:
        shutil.rmtree(beside, ignore_errors=True)
        few = f": {len(skipped):,} files are none, such as {skipped[0][0]} ({skipped[0][1]})" if skipped else ""
        raise UserError(f"there is no picture in {order.store.path}{few}")
    own = [(records[i].label, records[i].part, records[i].caption) for i in good]
    named = order.namer([records[i].name for i in good], own, texts)
    skipped += [(records[good[i]].name, reason) for i, reason in sorted(named.left_out.items())]
    there = {record.name for record in records}
    skipped += [entry for entry in named.missing if entry[0] not in there]
    kept = [i for i in range(len(good)) if i not in named.left_out]
    if not kept:
        raise UserError(f"no picture in {order.store.path} is left: {skipped[0][0]} {skipped[0][1]}, and so with all")
    digests = [bytes.fromhex(records[good[i]].content) for i in kept]
    try:
        parts = divide_stated(digests, [named.parts[i] for i in kept], order.held_out, order.seed)
    except UserError as error:
        raise UserError(f"{order.store.path}: {error}") from None
    rows = {name: [good[kept[i]] for i in part] for name, part in parts.items()}
    labels = {good[i]: named.classes.index(label) for i in kept if named.classes and (label := named.labels[i])}
    captions = None if named.captions is None else dict(zip(good, named.captions, strict=True))
    facts = _facts(order, records, [good[i] for i in kept], rows, named.classes, labels, skipped, captions)
    with naming(beside):
        _write(order.view, records, rows, labels, captions, facts, beside)
        put(beside / FACTS, json.dumps(facts))
        for name in (RAW, JOURNAL):
            os.unlink(beside / name)
        shutil.rmtree(folder, ignore_errors=True)  # a decoding whose files were tampered with
        os.rename(beside, folder)
    made = _standing(folder)
    assert made is not None
    _forget(folder, facts)
    return made


def _facts(
    order: Order,
    records: Sequence[Record],
    kept: Sequence[int],
    rows: Mapping[str, Sequence[int]],
    classes: tuple[str, ...],
    labels: Mapping[int, int],
    skipped: Sequence[tuple[str, str]],
    captions: Mapping[int, str] | None,
) -> dict[str, Any]:
    """All that is known of a decoding beside its pixels, as JSON holds it."""
    view = order.view
    channels = view.channels or (1 if all(records[i].grey for i in kept) else 3)
    content = hashlib.sha256(repr((channels, view.fit.size, classes)).encode())
    for name in SPLITS:
        for i in rows[name]:
            told = "" if captions is None else f" {captions[i]!r}"
            content.update(f"{name} {records[i].digest} {labels.get(i)}{told}\n".encode("utf-8", "surrogatepass"))
    silent = [records[i].name for i in kept if captions is not None and not captions[i]]
    found = Counter((records[i].height, records[i].width) for i in kept)
    return {
        "format": FORMAT,
        "path": str(order.store.path),
        "settings": json.loads(json.dumps([asdict(view), order.words, order.held_out, order.seed], default=str)),
        "channels": channels,
        "classes": list(classes),
        "captions": captions is not None,
        "silent": [len(silent), silent[0]] if silent else [],
        "counts": {name: len(rows[name]) for name in SPLITS},
        "windows": "buckets" if view.buckets else "random" if view.fit.crop == "random" else "",
        "digest": content.hexdigest(),
        "copies": len(kept) - len({records[i].content for i in kept}),
        "sizes": [[*size, count] for size, count in found.most_common(COMMON)],
        "skipped": [list(entry) for entry in skipped],
    }


def _write(
    view: View,
    records: Sequence[Record],
    rows: Mapping[str, Sequence[int]],
    labels: Mapping[int, int],
    captions: Mapping[int, str] | None,
    facts: Mapping[str, Any],
    folder: Path,
) -> None:
    """The arrays of the parts, from the pixels in the order of the files."""
    taken = np.array([sizes(record, view) for record in records], np.int64).reshape(-1, 2)
    starts = np.concatenate([[0], np.cumsum(taken.sum(axis=1))[:-1]])
    share = facts["channels"], view.planes  # grey that was written in three equal planes is one
    with open(folder / RAW, "rb") as raw:

        def copy(out: IO[bytes], start: int, size: int) -> None:
            raw.seek(start)
            out.write(raw.read(size * share[0] // share[1]))

        for name, chosen in rows.items():
            with _array_file(folder / f"{name}.npy", (len(chosen), share[0], *view.fit.size)) as out:
                for i in chosen:
                    copy(out, int(starts[i]), int(taken[i, 0]))
            if facts["classes"]:
                np.save(folder / f"{name}-label.npy", np.array([labels[i] for i in chosen], np.int64))
            if captions is not None:
                np.save(folder / f"{name}-text.npy", np.array([captions[i] for i in chosen], np.str_))
            if facts["windows"]:
                index = np.array([(0, *records[i].whole) for i in chosen], np.int64).reshape(-1, 3)
                bytes_ = share[0] * index[:, 1] * index[:, 2]
                index[:, 0] = np.cumsum(bytes_) - bytes_
                np.save(folder / f"{name}-index.npy", index)
                with _array_file(folder / f"{name}-whole.npy", (int(bytes_.sum()),)) as out:
                    for i in chosen:
                        copy(out, int(starts[i] + taken[i, 0]), int(taken[i, 1]))


@contextmanager
def _array_file(path: Path, shape: tuple[int, ...]) -> Generator[IO[bytes]]:
    """A .npy file of bytes, for what is written into it to fill."""
    with open(path, "wb") as file:
        head: Any = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        yield file
        file.flush()
        os.fsync(file.fileno())


def _forget(folder: Path, facts: Mapping[str, Any]) -> None:
    """Removes older decodings of the same path by the same settings: its files have changed since."""
    for other in folder.parent.glob(f"*/{FACTS}"):
        if other.parent == folder:
            continue
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(other.read_text(encoding="utf-8"))
            if known["path"] == facts["path"] and known["settings"] == facts["settings"]:
                shutil.rmtree(other.parent, ignore_errors=True)
                os.unlink(other.parent.with_name(f"{other.parent.name}.lock"))


__all__ = ["Decoded", "Order", "decoded"]
