"""What is known of pictures beside their pixels: label, part and caption, from folders, files or the store."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from unnoise.config import UserError, nearest

LABELS = ("label", "labels", "class", "category", "target", "y")  # columns that are taken for the label
CAPTIONS = ("text", "caption", "captions", "prompt")  # columns that are taken for the caption
FILES = ("file_name", "filename", "file", "image", "path", "name")  # columns that are taken for the picture's place
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Named:
    """Of each picture, in order: its label and its part, or None; and why some are left out."""

    labels: Sequence[str | None]
    parts: Sequence[str | None]
    classes: tuple[str, ...] = ()  # empty: there are no labels
    left_out: Mapping[int, str] = field(default_factory=dict[int, str])
    missing: Sequence[tuple[str, str]] = ()  # (name, reason) of what is named and is not there
    captions: Sequence[str] | None = None  # "" where a picture has none; None: there are none at all


def name_all(
    names: Sequence[str],
    own: Sequence[tuple[str | None, str | None, str | None]],
    texts: Mapping[str, bytes],
    labels: str = "auto",
    classes: tuple[str, ...] = (),
) -> Named:
    """Labels and parts of the pictures of these names ("train/cats/1.png").

    own: label, part and caption of each as the store knows them; texts: the metadata files, name → content. labels:
    "auto", "folders", "none", or a column of the metadata. Folders that all pictures share say nothing. Where the
    outermost others are train and test or validation, they are the parts; else, and within them, the outermost folder
    is the label, if there are two at least, all pictures lie in one, and they hold two pictures each on average.
    """
    trimmed, parts = _parts(names, [part for _, part, _ in own])
    left_out = {i: "lies beside the folders of the parts" for i, part in enumerate(parts) if part == ""}
    stated = [part or None for part in parts]
    if labels == "none":
        return Named([None] * len(names), stated, (), left_out)
    if any(label is not None for label, *_ in own):
        given = [label for label, *_ in own]
        return _labelled(given, stated, left_out, classes)
    if texts and labels != "folders":
        read = _metadata(names, texts, LABELS if labels == "auto" else (labels,), "the label")
        if read is not None:
            given, missing = read
            left_out |= {i: "has no line in the metadata" for i, entry in enumerate(given) if entry == ""}
            return _labelled([entry or None for entry in given], stated, left_out, missing=missing)
    if labels not in ("auto", "folders"):
        raise UserError(
            f"there is no column '{labels}', as there is no metadata.csv or .jsonl beside the pictures; "
            "labels are auto, folders, none, or a column of it"
        )
    heads = [path.parts[0] if len(path.parts) > 1 else None for path in trimmed]
    kinds = Counter(head for i, head in enumerate(heads) if i not in left_out)
    fit = len(kinds) > 1 and None not in kinds and 2 * len(kinds) <= len(names)
    if labels == "auto" and not fit:
        return Named([None] * len(names), stated, (), left_out)
    return _labelled(heads, stated, left_out)


def caption_all(
    names: Sequence[str],
    own: Sequence[tuple[str | None, str | None, str | None]],
    texts: Mapping[str, bytes],
    captions: str = "auto",
) -> list[str] | None:
    """The captions of the pictures of these names, "" where one has none; None: there are none.

    own: as `name_all` has it; texts: the files beside, name → content. captions: "none"; "files", the text
    files beside pictures, 1.txt for 1.png; a column of the metadata; or "auto", which takes a column of the usual
    name, and else the files beside, if there are any for two thirds of the pictures and all of these hold words.
    """
    if captions == "none":
        return None
    if any(caption is not None for *_, caption in own):
        return [caption or "" for *_, caption in own]
    tables = {name: text for name, text in texts.items() if not name.lower().endswith(".txt")}
    if captions != "files":
        read = _metadata(names, tables, CAPTIONS if captions == "auto" else (captions,), "the caption")
        if read is not None:
            return [said(entry) for entry in read[0]]
        if captions != "auto":
            raise UserError(
                f"there is no column '{captions}' of captions, as there is no metadata.csv or .jsonl beside the "
                "pictures; captions are auto, files, none, or a column of it"
            )
    beside = {name[: -len(".txt")]: text for name, text in texts.items() if name.lower().endswith(".txt")}
    stems = [name[: len(name) - len(PurePosixPath(name).suffix)] for name in names]
    there = {stem: _caption(f"{stem}.txt", beside[stem], captions) for stem in stems if stem in beside}
    if captions == "auto" and (3 * len(there) < 2 * len(names) or not all(map(_speaks, there.values()))):
        return None
    if not there:
        raise UserError("there is no text file beside any picture, such as 1.txt beside 1.png (captions: files)")
    return [there.get(stem, "") for stem in stems]


def said(value: Any) -> str:
    """A caption on one line; of several the first, and nothing where there is none."""
    value = value[0] if isinstance(value, list) and value else value
    return " ".join(str(value).split()) if value else ""


def _caption(name: str, text: bytes, captions: str) -> str:
    """The words of a file, on one line; what is no text says nothing, unless files were asked for."""
    try:
        return " ".join(text.decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        if captions == "auto":
            return ""
        raise UserError(f"{name} is not UTF-8: byte {error.start}") from None


def _speaks(caption: str) -> bool:
    """Whether there is a word in it: what other programs leave beside pictures, such as boxes, is numbers."""
    return any(len(word) > 1 and word.isalpha() for word in caption.replace(",", " ").split())


def part_of_file(name: str) -> str | None:
    """The part that a file's name or folder begins with: train-00000-of-00002.parquet, test/0.parquet."""
    word = name.lower().split("/")[0].split("-")[0].split("_")[0].split(".")[0]
    return PARTS.get(word)


