"""Images really built by buildah, on a base made by debootstrap: no registry, no daemon."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

SKILL = Path(__file__).parents[2]
TOOLS = ("buildah", "debootstrap")
BASE = "localhost/ocdnet-test-base"
USER = "1234:1234"
"""Neither root nor the user that the image names, nor anyone in its passwd."""
# What pip reads from this machine's disk, where it has it: torch with its CUDA is 5.5 GB.
INDEXES = [path for path in (Path("/opt/pypi"), Path("/opt/pypi-more")) if path.is_dir()]
TORCH = "torch<=2.14.1\ntorchvision<=0.29.1\n"
"""The releases on that disk; any would do."""
CERTIFICATES = Path("/etc/ssl/certs")


class Buildah:
    """Storage of its own, away from the user's images, gone after the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = 0.0

    def __call__(self, command: str, *words: str | Path) -> str:
        """Run a buildah command; its stdout. What it said on stderr is shown where it fails."""
        line = self.line(command, *words)
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout.strip()

    def line(self, command: str, *words: str | Path) -> list[str | Path]:
        """A buildah command as a list of words."""
        places = ["--root", self.folder / "storage", "--runroot", self.folder / "run"]
        return ["buildah", "--storage-driver", "vfs", *places, *command.split(), *words]

    def build(self, target: str, configuration: Path) -> str:
        """Build a target; `configuration` is the folder of pip's settings in the build."""
        volumes = [f"{CERTIFICATES}:{CERTIFICATES}:ro", f"{configuration}:/etc/xdg/pip:ro"]
        volumes += [f"{index}:{index}:ro" for index in INDEXES]
        options = [word for volume in volumes for word in ("-v", volume)]
        name = f"localhost/ocdnet-test:{target}"
        self(
            f"build --isolation chroot --build-arg BASE_IMAGE={BASE} --target {target} -t {name}",
            *options,
            "-f",
            SKILL / "runtime/ocdnet/docker/Dockerfile",
            SKILL,
        )
        return name

    def run(self, image: str, printed: str) -> tuple[str, Path]:
        """Do what a printed `docker run` says; its stdout and the container's own files."""
        container = self("from", image)
        self.started = time.time()
        out = self("run --isolation chroot", *translated(shlex.split(printed), container))
        return out, Path(self("mount", container))


def translated(words: list[str], container: str) -> list[str]:
    """The arguments of `buildah run` that mean what those of `docker run` mean."""
    assert words[:2] == ["docker", "run"]
    options: list[str] = []
    program = ""
    for number, (option, value) in enumerate(pairwise(words)):
        if option == "--mount":
            # What docker mounts writable unless told otherwise, buildah mounts readonly.
            fields = next(csv.reader([value], strict=True))
            options += ["--mount", value if "readonly" in fields else f"{value},rw"]
        elif option == "--user":
            assert value == "$(id -u):$(id -g)"
            options += ["--user", USER]
        elif option == "--env":
            options += ["--env", value]
        elif option == "--workdir":
            options += ["--workingdir", value]
        elif option == "--entrypoint":
            program, rest = value, words[number + 3 :]  # past the image
    return [*options, container, "--", program, *rest]


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """buildah with a base image of Debian bookworm: Python 3.11 and pip."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"needs root and Debian's buildah and debootstrap; missing: {missing or 'root'}"
        )
    folder = tmp_path_factory.mktemp("buildah")
    root = folder / "root"
    packages = "--include=python3,python3-pip,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", packages, "bookworm", root],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for name in ("proc", "sys"):  # debootstrap may leave them mounted, and what follows walks them
        subprocess.run(["umount", "-q", root / name], check=False)
    tool = Buildah(folder)
    container = tool("from", "scratch")
    tool("copy -q", container, root, "/")
    tool("commit -q", container, BASE)
    shutil.rmtree(root)
    tool("rm", container)
    yield tool
    tool("rm --all")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def image(buildah: Buildah, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Build a target, once; its name."""
    folder = tmp_path_factory.mktemp("pip")
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt", "timeout = 180"]
    lines += ["no-compile = true"]  # half the time of the build
    if INDEXES:
        urls = " ".join(f"file://{index}/simple" for index in INDEXES)
        lines += [f"extra-index-url = {urls}", "constraint = /etc/xdg/pip/constraints.txt"]
        (folder / "constraints.txt").write_text(TORCH)
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    return cache(lambda target: buildah.build(target, folder))
