"""Pictures as people have them: read as a viewer shows them, or refused or counted by name."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib

import cv2
import numpy as np
import pytest

from ocdnet import findings
from ocdnet.data import optional_formats
from ocdnet.data.picture_header import header_of
from ocdnet.data.reading import FilePage, pages_of, pixel_limit, read_image
from ocdnet.errors import DataError

Image = pytest.importorskip("PIL.Image")
DARK, LIGHT = (150, 60, 20), (240, 250, 230)  # red, green, blue
LETTERED = ("PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "GIF")


def drawn(colour, mode="RGBA"):
    """24 x 16; the left half nothing (but coloured), of the right the lower half half seen."""
    pixels = np.zeros((16, 24, 4), np.uint8)
    pixels[..., :3] = colour
    pixels[:, 12:, 3] = 255
    pixels[8:, 12:, 3] = 128
    return Image.fromarray(pixels, "RGBA").convert(mode)


def encoded(picture, kind, **options):
    out = io.BytesIO()
    if kind in ("WEBP", "AVIF"):
        options = {"lossless": True} | options if kind == "WEBP" else {"quality": 100} | options
    picture.save(out, kind, **options)
    return out.getvalue()


def read(path, *args):
    with findings.collecting() as seen:
        image = read_image(path, *args)
    return image, {row.code: row for row in seen.rows()}


def on(picture, background):
    """Pillow's own blending, in OpenCV's order: the oracle."""
    picture = picture.convert("RGBA")
    behind = Image.new("RGBA", picture.size, (background,) * 3 + (255,))
    return np.asarray(Image.alpha_composite(behind, picture).convert("RGB"), np.int16)[..., ::-1]


@pytest.mark.parametrize("kind", LETTERED)
@pytest.mark.parametrize(("colour", "background"), [(DARK, 255), (LIGHT, 0)])
def test_transparency_is_laid_on_what_it_stands_out_from(tmp_path, kind, colour, background):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(drawn(colour), kind))
    image, seen = read(path)
    with Image.open(path) as again:
        want = on(again, background)
    assert np.abs(image - want).max() <= 3
    assert image[0, 0].tolist() == [background] * 3
    assert (seen["transparency"].count, seen["transparency"].files) == (1, [str(path)])


def deep(pixels):
    return cv2.imencode(".png", pixels[..., [2, 1, 0, 3]].astype(np.uint16) * 257)[1].tobytes()


@pytest.mark.parametrize(
    "content",
    [
        lambda: encoded(drawn(DARK, "LA"), "PNG"),
        lambda: encoded(drawn(DARK).convert("RGB"), "PNG", transparency=DARK),
        lambda: encoded(drawn(DARK, "RGB").convert("L"), "PNG", transparency=82),
        lambda: encoded(drawn(DARK, "RGB").quantize(2), "PNG", transparency=0),
        lambda: encoded(drawn(DARK, "RGB").quantize(2), "GIF", transparency=0),
        lambda: deep(np.asarray(drawn(DARK))),
    ],
    ids=["grey", "a colour", "a grey", "palette", "gif", "16 bits"],
)
@pytest.mark.parametrize("mode", ["BGR", "GRAY"])
def test_every_way_to_say_transparent(tmp_path, content, mode):
    path = tmp_path / "a.png"
    path.write_bytes(content())
    image, seen = read(path, mode)
    assert image.shape == (16, 24, 3)
    assert image[0, 0].tolist() == [255] * 3  # else the colour that nobody sees
    assert list(seen) == ["transparency"]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_transparent_pictures_are_turned_upright(tmp_path, kind, orientation):
    turn = pytest.importorskip("PIL.ImageOps").exif_transpose
    path, picture = tmp_path / "a", drawn(DARK)
    picture.paste((20, 20, 160, 255), (14, 1, 20, 4))  # no symmetry is left
    exif = Image.Exif()
    exif[0x0112] = orientation
    given = {"tiffinfo": exif} if kind == "TIFF" else {"exif": exif}
    path.write_bytes(encoded(picture, kind, **given))
    with Image.open(io.BytesIO(encoded(picture, "PNG", exif=exif))) as again:
        want = on(turn(again), 255)
    image, _ = read(path)
    assert image.shape == want.shape
    assert np.abs(image - want).max() <= 2


@pytest.mark.parametrize("turns", range(4))
def test_avif_is_turned_upright(tmp_path, turns):
    path = tmp_path / "a.avif"
    picture = drawn(DARK, "RGB")
    picture.paste((20, 20, 160), (2, 1, 20, 6))
    exif = Image.Exif()
    exif[0x0112] = (1, 8, 3, 6)[turns]
    path.write_bytes(encoded(picture, "AVIF", exif=exif, subsampling="4:4:4"))
    want = np.asarray(picture.rotate(90 * turns, expand=True), np.int16)[..., ::-1]
    image, _ = read(path)
    assert image.shape == want.shape
    assert np.abs(image - want).mean() < 6


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp", ".jpg"])
@pytest.mark.parametrize("mode", ["BGR", "GRAY"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_opaque_pictures_are_what_opencv_reads(tmp_path, suffix, mode, channels):
    noise = np.random.default_rng(0).integers(0, 256, (33, 21, channels), np.uint8)
    if channels == 4:
        noise[..., 3] = 255
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), noise)
    image, seen = read(path, mode)
    flag = cv2.IMREAD_GRAYSCALE if mode == "GRAY" else cv2.IMREAD_COLOR
    want = cv2.imread(str(path), flag)
    np.testing.assert_array_equal(image, want if mode == "BGR" else want[..., None].repeat(3, 2))
    assert seen == {}


def test_what_cannot_be_blended_is_said(tmp_path):
    """OpenCV leaves out the alpha channel of a grey TIFF."""
    path = tmp_path / "a.tif"
    path.write_bytes(encoded(drawn(DARK, "LA"), "TIFF"))
    _, seen = read(path)
    assert seen["transparency-unread"].files == [str(path)]


def solid(*values):
    return [Image.new("RGB", (40, 30), (value, value, value)) for value in values]


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_the_pages_of_a_tiff(tmp_path, compression):
    path = tmp_path / "a.tif"
    first, *more = solid(0, 100, 200)
    options = {"compression": compression} if compression else {}
    path.write_bytes(encoded(first, "TIFF", save_all=True, append_images=more, **options))
    pages = pages_of(path)
    assert [page.number for page in pages] == [0, 1, 2]
    with findings.collecting() as seen:
        values = [int(read_image(page)[5, 5, 0]) for page in pages]
    assert (values, seen.rows()) == ([0, 100, 200], [])
    _, alone = read(path)
    assert (alone["pages"].count, alone["pages"].files) == (2, [str(path)])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "AVIF"])
def test_frames_behind_the_first_are_counted(tmp_path, kind):
    path = tmp_path / "a"
    first, *more = solid(0, 120, 240)
    path.write_bytes(encoded(first, kind, save_all=True, append_images=more, duration=50))
    image, seen = read(path)
    assert image[5, 5, 0] < 10
    assert seen["pages"].count == 2
    assert [page.number for page in pages_of(path)] == [None]


def test_the_same_picture_read_again_is_counted_once(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(drawn(DARK), "PNG"))
    with findings.collecting() as seen:
        for _ in range(3):
            read_image(path)
    assert [row.count for row in seen.rows()] == [1]


def huge_png(width, height):
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


SMALL = np.zeros((20, 30, 3), np.uint8)


def changed(suffix, place, value, order):
    data = bytearray(cv2.imencode(suffix, SMALL)[1].tobytes())
    data[place : place + len(value) * 4] = struct.pack(f"{order}{len(value)}I", *value)
    return bytes(data)


@pytest.mark.parametrize(
    "content",
    [
        huge_png(30_000, 30_000),
        changed(".bmp", 18, (30_000, 30_000), "<"),
        b"P6\n# a\n30000 30000\n255\n" + bytes(100),
        b"GIF89a" + struct.pack("<HHBBB", 30_000, 30_000, 0, 0, 0) + b";",
        b"RIFF\x1e\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0" + (29_999).to_bytes(3, "little") * 2 + bytes(8),
        b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x11\x08" + struct.pack(">HH", 30_000, 30_000),
        b"\xff\x4f\xff\x51\0\x2f\0\0" + struct.pack(">8I", 30_000, 30_000, *[0] * 6) + bytes(40),
    ],
    ids=["png", "bmp", "pnm", "gif", "webp", "jpeg", "jp2"],
)
def test_too_many_pixels_are_refused_by_the_header(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert caught.value.code == "image-too-large"
    assert "30000 x 30000" in str(caught.value)
    assert "max_megapixels" in caught.value.hint


def test_the_limit_can_be_set(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((1000, 1001), np.uint8))
    with pixel_limit(1), pytest.raises(DataError, match="1 megapixel"):
        read_image(path)
    with pixel_limit(2):
        assert read_image(path).shape == (1000, 1001, 3)
    # A second page counts, too.
    pages = solid(0)[0], Image.new("L", (1001, 1000))
    path.write_bytes(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    with pixel_limit(1), pytest.raises(DataError):
        read_image(FilePage(path, 1))


@pytest.fixture(params=["pipe", "device", "folder", "loop", "nothing", "long", "nul"])
def no_file(request, tmp_path):
    path = tmp_path / "a.png"
    match request.param:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "nothing":
            path.symlink_to(tmp_path / "absent")
        case "long":
            path = tmp_path / ("n" * 300) / ("m/" * 3000)
        case "nul":
            path = f"{tmp_path}/a\0.png"
    return path


def in_time(call):
    """What it raised; a call that waits for ever fails the test, not the run."""
    raised = []

    def run():
        try:
            call()
        except DataError as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it hangs"
    (error,) = raised
    return error


def test_what_is_no_file_is_an_error_at_once(no_file):
    assert in_time(lambda: read_image(no_file)).code == "unreadable-image"


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    for start in (b"", huge_png(10, 10)):
        with path.open("wb") as file:
            file.write(start)
            file.truncate(1 << 40)
        with pytest.raises(DataError):
            read_image(path)


def test_damaged_files_are_errors(tmp_path):
    """Of each format, cut and changed anywhere: an image or a DataError, soon."""
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    whole = [encoded(drawn(DARK), kind) for kind in LETTERED]
    first, *more = solid(0, 100)
    for kind in ("TIFF", "PNG", "WEBP", "GIF"):
        whole.append(encoded(first, kind, save_all=True, append_images=more))
    whole += [cv2.imencode(suffix, SMALL)[1].tobytes() for suffix in (".bmp", ".ppm", ".jpg")]
    for content in whole:
        for _ in range(40):
            spoiled = bytearray(content)
            for place in rng.integers(0, min(len(spoiled), 200), 3):
                spoiled[place] = rng.integers(256)
            path.write_bytes(bytes(spoiled[: rng.integers(1, len(spoiled) + 1)]))
            try:
                for page in pages_of(path)[:3]:
                    with pixel_limit(1):
                        read_image(page)
            except DataError:
                pass


def test_a_chunk_that_promises_gigabytes_gets_no_room(tmp_path):
    """OpenCV would take four of them for it."""
    path = tmp_path / "a.png"
    whole = encoded(drawn(DARK), "PNG")
    path.write_bytes(whole[:33] + b"\xff\xff\xff\xffabcd" + whole[33:])
    assert header_of(path.read_bytes()) is None
    with pytest.raises(DataError):
        read_image(path)


def test_endless_directories_of_a_tiff_end():
    """A directory that names itself as the next one."""
    tags = struct.pack("<H", 2) + struct.pack("<HHIHHHHIHH", 256, 3, 1, 9, 0, 257, 3, 1, 9, 0)
    data = b"II*\0\x08\0\0\0" + tags + struct.pack("<I", 8)
    assert header_of(data).pages == 1


@pytest.mark.parametrize("kind", ["heic", "pdf"])
def test_without_its_package_the_install_line_is_told(tmp_path, monkeypatch, kind):
    content = {"heic": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(40), "pdf": b"%PDF-1.4\n"}
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content[kind])
    monkeypatch.setattr(optional_formats, "find_spec", lambda _: None)
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert f'"ocdnet[{kind}]"' in caught.value.hint


def test_heic(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    path, picture = tmp_path / "a.jpg", drawn(DARK, "RGB")
    pillow_heif.from_pillow(picture).save(path, quality=-1, format="HEIF")
    image, seen = read(path, "RGB")
    assert np.abs(image.astype(int) - np.asarray(picture)).max() < 20
    assert seen == {}
    pillow_heif.from_pillow(drawn(DARK)).save(path, quality=-1, format="HEIF")
    image, seen = read(path)
    assert image[0, 0].min() > 240
    assert list(seen) == ["transparency"]


def test_pdf(tmp_path):
    pytest.importorskip("pypdfium2")
    path = tmp_path / "a.pdf"
    first, second = (Image.new("RGB", (72, 36), colour) for colour in (DARK, LIGHT))
    first.save(path, save_all=True, append_images=[second], resolution=72)
    pages = pages_of(path)
    assert [page.number for page in pages] == [0, 1]
    for page, colour in zip(pages, (DARK, LIGHT), strict=True):
        image = read_image(page, "RGB")
        assert image.shape == (100, 200, 3)
        assert np.abs(image[50, 100].astype(int) - colour).max() < 8
    with pixel_limit(1), pytest.raises(DataError):
        Image.new("RGB", (2000, 2000)).save(path, resolution=72)
        read_image(path)
    path.write_bytes(b"%PDF-1.4\nnothing")
    with pytest.raises(DataError):
        read_image(path)
