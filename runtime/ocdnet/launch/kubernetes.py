"""A Kubernetes Job; on several nodes an Indexed Job whose pods find each other by a Service.

Pods that share an inference are an Indexed Job, too, and need not know of each other.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from ocdnet.errors import Exit, UsageError
from ocdnet.launch.job import Launch, PlannedJob, gpu_overrides, part_overrides
from ocdnet.launch.mounts import absolute, check_place, has_relative, mounts, paths
from ocdnet.launch.template import fill
from ocdnet.notes import Notes
from ocdnet.tree import yaml_io

_USER = 1000
"""The user of our images; claims are given to its group."""
_SPEC = "/etc/ocdnet/spec.yaml"
_CLAIM = re.compile(r"([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?):(/.+)", re.ASCII)


def manifest(job: PlannedJob, _program: str, notes: Notes) -> Launch:
    """A manifest with the spec as a ConfigMap, for `kubectl apply`.

    Raises:
        UsageError: a claim that is none, or a path of the spec below no claim.
    """
    claims = _claims(job)
    if job.image is None:
        notes.ask(
            "--image",
            "Which image can the cluster pull? Push the one that --platform docker builds to its "
            "registry and name it.",
        )
    if job.image is None:
        return Launch(image=job.image)
    volumes = _claimed(job, claims, notes) if claims else _host_paths(job, notes)
    _check_mountable([volume["path"] for volume in volumes])
    pods = max(job.nodes, job.shards)
    notes.warn(f"The Job asks for {_gpus(job)} for each of {pods} pod(s).")
    fields = _common(job, volumes, bool(claims))
    command = ["ocdnet", job.verb, "-e", _SPEC, *job.search, *gpu_overrides(job, notes)]
    command += part_overrides(job, "$(PART)")
    counts = {"nodes": job.nodes, "shards": job.shards, "pods": pods, "gpus": job.gpus}
    name = _name(job)
    how = Launch(image=job.image)
    _add(how, job, job.entry.name, fields | counts | {"name": name, "command": command})
    if job.shards > 1:
        # Kubernetes would put a variable for $(NAME).
        command = ["ocdnet", "merge", job.results.replace("$(", "$$(")]
        counts = dict.fromkeys(("nodes", "shards", "pods"), 1) | {"gpus": 0}
        how.commands.append(f"kubectl wait --for=condition=complete --timeout=168h job/{name}")
        merging = {"name": f"{name}-merge", "command": command}
        _add(how, job, f"{job.entry.name}_merge", fields | counts | merging)
        notes.warn("Where a part fails for good, kubectl wait ends after a week: kubectl get jobs.")
    return how


def _common(job: PlannedJob, volumes: list[dict[str, Any]], claimed: bool) -> dict[str, Any]:
    """What is the same in all manifests of a job."""
    # A claim's files belong to a group of its own; a host's folders to their user, as under docker.
    user, group = (_USER, _USER) if claimed else (os.getuid(), os.getgid())
    return {
        "image": job.image,
        "spec": yaml_io.dump(yaml_io.styled(dict(job.spec))),
        "spec_file": _SPEC,
        "at_fault": [int(code) for code in (Exit.USAGE, Exit.SPEC, Exit.DATA)],
        "user": user,
        "group": group,
        "claims": claimed,
        "folder": str(Path.cwd()) if has_relative(job) else None,
        "volumes": volumes,
    }


def _add(how: Launch, job: PlannedJob, stem: str, fields: dict[str, Any]) -> None:
    """A manifest, and the command that hands it over."""
    file = f"{stem}.job.yaml"
    how.files[file] = fill("job.k8s.yaml.j2", **fields)
    how.commands.append(f"kubectl apply -f {quote(str(job.written.parent / file))}")


def _check_mountable(places: Iterable[str]) -> None:
    for place in places:
        if ":" in place:
            raise UsageError(
                "path-not-mountable",
                "Kubernetes mounts no path that holds a colon",
                got=place,
                expected="a path without :",
            )


def _gpus(job: PlannedJob) -> str:
    return "1 GPU" if job.gpus == 1 else f"{job.gpus} GPUs"


def _name(job: PlannedJob) -> str:
    """A name by RFC 1123 that leaves room for a pod's number; another for another job."""
    words = f"ocdnet-{job.entry.name}-{Path(job.results_dir).name}".lower()
    slug = re.sub(r"[^a-z0-9]+", "-", words, flags=re.ASCII)[:40].strip("-")
    digest = hashlib.sha256(repr((job.spec, job.results_dir)).encode()).hexdigest()
    return f"{slug}-{digest[:6]}"


def _claims(job: PlannedJob) -> dict[str, str]:
    """Mount path -> name of each claim."""
    claims: dict[str, str] = {}
    for claim in job.claims:
        match = _CLAIM.fullmatch(claim)
        if match is None or absolute("--claim", match[2]) in claims:
            raise UsageError(
                "bad-claim",
                "--claim does not name a volume and where it is mounted, or names a place twice",
                got=claim,
                expected="NAME:/mount/path, the name as in `kubectl get pvc`",
            )
        place = absolute("--claim", match[2])
        check_place(place)
        claims[place] = match[1]
    return claims


def _claimed(job: PlannedJob, claims: dict[str, str], notes: Notes) -> list[dict[str, Any]]:
    """The claims as volumes; every path of the spec lies below one."""
    for key, path in _all_paths(job):
        if not any(Path(path).is_relative_to(place) for place in claims):
            raise UsageError(
                "path-outside-claims",
                f"{key!r} is a path that no --claim holds",
                got=path,
                expected=f"a path below {', '.join(claims)}",
                hint="Give the path as the pod sees it, or another --claim NAME:/mount/path.",
            )
    if max(job.nodes, job.shards) > 1:
        notes.warn("The claims are mounted by several pods: they must be ReadWriteMany.")
    return [
        {"path": place, "writable": True, "claim": name} for place, name in sorted(claims.items())
    ]


def _all_paths(job: PlannedJob) -> Iterator[tuple[str, str]]:
    yield from ((key, absolute(key, path)) for key, path in paths(job))


def _host_paths(job: PlannedJob, notes: Notes) -> list[dict[str, Any]]:
    notes.warn(
        "Without --claim NAME:/mount/path the pods mount the nodes' own folders (hostPath): the "
        f"data must lie on every node, and results_dir be writable there by user {os.getuid()}."
    )
    return [
        {"path": mount.path, "writable": mount.writable, "claim": None}
        for mount in mounts(job, notes)
    ]
