"""What is said of a drawn scene: attributes as numbers, captions that tell them, and captions read back."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError, nearest
from unnoise.data.outlines import KINDS
from unnoise.tensor import Array

Labels = npt.NDArray[np.int64]

MOST = 3  # objects of a scene
CHOICES = 24  # uniform numbers that a caption's choices of words take at most

# What can be told of each object, and of it and the next one; every value with the ways to say it.
SAID: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {"circle": ("circle", "disc"), "square": ("square", "box"), "triangle": ("triangle",),
              "star": ("star",), "ring": ("ring", "hoop")},
    "colour": {"red": ("red",), "orange": ("orange",), "yellow": ("yellow",), "green": ("green",),
               "cyan": ("cyan", "turquoise"), "blue": ("blue",), "purple": ("purple", "violet"), "white": ("white",)},
    "size": {"small": ("small", "little", "tiny"), "medium": ("medium", "middle-sized"),
             "large": ("large", "big", "huge")},
    "place": {
        "top left": ("at the top left", "in the top left corner", "in the upper left corner"),
        "top": ("at the top",),
        "top right": ("at the top right", "in the top right corner", "in the upper right corner"),
        "left": ("on the left",),
        "middle": ("in the middle", "in the centre"),
        "right": ("on the right",),
        "bottom left": ("at the bottom left", "in the bottom left corner", "in the lower left corner"),
        "bottom": ("at the bottom",),
        "bottom right": ("at the bottom right", "in the bottom right corner", "in the lower right corner"),
    },
    "relation": {"left of": ("left of", "to the left of"), "right of": ("right of", "to the right of"),
                 "above": ("above", "over"), "below": ("below", "under", "beneath")},
}  # fmt: skip
NAMES: dict[str, tuple[str, ...]] = {name: tuple(ways) for name, ways in SAID.items()}
UNTOLD: dict[str, int] = {name: len(values) for name, values in NAMES.items()}  # the value that says nothing
assert NAMES["shape"] == KINDS

_WAYS = {name: tuple(values.values()) for name, values in SAID.items()}
_ANY = ("shape", "figure")  # where the shape is not told
_OPENINGS = ("", "a picture of", "there is", "here is")
_WHICH = ("", "that is", "which is")
_ARTICLES = ("a", "an", "the", "one")
_AND = (", and", "and", "with", ",")  # between objects of which no relation is told


@dataclass(frozen=True, eq=False)
class Told:
    """What is told of N scenes of at most O objects, each array int64, UNTOLD where nothing is.

    count (N,): how many objects, 1 .. O. shape, colour, size, place (N, O): places in NAMES, UNTOLD beyond the count.
    relation (N, O − 1): of each object to the next.
    """

    count: Labels
    shape: Labels
    colour: Labels
    size: Labels
    place: Labels
    relation: Labels

    def __len__(self) -> int:
        return len(self.count)

    def take(self, rows: Any) -> "Told":
        """The scenes at these places."""
        return Told(*(getattr(self, field.name)[rows] for field in fields(self)))

    def cond(self) -> dict[str, Labels]:
        """As conditions of items; count as a place too: 0 is one object."""
        found = {field.name: getattr(self, field.name) for field in fields(self)} | {"count": self.count - 1}
        return {name: leaf for name, leaf in found.items() if leaf.ndim == 1 or leaf.shape[1]}

    @staticmethod
    def of(cond: Mapping[str, Any]) -> "Told":
        """From the conditions of items."""
        leaves = {name: np.asarray(cond[name], np.int64) for name in ("shape", "colour", "size", "place")}
        count = np.asarray(cond["count"], np.int64) + 1
        relation = np.asarray(cond.get("relation", np.zeros((len(count), 0))), np.int64)
        return Told(count, relation=relation, **leaves)

    @staticmethod
    def join(parts: Iterable["Told"]) -> "Told":
        """Several lots, one after the other."""
        rows = list(parts)
        return Told(*(np.concatenate([getattr(part, field.name) for part in rows]) for field in fields(Told)))


def say(told: Told, u: Array) -> list[str]:
    """A caption of each scene; u (N, CHOICES) in [0, 1) chooses among the ways to say it."""
    columns: list[list[Any]] = [getattr(told, field.name).tolist() for field in fields(Told)]
    return [_say(iter(choice), *row) for choice, *row in zip(u.tolist(), *columns, strict=True)]


def _say(
    choice: Iterator[float], count: int,
    shape: list[int], colour: list[int], size: list[int], place: list[int], relation: list[int],
) -> str:  # fmt: skip
    words = [_pick(_OPENINGS, choice)]
    related = any(value < UNTOLD["relation"] for value in relation[: count - 1])
    for i in range(count):
        noun = _word("shape", shape[i], choice) or [_pick(_ANY, choice)]
        phrase = [*_word("size", size[i], choice), *_word("colour", colour[i], choice), *noun]
        words += ["an" if phrase[0][0] in "aeiou" else "a", *phrase, *_word("place", place[i], choice)]
        if i + 1 == count:
            break
        if told := _word("relation", relation[i], choice):
            words += [_pick(_WHICH, choice), *told]
        else:
            words.append(_AND[0] if related else _AND[3] if i + 2 < count else _pick(_AND[1:3], choice))
    return " ".join(filter(None, words)).replace(" ,", ",")


def _pick(ways: Sequence[str], choice: Iterator[float]) -> str:
    return ways[int(next(choice) * len(ways))]


def _word(name: str, value: int, choice: Iterator[float]) -> list[str]:
    """A way to say it, if it is told."""
    return [_pick(_WAYS[name][value], choice)] if value < UNTOLD[name] else []


def read(caption: str, objects: int = MOST) -> Told:
    """What a caption tells, one scene of at most `objects`; UserError with the nearest word where it is no caption."""
    words = re.findall(r"[^\W\d_](?:[\w'-]*\w)?|,|[^\s\w,.]|\d+", caption.lower())
    reader = _Reader(words, caption)
    rows: list[dict[str, int]] = []
    reader.any(_OPENINGS)
    while True:
        rows.append(reader.thing())
        if not reader.left:
            break
        reader.any(_WHICH[1:])
        if (found := reader.value("relation")) is not None:
            rows[-1]["relation"] = found
        elif not reader.any(_AND):
            raise reader.lost([*_phrases("relation"), *(() if "place" in rows[-1] else _phrases("place")), *_AND])
    if len(rows) > objects:
        raise UserError(f"'{caption}' tells of {len(rows)} objects, and a scene has at most {objects}")
    leaves = {name: np.full((1, objects - (name == "relation")), UNTOLD[name], np.int64) for name in SAID}
    for i, row in enumerate(rows):
        for name, value in row.items():
            leaves[name][0, i] = value
    return Told(np.array([len(rows)]), **leaves)


def _phrases(name: str) -> list[str]:
    return [way for ways in _WAYS[name] for way in ways]


class _Reader:
    """The words of a caption that are not read yet."""

    def __init__(self, words: list[str], caption: str):
        self.left, self._caption = words, caption

    def any(self, phrases: Iterable[str]) -> str:
        """Takes the longest of the phrases that comes next; "" where none does."""
        for phrase in sorted(phrases, key=len, reverse=True):
            words = phrase.replace(",", " , ").split()
            if words and self.left[: len(words)] == words:
                self.left = self.left[len(words) :]
                return phrase
        return ""

    def value(self, name: str) -> int | None:
        """The value of an attribute whose phrase comes next."""
        found = self.any(_phrases(name))
        return next((i for i, ways in enumerate(_WAYS[name]) if found in ways), None)

    def thing(self) -> dict[str, int]:
        """One object: article, size, colour, shape, place."""
        found: dict[str, int] = {}
        self.any(_ARTICLES)
        while True:
            for name in ("size", "colour"):
                if name not in found and (value := self.value(name)) is not None:
                    found[name] = value
                    break
            else:
                break
        if (value := self.value("shape")) is not None:
            found["shape"] = value
        elif not self.any(_ANY):
            open_to = [name for name in ("size", "colour") if name not in found]
            raise self.lost([way for name in (*open_to, "shape") for way in _phrases(name)] + list(_ANY))
        if (value := self.value("place")) is not None:
            found["place"] = value
        return found

    def lost(self, expected: list[str]) -> UserError:
        """What is told of a word that cannot come here."""
        if not self.left:
            return UserError(f"'{self._caption}' ends before its last object is named: expected {', '.join(expected)}")
        return UserError(f"'{self._caption}' is no caption at '{self.left[0]}'; {nearest(self.left[0], expected)}")


__all__ = ["CHOICES", "MOST", "NAMES", "SAID", "UNTOLD", "Told", "read", "say"]
