"""What all parts of a scene are drawn with: colours, noise, and laying a flat thing into a view."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Points = npt.NDArray[np.float32]
Homography = npt.NDArray[np.float64]


def random_colour(rng: np.random.Generator) -> Colour:
    """A BGR colour, 0 to 255: mostly greyish as walls and streets are, some in colour."""
    grey = rng.uniform(15, 240)
    chroma = rng.normal(0, 50 if rng.random() < 0.15 else 12, 3)
    blue, green, red = np.clip(grey + chroma, 0, 255).astype(int).tolist()
    return blue, green, red


def vivid(rng: np.random.Generator) -> Colour:
    """A saturated BGR colour, as signs and packages have."""
    hsv = rng.integers((0, 120, 90), (180, 256, 256)).astype(np.uint8)[None, None]
    blue, green, red = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR))[0, 0].tolist()
    return blue, green, red


def near(colour: Colour, spread: float, rng: np.random.Generator) -> Colour:
    """A colour lighter or darker than another, and a little off."""
    moved = np.array(colour) + rng.normal(0, spread) + rng.normal(0, spread / 4, 3)
    blue, green, red = np.clip(moved, 0, 255).astype(int).tolist()
    return blue, green, red


def luma(colour: Colour) -> float:
    """Grey level of a BGR colour (ITU-R BT.601)."""
    return 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2]


def contrasting(greys: tuple[float, float], least: float, rng: np.random.Generator) -> Colour:
    """A colour at least `least` grey levels outside the range `greys`, else black or white."""
    low, high = greys
    for _ in range(12):
        kind = rng.random()
        if kind < 0.35:
            colour: Colour = (20, 20, 20) if rng.random() < 0.5 else (245, 245, 245)
        else:
            colour = vivid(rng) if kind < 0.65 else random_colour(rng)
        if not low - least < luma(colour) < high + least:
            return colour
    return (0, 0, 0) if low > 255 - high else (255, 255, 255)


def octaves(
    shape: tuple[int, int], cells: int, number: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Fractal noise, float32[H, W], deviation about 1: each octave twice as fine, half as strong.

    Sums of enlarged random grids: at the sizes of scenes the libraries for simplex noise take
    seconds where this takes milliseconds.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(number):
        fine = (min(cells << octave, shape[0]), min(cells << octave, shape[1]))
        grid = rng.standard_normal(fine, np.float32) * np.float32(0.6**octave)
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return total


def lit(image: Image, gain: npt.NDArray[np.float32]) -> Image:
    """The image times a smooth gain, float32[h, w], that is enlarged to it."""
    height, width = image.shape[:2]
    wide = cv2.resize(np.clip(gain * 64, 0, 255).astype(np.uint8), (width, height))
    return np.asarray(cv2.multiply(image, cv2.merge([wide] * 3), scale=1 / 64), np.uint8)


def grained(image: Image, noise: npt.NDArray[np.float32]) -> Image:
    """The image plus noise in grey levels, float32[h, w], that is enlarged to it."""
    height, width = image.shape[:2]
    wide = cv2.resize(np.clip(noise + 128, 0, 255).astype(np.uint8), (width, height))
    merged = cv2.merge([wide] * 3)
    return np.asarray(cv2.addWeighted(image, 1, merged, 1, -128), np.uint8)


def blend(region: Image, alpha: Image, colour: Colour | Image) -> None:
    """Lay a colour or an image over `region` (in place) as strongly as `alpha`, 0 to 255, says."""
    top = np.empty_like(region)
    top[:] = colour
    weight = cv2.merge([alpha] * 3)
    over = cv2.multiply(top, weight, scale=1 / 255, dtype=cv2.CV_16S)
    under = cv2.multiply(region, cv2.bitwise_not(weight), scale=1 / 255, dtype=cv2.CV_16S)
    region[:] = cv2.add(over, under, dtype=cv2.CV_8U)


def corners(shape: tuple[int, ...]) -> Points:
    """The corners of an image of that shape, clockwise from the top left."""
    height, width = shape[:2]
    box = [(0, 0), (width, 0), (width, height), (0, height)]
    return np.array(box, np.float32) - np.float32(0.5)


def lay(image: Image, flat: Image, quad: Points, alpha: Image | None = None) -> None:
    """Lay a flat image onto a quad of `image` (in place), cut at its sides."""
    height, width = image.shape[:2]
    x, y = np.clip(np.floor(quad.min(axis=0)), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(quad.max(axis=0)) + 1, 0, (width, height)).astype(int).tolist()
    if right - x < 2 or bottom - y < 2:
        return
    region, there = image[y:bottom, x:right], quad - np.array((x, y), np.float32)
    to_view = cv2.getPerspectiveTransform(corners(flat.shape), there.astype(np.float32))
    size = (right - x, bottom - y)
    if alpha is None:
        mask: Image = np.zeros(region.shape[:2], np.uint8)
        shape = np.clip(np.round(there * 16), -(2**20), 2**20).astype(np.int32)
        cv2.fillConvexPoly(mask, shape, (255,), cv2.LINE_AA, shift=4)
    else:
        mask = np.asarray(cv2.warpPerspective(alpha, to_view, size), np.uint8)
    seen = cv2.warpPerspective(flat, to_view, size, borderMode=cv2.BORDER_REPLICATE)
    blend(region, mask, np.asarray(seen, np.uint8))


def project(points: Points, homography: Homography) -> Points:
    """Points, float32[K, 2], seen through a homography."""
    seen = cv2.perspectiveTransform(points.reshape(-1, 1, 2).astype(np.float64), homography)
    return np.asarray(seen, np.float32).reshape(points.shape)


def random_view(
    shape: tuple[int, ...], yaw: float, pitch: float, roll: float, distance: float
) -> Points:
    """The corners of a flat thing turned in space (degrees), its middle at 0 and of its own size.

    A pinhole camera `distance` times the thing's longer side away.
    """
    flat = corners(shape)
    flat -= flat.mean(axis=0)
    a, b, c = np.radians((yaw, pitch, roll))
    x, y = flat[:, 0], flat[:, 1]
    x, z = x * np.cos(a), x * np.sin(a)
    y, z = y * np.cos(b) - z * np.sin(b), y * np.sin(b) + z * np.cos(b)
    x, y = x * np.cos(c) - y * np.sin(c), x * np.sin(c) + y * np.cos(c)
    scale = distance * max(shape[:2]) / (distance * max(shape[:2]) + z)
    return np.stack((x * scale, y * scale), 1).astype(np.float32)
