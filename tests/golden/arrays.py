"""Reads the golden arrays: all of arrays.tar.xz, and what seeded.py makes again."""

from __future__ import annotations

import io
import tarfile
from functools import cache
from pathlib import Path

import numpy as np

from golden.seeded import LOSS_CASES, loss_inputs, map_noise

ARCHIVE = Path(__file__).with_name("arrays.tar.xz")


def golden_set(name: str) -> dict[str, np.ndarray]:
    """The arrays of one set, by name; not to be changed."""
    arrays = {key: array for (owner, key), array in _stored().items() if owner == name}
    if name == "loss":
        arrays |= _with_inputs(arrays)
    elif name == "postprocess":
        arrays |= _with_noise(arrays)
    return arrays


def golden_case(name: str, case: int) -> dict[str, np.ndarray]:
    """The arrays of one case of a set, their names without the case."""
    prefix = f"c{case}_"
    arrays = golden_set(name)
    return {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}


@cache
def _stored() -> dict[tuple[str, str], np.ndarray]:
    found = {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            owner, _, key = member.name.removesuffix(".npy").partition("/")
            found[owner, key] = np.lib.format.read_array(
                io.BytesIO(content.read()), allow_pickle=False
            )
    return found


@cache
def _seeded_loss() -> dict[str, np.ndarray]:
    return loss_inputs()


def _with_inputs(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    made = dict(_seeded_loss())
    for case in range(LOSS_CASES):
        maps = [made.pop(f"c{case}_logits"), made.pop(f"c{case}_thresholds")]
        made[f"c{case}_pred"] = np.stack([*maps, stored[f"c{case}_binary"]], axis=1)
    return made


def _with_noise(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    made = {}
    for case in range(int(stored["n"])):
        kept = stored[f"c{case}_map_f16"]
        made[f"c{case}_map_f16"] = np.where(np.isnan(kept), map_noise(case, kept.shape), kept)
    return made
