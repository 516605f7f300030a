"""A training, epoch by epoch, from the lines it left."""

from __future__ import annotations

import json

import pytest

import results_folders as made
from ocdnet.runs.history import history
from ocdnet.runs.status import StatusWriter
from ocdnet.runs.status_line import Kpi


def write_epoch(status, epoch, loss, hmean=None, last=9):
    if hmean is not None:
        kpi = Kpi(hmean=hmean, precision=hmean, recall=hmean)
        status.write("RUNNING", "Eval metrics generated.", kpi)
    progress = {"epoch": epoch, "max_epoch": last, "time_per_epoch": "0:00:10"}
    status.write("RUNNING", "Training loop in progress", **progress)
    kpi = Kpi(train_loss=loss, lr=0.5, shrink_loss=loss / 5)
    status.write("RUNNING", "Train metrics generated.", kpi)


@pytest.fixture
def status(tmp_path):
    return StatusWriter(tmp_path / "status.json")


def table(tmp_path, name):
    told = history(tmp_path / "status.json")
    return [(epoch.number, epoch.values.get(name)) for epoch in told.epochs]


def test_scores_and_loss_belong_to_their_epoch(status, tmp_path):
    status.write("STARTED", "Starting OCDNet train.")
    write_epoch(status, 0, 9.0)
    write_epoch(status, 1, 8.0, hmean=0.25)
    assert table(tmp_path, "hmean") == [(1, None), (2, 0.25)]
    assert table(tmp_path, "train_loss") == [(1, 9.0), (2, 8.0)]
    first = history(tmp_path / "status.json").epochs[0]
    assert first.values == {"train_loss": 9.0, "lr": 0.5, "shrink_loss": 1.8}
    assert first.seconds == 10


def test_what_a_resumed_run_did_again_counts(status, tmp_path):
    for epoch, loss in ((0, 9.0), (1, 8.0), (2, 7.0), (1, 5.0)):
        write_epoch(status, epoch, loss)
    assert table(tmp_path, "train_loss") == [(1, 9.0), (2, 5.0)]


def test_a_run_begun_anew_forgets_the_one_before(status, tmp_path):
    for epoch, loss in ((0, 9.0), (1, 8.0), (0, 5.0)):
        write_epoch(status, epoch, loss)
    assert table(tmp_path, "train_loss") == [(1, 5.0)]


def test_taos_sticky_scores_are_told_once(tmp_path):
    made.tao(tmp_path / "train")
    (epoch,) = history(tmp_path / "train" / "status.json").epochs
    assert epoch.values == pytest.approx(
        {"recall": 0.5, "precision": 0.25, "hmean": 0.333, "train_loss": 37.570552825927734}
    )
    assert epoch.seconds == pytest.approx(274.556489)


def test_warnings_are_told_once_each(status, tmp_path):
    for text in ("low on space", "low on space", "odd labels"):
        status.write("RUNNING", text, verbosity="WARNING")
    assert history(tmp_path / "status.json").warnings == ["low on space", "odd labels"]


def test_a_file_of_anything_is_an_empty_history(tmp_path):
    path = tmp_path / "status.json"
    assert history(path).epochs == []
    odd = {"status": "RUNNING", "message": 3, "kpi": [1], "epoch": "x", "verbosity": "WARNING"}
    kpi = {"status": "RUNNING", "message": "Train metrics generated.", "kpi": {"train_loss": "nan"}}
    path.write_text("\n".join(map(json.dumps, (odd, kpi, 5, None))) + "\n{")
    assert history(path).epochs == []
