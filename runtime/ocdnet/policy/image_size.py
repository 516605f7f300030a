"""Size and channel order of the images that a job's model takes."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ocdnet.catalogue_entry import Action
from ocdnet.runs.jobs import RunFolder
from ocdnet.tree import keys

_VALIDATION = "dataset.validate_dataset.args"
DEFAULT_SIZE = [1280, 736]


def size_changes(entry: Action, job: RunFolder) -> dict[str, Any]:
    """Size and channel order of the images: the artifact's, else those it was validated with.

    Args:
        entry: the action that is to use the job's model.
        job: what made it.

    Returns:
        Dotted keys and values, of those that differ from what the action's section says by itself;
        a number in a key is a place in a list.
    """
    section = entry.section
    made = job.section(job.action or "") if job.one_size else None
    place, validated = _resize(keys.get(job.experiment, f"{_VALIDATION}.pre_processes"))
    exported = None if made is None else _size([made.get(name) for name in ("width", "height")])
    if entry.size == "data":
        fixed = place is not None and exported not in (None, validated)
        where = f"{_VALIDATION}.pre_processes.{place}.args.short_size"
        return {where: exported} if fixed else {}
    if not entry.size:
        return {}
    changes: dict[str, Any] = {}
    holds = section in job.experiment  # a TAO experiment holds every section
    size = exported if made is not None else None if holds else validated
    if size is not None and (holds or size != DEFAULT_SIZE):
        changes = {f"{section}.width": size[0], f"{section}.height": size[1]}
    mode = keys.get(job.experiment, f"{_VALIDATION}.img_mode")
    if entry.makes != "onnx" and not holds and mode == "RGB":
        changes[f"{section}.img_mode"] = mode
    return changes


def in_whole_lists(changes: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """The changes for a spec file, in which a list is written as a whole.

    Args:
        changes: of `size_changes`.
        tree: the spec that holds those lists.
    """
    whole: dict[str, Any] = {}
    for key, value in changes.items():
        where, _, inside = key.partition(".pre_processes.")
        if not inside:
            whole[key] = value
            continue
        steps = {"steps": deepcopy(keys.get(tree, f"{where}.pre_processes"))}
        keys.set(steps, f"steps.{inside}", value)
        whole[f"{where}.pre_processes"] = steps["steps"]
    return whole


def _resize(steps: Any) -> tuple[int | None, list[int] | None]:
    """Where among the steps the resizing to a fixed width and height is, and these."""
    for number, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, Mapping) and step.get("type") == "Resize2D":
            return number, _size(keys.get(step, "args.short_size"))
    return None, None


def _size(value: Any) -> list[int] | None:
    sizes = isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)
    return value if sizes else None
