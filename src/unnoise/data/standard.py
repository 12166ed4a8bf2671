"""The modality that suits some data, with every number that it takes from them written out.

Statistics are of the training part alone, and are written once: a recipe that says `modality: data` is resolved to
these numbers when its run starts, the run keeps them, and nothing is computed again from data that may have changed.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from unnoise.data.finite import Content, Finite, moments
from unnoise.data.source import Items, Source
from unnoise.tensor import Array

DIGITS = 6  # of a scale; a mean is rounded to a hundred-thousandth of its scale
FINEST = 22  # 10^22 is the largest power of ten that float64 holds exactly
KEPT = 1e-6  # of a scale: what float32 tells apart, some scales away from the mean


def standard(source: Source) -> dict[str, Any]:
    """The modality of a source as a node of a recipe, such as {"kind": "points", "mean": [..], "scale": [..]}."""
    return source.standard() if isinstance(source, Finite) else {"kind": source.raw}


def settled(node: Any, source: Source) -> Any:
    """A recipe's node `modality`: `data` for a kind becomes what the data say, and fields beside it replace theirs."""
    own = {"kind": node} if isinstance(node, str) else node
    if not isinstance(own, Mapping) or own.get("kind") != "data":
        return node
    for sentence in source.warnings if isinstance(source, Finite) else ():
        warnings.warn(sentence, stacklevel=2)  # a person hears it once, when the numbers are taken
    return {**standard(source), **{str(key): value for key, value in own.items() if key != "kind"}}


def standardised(train: Items, content: Content) -> dict[str, Any]:
    """Points: mean and deviation of each column, and shares of classes, of the training part.

    Of a table also what is no statistic but the form of its columns, read off all rows: decimals and range.
    """
    mean, scale = rounded(*moments(train.items, (0,)))
    node: dict[str, Any] = {"kind": "points", "mean": mean.tolist(), "scale": scale.tolist()}
    if content.header:
        node["header"] = list(content.header)
        node["decimals"] = [decimals(content.items[:, k], scale[k]) for k in range(content.items.shape[1])]
        node |= {"low": content.items.min(axis=0).tolist(), "high": content.items.max(axis=0).tolist()}
        node["dequantise"] = True
    if content.header and content.label:
        counts = np.bincount(train.cond["label"], minlength=len(content.classes))
        node |= {"label": content.label, "shares": [float(f"{c / len(train):.{DIGITS}g}") for c in counts]}
    return node


class Rows(Finite):
    """A finite source of rows of numbers."""

    @property
    def raw(self) -> str:
        return "points"

    def standard(self) -> dict[str, Any]:
        """Points with mean and deviation of each column over the training part, its name and its decimals."""
        return standardised(self.split("train"), self._content)


def rounded(mean: Array, scale: Array) -> tuple[Array, Array]:
    """Mean and scale in few digits, as any fixed numbers near them do as well; where nothing varies the scale is 1."""
    scale = np.array([float(f"{value:.{DIGITS}g}") or 1.0 for value in np.atleast_1d(scale)])
    places = DIGITS - 1 - np.floor(np.log10(scale)).astype(int)
    mean = np.array([round(float(m), int(p)) for m, p in zip(np.atleast_1d(mean), places, strict=True)])
    return mean + 0.0, scale  # no −0


def decimals(column: Array, scale: float) -> int | None:
    """The fewest decimals that write every number of a column, or as many as float32 can bring back.

    None: more than FINEST, where decimals write nothing well.
    """
    held = max(0, int(np.ceil(-np.log10(KEPT * scale))))
    peak = float(np.abs(column).max())
    # Beyond 2^53 the product is no whole number of its own any more, and every double would pass.
    exact = FINEST if peak == 0 else int(np.clip(np.floor(np.log10(2.0**53 / peak)), 0, FINEST))
    fewest = next((d for d in range(exact + 1) if np.array_equal(np.round(column, d), column)), FINEST + 1)
    most = min(fewest, held)
    return most if most <= FINEST else None


__all__ = ["Rows", "decimals", "rounded", "settled", "standard", "standardised"]
