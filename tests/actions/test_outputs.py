"""No run writes over a file that no run of ours made; a second run replaces its own."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

import support
from ocdnet.errors import SpecError
from ocdnet.findings import collecting
from ocdnet.runs.outputs import RECORD
from tiny_onnx import write_detector

pytestmark = pytest.mark.usefixtures("small_network")
SUFFIXES = (".txt", "_pred.jpg", "_result.jpg")


@pytest.fixture
def model(tmp_path):
    """A detector."""
    return write_detector(tmp_path / "light.onnx")


@pytest.fixture
def photos(scenes, tmp_path):
    """Three pictures a, b and c."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "abc":
        shutil.copy(scenes / "test" / "img" / "img_1.png", folder / f"{name}.png")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def infer(photos, model, out, *more):
    return support.infer(photos, model, out, f"inference.results_dir={out}", *more)


def code_of(call):
    with pytest.raises(SpecError) as raised, collecting():
        call()
    return raised.value.code


@pytest.mark.parametrize("link", [False, True])
def test_results_do_not_go_among_the_images(photos, model, tmp_path, link):
    """The folder is the user's even where no name collides."""
    out = tmp_path / "linked" if link else photos
    if link:
        out.symlink_to(photos)
    before = contents(photos)
    for part in ((), ("inference.shards=2",)):  # merged, they would go there, too
        assert code_of(lambda more=part: infer(photos, model, out, *more)) == "results-in-input"
    assert contents(photos) == before


@pytest.mark.parametrize(
    "name", ["a.txt", "b_result.jpg", "c_pred.jpg", "experiment.yaml", "status.json"]
)
def test_a_file_of_the_user_s_is_not_written_over(photos, model, tmp_path, name):
    out = tmp_path / "mine"
    out.mkdir()
    (out / name).write_text("1,2,3,4,5,6,7,8,my label\n")
    before = contents(out)
    assert code_of(lambda: infer(photos, model, out)) == "file-exists"
    assert contents(out) == before


@pytest.mark.parametrize("make", ["link", "dangling", "folder"])
def test_what_is_no_file_is_the_user_s_too(photos, model, tmp_path, make):
    out, target = tmp_path / "mine", tmp_path / "labels.txt"
    out.mkdir()
    target.write_text("mine")
    if make == "folder":
        (out / "a.txt").mkdir()
    else:
        (out / "a.txt").symlink_to(target if make == "link" else tmp_path / "gone")
    assert code_of(lambda: infer(photos, model, out)) == "file-exists"
    assert target.read_text() == "mine"
    assert [path.name for path in out.iterdir()] == ["a.txt"]


def test_files_of_other_names_stay(photos, model, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "run.log").write_text("mine")
    infer(photos, model, out)
    infer(photos, model, out)
    assert (out / "run.log").read_text() == "mine"


def test_a_second_inference_replaces_the_first(photos, model, tmp_path):
    out = tmp_path / "out"
    infer(photos, model, out)
    (photos / "a.png").unlink()
    image = cv2.imread(str(photos / "b.png"))
    cv2.imwrite(str(photos / "b.png"), np.zeros_like(image))
    with collecting():
        result = infer(photos, model, out)
    left = {path.name for path in out.iterdir()} - {"experiment.yaml", "status.json", RECORD}
    assert left == {f"{name}{suffix}" for name in "bc" for suffix in SUFFIXES}
    assert (out / "b.txt").read_text() == ""
    (said,) = [row for row in result["warnings"] if row["code"] == "earlier-results"]
    assert said["count"] == 9
    assert any(path.endswith("a.txt") for path in said["files"])
    lines = support.status_lines(out)
    assert [line["status"] for line in lines].count("STARTED") == 1
    assert "earlier-results" in json.dumps(lines)
    # A third has nothing to say but that.
    with collecting():
        third = infer(photos, model, out)
    assert [row["count"] for row in third["warnings"]] == [6]


def test_a_corrected_result_is_the_user_s(photos, model, tmp_path):
    out = tmp_path / "out"
    infer(photos, model, out)
    (out / "a.txt").write_text("1,2,3,4,5,6,7,8,corrected\n")
    before = contents(out)
    assert code_of(lambda: infer(photos, model, out)) == "file-exists"
    assert contents(out) == before
    (photos / "a.png").unlink()  # nothing would be written over: it stays, and is named
    with collecting():
        result = infer(photos, model, out)
    assert (out / "a.txt").read_text() == "1,2,3,4,5,6,7,8,corrected\n"
    assert not (out / "a_pred.jpg").exists()
    assert "changed-since" in [row["code"] for row in result["warnings"]]


def test_a_run_that_fails_at_its_model_leaves_the_earlier_results(photos, model, tmp_path):
    out = tmp_path / "out"
    infer(photos, model, out)
    with pytest.raises(Exception, match=r"gone\.onnx"):
        infer(photos, tmp_path / "gone.onnx", out)
    assert (out / "a.txt").exists()
    infer(photos, model, out)


def test_results_of_a_killed_run_are_on_record(photos, model, tmp_path):
    out = tmp_path / "out"
    infer(photos, model, out)
    with (out / RECORD).open("a") as record:
        record.write('{"section": "infer')  # cut off
    shutil.copytree(out, tmp_path / "moved")
    infer(photos, model, tmp_path / "moved")


def test_a_second_evaluation_replaces_the_first(scenes, model, tmp_path):
    support.evaluate(scenes / "test", model, tmp_path)
    with collecting():
        result = support.evaluate(scenes / "train", model, tmp_path)
    written = json.loads((tmp_path / "evaluate" / "results.json").read_text())
    assert written["images"] == result["images"] == 8
    said = [row for row in result["warnings"] if row["code"] == "earlier-results"]
    assert [row["count"] for row in said] == [3]
    assert written["warnings"] == result["warnings"]


@pytest.mark.parametrize("name", ["results.json", "samples.json", "report.html"])
def test_evaluate_writes_over_nothing_either(scenes, model, tmp_path, name):
    folder = tmp_path / "evaluate"
    folder.mkdir()
    (folder / name).write_text("{}")
    data = scenes / "test"
    assert code_of(lambda: support.evaluate(data, model, tmp_path)) == "file-exists"
    assert contents(folder) == {name: b"{}"}


def test_an_action_does_not_write_into_the_folder_of_another(photos, scenes, model, tmp_path):
    support.evaluate(scenes / "test", model, tmp_path)
    folder = tmp_path / "evaluate"
    before = contents(folder)
    assert code_of(lambda: infer(photos, model, folder)) == "file-exists"
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["experiment.yaml", "samples.json", "status.json"])
def test_train_writes_over_nothing(scenes, tmp_path, name):
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / name).write_text("mine: true\n")
    assert code_of(lambda: support.train(scenes, tmp_path)) == "file-exists"
    assert contents(folder) == {name: b"mine: true\n"}


def test_a_file_that_is_named_late_is_refused_all_the_same(model, photos, tmp_path):
    """Whatever an action did not announce is checked as it is written."""
    from ocdnet.actions.session import session
    from ocdnet.config import spec
    from ocdnet.files import write_text

    overrides = [f"results_dir={tmp_path}", f"inference.checkpoint={model}"]
    loaded = spec.load("inference", None, [*overrides, f"inference.input_folder={photos}"])
    folder = tmp_path / "inference"
    folder.mkdir()
    (folder / "a_p2.txt").write_text("mine")
    with pytest.raises(SpecError), session(loaded, renews=True) as here:
        write_text(here.folder / "a_p2.txt", "ours")
    assert (folder / "a_p2.txt").read_text() == "mine"
