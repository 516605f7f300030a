"""How many CPUs a process may use: its affinity, its container's quota, what the user asks for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ocdnet import hardware
from ocdnet.data.dataset import worker_count
from ocdnet.hardware import cpus, limited, machine_cpus
from tiny_onnx import write_detector

MANY = 64


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine of 64 CPUs whose control groups a test lays out below tmp_path."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MANY)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    proc = tmp_path / "proc"
    proc.mkdir()
    monkeypatch.setattr(hardware, "_SELF", proc)
    return tmp_path


def lay_out(machine, groups, mounts, files):
    (machine / "proc" / "cgroup").write_text(groups)
    lines = [
        f"30 25 0:26 {root} {machine}/{at} rw - {kind} x rw,{options}\n"
        for root, at, kind, options in mounts
    ]
    (machine / "proc" / "mountinfo").write_text("".join(lines))
    for name, text in files.items():
        path = machine / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


V2 = [("/", "cg", "cgroup2", "nsdelegate")]
V1 = [("/", "cg/cpu", "cgroup", "cpu,cpuacct"), ("/", "cg/memory", "cgroup", "memory")]
LAYOUTS = {
    "v2 in a container": ("0::/\n", V2, {"cg/cpu.max": "200000 100000\n"}, 2),
    "v2 below a limited group": (
        "0::/kube/pod/app\n",
        V2,
        {"cg/kube/pod/app/cpu.max": "max 100000\n", "cg/kube/cpu.max": "250000 100000\n"},
        3,
    ),
    "v2 without a limit": ("0::/a\n", V2, {"cg/a/cpu.max": "max 100000\n"}, MANY),
    "v1": (
        "4:memory:/x\n1:cpu,cpuacct:/job\n",
        V1,
        {"cg/cpu/job/cpu.cfs_quota_us": "100000\n", "cg/cpu/job/cpu.cfs_period_us": "100000\n"},
        1,
    ),
    "v1 whose path is the host's": (
        "1:cpu,cpuacct:/docker/abc\n",
        [("/docker/abc", "cg/cpu", "cgroup", "cpu,cpuacct")],
        {"cg/cpu/cpu.cfs_quota_us": "50000\n", "cg/cpu/cpu.cfs_period_us": "100000\n"},
        1,
    ),
    "v1 without a limit": (
        "1:cpu:/\n",
        V1,
        {"cg/cpu/cpu.cfs_quota_us": "-1\n", "cg/cpu/cpu.cfs_period_us": "100000\n"},
        MANY,
    ),
    "both, v1 limits": (
        "1:cpu:/a\n0::/\n",
        [*V1, *V2],
        {"cg/cpu/a/cpu.cfs_quota_us": "400000\n", "cg/cpu/a/cpu.cfs_period_us": "100000\n"},
        4,
    ),
    "more than there are": ("0::/\n", V2, {"cg/cpu.max": "9900000 100000\n"}, MANY),
    "damaged": ("nonsense\n0::/\n", V2, {"cg/cpu.max": "\n", "cg/cpu.cfs_quota_us": "x"}, MANY),
    "period of 0": ("0::/\n", V2, {"cg/cpu.max": "100 0\n"}, MANY),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_container_s_quota(machine, layout):
    groups, mounts, files, expected = LAYOUTS[layout]
    lay_out(machine, groups, mounts, files)
    assert machine_cpus() == cpus() == expected


def test_where_there_are_no_groups():
    assert machine_cpus() == MANY


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("3", 3), ("3,2", 3), ("999", MANY), ("0", MANY), ("", MANY), ("x", MANY)],
)
def test_omp_num_threads_lowers_what_computes(monkeypatch, asked, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cpus() == expected
    # torchrun sets it to 1: samples are prepared by processes of their own.
    assert machine_cpus() == MANY
    assert worker_count(-1) == 15


def test_a_limit_ends():
    with limited(5), limited(0):
        assert cpus() == 5
    assert cpus() == MANY


def test_onnx_runtime_gets_as_many(machine):
    from ocdnet.backends.onnx import OnnxPredictor

    lay_out(machine, *LAYOUTS["v1"][:3])
    options = OnnxPredictor(write_detector(machine / "a.onnx")).session.get_session_options()
    assert options.intra_op_num_threads == 1


_WATCHED = """
import os, sys, threading, time
most = 0
def watch():
    global most
    while True:
        most = max(most, len(os.listdir("/proc/self/task")))
        time.sleep(0.001)
threading.Thread(target=watch, daemon=True).start()
from ocdnet.actions import inference
from ocdnet.config import spec
inference.run(spec.load("inference", None, sys.argv[1:]))
print(most)
"""


def test_the_key_of_inference(scenes, tmp_path):
    """Seen from outside: how many threads the process had at most."""
    seen = {}
    model = write_detector(tmp_path / "light.onnx")
    for threads in (1, 4):
        given = [
            f"results_dir={tmp_path}/{threads}",
            f"inference.checkpoint={model}",
            f"inference.input_folder={scenes}/test/img",
            "inference.width=160",
            "inference.height=160",
            f"inference.num_threads={threads}",
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", _WATCHED, *given],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        seen[threads] = int(done.stdout.splitlines()[-1])
    assert seen[1] < seen[4]


@pytest.mark.parametrize(
    ("machine", "flags", "bf16", "overflows"),
    [
        ("x86_64", "fpu avx2", False, True),
        ("x86_64", "fpu avx2 avx_vnni", False, False),
        ("x86_64", "fpu avx512f avx512_vnni avx512_bf16", True, False),
        ("aarch64", "fp asimd", False, False),
    ],
)
def test_what_a_processor_computes_in(tmp_path, monkeypatch, machine, flags, bf16, overflows):
    file = tmp_path / "cpuinfo"
    name = "flags" if machine == "x86_64" else "Features"
    file.write_text(f"processor : 0\n{name}\t\t: {flags}\n")
    monkeypatch.setattr(hardware, "_CPUINFO", file)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert hardware.has_bf16.__wrapped__() is bf16
    assert hardware.int8_overflows.__wrapped__() is overflows
