"""The recipes that come along, as text."""

from unnoise.reading.shelf import Shelf

_SHELF = Shelf(__name__, "recipe")
listed, names, text = _SHELF.listed, _SHELF.names, _SHELF.text

__all__ = ["listed", "names", "text"]
