"""Detection on Ray, measured: rendered pictures, a bucket on loopback, two nodes, one killed.

In the environment of `make test-ray`:

    .venv/ray/bin/python benchmarks/ray_detection.py run --pictures 20000
    .venv/ray/bin/python benchmarks/ray_detection.py actors --pictures 2000 1 2 4 8
    .venv/ray/bin/python benchmarks/ray_detection.py listing 10000 100000 1000000

Each prints a document. `run` exits with 1 unless each picture has one row, and that of one process.
The network marks light pixels (tests/tiny_onnx.py) unless --model names another.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

import rendered

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import tiny_onnx
from ocdnet.backends.open import open_model
from ocdnet.detector import Detector
from ocdnet.findings import collecting
from ocdnet.runs.pages import PartsResult
from ocdnet.scale import detect
from ocdnet.scale.job import Job
from ocdnet.scale.parts import rows_of
from ocdnet.scale.plan import Partition
from ocdnet.scale.work import Work

MB = 1 << 20
NODE = {"num_cpus": 1, "object_store_memory": 100 * MB}


@dataclass
class Measured(Job):
    """A job that tells what each partition took."""

    def run(self, partition: Partition) -> dict[str, Any]:
        """Its counts, CPU seconds, and the process's megabytes."""
        started = time.process_time()
        done = Job.run(self, partition)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        took = {"cpu": time.process_time() - started, "rss": pages * resource.getpagesize() / MB}
        return done | took


@dataclass
class Listed(Job):
    """A job whose pictures are only listed."""

    def run(self, partition: Partition) -> dict[str, Any]:
        """Counts of nothing."""
        counts = {"images": 1, "regions": 0, "skipped_images": 0, "skipped": {}}
        return counts | {"before": False, "findings": []}


class Names(fsspec.AbstractFileSystem):
    """Folders of 10,000 names each, of files that are nowhere: listed://<number of files>."""

    protocol = "listed"
    cachable = False

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Entries as an object store has them."""
        root, _, folder = self._strip_protocol(path).partition("/")
        if folder:
            names = [f"{root}/{folder}/{number:09d}.jpg" for number in range(10_000)]
        else:
            names = [f"{root}/{number:06d}" for number in range(int(root) // 10_000)]
        kind = "file" if folder else "directory"
        return [{"name": name, "type": kind, "size": 100_000, "ETag": "0" * 32} for name in names]

    def isdir(self, path: str) -> bool:
        """As if it were one."""
        return True


def as_kind(kind: type[Job], work: Work) -> Job:
    return kind(**{one.name: getattr(work, one.name) for one in fields(Job)})


def detected(
    sources: Sequence[str], target: str, model: Path, size: int, runner: detect.Runner
) -> PartsResult:
    arguments = {"model": str(model), "device": "cpu", "num_threads": 1, "size": rendered.SIZE}
    request = detect.of_predict(
        arguments, sources=sources, target=target, partition_size=size, recursive=True
    )
    with collecting() as seen:
        return detect.run(request, seen, runner)


def measuring(
    inner: detect.Runner, took: list[dict[str, Any]], then: Callable[[int], None]
) -> detect.Runner:
    """The same, which notes what each partition took, and tells of each that is done."""

    def runner(job: Work, partitions: Sequence[Partition]) -> Iterator[dict[str, Any]]:
        for done in inner(as_kind(Measured, job), partitions):
            took.append(done | {"time": time.monotonic()})
            then(len(took))
            yield done

    return runner


def per_thousand(seconds: float, pictures: int) -> float:
    return round(1000 * seconds / pictures, 2)


@contextmanager
def bucket() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    login = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "moto")
    os.environ |= login | {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        fsspec.filesystem("s3").mkdir("pictures")
        yield "s3://pictures"
    finally:
        server.terminate()
        server.wait()


def fill(uri: str, pictures: int) -> None:
    """Folders of 1,000 pictures."""
    fs = fsspec.filesystem("s3")

    def put(number: int) -> None:
        path = f"{uri}/{number // 1000:06d}/{number:09d}.png"
        fs.pipe_file(path, rendered.picture(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(pictures)))


def network_alone(model: Path) -> float:
    """CPU seconds of 1,000 pictures in the network, one at a time in one thread."""
    predictor = open_model(model, "cpu")
    tensor = np.zeros((1, 3, *rendered.SIZE[::-1]), np.float32)
    predictor(tensor)
    started = time.process_time()
    for _ in range(200):
        predictor(tensor)
    return per_thousand(time.process_time() - started, 200)


def one_process(model: Path, pictures: int) -> tuple[list[Any], float, float]:
    """Each picture's regions, from its bytes; seconds and CPU seconds of 1,000."""
    detector = Detector(model, device="cpu", num_threads=1, size=rendered.SIZE)
    wall, cpu = time.monotonic(), time.process_time()
    pages = detector.stream(rendered.picture(number) for number in range(pictures))
    regions = [[region.polygon for region in page.record().regions] for page in pages]
    spent = time.monotonic() - wall, time.process_time() - cpu
    return regions, *(per_thousand(one, pictures) for one in spent)


