"""Pack what the tests read of the reference arrays (../shared/vectors) into arrays.tar.xz.

Run `python tests/golden/pack.py [VECTORS]` after the reference arrays change. No value changes;
of a network's maps and of the loss's gradients every fifth row and column stays, of its features
every third: both meet all 4 x 4 phases of the head's upsampling. What a seed makes again bit for
bit (seeded.py) is left out.
"""

from __future__ import annotations

import io
import lzma
import re
import sys
import tarfile
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from golden.arrays import ARCHIVE  # noqa: E402 - findable from here on
from golden.seeded import LOSS_CASES, loss_inputs, map_noise  # noqa: E402

VECTORS = TESTS.parents[1] / "shared" / "vectors"

# target -> (source, the arrays that the tests read: a regular expression for the whole name)
PACKS = {
    "label_maps": (
        "a_label_maps",
        r"n|c\d+_(size_hw|polys|ignore_in|shrink_map|shrink_mask|threshold_map|threshold_mask)",
    ),
    "postprocess": (
        "c_postprocess",
        r"n|c\d+_(map_f16|args|boxes|scores|poly_len|poly_pts|poly_scores)",
    ),
    "metric": (
        "d_metric",
        r"n|box_thresh|gathered_\w+|c\d+_(gt|ignore|pred|scores|precision|recall|hmean|gt_care|det_care"
        r"|det_matched|pairs|iou_mat|gt_dontcare|det_dontcare)",
    ),
    "resize": (
        "f_resize2d",
        r"n|c\d+_(in_hw|short_size|resize_text_polys|polys|out_hw|polys_out)|c16_img(_out)?",
    ),
    "loss": ("b_loss", r".*"),
    "lr": ("e_lr", r".*"),
    "forward_deformable_resnet18": ("g_forward_deformable_resnet18", r".*"),
    "forward_deformable_resnet50": ("g_forward_deformable_resnet50", r".*"),
    "forward_resnet18": ("g_forward_resnet18", r".*"),
    "forward_fan_tiny_8_p4_hybrid": ("g_forward_fan_tiny_8_p4_hybrid", r".*"),
    "forward_fan_tiny_8_p4_hybrid_enlarged": ("g_forward_fan_tiny_8_p4_hybrid_enlarged", r".*"),
}
FLOATS = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 1, "lp": 2, "pb": 2}
"""Arrays of four-byte numbers: 6 % smaller than by the preset alone."""
THINNED = {re.compile(r"(eval|train)_out|c\d+_grad"): 5, re.compile(r"eval_\w+_sample"): 3}
"""How many rows and columns go on to the next one that is kept."""


def without_seeded(target: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Less what seeded.py makes again; of a map NaN stands for its noise."""
    if target == "loss":
        made, kept = loss_inputs(), dict(arrays)
        for case in range(LOSS_CASES):
            maps = kept.pop(f"c{case}_pred")
            kept |= {f"c{case}_logits": maps[:, 0], f"c{case}_thresholds": maps[:, 1]}
            kept[f"c{case}_binary"] = maps[:, 2]
        for name, array in made.items():
            np.testing.assert_array_equal(kept.pop(name), array, strict=True)
        return kept
    if target == "postprocess":
        maps = {name: array for name, array in arrays.items() if name.endswith("_map_f16")}
        for case, (name, array) in enumerate(maps.items()):
            noise = map_noise(case, array.shape)
            maps[name] = np.where(array == noise, np.float16("nan"), array)
        return arrays | maps
    return arrays


def add(archive: tarfile.TarFile, name: str, array: np.ndarray) -> None:
    """One array as a .npy file; the same bytes at every packing."""
    content = io.BytesIO()
    np.lib.format.write_array(content, array, allow_pickle=False)
    member = tarfile.TarInfo(name)
    member.size = content.tell()
    content.seek(0)
    archive.addfile(member, content)


def main(vectors: Path) -> None:
    with (
        lzma.open(ARCHIVE, "wb", filters=[FLOATS]) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for target, (source, wanted) in PACKS.items():
            with np.load(vectors / f"{source}.npz", allow_pickle=False) as arrays:
                kept = {name: arrays[name] for name in arrays.files if re.fullmatch(wanted, name)}
            for names, step in THINNED.items():
                thinned = filter(names.fullmatch, kept)
                kept |= {name: kept[name][..., ::step, ::step] for name in thinned}
            for name, array in without_seeded(target, kept).items():
                add(archive, f"{target}/{name}.npy", array)
    sys.stderr.write(f"{ARCHIVE.name}: {ARCHIVE.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else VECTORS)
