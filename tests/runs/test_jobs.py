"""What a results folder says of its jobs, whoever wrote it and however much of it is there."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import results_folders as made
from ocdnet.errors import DataError
from ocdnet.runs.jobs import run_folders, total_epochs
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.progress import progress
from ocdnet.runs.records import write_results
from ocdnet.runs.status import StatusLines, StatusWriter
from ocdnet.runs.status_line import Kpi, StatusLine


def only(root):
    (job,) = run_folders(root)
    return job


def test_a_finished_run_of_ours_tells_its_epochs_scores_and_files(tmp_path):
    job = only(made.train(tmp_path / "train").parent)
    told = job.progress
    assert (job.action, told.state, told.epoch, told.epochs) == ("train", "SUCCESS", 3, 3)
    assert told.kpis == {"hmean": 0.4, "precision": 0.4, "recall": 0.4, "train_loss": 7.0}
    assert (job.best.epoch, job.best.metric, job.best.value) == (2, "hmean", 0.6)
    assert len(job.files.checkpoints) == 3
    assert job.trained
    assert not job.unfinished
    assert total_epochs(job) == 4  # of its experiment.yaml


def test_a_run_of_tao_is_read_the_same(tmp_path):
    job = only(made.tao(tmp_path / "train"))
    told = job.progress
    assert (job.action, told.state, told.epoch, told.epochs) == ("train", "SUCCESS", 1, 2)
    assert told.kpis["hmean"] == 0.333
    assert told.kpis["train_loss"] == pytest.approx(18.772, abs=1e-3)
    assert told.seconds_per_epoch == pytest.approx(274.56, abs=0.01)
    assert (job.best.epoch, job.best.value) == (1, 0.333)
    assert job.files.latest.name == "model_epoch_000_step_00004.pth"
    assert not job.trained


def test_taos_evaluate_names_its_scores_with_capitals(tmp_path):
    (tmp_path / "status.json").write_text(
        '{"status": "STARTED", "message": "Starting OCDNet evaluate."}\n'
        '{"status": "RUNNING", "message": "Test metrics generated.", '
        '"kpi": {"Thresh": 0.6, "Recall": 1.0, "Precision": 0.5, "Hmean": 0.66}}\n'
    )
    job = only(tmp_path)
    assert job.action == "evaluate"
    assert job.progress.kpis == {"hmean": 0.66, "precision": 0.5, "recall": 1.0}


def test_a_failure_gives_its_reason_and_remedy(tmp_path):
    reason = "The machine ran out of memory. Lower the batch size or the image size."
    made.train(tmp_path / "train", end=reason)
    told = only(tmp_path).progress
    assert (told.state, told.error) == ("FAILURE", reason)


def test_only_the_last_start_in_a_status_file_counts(tmp_path):
    folder = made.train(tmp_path / "train", end="disk full")
    StatusWriter(folder / "status.json").write("STARTED", "Starting OCDNet train.")
    job = only(tmp_path)
    assert (job.progress.state, job.progress.error, job.progress.epoch) == ("STARTED", None, None)
    assert job.best.epoch == 2  # what was reached before stays reached


def test_a_resumed_run_may_get_further_than_the_one_that_ended(tmp_path):
    folder = made.train(tmp_path / "train")
    status = StatusWriter(folder / "status.json")
    status.write("STARTED", "Starting OCDNet train.")
    status.write("RUNNING", "Eval metrics generated.", Kpi(hmean=0.9))
    status.write("RUNNING", "Training loop in progress", epoch=3, max_epoch=9)
    assert (only(tmp_path).best.epoch, only(tmp_path).best.value) == (4, 0.9)


def test_of_epochs_with_the_same_hmean_the_one_of_the_lowest_loss_is_the_best(tmp_path):
    made.train(tmp_path / "train", scores=(0.0, 0.0, 0.0, 0.0), end="no")
    assert only(tmp_path).best.epoch == 4  # each epoch's loss is lower than the one before


def test_what_results_json_calls_best_stays_so_against_an_epoch_that_is_as_good(tmp_path):
    folder = made.train(tmp_path / "train", scores=(0.5, 0.5, 0.5), epochs=9)
    write_results(folder, replace(made.trained(folder, 0, 0.5), epochs=3))
    assert only(tmp_path).best.epoch == 1  # as an earlier release chose it
    write_results(folder, replace(made.trained(folder, 0, 0.5), epochs=1))
    assert only(tmp_path).best.epoch == 3  # the run went on after it


def test_epochs_that_a_resumed_run_did_again_are_no_longer_the_best(tmp_path):
    folder = made.train(tmp_path / "train", scores=(0.2, 0.9, 0.4), end="no")
    status = StatusWriter(folder / "status.json")
    status.write("STARTED", "Starting OCDNet train.")
    status.write("RUNNING", "Eval metrics generated.", Kpi(hmean=0.3))
    status.write("RUNNING", "Training loop in progress", epoch=1, max_epoch=9)
    assert (only(tmp_path).best.epoch, only(tmp_path).best.value) == (2, 0.3)


@pytest.mark.parametrize(
    ("silent", "killed"), [(30, False), (1700, False), (1900, True), (1e6, True)]
)
def test_a_run_silent_for_over_three_epochs_is_perhaps_killed(tmp_path, silent, killed):
    folder = made.train(tmp_path / "train", epochs=9, end=None)  # ten minutes an epoch
    made.silence(folder, silent)
    job = only(tmp_path)
    assert job.unfinished
    assert (job.perhaps_killed, job.running) == (killed, not killed)


def test_before_its_first_epoch_a_run_has_ten_minutes(tmp_path):
    folder = made.train(tmp_path / "train", scores=(), epochs=9, end=None)
    made.silence(folder, 500)
    assert not only(tmp_path).perhaps_killed
    made.silence(folder, 700)
    assert only(tmp_path).perhaps_killed


def test_root_may_be_the_results_folder_or_one_actions_or_hold_folders_of_any_name(tmp_path):
    made.train(tmp_path / "first try")
    made.job(tmp_path / "scores", "evaluate")
    assert [job.action for job in run_folders(tmp_path)] == ["train", "evaluate"]
    assert only(tmp_path / "first try").folder == tmp_path / "first try"


def test_dot_is_the_folder_we_are_in(tmp_path, monkeypatch):
    made.train(tmp_path / "train")
    monkeypatch.chdir(tmp_path / "train")
    assert only(Path()).folder == tmp_path / "train"


def test_links_that_lead_back_are_one_job(tmp_path):
    made.train(tmp_path / "train")
    (tmp_path / "again").symlink_to("train")
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "train" / "ocd_model_latest.pth").symlink_to("gone.pth")
    assert len(run_folders(tmp_path)) == 1
    assert only(tmp_path).files.latest.name == "model_epoch_002_step_00030.pth"


def test_a_folder_of_weights_alone_is_told_by_its_files(tmp_path):
    made.checkpoint(tmp_path, 4)
    job = only(tmp_path)
    assert (job.action, job.progress.state, job.silent_for) == ("train", None, None)


def test_a_run_that_has_told_nothing_yet_is_a_job(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "experiment.yaml").write_text("train: {}\n")
    assert (only(tmp_path).action, only(tmp_path).progress.state) == ("train", None)


def test_files_beside_the_jobs_folders_make_no_job_of_their_own(tmp_path):
    (tmp_path / "detector.onnx").touch()
    assert only(tmp_path).action == "export"
    made.train(tmp_path / "train")
    assert only(tmp_path).action == "train"


def test_what_default_specs_wrote_is_no_job(tmp_path):
    (tmp_path / "experiment.yaml").write_text("train: {}\n")
    with pytest.raises(DataError) as caught:
        run_folders(tmp_path)
    assert caught.value.code == "no-job"


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "foreign", "looping"])
def test_a_folder_without_jobs_is_an_error_that_says_what_was_looked_for(tmp_path, kind):
    root = tmp_path / "root"
    if kind == "file":
        root.touch()
    elif kind == "looping":
        root.symlink_to("root")
    elif kind != "missing":
        root.mkdir()
    if kind == "foreign":
        (root / "status.json").write_text('{"status": "ok"}')
        (root / "deeper" / "train").mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        run_folders(root)
    assert caught.value.exit_code == 4
    assert str(root) in caught.value.message
    assert caught.value.expected


def spoil(path, how):
    """Put something that is no status file in its place."""
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "loop":
        path.symlink_to(path.name)
    else:
        path.write_bytes(
            {"empty": b"", "binary": bytes(range(256)) * 99, "nested": b"[" * 99999}[how]
        )


@pytest.mark.parametrize("how", ["folder", "pipe", "binary", "nested", "empty"])
def test_a_status_file_that_is_none_is_noted_and_the_rest_is_read(tmp_path, how):
    folder = made.train(tmp_path / "train")
    spoil(folder / "status.json", how)
    job = only(tmp_path)
    assert (job.action, job.progress.state) == ("train", None)
    assert job.best.epoch == 2
    assert "status.json" in job.notes[0]


def test_a_status_file_that_links_to_itself_is_none(tmp_path):
    spoil(made.train(tmp_path / "train") / "status.json", "loop")
    assert only(tmp_path).progress.state is None


def test_of_a_huge_status_file_the_ends_are_read(tmp_path):
    folder = made.train(tmp_path / "train", end=None)
    path = folder / "status.json"
    with path.open("ab") as file:
        file.truncate(1 << 30)  # a gigabyte, sparse
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"status": "RUNNING", "epoch": 6, "max_epoch": 9, "message": "x"}\n')
    job = only(tmp_path)
    assert (job.action, job.progress.epoch, job.progress.epochs) == ("train", 7, 10)
    assert job.best is None  # the better one may be in what was not read
    assert "large" in job.notes[0]


@pytest.mark.parametrize("text", ["[1", '{"best_epoch": "x"}', '{"best_epoch": -1}', "[]", "\xff"])
def test_a_results_json_that_is_none_leaves_what_status_tells(tmp_path, text):
    folder = made.train(tmp_path / "train")
    (folder / "results.json").write_text(text, encoding="latin-1")
    assert only(tmp_path).best.epoch == 2
    assert not only(tmp_path).trained


@pytest.mark.parametrize("text", ["train: [", "\0", "a: &a [*a, *a]", "- 1", "train: 5\nexport: x"])
def test_an_experiment_that_is_none_is_empty(tmp_path, text):
    (made.train(tmp_path / "train") / "experiment.yaml").write_text(text)
    job = only(tmp_path)
    assert job.section("train") == {}
    assert total_epochs(job) == 3  # as status.json says


def test_the_onnx_is_found_below_its_folder_or_where_the_export_was_told_to_write(tmp_path):
    made.job(tmp_path / "a" / "export", "export", "deep/er/model.onnx")
    assert [path.name for path in only(tmp_path / "a").models("onnx")] == ["model.onnx"]
    elsewhere = tmp_path / "elsewhere.onnx"
    elsewhere.touch()
    for text in (f"onnx_file: {elsewhere}", f"checkpoint: {elsewhere.with_suffix('.pth')}"):
        name = text.partition(":")[0]
        made.job(tmp_path / name / "export", "export", experiment=f"export: {{{text}}}\n")
        assert only(tmp_path / name).models("onnx") == (elsewhere,)


@pytest.mark.parametrize(
    "named", ["'/nul\\0'", '"a\\0b"', "x" * 9999, "7", "[a]", "/", "gone.onnx"]
)
def test_a_spec_may_name_anything_as_its_onnx(tmp_path, named):
    made.job(tmp_path / "export", "export", experiment=f"export: {{onnx_file: {named}}}\n")
    assert only(tmp_path).models("onnx") == ()


def test_predictions_are_the_images_that_have_boxes_and_a_picture(tmp_path):
    files = ["a.txt", "a_result.jpg", "a_pred.jpg", "b.png.txt", "b.png_result.jpg", "notes.txt"]
    made.job(tmp_path / "inference", "inference", *files)
    assert only(tmp_path).files.predictions == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KEYS = ["epoch", "max_epoch", "message", "kpi", "time_per_epoch", "eta"]
KPI = st.dictionaries(st.sampled_from(["hmean", "Hmean", "train_loss"]), JSON)


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"status": st.sampled_from(["STARTED", "RUNNING", "SUCCESS", "FAILURE"])},
            optional=dict.fromkeys(KEYS, JSON) | {"kpi": JSON | KPI},
        ),
        max_size=5,
    )
)
def test_whatever_the_lines_hold_what_is_told_is_strict_json(lines):
    lines = [parse(StatusLine, loads(json.dumps(line)), "a line") for line in lines]
    told = progress(StatusLines(lines, whole=True, changed=0.0))
    best = vars(told.best) if told.best else None
    json.dumps([dict(told.kpis), told.epoch, told.epochs, best, told.message], allow_nan=False)
    assert len(told.message or "") < 1000
    assert all(isinstance(value, float) for value in told.kpis.values())
