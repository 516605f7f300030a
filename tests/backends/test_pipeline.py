"""The pipeline: reading and finishing beside the network, bounded, in order, whatever fails."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocdnet.backends.base import DevicePredictor
from ocdnet.backends.pipeline import predict
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError

PREPROCESS = Preprocess((64, 32))
SECONDS = 20.0


class Network:
    """Tells each image's brightness: the probability map is the mean of its input."""

    img_mode, size, path = None, None, Path("network.onnx")
    device_type, advised = "cpu", None

    def __init__(self):
        self.batches = []

    def __call__(self, images):
        self.batches.append(len(images))
        mean = 0.5 + images.mean(axis=(1, 2, 3)) / 4  # a probability
        return np.broadcast_to(mean[:, None, None], (len(images), 32, 64))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number in range(12):
        grey = np.full((20, 30, 3), 20 * number, np.uint8)
        cv2.imwrite(str(folder / f"{number:02}.png"), grey)
    return sorted(folder.iterdir())


def path_of(path):
    return path


def brightness(_, prediction):
    return float(prediction.probability[0, 0])


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_every_image_once_in_order(images, batch_size):
    network = Network()
    found = list(predict(network, PREPROCESS, images, path_of, brightness, batch_size=batch_size))
    assert [path for path, _ in found] == images
    assert [value for _, value in found] == sorted(value for _, value in found)
    assert len({round(value, 4) for _, value in found}) == 12
    assert sum(network.batches) == 12
    assert max(network.batches) == min(batch_size, 12)


def test_finishing_happens_while_the_network_runs(images):
    """The second batch is in the network while the first one's image is being finished."""
    second, finished = threading.Event(), threading.Event()

    class Waiting(Network):
        def __call__(self, batch):
            if self.batches:
                second.set()
                assert finished.wait(SECONDS)
            return super().__call__(batch)

    def finish(*_):
        assert second.wait(SECONDS)
        finished.set()

    assert len(list(predict(Waiting(), PREPROCESS, images[:2], path_of, finish))) == 2


def test_images_are_read_while_the_network_runs(images):
    read = threading.Event()

    class Waiting(Network):
        def __call__(self, batch):
            assert read.wait(SECONDS)
            return super().__call__(batch)

    def reading(path):
        if path == images[1]:
            read.set()
        return path

    assert len(list(predict(Waiting(), PREPROCESS, images[:2], reading, brightness))) == 2


def test_little_is_held_at_a_time(images):
    """Ten thousand images would not be in memory at once: reading waits for who takes results."""
    taken = []

    def count(path):
        taken.append(path)
        return path

    results = predict(Network(), PREPROCESS, images, count, brightness, batch_size=1)
    next(results)
    assert len(set(taken)) <= 6
    assert len(list(results)) == 11


@pytest.fixture
def with_bad(images, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    return [*images[:3], bad, *images[3:5], bad]


def test_an_unreadable_image_ends_the_work(with_bad):
    with pytest.raises(DataError, match=r"bad\.png"):
        list(predict(Network(), PREPROCESS, with_bad, path_of, brightness, batch_size=2))


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_unreadable_images_are_left_out_when_told(images, with_bad, batch_size):
    told = []
    found = predict(
        Network(),
        PREPROCESS,
        with_bad,
        path_of,
        brightness,
        batch_size=batch_size,
        skipped=lambda path, error: told.append((path.name, error.code)),
    )
    assert [path for path, _ in found] == images[:5]
    assert told == [("bad.png", "unreadable-image")] * 2


def test_an_error_of_finishing_is_raised(images):
    def finish(path, _):
        if path == images[4]:
            raise DataError("disk", "no room", got=str(path))

    with pytest.raises(DataError, match="no room"):
        list(predict(Network(), PREPROCESS, images, path_of, finish))


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_a_device_has_the_next_batch_before_the_last_ones_maps_are_asked_for(images, batch_size):
    events = []

    class Device(Network):
        backend, normalisation, batch = "device", None, None

        def upload(self, pictures, normalisation):
            return np.stack(pictures), normalisation

        def start(self, uploaded):
            pictures, normalisation = uploaded
            mean, divisor = normalisation.columns()
            events.append("start")

            def wait():
                events.append("wait")
                return self((pictures.transpose(0, 3, 1, 2) - mean) / divisor)

            return wait

    device = Device()
    assert isinstance(device, DevicePredictor)
    options = {"batch_size": batch_size}
    found = list(predict(device, PREPROCESS, images, path_of, brightness, **options))
    expected = list(predict(Network(), PREPROCESS, images, path_of, brightness, **options))
    assert [path for path, _ in found] == images
    assert dict(found) == pytest.approx(dict(expected), rel=1e-5)
    batches = len(device.batches)
    assert events == ["start", *["start", "wait"] * (batches - 1), "wait"]
