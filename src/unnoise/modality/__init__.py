"""Raw things in a model's range and back: one class for each kind of data."""

from unnoise.modality.array import Array
from unnoise.modality.image import Image
from unnoise.modality.modality import Modality
from unnoise.modality.points import Points

MODALITIES: dict[str, type[Modality]] = {modality.name: modality for modality in (Image, Points, Array)}

__all__ = ["MODALITIES", "Array", "Image", "Modality", "Points"]
