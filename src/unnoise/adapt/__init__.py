"""A trained network taught something beside its weights: low-rank products, control branches, image prompts."""

from collections.abc import Callable
from typing import Any

from unnoise.adapt.adapted import Adapted
from unnoise.adapt.control import Control
from unnoise.adapt.image import ImagePrompt
from unnoise.adapt.lora import Lora
from unnoise.adapt.part import Brought, Part, Shows
from unnoise.adapt.prior import Preserved, Prior


def nothing() -> None:
    """The network itself is trained."""


PARTS: dict[str, type[Part]] = {"lora": Lora, "control": Control, "image": ImagePrompt}
ADAPTERS: dict[str, Callable[..., Any]] = {"nothing": nothing, **PARTS}

__all__ = [
    "ADAPTERS",
    "PARTS",
    "Adapted",
    "Brought",
    "Control",
    "ImagePrompt",
    "Lora",
    "Part",
    "Preserved",
    "Prior",
    "Shows",
]
