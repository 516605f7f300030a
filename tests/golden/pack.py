"""Pack what the tests read of the reference arrays (../shared/vectors) into tests/golden.

Run `python tests/golden/pack.py [VECTORS]` after the reference arrays change. No value changes;
of a network's output maps every third row and column stays, which meets all 4 x 4 phases of the
head's upsampling.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent
VECTORS = GOLDEN.parents[2] / "shared" / "vectors"

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
THINNED = ("eval_out", "train_out")


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As numpy.savez_compressed, but LZMA takes a tenth off; numpy.load reads both."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as pack:
        for name, array in arrays.items():
            with pack.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def main(vectors: Path) -> None:
    for target, (source, wanted) in PACKS.items():
        with np.load(vectors / f"{source}.npz", allow_pickle=False) as arrays:
            kept = {name: arrays[name] for name in arrays.files if re.fullmatch(wanted, name)}
        kept |= {name: kept[name][..., ::3, ::3] for name in THINNED if name in kept}
        path = GOLDEN / f"{target}.npz"
        write_npz(path, kept)
        sys.stderr.write(f"{path.name}: {len(kept)} arrays, {path.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else VECTORS)
