"""Synthetic scene text: words on signs in procedural scenes, with ICDAR2015 labels."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt

from ocdnet.data.synthetic_background import Colour, background, random_colour
from ocdnet.data.synthetic_text import Fonts, Sign, box_quad, font_paths, random_text, set_sign
from ocdnet.errors import RunError, UsageError

Image = npt.NDArray[np.uint8]
Quads = npt.NDArray[np.float32]
Homography = npt.NDArray[np.float64]

_IGNORED_HEIGHT = (4, 6)  # Capitals this small can't be read, nor told from texture.


@dataclass(frozen=True, kw_only=True)
class SceneStyle:
    """How scenes look. Ranges are (lowest, highest), both included.

    Raises:
        UsageError: a range is reversed or a value out of bounds.
    """

    size: tuple[int, int] = (640, 640)
    """Width and height of an image in pixels, 64 to 8192 each."""
    words: tuple[int, int] = (4, 16)
    """Words wanted in a scene with text; fewer where they find no room."""
    height: tuple[int, int] = (14, 56)
    """Height of capital letters in pixels, from 8 to half the image."""
    rotate: float = 20.0
    """Largest rotation to either side in degrees, 0 to 180."""
    perspective: float = 0.12
    """Largest shift of a sign's corner, as a share of its shorter side, 0 to 0.2."""
    ignored: float = 0.1
    """Share of signs too small or too blurred to read (label `###`), 0 to 1."""
    empty: float = 0.05
    """Share of scenes without any text, 0 to 1."""
    clutter: float = 1.0
    """Amount of background detail, 0 (one flat colour) to 3."""
    plates: float = 0.35
    """Share of signs on a plate of their own, 0 to 1; busy places get one always."""
    contrast: float = 55.0
    """Least difference in grey level between text and what is behind it, 10 to 100."""
    blur: float = 1.0
    """Largest standard deviation of the camera's blur in pixels, 0 to 10."""
    noise: float = 8.0
    """Largest standard deviation of the camera's noise in grey levels, 0 to 50."""
    jpeg: tuple[int, int] = (60, 95)
    """JPEG quality, 1 to 100."""
    fonts: Fonts = "system"
    """`bundled`: matplotlib's fonts, the same everywhere; `system`: this machine's fonts too."""

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "size": (64, 8192),
            "words": (1, 1000),
            "height": (8, min(self.size) / 2),
            "rotate": (0, 180),
            "perspective": (0, 0.2),
            "ignored": (0, 1),
            "empty": (0, 1),
            "clutter": (0, 3),
            "plates": (0, 1),
            "contrast": (10, 100),
            "blur": (0, 10),
            "noise": (0, 50),
            "jpeg": (1, 100),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            pair = value if isinstance(value, tuple) else (value, value)
            # Written so that NaN fails too.
            if not all(low <= number <= high for number in pair):
                expected = f"{low:g} to {high:g}"
                raise UsageError("bad-range", f"{name} is out of bounds", value, expected)
            if name != "size" and pair[0] > pair[1]:
                raise UsageError("bad-range", f"{name} is reversed", value, "lowest, then highest")
        if self.fonts not in get_args(Fonts):
            raise UsageError("bad-choice", "fonts is unknown", self.fonts, list(get_args(Fonts)))


EASY = SceneStyle(
    size=(320, 320),
    words=(3, 8),
    height=(20, 40),
    rotate=10,
    perspective=0.06,
    ignored=0.05,
    empty=0.02,
    clutter=0.4,
    contrast=80,
    blur=0.6,
    noise=4,
    jpeg=(85, 95),
    fonts="bundled",
)
"""Large, clear words at 320x320: what a detector learns from scratch in minutes on a CPU."""


@dataclass(frozen=True)
class Scene:
    """One rendered image and its text.

    `image` is uint8[H, W, 3] BGR; `polygons` holds one float32[4, 2] quad a word, tight around its
    ink, clockwise from the top left of the reading direction, in pixels; `texts` the transcriptions
    (of ignored words too); `ignore` whether a word is don't-care.
    """

    image: Image
    polygons: list[Quads]
    texts: list[str]
    ignore: list[bool]


