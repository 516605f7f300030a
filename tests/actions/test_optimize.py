"""`ocdnet optimize`: engines that find what the model finds, figures, and reasons for the rest."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

import support
from ocdnet.actions.optimize import Request, run
from ocdnet.actions.optimize_bench import Bench, Job
from ocdnet.actions.optimize_choice import Use, recommended
from ocdnet.actions.optimize_pictures import MOST, chosen_pictures
from ocdnet.actions.optimize_process import Clock, Process
from ocdnet.cli import main
from ocdnet.detector import Detector
from ocdnet.errors import DataError, Exit, RunError, UsageError
from ocdnet.findings import collecting
from ocdnet.metrics import match_image
from ocdnet.runs.printed_optimize import Candidate, Speed
from ocdnet.runs.typed import to_json
from tiny_onnx import write_detector

SIZE = (support.SIDE, support.SIDE)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def light(tmp_path):
    return write_detector(tmp_path / "light #1.onnx")


def optimized(model, images, out, **more):
    with collecting() as findings:
        return to_json(run(Request(str(model), images, out, size=SIZE, **more), findings))


def same(left, right):
    assert len(left) == len(right) > 0
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, atol=0.5)


def test_an_engine_is_recommended_that_finds_the_same_and_a_failure_is_a_row(
    light, scenes, tmp_path, capfd
):
    out = tmp_path / "out"
    ways = (("onnxruntime", "FP32"), ("openvino", "INT8"))
    result = optimized(light, scenes / "test", out, ways=ways)
    assert capfd.readouterr().out == ""
    given, engine, int8 = result["candidates"]
    names = ["as given (onnxruntime)", "onnxruntime FP32", "openvino INT8"]
    assert [row["name"] for row in result["candidates"]] == names
    assert engine["agreement"] == 1.0
    assert engine["hmean"] == given["hmean"]
    for row in (given, engine):
        assert 0 < row["speed"]["median_ms"] <= row["speed"]["p95_ms"]
        assert row["speed"]["images_per_second"] > 0
        assert row["speed"]["memory_mb"] > 10
        assert list(row["tried"]) == ["1"]
    assert int8["failed"]["code"] == "nothing-to-quantize"
    assert "speed" not in int8
    assert json.loads((out / "optimize.json").read_text()) == result
    picture = next((scenes / "test/img").iterdir())
    detect = eval(result["recommended"]["python"], {"Detector": Detector})
    same(detect(picture).polygons, Detector(light, size=SIZE)(picture).polygons)
    assert "calibrated-on-the-compared" in [row["code"] for row in result["warnings"]]


@pytest.mark.usefixtures("small_network")
def test_a_checkpoint_is_exported_and_quantized_for_pictures_of_any_shape(
    detector, scenes, tmp_path
):
    onnx, engine = tmp_path / "a #1.onnx", tmp_path / "a.engine"
    Bench().export(detector, onnx, SIZE, dynamic=True)
    own = {"kind": "openvino", "precision": "INT8", "size": SIZE, "resize": "auto"}
    train = scenes / "train/img"
    Bench().build(Job(onnx=onnx, target=engine, scratch=tmp_path, calibration=train, **own))
    long = cv2.hconcat([cv2.imread(str(path)) for path in sorted(train.iterdir())[:2]])
    wanted, found = (Detector(path, size=SIZE)(long).polygons for path in (detector, engine))
    assert len(wanted) == 4
    assert match_image(found, wanted, [False] * 4).counts.hmean > 0.8


def test_the_command_says_what_is_missing(capsys, scenes, monkeypatch):
    given = ["ocdnet", "optimize", "absent.onnx", "--images", str(scenes / "test/img")]
    monkeypatch.setattr("sys.argv", given)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == Exit.DATA
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "no-model"


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_what_is_no_model_ends_the_run_and_leaves_nothing(content, scenes, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(content)
    with pytest.raises(DataError):
        optimized(bad, scenes / "test/img", tmp_path / "out")
    assert list(tmp_path.iterdir()) == [bad]


def test_an_engine_is_refused(light, scenes, tmp_path):
    engine = light.rename(tmp_path / "x.engine")
    with pytest.raises(DataError, match="nothing that engines are built from"):
        optimized(engine, scenes / "test/img", tmp_path / "out")


def test_a_full_folder_is_refused(light, scenes, tmp_path):
    with pytest.raises(UsageError, match="not empty"):
        optimized(light, scenes / "test/img", tmp_path)


def test_pictures_are_needed(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match="no pictures"):
        chosen_pictures(tmp_path)
    with pytest.raises(DataError, match="no folder or datalist"):
        chosen_pictures(tmp_path / "absent")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError), collecting():
        chosen_pictures(tmp_path)


def test_int8_is_calibrated_on_other_pictures_than_it_is_compared_on(tmp_path):
    support.write_blocks(tmp_path / "many", MOST + 12, seed=3)
    (tmp_path / "many/img/img_1.png").write_bytes(b"no picture")
    with collecting() as findings:
        chosen = chosen_pictures(tmp_path / "many")
    assert [row.code for row in findings.rows()] == ["left-out"]
    assert not set(chosen.timed) & set(chosen.calibration)
    assert len(chosen.timed) + len(chosen.calibration) == MOST - 1
    assert set(chosen.labels) == set(chosen.timed)


def test_a_process_that_crashes_or_hangs_is_an_error_with_its_reason(light):
    with Process(Clock(1)) as process:
        process.call(Bench.memory)
        process._process.kill()
        with pytest.raises(RunError) as crash:
            process.call(Bench.memory)
    assert (crash.value.code, crash.value.got) == ("crashed", "SIGKILL")
    with Process(Clock(0.0001)) as process, pytest.raises(RunError, match="longer than"):
        process.call(Bench.open, {"model": light})


def candidate(name, rate, agreement, hmean=None):
    speed = Speed(median_ms=1, p95_ms=1, images_per_second=rate)
    own = {"agreement": agreement, "hmean": hmean, "speed": speed}
    return Candidate(name=name, backend="torch", file=f"{name}.x", threads=1, **own)


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([("slow", 1, 1.0), ("wrong", 9, 0.94), ("good", 3, 0.95)], "good"),
        ([("slow", 1, 1.0), ("hasty", 3.1, 0.96), ("alike", 3, 0.99)], "alike"),
        ([("slow", 1, 1.0, 0.5), ("wrong", 9, 1.0, 0.48), ("good", 3, 0.9, 0.495)], "good"),
        ([("given", 5, 1.0), ("slower", 3, 1.0)], "given"),
        ([("blind", 1, None, 0.0), ("blind too", 9, None, 0.0)], "blind"),
    ],
)
def test_the_fastest_that_finds_about_the_same_is_recommended(rows, best):
    chosen = recommended([candidate(*row) for row in rows], Use("ocdnet", cpus=2))
    assert chosen.name == best
    assert chosen.python == f'Detector("{best}.x", num_threads=1)'
    assert chosen.command == f"ocdnet predict PICTURES --model {best}.x --threads 1"
