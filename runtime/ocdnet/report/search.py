"""What a page tells of a search: its history, what mattered, each parameter's slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ocdnet.report.charts import Chart, Dots, scatter
from ocdnet.runs.names import better
from ocdnet.runs.progress import shortened
from ocdnet.runs.searches import COMPLETE, PRUNED, RUNNING, SearchResult, Trial, TrialSummary
from ocdnet.tree.yaml_io import inline_yaml

_MOST_ROWS, _MOST_SLICES = 200, 8
_LONGEST = 60
_LONGEST_SECONDS = 1e9
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


def search_part(search: SearchResult) -> SearchPart:
    """What to show of a search."""
    keys = sorted({key for trial in search.begun for key in trial.settings})
    whole = search.states.complete
    charts = [_history(search), *(_slice(search, key) for key in keys[:_MOST_SLICES])]
    return SearchPart(
        facts=list(_facts(search)),
        charts=[chart for chart in charts if chart],
        shares=[
            (shortened(key), f"{share:.0%}", round(100 * share, 1))
            for key, share in sorted(search.importance.items(), key=lambda pair: -pair[1])
        ],
        about_shares="The share of each parameter in what tells good trials from the others "
        f"(PED-ANOVA), from {whole} whole trials: of few trials it is a hint.",
        headers=["trial", "state", search.metric, *_hmean(search), "epochs", "time", *keys],
        rows=[_row(trial, search, keys) for trial in search.begun[:_MOST_ROWS]],
    )


def _facts(search: SearchResult) -> Iterator[tuple[str, str]]:
    best, base = search.best, search.baseline
    if best is not None and best.value is not None and not _is_best(search, best):
        yield f"best {search.metric}", "none: no trial found text"
    elif best is not None and best.value is not None:
        yield f"best {search.metric}", f"{best.value:.4g} in trial {best.trial}"
        if best.hmean is not None and search.metric != "hmean":
            yield "its hmean", f"{best.hmean:.4f}"
    if base is not None and base.value is not None:
        yield "the spec as it was", f"{base.value:.4g} in trial {base.trial}"
    of = f" of {search.search.trials}" if search.search.trials else ""
    yield (
        "trials",
        f"{len(search.begun)}{of}: "
        + ", ".join(
            f"{count} {state}"
            for state, count in ({COMPLETE: 0} | search.states.counts).items()
            if state != RUNNING
        ),
    )
    seconds = [trial.seconds for trial in search.begun if trial.seconds is not None]
    if seconds:
        yield "time of all trials", _duration(sum(seconds))
    yield "sampler", search.search.sampler
    yield "pruner", search.search.pruner


def _history(search: SearchResult) -> Chart | None:
    """Each trial's value, and the best so far."""
    points: dict[str, list[tuple[float, float, str]]] = {COMPLETE: [], PRUNED: []}
    for trial in search.begun:
        last = trial.last(search.metric)
        if trial.state in points and last is not None:
            points[trial.state].append((trial.trial, last, _about(trial, last)))
    so_far: list[tuple[float, float, str]] = []
    for number, value, _ in points[COMPLETE]:
        improved = not so_far or better(search.metric, value, so_far[-1][1])
        so_far.append((number, value if improved else so_far[-1][1], ""))
    return scatter(
        f"{search.metric} of each trial",
        "trial",
        [
            Dots("whole trials", points[COMPLETE]),
            Dots("ended early", points[PRUNED]),
            Dots("best so far", so_far, joined=True),
        ],
    )


def _slice(search: SearchResult, key: str) -> Chart | None:
    """The metric over one parameter."""
    states = {COMPLETE: "whole trials", PRUNED: "ended early"}
    known = [
        (trial, trial.settings[key], last)
        for trial in search.begun
        if key in trial.settings and (last := trial.last(search.metric)) is not None
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


def _about(trial: Trial, value: float, key: str = "", setting: Any = None) -> str:
    by = f", {key.rpartition('.')[2]} {_short(setting)}" if key else ""
    return f"trial {trial.trial}{by}: {value:.4g}"


def _hmean(search: SearchResult) -> list[str]:
    other = search.metric != "hmean" and any(t.hmean is not None for t in search.begun)
    return ["hmean"] if other else []


def _is_best(search: SearchResult, trial: TrialSummary) -> bool:
    """Whether the first of the trials is the best of anything: of those that found no text none."""
    return search.metric != "hmean" or trial.value != 0


def _row(trial: Trial, search: SearchResult, keys: list[str]) -> list[str]:
    best = search.best is not None and trial.trial == search.best.trial and _is_best(search, trial)
    marks = [*(["best"] if best else []), *(["as given"] if trial.baseline else [])]
    last = trial.last(search.metric)
    cells = [
        str(trial.trial) + (f" ({', '.join(marks)})" if marks else ""),
        trial.state + (f": {_short(trial.error)}" if trial.error else ""),
        "" if last is None else f"{last:.4g}",
    ]
    if _hmean(search):
        cells.append("" if trial.hmean is None else f"{trial.hmean:.4f}")
    cells.append(str(trial.epochs))
    cells.append("" if trial.seconds is None else _duration(trial.seconds))
    return cells + [_short(trial.settings[key]) if key in trial.settings else "" for key in keys]


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(min(seconds, _LONGEST_SECONDS))))


def _short(value: Any) -> str:
    """A value of an untrusted file in a few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = inline_yaml(value) if isinstance(value, Mapping | list) else str(value)
    return shortened(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
