"""What a page tells of a search: its history, what mattered, each parameter's slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ocdnet.report.charts import Chart, Dots, scatter
from ocdnet.runs.progress import shortened
from ocdnet.runs.searches import COMPLETE, FAILED, PRUNED, Searched, Trial
from ocdnet.tree.yaml_io import inline_yaml

_MOST_ROWS, _MOST_SLICES = 200, 8
_LONGEST = 60
_LOG_SPAN = 30.0
"""Values that span more than this factor are shown on a logarithmic axis."""


@dataclass(frozen=True, kw_only=True)
class SearchPart:
    """The part of a page that only a search has.

    Attributes:
        facts: what is known of it, by name.
        charts: history, then a slice a parameter.
        shares: parameter, its share as text, and in percent.
        about_shares: what the shares say, and of how many trials.
        headers: of the table of trials.
        rows: a trial each.
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    shares: list[tuple[str, str, float]] = field(default_factory=list)
    about_shares: str = ""
    headers: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def search_part(search: Searched) -> SearchPart:
    """What to show of a search."""
    keys = sorted({str(key) for trial in search.trials for key in trial.settings})
    whole = search.count(COMPLETE)
    charts = [_history(search), *(_slice(search, key) for key in keys[:_MOST_SLICES])]
    return SearchPart(
        facts=list(_facts(search)),
        charts=[chart for chart in charts if chart],
        shares=[
            (key, f"{share:.0%}", round(100 * min(1.0, max(0.0, share)), 1))
            for key, share in sorted(search.importance.items(), key=lambda pair: -pair[1])
        ],
        about_shares="The share of each parameter in what tells good trials from the others "
        f"(PED-ANOVA), from {whole} whole trials: of few trials it is a hint.",
        headers=["trial", "state", search.metric, *_hmean(search), "epochs", "time", *keys],
        rows=[_row(trial, search, keys) for trial in search.trials[:_MOST_ROWS]],
    )


def _facts(search: Searched) -> Iterator[tuple[str, str]]:
    best, base = search.best, search.baseline
    if best is not None and best.value is not None:
        yield f"best {search.metric}", f"{best.value:.4g} in trial {best.number}"
        if best.hmean is not None and search.metric != "hmean":
            yield "its hmean", f"{best.hmean:.4f}"
    if base is not None and base.value is not None:
        yield "the spec as it was", f"{base.value:.4g} in trial {base.number}"
    of = f" of {search.total}" if search.total else ""
    yield (
        "trials",
        f"{len(search.trials)}{of}: "
        + ", ".join(
            f"{count} {name}"
            for name in (COMPLETE, PRUNED, FAILED)
            if (count := search.count(name)) or name == COMPLETE
        ),
    )
    seconds = [trial.seconds for trial in search.trials if trial.seconds is not None]
    if seconds:
        yield "time of all trials", str(timedelta(seconds=round(sum(seconds))))
    for name in ("sampler", "pruner"):
        if name in search.told:
            yield name, shortened(str(search.told[name]))


def _history(search: Searched) -> Chart | None:
    """Each trial's value, and the best so far."""
    whole = [t for t in search.trials if t.state == COMPLETE and t.value is not None]
    ended = [t for t in search.trials if t.state == PRUNED and t.last is not None]
    so_far: list[tuple[float, float, str]] = []
    for trial in whole:
        value = float(trial.value or 0.0)
        if so_far:
            pick = max if search.metric == "hmean" else min
            value = pick(value, so_far[-1][1])
        so_far.append((trial.number, value, ""))
    return scatter(
        f"{search.metric} of each trial",
        "trial",
        [
            Dots("whole trials", [(t.number, t.value or 0.0, _about(t, t.value)) for t in whole]),
            Dots("ended early", [(t.number, t.last or 0.0, _about(t, t.last)) for t in ended]),
            Dots("best so far", so_far, joined=True),
        ],
    )


def _slice(search: Searched, key: str) -> Chart | None:
    """The metric over one parameter."""
    states = {COMPLETE: "whole trials", PRUNED: "ended early"}
    known = [
        (trial, trial.settings[key], last)
        for trial in search.trials
        if key in trial.settings and (last := _last(trial)) is not None
    ]
    numeric = all(type(value) in (int, float) for _, value, _ in known)
    names = [] if numeric else sorted({_short(value) for _, value, _ in known})
    places = {name: at for at, name in enumerate(names)}
    kinds = [
        Dots(
            label,
            [
                (places[_short(value)] if names else value, last, _about(t, last, key, value))
                for t, value, last in known
                if t.state == state
            ],
        )
        for state, label in states.items()
    ]
    positive = [value for _, value, _ in known if numeric and value > 0]
    log = bool(positive) and max(positive) > _LOG_SPAN * min(positive)
    return scatter(f"{search.metric} by {key.rpartition('.')[2]}", key, kinds, names, log=log)


def _last(trial: Trial) -> float | None:
    return trial.value if trial.state == COMPLETE else trial.last


def _about(trial: Trial, value: float | None, key: str = "", setting: Any = None) -> str:
    told = f", {key.rpartition('.')[2]} {_short(setting)}" if key else ""
    return f"trial {trial.number}{told}: {value:.4g}"


def _hmean(search: Searched) -> list[str]:
    other = search.metric != "hmean" and any(t.hmean is not None for t in search.trials)
    return ["hmean"] if other else []


def _row(trial: Trial, search: Searched, keys: list[str]) -> list[str]:
    best = search.best is not None and trial.number == search.best.number
    marks = [*(["best"] if best else []), *(["as given"] if trial.baseline else [])]
    last = _last(trial)
    cells = [
        str(trial.number) + (f" ({', '.join(marks)})" if marks else ""),
        trial.state + (f": {_short(trial.error)}" if trial.error else ""),
        "" if last is None else f"{last:.4g}",
    ]
    if _hmean(search):
        cells.append("" if trial.hmean is None else f"{trial.hmean:.4f}")
    cells.append(str(trial.epochs))
    cells.append("" if trial.seconds is None else str(timedelta(seconds=round(trial.seconds))))
    return cells + [_short(trial.settings[key]) if key in trial.settings else "" for key in keys]


def _short(value: Any) -> str:
    """A value of an untrusted file in a few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = inline_yaml(value) if isinstance(value, Mapping | list) else str(value)
    return shortened(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
