"""The dataclasses' verdict on a complete spec, with pydantic's errors in our words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ocdnet.config import schema
from ocdnet.config.experiment import Experiment
from ocdnet.tree import keys, nodes
from ocdnet.tree.problems import SpecFieldError

_CODES = {
    "literal_error": "bad-choice",
    "missing": "missing-value",
    "greater_than_equal": "out-of-range",
    "less_than_equal": "out-of-range",
    "multiple_of": "out-of-range",
    "string_pattern_mismatch": "bad-choice",
    "unexpected_keyword_argument": "unknown-key",
}

_PHRASES = {
    "bad-choice": "is not one of its choices",
    "missing-value": "has no value",
    "out-of-range": "is out of range",
    "unknown-key": "is not a key here",
    "wrong-type": "has the wrong type",
}


def validated(tree: Mapping[str, Any]) -> tuple[Experiment | None, list[SpecFieldError]]:
    """The experiment of a normalised tree, or None and what is wrong with it."""
    try:
        return schema.adapter().validate_json(json.dumps(tree)), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        return None, [_translated(detail) for detail in details]


def _translated(error: ErrorDetails) -> SpecFieldError:
    key, got = ".".join(map(str, error["loc"])), error["input"]
    code = _CODES.get(error["type"], "wrong-type")
    node = nodes.core(schema.find(key) or {})
    return SpecFieldError(
        code,
        key,
        f"{key!r} {_PHRASES[code]}",
        did_you_mean=keys.nearest(got, node.get("enum", ())) if isinstance(got, str) else None,
        got=None if code == "missing-value" else got,
        expected=None if code == "unknown-key" else nodes.describe(node),
        hint=_hint(got, node) if code == "wrong-type" else None,
    )


def _hint(got: Any, node: nodes.Node) -> str | None:
    if isinstance(got, list | dict):
        return None
    if node.get("type") == "array":
        return f"Write a list: [{got}]"
    return "Put it in quotes" if node.get("type") == "string" else None
