"""A request for a plan: what the user asks for, as flags or as JSON, checked in one place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from ocdnet.catalogue import PLANNED
from ocdnet.errors import UsageError
from ocdnet.launch.platforms import LOCAL, PLATFORMS
from ocdnet.policy.checks import SAME_AS, choice, one_line, said_once, short
from ocdnet.runs.names import METRIC_NAMES, METRICS, Metric
from ocdnet.tree.keys import leaves, nearest

Policy = Literal["on", "off"]

ACTIONS = tuple(PLANNED)
"""What can be planned."""
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""Number formats that some action can be asked for; its schema says which it has."""
_MOST = {"trials": 10_000, "shards": 500}
MAX_TEXT = 10_000
"""Characters of free text."""
MAX_JSON = 1_000_000
"""Bytes of a JSON request."""

_BOOLEANS: dict[str, Policy] = {
    **dict.fromkeys(("on", "true", "yes", "y"), "on"),
    **dict.fromkeys(("off", "false", "no", "n"), "off"),
}
_LINES = ("inference_dataset", "parent", "results_dir", "spec", "image", "write")
_LISTS = ("train_datasets", "eval_datasets", "calibration_datasets", "claims", "overrides")
_FLAGS = {
    "text": "--request",
    "train_datasets": "--train-dataset",
    "eval_datasets": "--eval-dataset",
    "calibration_datasets": "--calibration-dataset",
    "overrides": "--set",
    "claims": "--claim",
}
"""Of fields whose flag has another name."""
_DEEPEST = 50
_FILE = re.compile(r"[./]")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for; one that exists is valid.

    Attributes:
        action: one of `ACTIONS`; a request without one has no plan (`no_action`).
        text: the user's words, which may state the AutoML policy.
        automl_policy: whether training goes through AutoML, as `policy_value` reads it; None: not
            given.
        train_datasets: split folders, datalist files, or archives or URIs of them.
        eval_datasets: the same, to validate or to evaluate on.
        inference_dataset: folder of images, or an archive or URI of one.
        calibration_datasets: the same, to calibrate on.
        parent: results folder of an earlier job.
        checkpoint: `best`, `latest`, or an epoch's number as text; None: what the action takes.
        results_dir: where the job writes.
        overrides: `a.b.c=value` texts.
        spec: the user's own spec file to start from.
        platform: one of `PLATFORMS`.
        image: container image to use.
        claims: volumes of a cluster, `NAME:/mount/path`.
        write: folder to write the spec to.
        full: whether the plan holds the whole spec.
        trials: of an AutoML search; None: the usual number.
        metric: what judges them, one of `METRICS` or a name of theirs; None: train_loss.
        precision: of an engine or a training, one of `PRECISIONS` in any case; None: the spec's.
        shards: tasks of a cluster that share the images of inference; None: one.

    Raises:
        UsageError: `unknown-action`, `bad-choice`, `bad-policy`, `request-too-long`, `bad-text`
            or `contradiction`.
    """

    action: str | None = None
    text: str = ""
    automl_policy: Policy | None = None
    train_datasets: tuple[str, ...] = ()
    eval_datasets: tuple[str, ...] = ()
    inference_dataset: str | None = None
    calibration_datasets: tuple[str, ...] = ()
    parent: str | None = None
    checkpoint: str | None = None
    results_dir: str | None = None
    overrides: tuple[str, ...] = ()
    spec: str | None = None
    platform: str = LOCAL
    image: str | None = None
    claims: tuple[str, ...] = ()
    write: str | None = None
    full: bool = False
    trials: int | None = None
    metric: Metric | None = None
    precision: str | None = None
    shards: int | None = None

    def __post_init__(self) -> None:
        if len(self.text) > MAX_TEXT:
            raise _too_long("The request's text", len(self.text), f"{MAX_TEXT:,} characters")
        if self.action is not None:
            choice("action", self.action, ACTIONS, code="unknown-action")
        if self.automl_policy is not None:
            object.__setattr__(self, "automl_policy", policy_value(self.automl_policy))
        choice("platform", self.platform, tuple(PLATFORMS))
        if self.metric is not None:
            object.__setattr__(self, "metric", METRIC_NAMES.get(self.metric, self.metric))
            choice("metric", self.metric, METRICS)
        if self.precision is not None:
            object.__setattr__(self, "precision", self.precision.strip().lower())
            choice("precision", self.precision, PRECISIONS)
        for name, most in _MOST.items():
            count = getattr(self, name)
            if count is not None and not 1 <= count <= most:
                raise UsageError("bad-choice", f"{name} is out of range", count, f"1 to {most}")
        if self.checkpoint is not None and not re.fullmatch(r"[0-9]{1,6}", self.checkpoint):
            key = PLANNED[self.action].model if self.action else None
            is_file = key and _FILE.search(self.checkpoint)
            hint = f"Of a file: --set {key}={self.checkpoint}" if is_file else None
            known = ("best", "latest")
            choice("checkpoint", self.checkpoint, known, also="an epoch's number", hint=hint)
        for name in _LINES:
            if getattr(self, name) is not None:
                one_line(name, getattr(self, name))
        for name in _LISTS:
            for item in getattr(self, name):
                one_line(name, item)
        said_once(self.overrides, {name: getattr(self, name) for name in SAME_AS})

    def flags(self) -> list[str]:
        """The command line of `ocdnet plan` that asks for the same."""
        words: list[str] = []
        for item in fields(self):
            value = getattr(self, item.name)
            if value == item.default:
                continue
            flag = _FLAGS.get(item.name, f"--{item.name.replace('_', '-')}")
            for one in value if isinstance(value, tuple) else (value,):
                words += [flag] if one is True else [flag, str(one)]
        return words


def policy_value(value: object) -> Policy:
    """`on` or `off` as people and YAML 1.1 write them: booleans, yes, no, true, false, any case.

    Raises:
        UsageError: `bad-policy`.
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    raise UsageError(
        "bad-policy",
        "automl_policy is neither on nor off",
        got=short(value),
        expected="on or off",
        hint="on: train searches hyperparameters; off: one plain run.",
    )


