"""Predictors: the same numbers from a checkpoint and its ONNX, clear errors from other files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import support
from ocdnet.backends import open as backends
from ocdnet.backends.pipeline import predict
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError

pytestmark = pytest.mark.usefixtures("small_network")

PREPROCESS = Preprocess((support.SIDE, support.SIDE), "BGR")


def opened(path):
    return backends.open_predictor(path, ModelConfig())


def images_of(folder):
    return sorted((folder / "img").iterdir())


def predicted(path, images, batch_size):
    return dict(maps(opened(path), PREPROCESS, images, batch_size))


def maps(predictor, preprocess, images, batch_size):
    """Name and probability map of each image."""
    return predict(
        predictor,
        preprocess,
        [path.name for path in images],
        {path.name: path for path in images}.__getitem__,
        lambda _, prediction: prediction.probability,
        batch_size=batch_size,
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_computes_what_torch_does(scenes, detector, detector_onnx, batch):
    images = images_of(scenes / "test")[:batch]
    left, right = (predicted(path, images, batch) for path in (detector, detector_onnx))
    for name, probability in left.items():
        assert probability.shape == (support.SIDE, support.SIDE)
        assert probability.max() > 0.9  # it found the blocks: the maps are not both empty
        np.testing.assert_allclose(right[name], probability, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_every_image_once_in_order(scenes, detector_onnx, batch_size):
    images = images_of(scenes / "train")
    found = predicted(detector_onnx, images, batch_size)
    assert list(found) == [image.name for image in images]
    alone = predicted(detector_onnx, images[-1:], 1)
    np.testing.assert_allclose(found[images[-1].name], alone[images[-1].name], atol=1e-5)


def test_images_of_several_sizes_in_a_batch(scenes, detector, tmp_path):
    """A scalar size keeps each image's own: what the padding of the batch adds is cut off."""
    import cv2

    image = cv2.imread(str(images_of(scenes / "test")[0]))
    cv2.imwrite(str(tmp_path / "a.png"), image[:96])
    cv2.imwrite(str(tmp_path / "b.png"), image[:, :130])
    preprocess = Preprocess(1, "BGR")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    rows = maps(opened(detector), preprocess, paths, 2)
    assert [row.shape for _, row in rows] == [(96, 160), (160, 160)]


def test_what_the_artifacts_say_of_themselves(detector, detector_onnx):
    assert (opened(detector).img_mode, opened(detector).size) == ("BGR", None)
    assert (opened(detector_onnx).img_mode, opened(detector_onnx).size) == ("BGR", (160, 160))


def test_an_unreadable_image_is_named(scenes, detector_onnx, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        predicted(detector_onnx, [*images_of(scenes / "test"), bad], 2)


def test_other_suffixes(tmp_path):
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "model.txt")
    assert caught.value.got == ".txt"
    assert caught.value.expected == ".pth or .onnx"


def test_damaged_and_missing_files(tmp_path):
    for name in ("model.onnx", "model.pth"):
        with pytest.raises(DataError, match="There is no"):
            opened(tmp_path / name)
        (tmp_path / name).write_bytes(b"damaged")
        with pytest.raises(DataError) as caught:
            opened(tmp_path / name)
        assert name in caught.value.message


def test_a_truncated_onnx(detector_onnx, tmp_path):
    (tmp_path / "half.onnx").write_bytes(detector_onnx.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"half\.onnx"):
        opened(tmp_path / "half.onnx")


def test_an_onnx_of_another_exporter(detector_onnx, tmp_path):
    import onnx

    model = onnx.load(detector_onnx)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "plain.onnx")
    with pytest.raises(DataError, match="does not say how its input is prepared") as caught:
        opened(tmp_path / "plain.onnx")
    assert "ocdnet export" in caught.value.hint


def test_weights_that_leave_a_hole(detector, tmp_path):
    checkpoint = support.load(detector)
    del checkpoint["state_dict"]["model.head.binarize.6.weight"]
    torch.save(checkpoint, tmp_path / "hole.pth")
    with pytest.raises(DataError, match="do not fit the network") as caught:
        opened(tmp_path / "hole.pth")
    assert "head.binarize.6.weight" in caught.value.got


def test_a_checkpoint_of_another_backbone_than_the_specs_is_opened_as_its_own(
    detector, tmp_path, caplog
):
    checkpoint = support.load(detector)
    checkpoint["ocdnet_spec"]["model"]["backbone"] = "deformable_resnet50"
    torch.save(checkpoint, tmp_path / "other.pth")
    assert opened(tmp_path / "other.pth").backbone == "deformable_resnet50"
    assert "model.backbone is deformable_resnet50, as the checkpoint has it" in caplog.text
    assert "other.pth" in caplog.text
