"""`ocdnet default_specs`."""

from pathlib import Path

from ocdnet.actions import default_specs
from ocdnet.config import spec


def test_every_key_of_every_action_is_written(tmp_path):
    path = Path(default_specs.run(tmp_path / "new")["spec"])
    tree = spec.read(path)
    assert path == tmp_path / "new/experiment.yaml"
    assert tree["evaluate"]["checkpoint"] == "???"
    assert {"train", "quantize", "wandb", "gen_trt_engine"} <= set(tree)
    override = "dataset.train_dataset.data_path=[/data/train]"
    given = spec.load("train", path, [override]).experiment
    assert given == spec.load("train", None, [override]).experiment
