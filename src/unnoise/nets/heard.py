"""What a network is told beside x and the noise level: one small description a condition, from which it is built.

The leaf of a condition in `cond`, and what says nothing in it; a leaf that is left out says nothing either.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Labels:
    """Leaf (B,), or (B, many), int64 in 0 .. count; `count` says nothing."""

    count: int
    many: int = 1


@dataclass(frozen=True)
class Numbers:
    """Leaf (B, count, 2): of each number its standardised value and 1, or 0 and 0, which say nothing."""

    count: int = 1


@dataclass(frozen=True)
class Tokens:
    """Leaf (B, length) int64 in 0 .. vocabulary − 1: 1 begins, 0 pads; 1 alone says nothing.

    width, depth: of the transformer that reads it.
    """

    vocabulary: int
    length: int
    width: int = 128
    depth: int = 2


@dataclass(frozen=True)
class Features:
    """Leaf (B, length, width + 1): what another network made of a text, and a last column of 1, 0 where it pads.

    Zeros say nothing. inner: the width at which it is looked at.
    """

    length: int
    width: int
    inner: int = 128


@dataclass(frozen=True)
class Channels:
    """Leaf (B, count, *sizes): a field beside x, the last channel 1 where it is given; zeros say nothing."""

    count: int


Heard: TypeAlias = Labels | Numbers | Tokens | Features | Channels

__all__ = ["Channels", "Features", "Heard", "Labels", "Numbers", "Tokens"]
