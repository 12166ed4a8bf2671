"""Words: prompts, of which a network that is trained with the model reads the tokens."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from unnoise.conditions.condition import Condition, Told, leaf_of
from unnoise.config import UserError
from unnoise.data import Source
from unnoise.data.source import Raw
from unnoise.nets import heard

PAD, BEGIN, UNKNOWN, FIRST = 0, 1, 2, 3  # tokens that are no words; the first that is one
WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")


@dataclass(frozen=True, kw_only=True)
class Words(Condition):
    """Captions (N,) of str, in words and marks, small letters; the vocabulary is that of the training part.

    vocabulary: the most words, of which the most frequent are taken; length: the most of a prompt, as many as the
    longest caption has if silent; unknown: whether a prompt with a word that was never read is refused, or the word is
    passed over. width, depth: of the transformer that reads it. The empty prompt says nothing.
    """

    vocabulary: int = 4096
    length: int | None = None
    unknown: Literal["refuse", "ignore"] = "refuse"
    width: int = 128
    depth: int = 2

    kind: ClassVar[str] = "words"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vocabulary < 1 or (self.length is not None and self.length < 1) or self.depth < 0 or self.width < 1:
            raise UserError(
                f"vocabulary, length and width are 1 or more and depth 0 or more, got {self.vocabulary}, "
                f"{self.length}, {self.width} and {self.depth}"
            )

    def facts(self, name: str, source: Source) -> dict[str, Any]:
        leaf = leaf_of(name, source)
        if leaf.dtype.kind != "U" or leaf.ndim != 1:
            raise UserError(f"'{name}' of data '{source.name}' is no text, (N,) of str")
        counts: Counter[str] = Counter()
        longest = 1
        for caption in leaf.tolist():
            words = split(caption)
            counts.update(words)
            longest = max(longest, len(words))
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return {"words": ordered[: self.vocabulary], "length": self.length or longest}

    def told(self, name: str, facts: Mapping[str, Any], shape: tuple[int, ...]) -> "ToldWords":
        own = (self.unknown, self.width, self.depth)
        return ToldWords(name, tuple(facts["words"]), int(facts["length"]), *own)


@dataclass(frozen=True)
class ToldWords(Told):
    """Prompts of `words`, `length` of them at most."""

    name: str
    words: tuple[str, ...]
    length: int
    unknown: str = "refuse"
    width: int = 128
    depth: int = 2

    of_text: ClassVar[bool] = True

    @property
    def heard(self) -> heard.Tokens:
        return heard.Tokens(FIRST + len(self.words), self.length + 1, self.width, self.depth)

    @property
    def null(self) -> Raw:
        return self.encode(np.array([""]))[0]

    @property
    def mark(self) -> str:
        return ""

    @property
    def expects(self) -> str:
        return f"a prompt of up to {self.length} words, of {len(self.words)} that were read"

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: FIRST + k for k, word in enumerate(self.words)}

    def encode(self, values: Raw) -> Raw:
        """Captions (N,) → tokens (N, length + 1); what is too long is cut."""
        leaf = np.full((len(values), self.length + 1), PAD, np.int64)
        leaf[:, 0] = BEGIN
        known = self._places
        for row, caption in zip(leaf, values.tolist(), strict=True):
            tokens = [known.get(word, UNKNOWN) for word in split(caption)][: self.length]
            row[1 : 1 + len(tokens)] = tokens
        return leaf

    def read(self, given: Any) -> Any:
        if not isinstance(given, str):
            raise UserError(f"{self.name} is a prompt, got {given!r}")
        words = split(given)
        strange = [word for word in words if word not in self._places]
        if strange and self.unknown == "refuse":
            raise UserError(f"the model has never read '{strange[0]}' (in '{given}'); {_near(strange[0], self.words)}")
        words = [word for word in words if word in self._places]
        if len(words) > self.length:
            raise UserError(f"'{given}' has {len(words)} words, and {self.length} are read at most")
        return " ".join(words)

    def single(self, given: Any) -> bool:
        return isinstance(given, str)


def split(caption: str) -> list[str]:
    """The words and marks of a caption, in small letters."""
    return WORD.findall(caption.lower())


def _near(word: str, words: tuple[str, ...]) -> str:
    """The nearest word, or the first of them: a vocabulary is long."""
    close = get_close_matches(word, words, n=1, cutoff=0.6)
    more = f" and {len(words[12:])} more" if words[12:] else ""
    return f"did you mean '{close[0]}'?" if close else f"it knows {', '.join(words[:12])}{more}"


__all__ = ["ToldWords", "Words", "split"]
