"""Prompts read by an encoder that was trained elsewhere and stays as it is: CLIP's or T5's."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator

from unnoise.conditions.condition import Condition, Told, leaf_of
from unnoise.conditions.encoder import Encoder, opened, place
from unnoise.conditions.shelf import Rows, Shelf, Shelved
from unnoise.config import UserError
from unnoise.data import Source
from unnoise.data.source import Leaf, Raw
from unnoise.nets import heard
from unnoise.reading import progress

LENGTH = 77  # tokens, where a recipe is silent: CLIP's own length


@dataclass(frozen=True, kw_only=True)
class Frozen(Condition):
    """Captions (N,) of str, which a frozen encoder of text reads; a small layer of the network looks at what it says.

    encoder: a folder with config.json, tokenizer and safetensors weights of a CLIP or a T5, or a hub's name; download:
    whether a name may be fetched. length: tokens of a prompt at most, 77 or what the encoder can read; longer captions
    are cut. inner: the width at which the network looks at them. A run keeps the encoder's SHA-256 and takes no other;
    what captions become is kept on the disk, so that each is read once. The empty prompt says nothing.
    """

    encoder: Annotated[str, AfterValidator(place)]
    download: bool = False
    length: int | None = None
    inner: int = 128

    kind: ClassVar[str] = "frozen"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner < 1 or (self.length is not None and self.length < 3):  # a word and two marks
            raise UserError(f"inner is 1 or more and length 3 or more, got {self.inner} and {self.length}")

    def facts(self, name: str, source: Source) -> dict[str, Any]:
        leaf = leaf_of(name, source)
        if leaf.dtype.kind != "U" or leaf.ndim != 1:
            raise UserError(f"'{name}' of data '{source.name}' is no text, (N,) of str")
        own = opened(self.encoder, self.download)
        if own.most is not None and (self.length or 0) > own.most:
            raise UserError(f"{self.encoder} reads {own.most} tokens at most, got length {self.length}")
        return {"digest": own.digest, "width": own.width, "length": self.length or min(LENGTH, own.most or LENGTH)}

    def told(self, name: str, facts: Mapping[str, Any], shape: tuple[int, ...]) -> "ToldFrozen":
        own = (str(facts["digest"]), int(facts["width"]), int(facts["length"]))
        return ToldFrozen(name, *own, self.encoder, self.download, self.inner)


@dataclass(frozen=True)
class ToldFrozen(Told):
    """Prompts of `length` tokens at most, read by the encoder whose identity is `digest`."""

    name: str
    digest: str
    width: int
    length: int
    encoder: str
    download: bool = False
    inner: int = 128

    of_text: ClassVar[bool] = True

    @property
    def heard(self) -> heard.Features:
        return heard.Features(self.length, self.width, self.inner)

    @property
    def null(self) -> Raw:
        return np.zeros((self.length, self.width + 1), np.float32)

    @property
    def mark(self) -> str:
        return ""

    @property
    def expects(self) -> str:
        return f"a prompt of up to {self.length} tokens"

    def encode(self, values: Raw) -> Raw:
        """Captions (N,) → (N, length, width + 1), the last column 1 where a token stands; what is too long is cut."""
        return self._laid(values.tolist(), keep=False)

    def items(self, values: Raw) -> Leaf:
        """As `encode`, of all captions of the data: each is read once and kept, and comes from the disk when asked."""
        wanted = [text for text in np.unique(values).tolist() if text.strip() and self._shelf.find(text) is None]
        told = 0.0
        for i, text in enumerate(wanted):
            if time.monotonic() > told + 0.1:
                told = time.monotonic()
                progress.tell("reading captions", i / len(wanted), i)
            self._rows(text, keep=True)
        if wanted:
            progress.tell("reading captions", 1.0, len(wanted))
        leaf: Any = Shelved(values, self._kept, (self.length, self.width + 1))
        return leaf

    def read(self, given: Any) -> Any:
        if not isinstance(given, str):
            raise UserError(f"{self.name} is a prompt, got {given!r}")
        if given.strip():
            kept = self._shelf.find(given)
            whole = kept is not None and len(kept) < self.length  # it was not cut
            if not whole and (many := len(self._open.tokens(given))) > self.length:
                raise UserError(f"'{given}' has {many} tokens with their marks, and {self.length} are read at most")
        return given

    def single(self, given: Any) -> bool:
        return isinstance(given, str)

    @property
    def _shelf(self) -> Shelf:
        return Shelf(self.digest, self.length)

    @property
    def _open(self) -> Encoder:
        """The encoder; UserError where another lies at its place than the model knows."""
        found = opened(self.encoder, self.download)
        if found.digest != self.digest:
            raise UserError(
                f"'{self.name}' was trained with a text encoder whose identity is {self.digest[:12]}, and "
                f"{self.encoder} holds another, {found.digest[:12]}: put the first in its place"
            )
        return found

    def _kept(self, values: Raw) -> Rows:
        return self._laid(values.tolist(), keep=True)

    def _laid(self, texts: list[str], keep: bool) -> Rows:
        leaf = np.zeros((len(texts), self.length, self.width + 1), np.float32)
        for row, text in zip(leaf, texts, strict=True):
            if text.strip():
                told = self._rows(text, keep)
                row[: len(told), :-1], row[: len(told), -1] = told, 1
        return leaf

    def _rows(self, text: str, keep: bool) -> Rows:
        """What a text becomes, (L, width); kept: of the data's captions, not of all that people ask."""
        found = self._shelf.find(text)
        if found is None:
            found = _read(self, text)
            if keep:
                self._shelf.keep(text, found)
        return found


@lru_cache(maxsize=64)
def _read(told: ToldFrozen, text: str) -> Rows:
    return told._open.features(text, told.length)  # pyright: ignore[reportPrivateUsage]


__all__ = ["Frozen", "ToldFrozen"]