def _parts(names: Sequence[str], own: Sequence[str | None]) -> tuple[list[PurePosixPath], list[str | None]]:
    """The names without the folders that say nothing, and the parts: "" for what lies beside them."""
    paths = [PurePosixPath(name) for name in names]
    while paths and len({p.parts[0] for p in paths}) == 1 and all(len(p.parts) > 1 for p in paths):
        paths = [PurePosixPath(*p.parts[1:]) for p in paths]
    if any(part is not None for part in own):
        return paths, list(own)
    heads = [p.parts[0].lower() if len(p.parts) > 1 else None for p in paths]
    kinds = {PARTS.get(head, head) for head in heads if head is not None}
    if "train" not in kinds or len(kinds) < 2 or not kinds <= set(PARTS.values()):
        return paths, [None] * len(paths)
    return (
        [PurePosixPath(*p.parts[1:]) if head else p for p, head in zip(paths, heads, strict=True)],
        [PARTS[head] if head else "" for head in heads],
    )


def _labelled(
    given: Sequence[str | None],
    parts: Sequence[str | None],
    left_out: Mapping[int, str],
    classes: tuple[str, ...] = (),
    missing: Sequence[tuple[str, str]] = (),
) -> Named:
    kinds = {label for i, label in enumerate(given) if label is not None and i not in left_out}
    if not kinds <= set(classes):
        whole = all(kind.lstrip("-").isdecimal() for kind in kinds)
        classes = tuple(sorted(kinds, key=int) if whole else sorted(kinds))
    bare = {i: "has no label" for i, label in enumerate(given) if label is None and i not in left_out}
    return Named(given, parts, classes, {**left_out, **bare}, missing)


def _metadata(
    names: Sequence[str], texts: Mapping[str, bytes], columns: Sequence[str], what: str
) -> tuple[list[str | None], list[tuple[str, str]]] | None:
    """Of each picture its value, "" where no line is; and the lines without a picture. None: no file has a column.

    columns: the names that it may have; one alone must be there.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    told = False
    for where, text in sorted(texts.items()):
        folder = PurePosixPath(where).parent
        for line, row in _rows(where, text):
            seen |= row.keys()
            if not any(column in row for column in columns):
                break
            told = True
            file = _column(row, FILES, where, "the picture's file_name")
            column = _column(row, columns, where, what)
            if not str(row[file] or "").strip():
                raise UserError(f"{where}, line {line}: no file_name")
            value = row[column]
            value = value[0] if isinstance(value, list) and value else value  # several captions: the first
            found[_within(folder, str(row[file]))] = "" if value is None else str(value).strip()
    if not told and len(columns) == 1 and texts:
        raise UserError(f"{min(texts)} has no column for {what}; {nearest(columns[0], sorted(map(str, seen)))}")
    given = [found.get(name) for name in names]
    place = set(names)
    missing = [(name, "named in the metadata, and not there") for name in found if name not in place]
    whole = ["" if name not in found else (entry or None) for name, entry in zip(names, given, strict=True)]
    return (whole, missing) if told else None


def _within(folder: PurePosixPath, name: str) -> str:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return (folder / "/".join(parts)).as_posix()


def _column(row: Mapping[str, Any], options: Sequence[str], where: str, what: str) -> str:
    for name in options:
        if name in row:
            return name
    raise UserError(f"{where} has no column for {what}; {nearest(options[0], [str(k) for k in row])}")


def _rows(where: str, text: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, fields) of a CSV with a header, or of lines of JSON."""
    try:
        content = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8: byte {error.start}") from None
    if where.lower().endswith(".csv"):
        try:
            for i, row in enumerate(csv.DictReader(io.StringIO(content, newline=""))):
                yield i + 2, {str(k).strip(): v for k, v in row.items()}
        except csv.Error as error:
            raise UserError(f"{where} is no CSV: {error}") from None
        return
    for i, line in enumerate(content.splitlines()):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f'{where}, line {i + 1}: expected one JSON object, such as {{"file_name": "1.png"}}')
        yield i + 1, row


__all__ = ["CAPTIONS", "FILES", "LABELS", "PARTS", "Named", "caption_all", "name_all", "part_of_file", "said"]