def no_action(text: str, *, reads_text: bool) -> UsageError:
    """The error of a request that does not give its action: it lists all of them.

    Args:
        text: the user's words.
        reads_text: whether they ask what the words in an image say.
    """
    also = ", and its words ask to read text: OCDNet finds it, OCRNet reads it" * reads_text
    return UsageError(
        "no-action",
        f"The request gives no action{also}",
        got=text[:80] or None,
        expected=[f"{name}: {entry.summary}" for name, entry in PLANNED.items()],
        hint="Say which, e.g. `ocdnet plan --action train`.",
    )


def from_json(data: str | bytes) -> Request:
    """The request in a JSON object of at most `MAX_JSON` bytes, strictly read.

    Raises:
        UsageError: `request-too-long`, `bad-json` (not UTF-8, not an object, a duplicate key, NaN),
            `unknown-key`, `wrong-type`, or as `Request`.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_JSON:
        raise _too_long("The JSON request", len(raw), f"{MAX_JSON:,} bytes")
    fields: dict[str, Any] = {}
    for key, value in _object(raw).items():
        if key not in _READERS:
            raise _unknown_key(key)
        name, reader = _READERS[key]
        if name in fields:
            raise UsageError(
                "contradiction", f"The request gives {name} twice", got=key, expected="one of them"
            )
        if value is not None:
            fields[name] = reader(key, value)
    return Request(**fields)


def _object(raw: bytes) -> dict[str, Any]:
    """The JSON object in UTF-8 bytes; duplicate keys and what is not finite are refused."""
    try:
        document = json.loads(
            raw.decode("utf-8-sig"),
            object_pairs_hook=_unique,
            parse_constant=_not_finite,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise _bad_json(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _bad_json(f"{where}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise _bad_json("a number is too long, or it is nested too deeply") from error
    if not isinstance(document, dict):
        raise _bad_json(f"it is {_kind(document)}")
    _refuse_depth(document, _DEEPEST)
    return document


def _refuse_depth(value: Any, left: int) -> None:
    """Whatever walks the values later does not run out of stack."""
    if isinstance(value, dict | list):
        if not left:
            raise _bad_json("it is nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_depth(item, left - 1)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise _bad_json(f"the key {short(key)!r} stands twice")
        fields[key] = value
    return fields


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _not_finite(text)


def _not_finite(text: str) -> float:
    raise _bad_json(f"{short(text)} is not a finite number")


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong_type(key, value, "a string")
    return value


def _texts(key: str, value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise _wrong_type(key, value, "a string or a list of strings")
    return tuple(items)


def _epoch(key: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(key, value)


def _count(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(key, value, "a whole number")
    return value


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(key, value, "true or false")
    return value


def _overrides(key: str, value: Any) -> tuple[str, ...]:
    """Override texts of an object of dotted or nested keys, or of a list of them."""
    if not isinstance(value, dict):
        return _texts(key, value)
    texts: dict[str, str] = {}
    for dotted, item in leaves(value):
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", dotted):
            raise UsageError(
                "bad-override",
                f"{key} holds a key that no spec has",
                got=short(dotted),
                expected="dotted spec keys, e.g. train.num_epochs",
            )
        for word in _strings(item):
            if word:
                one_line(dotted, word)
        text = _yaml(item)
        if texts.setdefault(dotted, text) != text:
            raise UsageError(
                "contradiction",
                f"{key} gives {dotted!r} two values",
                got=short(f"{texts[dotted]} and {text}"),
                expected="one value",
            )
    return tuple(f"{dotted}={text}" for dotted, text in texts.items())


def _strings(value: Any) -> Iterator[str]:
    """The strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _yaml(value: Any) -> str:
    """A JSON value as YAML reads it: raw characters that YAML refuses become escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return re.sub(
        "[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]",
        lambda match: f"\\u{ord(match[0]):04x}",
        text,
    )


_READERS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "action": ("action", _text),
    "request": ("text", _text),
    "automl_policy": ("automl_policy", lambda _, value: policy_value(value)),
    "train_datasets": ("train_datasets", _texts),
    "train_dataset": ("train_datasets", _texts),
    "eval_datasets": ("eval_datasets", _texts),
    "eval_dataset": ("eval_datasets", _texts),
    "inference_dataset": ("inference_dataset", _text),
    "calibration_datasets": ("calibration_datasets", _texts),
    "calibration_dataset": ("calibration_datasets", _texts),
    "parent": ("parent", _text),
    "checkpoint": ("checkpoint", _epoch),
    "results_dir": ("results_dir", _text),
    "set": ("overrides", _overrides),
    "spec": ("spec", _text),
    "platform": ("platform", _text),
    "image": ("image", _text),
    "claims": ("claims", _texts),
    "claim": ("claims", _texts),
    "write": ("write", _text),
    "full": ("full", _flag),
    "trials": ("trials", _count),
    "metric": ("metric", _text),
    "precision": ("precision", _text),
    "shards": ("shards", _count),
}
"""JSON key: the field it fills, and what reads it."""


def _unknown_key(key: str) -> UsageError:
    near = nearest(key, _READERS)
    dotted = "Spec keys go into `set`." if "." in key else None
    return UsageError(
        "unknown-key",
        "A request has no such key",
        got=short(key),
        expected=f"one of {', '.join(_READERS)}",
        hint=f"Did you mean {near!r}?" if near else dotted,
    )


def _wrong_type(key: str, value: Any, expected: str) -> UsageError:
    return UsageError("wrong-type", f"{key} is {_kind(value)}", got=short(value), expected=expected)


def _bad_json(fault: str) -> UsageError:
    return UsageError(
        "bad-json", f"The request is not valid: {fault}", expected="one JSON object in UTF-8"
    )


def _too_long(subject: str, got: int, most: str) -> UsageError:
    return UsageError(
        "request-too-long",
        f"{subject} is too long",
        got=got,
        expected=f"at most {most}",
        hint="Give paths and values as flags, or in a spec file.",
    )


def _kind(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds = {bool: "true or false", str: "a string", list: "a list", dict: "an object"}
    return (kinds | dict.fromkeys((int, float), "a number")).get(type(value), "null")
