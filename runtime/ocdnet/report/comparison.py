"""From several runs to the page that compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ocdnet.files import write_text
from ocdnet.report.charts import Chart, Dots, curves, scatter
from ocdnet.report.mistakes import curve_points
from ocdnet.report.page import PICTURE_BYTES, rendered
from ocdnet.report.pairs import pair
from ocdnet.report.pictures import Album, unseen
from ocdnet.report.runs import Run, in_brief, runs_of
from ocdnet.report.settings import differing, short
from ocdnet.report.tables import Gallery, Table
from ocdnet.runs.files import STATUS
from ocdnet.runs.history import history
from ocdnet.runs.printed_report import Comparison, PairCompared, RunCompared, SettingCompared

_MOST_SETTINGS = 200
_CURVES: Mapping[str, str] = {
    "hmean on the validation images": "hmean",
    "Training loss": "train_loss",
    "Learning rate": "lr",
}


@dataclass(frozen=True)
class Verdict:
    """What a pair comes to, in words, and its pictures."""

    title: str
    sentence: str
    table: Table | None
    galleries: list[Gallery]


def write_comparison(roots: Sequence[Path], out: Path) -> Comparison:
    """Write one page of HTML that compares runs; it needs no network and runs no script.

    Args:
        roots: results folders, or folders of single actions; two or more. The first is what the
            others are compared with.
        out: the file to write.

    Raises:
        DataError, UsageError: as `runs_of`.
        UserError: the file can't be written, as `ocdnet.files.replacing`.
    """
    notes: list[str] = []
    runs = runs_of(roots, notes)
    album = Album(PICTURE_BYTES)
    found = [pair(runs[0], other, album, notes) for other in runs[1:]]
    pairs = [one for one in found if one is not None]
    settings = differing([run.jobs for run in runs])
    if len(settings) > _MOST_SETTINGS:
        notes.append(f"{len(settings) - _MOST_SETTINGS} more settings differ, and are left out.")
    notes += unseen(album)
    compared = Comparison(
        report=str(out),
        runs=tuple(in_brief(run) for run in runs),
        pairs=tuple(one.row for one in pairs),
        settings=tuple(settings[:_MOST_SETTINGS]),
        notes=tuple(dict.fromkeys(notes)),
    )
    page = rendered(
        "comparison.html.j2",
        compared=compared,
        overview=_overview(compared.runs),
        verdicts=[_verdict(one.row, one.galleries) for one in pairs],
        charts_shown=_charts(runs),
        settings=_settings(compared),
    )
    write_text(out, page)
    return replace(compared, bytes=out.stat().st_size)


def _overview(runs: Sequence[RunCompared]) -> Table:
    """A column a run."""
    rows = {
        "folder": [run.folder for run in runs],
        "training": [run.training.state if run.training else "none" for run in runs],
        "epochs": [str(run.training.epochs or 0) if run.training else "" for run in runs],
        "best hmean in training": [_best(run) for run in runs],
    }
    scored = [run.evaluation for run in runs]
    for name in ("hmean", "precision", "recall"):
        rows[f"{name} in evaluation"] = [
            f"{getattr(one, name):.4f}" if one else "not evaluated" for one in scored
        ]
    rows["images"] = [f"{one.images:,}" if one else "" for one in scored]
    rows["model"] = [one.checkpoint if one else "" for one in scored]
    rows["thresholds"] = [
        f"thresh {one.thresholds.thresh:g}, box_thresh {one.thresholds.box_thresh:g}" if one else ""
        for one in scored
    ]
    return Table(
        ["run", *(run.name for run in runs)], [[name, *cells] for name, cells in rows.items()]
    )


def _best(run: RunCompared) -> str:
    training = run.training
    if training is None:
        return ""
    if training.best_hmean is None:
        return "none"
    return f"{training.best_hmean:.4f} in epoch {training.best_epoch}"


def _verdict(row: PairCompared, galleries: list[Gallery]) -> Verdict:
    low, high = row.interval
    better = row.second if row.difference > 0 else row.first
    sure = low > 0 or high < 0
    says = f"{better} is better" if sure else "Which is better can't be told from these pictures"
    words = row.words
    return Verdict(
        title=f"{row.second} against {row.first}",
        sentence=f"{says}: on {row.images:,} common pictures {row.first} has hmean "
        f"{row.hmean_first:.4f}, {row.second} {row.hmean_second:.4f}. The difference is "
        f"{row.difference:+.4f}, 95 % of bootstrap draws give {low:+.4f} to {high:+.4f}.",
        table=None
        if words is None
        else Table(
            ["texts", f"{row.second} finds", f"{row.second} does not"],
            [
                [f"{row.first} finds", f"{words.both:,}", f"{words.only_first:,}"],
                [f"{row.first} does not", f"{words.only_second:,}", f"{words.neither:,}"],
            ],
        ),
        galleries=galleries,
    )


def _charts(runs: Sequence[Run]) -> list[Chart]:
    """The trainings' curves and the evaluations', each run with its line."""
    # Of all runs, so that each has its line in all charts.
    epochs = {
        run.name: history(run.training.folder / STATUS).epochs if run.training else []
        for run in runs
    }
    drawn = [
        curves(title, {name: (own, key) for name, own in epochs.items()})
        for title, key in _CURVES.items()
    ]
    points = [(run.name, curve_points(run.scored) if run.scored else []) for run in runs]
    drawn.append(
        scatter(
            "Precision (up) over recall, by box_thresh",
            "recall",
            [Dots(name, own, joined=True) for name, own in points],
            shares=True,
        )
    )
    return [one for one in drawn if one is not None]


def _settings(compared: Comparison) -> Table | None:
    if not compared.settings:
        return None
    names = [run.name for run in compared.runs]
    return Table(["key", "of", *names], [_row(one) for one in compared.settings])


def _row(setting: SettingCompared) -> list[str]:
    values = ["–" if value is None else short(value) for value in setting.values]  # noqa: RUF001
    return [setting.key, ", ".join(setting.actions), *values]
