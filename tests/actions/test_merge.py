"""An inference in parts: merged, it is what one run writes, and nothing is taken for whole."""

from __future__ import annotations

import shutil

import pytest

import support
import tiny_onnx
from ocdnet.actions.merge import run
from ocdnet.data.shards import shard_of
from ocdnet.errors import DataError, SpecError
from ocdnet.runs.jobs import run_folders
from ocdnet.runs.typed import to_json

PARTS = 3
SET = ("inference.outputs=[json,coco,txt]", "inference.recursive=true", "inference.num_threads=1")


def test_parts_together_are_what_one_run_finds(tmp_path):
    pictures, one, many = (tmp_path / name for name in ("words", "one", "many"))
    support.write_blocks(pictures, 5, seed=0)
    # Of one stem, and in an order that is not that of letters.
    shutil.copy(pictures / "img/img_1.png", pictures / "img/img_10.jpg")
    shutil.copy(pictures / "img/img_2.png", pictures / "img/img_10.png")
    for name in ("img_04.png", "img_005.png", "img_05.png"):  # of one number
        shutil.copy(pictures / "img/img_3.png", pictures / "img" / name)
    shutil.copytree(pictures / "img", pictures / "img0")
    shutil.copytree(pictures / "img", pictures / "img00")
    (pictures / "left.docx").touch()
    (pictures / "img_0.png").write_bytes(b"no picture")
    find = pictures, tiny_onnx.write_detector(tmp_path / "light.onnx")
    more = *SET, "inference.skip_unreadable=true"
    alone = support.infer(*find, one, *more)
    for number in range(PARTS):
        with pytest.raises(DataError, match=r"ended well|no part"):
            run(many)
        part = f"inference.shards={PARTS}", f"inference.shard={number}"
        support.infer(*find, many, *more, *part)
    told = run(many)
    assert (told.images, told.skipped_images, told.shards) == (30, 1, PARTS)
    assert to_json(told)["warnings"] == alone["warnings"]
    one, many = one / "inference", many / "inference"
    names = {str(path.relative_to(one)) for path in one.rglob("*.[tj]*")} - {"status.json"}
    assert {"img/img_10.jpg.txt", "coco.json", "predictions.jsonl"} < names
    for name in names - {".ocdnet_files.jsonl"}:
        assert (many / name).read_bytes() == (one / name).read_bytes(), name
    run(many)  # again
    (many / "coco.json").write_text("mine")
    with pytest.raises(SpecError, match="written over"):
        run(many)
    shutil.rmtree(many / "shards/1")
    shutil.copytree(many / "shards/0", many / "shards/1")
    with pytest.raises(DataError, match="is not part 1") as caught:
        run(many)
    assert caught.value.got == ["inference.shard"]


def test_parts_that_have_seen_other_things_are_told(tmp_path):
    pictures, out = tmp_path / "words/img", tmp_path / "out"
    support.write_blocks(pictures.parent, 5, seed=0)
    model = tiny_onnx.write_detector(tmp_path / "light.onnx")
    shards = out / "inference/shards"

    def find(*numbers):
        for number in numbers:
            part = f"inference.shards={PARTS}", f"inference.shard={number}"
            support.infer(pictures, model, out, *SET[:1], *part)

    find(*range(PARTS))
    with pytest.raises(DataError) as caught:
        run_folders(out)
    assert str(shards) in caught.value.hint
    shutil.copy(pictures / "img_1.png", pictures / "new.png")
    find(1, 2)
    (said,) = run(out).warnings
    assert (said.code, said.files) == ("other-pictures", (str(shards / "0"),))
    lost = next(shards.glob("*/*.txt"))
    lost.unlink()
    with pytest.raises(DataError, match="gone") as caught:
        run(out)
    assert caught.value.got == [str(lost.relative_to(shards.parent))]
    assert f"--array={lost.parent.name} " in caught.value.hint
    model.with_name("light.onnx.json").open("a").write(" ")
    find(int(lost.parent.name))
    with pytest.raises(DataError, match="is not part") as caught:
        run(out)
    assert caught.value.got == ["content of the model"]
    shutil.rmtree(shards / "0")
    with pytest.raises(DataError, match="1 of 3 parts"):
        run(out)


def test_pictures_are_shared_out_always_alike():
    assert [shard_of(name, 1000) for name in ("a.jpg", "a.png.JPG", "b/é.png")] == [343, 343, 116]
