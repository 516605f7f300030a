"""Names that are no UTF-8, numbers that overflow, machines that are waited for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import processes
import support
from ocdnet.backends.sidecar import read_foreign
from ocdnet.cli.shared import print_json
from ocdnet.config import spec
from ocdnet.data import archives
from ocdnet.devices import training_devices
from ocdnet.errors import DataError, EnvironmentFault, Exit, SpecError, UsageError
from ocdnet.report.page import write_report
from ocdnet.training.resume import refuse_used
from tiny_onnx import write_detector

pytestmark = pytest.mark.usefixtures("small_network")


def odd_names(split):
    """The same set with a name that is no UTF-8."""
    for folder, start, suffix in (("img", "", ".png"), ("gt", "gt_", ".txt")):
        inside = os.fsencode(split / folder)
        for name in (f"{start}img_1{suffix}",):
            odd = start.encode() + b"img_\xff" + suffix.encode()
            os.rename(inside + b"/" + name.encode(), inside + b"/" + odd)  # noqa: PTH104
    return split


@pytest.fixture
def odd(scenes, tmp_path):
    """Scenes of which one has such a name."""
    copy = support.copied(scenes, tmp_path / "scenes")
    odd_names(copy / "train")
    odd_names(copy / "test")
    return copy


def test_names_that_are_no_utf_8_are_refused_with_labels_and_read_without(odd, tmp_path):
    out = tmp_path / "out"
    model = write_detector(tmp_path / "light.onnx")
    for run in (
        lambda: support.evaluate(odd / "test", model, out),
        lambda: support.train(odd, out, "train.num_epochs=1"),
    ):
        with pytest.raises(DataError) as raised:
            run()
        assert raised.value.code == "not-utf8-name"
    support.infer(odd / "test" / "img", model, out)
    names = {os.fsencode(path.name) for path in (out / "inference").glob("*.txt")}
    assert {b"img_2.txt", b"img_\xff.txt"} <= names


def test_a_results_folder_whose_name_is_no_utf_8(scenes, tmp_path, monkeypatch):
    folder = os.fsencode(tmp_path) + b"/r\xff"
    os.mkdir(folder)  # noqa: PTH102
    monkeypatch.chdir(os.fsdecode(folder))
    model = write_detector(tmp_path / "light.onnx")
    support.evaluate(scenes / "test", model, Path("out"))
    support.evaluate(scenes / "test", model, Path("out"))
    write_report(Path(os.fsdecode(folder)) / "out", Path("out/report.html"), "ocdnet")
    assert Path("out/report.html").stat().st_size


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_an_error_that_holds_nan_is_printed(capsys, number):
    print_json({"error": {"code": "x", "got": [number, {"a": number}], "expected": (1.5, None)}})

    def refuse(constant):
        raise AssertionError(constant)

    printed = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert printed["error"]["got"] == [str(number), {"a": str(number)}]
    assert printed["error"]["expected"] == [1.5, None]


def test_the_bounds_of_the_seed():
    given = ["results_dir=x", "dataset.train_dataset.data_path=[x]"]
    assert spec.load("train", None, [*given, f"train.seed={2**32 - 1}"]).experiment.train.seed
    with pytest.raises(SpecError):
        spec.load("train", None, [*given, f"train.seed={2**32}"])


@pytest.mark.parametrize("size", ["[1e30,1e30]", "[99999999999999999999,640]", "[640,65536000]"])
def test_numbers_that_a_step_cannot_hold(scenes, tmp_path, size):
    with pytest.raises(SpecError):
        support.train(
            scenes, tmp_path, f"dataset.train_dataset.args.pre_processes.0.args.size={size}"
        )


@pytest.mark.parametrize(
    "numbers",
    [
        {"scale": 1e-320},
        {"mean": [1e39, 0, 0]},
        {"std": [1e39, 1, 1]},
        {"std": [1e-45, 1, 1], "scale": 1},
        {"mean": [1e308, 0, 0], "scale": 1e-10},
    ],
)
def test_numbers_of_a_sidecar_that_overflow(tmp_path, numbers):
    path = write_detector(tmp_path / "light.onnx")
    beside = tmp_path / "light.onnx.json"
    beside.write_text(json.dumps(json.loads(beside.read_text()) | numbers))
    with pytest.raises(DataError) as raised:
        read_foreign(path)
    assert raised.value.code == "bad-sidecar"


def test_several_machines_without_a_launcher(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(EnvironmentFault) as raised:
        training_devices(1, [0], 2)
    assert "torchrun --nnodes=2" in str(raised.value)
    monkeypatch.setenv("MASTER_ADDR", "host0")  # as on Kubernetes
    assert training_devices(1, [0], 2).nodes == 2


def test_sigterm_ends_a_run_that_waits_for_others(scenes, tmp_path):
    """The second of two machines never comes."""
    (tmp_path / "spec.yaml").write_text("")
    tests = Path(support.__file__).parent
    launched = {
        "TORCHELASTIC_RUN_ID": "x",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "1",
        "GROUP_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29731",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    process = subprocess.Popen(
        [
            sys.executable,
            tests / "small_ocdnet.py",
            "train",
            "-e",
            tmp_path / "spec.yaml",
            *support.train_overrides(scenes, tmp_path),
        ],
        env=os.environ | launched | {processes.CHANGES: "say_when_it_waits"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == Exit.INTERRUPTED, errors
    assert json.loads(out)["error"]["code"] == "interrupted"


def test_two_extracts_into_one_folder(scenes, tmp_path):
    """The other one has filled the folder while this one unpacked."""
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", scenes / "test")
    out = tmp_path / "out"

    def other(*_):
        (out / "img").mkdir(parents=True, exist_ok=True)

    with pytest.raises(UsageError) as raised:
        archives.extract(Path(archive), out, progress=other)
    assert raised.value.code == "output-exists"
    assert [path.name for path in out.iterdir()] == ["img"]


def test_where_a_run_can_go_on_that_was_killed_before_its_epoch_s_checkpoint(tmp_path):
    (tmp_path / "model_best.pth").write_bytes(b"x")
    with pytest.raises(SpecError) as raised:
        refuse_used(tmp_path, None)
    assert f"train.resume_training_checkpoint_path={tmp_path}/model_best.pth" in raised.value.hint
