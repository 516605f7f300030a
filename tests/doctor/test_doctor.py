"""`ocdnet doctor`: a report that any machine gets, whatever its tools answer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocdnet import engines, hardware, install
from ocdnet.cli.doctor import doctor
from ocdnet.doctor import check, machine, packages

H100 = "NVIDIA H100 80GB HBM3, 81559 MiB, 580.82.07"
INFO = {"ServerVersion": "28.2.2", "Runtimes": {"runc": {}}, "ServerErrors": None}


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """Programs by name and shell script; nothing else is on the PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("UV", raising=False)

    def add(name, script=""):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return add


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """As from an installed skill; its environment is `tmp_path / venv`."""
    monkeypatch.setenv(install.PROGRAM, "python3 /skill/scripts/ocdnet.py")
    monkeypatch.setenv(install.VENV, str(tmp_path / "venv"))
    return tmp_path / "venv"


def report():
    done = CliRunner().invoke(doctor, catch_exceptions=False)
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    checks = {one["name"]: one for one in document["checks"]}
    assert len(checks) == len(document["checks"])
    assert document["ok"] == all(one["ok"] is not False for one in checks.values())
    for one in checks.values():
        assert list(one) == ["name", "ok", "found", "needed_for", "mend"]
        assert f"{one['name']}: {one['found']}\n" in done.stderr
        assert one["ok"] is not True or one["mend"] is None
    return checks, document["commands"]


def test_a_machine_with_nothing(tools):
    checks, commands = report()
    for name in ("gpu", "docker", "nvidia-container-toolkit", "uv"):
        assert (checks[name]["ok"], checks[name]["mend"]) == (None, None)
    assert commands["train"]


