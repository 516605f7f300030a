"""`--runner ray` on a cluster of two nodes, with pictures and results in an S3 bucket."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import rendered
import tiny_onnx
from ocdnet.errors import EnvironmentFault, RunError
from ocdnet.findings import collecting
from ocdnet.scale.parts import rows_of
from ocdnet.scale.pieces import pieces
from ocdnet.scale.plan import Partition
from ocdnet.scale.work import Work

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray", reason="needs the extra ray: make test-ray")
PICTURES, PARTS = 500, 21
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of moto's server on this machine, which every process that is started sees."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    login = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "moto")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            **login,
            "AWS_ENDPOINT_URL": f"http://{host.replace('0.0.0.0', '127.0.0.1')}:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "RAY_USAGE_STATS_ENABLED": "0",
        }.items():
            patch.setenv(name, value)
        S3FileSystem().mkdir("pictures")
        yield "s3://pictures"
    server.stop()


@pytest.fixture(scope="module")
def cluster(bucket: str) -> Iterator["ray.cluster_utils.Cluster"]:
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args=NODE)
    yield started
    started.shutdown()


def start(model: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "ocdnet", "predict", "--model", str(model)]
    command += ["--size", "320x192", "--runner", "ray", "--partition-size", "25", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(raylet: int) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True)
    rows = [line.split(None, 1) for line in listed.stdout.splitlines()[1:]]
    return [name for parent, name in rows if int(parent) == raylet]


def test_node_that_is_lost_loses_no_picture(bucket, cluster, tmp_path) -> None:
    from s3fs import S3FileSystem

    fs = S3FileSystem(use_listings_cache=False)
    local = rendered.write(tmp_path / "set", PICTURES)
    fs.put(f"{local}/", f"{bucket}/set/", recursive=True)
    model = tiny_onnx.write_detector(tmp_path / "model.onnx")
    other = cluster.add_node(**NODE)
    raylet = other.all_processes["raylet"][0].process.pid
    found = f"{bucket}/found"
    run = start(model, f"{bucket}/set", "--out", found, "--address", cluster.address)
    while not (done := len(fs.glob(f"{found}/part-*"))) and run.poll() is None:
        time.sleep(0.1)
    while not any("MapWorker" in name for name in children(raylet)) and run.poll() is None:
        time.sleep(0.1)
    cluster.remove_node(other, allow_graceful=False)
    assert 0 < done < PARTS and run.poll() is None, "the node was lost when all was done"
    printed, log = run.communicate()
    assert run.returncode == 0, log[-3000:]
    result = json.loads(printed)
    assert (result["images"], result["skipped_images"]) == (PICTURES, 1)
    assert (result["partitions"], result["partitions_before"]) == (PARTS, 0)
    rows = [row for part in fs.glob(f"{found}/part-*") for row in rows_of(f"s3://{part}")]
    names = [row.pop("image").rpartition("/")[2] for row in rows]
    assert names == [*(f"{number:06d}.png" for number in range(PICTURES)), "broken.png"]
    assert "error" in rows[-1]
    single = tmp_path / "single.jsonl"
    command = [sys.executable, "-m", "ocdnet", "predict", str(local), "--model", str(model)]
    subprocess.run([*command, "--size", "320x192", "--json", str(single)], check=True)
    expected = [json.loads(line) for line in single.read_text().splitlines()]
    assert [row["regions"] for row in rows] == [row["regions"] for row in expected]


def test_error_of_a_node_is_the_users_and_can_be_mended(bucket, cluster, tmp_path) -> None:
    folder = rendered.write(tmp_path / "set", 2)
    model, out = tmp_path / "model.onnx", f"{bucket}/none"
    model.write_bytes(b"no model")
    on = (str(folder), "--out", out, "--address", cluster.address, "--actors", "1")
    run = start(model, *on)
    printed, log = run.communicate()
    assert run.returncode == 4, log[-3000:]
    message = json.loads(printed)["error"]["message"]
    assert "model.onnx" in message
    assert "/ocdnet-" not in message
    again = start(tiny_onnx.write_detector(model), *on, "--format", "jsonl")
    _, log = again.communicate()
    assert again.returncode == 0, log[-3000:]
    assert len(list(rows_of(f"{out}/part-000000.jsonl"))) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_run_that_can_go_on(cluster, tmp_path, number) -> None:
    rendered.write(tmp_path / "set", 400)
    model, found = tiny_onnx.write_detector(tmp_path / "model.onnx"), tmp_path / "found"
    command = (str(tmp_path / "set"), "--out", str(found), "--address", cluster.address)
    run = start(model, *command)
    while not list(found.glob("part-*")) and run.poll() is None:
        time.sleep(0.1)
    run.send_signal(number)
    printed, log = run.communicate()
    assert run.returncode == 130, log[-3000:]
    assert "not done again" in json.loads(printed)["error"]["hint"]
    again = json.loads(start(model, *command).communicate()[0])
    assert (again["images"], again["partitions"]) == (400, 17)
    assert again["partitions_before"] >= 1


def test_address_of_no_cluster_is_told_within_a_minute(tmp_path) -> None:
    model = tiny_onnx.write_detector(tmp_path / "model.onnx")
    folder = rendered.write(tmp_path / "set", 1)
    run = start(model, str(folder), "--out", str(tmp_path / "found"), "--address", "127.0.0.1:9")
    assert json.loads(run.communicate(timeout=100)[0])["error"]["code"] == "no-cluster"


@dataclass(kw_only=True)
class Deadly(Work):
    """Dies of the third partition."""

    def run(self, partition: Partition) -> dict[str, int]:
        if partition.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"number": partition.number}

    def pictures(self, partition: Partition) -> str:
        return f"picture {partition.number}"


def test_picture_that_no_process_survives_is_named_when_the_others_are_done(cluster) -> None:
    from ocdnet.scale import cluster as on_ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    partitions = [Partition(number, 0, 0) for number in range(6)]
    done = []
    with pytest.raises(RunError, match="died") as told:
        for one in on_ray.run(
            Deadly(model={}, open_detector=print), partitions, on_ray.Cluster(cluster.address)
        ):
            done.append(one["number"])
    assert sorted(done) == [0, 1, 3, 4, 5]
    assert told.value.got == ["picture 2"]


class Faulty(Work):
    """Has a bug, and then lacks a package."""

    def run(self, partition: Partition) -> dict[str, int]:
        raise [TypeError("a bug"), ModuleNotFoundError("no", name="onnxruntime")][partition.number]


def test_bug_of_a_node_is_a_bug_and_a_missing_package_is_not(cluster) -> None:
    from ocdnet.scale import cluster as on_ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    for number, fault, said in ((0, RuntimeError, "a bug"), (1, EnvironmentFault, "onnxruntime")):
        work, where = Faulty(model={}, open_detector=print), on_ray.Cluster(cluster.address)
        with pytest.raises(fault, match=said):
            list(on_ray.run(work, [Partition(number, 0, 0)], where))


def test_nameless_folder_of_a_bucket_is_told(bucket) -> None:
    from s3fs import S3FileSystem

    for name in ("slashes/a.png", "slashes//b.png"):
        S3FileSystem().pipe(f"{bucket}/{name}", b"x")
    with collecting() as seen:
        assert [piece.uris for piece in pieces([f"{bucket}/slashes"], True, 9)] == [
            (f"{bucket}/slashes/a.png",)
        ]
    assert [row.code for row in seen.rows()] == ["nameless-folder"]


def test_evaluation_of_two_nodes_is_that_of_one_process(bucket, cluster, tmp_path) -> None:
    from s3fs import S3FileSystem

    words = rendered.write_labelled(tmp_path / "words", 60)
    S3FileSystem().put(f"{words}/", f"{bucket}/words/", recursive=True)
    spec = tmp_path / "spec.yaml"
    spec.write_text("evaluate: {post_processing: {args: {unclip_ratio: 0.1}}}\n")
    model = tiny_onnx.write_detector(tmp_path / "model.onnx")
    other = cluster.add_node(**NODE)
    written = []
    for data, options in ((words, []), (f"{bucket}/words", ["--address", cluster.address])):
        out = tmp_path / str(len(written))
        command = [sys.executable, "-m", "ocdnet", "evaluate", "-e", str(spec)]
        command += [f"results_dir={out}", f"evaluate.checkpoint={model}"]
        command += [f"dataset.validate_dataset.data_path=[{data}]"]
        command += ["--runner", "ray", *options] if options else []
        subprocess.run(command, check=True)
        text = (out / "evaluate" / "results.json").read_text()
        written.append(json.loads(text.replace(str(out), "OUT").replace(str(data), "DATA")))
    assert written[0]["hmean"] > 0.5
    assert written[1] == written[0]
    cluster.remove_node(other)
