"""Pictures: the right pixels change, the input does not, and files appear whole or not at all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ocdnet.errors import DataError, EnvironmentFault
from ocdnet.visualize import (
    DASHED,
    RED,
    ROLE_COLORS,
    draw_polygons,
    draw_roles,
    encoded,
    fitted,
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


def test_nothing_to_draw_leaves_the_image():
    np.testing.assert_array_equal(draw_polygons(BLACK, [], RED), BLACK)


def test_probability_becomes_grey():
    grey = probability_image(np.float32([[0, 0.5, 1, 1.2, -0.1]]))
    assert grey.dtype == np.uint8
    assert grey.tolist() == [[0, 127, 255, 255, 0]]


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


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_roles_differ_by_colour_and_line_on_any_ground(ground):
    image = np.full((120, 160, 3), ground, np.uint8)
    for role, color in ROLE_COLORS.items():
        drawn = draw_roles(image, {role: [BOX]})
        colored = (drawn[30, 35:75] == color).all(axis=1)
        assert 0.3 < colored.mean() < 0.9 if role in DASHED else colored.all()
        assert (drawn[26:35, 50] < 50).all(axis=1).any()  # the casing
    bold, thin = (draw_roles(image, {role: [BOX]}) != ground for role in ("missed", "found"))
    assert bold.sum() > thin.sum()


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [((100, 200), 50, (25, 50)), ((200, 100), 50, (50, 25)), ((10, 20), 50, (10, 20))],
)
def test_an_image_is_reduced_and_never_enlarged(size, longest, expected):
    reduced, factor = fitted(np.zeros((*size, 3), np.uint8), longest)
    assert reduced.shape[:2] == expected
    assert factor == pytest.approx(expected[0] / size[0])


def test_a_sliver_keeps_a_pixel():
    assert fitted(np.zeros((2, 2000, 3), np.uint8), 100)[0].shape == (1, 100, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_an_image_is_encoded_as_asked(suffix):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    coarse, fine = (encoded(noise, suffix, quality) for quality in (20, 90))
    assert len(coarse) < len(fine)
    read = cv2.imdecode(np.frombuffer(fine, np.uint8), cv2.IMREAD_COLOR)
    assert read.shape == noise.shape
