"""`docker run` with the bundled images, or with NVIDIA's."""

from __future__ import annotations

import shutil
from pathlib import Path
from shlex import quote

from ocdnet.launch.job import Launch, PlannedJob
from ocdnet.launch.mounts import Mount, has_relative, missing_folders, mounts
from ocdnet.notes import Notes
from ocdnet.version import VERSION

_DOCKERFILE = "runtime/ocdnet/docker/Dockerfile"


def bundled(job: PlannedJob, _program: str, notes: Notes) -> Launch:
    """Build this skill's image where the user has none, then run the job as the user."""
    target = _target(job)
    image = job.image or f"ocdnet:{VERSION}-{target}"
    build = [] if job.image else _build(job, target, image, notes)
    gpus = _sees_gpus(job, notes)
    options = ['--user "$(id -u):$(id -g)"', "--env HOME=/tmp"]
    # The entry point is `ocdnet` in our images; naming it makes the user's own image work, too.
    command = f"--entrypoint ocdnet {image} {job.verb}"
    return Launch([*build, *_run(job, gpus, options, command, notes)], image=image)


def tao(job: PlannedJob, _program: str, notes: Notes) -> Launch:
    """Run the job in NVIDIA's image."""
    image = job.image or job.tao_image
    notes.warn("NVIDIA's image runs as root and needs a GPU: the results will belong to root.")
    return Launch(_run(job, True, [], f"{image} ocdnet {job.command}", notes), image=image)


def _target(job: PlannedJob) -> str:
    """Which of our images: the one without torch where no checkpoint is read."""
    engine, checkpoint = job.section.get("trt_engine"), job.section.get("checkpoint") or ""
    exported = "onnx" in job.entry.takes and (engine or checkpoint.lower().endswith(".onnx"))
    return "deploy" if job.entry.deploys or exported else "train"


def _build(job: PlannedJob, target: str, image: str, notes: Notes) -> list[str]:
    dockerfile = job.skill_dir / _DOCKERFILE
    if not dockerfile.is_file():
        notes.warn(
            f"The image {image} is built in the skill's folder, which is not here (ocdnet was "
            "installed as a package): build it there, or give --image."
        )
        return []
    file, context = quote(str(dockerfile)), quote(str(job.skill_dir))
    return [f"docker build --target {target} -t {image} -f {file} {context}"]


def _sees_gpus(job: PlannedJob, notes: Notes) -> bool:
    """Docker refuses to start with --gpus where there is no GPU."""
    if job.gpus_asked or shutil.which("nvidia-smi"):
        return True
    notes.warn("No GPU was found here (no nvidia-smi): docker runs on the CPU, without --gpus all.")
    return False


def _run(job: PlannedJob, gpus: bool, options: list[str], command: str, notes: Notes) -> list[str]:
    mounted = mounts(job, notes)
    spec = str(job.written)
    if not any(Path(spec).is_relative_to(mount.path) for mount in mounted):
        mounted.append(Mount(spec, False))
    # All GPUs, whatever train.gpu_ids says: a container numbers those it is given anew.
    words = ["docker run --rm --init", *(["--gpus all"] if gpus else []), "--shm-size=8g", *options]
    if has_relative(job):
        words.append(f"--workdir {quote(str(Path.cwd()))}")
    words += [f"--mount {quote(_mount(mount))}" for mount in mounted]
    folders = missing_folders(mounted)
    make = [f"mkdir -p {' '.join(map(quote, folders))}"] if folders else []
    return [*make, f"{' '.join(words)} {command} -e {quote(spec)}{job.flags}"]


def _mount(mount: Mount) -> str:
    """The value of --mount: one line of CSV, so that any path can stand in it."""
    fields = [f"{end}={mount.path}" for end in ("src", "dst")]
    if any(mark in mount.path for mark in ',"'):
        fields = ['"{}"'.format(field.replace('"', '""')) for field in fields]
    return ",".join(["type=bind", *fields, *([] if mount.writable else ["readonly"])])
