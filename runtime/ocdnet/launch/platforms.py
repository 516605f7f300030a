"""The platforms that a job can be planned for: plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Where a job runs.

    Attributes:
        run: `module:function` that tells how, (PlannedJob, program, Notes) -> Launch; it is loaded
            when it is used.
        cluster: whether a scheduler runs it, on as many machines as are asked for, which may see
            other files than this one does.
        container: whether it runs in an image.
        claims: whether the image gets its data by volume claims.
        tao: whether NVIDIA's own image runs it, which reads TAO's keys alone.
    """

    run: str
    cluster: bool = False
    container: bool = False
    claims: bool = False
    tao: bool = False


LOCAL = "local"
PLATFORMS = {
    LOCAL: Platform(run="ocdnet.launch.local:command"),
    "docker": Platform(run="ocdnet.launch.docker:bundled", container=True),
    "tao-docker": Platform(run="ocdnet.launch.docker:tao", container=True, tao=True),
    "slurm": Platform(run="ocdnet.launch.slurm:batch", cluster=True),
    "kubernetes": Platform(
        run="ocdnet.launch.kubernetes:manifest", cluster=True, container=True, claims=True
    ),
}
"""By the name that a request gives."""
