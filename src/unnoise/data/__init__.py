"""Where items come from: data sets and drawn worlds, each split into train, validation and test."""

from unnoise.data.array import Array
from unnoise.data.bundled import Bundled
from unnoise.data.celeba import Celeba
from unnoise.data.cifar import Cifar10
from unnoise.data.dataset import Dataset
from unnoise.data.digits import Digits
from unnoise.data.fields import Fields
from unnoise.data.finite import Finite
from unnoise.data.mixture import Mixture
from unnoise.data.mnist import Mnist
from unnoise.data.patches import Patches
from unnoise.data.pictures import Decodable, Pictures
from unnoise.data.points import Checkerboard, Classes2d, Gaussians8, Moons, Plane, Spiral, SwissRoll
from unnoise.data.scenes import Scenes
from unnoise.data.shapes import Shapes
from unnoise.data.source import SPLITS, Items, Source, World, join
from unnoise.data.standard import settled, standard
from unnoise.data.table import Table
from unnoise.reading.progress import watching

SOURCES: dict[str, type[Source]] = {
    source.name: source
    for source in (
        Digits, Spiral, SwissRoll, Moons, Gaussians8, Checkerboard, Classes2d, Mixture, Fields, Shapes, Scenes,
        Table, Array, Bundled, Pictures, Patches, Cifar10, Mnist, Celeba, Dataset,
    )
}  # fmt: skip

__all__ = [
    "SOURCES",
    "SPLITS",
    "Array",
    "Bundled",
    "Celeba",
    "Checkerboard",
    "Cifar10",
    "Classes2d",
    "Dataset",
    "Decodable",
    "Digits",
    "Fields",
    "Finite",
    "Gaussians8",
    "Items",
    "Mixture",
    "Mnist",
    "Moons",
    "Patches",
    "Pictures",
    "Plane",
    "Scenes",
    "Shapes",
    "Source",
    "Spiral",
    "SwissRoll",
    "Table",
    "World",
    "join",
    "settled",
    "standard",
    "watching",
]
