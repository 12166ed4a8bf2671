"""Where files lie: the path that one names, and the folder for what is made from them."""

import os
from difflib import get_close_matches
from pathlib import Path

from unnoise.config import UserError


def absolute(path: str) -> str:
    """The path with ~ and the working folder written out."""
    if not path:
        raise UserError("a path to the data is missing: it is empty")
    return os.path.abspath(os.path.expanduser(path))


def found(path: str, what: str = "data") -> Path:
    """The path, where something stands; else a UserError that names its nearest neighbour there."""
    place = Path(absolute(path))
    if not place.exists():
        there = [entry.name for entry in place.parent.iterdir()] if place.parent.is_dir() else []
        close = get_close_matches(place.name, there, n=1)
        raise UserError(f"there is no {what} at {place}" + (f"; did you mean '{close[0]}'?" if close else ""))
    return place


def cache_folder(given: str | None = None) -> Path:
    """The folder for decoded data: the one given, or $XDG_CACHE_HOME/unnoise, or ~/.cache/unnoise."""
    if given is not None:
        return Path(absolute(given))
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home and os.path.isabs(home) else Path.home() / ".cache") / "unnoise"


__all__ = ["absolute", "cache_folder", "found"]
