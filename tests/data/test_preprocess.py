"""Reading, resizing and normalising images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.arrays import golden_set
from ocdnet.data.preprocess import MEAN, Normalisation, Preprocess, resize2d
from ocdnet.data.reading import IMG_MODES, read_image
from ocdnet.errors import DataError, SpecError

GOLDEN = golden_set("resize")  # the reference's Resize2D


def golden_case(k):
    short_size = GOLDEN[f"c{k}_short_size"]
    size = int(short_size) if short_size.ndim == 0 else tuple(map(int, short_size))
    return size, bool(GOLDEN[f"c{k}_resize_text_polys"])


@pytest.mark.parametrize("k", range(int(GOLDEN["n"])))
def test_resize2d_places_polygons_as_the_reference(k):
    size, move = golden_case(k)
    image = np.zeros((*GOLDEN[f"c{k}_in_hw"], 3), np.uint8)
    out, factors = resize2d(image, size)
    assert out.shape[:2] == tuple(GOLDEN[f"c{k}_out_hw"])
    if move:  # else the reference leaves the polygons where they are
        moved = GOLDEN[f"c{k}_polys"] * np.float32(factors)
        np.testing.assert_array_equal(moved, GOLDEN[f"c{k}_polys_out"])


def test_resize2d_draws_pixels_as_the_reference():
    image = GOLDEN["c16_img"].astype(np.float32)
    out, _ = resize2d(image, golden_case(16)[0])
    np.testing.assert_array_equal(out, GOLDEN["c16_img_out"])


def test_read_image_modes_and_odd_names(tmp_path):
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[:, :3] = (200, 100, 50)
    path = tmp_path / "\u5716 \u00fc.png"
    path.write_bytes(cv2.imencode(".png", colours)[1].tobytes())
    np.testing.assert_array_equal(read_image(path), colours)
    np.testing.assert_array_equal(read_image(str(path), "RGB"), colours[..., ::-1])
    grey = read_image(path, "GRAY")
    assert grey.shape == (4, 6, 3)
    # ITU-R BT.601 luma of the colour above.
    assert abs(int(grey[0, 0, 0]) - round(0.114 * 200 + 0.587 * 100 + 0.299 * 50)) <= 1
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize("mode", IMG_MODES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(tmp_path, orientation, mode):
    """As a viewer shows them: Pillow's reading of the tag is the oracle."""
    pillow, turn = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageOps")
    picture = np.zeros((48, 80, 3), np.uint8)
    picture[:24, :20] = (250, 120, 20)  # one corner, in red, green and blue
    path = tmp_path / "a.jpg"
    exif = pillow.Exif()
    exif[0x0112] = orientation
    pillow.fromarray(picture).save(path, quality=95, subsampling=0, exif=exif)
    upright = turn.exif_transpose(pillow.open(path))
    want = np.asarray(upright.convert("L" if mode == "GRAY" else "RGB"), np.int16)
    want = want[..., None] if mode == "GRAY" else want[..., :: -1 if mode == "BGR" else 1]
    got = read_image(path, mode)
    assert got.shape == (*want.shape[:2], 3)
    assert np.abs(got - want).max() <= 6


@pytest.mark.parametrize("content", [None, b"", b"not an image", "half"])
def test_an_unreadable_image_is_named(tmp_path, content):
    path = tmp_path / "a.jpg"
    if content == "half":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        whole = cv2.imencode(".jpg", noise)[1].tobytes()
        content = whole[: len(whole) // 2]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert caught.value.code == "unreadable-image"
    assert str(path) in caught.value.message


def test_a_tensor_is_channels_first_without_the_mean_and_padded_with_black():
    rng = np.random.default_rng(0)
    big, small = (rng.integers(0, 256, s, np.uint8) for s in ((64, 96, 3), (32, 64, 3)))
    batch = Preprocess((96, 64)).to_tensor([big, small])
    padded = np.zeros_like(big)
    padded[:32, :64] = small
    want = (np.stack([big, padded]).astype(np.float64) - MEAN) / 255
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, want.transpose(0, 3, 1, 2), atol=1e-7)


