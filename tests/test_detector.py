"""The public Detector: what it takes, what it gives, and that it fails in one way only."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

import support
import tiny_onnx
from ocdnet import Detector, UserError
from ocdnet.backends.onnx import providers
from ocdnet.data import sources
from ocdnet.data.reading import pages_of, pixel_limit

BLOCKS = [(30, 20, 150, 50), (40, 100, 230, 140), (180, 20, 300, 60)]
"""Left, top, right and bottom of the text of `picture`, a picture of 320x160."""


def picture() -> np.ndarray:
    image = np.zeros((160, 320, 3), np.uint8)
    for left, top, right, bottom in BLOCKS:
        image[top:bottom, left:right] = 255
    return image


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_onnx.write_detector(tmp_path_factory.mktemp("model") / "light.onnx")


@pytest.fixture(scope="module")
def light(model):
    return Detector(model, size=(320, 160), unclip_ratio=0)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    cv2.imwrite(str(path), picture())
    return path


def boxes(page):
    """Bounding boxes of the polygons, from left to right and top to bottom."""
    corners = [(*p.min(axis=0).tolist(), *p.max(axis=0).tolist()) for p in page.polygons]
    return sorted(corners)


def same(page, other):
    assert boxes(page) == boxes(other)
    np.testing.assert_allclose(np.sort(page.scores), np.sort(other.scores), atol=1e-5)


def test_text_is_found_in_pixels_of_the_picture(light, photo):
    page = light(photo)
    assert (page.size, page.source, page.number) == ((320, 160), str(photo), None)
    np.testing.assert_allclose(boxes(page), sorted(BLOCKS), atol=2.01)
    assert page.scores.dtype == np.float32
    assert (page.scores > 0.9).all()
    assert all(polygon.dtype == np.float32 for polygon in page.polygons)


def test_every_way_to_give_a_picture(light, photo):
    image = cv2.imread(str(photo))
    pillow = Pillow.open(photo)
    transparent = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    given = {
        "text": str(photo),
        "bytes": photo.read_bytes(),
        "bytearray": bytearray(photo.read_bytes()),
        "memory file": io.BytesIO(photo.read_bytes()),
        "array": image,
        "view": np.flip(np.flip(image)),
        "BGRA": transparent,
        "grey": image[..., 0],
        "one channel": image[..., :1],
        "PIL": pillow,
        "PIL RGBA": pillow.convert("RGBA"),
        "PIL grey": pillow.convert("L"),
        "PIL palette": pillow.convert("P"),
        "PIL CMYK": pillow.convert("CMYK"),
        "page": pages_of(photo)[0],
    }
    want = light(photo)
    for page in light(list(given.values())):
        same(page, want)
    with photo.open("rb") as file:
        page = light(file)
    same(page, want)
    assert page.source == str(photo)


def test_colours_keep_their_places(model):
    """The blue channel alone is text for this model's neighbour: mean of three is a third."""
    detector = Detector(model, size=(320, 160), thresh=0.3, box_thresh=0.3, unclip_ratio=0)
    blue = np.zeros((160, 320, 3), np.uint8)
    blue[20:50, 30:150, 0] = 255
    as_pillow = Pillow.fromarray(blue[..., ::-1])
    for page in detector([blue, as_pillow]):
        assert len(page) == 1
        assert page.image[30, 40].tolist() == [255, 0, 0]