def render_scene(style: SceneStyle, rng: np.random.Generator) -> Scene:
    """Render one scene; the same `rng` state, fonts and library versions give the same pixels.

    Raises:
        EnvironmentFault: Pillow or matplotlib's fonts are missing.
    """
    scene = Scene(background(style.size, style.clutter, rng), [], [], [])
    if rng.random() >= style.empty:
        add_text(scene, style, rng)
    return Scene(_camera(scene.image, style, rng), scene.polygons, scene.texts, scene.ignore)


def add_text(scene: Scene, style: SceneStyle, rng: np.random.Generator) -> None:
    """Paint signs into `scene` until it has its words or has failed to find room too often.

    Text that is there, as of a photograph, is neither painted over nor counted.
    """
    taken: Image = np.zeros(scene.image.shape[:2], np.uint8)
    for polygon in scene.polygons:
        cv2.fillPoly(taken, [np.round(polygon).astype(np.int32)], (1,))
    wanted, failures = int(rng.integers(style.words[0], style.words[1] + 1)), 0
    wanted += len(scene.texts)
    while len(scene.texts) < wanted and failures < 20:
        ignore = bool(rng.random() < style.ignored)
        sign = _sign(wanted - len(scene.texts), failures, ignore, style, rng)
        placed = _find_room(sign, taken, style, rng)
        if placed is None:
            failures += 1
            continue
        _paint(scene.image, sign, placed, style, rng)
        scene.polygons.extend(_project(sign.quads, placed))
        scene.texts.extend(sign.texts)
        scene.ignore.extend([ignore] * len(sign.texts))


def _sign(
    most: int, failures: int, ignore: bool, style: SceneStyle, rng: np.random.Generator
) -> Sign:
    """A sign of at most `most` words, smaller with each failure; tiny or blurred to be ignored."""
    tiny = ignore and rng.random() < 0.5
    low, high = _IGNORED_HEIGHT if tiny else style.height
    cap_height = round(rng.uniform(low, low + (high - low) * 0.8**failures))
    fonts = font_paths(style.fonts)
    font = fonts[int(rng.integers(len(fonts)))]
    sign = set_sign(_lines(1 if failures > 2 else most, rng), font, cap_height, rng)
    if ignore and not tiny:
        sigma = rng.uniform(0.25, 0.45) * cap_height
        sign = replace(
            sign, alpha=np.asarray(cv2.GaussianBlur(sign.alpha, (0, 0), sigma), np.uint8)
        )
    return sign


def _lines(most: int, rng: np.random.Generator) -> list[list[str]]:
    """Words of one sign, `most` at most: often one, else up to three lines of up to three."""
    words = 1 if rng.random() < 0.45 else int(rng.integers(2, 8))
    texts = [random_text(rng) for _ in range(min(words, most))]
    per_line = int(rng.integers(1, 4)) if len(texts) <= 3 else 3
    return [texts[start : start + per_line] for start in range(0, len(texts), per_line)]


def _find_room(
    sign: Sign, taken: Image, style: SceneStyle, rng: np.random.Generator
) -> Homography | None:
    """The homography from the sign to a free place, marked in `taken`; None if there is no room."""
    height, width = taken.shape
    flat = _corners(sign)
    seen = _turned(flat, style, rng)
    box_width, box_height = np.ceil(seen.max(axis=0)).astype(int).tolist()
    if box_width > width - 2 or box_height > height - 2:
        return None
    mask: Image = np.zeros((box_height + 1, box_width + 1), np.uint8)
    cv2.fillConvexPoly(mask, np.round(seen).astype(np.int32), (1,))
    for _ in range(12):
        x, y = int(rng.integers(width - box_width)), int(rng.integers(height - box_height))
        window = taken[y : y + box_height + 1, x : x + box_width + 1]
        if not np.any(window & mask):
            window |= mask
            there = seen + np.array((x, y), np.float32)
            return np.asarray(cv2.getPerspectiveTransform(flat, there), np.float64)
    return None


