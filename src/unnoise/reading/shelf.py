"""YAML files that come along with a package, by name: reading one costs no more than opening a file."""

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Shelf:
    """The .yaml files of a package; what: one of them is called in messages."""

    package: str
    what: str

    def listed(self) -> dict[str, str]:
        """name → what the first line of the file says, in alphabetical order."""
        return {name: self.text(name).partition("\n")[0].lstrip("# ") for name in self.names()}

    def names(self) -> list[str]:
        """Their names, in alphabetical order."""
        entries = (entry.name for entry in files(self.package).iterdir())
        return sorted(name.removesuffix(".yaml") for name in entries if name.endswith(".yaml"))

    def text(self, name: str) -> str:
        """The YAML of one, as it was written; UserError with the nearest name where there is none."""
        if name not in self.names():
            from unnoise.config import UserError, nearest

            raise UserError(f"there is no {self.what} '{name}'; {nearest(name, self.names())}")
        return (files(self.package) / f"{name}.yaml").read_text(encoding="utf-8")


__all__ = ["Shelf"]
