"""Which candidate is recommended, by what rule, and the table of them all."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocdnet.runs.printed import Problem
from ocdnet.runs.printed_optimize import Candidate, Choice

LEAST_AGREEMENT = 0.95
MOST_LOSS = 0.01
_EQUAL = 0.05
"""Part of a speed by which candidates differ from one run to the next."""
_COLUMNS = ("candidate", "threads", "median ms", "p95 ms", "images/s", "MB", "agreement", "hmean")


@dataclass(frozen=True)
class Use:
    """How a model is opened.

    Attributes:
        program: start of a command line that runs ocdnet.
        cpus: threads that are used by default.
        size: that was asked for; engines know theirs.
        arguments: of `Detector` beside these and the model, where they are not the default.
    """

    program: str
    cpus: int
    size: tuple[int, int] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


def recommended(candidates: Sequence[Candidate], use: Use) -> Choice:
    """The candidate to use; the first is the model as given, which is one if nothing else is.

    Args:
        candidates: all of them.
        use: how it will be opened.
    """
    given = candidates[0]
    good = [one for one in candidates if one.speed and _is_close(one, given)] or [given]
    fastest = max(map(_rate, good))
    near = [one for one in good if _rate(one) >= fastest * (1 - _EQUAL)]
    best = max(near, key=lambda one: (one.hmean or 0, one.agreement or 0, _rate(one)))
    arguments = dict(use.arguments)
    if best is given and use.size:
        arguments["size"] = use.size
    if best.threads is not None and best.threads != use.cpus:
        arguments["num_threads"] = best.threads
    file = best.file or ""
    return Choice(
        name=best.name,
        rule=_rule(given),
        file=file,
        python=f"Detector({', '.join([json.dumps(file), *_keywords(arguments)])})",
        command=f"{use.program} predict PICTURES --model {shlex.quote(file)}{_options(arguments)}",
    )


def _is_close(one: Candidate, given: Candidate) -> bool:
    if one is given:
        return True
    if one.agreement is None:  # nothing to compare
        return one.precision == "FP32"
    if one.hmean is not None and given.hmean is not None:
        return given.hmean - one.hmean <= MOST_LOSS
    return one.agreement >= LEAST_AGREEMENT


def _rule(given: Candidate) -> str:
    if given.agreement is None:
        close = "of FP32, as the model given finds no text in these pictures to compare"
    elif given.hmean is not None:
        close = f"whose hmean is at most {MOST_LOSS} below that of the model given"
    else:
        close = f"whose regions agree with those of the model given by {LEAST_AGREEMENT} or more"
    return (
        f"The most images a second {close}; of those within {_EQUAL:.0%} of it the one that finds "
        "the most alike."
    )


def _rate(one: Candidate) -> float:
    return one.speed.images_per_second if one.speed else 0.0


def _keywords(arguments: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}={json.dumps(value) if isinstance(value, str) else value}"
        for name, value in arguments.items()
    ]


def _options(arguments: Mapping[str, Any]) -> str:
    names = {"num_threads": "threads"}
    text = ""
    for name, value in arguments.items():
        shown = "x".join(map(str, value)) if isinstance(value, tuple) else value
        text += f" --{names.get(name, name).replace('_', '-')} {shown}"
    return text


def table(candidates: Sequence[Candidate], choice: Choice) -> str:
    """The candidates in columns, the one that is recommended marked, the failed ones' reasons."""
    rows = [_COLUMNS, *(_row(one, choice) for one in candidates if one.speed)]
    wide = [max(len(row[at]) for row in rows) for at in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            [row[0].ljust(wide[0]), *(c.rjust(w) for c, w in zip(row[1:], wide[1:], strict=True))]
        )
        for row in rows
    ]
    for one in candidates:
        if one.failed:
            lines.append(f"{one.name}: {_reason(one.failed)}")
    return "\n".join(lines)


def _row(one: Candidate, choice: Choice) -> tuple[str, ...]:
    speed = one.speed
    if speed is None:
        return (one.name, *[""] * (len(_COLUMNS) - 1))
    return (
        f"{'*' if one.name == choice.name else ' '} {one.name}",
        str(one.threads),
        f"{speed.median_ms:.1f}",
        f"{speed.p95_ms:.1f}",
        f"{speed.images_per_second:.2f}",
        "-" if speed.memory_mb is None else f"{speed.memory_mb:.0f}",
        "-" if one.agreement is None else f"{one.agreement:.3f}",
        "-" if one.hmean is None else f"{one.hmean:.3f}",
    )


def _reason(failed: Problem) -> str:
    got = "" if failed.got is None else f" ({failed.got})"
    return f"{failed.message}{got}. {failed.hint or ''}".strip()
