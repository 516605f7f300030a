"""An inference in parts: merged, it is what one run writes, and nothing is taken for whole."""

from __future__ import annotations

import shutil

import pytest

import support
import tiny_onnx
from ocdnet.actions.merge import run
from ocdnet.data.shards import shard_of
from ocdnet.errors import DataError, SpecError

PARTS = 3
WRITTEN = "inference.outputs=[json,coco,txt]", "inference.recursive=true", "inference.num_threads=1"


@pytest.fixture
def found(tmp_path):
    """What one run finds, and what parts find: folders of results."""
    support.write_blocks(tmp_path / "words", 5, seed=0)
    pictures = tmp_path / "words"
    # Of one stem, and in an order that is not that of letters.
    shutil.copy(pictures / "img/img_1.png", pictures / "img/img_10.jpg")
    shutil.copy(pictures / "img/img_2.png", pictures / "img/img_10.png")
    (pictures / "img_0.png").write_bytes(b"no picture")
    model = tiny_onnx.write_detector(tmp_path / "light.onnx")
    skips = "inference.skip_unreadable=true"
    support.infer(pictures, model, tmp_path / "one", skips, *WRITTEN)
    for number in range(PARTS):
        part = f"inference.shards={PARTS}", f"inference.shard={number}"
        told = support.infer(pictures, model, tmp_path / "many", skips, *WRITTEN, *part)
        assert told["results_dir"].endswith(f"inference/shards/{number}")
    return tmp_path / "one/inference", tmp_path / "many/inference"


def test_parts_together_are_what_one_run_finds(found):
    one, many = found
    told = run(many.parent)
    assert (told.images, told.skipped_images, told.shards) == (7, 1, PARTS)
    names = {str(path.relative_to(one)) for path in one.rglob("*.[tj]*")} - {"status.json"}
    assert {"img/img_10.jpg.txt", "coco.json", "predictions.jsonl"} < names
    for name in names - {".ocdnet_files.jsonl"}:
        assert (many / name).read_bytes() == (one / name).read_bytes(), name
    run(many)  # again
    (many / "coco.json").write_text("mine")
    with pytest.raises(SpecError, match="written over"):
        run(many)


def test_what_is_not_whole_or_of_one_run_is_refused(found):
    _, many = found
    with pytest.raises(DataError) as caught:
        run(many / "shards")
    assert caught.value.code == "no-parts"
    status = many / "shards/1/status.json"
    status.write_text("".join(status.read_text().splitlines(True)[:1]))
    with pytest.raises(DataError, match="have not ended well") as caught:
        run(many)
    assert caught.value.got == ["1"]
    shutil.rmtree(many / "shards/1")
    shutil.copytree(many / "shards/0", many / "shards/1")
    with pytest.raises(DataError, match="is not part 1") as caught:
        run(many)
    assert caught.value.got == ["inference.shard"]


def test_pictures_are_shared_out_evenly_and_always_alike():
    counts = [0] * 8
    for number in range(4000):
        counts[shard_of(f"day {number % 7}/img_{number:06}.jpg", 8)] += 1
    assert 400 < min(counts) <= max(counts) < 600
    # What a release before gave: parts of one run may come from two.
    assert [shard_of(name, 1000) for name in ("a.jpg", "a.png.JPG", "b/é.png")] == [343, 343, 116]