def test_pictures_of_pillow_are_turned_upright(light, photo, tmp_path):
    turned = Pillow.open(photo).transpose(Pillow.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it
    turned.save(tmp_path / "turned.png", exif=exif)
    page = light(Pillow.open(tmp_path / "turned.png"))
    assert page.size == (320, 160)
    same(page, light(photo))
    same(page, light(tmp_path / "turned.png"))


@pytest.mark.parametrize(
    "bad",
    [
        None,
        7,
        io.StringIO("text"),
        b"",
        b"no picture",
        io.BytesIO(b"GIF89a"),
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((32, 32), np.uint16),
        "no/such/file.png",
        Path(),
        Pillow.new("F", (40, 40)),
    ],
    ids=lambda bad: type(bad).__name__,
)
def test_what_is_no_picture_is_one_kind_of_error(light, bad):
    with pytest.raises(UserError) as caught:
        light(bad)
    assert caught.value.exit_code == 4
    assert caught.value.code in ("no-picture", "unreadable-image")


def test_lists_and_streams_keep_their_order(light, photo):
    empty = np.zeros((160, 320, 3), np.uint8)
    pictures = [photo, empty, picture(), photo, empty] * 4
    pages = light(pictures)
    assert [len(page) for page in pages] == [3, 0, 3, 3, 0] * 4
    assert [len(page) for page in light.stream(pictures, batch_size=3)] == [3, 0, 3, 3, 0] * 4
    assert light([]) == []


def test_a_stream_holds_few_pictures(light):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros((160, 320, 3), np.uint8)

    stream = light.stream(endless())
    for _ in range(5):
        next(stream)
    assert taken < 60
    stream.close()


def test_pictures_that_cannot_be_read_are_left_out_where_asked(light, photo):
    bad = []
    pages = list(
        light.stream([b"x", photo, "none.png"], on_error=lambda s, e: bad.append((s, e.code)))
    )
    assert [page.source for page in pages] == [str(photo)]
    assert bad == [(b"x", "unreadable-image"), ("none.png", "unreadable-image")]
    with pytest.raises(UserError):
        list(light.stream([photo, b"x"]))


def test_calls_from_several_threads(light, photo):
    want, start = light(photo), threading.Barrier(4)

    def call(_):
        start.wait()
        return [light(photo) for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        for pages in pool.map(call, range(4)):
            for page in pages:
                same(page, want)


def test_it_is_opened_again_in_another_process(model, photo, tmp_path):
    detector = Detector(model, size=(320, 160), unclip_ratio=0)
    (tmp_path / "pickled").write_bytes(pickle.dumps(detector))
    code = f"""
        import pickle
        from pathlib import Path
        page = pickle.loads(Path({str(tmp_path / "pickled")!r}).read_bytes())({str(photo)!r})
        print(page.to_json())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=True, cwd="/"
    )
    assert done.stdout.decode().strip() == detector(photo).to_json()


def test_what_only_bears_the_name_of_a_file_is_not_read_from_it(light, photo):
    """A member of an archive, and a picture that was changed after it was opened."""
    member = io.BytesIO(cv2.imencode(".png", np.zeros((160, 320, 3), np.uint8))[1].tobytes())
    member.name = str(photo)
    changed = Pillow.open(photo).convert("RGB")
    changed.filename = str(photo)
    changed.paste((0, 0, 0), (0, 0, 320, 160))
    for page in light([member, changed]):
        assert page.source == str(photo)
        assert not page.image.any()
    (again,) = light([photo])
    np.testing.assert_array_equal(again.image, cv2.imread(str(photo)))


def test_pictures_above_the_limit_are_refused_however_they_are_given(light, monkeypatch):
    class Endless:
        def read(self, size):
            return bytes(size)

    monkeypatch.setattr(sources, "most_bytes", lambda: 1000)
    large = np.broadcast_to(np.uint8(0), (1001, 1000))
    with pixel_limit(1):
        for given in (large, Pillow.new("L", (1000, 1001)), Endless()):
            with pytest.raises(UserError) as caught:
                light(given)
            assert (caught.value.code, caught.value.exit_code) == ("image-too-large", 4)


def test_a_picture_of_pillow_that_is_cut_short(light, tmp_path):
    path = tmp_path / "cut.jpg"
    Pillow.fromarray(picture()).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError) as caught:
        light(Pillow.open(path))
    assert caught.value.code == "unreadable-image"


def test_engines_of_a_gpu_are_told_from_others_by_what_is_asked_for(tmp_path):
    """Before TensorRT is looked for: an engine of TAO's has no file beside it."""
    engine = tmp_path / "a.engine"
    engine.write_bytes(b"plan")
    with pytest.raises(UserError) as caught:
        Detector(engine, device="cpu")
    assert (caught.value.code, caught.value.exit_code) == ("no-cpu-engine", 2)


def test_the_gpu_of_onnx_runtime_is_the_one_that_was_named():
    class WithCuda:
        @staticmethod
        def get_available_providers():
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    cuda = ("CUDAExecutionProvider", {"device_id": 3})
    assert providers(WithCuda, 3) == [cuda, "CPUExecutionProvider"]
    assert providers(WithCuda, None) == ["CPUExecutionProvider"]


def test_a_closed_one_says_so(model, photo):
    with Detector(model) as detector:
        assert len(detector(photo)) == 3
    with pytest.raises(UserError, match="closed"):
        detector(photo)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"device": "gpu"}, "bad-argument"),
        ({"resize": "squeeze"}, "bad-argument"),
        ({"batch_size": 0}, "bad-argument"),
        ({"num_threads": -1}, "bad-argument"),
        ({"thresh": 1.5}, "bad-argument"),
        ({"box_thresh": float("nan")}, "bad-argument"),
        ({"unclip_ratio": -1}, "bad-argument"),
        ({"max_candidates": 0}, "bad-argument"),
        ({"size": (100, 64)}, "bad-network-size"),
        ({"device": "cuda"}, "no-such-gpu"),
    ],
)
def test_arguments_that_make_no_sense(model, given, code):
    with pytest.raises(UserError) as caught:
        Detector(model, **given)
    assert caught.value.code == code


