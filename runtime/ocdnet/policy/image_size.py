"""Size and channel order of the images that a job's model takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from ocdnet.runs.jobs import RunFolder
from ocdnet.tree import keys

ARTIFACTS = ("export", "gen_trt_engine")
"""Jobs whose model takes images of one size only."""
_SIZED = ("inference", "export", "gen_trt_engine")
"""Actions with a size of their own; the others read the validation data's."""
_DEFAULT_SIZE = [1280, 736]

Pairs = Iterator[tuple[str, Any]]


def size_changes(action: str, job: RunFolder) -> Pairs:
    """Size and channel order of the images: the artifact's, else those it was validated with.

    Args:
        action: the section that is to use the job's model.
        job: what made it.

    Returns:
        Dotted keys and values, of those that differ from what the section says by itself.
    """
    dataset = job.section("dataset").get("validate_dataset")
    args = dataset.get("args") if isinstance(dataset, Mapping) else None
    args = args if isinstance(args, Mapping) else {}
    at, validated = _resize(args)
    onnx = job.action in ARTIFACTS
    artifact = job.section(job.action) if onnx and job.action else {}
    exported = _size([artifact.get(name) for name in ("width", "height")])
    if action == "evaluate":
        if onnx and at is not None and exported not in (None, validated):
            where = f"dataset.validate_dataset.args.pre_processes.{at}.args.short_size"
            yield where, exported
        return
    if action not in _SIZED:
        return
    own = action in job.experiment  # a TAO experiment holds every section
    size = exported if onnx else None if own else validated
    if size is not None and (own or size != _DEFAULT_SIZE):
        yield f"{action}.width", size[0]
        yield f"{action}.height", size[1]
    if action != "export" and not own and args.get("img_mode") == "RGB":
        yield f"{action}.img_mode", "RGB"


def whole(pairs: Pairs, tree: Mapping[str, Any]) -> Pairs:
    """The pairs for a spec file, in which a list is written as a whole.

    Args:
        pairs: of `size_changes`; a number in a key is a place in a list.
        tree: the spec that holds those lists.
    """
    for key, value in pairs:
        where, _, inside = key.partition(".pre_processes.")
        if not inside:
            yield key, value
            continue
        steps: Any = deepcopy(keys.get(tree, f"{where}.pre_processes"))
        number, *names = inside.split(".")
        at = steps[int(number)]
        for name in names[:-1]:
            at = at[name]
        at[names[-1]] = value
        yield f"{where}.pre_processes", steps


def _resize(args: Mapping[str, Any]) -> tuple[int | None, list[int] | None]:
    """Where among the steps the resizing to a fixed width and height is, and these."""
    steps = args.get("pre_processes")
    for number, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, Mapping) and step.get("type") == "Resize2D":
            step_args = step.get("args")
            return number, _size(
                step_args.get("short_size") if isinstance(step_args, Mapping) else 0
            )
    return None, None


def _size(value: Any) -> list[int] | None:
    sizes = isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)
    return value if sizes else None
