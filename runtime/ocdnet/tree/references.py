"""References between values of a spec, in OmegaConf's notation: `${results_dir}/export`.

Understood are keys of the experiment (`${a.b}`, `${a.list[0]}`, and relative to the value's own
place `${.c}`, `${..c}`) and `${oc.env:NAME,default}`. OmegaConf 2.4 itself follows a chain of
references anew for every mention, which a file of ten lines turns into hours; here each value is
resolved once (docs/adr/001-libraries.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ocdnet.tree import keys, nodes
from ocdnet.tree.nodes import MISSING, Node
from ocdnet.tree.problems import SpecFieldError, missing
from ocdnet.tree.yaml_io import MAX_BYTES, MAX_NODES, parse

OPEN = "${"
_MARKS = re.compile(r"\\*\$\{|[{}]")
_KEY = re.compile(r"\s*(\.*)([^\s.:{}\[\]]+(?:\.[^\s.:{}\[\]]+|\[\w+\])*|)\s*")
_RESOLVER = re.compile(r"\s*([\w.-]+)\s*:(.*)", re.DOTALL)
_ENV = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:,(.*))?", re.DOTALL)
_FORMS = "${section.key}, ${.key} (beside this one) or ${oc.env:NAME,default}"
_MAX_DEPTH = 50

Where = Callable[[str, str], str]
"""From a dotted key and its text to what is said of their place: ` (spec.yaml, line 3)`."""


class _NoValueError(Exception):
    """What a reference names is not given; its problem is recorded."""


def has_references(value: Any) -> bool:
    """Whether a value, or anything in it, holds a reference."""
    if isinstance(value, Mapping):
        return any(map(has_references, value.values()))
    if isinstance(value, list):
        return any(map(has_references, value))
    return isinstance(value, str) and OPEN in value


def resolved(
    tree: Mapping[str, Any],
    read: Collection[str],
    defaults: Mapping[str, Any],
    root: Node,
    where: Where = lambda key, text: "",
) -> tuple[dict[str, Any], list[SpecFieldError]]:
    """A copy of a tree with the values that its references name.

    Args:
        tree: the whole experiment as it is given.
        read: the names at its top under which references are resolved.
        defaults: what keys that are not given hold.
        root: schema of the experiment: which keys there are, and what they take.
        where: says where a key stands, at the end of a message.

    Returns:
        The copy, in which a text that can't be resolved stays as it is written and another value
        is None; and a problem for each: `missing-value`, about the key that has to be given, else
        `bad-reference`.
    """
    if not has_references(tree):
        return dict(tree), []
    resolver = _Resolver(tree, defaults, root, where)
    return resolver.tree(read), resolver.problems


def targets(value: Any, key: str) -> list[str]:
    """The dotted keys that the references in a value name.

    Args:
        value: a text, or a list or mapping of some.
        key: where it stands, from which relative references count.
    """
    if isinstance(value, Mapping):
        return [name for part, item in value.items() for name in targets(item, f"{key}.{part}")]
    if isinstance(value, list):
        return [name for i, item in enumerate(value) for name in targets(item, f"{key}.{i}")]
    if not isinstance(value, str):
        return []
    return [_absolute(match, key) or "" for match in map(_KEY.fullmatch, _bodies(value)) if match]


def _bodies(text: str) -> Iterator[str]:
    """What stands between `${` and `}`, in defaults of resolvers, too."""
    try:
        for part, is_reference in _parts(text):
            if is_reference:
                yield part
                yield from _bodies(part)
    except ValueError:
        return


class _Resolver:
    def __init__(
        self, tree: Mapping[str, Any], defaults: Mapping[str, Any], root: Node, where: Where
    ) -> None:
        self._given, self._defaults, self._root, self._where = tree, defaults, root, where
        self._known: dict[str, Any] = {}
        self._open: list[str] = []
        self._visited = 0
        self.problems: list[SpecFieldError] = []

    def tree(self, read: Collection[str]) -> dict[str, Any]:
        return {
            name: self._kept(value, name) if name in read else value
            for name, value in self._given.items()
        }

    def _kept(self, value: Any, key: str) -> Any:
        """The value at a key, resolved as far as it can be."""
        if isinstance(value, Mapping):
            return {name: self._kept(item, f"{key}.{name}") for name, item in value.items()}
        if isinstance(value, list):
            return [self._kept(item, f"{key}.{number}") for number, item in enumerate(value)]
        try:
            return self._value(value, key)
        except _NoValueError:
            return value if self._kind(key) == "string" else None

    def _kind(self, key: str) -> str:
        """The type that a key takes."""
        return str(nodes.core(nodes.find(self._root, key) or {}).get("type", "string"))

    def _value(self, value: Any, key: str) -> Any:
        """The value at a key with everything in it resolved.

        Raises:
            _NoValueError: something in it can't be.
        """
        self._visited += 1
        if self._visited > MAX_NODES:
            raise self._bad(key, "becomes too large", f"more than {MAX_NODES} values")
        if isinstance(value, Mapping):
            return {name: self._value(item, f"{key}.{name}") for name, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, f"{key}.{number}") for number, item in enumerate(value)]
        if not (isinstance(value, str) and OPEN in value):
            return value
        if key not in self._known:
            self._known[key] = self._once(value, key)
        found = self._known[key]
        if isinstance(found, _NoValueError):
            raise found
        return self._value(found, key) if isinstance(found, dict | list) else found

    def _once(self, text: str, key: str) -> Any:
        if key in self._open:
            ring = " -> ".join([*self._open[self._open.index(key) :], key])
            return self._bad(key, "refers to itself", ring)
        if len(self._open) >= _MAX_DEPTH:
            return self._bad(key, f"stands behind more than {_MAX_DEPTH} references", text)
        self._open.append(key)
        try:
            return self._typed(self._text(text, key), key)
        except _NoValueError as error:
            return error
        finally:
            self._open.pop()

    def _text(self, text: str, key: str) -> Any:
        """What a text with references stands for: of one reference alone, its very value."""
        try:
            parts = list(_parts(text))
        except ValueError as error:
            raise self._bad(key, str(error), text) from None
        if len(parts) == 1:
            part, is_reference = parts[0]
            return self._named(part, key) if is_reference else part
        joined = ""
        for part, is_reference in parts:
            value = self._named(part, key) if is_reference else part
            if isinstance(value, dict | list):
                raise self._bad(key, "puts a list or a section into a text", text)
            if value in (None, "", MISSING):
                name = next(iter(targets(f"${{{part}}}", key)), "") or part.strip()
                raise self._absent(key, name)
            joined += str(value)
            if len(joined) > MAX_BYTES:
                raise self._bad(key, "becomes too long", f"{text[:80]}...")
        return joined

    def _named(self, body: str, key: str) -> Any:
        """The value of one reference, its body given."""
        if match := _KEY.fullmatch(body):
            return self._of_key(_absolute(match, key), key, body)
        match = _RESOLVER.fullmatch(body)
        if match is None:
            raise self._bad(key, "holds a reference of a form that is not known", f"${{{body}}}")
        name, arguments = match.groups()
        if name != "oc.env":
            raise self._bad(key, f"asks for the resolver {name!r}, which is not known", f"{name}:")
        return self._of_environment(arguments, key)

    def _of_key(self, target: str | None, key: str, body: str) -> Any:
        if not target or (nodes.find(self._root, target) is None):
            near = nodes.suggestion(self._root, target) if target else None
            problem = f"refers to {target or body.strip()!r}, which is not a key of the experiment"
            raise self._bad(key, problem, f"${{{body}}}", near)
        given = self._at(target)
        if given is None or given == MISSING:
            # One that is not given leaves this one not given, too.
            return None
        return self._value(given, target)

    def _at(self, target: str) -> Any:
        """What a key holds, given or by default; None where nothing.

        On the way to it may stand references to whole sections.
        """
        value: Any = None
        for place in keys.prefixes(target):
            above, _, name = place.rpartition(".")
            default = None if isinstance(value, list) else keys.get(self._defaults, place)
            value = _merged(default, keys.get(value if above else self._given, name))
            if place != target and isinstance(value, str) and OPEN in value:
                value = self._value(value, place)
        return value

    def _of_environment(self, arguments: str, key: str) -> Any:
        match = _ENV.fullmatch(arguments)
        if match is None:
            raise self._bad(key, "names no environment variable", arguments.strip())
        name, default = match.groups()
        if OPEN in os.environ.get(name, ""):
            raise self._bad(key, f"takes {name}, whose value holds a ${{", name)
        if name in os.environ:
            return os.environ[name]
        if default is None:
            raise self._bad(key, f"needs the environment variable {name}, which is not set", name)
        text = default.strip()
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            text = text[1:-1]
        elif text == "null":
            return None
        return self._text(text, key) if OPEN in text else text

    def _typed(self, value: Any, key: str) -> Any:
        """The value as what the key takes: a text as YAML, a number as text."""
        kind = self._kind(key)
        if kind == "string" and isinstance(value, int | float):
            return str(value)
        if kind == "string" or not isinstance(value, str):
            return value
        try:
            return parse(value, key)
        except SpecFieldError:
            return value  # of the wrong type, which is said where types are checked

    def _bad(self, key: str, problem: str, got: str, near: str | None = None) -> _NoValueError:
        self.problems.append(
            SpecFieldError(
                "bad-reference",
                key,
                f"{key!r} {problem}{self._place(key)}",
                did_you_mean=near,
                got=got,
                expected=_FORMS,
            )
        )
        return _NoValueError()

    def _place(self, key: str) -> str:
        return self._where(key, str(keys.get(self._given, key)))

    def _absent(self, key: str, target: str) -> _NoValueError:
        why = f"{key!r}, which refers to it{self._place(key)}"
        problem = missing(target, why, "VALUE")
        if all(known.key != target for known in self.problems):
            self.problems.append(problem)
        return _NoValueError()


def _merged(default: Any, given: Any) -> Any:
    """What is given over the default; of two sections, key by key."""
    if isinstance(default, Mapping) and isinstance(given, Mapping):
        return {**default, **{k: _merged(default.get(k), v) for k, v in given.items()}}
    return default if given is None or given == MISSING else given


def _absolute(match: re.Match[str], key: str) -> str | None:
    """The dotted key that a reference at a key names; None above the root, and where none."""
    dots, name = match.groups()
    path = re.sub(r"\[(\w+)\]", r".\1", name)
    if not path or not dots:
        return path or None
    parents = key.split(".")
    if len(dots) > len(parents):
        return None
    return ".".join([*parents[: -len(dots)], path])


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The pieces of a text: plain ones, and what stands in `${...}`.

    Raises:
        ValueError: a brace is not closed, or a reference is escaped.
    """
    start, position = 0, text.find(OPEN)
    while position >= 0:
        if text[max(position - 1, 0)] == "\\":
            raise ValueError("holds \\${, and no value may hold a literal ${")
        if position > start:
            yield text[start:position], False
        depth, end = 0, position
        for mark in _MARKS.finditer(text, position):
            depth += -1 if mark.group() == "}" else 1
            if depth == 0:
                end = mark.end()
                break
        if not end > position:
            raise ValueError("holds a ${ that is not closed")
        yield text[position + 2 : end - 1], True
        start, position = end, text.find(OPEN, end)
    if start < len(text):
        yield text[start:], False
