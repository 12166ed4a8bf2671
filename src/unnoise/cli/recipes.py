"""`unnoise recipes`: what can be trained at once, and the text to start one's own from."""

from typing import Annotated

import typer

from unnoise import recipes as known
from unnoise.cli.options import Json
from unnoise.cli.speak import say, tell


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe's YAML.")] = None, json: Json = False
) -> None:
    """List the recipes that come along, or print one."""
    if name is not None:
        text = known.text(name)
        if json:
            import yaml

            tell(yaml.safe_load(text))
        else:
            say(text.rstrip())
        return
    listed = known.listed()
    if json:
        tell(listed)
        return
    wide = max(map(len, listed))
    for entry, line in listed.items():
        say(f"{entry:<{wide}}  {line}")
    say(f"\nTrain one with: unnoise train {next(iter(listed))}\nMake your own:  unnoise recipes digits > mine.yaml")


__all__ = ["recipes"]
