"""What a server is told at its start: where it keeps things, and what a request may ask for at most."""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from unnoise.config import UserError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Settings:
    """Limits are of one request unless their names say otherwise. Times are in seconds, sizes in bytes."""

    data: Path = Path("serve-data")  # the jobs (SQLite) and their results
    device: str = "cpu"
    apart: bool = False  # whether the steps are taken in a process of their own
    memory: int = 8 << 30  # of all models' weights
    places: int | None = None  # samples under way at a time in one lane; what a probe finds best if None
    queue: int = 256  # jobs that wait or are under way, of all keys
    deadline: float = 60.0  # of a job that names none
    longest: float = 3600.0  # deadline that a job may name
    samples: int = 64
    steps: int = 1000
    pixels: int = 1 << 20  # of one sample
    work: int = 1 << 33  # samples · evaluations · numbers in a sample
    body: int = 16 << 20
    upload: int = 1 << 24  # pixels of a picture that is sent
    connections: int = 512  # open at a time
    rate: float = 100.0  # requests a second and key, on average
    burst: float = 200.0  # at once
    keep: float = 7 * 86400.0  # how long results are kept
    patience: float = 30.0  # at a stop, for what is under way
    preview: float = 0.1  # between previews of one job, at least
    watch: float = 5.0  # between looks for new checkpoints
    keys: Path | None = None  # hashes of the keys that are let in; everyone on this machine if None

    def __post_init__(self) -> None:
        for name in ("memory", "queue", "deadline", "samples", "steps", "pixels", "work", "body", "rate", "keep"):
            if not getattr(self, name) > 0:
                raise UserError(f"a server's {name} is above 0, got {getattr(self, name)}")
        if self.places is not None and self.places < 1:
            raise UserError(f"a server has a place at least, got {self.places}")


def check_host(host: str, keys: Path | None) -> None:
    """Raises where a server without keys would be open to others than this machine."""
    if keys is None and host not in LOOPBACK:
        raise UserError(
            f"--host {host} opens the server to other machines, and without --keys anyone there could use it: make a "
            "key with `unnoise serve --new-key NAME --keys FILE`, or stay on 127.0.0.1"
        )


def version() -> str:
    """Of the package, as it is installed; "0" where it runs from its sources alone."""
    try:
        return metadata.version("unnoise")
    except metadata.PackageNotFoundError:
        return "0"


__all__ = ["LOOPBACK", "Settings", "check_host", "version"]
