"""Which folders and files of the host a container needs, computed from the spec.

Each is mounted at its own path, so that the spec says the same inside and outside.
"""

# os.path answers about paths that cannot be looked at; Path raises.
# ruff: noqa: PTH100, PTH110, PTH112, PTH113, PTH114, PTH117, PTH120

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ocdnet.errors import SpecError
from ocdnet.launch.job import PlannedJob
from ocdnet.notes import Notes
from ocdnet.spec_keys import PRETRAINED
from ocdnet.tree import keys
from ocdnet.tree.nodes import MISSING
from ocdnet.zoo.registry import find

_PATH_KEY = re.compile(r"(path|file|dir|folder|checkpoint|engine|cache)$")
"""The last names of all keys that hold paths; a test holds it against the schemas."""
_URI = re.compile(r"[A-Za-z][\w+.-]*://")
_WITH_COMPANIONS = (".onnx", ".engine", ".trt", ".plan", ".xml")
"""Networks that may come in several files, which lie beside each other."""
_SYSTEM = (
    *("/", "/bin", "/dev", "/etc", "/lib", "/lib64", "/opt", "/opt/ocdnet", "/proc", "/run"),
    *("/sbin", "/sys", "/usr", "/usr/bin", "/usr/lib"),
    *("/usr/local", "/usr/local/bin", "/usr/local/lib"),
)
"""Folders that hold a container's own files."""
_LISTED_LINES, _LISTED_BYTES = 1000, 256 * 1024


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host that a container sees at the same path.

    Attributes:
        path: absolute.
        writable: whether the job writes there; then it is a folder.
    """

    path: str
    writable: bool


def paths(job: PlannedJob) -> Iterator[tuple[str, str]]:
    """Dotted key and path, as written, of every path that a job uses.

    Left out are URIs, and names of public weights, which the job fetches itself.
    """
    read = {item.key for item in job.entry.inputs}
    for key, path in _paths(job.spec):
        # A spec that came from another action's names data that this one does not open.
        if key == PRETRAINED and find(path):
            continue
        if key in read or not key.startswith("dataset."):
            yield key, path


def _paths(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in keys.leaves(tree):
        if _PATH_KEY.search(key.rpartition(".")[2]):
            for path in value if isinstance(value, list) else [value]:
                if isinstance(path, str) and path not in ("", MISSING) and not _URI.match(path):
                    yield key, path


def has_relative(job: PlannedJob) -> bool:
    """Whether some path of a job means another one in another working folder."""
    return any(not os.path.isabs(path) for _, path in paths(job))


def mounts(job: PlannedJob, notes: Notes) -> list[Mount]:
    """What to mount for a job, parents before children; what a mount covers has none of its own.

    Raises:
        SpecError: a path that a container cannot hold.
    """
    wanted: dict[str, bool] = {}
    for key, path in paths(job):
        place = absolute(key, path)
        if folder := _written(job, key, place):
            wanted[folder] = True
        else:
            wanted = dict.fromkeys(_read(key, place, notes), False) | wanted
    for path in wanted:
        check_place(path)
    return _merged(wanted)


def missing_folders(mounted: Iterable[Mount]) -> list[str]:
    """Folders to be written that are not there: made by docker, they would be root's."""
    return [mount.path for mount in mounted if mount.writable and not os.path.exists(mount.path)]


def absolute(key: str, path: str) -> str:
    """A path of the spec from the root.

    Raises:
        SpecError: it means another place in a container than here, or cannot be told to one.
    """
    parts = PurePosixPath(path).parts
    climbs = [i for i, part in enumerate(parts) if part == ".."]
    if any(ord(c) < 32 or ord(c) == 127 for c in path) or climbs != list(range(len(climbs))):
        raise SpecError(
            "path-not-plain",
            f"{key!r} holds a path that cannot be mounted in a container",
            got=path,
            expected="a path without control characters, and without .. on its way",
        )
    return "/" + os.path.abspath(path).lstrip("/")


def _written(job: PlannedJob, key: str, path: str) -> str | None:
    """The folder that the job writes for a key; None where it only reads."""
    name = key.rpartition(".")[2]
    kind = next((item.kind for item in job.entry.outputs if item.key == key), None)
    if name == "results_dir" or kind == "folder":
        return path
    # TensorRT reads and writes its timing cache.
    return os.path.dirname(path) if kind == "file" or name == "timing_cache" else None


def _read(key: str, path: str, notes: Notes) -> list[str]:
    """What has to be there for an input to be read."""
    if key.endswith(".data_path") and os.path.isfile(path):
        return [os.path.dirname(path), *_listed(Path(path), notes)]
    if os.path.isdir(path):
        links = [link for name in ("img", "gt") if os.path.islink(link := f"{path}/{name}")]
        return [path, *map(os.path.realpath, links)]
    return [os.path.dirname(path) if path.lower().endswith(_WITH_COMPANIONS) else path]


def _listed(datalist: Path, notes: Notes) -> list[str]:
    """Folders outside the datalist's own that its first lines name."""
    try:
        with datalist.open("rb") as file:
            text = file.read(_LISTED_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:
        return []
    lines = text.splitlines()
    if len(lines) > _LISTED_LINES or len(text) >= _LISTED_BYTES:
        notes.warn(
            f"Of {datalist} the first {_LISTED_LINES} lines were read: files that it lists in "
            "further folders need a mount, too."
        )
    folders: dict[str, None] = {}
    for line in lines[:_LISTED_LINES]:
        image, tab, label = line.partition("\t")
        for name in (image, label) if tab else line.rsplit(None, 1):
            folder = os.path.abspath(datalist.parent / name.strip() / os.pardir)
            if os.path.isdir(folder):
                folders[folder] = None
    return [folder for folder in folders if not Path(folder).is_relative_to(datalist.parent)]


def check_place(path: str) -> None:
    """Raise SpecError for a place where a mount would hide a container's own files."""
    if path in _SYSTEM or path.startswith("/opt/ocdnet/"):
        raise SpecError(
            "path-hides-the-image",
            f"Mounted in a container, {path} would hide the container's own files",
            got=path,
            expected="data and results in folders of their own, e.g. below /data or /home",
        )


def _merged(wanted: Mapping[str, bool]) -> list[Mount]:
    kept: list[Mount] = []
    for path in sorted(wanted, key=lambda path: Path(path).parts):
        mount = Mount(path, wanted[path])
        if not any(_covers(other, mount) for other in kept):
            kept.append(mount)
    return kept


def _covers(parent: Mount, child: Mount) -> bool:
    # A read-only file below a writable folder could not be replaced in it: it gets no mount.
    below = Path(child.path).is_relative_to(parent.path)
    return below and (parent.writable or not child.writable)
