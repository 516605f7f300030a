"""YAML in and out: bounded reading that names lines, writing that every reader agrees on."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import SingleQuotedScalarString

from ocdnet.tree.nodes import MISSING
from ocdnet.tree.problems import SpecFieldError

BOOLEANS_OF_YAML_1_1 = dict.fromkeys(("yes", "on", "true", "y"), True) | dict.fromkeys(
    ("no", "off", "false", "n"), False
)
"""Words that YAML 1.1 (TAO's readers) takes for booleans; 1.2 (ours) only `true` and `false`."""

MAX_BYTES = 200_000
MAX_NODES = 100_000
_MAX_DEPTH = 50


class _Constructor(SafeConstructor):
    """Safe types only; a date stays the text it was written as, as in OmegaConf."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def read(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file (an empty file is an empty mapping).

    Raises:
        SpecFieldError: `bad-yaml`, with the line where there is one.
    """
    try:
        with path.open("rb") as file:
            data = file.read(4 * MAX_BYTES + 1)  # a character has at most four
    except OSError as error:
        raise _bad(f"Cannot read {path}: {error.strerror}", expected="a YAML file") from error
    if len(data) > 4 * MAX_BYTES:
        raise _bad(f"{path} is too large", expected=f"at most {MAX_BYTES} characters")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _bad(f"{path}, line {line}: not UTF-8", expected="UTF-8 text") from error
    tree = parse(text, str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise _bad(f"{path} is not a mapping", type(tree).__name__, "'key: value' lines")
    return tree


def parse(text: str, name: str) -> Any:
    """The value of a YAML 1.2 text: safe types, no duplicate keys, bounded size.

    Args:
        text: at most `MAX_BYTES` characters.
        name: what to call it in an error.

    Raises:
        SpecFieldError: `bad-yaml`.
    """
    if len(text) > MAX_BYTES:
        raise _bad(f"{name} is too large", len(text), f"at most {MAX_BYTES} characters")
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        node = yaml.compose(text)
        if node is not None and _expanded(node, {})[0] > MAX_NODES:
            raise _bad(
                f"{name} is too large once its aliases are expanded", expected=f"{MAX_NODES} values"
            )
        return yaml.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = name if mark is None else f"{name}, line {mark.line + 1}"
        trouble = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise _bad(f"{where}: {trouble}", expected="valid YAML") from error
    except RecursionError as error:
        raise _bad(f"{name} is nested too deeply", expected="valid YAML") from error
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        # ruamel's own parsing of a malformed scalar (!!int x) raises whatever Python raises.
        raise _bad(f"{name}: {error}", expected="valid YAML") from error


def place_of(path: Path, key: str, value: str) -> str:
    """` (FILE, line N)`, if a key of a YAML file holds this text; else, and if unreadable, empty.

    Args:
        path: a file that `read` has read.
        key: dotted key.
        value: its text: an override may have put another one in its place.
    """
    try:
        node: Node | None = YAML(typ="safe", pure=True).compose(path.read_text("utf-8-sig"))
    except (OSError, ValueError, YAMLError):
        return ""
    for part in key.split("."):
        if isinstance(node, MappingNode):
            node = next((item for name, item in node.value if name.value == part), None)
        elif isinstance(node, SequenceNode) and part.isdecimal() and int(part) < len(node.value):
            node = node.value[int(part)]
        else:
            return ""
    if node is None or node.value != value:
        return ""
    return f" ({path}, line {node.start_mark.line + 1})"


def _expanded(node: Node, known: dict[int, tuple[int, int]], depth: int = 0) -> tuple[int, int]:
    """Values and levels below a node, every alias counted as a copy; a cycle is too deep."""
    if depth > _MAX_DEPTH:
        raise RecursionError
    if id(node) not in known:
        children: list[Node] = []
        if isinstance(node, MappingNode):
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            children = node.value
        below = [_expanded(child, known, depth + 1) for child in children]
        levels = 1 + max((levels for _, levels in below), default=0)
        if levels > _MAX_DEPTH:
            raise RecursionError
        known[id(node)] = 1 + sum(size for size, _ in below), levels
    return known[id(node)]


def _bad(message: str, got: Any = None, expected: str | None = None) -> SpecFieldError:
    return SpecFieldError("bad-yaml", None, message, got=got, expected=expected)


# Plain only what YAML 1.1 and 1.2 both read as a string; TAO's readers are 1.1.
_PLAIN = re.compile(r"(?:[A-Za-z_/][\w./ -]*[\w./-]|[A-Za-z_/]|\?\?\?)", re.ASCII)
_WORDS = {*BOOLEANS_OF_YAML_1_1, "null"}


class _Representer(RoundTripRepresenter):
    """Scalars in the form that YAML 1.1 and 1.2 read alike."""

    def write_str(self, data: str) -> Any:
        plain = _PLAIN.fullmatch(data) and data.lower() not in _WORDS
        style = None if plain else "'" if data.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def write_float(self, data: float) -> Any:
        text = repr(data)
        if "e" in text and "." not in text:
            text = text.replace("e", ".0e")
        return self.represent_scalar("tag:yaml.org,2002:float", text)

    def write_none(self, _data: None) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(str, _Representer.write_str)
_Representer.add_representer(float, _Representer.write_float)
_Representer.add_representer(type(None), _Representer.write_none)


def styled(value: Any, *, flow: bool = False) -> Any:
    """A copy of a tree that `dump` writes as blocks, with lists and list items on one line."""
    if isinstance(value, dict):
        mapping = CommentedMap({key: styled(item, flow=flow) for key, item in value.items()})
        if flow or not value:
            mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        sequence = CommentedSeq([styled(item, flow=True) for item in value])
        if flow or not any(isinstance(item, dict) for item in value):
            sequence.fa.set_flow_style()
        return sequence
    # Inside brackets a plain ??? is not YAML.
    return SingleQuotedScalarString(value) if flow and value == MISSING else value


def dump(tree: Any) -> str:
    """The YAML text of a tree that `styled` made (comments that were added to it included)."""
    yaml = YAML(pure=True)
    yaml.Representer = _Representer
    yaml.width = 4096
    yaml.allow_unicode = True
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


def inline_yaml(value: Any) -> str:
    """A value as YAML on one line."""
    return dump(styled([value])).strip()[1:-1]
