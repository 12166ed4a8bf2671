"""Conditions: what a model is told of an item. One line in CONDITIONS adds a way of telling."""

from unnoise.conditions.condition import Condition, Told
from unnoise.conditions.frozen import Frozen, ToldFrozen
from unnoise.conditions.labels import Labels, ToldLabels
from unnoise.conditions.numbers import Numbers, ToldNumbers
from unnoise.conditions.picture import Picture, ToldPicture
from unnoise.conditions.telling import Telling
from unnoise.conditions.words import ToldWords, Words

CONDITIONS: dict[str, type[Condition]] = {
    "frozen": Frozen,
    "labels": Labels,
    "numbers": Numbers,
    "picture": Picture,
    "words": Words,
}

__all__ = [
    "CONDITIONS",
    "Condition",
    "Frozen",
    "Labels",
    "Numbers",
    "Picture",
    "Telling",
    "Told",
    "ToldFrozen",
    "ToldLabels",
    "ToldNumbers",
    "ToldPicture",
    "ToldWords",
    "Words",
]
