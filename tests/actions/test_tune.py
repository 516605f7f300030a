"""Tune: settings that help, maps made once, a spec that evaluate takes, and no false certainty."""

from __future__ import annotations

import json

import numpy as np
import pytest

import support
from ocdnet.actions import tune as action
from ocdnet.actions.choosing import choose
from ocdnet.actions.detection import on_labelled
from ocdnet.actions.kept_maps import cache_of
from ocdnet.cli.main import cli
from ocdnet.config import spec
from ocdnet.errors import SpecError
from ocdnet.findings import collecting
from ocdnet.sweep import Setting, grid, nine

pytestmark = pytest.mark.usefixtures("small_network")
BAD = "evaluate.post_processing.args.unclip_ratio=0.1"


def overrides(data, checkpoint, *more):
    return [
        f"evaluate.checkpoint={checkpoint}",
        f"dataset.validate_dataset.data_path=[{data}]",
        "dataset.validate_dataset.args.pre_processes.0.args.short_size=[160,160]",
        *more,
    ]


def tuned(*given):
    with collecting() as findings:
        return action.run(spec.load("evaluate", None, given), findings)


@pytest.fixture
def maps(monkeypatch, tmp_path):
    monkeypatch.setenv("OCDNET_MAPS", str(tmp_path / "maps"))
    return tmp_path / "maps"


def test_settings_that_lose_text_are_mended(scenes, detector_onnx, maps):
    result = tuned(*overrides(scenes / "train", detector_onnx, BAD))
    assert result.best.hmean == 1.0 > result.spec.hmean
    assert result.best.unclip_ratio >= 1
    assert f"inference.post_processing.args.unclip_ratio={result.best.unclip_ratio}" in (
        result.overrides
    )
    assert result.cross_validated.gain > 0
    assert [half.images for half in result.halves] == [4, 4]
    assert abs(result.rounding.difference) < 1e-3
    assert result.rounding.hmean == result.spec.hmean
    assert "few-texts" in [row.code for row in result.warnings]


def test_the_network_sees_a_picture_once(scenes, detector_onnx, maps, tmp_path):
    support.evaluate(scenes / "test", detector_onnx, tmp_path)
    given = overrides(scenes / "test", detector_onnx)
    first = tuned(*given)
    assert (first.maps.kept, first.maps.computed) == (4, 0)
    more = tuned(*overrides(f"{scenes}/test,{scenes}/train", detector_onnx))
    assert (more.maps.kept, more.maps.computed) == (4, 8)
    scored = support.evaluate(scenes / "test", detector_onnx, tmp_path / "again")
    assert first.rounding.hmean == pytest.approx(scored["hmean"])


def test_an_evaluation_with_other_thresholds_reuses_the_maps(scenes, detector_onnx, maps, tmp_path):
    support.evaluate(scenes / "test", detector_onnx, tmp_path)
    reuse, both = "evaluate.reuse_maps=true", f"{scenes}/test,{scenes}/train"
    fresh = support.evaluate(both, detector_onnx, tmp_path / "fresh", BAD)
    maps.joinpath(*next(maps.glob("*/*.map")).parts[-2:]).unlink()  # one was lost
    again = support.evaluate(both, detector_onnx, tmp_path / "again", BAD, reuse)
    assert again["reused_maps"] == 11
    assert again["counts"] == fresh["counts"]
    rows = [
        [row["image"] for row in json.loads((folder / "results.json").read_text())["per_image"]]
        for folder in (tmp_path / "fresh" / "evaluate", tmp_path / "again" / "evaluate")
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    "change",
    [
        "dataset.validate_dataset.args.pre_processes.0.args.short_size=[192,160]",
        "dataset.validate_dataset.args.pre_processes.0.args.mode=fit",
        "model.backbone=resnet18",
    ],
)
def test_what_changes_a_map_finds_none(scenes, detector, maps, change):
    caches = []
    for more in ((), (change,)):
        loaded = spec.load("evaluate", None, overrides(scenes / "test", detector, *more))
        opened, _ = on_labelled(loaded)
        caches.append(cache_of(opened, loaded))
    assert caches[0].key(b"picture") != caches[1].key(b"picture")


def test_without_a_cache_it_works_as_well(scenes, detector_onnx, monkeypatch):
    monkeypatch.setenv("OCDNET_MAPS", "off")
    result = tuned(*overrides(scenes / "test", detector_onnx))
    assert (result.maps.computed, result.maps.folder) == (4, None)
    assert result.best.hmean == 1.0


