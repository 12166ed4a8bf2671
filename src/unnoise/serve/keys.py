"""Who is let in: keys are long and random, kept as hashes, and compared in constant time."""

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from unnoise import files
from unnoise.config import UserError

OPEN = "local"  # the owner of every job where no keys are set
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def digest(key: str) -> str:
    """SHA-256, which is enough for 256 random bits: nobody guesses them, however quick the hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class Keys:
    """Names and the hashes of their keys, read from lines "name hash"; None: everyone is let in, as `local`."""

    def __init__(self, path: Path | None):
        self._known = None if path is None else _read(path)

    @property
    def open(self) -> bool:
        """Whether no key is asked for."""
        return self._known is None

    def owner(self, authorization: str | None) -> str | None:
        """Whose key an Authorization header brings; None: nobody's."""
        if self._known is None:
            return OPEN
        scheme, _, key = (authorization or "").partition(" ")
        given, found = digest(key.strip()), None
        for name, kept in self._known.items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(kept, given):
                found = name
        return found if scheme.lower() == "bearer" else None


def make(path: Path, name: str) -> str:
    """A new key for a name, told once and kept as its hash."""
    if not NAME.fullmatch(name) or name == OPEN:
        raise UserError(f"a key's name is 1 to 64 letters, digits, dots or dashes, and not '{OPEN}'; got '{name}'")
    known = _read(path) if path.exists() else {}
    if name in known:
        raise UserError(f"{path} has a key of '{name}' already: remove its line first")
    key = f"un-{secrets.token_urlsafe(32)}"
    lines = [f"{other} {kept}\n" for other, kept in known.items()]
    files.put(path, "".join([*lines, f"{name} {digest(key)}\n"]))
    path.chmod(0o600)
    return key


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"there is no file of keys {path}: make one with `unnoise serve --new-key NAME`") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, kept = line.strip().partition(" ")
        if not NAME.fullmatch(name) or not re.fullmatch(r"[0-9a-f]{64}", kept):
            raise UserError(f"{path}, line {number}: expected a name and the 64 letters of a hash")
        found[name] = kept
    if not found:
        raise UserError(f"{path} holds no key, so nobody could use the server")
    return found


__all__ = ["OPEN", "Keys", "digest", "make"]
