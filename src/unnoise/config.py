"""Objects are their own configuration: a node {kind: .., fields ..} becomes an object, or one clear sentence.

A table is a plain dict of kind → class (or function). The fields of a node are the keyword parameters of
that class; a parameter whose annotation is itself a key of `tables` is a node of that table.
"""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias

Table: TypeAlias = Mapping[str, Callable[..., Any]]
Tables: TypeAlias = Mapping[Any, Table]


class UserError(ValueError):
    """A mistake in what was asked: one sentence of what was given, what was expected, the nearest name."""


def nearest(name: object, options: Mapping[str, Any] | list[str] | tuple[str, ...]) -> str:
    """The end of an error's sentence: the nearest option, or all of them."""
    if not options:
        return "it takes nothing"
    close = get_close_matches(str(name), list(options), n=1, cutoff=0.6)
    listed = ", ".join(options)
    return f"did you mean '{close[0]}'? (of: {listed})" if close else f"expected one of: {listed}"


def choose(what: str, name: str, table: Mapping[str, Any]) -> Any:
    """table[name], or a UserError that names the nearest entry."""
    if name not in table:
        raise UserError(f"there is no {what} '{name}'; {nearest(name, table)}")
    return table[name]


def build(
    base: Any,
    node: Any,
    tables: Tables,
    where: str = "",
    context: Mapping[str, Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The object that a node describes, and the node with every default written out.

    base: the key of `tables` that the node belongs to; where: the node's path, for messages;
    context: values that the caller knows (such as the shape of the data), given where a parameter
    of that name stands and the node is silent; they are not written into the resolved node.
    """
    table = tables[base]
    if isinstance(node, str):
        node = {"kind": node}
    if isinstance(node, Mapping) and "kind" not in node and len(table) == 1:
        node = {"kind": next(iter(table)), **node}  # where there is no choice, none need be said
    if not isinstance(node, Mapping) or not isinstance(node.get("kind"), str):
        raise UserError(f"{where or 'the node'} has no kind: expected a name or a table with 'kind', got {node!r}")
    fields: dict[str, Any] = {str(k): v for k, v in node.items() if k != "kind"}
    if node["kind"] not in table:
        raise UserError(f"{where or 'a node'} has no kind '{node['kind']}'; {nearest(node['kind'], table)}")
    factory: Callable[..., Any] = table[node["kind"]]
    if "preset" in fields and hasattr(factory, "presets"):  # a size by name, upon which fields may still be set
        sized = choose(f"preset of '{node['kind']}'", str(fields.pop("preset")), getattr(factory, "presets"))  # noqa: B009
        fields = {**sized, **fields}
    values, resolved = arguments(factory, fields, tables, where, context)
    try:
        made = factory(**values)
    except ValueError as error:
        raise UserError(f"{where or node['kind']}: {error}") from None
    return made, {"kind": node["kind"], **resolved} if len(table) > 1 else resolved


def arguments(
    function: Callable[..., Any],
    fields: Mapping[str, Any],
    tables: Tables,
    where: str,
    context: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Validated keyword arguments of a function from plain fields, and the plain fields with all defaults."""
    from pydantic import BaseModel, ConfigDict, ValidationError, create_model  # messages and names need none of it

    context = context or {}
    parameters = {
        name: p
        for name, p in inspect.signature(function).parameters.items()
        if name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    own = {name for name in parameters if name not in context or name in fields}
    for name in fields:
        if name not in parameters:
            raise UserError(f"{where or 'the node'} has no field '{name}'; {nearest(name, sorted(own))}")
    values: dict[str, Any] = {name: context[name] for name in parameters if name in context}
    resolved: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name in parameters:
        if name not in own:
            continue
        parameter = parameters[name]
        nested = parameter.annotation in tables if _hashable(parameter.annotation) else False
        given = fields.get(name, parameter.default)
        if nested and (isinstance(given, (str, Mapping))):
            values[name], resolved[name] = build(
                parameter.annotation, given, tables, f"{where}.{name}".lstrip("."), context
            )
        elif nested and type(given) in tables[parameter.annotation].values():
            values[name] = given
            resolved[name] = describe(given, tables)
        elif name in fields or parameter.default is parameter.empty:
            plain[name] = (parameter.annotation, ...)
        else:
            values[name] = resolved[name] = parameter.default
    if not plain:  # nothing given is nothing to check, and a plan asks often
        return values, {name: _plain(resolved[name]) for name in parameters if name in resolved}
    model: type[BaseModel] = create_model(
        "Node", __config__=ConfigDict(arbitrary_types_allowed=True, extra="forbid"), **plain
    )
    try:
        checked = model(**{name: fields[name] for name in plain if name in fields})
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, (where, *first["loc"]))).lstrip(".")
        if first["type"] == "missing":
            raise UserError(f"{path} is missing") from None
        raise UserError(f"{path}: {first['msg'].lower()}, got {first['input']!r}") from None
    for name in plain:
        values[name] = resolved[name] = getattr(checked, name)
    return values, {name: _plain(resolved[name]) for name in parameters if name in resolved}


def describe(thing: Any, tables: Tables) -> dict[str, Any]:
    """The node of an object from one of the tables, whose fields are its parameters; nodes within nodes too."""
    table, kind = next((t, k) for t in tables.values() for k, made in t.items() if made is type(thing))
    known = {made for table in tables.values() for made in table.values()}
    fields = {name: getattr(thing, name) for name in inspect.signature(type(thing)).parameters}
    plain = {name: describe(v, tables) if type(v) in known else _plain(v) for name, v in fields.items()}
    return {"kind": kind, **plain} if len(table) > 1 else plain


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return value


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


__all__ = ["Table", "Tables", "UserError", "arguments", "build", "choose", "describe", "nearest"]
