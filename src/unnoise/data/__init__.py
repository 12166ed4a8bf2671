"""Where items come from: data sets and drawn worlds, each split into train, validation and test."""

from unnoise.data.digits import Digits
from unnoise.data.mixture import Mixture
from unnoise.data.points import Checkerboard, Classes2d, Gaussians8, Moons, Plane, Spiral, SwissRoll
from unnoise.data.shapes import Shapes
from unnoise.data.source import SPLITS, Items, Source, World, join

SOURCES: dict[str, type[Source]] = {
    source.name: source
    for source in (
        Digits, Spiral, SwissRoll, Moons, Gaussians8, Checkerboard, Classes2d, Mixture, Shapes,
    )
}  # fmt: skip

__all__ = [
    "SOURCES",
    "SPLITS",
    "Checkerboard",
    "Classes2d",
    "Digits",
    "Gaussians8",
    "Items",
    "Mixture",
    "Moons",
    "Plane",
    "Shapes",
    "Source",
    "Spiral",
    "SwissRoll",
    "World",
    "join",
]
