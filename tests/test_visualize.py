"""Pictures: the right pixels change, the input does not, and files appear whole or not at all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ocdnet.errors import DataError, EnvironmentFault
from ocdnet.visualize import (
    GREEN,
    GREY,
    RED,
    compare,
    draw_polygons,
    probability_image,
    write_image,
)

BOX = np.float32([[20, 30], [80, 30], [80, 60], [20, 60]])
BLACK = np.zeros((120, 160, 3), np.uint8)


def test_polygons_are_outlined_on_a_copy():
    drawn = draw_polygons(BLACK, [BOX, BOX[:3] + 40], (10, 20, 30))
    assert drawn[30, 50].tolist() == [10, 20, 30]
    assert drawn[45, 50].tolist() == [0, 0, 0]
    assert not BLACK.any()


def test_labels_are_written_beside_their_polygon():
    plain = draw_polygons(BLACK, [BOX], RED)
    labelled = draw_polygons(BLACK, [BOX], RED, labels=["0.91"])
    rows = np.flatnonzero((plain != labelled).any(axis=(1, 2)))
    assert rows.size
    assert rows.max() <= 32


def test_nothing_to_draw_leaves_the_image():
    np.testing.assert_array_equal(draw_polygons(BLACK, [], RED), BLACK)


def test_probability_becomes_grey():
    grey = probability_image(np.float32([[0, 0.5, 1, 1.2, -0.1]]))
    assert grey.dtype == np.uint8
    assert grey.tolist() == [[0, 127, 255, 255, 0]]


def test_compare_colours_ground_truth_ignored_and_predictions():
    drawn = compare(
        BLACK, [BOX + np.float32([60, 40])], [BOX, BOX + np.float32([0, 50])], [False, True]
    )
    assert drawn[30, 50].tolist() == list(GREEN)
    assert drawn[80, 50].tolist() == list(GREY)
    assert drawn[100, 110].tolist() == list(RED)


@pytest.mark.parametrize("name", ["plain.png", "図 ü.png"])
def test_an_image_is_written_whole_and_alone(tmp_path, name):
    image = draw_polygons(BLACK, [BOX], RED)
    write_image(tmp_path / name, BLACK)
    write_image(tmp_path / name, image)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    read = cv2.imdecode(np.fromfile(tmp_path / name, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("name", ["picture.txt", "picture"])
def test_a_suffix_without_an_encoder_is_the_users_to_mend(tmp_path, name):
    with pytest.raises(DataError, match=r"can't be written as an image") as caught:
        write_image(tmp_path / name, BLACK)
    assert caught.value.code == "image-format"


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault) as caught:
        write_image(tmp_path / "file" / "a.png", BLACK)
    assert caught.value.code == "cannot-write"