def test_it_imports_none_of_what_it_reports_on():
    code = (
        "import sys; from ocdnet.doctor.report import report; report();"
        "sys.exit(','.join({'torch', 'numpy', 'cv2', 'pydantic', 'tensorrt'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=False, capture_output=True, text=True).stderr == "\n"


def test_gpus_with_a_driver_that_serves(tools, monkeypatch):
    monkeypatch.setattr(machine, "cuda_of_torch", lambda: "13.0")
    tools("nvidia-smi", f"echo '{H100}'; echo '{H100}'")
    checks, _ = report()
    assert checks["gpu"]["found"] == f"{H100}; {H100}"
    assert (checks["gpu"]["ok"], checks["torch"]["ok"]) == (True, True)


@pytest.mark.parametrize(
    ("cuda", "driver", "said"),
    [("13.0", "550.54", "needs driver 580"), (None, "580.82", "the CPU alone")],
)
def test_a_torch_that_cannot_use_the_gpu(tools, monkeypatch, cuda, driver, said):
    monkeypatch.setattr(machine, "cuda_of_torch", lambda: cuda)
    tools("nvidia-smi", f"echo 'GPU, 1 MiB, {driver}'")
    tools("uv")
    torch = report()[0]["torch"]
    assert torch["ok"] is False
    assert said in torch["found"]
    assert f"--python {sys.executable} --torch-backend auto --reinstall torch" in torch["mend"]


@pytest.mark.parametrize("line", ["", "garbage", "GPU, 1 MiB, [N/A]", "a,b,c,d,580.1"])
def test_strange_words_of_nvidia_smi(tools, line):
    tools("nvidia-smi", f"echo '{line}'")
    assert report()[0]["gpu"]["found"]


def test_a_driver_that_does_not_work(tools):
    tools("nvidia-smi", "echo 'NVML: Driver/library version mismatch'; exit 18")
    gpu = report()[0]["gpu"]
    assert (gpu["ok"], gpu["found"]) == (False, "NVML: Driver/library version mismatch")


def test_tools_that_hang(tools, monkeypatch):
    monkeypatch.setattr(check, "_TIMEOUT", 0.3)
    for name in ("nvidia-smi", "docker", "nvidia-ctk"):
        tools(name, "/bin/sleep 20 & /bin/sleep 20")
    started = time.monotonic()
    checks, _ = report()
    assert time.monotonic() - started < 5
    assert "did not answer" in checks["gpu"]["found"]
    assert "did not answer" in checks["docker"]["found"]


def test_docker_without_a_daemon(tools):
    tools("docker", 'echo \'{"ServerErrors": ["permission denied while connecting"]}\'; exit 1')
    docker = report()[0]["docker"]
    assert docker["ok"] is None
    assert "usermod" in docker["mend"]


@pytest.mark.parametrize("said", ["", "[]", "{", '{"Runtimes": null}'])
def test_strange_words_of_docker(tools, said):
    tools("docker", f"echo '{said}'")
    assert report()[0]["docker"]["ok"] is None


@pytest.mark.parametrize(
    ("extra", "gpu", "ok"),
    [
        ({}, True, False),
        ({}, False, None),
        ({"Runtimes": {"nvidia": {}}}, True, True),
        ({"DiscoveredDevices": [{"ID": "nvidia.com/gpu=0"}]}, True, True),
    ],
)
def test_gpus_in_containers(tools, extra, gpu, ok):
    tools("docker", f"echo '{json.dumps(INFO | extra)}'")
    if gpu:
        tools("nvidia-smi", f"echo '{H100}'")
    checks, _ = report()
    assert checks["docker"]["found"] == "docker 28.2.2"
    assert checks["nvidia-container-toolkit"]["ok"] is ok
    assert bool(checks["nvidia-container-toolkit"]["mend"]) == (ok is False)


def test_missing_extras_come_with_the_command(tools, monkeypatch, launched):
    tools("uv")
    monkeypatch.setattr(packages, "version_of", lambda _: None)
    checks, commands = report()
    assert not any(commands.values())
    assert [checks[name]["ok"] for name in ("base", "train", "deploy", "data")] == [
        False,
        False,
        None,
        None,
    ]
    root = Path(install.__file__).parents[2]
    assert checks["train"]["mend"] == (
        f"uv venv --python '>=3.11' {launched} && "
        f"uv pip install --python {launched}/bin/python '{root}[train,export,automl]'"
    )


def test_an_old_version_is_missing_too(monkeypatch):
    versions = {"torch": "2.5.1+cu121", "torchvision": "0.21", "pytorch-lightning": "3.0"}
    versions |= {"tensorboard": "2.21.0", "onnx": "1.20"}
    monkeypatch.setattr(packages, "version_of", versions.get)
    train = report()[0]["train"]
    assert train["found"] == (
        "missing torch>=2.6 (here 2.5.1+cu121), pytorch-lightning>=2.6,<3 (here 3.0)"
    )


def test_an_environment_of_another_version(tools, launched):
    tools("uv")
    site = launched / "lib" / "python3.11" / "site-packages"
    (launched / "bin").mkdir(parents=True)
    (launched / "bin" / "python").touch()
    site.mkdir(parents=True)
    assert "not complete" in report()[0]["environment"]["found"]
    (site / "ocdnet-0.0.1.dist-info").mkdir()
    (site / "ocdnet-0.0.1.dist-info" / "METADATA").write_text("Name: ocdnet\nVersion: 0.0.1\n")
    found = report()[0]["environment"]
    assert found["ok"] is False
    assert "made for ocdnet 0.0.1" in found["found"]
    assert "--reinstall-package ocdnet" in found["mend"]
    assert "uv venv" not in found["mend"]


def test_too_little_room(monkeypatch):
    monkeypatch.setattr(machine, "_free", lambda _: 0.5)
    assert report()[0]["disk"]["ok"] is False


def ready():
    return json.loads(CliRunner().invoke(doctor, catch_exceptions=False).stdout)["actions"]


def test_each_action_of_the_catalogue_is_told_of():
    from ocdnet.catalogue import PLANNED, RUNS

    told = ready()
    assert set(told) == {*PLANNED, *RUNS}
    assert all(one["runs"] == (not one["missing"]) for one in told.values())


def test_an_action_that_cannot_run_says_what_is_missing(tools, monkeypatch):
    here = packages.version_of
    gone = {"torch-pruning", "torch", "onnxruntime"}
    monkeypatch.setattr(packages, "version_of", lambda name: None if name in gone else here(name))
    told = ready()
    assert told["prune"]["missing"] == ["torch", "torch-pruning"]
    assert "[train,export,automl,prune]" in told["prune"]["mend"]
    assert told["gen_trt_engine"]["missing"] == ["onnxruntime"]
    assert told["deploy_inference"]["missing"] == ["onnxruntime"]
    # A checkpoint or an ONNX file: either will do.
    assert told["evaluate"]["missing"] in (["torch"], ["onnxruntime"])
    assert told["default_specs"] == {"runs": True, "missing": [], "mend": None}
    stderr = CliRunner().invoke(doctor).stderr
    assert "prune cannot run here: missing torch, torch-pruning\n" in stderr


def test_either_set_of_packages_will_do(tools, monkeypatch):
    here = packages.version_of
    monkeypatch.setattr(
        packages, "version_of", lambda name: None if name == "torch" else here(name)
    )
    told = ready()
    assert told["evaluate"]["runs"]
    assert not told["train"]["runs"]


def test_every_engine_is_listed(tools, monkeypatch):
    monkeypatch.setattr(engines, "_has", {"onnxruntime"}.__contains__)
    monkeypatch.setattr(engines, "has_cuda_provider", lambda: True)
    checks, _ = report()
    assert (checks["tensorrt"]["ok"], checks["openvino"]["ok"]) == (None, None)
    assert "openvino" in checks["openvino"]["mend"]
    assert (checks["onnxruntime"]["ok"], checks["onnxruntime-cuda"]["ok"]) == (True, True)
    monkeypatch.setattr(engines, "_has", lambda _: True)
    monkeypatch.setattr(hardware, "gpus", lambda: 1)
    checks, _ = report()
    assert [checks[kind]["ok"] for kind in engines.RUNTIMES] == [True, True, True]