def test_a_model_that_is_not_there(tmp_path):
    for given in ("", tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError) as caught:
            Detector(given)
        assert caught.value.exit_code == 4
        assert ".onnx" in str(caught.value.expected)


def test_a_checkpoint_knows_its_network_and_size(small_network, request, scenes):
    """What it and its export find is what inference finds with a complete spec."""
    checkpoint, onnx = (request.getfixturevalue(name) for name in ("detector", "detector_onnx"))
    image = sorted((scenes / "test" / "img").iterdir())[0]
    by_torch, by_onnx = Detector(checkpoint), Detector(onnx)
    assert by_torch.size == by_onnx.size == (support.SIDE, support.SIDE)
    assert (by_torch.backend, by_onnx.backend) == ("torch", "onnxruntime")
    assert len(by_torch(image)) > 0
    same(by_torch(image), by_onnx(image))


def test_weights_of_an_unknown_network(tmp_path):
    import torch

    torch.save({"state_dict": {"layer.weight": torch.zeros(3, 3)}}, tmp_path / "odd.pth")
    with pytest.raises(UserError) as caught:
        Detector(tmp_path / "odd.pth")
    assert caught.value.code == "unknown-network"


WITHOUT_TORCH = """
    import sys
    sys.modules["torch"] = None
    import ocdnet
    assert not {"numpy", "onnxruntime", "pydantic"} & set(sys.modules)
    from ocdnet import Detector, UserError
    assert "onnxruntime" not in sys.modules
    print(len(Detector(sys.argv[1])(sys.argv[2])))
    try:
        Detector(sys.argv[3])
    except UserError as error:
        print(error.exit_code, error.hint)
"""


def test_without_torch(model, photo, tmp_path):
    (tmp_path / "model.pth").write_bytes(b"x")
    code = textwrap.dedent(WITHOUT_TORCH)
    done = subprocess.run(
        [sys.executable, "-c", code, model, photo, tmp_path / "model.pth"],
        capture_output=True,
        check=True,
        text=True,
    )
    found, fault = done.stdout.splitlines()
    assert found == "3"
    assert fault.startswith("5 ")
    assert "pip install" in fault


CONSUMER = """
from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from ocdnet import Detector, Page, UserError, __version__

detector = Detector(Path("model.onnx"), size=(640, 640), resize="tile", device="cpu")
page = detector("photo.jpg")
assert_type(page, Page)
assert_type(detector(["a.jpg", "b.jpg"]), list[Page])
assert_type(detector(np.zeros((4, 4), np.uint8)), Page)
assert_type(page.scores, NDArray[np.float32])
assert_type(page.size, tuple[int, int])
assert_type(page.polygons[0], NDArray[np.float32])
for one in detector.stream([b"", Path("x.png")], batch_size=8):
    assert_type(one.to_json(), str)
with open("photo.jpg", "rb") as file:
    detector(file)
assert_type(__version__, str)
try:
    detector(b"")
except UserError as error:
    assert_type(error.code, str)
"""


def test_a_consumer_passes_mypy(tmp_path):
    (tmp_path / "consumer.py").write_text(CONSUMER)
    # As where [deploy] alone is installed: torch's own stubs take a minute.
    torch = "[mypy-torch.*,torchvision.*]\nfollow_imports = skip\nignore_missing_imports = true\n"
    (tmp_path / "mypy.ini").write_text(f"[mypy]\n{torch}")
    cache = Path(__file__).parents[1] / ".mypy_cache" / "consumer"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, "consumer.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
