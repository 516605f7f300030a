"""A data path of tar files: the same samples in the same order as from a folder."""

from __future__ import annotations

import tarfile

import cv2
import numpy as np
import pytest

from ocdnet.data.annotations import index_dataset
from ocdnet.data.datalist import datalist_of
from ocdnet.data.listing import list_pairs
from ocdnet.data.reading import read_image
from ocdnet.errors import DataError
from ocdnet.files import read_regular

LONG = "a" * 120  # of more than a header holds


def packed(words, tar, numbers, *, labels=True, form=tarfile.PAX_FORMAT):
    tar.parent.mkdir(exist_ok=True)
    with tarfile.open(tar, "w", format=form) as bundle:
        for number in numbers:
            key = f"part/{LONG}{number:03}"
            if labels:
                bundle.add(words / f"gt/gt_img_{number}.txt", f"{key}.txt")
            bundle.add(words / f"img/img_{number}.png", f"{key}.png")
            bundle.add(words / f"gt/gt_img_{number}.txt", f"{key}.json")


@pytest.fixture
def words(tmp_path):
    for name in ("img", "gt"):
        (tmp_path / "words" / name).mkdir(parents=True)
    for number in range(1, 5):
        pixels = np.random.default_rng(number).integers(0, 255, (50, 70, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"words/img/img_{number}.png"), pixels)
        lines = [f"{x},2,{x + 9},2,{x + 9},{8 + number},{x},9,word\n" for x in (4, 30)]
        label = "".join(lines[: 4 - number])  # the last one has no text
        (tmp_path / f"words/gt/gt_img_{number}.txt").write_text(label)
    return tmp_path / "words"


def test_samples_are_those_of_a_folder_in_the_same_order(words, tmp_path):
    packed(words, tmp_path / "tars/set_2.tar", [1, 2], form=tarfile.GNU_FORMAT)
    packed(words, tmp_path / "tars/set_10.tar", [3, 4])
    folder, tars = index_dataset([words], ["###"]), index_dataset([tmp_path / "tars"], ["###"])
    assert len(folder) == len(tars) == 4
    for one, other in zip(folder, tars, strict=True):
        assert len(one.polygons) == len(other.polygons)
        for left, right in zip(one.polygons, other.polygons, strict=True):
            np.testing.assert_array_equal(left, right)
        np.testing.assert_array_equal(read_image(one.image), read_image(other.image))
    # A list can name them, too.
    pairs = list_pairs(tmp_path / "tars", "key")
    (tmp_path / "list.txt").write_text(datalist_of([pairs[2], pairs[0]], tmp_path))
    listed = index_dataset([tmp_path / "list.txt"], ["###"])
    assert [one.image for one in listed] == [tars[2].image, tars[0].image]


def test_what_is_wrong_is_told(words, tmp_path):
    tar = tmp_path / "tars/a.tar"
    packed(words, tar, [1, 2, 1])
    with pytest.raises(DataError, match="Two images of one key"):
        list_pairs(tmp_path / "tars", "key")
    packed(words, tar, [1, 2], labels=False)
    with pytest.raises(DataError, match=r"no label file \(2 of 2"):
        list_pairs(tmp_path / "tars", "key")
    packed(words, tar, [1, 2])
    image, _ = next(iter(list_pairs(tmp_path / "tars", "key")))
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(DataError, match="damaged or cut short"):
        list_pairs(tmp_path / "tars", "key")
    with pytest.raises(OSError, match="shorter"):
        read_regular(image.replace("+", "+9"), 1 << 30)
