"""A data path of tar files: the same samples in the same order as from a folder."""

from __future__ import annotations

import tarfile

import cv2
import numpy as np
import pytest

from ocdnet import findings
from ocdnet.data.annotations import index_dataset
from ocdnet.data.listing import list_pairs
from ocdnet.data.reading import read_image
from ocdnet.errors import DataError
from ocdnet.files import read_regular


def packed(words, tar, numbers, label=".txt"):
    tar.parent.mkdir(exist_ok=True)
    with tarfile.open(tar, "w") as bundle:
        for number in numbers:
            key = f"part/{'a' * 120}{number}"  # more than a header holds
            bundle.add(words / f"gt/gt_img_{number}.txt", key + label)
            bundle.add(words / f"img/img_{number}.png", f"{key}.png")


@pytest.fixture
def words(tmp_path):
    for number in range(1, 5):
        picture = np.random.default_rng(number).integers(0, 255, (50, 70, 3), np.uint8)
        # The last one has no text.
        label = f"2,2,9,2,9,{8 + number},2,9,word\n" * (4 - number)
        for name in (f"img/img_{number}.png", f"gt/gt_img_{number}.txt"):
            path = tmp_path / "words" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", picture)[1] if "img/" in name else label.encode())
    return tmp_path / "words"


def test_samples_are_those_of_a_folder_in_the_same_order(words, tmp_path):
    packed(words, tmp_path / "tars/set_2.tar", [1, 2])
    packed(words, tmp_path / "tars/set_10.tar", [3, 4])
    folder, tars = index_dataset([words], ["###"]), index_dataset([tmp_path / "tars"], ["###"])
    assert len(folder) == len(tars) == 4
    for one, other in zip(folder, tars, strict=True):
        np.testing.assert_array_equal(one.polygons, other.polygons)
        np.testing.assert_array_equal(read_image(one.image), read_image(other.image))


def test_what_is_wrong_is_told(words, tmp_path):
    tar = tmp_path / "tars/a.tar"
    packed(words, tar, [1, 2, 1])
    with pytest.raises(DataError, match="two labels of one key"):
        list_pairs(tmp_path / "tars", "key")
    packed(words, tar, [1, 2], ".json")
    with pytest.raises(DataError, match=r"no label file \(2 of 2"):
        list_pairs(tmp_path / "tars", "key")
    packed(words, tar, [1, 2])
    image = list_pairs(tmp_path / "tars", "key")[0][0]
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(DataError, match="damaged or cut short"):
        list_pairs(tmp_path / "tars", "key")
    with pytest.raises(OSError, match="shorter"):
        read_regular(image.replace("+", "+9"), 1 << 30)


def test_other_fields_of_a_key_and_other_files_are_not_taken_for_its_own(words, tmp_path):
    folder, label = tmp_path / "tars", words / "gt/gt_img_1.txt"
    folder.mkdir()
    for name in ("b.tar.gz", "._a.tar", "x.jpg"):
        (folder / name).touch()
    members = ["k.png", "k.txt", "k.note.txt", "k.mask.png", "o.v1.png", "o.v1.txt"]
    for again in ([], ["k.txt"]):
        with tarfile.open(folder / "a.tar", "w") as bundle:
            for name in members + again:
                bundle.add(label if name[-1] == "t" else words / "img/img_1.png", name)
        if again:
            with pytest.raises(DataError, match="two labels of one key"):
                list_pairs(folder, "key")
            continue
        with findings.collecting() as seen:
            listed = list_pairs(folder, "k")
        pairs = [[path.rpartition("/")[2] for path in pair] for pair in listed]
        assert pairs == [["k.png", "k.txt"], ["o.v1.png", "o.v1.txt"]]
        assert [(row.code, row.count) for row in seen.rows()] == [("beside-tars", 2)]
    for spoiled in (b"another name of it", b"k.png\0" + b"0" * 130):
        with (folder / "a.tar").open("r+b") as file:
            file.seek(int(listed[0][0].split("/")[-2].partition("+")[0]) - 512)
            file.write(spoiled)
        with pytest.raises(OSError, match="another one"):
            read_regular(listed[0][0], 1 << 30)
