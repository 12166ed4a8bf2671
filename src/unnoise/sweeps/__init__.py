"""The sweeps that come along, as text."""

from unnoise.reading.shelf import Shelf

_SHELF = Shelf(__name__, "sweep")
listed, names, text = _SHELF.listed, _SHELF.names, _SHELF.text

__all__ = ["listed", "names", "text"]
