"""The starter's training: its recipe is a spec, and a stopped run goes on."""

from pathlib import Path

import starter
from ocdnet.config import spec
from ocdnet.runs.files import LATEST
from scene_ablation import SPEC


def test_its_recipe_is_a_spec_and_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    (tmp_path / "ablation.yaml").write_text(SPEC)
    first = starter.command(tmp_path, "small")
    overrides = first[first.index(str(starter.RECIPE)) + 1 :]
    assert not any("resume" in override for override in overrides)
    for recipe in (starter.RECIPE, tmp_path / "ablation.yaml"):
        experiment = spec.load("train", recipe, overrides).experiment
        assert (experiment.model.backbone, experiment.model.inner_channels) == (
            "mobilenet_v3_large",
            128,
        )
    latest = tmp_path / "small" / "train" / LATEST
    latest.parent.mkdir(parents=True)
    latest.write_bytes(b"")
    assert starter.command(tmp_path, "small")[-1].endswith(f"={latest.resolve()}")
