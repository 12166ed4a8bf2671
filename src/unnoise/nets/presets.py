"""Sizes by name, the same for every family: as many parameters and multiply–adds as the U-Net of that name has.

Counted without labels at the shape of the table below; families of fields agree within TOLERANCE in both numbers,
the perceptron, whose every parameter is one multiply–add, in its parameters. A network of one resolution spends
more multiply–adds on a parameter than one of levels: what it has left over stands in a wide embedding, which works
once an item.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

Presets: TypeAlias = Mapping[str, Mapping[str, Any]]

SHAPES = {"tiny": (1, 8, 8), "small": (3, 32, 32), "base": (3, 32, 32), "large": (3, 32, 32)}
ROW = (64,)  # the perceptron's
TOLERANCE = 0.05

UNET: Presets = {
    "tiny": {"widths": (32, 64), "blocks": 1, "embed_width": 64},
    "small": {"widths": (32, 64), "blocks": 2, "attention": ()},
    "base": {"widths": (64, 128, 256), "blocks": 2, "attention": (2, 3), "groups": 32},
    "large": {
        "widths": (128, 256, 256, 512),
        "blocks": 3,
        "attention": (2, 3, 4),
        "head_width": 64,
        "groups": 32,
    },
}
RESNET: Presets = {
    "tiny": {"width": 48, "depth": 5, "embed_width": 432},
    "small": {"width": 40, "depth": 11, "embed_width": 480},
    "base": {"width": 248, "depth": 7, "patch": 2, "embed_width": 1664},
    "large": {"width": 272, "depth": 24, "patch": 2, "embed_width": 4064, "groups": 16},
}
DIT: Presets = {
    "tiny": {"width": 64, "depth": 4, "expand": 3.0, "embed_width": 240},
    "small": {"width": 88, "depth": 9, "patch": 2, "head_width": 44, "embed_width": 32},
    "base": {"width": 256, "depth": 8, "patch": 2, "embed_width": 752},
    "large": {"width": 512, "depth": 9, "patch": 2, "head_width": 64, "embed_width": 2368},
}
MLP: Presets = {
    "tiny": {"width": 240, "depth": 4},
    "small": {"width": 256, "depth": 5, "embed_width": 96},
    "base": {"width": 1104, "depth": 6, "embed_width": 128},
    "large": {"width": 2080, "depth": 11, "embed_width": 128},
}

__all__ = ["DIT", "MLP", "RESNET", "ROW", "SHAPES", "TOLERANCE", "UNET", "Presets"]
