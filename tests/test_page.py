"""What can be made of a page: crops, drawings, JSON."""

from __future__ import annotations

import json
import pickle

import cv2
import numpy as np
import pytest

from ocdnet.crops import crop
from ocdnet.errors import UserError
from ocdnet.page import Held, Page


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def quad(left, top, right, bottom):
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)


def page(image, *polygons, probability=None, source=None, again=False):
    return Page(
        list(polygons),
        np.linspace(0.9, 0.6, len(polygons), dtype=np.float32),
        (image.shape[1], image.shape[0]),
        source,
        None,
        Held(image, "BGR", probability, again=again),
    )


def test_an_upright_crop_is_a_part_of_the_picture():
    image = noise(60, 90)
    (found,) = page(image, quad(10, 20, 50, 35)).crops(margin=0)
    np.testing.assert_array_equal(found, image[20:35, 10:50])
    (wider,) = page(image, quad(10, 20, 50, 35)).crops(margin=0.2)
    np.testing.assert_array_equal(wider, image[17:38, 7:53])


def test_beyond_the_picture_its_border_goes_on():
    image = noise(20, 40)
    (found,) = page(image, quad(0, 0, 40, 20)).crops(margin=0.1)
    assert found.shape == (24, 44, 3)
    np.testing.assert_array_equal(found[2:-2, 2:-2], image)
    np.testing.assert_array_equal(found[0, 2:-2], image[0])


@pytest.mark.parametrize("angle", [-40, 15, 60, 120])
def test_turned_text_is_laid_upright(angle):
    """A picture is drawn, turned and cropped again: the corner order says where it begins."""
    word = np.full((24, 80, 3), 200, np.uint8)
    word[:, :20] = (0, 0, 255)  # begins red
    word[12:] //= 2  # darker below
    turn = cv2.getRotationMatrix2D((40, 12), angle, 1)
    turn[:, 2] += (60, 88)
    image = cv2.warpAffine(word, turn, (200, 200), flags=cv2.INTER_CUBIC)
    corners = cv2.transform(quad(0, 0, 80, 24)[None], turn)[0]
    found = crop(image, corners)
    assert found.shape == word.shape
    inner = np.abs(found[3:-3, 3:-3].astype(int) - word[3:-3, 3:-3])
    assert np.median(inner) <= 2
    assert inner.mean() < 8


def test_lines_that_stand_are_laid_flat_where_asked():
    image = noise(90, 60)
    tall, square = quad(10, 10, 20, 60), quad(30, 10, 50, 39)
    upright = page(image, tall, square).crops(margin=0)
    flat = page(image, tall, square).crops(margin=0, lay_flat=True)
    assert [one.shape[:2] for one in upright] == [(50, 10), (29, 20)]
    np.testing.assert_array_equal(flat[0], np.rot90(upright[0]))
    np.testing.assert_array_equal(flat[1], upright[1])


def test_of_a_polygon_its_smallest_rectangle_is_cropped():
    image = noise(60, 90)
    outline = np.array([(10, 20), (30, 20), (50, 20), (50, 35), (10, 35)], np.float32)
    (found,) = page(image, outline).crops(margin=0)
    np.testing.assert_array_equal(found, image[20:35, 10:50])


def test_a_region_without_area_is_a_pixel():
    assert crop(noise(9, 9), np.full((4, 2), 3, np.float32)).size >= 3


def test_drawing_leaves_the_picture_alone(tmp_path):
    image = noise(200, 300)
    before = image.copy()
    one = page(image, quad(100, 100, 200, 140))
    drawn = one.draw(tmp_path / "drawn.png")
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "drawn.png")), drawn)
    changed = (drawn != image).any(axis=2)
    assert changed[100, 150]
    assert changed[70:100].any()  # the score
    assert not changed[:60].any()
    assert not changed[108:132, 108:192].any()


def test_the_score_is_seen_at_every_border():
    image = np.zeros((100, 200, 3), np.uint8)
    for box in (quad(0, 0, 60, 20), quad(150, 0, 200, 100), quad(140, 80, 200, 100)):
        plain = page(image, box).draw()
        assert (plain > 0).sum() > 400


def test_the_heat_map(tmp_path):
    image = np.full((100, 200, 3), 128, np.uint8)
    probability = np.zeros((50, 100), np.float32)
    probability[20:30, 40:60] = 1
    shown = page(image, probability=probability).heatmap(tmp_path / "heat.jpg")
    assert shown.shape == image.shape
    assert (shown[10, 10] == 128).all()
    assert shown[50, 100, 2] > shown[50, 100, 0] + 60  # yellow
    assert (tmp_path / "heat.jpg").is_file()


def test_what_is_let_go_is_read_again(tmp_path):
    image = noise(40, 60)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    source, probability = str(tmp_path / "a.png"), np.zeros((4, 4), np.float32)
    held = page(image, source=source, probability=probability, again=True)
    gone = held.let_go()
    np.testing.assert_array_equal(gone.image, image)
    with pytest.raises(UserError, match="not held"):
        gone.heatmap()
    nameless = page(image).let_go()
    np.testing.assert_array_equal(nameless.image, image)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(nameless)).image, image)


def test_json():
    one = page(noise(40, 60), quad(1, 2, 30, 10.126), source="a.png")
    document = json.loads(one.to_json())
    assert document == one.to_dict()
    assert (document["image"], document["width"], document["height"]) == ("a.png", 60, 40)
    (region,) = document["regions"]
    assert region == {"polygon": [[1, 2], [30, 2], [30, 10.13], [1, 10.13]], "score": 0.9}
    assert "error" not in document