def _corners(sign: Sign) -> Quads:
    height, width = sign.alpha.shape
    return box_quad(0, 0, width, height)


def _turned(flat: Quads, style: SceneStyle, rng: np.random.Generator) -> Quads:
    """The sign's corners squeezed, jittered and rotated, the least x and y at 0."""
    angle = np.deg2rad(style.rotate * rng.uniform(-1, 1))
    if rng.random() < 0.7:  # Most signs hang nearly level.
        angle *= rng.uniform() ** 2
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    squeeze = np.array((rng.uniform(1 - 2 * style.perspective, 1), 1))
    slim = flat * squeeze
    jitter = rng.uniform(-1, 1, (4, 2)) * style.perspective * np.ptp(slim, axis=0).min()
    seen = (slim + jitter) @ rotation
    return np.asarray(seen - seen.min(axis=0), np.float32)


def _project(quads: Quads, placed: Homography) -> Quads:
    points = cv2.perspectiveTransform(quads.reshape(-1, 1, 2), placed)
    return np.asarray(points, np.float32).reshape(quads.shape)


def _paint(
    image: Image, sign: Sign, placed: Homography, style: SceneStyle, rng: np.random.Generator
) -> None:
    """Draw the sign's plate, if it has one, and its ink into `image`."""
    quad = _project(_corners(sign), placed)
    x, y = np.maximum(np.floor(quad.min(axis=0)), 0).astype(int).tolist()
    right, bottom = np.ceil(quad.max(axis=0)).astype(int).tolist()
    region = image[y : bottom + 1, x : right + 1]
    height, width = region.shape[:2]
    shift = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]], np.float64)
    greys = _backdrop(region, quad - np.array((x, y), np.float32), style, rng)
    colour = _contrasting(greys, style.contrast, rng)
    ink = cv2.warpPerspective(sign.alpha, shift @ placed, (width, height))
    _blend(region, np.asarray(ink, np.uint8), colour)


def _backdrop(
    region: Image, quad: Quads, style: SceneStyle, rng: np.random.Generator
) -> tuple[float, float]:
    """Draw a plate where style or clutter ask for one; returns the range of grey below the ink."""
    shape = np.round(quad * 16).astype(np.int32)  # Four fractional bits: smooth edges.
    inside: Image = np.zeros(region.shape[:2], np.uint8)
    cv2.fillConvexPoly(inside, shape, (255,), cv2.LINE_AA, shift=4)
    levels = np.asarray(cv2.cvtColor(region, cv2.COLOR_BGR2GRAY))[inside > 127]
    low, high = np.percentile(levels, (5, 95)).tolist()
    no_ink_stands_out = low < style.contrast and high > 255 - style.contrast
    if not no_ink_stands_out and rng.random() >= style.plates:
        return low, high
    plate = random_colour(rng)
    _blend(region, inside, plate)
    if rng.random() < 0.4:
        cv2.polylines(region, [shape], True, random_colour(rng), 1, cv2.LINE_AA, shift=4)
    return _luma(plate), _luma(plate)


def _blend(region: Image, alpha: Image, colour: Colour) -> None:
    """Lay `colour` over `region` (in place) as strongly as `alpha`, 0 to 255, says."""
    weight = alpha[:, :, None].astype(np.float32) / 255
    region[:] = np.round(region + weight * (np.array(colour, np.float32) - region))


def _luma(colour: Colour) -> float:
    """Grey level of a BGR colour (ITU-R BT.601)."""
    return 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2]


def _contrasting(greys: tuple[float, float], least: float, rng: np.random.Generator) -> Colour:
    """A colour at least `least` grey levels outside the range `greys`, else black or white."""
    low, high = greys
    for _ in range(20):
        colour = random_colour(rng)
        if not low - least < _luma(colour) < high + least:
            return colour
    return (0, 0, 0) if low > 255 - high else (255, 255, 255)