@settings(max_examples=50, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.one_of(st.integers(1, 200), st.tuples(st.integers(1, 8), st.integers(1, 8)).map(tuple)),
)
def test_prepared_images_suit_the_network_and_map_back(width, height, size):
    if isinstance(size, tuple):
        size = (size[0] * 32, size[1] * 32)
    elif max(width, height) / min(width, height) > 20:
        return  # would be enlarged to gigabytes
    image = np.full((height, width, 3), 255, np.uint8)
    prepared = Preprocess(size).prepare(image)
    h, w = prepared.image.shape[:2]
    assert h % 32 == 0
    assert w % 32 == 0
    assert prepared.frame.size == (w, h)
    assert prepared.frame.image_size == (width, height)
    # The image's far corner lands on the border of what is drawn: all white, black beyond.
    x, y = width / prepared.frame.scale[0], height / prepared.frame.scale[1]
    columns = prepared.image[0, :, 0]
    rows = prepared.image[:, 0, 0]
    assert abs(int((columns > 0).sum()) - x) <= 0.5
    assert abs(int((rows > 0).sum()) - y) <= 0.5
    if isinstance(size, tuple):
        assert (w, h) == size


def test_a_scalar_size_only_enlarges_and_pads():
    preprocess = Preprocess(64)
    small = preprocess.prepare(np.zeros((32, 50, 3), np.uint8))
    assert small.image.shape == (64, 128, 3)
    assert small.frame.scale == (0.5, 0.5)
    large = preprocess.prepare(np.zeros((100, 70, 3), np.uint8))
    assert large.image.shape == (128, 96, 3)
    assert large.frame.scale == (1.0, 1.0)


def test_a_network_of_another_trainer_has_its_own_numbers():
    """ImageNet's mean and standard deviation, as PyTorch's documentation gives them."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    scaled = [tuple(255 * number for number in numbers) for numbers in (mean, std)]
    preprocess = Preprocess((32, 32), "RGB", Normalisation(*scaled))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    want = (image / 255 - np.array(mean)) / np.array(std)
    got = preprocess.to_tensor([image])[0].transpose(1, 2, 0)
    np.testing.assert_allclose(got, want, atol=1e-5)


PLAIN = Preprocess((1280, 736))
GREY = Preprocess(736, "GRAY")
OTHER = Preprocess((64, 32), "RGB", Normalisation((123.675, 116.28, 103.53), (58.4, 57.1, 57.4)))


def test_the_metadata_of_taos_normalisation():
    assert PLAIN.to_metadata() == {
        "ocdnet.preprocess.img_mode": "BGR",
        "ocdnet.preprocess.size": "1280,736",
        "ocdnet.preprocess.mean": "122.67891434,116.66876762,104.00698793",
        "ocdnet.preprocess.divisor": "255",
    }


@pytest.mark.parametrize("preprocess", [PLAIN, GREY, OTHER])
def test_metadata_round_trip(preprocess):
    metadata = preprocess.to_metadata()
    assert all(isinstance(v, str) for pair in metadata.items() for v in pair)
    assert Preprocess.from_metadata({"author": "me", **metadata}) == preprocess


@pytest.mark.parametrize(
    "change",
    [
        {"ocdnet.preprocess.mean": "0,0"},
        {"ocdnet.preprocess.mean": "0,0,inf"},
        {"ocdnet.preprocess.divisor": "0"},
        {"ocdnet.preprocess.divisor": None},
        {"ocdnet.preprocess.size": "wide"},
        {"ocdnet.preprocess.size": "32,32,32"},
        {"ocdnet.preprocess.size": "33,32"},
        {"ocdnet.preprocess.img_mode": "HSV"},
        {"ocdnet.preprocess.img_mode": None},
    ],
)
def test_foreign_metadata_is_refused(change):
    metadata = {**Preprocess((64, 32)).to_metadata(), **change}
    with pytest.raises(DataError, match="does not say how its input is prepared"):
        Preprocess.from_metadata({k: v for k, v in metadata.items() if v is not None})


@pytest.mark.parametrize("size", [(1280, 720), (0, 32), 0, (-32, 32)])
def test_a_size_the_network_cannot_take_is_refused(size):
    with pytest.raises(SpecError, match="width and height"):
        Preprocess(size)


def test_an_unknown_mode_is_refused():
    with pytest.raises(SpecError, match=r"BGR \| RGB \| GRAY"):
        Preprocess(32, "HSV")
