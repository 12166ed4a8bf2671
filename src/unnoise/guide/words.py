"""How guidance is written: 3, "apg weight=4", "cfg weight=3 interval=[0.2, 2] + dynamic"; and said again."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import yaml

from unnoise.config import UserError

# A weight of classifier-free guidance; words; or nodes {kind: .., option: ..}, from the inside out.
Guidance: TypeAlias = int | float | str | Mapping[str, Any] | Sequence[Any]
Nodes: TypeAlias = tuple[dict[str, Any], ...]


def nodes(guidance: Guidance) -> Nodes:
    """The guides that are meant, from the inside out: a number is the weight of classifier-free guidance."""
    if isinstance(guidance, bool):
        raise _unread(guidance)
    if isinstance(guidance, (int, float)):
        return () if guidance == 1 else ({"kind": "cfg", "weight": float(guidance)},)
    if isinstance(guidance, str):
        return tuple(node for part in _split(guidance, "+") for node in _one(part))
    if isinstance(guidance, Mapping):
        if not isinstance(guidance.get("kind"), str):
            raise _unread(dict(guidance))
        return ({str(key): value for key, value in guidance.items()},)
    return tuple(node for part in guidance for node in nodes(part))


def words(guidance: Guidance) -> str:
    """The same as one line, that `nodes` reads: a number alone where that is all."""
    made = nodes(guidance)
    if not made:
        return "1"
    if len(made) == 1 and made[0].keys() == {"kind", "weight"} and made[0]["kind"] == "cfg":
        return f"{made[0]['weight']:g}"
    return " + ".join(_say(node) for node in made)


def several(text: str) -> list[float | str]:
    """Ways of guiding in a list with commas: "1, 2, apg weight=4 interval=[0.2, 2]"."""
    return [plain(part) for part in _split(text, ",")]


def plain(text: str) -> float | str:
    """A number where it is one, else the words."""
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _split(text: str, mark: str) -> list[str]:
    """Parts between marks that stand in no bracket and in no quotes."""
    depth, quote, parts = 0, "", [""]
    for place, letter in enumerate(text):
        if letter in "\"'" and quote in ("", letter):  # a value that begins with a quote ends with the next
            opens = not quote and text[:place].endswith(("=", "[", "{", ",", " ", ":"))
            quote = letter if opens else ""
        depth += 0 if quote else (letter in "[{") - (letter in "]}")
        exponent = mark == "+" and re.search(r"\d[eE]$", text[:place]) is not None  # of 1e+3
        if letter == mark and not depth and not exponent and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _one(text: str) -> Nodes:
    """The guide that one part names."""
    try:
        return nodes(float(text))
    except ValueError:
        pass
    name, *pairs = _split(text, " ")
    node: dict[str, Any] = {"kind": name}
    for pair in filter(None, pairs):
        path, equals, value = pair.partition("=")
        if not equals or not path or not value:
            raise _unread(text)
        *above, key = path.split(".")
        place = node
        for step in above:
            inner = place.get(step, {})
            place[step] = inner if isinstance(inner, dict) else {"kind": inner}
            place = place[step]
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise _unread(text) from None
        place[key] = {"kind": parsed, **place[key]} if isinstance(place.get(key), dict) else parsed
    if not re.fullmatch(r"[\w-]+", name):
        raise _unread(text)
    return (node,)


def _say(node: Mapping[str, Any], path: str = "") -> str:
    """A node as name option=value .."""
    said = [] if path else [str(node["kind"])]
    for key, value in node.items():
        if isinstance(value, Mapping):
            said += [_say(value, f"{path}{key}.")]
        elif path or key != "kind":
            said += [f"{path}{key}={_value(value)}"]
    return " ".join(said)


def _value(value: Any) -> str:
    """A value as YAML reads it; a text of several words in quotes."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) and not re.fullmatch(r"[\w./-]+", value):
        return json.dumps(value, ensure_ascii=False)
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("..." + chr(10)).strip()


def _unread(given: object) -> UserError:
    return UserError(
        f"guidance is a weight, such as 3, or guides with their options, such as 'apg weight=4 + dynamic'; "
        f"got {given!r}"
    )


__all__ = ["Guidance", "Nodes", "nodes", "plain", "several", "words"]