def run(model: Path, pictures: int, size: int) -> dict[str, Any]:
    """All of them on two nodes, of which one is killed when a third is done."""
    from ray.cluster_utils import Cluster

    from ocdnet.scale import cluster as on_ray

    with bucket() as uri:
        fill(f"{uri}/set", pictures)
        nodes = Cluster(initialize_head=True, head_node_args=NODE)
        other = nodes.add_node(**NODE)
        took: list[dict[str, Any]] = []
        lost: list[int] = []

        def then(done: int) -> None:
            if not lost and done * size * 3 >= pictures:
                lost.append(done)
                nodes.remove_node(other, allow_graceful=False)

        runner = partial(on_ray.run, cluster=on_ray.Cluster(nodes.address))
        started = time.monotonic()
        result = detected(
            [f"{uri}/set"], f"{uri}/found", model, size, measuring(runner, took, then)
        )
        seconds = time.monotonic() - started
        nodes.shutdown()
        fs = fsspec.filesystem("s3", use_listings_cache=False)
        files = [f"s3://{name}" for name in sorted(fs.glob(f"{uri}/found/part-*"))]
        rows = [row for file in files for row in rows_of(file)]
    expected, wall, cpu = one_process(model, pictures)
    third = max(1, len(took) // 3)
    return {
        "pictures": pictures,
        "rows": len(rows),
        "different_names": len({row["image"] for row in rows}),
        "equal": [[tuple(map(tuple, r["polygon"])) for r in row["regions"]] for row in rows]
        == [[tuple(map(tuple, polygon)) for polygon in one] for one in expected],
        "result": [result.images, result.regions, result.skipped_images],
        "partitions": result.partitions,
        "node_killed_after": lost[0] if lost else None,
        "seconds": round(seconds, 1),
        "seconds_per_1000": per_thousand(seconds, pictures),
        "cpu_seconds_per_1000_of_actors": per_thousand(sum(one["cpu"] for one in took), pictures),
        "one_process_seconds_per_1000": wall,
        "one_process_cpu_seconds_per_1000": cpu,
        "network_alone_cpu_seconds_per_1000": network_alone(model),
        "actor_mb_in_the_first_third": round(max(one["rss"] for one in took[:third])),
        "actor_mb_in_the_last_third": round(max(one["rss"] for one in took[-third:])),
        "driver_peak_mb": peak_mb(),
    }


def actors(model: Path, pictures: int, size: int, counts: Sequence[int]) -> list[dict[str, Any]]:
    """The same folder by pools of these sizes, on this machine's CPUs."""
    import ray

    from ocdnet.scale import cluster as on_ray

    ray.init(num_cpus=max(counts), include_dashboard=False, logging_level="warning")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        rendered.write(Path(folder) / "set", pictures)
        for count in counts:
            took: list[dict[str, Any]] = []
            runner = partial(on_ray.run, cluster=on_ray.Cluster(actors=count))
            target = f"{folder}/found-{count}"
            measured = measuring(runner, took, lambda _: None)
            detected([f"{folder}/set"], target, model, size, measured)
            # From the first partition that was done: the start of processes is no cost of pictures.
            wall = took[-1]["time"] - took[0]["time"]
            cpu = sum(one["cpu"] for one in took)
            rows.append(
                {
                    "actors": count,
                    "seconds_per_1000": per_thousand(wall, pictures - size),
                    "cpu_seconds_per_1000": per_thousand(cpu, pictures),
                }
            )
    ray.shutdown()
    return rows


def listing(model: Path, pictures: int) -> dict[str, Any]:
    """This process's memory as it lists pictures that are nowhere, and gives them to Ray."""
    from ocdnet.scale import cluster as on_ray

    fsspec.register_implementation("listed", Names)
    before, started = peak_mb(), time.monotonic()

    def runner(job: Work, partitions: Sequence[Partition]) -> Iterator[dict[str, Any]]:
        listed.extend([time.monotonic() - started, peak_mb()])
        return on_ray.run(as_kind(Listed, job), partitions, on_ray.Cluster(actors=1))

    listed: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        result = detected([f"listed://{pictures}"], f"{folder}/found", model, 1000, runner)
        plan = (Path(folder) / "found" / "_plan.jsonl").stat().st_size
    return {
        "pictures": pictures,
        "partitions": result.partitions,
        "seconds_to_list": round(listed[0], 1),
        "mb_before": before,
        "peak_mb_listed": listed[1],
        "peak_mb_all": peak_mb(),
        "plan_mb": round(plan / MB, 1),
    }


def peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def with_line(rows: Sequence[dict[str, Any]], x: str, y: str) -> dict[str, Any]:
    """The rows, and y as a line over x by least squares."""
    slope, start = np.polyfit([row[x] for row in rows], [row[y] for row in rows], 1).tolist()
    return {"rows": rows, "line": f"{y} = {start:.4g} + {slope:.4g} * {x}"}


def alone(pictures: int) -> dict[str, Any]:
    """`listing` in a process of its own: its peak is its own."""
    command = [sys.executable, __file__, "listing", str(pictures)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "actors", "listing"))
    parser.add_argument("counts", nargs="*", type=int)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--partition-size", type=int, default=100)
    parser.add_argument("--model", type=Path)
    given = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):  # Ray prints
        model = given.model or tiny_onnx.write_detector(Path(folder) / "light.onnx")
        if given.what == "run":
            told: Any = run(model, given.pictures, given.partition_size)
        elif given.what == "actors":
            rows = actors(model, given.pictures, given.partition_size, given.counts or [1, 2, 4, 8])
            told = with_line(rows, "actors", "cpu_seconds_per_1000")
        elif len(given.counts) == 1:
            told = listing(model, given.counts[0])
        else:
            rows = list(map(alone, given.counts or [10_000, 100_000, 1_000_000]))
            told = with_line(rows, "pictures", "peak_mb_all")
    print(json.dumps(told))
    whole = given.what != "run" or (
        told["equal"] and told["rows"] == told["different_names"] == given.pictures
    )
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
