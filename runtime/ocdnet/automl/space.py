"""What a search varies: the parameters of the packaged train schema, nothing written twice."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from ocdnet.errors import SpecError
from ocdnet.tree import keys, nodes
from ocdnet.tree.nodes import Node

_CONDITION = re.compile(r"\s*(<=|>=|<|>)\s*(-?[\d.]+(?:e-?\d+)?)\s*")
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class Parameter:
    """One key that a search varies.

    Attributes:
        key: dotted spec key.
        distribution: where its values come from; choices that are lists stand in it as JSON text.
        weights: how likely each choice is before anything is known; None: all alike.
    """

    key: str
    distribution: BaseDistribution
    weights: tuple[float, ...] | None = None

    def stored(self, value: Any) -> Any:
        """A spec's value as the distribution holds it; None where it lies outside."""
        choice = _told(value)
        if isinstance(self.distribution, CategoricalDistribution):
            return choice if choice in self.distribution.choices else None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        inside = number and self.distribution.low <= value <= self.distribution.high
        return choice if inside else None

    def draw(self, trial: Trial) -> Any:
        """A trial's value of it, as a spec holds it."""
        of = self.distribution
        if isinstance(of, CategoricalDistribution):
            drawn: Any = trial.suggest_categorical(self.key, of.choices)
            listed = isinstance(drawn, str) and drawn.startswith("[")
            return json.loads(drawn) if listed else drawn
        if isinstance(of, IntDistribution):
            return trial.suggest_int(self.key, of.low, of.high, log=of.log)
        assert isinstance(of, FloatDistribution)
        return trial.suggest_float(self.key, of.low, of.high, log=of.log)


def space(
    schema: Node,
    tree: Mapping[str, Any],
    metric: str,
    asked: Sequence[str] = (),
    fixed: Sequence[str] = (),
) -> list[Parameter]:
    """The parameters of a search: those enabled in the schema and those asked for, less the fixed.

    Args:
        schema: the packaged schema of train.
        tree: the complete spec that the trials start from.
        metric: what judges the trials: "train_loss" or "hmean".
        asked: further dotted keys; each must have a `search` range in the schema.
        fixed: dotted keys to leave as the spec has them.

    Raises:
        SpecError: a key that cannot be searched, is judged by another metric or has no effect;
            nothing left to search.
    """
    every = dict(nodes.leaves(schema))
    searchable = {key: node for key, node in every.items() if "search" in node}
    for key in (*asked, *fixed):
        if key not in searchable:
            raise _not_searchable(key, schema, searchable)
    both = sorted(set(asked) & set(fixed))
    if both:
        raise SpecError("conflict", f"{both[0]!r} is both searched and fixed", expected="one")
    enabled = [key for key, node in searchable.items() if node.get("automl_enabled") is True]
    chosen = [key for key in dict.fromkeys([*enabled, *asked]) if key not in fixed]
    if not chosen:
        raise SpecError(
            "nothing-to-search",
            "Every parameter of the search is fixed",
            expected=f"one or more of {', '.join(searchable)}",
            hint="Name others with --search KEY.",
        )
    for key in chosen:
        _check_metric(key, searchable[key], metric)
        _check_effect(key, searchable[key], tree)
    return [_parameter(key, searchable[key]) for key in chosen]


def _parameter(key: str, node: Node) -> Parameter:
    node = nodes.core(node)
    search = node["search"]
    if "choices" in search:
        choices = search["choices"]
        distribution = CategoricalDistribution([_told(choice) for choice in choices])
        return Parameter(key, distribution, _weights(node, choices))
    low, high = _bounded(key, node, search["min"], search["max"])
    log = search["scale"] == "log"
    if node["type"] == "integer":
        return Parameter(key, IntDistribution(math.ceil(low), math.floor(high), log=log))
    return Parameter(key, FloatDistribution(low, high, log=log))


def _told(value: Any) -> Any:
    """A value as a distribution holds it: a list as JSON text."""
    return value if isinstance(value, _SCALARS) else json.dumps(value, sort_keys=True)


def _weights(node: Node, choices: Sequence[Any]) -> tuple[float, ...] | None:
    """The schema's weights of the choices searched: they stand in the order of its enum."""
    if "option_weights" not in node:
        return None
    by_option = dict(zip(node["enum"], node["option_weights"], strict=True))
    total = sum(by_option[choice] for choice in choices)
    return tuple(by_option[choice] / total for choice in choices)


def _bounded(key: str, node: Node, low: float, high: float) -> tuple[float, float]:
    """The range within what is valid and what the schema's condition admits."""
    low, high = max(low, node.get("minimum", low)), min(high, node.get("maximum", high))
    for operator, limit in _conditions(key, node):
        step = 1 if node["type"] == "integer" else 0
        if operator == ">":
            low = max(low, math.nextafter(limit, math.inf) if not step else limit + step)
        elif operator == ">=":
            low = max(low, limit)
        elif operator == "<":
            high = min(high, math.nextafter(limit, -math.inf) if not step else limit - step)
        else:
            high = min(high, limit)
    return low, high


def _conditions(key: str, node: Node) -> Iterator[tuple[str, float]]:
    """The comparison with a number in a node's `math_cond`, if it has one."""
    condition = node.get("math_cond")
    if condition is None:
        return
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise SpecError(
            "bad-schema",
            f"The schema's condition on {key!r} is not understood",
            got=condition,
            expected="a comparison with a number, e.g. > 0.0",
        )
    yield match[1], float(match[2])


def _check_metric(key: str, node: Node, metric: str) -> None:
    judge = node["search"].get("metric", metric)
    if judge == metric:
        return
    raise SpecError(
        "wrong-metric",
        f"{key!r} is searched with metric {judge} alone: it changes what the loss measures, so "
        f"that a lower {metric} would not mean a better detector",
        got=metric,
        expected=judge,
        hint=f"Add --metric {judge}, or leave out --search {key}.",
    )


def _check_effect(key: str, node: Node, tree: Mapping[str, Any]) -> None:
    """A switch that a key depends on must be on, else all its values are the same training."""
    parent = node.get("depends_on")
    if parent is None or keys.get(tree, parent) is not False:
        return
    raise SpecError(
        "no-effect",
        f"{key!r} has no effect: {parent!r} is false",
        hint=f"Set {parent}=true, or leave out --search {key}.",
    )


def _not_searchable(key: str, schema: Node, searchable: Mapping[str, Node]) -> SpecError:
    near = nodes.suggestion(schema, key) if nodes.find(schema, key) is None else None
    return SpecError(
        "unknown-key" if near else "not-searchable",
        f"{key!r} is no key of the schema" if near else f"{key!r} has no range to search",
        expected=f"one of {', '.join(searchable)}",
        hint=f"Did you mean {near!r}?" if near else "Set it as an override: KEY=VALUE.",
    )
