"""The 1797 handwritten digits of 8 by 8 pixels that scikit-learn carries."""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from unnoise.config import UserError
from unnoise.data.source import Items, Source


@dataclass(frozen=True)
class Digits(Source):
    """Digits in 17 levels of grey: items (N, 1, 8, 8) uint8 in 0..16, label int64.

    The split is the one that every published number of this data refers to: 540 for test and 1257 for
    training, stratified with seed 0; `validation` of the 1257, again stratified with seed 0, are held out of training.
    Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part).
    """

    validation: int = 126

    name: ClassVar[str] = "digits"

    def __post_init__(self) -> None:
        if not 10 <= self.validation <= 1247:
            raise UserError(f"10 to 1247 of the 1257 digits can be for validation, got {self.validation}")

    @property
    def raw(self) -> str:
        return "image"

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("0123456789")

    def _split(self, name: str) -> Items:
        return _parts(self.validation)[name]


@cache
def _parts(validated: int) -> dict[str, Items]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch: Any = load_digits()
    images = bunch.images.astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)

    def divide(indices: Any, held_out: int) -> tuple[Any, Any]:
        kept, held = train_test_split(indices, test_size=held_out, stratify=labels[indices], random_state=0)
        return np.sort(kept), np.sort(held)

    kept, test = divide(np.arange(len(labels)), 540)
    train, validation = divide(kept, validated)
    parts = {"train": train, "validation": validation, "test": test}
    return {name: Items(images[rows], {"label": labels[rows]}) for name, rows in parts.items()}


__all__ = ["Digits"]
