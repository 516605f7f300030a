"""A real Slurm of one node on this machine, its daemons started for the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import processes

_CONF = """
ClusterName=ocdnet-test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={controller}
SlurmdPort={daemon}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
KillWait=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES PriorityTier=1 GraceTime=30 State=UP
PartitionName=urgent Nodes={host} PriorityTier=2 State=UP
"""
_NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which sbatch and the rest find it."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    programs = {name: shutil.which(name, path=path) for name in _NEEDED}
    lacking = [name for name, found in programs.items() if found is None]
    if lacking or os.geteuid():
        pytest.skip(
            f"no Slurm here: needs root and {', '.join(lacking) or 'nothing else'} "
            "(apt-get install slurm-wlm munge)"
        )
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    cpus = os.cpu_count() or 1
    if cpus < 2:
        pytest.skip("two tasks need two CPUs")
    conf = folder / "slurm.conf"
    ports = {"controller": processes.free_port(), "daemon": processes.free_port()}
    host = socket.gethostname().partition(".")[0]
    conf.write_text(_CONF.format(host=host, folder=folder, cpus=cpus, **ports))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    files = [f"--{name}={folder}/munge.{name}" for name in ("socket", "log-file", "seed-file")]
    files += [f"--key-file={key}", f"--pid-file={folder}/munged.pid", "--origin=127.0.0.1"]
    environment = processes.environment() | {"SLURM_CONF": str(conf), "PATH": path}
    try:
        for command in (
            ["munged", "--force", *files],
            ["slurmctld", "-f", str(conf)],
            ["slurmd", "-f", str(conf), "-N", host],
        ):
            subprocess.run(command, check=True, env=environment, capture_output=True)
        _wait_for_the_node(environment, folder)
        yield environment
    finally:
        for name in ("slurmd", "slurmctld", "munged"):
            pid = folder / f"{name}.pid"
            if pid.exists():
                os.kill(int(pid.read_text()), signal.SIGTERM)


def _wait_for_the_node(environment: dict[str, str], folder: Path) -> None:
    end = time.monotonic() + 30
    while True:
        told = subprocess.run(
            ["sinfo", "-h", "-o", "%t"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if "idle" in told.stdout:
            return
        if time.monotonic() > end:
            logs = [path.read_text()[-2000:] for path in folder.glob("*.log")]
            raise AssertionError("\n".join([told.stderr, *logs]))
        time.sleep(0.2)
