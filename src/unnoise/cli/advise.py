"""`unnoise advise`: what a run's own numbers say, and what to change."""

import shlex
from typing import TYPE_CHECKING

from unnoise.cli.options import Folder, Json
from unnoise.cli.speak import say, tell

if TYPE_CHECKING:
    from unnoise.advise.advice import Finding


def advise(run: Folder, json: Json = False) -> None:
    """Say whether a run overfits, is too short, unstable, or copies its data; and what to change."""
    from unnoise import run as runs
    from unnoise.advise import advice

    opened = runs.open(run)
    told = advice.story(opened)
    found = advice.judge(told)
    if json:
        tell({"run": str(run), "items": told.items, "findings": [finding.record() for finding in found]})
        return
    for finding in found:
        say(finding.sentence)
        for line in _changes(finding, str(run)):
            say(f"  {line}")
    if not told.measures and all(finding.name != "unfinished" for finding in found):
        say(f"Not measured yet; unnoise evaluate {shlex.quote(str(run))} would tell near-copies and what else is off.")


def _changes(finding: "Finding", run: str) -> list[str]:
    """What to do about a finding: flags of train on a line, words on lines of their own."""
    flags = [shlex.quote(flag) for flag in finding.change if "=" in flag.split(" ")[0]]
    lines = [f"unnoise train {shlex.quote(f'{run}/recipe.yaml')} {' '.join(flags)} --out NEW"] if flags else []
    for other in finding.change:
        if other == "--resume":
            lines.append("go on with --resume")
        elif "=" not in other.split(" ")[0]:
            lines.append(f"or {other}" if lines else other)
    return lines


__all__ = ["advise"]
