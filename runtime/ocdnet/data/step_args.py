"""Typed reading of the open `args` objects in a `pre_processes` list."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from ocdnet.errors import SpecError
from ocdnet.tree.keys import nearest

_LARGEST = 2**63 - 1
_LONGEST_SIDE = 65_535

_T = TypeVar("_T", bound=str)


def unknown(kind: str, where: str, name: str, known: Iterable[str]) -> SpecError:
    """The error for a name that is none of `known`, with a did-you-mean."""
    names = sorted(known)
    near = nearest(name, names, 0.5)
    return SpecError(
        f"unknown-{kind}",
        f"Unknown {kind} at {where}",
        got=name,
        expected=" | ".join(names) or "nothing",
        hint=f"Did you mean {near!r}?" if near else None,
    )


def read_items(items: Any, where: str) -> list[tuple[str, str, Any]]:
    """A list of `{type, args}` objects as (where, type, args).

    Raises:
        SpecError: not such a list.
    """
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise _bad_value(where, items, "a list of {type, args}")
    steps = []
    for index, item in enumerate(items):
        here = f"{where}[{index}]"
        if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
            raise _bad_value(here, item, "an object {type, args}")
        for key in item:
            if key not in ("type", "args"):
                raise unknown("key", f"{here}.{key}", str(key), ("type", "args"))
        steps.append((here, item["type"], item.get("args")))
    return steps


class StepArgs:
    """The arguments of one step; every getter raises SpecError naming `<where>.args.<key>`."""

    def __init__(self, where: str, args: Any) -> None:
        self.where = f"{where}.args"
        if args is not None and not isinstance(args, Mapping):
            raise _bad_value(self.where, args, "an object of arguments")
        self._args: dict[str, Any] = dict(args or {})
        self._known: set[str] = set()

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A finite number in [low, high]."""
        value = self._get(key, default)
        if not _is_number(value) or not low <= value <= high:
            self._fail(key, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, default: int, low: int) -> int:
        """A whole number of at least `low`."""
        value = self._get(key, default)
        if not _is_number(value) or int(value) != value or not low <= value <= _LARGEST:
            self._fail(key, value, f"a whole number of at least {low}, within 64 bits")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            self._fail(key, value, "true or false")
        return bool(value)

    def interval(
        self, key: str, default: tuple[float, float] | None, low: float, high: float
    ) -> tuple[float, float]:
        """[a, b] with low <= a <= b <= high; required where `default` is None."""
        value = self._get(key, default)
        expected = f"[a, b] with {low:g} <= a <= b <= {high:g}"
        if not _is_pair(value) or not all(map(_is_number, value)):
            self._fail(key, value, expected)
        a, b = float(value[0]), float(value[1])
        if not low <= a <= b <= high:
            self._fail(key, value, expected)
        return a, b

    def size(self, key: str, default: tuple[int, int], multiple: int) -> tuple[int, int]:
        """[width, height], positive multiples of `multiple`."""
        value = self._get(key, default)
        expected = f"[width, height], positive multiples of {multiple} up to {_LONGEST_SIDE}"
        if not _is_pair(value) or not all(map(_is_number, value)):
            self._fail(key, value, expected)
        if any(not 1 <= side <= _LONGEST_SIDE or side % multiple for side in value):
            self._fail(key, value, expected)
        return int(value[0]), int(value[1])

    def choice(self, key: str, default: _T, choices: Sequence[_T]) -> _T:
        """One of several names."""
        value = self._get(key, default)
        if value not in choices:
            self._fail(key, value, " | ".join(choices))
        return next(choice for choice in choices if choice == value)

    def only(self, key: str, value: str) -> None:
        """Accept one value: another choice of TAO's is not built."""
        if self._get(key, value) != value:
            self._fail(key, self._get(key, value), value)

    def is_list(self, key: str) -> bool:
        """Whether the value was written as a list."""
        return isinstance(self._args.get(key), (list, tuple))

    def finish(self) -> None:
        """Raise SpecError where an argument was given that no getter has asked for."""
        for key in self._args:
            if key not in self._known:
                raise unknown("argument", f"{self.where}.{key}", str(key), self._known)

    def _get(self, key: str, default: Any) -> Any:
        self._known.add(key)
        value = self._args.get(key)
        return default if value is None else value

    def _fail(self, key: str, value: Any, expected: str) -> NoReturn:
        raise _bad_value(f"{self.where}.{key}", value, expected)


def _bad_value(where: str, value: Any, expected: str) -> SpecError:
    return SpecError("bad-value", f"Wrong value at {where}", got=value, expected=expected)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
