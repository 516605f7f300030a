"""Schemas of what the program writes, generated from the records that it writes them with."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ocdnet.policy.plan_record import Plan
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.printed_data import DataChecked
from ocdnet.runs.printed_report import Comparison
from ocdnet.runs.records import Results
from ocdnet.runs.status_line import StatusLine
from ocdnet.runs.typed import Bounds, Pattern, Size, Version, With, tagged
from ocdnet_generator.schemas import DIALECT

Node = dict[str, Any]

_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string"}
_SIZES = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


def schema(kind: Any, title: str, description: str) -> Node:
    """The schema of a document, whole in itself.

    A field's description is the docstring below it. Objects are closed; what is required is said
    in `ocdnet.runs.typed`. A union of records that differ in a field of literal choices becomes an
    object whose further rules go by that field, so that a validator names the rule that is broken.

    Args:
        kind: a record's class, or a union of such.
        title: of the document.
        description: what it says, in a sentence.
    """
    return {"$schema": DIALECT, "title": title, "description": description, **_node(kind)}


def status() -> Node:
    """Schema of one line of status.json."""
    says = "A run's life as JSON lines; the last one says SUCCESS or FAILURE."
    return schema(StatusLine, "status.json, one line", says)


def results() -> Node:
    """Schema of results.json."""
    says = "What a finished run reached, and the files that hold it."
    return schema(Results, "results.json", says)


def plan() -> Node:
    """Schema of what `ocdnet plan` prints."""
    says = "What `ocdnet plan` prints: how a request will be run. Nothing is launched by it."
    return schema(Plan, "ocdnet plan", says)


def page() -> Node:
    """Schema of a picture's record."""
    says = "What was found in a picture: a line of predictions.jsonl and of `predict --json`."
    return schema(PageRecord, "page, one line", says)


def data_check() -> Node:
    """Schema of what `ocdnet data check` prints."""
    says = "What `ocdnet data check` prints: what is in sets, what is wrong, which settings suit."
    return schema(DataChecked, "ocdnet data check", says)


def comparison() -> Node:
    """Schema of what `ocdnet report` prints of several runs."""
    says = "What `ocdnet report RUN RUN...` prints: several runs, compared with the first."
    return schema(Comparison, "ocdnet report of several runs", says)


def _node(kind: Any) -> Node:
    """The schema of a type: a record, Literal, Annotated, a union, tuple, mapping or scalar."""
    if kind is Any:
        return {}
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if is_dataclass(kind):
        return _object(kind)
    return _BY_ORIGIN[get_origin(kind)](get_args(kind))


def _choice(choices: tuple[Any, ...]) -> Node:
    return {"type": _SCALARS[type(choices[0])], "enum": list(choices)}


def _array(arguments: tuple[Any, ...]) -> Node:
    items = _node(arguments[0])
    return {"type": "array", **({"items": items} if items else {})}


def _annotated(arguments: tuple[Any, ...]) -> Node:
    node = _node(arguments[0])
    for marker in arguments[1:]:
        pairs: Node = {}
        if isinstance(marker, Bounds):
            pairs = {"minimum": marker.minimum, "maximum": marker.maximum}
        elif isinstance(marker, Pattern):
            pairs = {"pattern": marker.regex}
        elif isinstance(marker, Size):
            pairs = dict(zip(_SIZES[node["type"]], (marker.least, marker.most), strict=True))
        elif isinstance(marker, Version):
            pairs = {"maximum": marker.newest}
        node = node | {key: value for key, value in pairs.items() if value is not None}
    return node


def _union(arguments: tuple[Any, ...]) -> Node:
    members = tuple(member for member in arguments if member is not types.NoneType)
    tag = tagged(members) if len(members) > 1 else None
    nodes = [_by_tag(*tag)] if tag else [_node(member) for member in members]
    if len(members) < len(arguments):
        nodes.append({"type": "null"})
    return nodes[0] if len(nodes) == 1 else {"anyOf": nodes}


def _by_tag(name: str, kinds: Mapping[Any, Any]) -> Node:
    """An object that is one of several records, by the value of a field."""
    values: dict[Any, list[Any]] = {}
    for value, kind in kinds.items():
        values.setdefault(kind, []).append(value)
    return {
        "type": "object",
        "required": [name],
        "properties": {name: {"type": "string", "enum": sorted(kinds)}},
        "allOf": [
            {
                "if": {"properties": {name: {"type": "string", "enum": those}}},
                "then": _object(kind),
            }
            for kind, those in values.items()
        ],
    }


def _mapping(arguments: tuple[Any, ...]) -> Node:
    names, values = map(_node, arguments)
    node: Node = {"type": "object"}
    if names != {"type": "string"}:
        node["propertyNames"] = {word: fact for word, fact in names.items() if word != "type"}
    return node | ({"additionalProperties": values} if values else {})


_BY_ORIGIN: dict[Any, Callable[[tuple[Any, ...]], Node]] = {
    Annotated: _annotated,
    Literal: _choice,
    Union: _union,
    types.UnionType: _union,
    tuple: _array,
    Mapping: _mapping,
}


def _object(kind: Any) -> Node:
    """A record: closed, each field with its docstring."""
    hints, texts = get_type_hints(kind, include_extras=True), _docstrings(kind)
    own = [item for item in fields(kind) if item.name != "extra"]
    properties: dict[str, Node] = {}
    for item in own:
        said = {"description": texts[item.name]} if item.name in texts else {}
        properties[item.name] = said | _node(_written(hints[item.name], item.default))
    required = [item.name for item in own if item.default is not None]
    together = {name: list(names) for name, names in _together(hints)}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": required} if required else {}),
        **({"dependentRequired": together} if together else {}),
    }


def _written(kind: Any, default: Any) -> Any:
    """A field's type as it is written: one that is None is left out where that is its default."""
    if default is not None or get_origin(kind) not in (Union, types.UnionType):
        return kind
    return Union[tuple(arg for arg in get_args(kind) if arg is not types.NoneType)]  # noqa: UP007


def _together(hints: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, hint in hints.items():
        for part in (hint, *get_args(hint)):
            for marker in get_args(part)[1:] if get_origin(part) is Annotated else ():
                if isinstance(marker, With):
                    yield name, marker.names


@cache
def _docstrings(kind: Any) -> Mapping[str, str]:
    """The docstring below each field, those of its bases included, in one line each."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not is_dataclass(base):
            continue
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(base)))  # type: ignore[arg-type]
        for statement, after in pairwise(tree.body[0].body):
            if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
                text = ast.literal_eval(after.value)
                texts[ast.unparse(statement.target)] = " ".join(text.split())
    return texts