def test_the_command_writes_a_spec_for_both(scenes, detector_onnx, maps, tmp_path, capsys):
    file, out = tmp_path / "spec.yaml", tmp_path / "tuned.yaml"
    file.write_text("model: {backbone: resnet18}\n")
    given = overrides(scenes / "test", detector_onnx, BAD)
    call = ["tune", "-e", str(file), *given, "--write", str(out)]
    cli(call, standalone_mode=False)
    printed = json.loads(capsys.readouterr().out)
    assert printed["spec_file"] == str(out)
    again = spec.load("evaluate", out, [f"results_dir={tmp_path}"]).experiment.evaluate
    assert again.post_processing.args.unclip_ratio == printed["best"]["unclip_ratio"]
    folder = [f"inference.input_folder={scenes}/test/img", f"results_dir={tmp_path}"]
    inference = spec.load("inference", out, folder).experiment.inference
    assert inference.post_processing.args == again.post_processing.args
    assert (inference.width, inference.checkpoint) == (160, str(detector_onnx))
    with pytest.raises(SpecError, match="not written over"):
        cli(call, standalone_mode=False)


def test_settings_for_pictures_of_another_size_are_doubted(
    scenes, detector_onnx, maps, tmp_path, capsys
):
    file, out = tmp_path / "spec.yaml", tmp_path / "tuned.yaml"
    file.write_text("inference: {width: 320}\n")
    given = overrides(scenes / "test", detector_onnx)
    cli(["tune", "-e", str(file), *given, "--write", str(out)], standalone_mode=False)
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert [row["key"] for row in warnings if row["code"] == "other-pictures"] == [
        "inference.width"
    ]


SPEC = Setting(False, 0.3, 1.5, 0.55)
TRIED = sorted({*grid(SPEC), *nine(SPEC)})


def choice(rows):
    return choose(TRIED, grid(SPEC), SPEC, rows)


def counts(found, detections=10):
    """What each setting counts on a picture: `found` by setting, else 0."""
    table = np.zeros((len(TRIED), 2), np.int64)
    for setting, number in found.items():
        table[TRIED.index(setting)] = number, detections
    return table


def test_a_choice_of_noise_is_told_as_unsure():
    """Each picture likes another setting: what is best on all is best by luck."""
    rng = np.random.default_rng(0)
    rows = []
    for at in range(60):
        table = np.stack([rng.integers(4, 7, len(TRIED)), np.full(len(TRIED), 10)], 1)
        table[TRIED.index(SPEC)] = 5, 10  # the mean of all
        rows.append((at % 2 == 1, 10, table))
    chosen = choice(rows)
    with collecting() as seen:
        chosen.note_doubts()
    assert [row.code for row in seen.rows()] == ["unsure-choice"]
    result = chosen.records()
    assert result["best"].hmean > result["spec"].hmean  # flatters
    assert result["cross_validated"].hmean < result["best"].hmean


def test_a_setting_that_is_better_everywhere_is_sure():
    better = SPEC._replace(box_thresh=0.45)
    rows = [(at % 2 == 1, 10, counts({SPEC: 5, better: 8})) for at in range(40)]
    chosen = choice(rows)
    with collecting() as seen:
        chosen.note_doubts()
    assert not seen.rows()
    assert chosen.best == better
    assert chosen.cross_validated.gain == pytest.approx(0.3)
    assert chosen.cross_validated.low > 0


def test_taos_best_of_nine_is_apart():
    """Thresholds that are not among the candidates count there, and there alone."""
    high = SPEC._replace(thresh=0.9)
    result = choice([(at > 1, 10, counts({SPEC: 5, high: 9})) for at in range(4)]).records()
    assert result["tao_best_of_nine"].thresh == 0.9
    assert result["tao_best_of_nine"].hmean == pytest.approx(0.9)
    assert result["best"].thresh == 0.3


def test_where_nothing_is_found_nothing_is_best():
    chosen = choice([(at > 1, 10, counts({})) for at in range(4)])
    result = chosen.records()
    assert result["best"] is result["cross_validated"] is result["tao_best_of_nine"] is None
    with collecting() as seen:
        chosen.note_doubts()
    assert "nothing-found" in [row.code for row in seen.rows()]
    assert list(action.overrides(chosen.best)) == []
