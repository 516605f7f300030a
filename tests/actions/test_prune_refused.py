"""Validation data that cannot be read leave no pruned file behind."""

from __future__ import annotations

import pytest

import support
from ocdnet.config import spec
from ocdnet.errors import DataError

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.mark.parametrize("spoilt", ["label", "image"])
def test_bad_validation_data(scenes, detector, tmp_path, spoilt):
    from ocdnet.actions import prune as action

    data = support.copied(scenes / "test", tmp_path / "data")
    if spoilt == "label":
        (data / "gt" / "gt_img_2.txt").unlink()
    else:
        (data / "img" / "img_2.png").write_bytes(b"no image")
    given = [
        f"results_dir={tmp_path}",
        f"prune.checkpoint={detector}",
        "prune.round_to=4",
        f"dataset.validate_dataset.data_path=[{data}]",
        f"dataset.validate_dataset.args.pre_processes.0.args.short_size=[{support.SIDE},{support.SIDE}]",
    ]
    with pytest.raises(DataError, match="img_2"):
        action.run(spec.load("prune", None, given))
    names = {path.name for path in (tmp_path / "prune").iterdir()}
    assert names == {".ocdnet_files.jsonl", "experiment.yaml", "status.json"}
    assert support.status_lines(tmp_path / "prune")[-1]["status"] == "FAILURE"
