"""The sweeps that come along, as text: reading them costs no more than opening a file."""

from importlib.resources import files


def listed() -> dict[str, str]:
    """name → what the first line of the file asks, in alphabetical order."""
    return {name: text(name).partition("\n")[0].lstrip("# ") for name in names()}


def names() -> list[str]:
    """Their names, in alphabetical order."""
    entries = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in entries if name.endswith(".yaml"))


def text(name: str) -> str:
    """The YAML of a sweep, as it was written; UserError with the nearest name where there is none."""
    if name not in names():
        from unnoise.config import UserError, nearest

        raise UserError(f"there is no sweep '{name}'; {nearest(name, names())}")
    return (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")


__all__ = ["listed", "names", "text"]