def _camera(image: Image, style: SceneStyle, rng: np.random.Generator) -> Image:
    """The photograph of the scene: blur, then noise of the sensor."""
    sigma = style.blur * rng.uniform(-0.5, 1)  # A third of the photographs is sharp.
    if sigma > 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    deviation = style.noise * rng.uniform()
    if deviation < 0.5:
        return image
    # Bytes into a table of the normal distribution: faster than drawing a normal for each pixel.
    table = np.sort(rng.normal(0, deviation, 256)).astype(np.int16)
    grain = table[np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape)]
    return np.asarray(cv2.add(image, grain, dtype=cv2.CV_8U), np.uint8)


def write_dataset(
    out: Path,
    images: Mapping[str, int],
    style: SceneStyle,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Render a set into `out`: `<split>/img/img_N.jpg` and `<split>/gt/gt_img_N.txt`, N from 1.

    The set is built beside `out` and renamed into place, so `out` is whole or absent. Image N of a
    split depends on the style, the seed, the split's name and N alone, not on the other counts.

    Args:
        out: folder to make; absent or empty.
        images: number of images by split name; a split of 0 is left out.
        style: how the scenes look.
        seed: 0 or more.
        progress: called with (images done, images in all) after each image.

    Returns:
        JSON-ready summary: out, seed, and by split its path, images, words, ignored and empty.

    Raises:
        UsageError: `out` is a file or not empty, the seed or a count is negative, or all are 0.
        RunError: the folder can't be written.
        EnvironmentFault: Pillow or matplotlib's fonts are missing.
    """
    _check_request(out, images, seed)
    total, done = sum(images.values()), count()
    splits: dict[str, dict[str, Any]] = {}

    def step() -> None:
        if progress is not None:
            progress(next(done) + 1, total)

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
            build = Path(scratch) / "set"
            for split in (name for name in images if images[name]):
                counts = _write_split(build / split, images[split], style, seed, step)
                splits[split] = {"path": str(out / split), **counts}
            if out.exists():
                out.rmdir()
            build.rename(out)
    except OSError as error:
        raise RunError("cannot-write", f"Cannot write {out}: {error.strerror or error}") from error
    return {"out": str(out), "seed": seed, "splits": splits}


def _check_request(out: Path, images: Mapping[str, int], seed: int) -> None:
    if seed < 0:
        raise UsageError("bad-range", "The seed is negative", seed, "0 or more")
    if min(images.values(), default=0) < 0 or not any(images.values()):
        message, got = "There is nothing to render", dict(images)
        raise UsageError("bad-range", message, got, "0 or more images a split, 1 in all")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        message = f"{out} exists and is not an empty folder"
        raise UsageError("output-exists", message, hint="Name a new folder, or remove this one.")


def _write_split(
    folder: Path, images: int, style: SceneStyle, seed: int, step: Callable[[], None]
) -> dict[str, int]:
    (folder / "img").mkdir(parents=True)
    (folder / "gt").mkdir()
    counts = {"images": images, "words": 0, "ignored": 0, "empty": 0}
    for number in range(1, images + 1):
        rng = np.random.default_rng([seed, zlib.crc32(folder.name.encode()), number])
        scene = render_scene(style, rng)
        quality = int(rng.integers(style.jpeg[0], style.jpeg[1] + 1))
        _, data = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        (folder / "img" / f"img_{number}.jpg").write_bytes(data.tobytes())
        label = "".join(f"{line}\n" for line in label_lines(scene))
        (folder / "gt" / f"gt_img_{number}.txt").write_text(label, encoding="utf-8", newline="\n")
        counts["words"] += len(scene.texts)
        counts["ignored"] += sum(scene.ignore)
        counts["empty"] += not scene.texts
        step()
    return counts


def label_lines(scene: Scene) -> list[str]:
    """ICDAR2015 lines `x1,y1,...,x4,y4,text`: whole pixels inside the image, `###` if ignored."""
    lines = []
    for quad, text, ignore in zip(scene.polygons, scene.texts, scene.ignore, strict=True):
        numbers = np.round(quad).astype(int).ravel().tolist()
        lines.append(",".join([*map(str, numbers), "###" if ignore else text]))
    return lines
