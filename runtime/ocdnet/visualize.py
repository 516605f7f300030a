"""Pictures of detections: overlays, probability maps, and writing them to disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.errors import DataError
from ocdnet.files import replacing
from ocdnet.geometry import Points

Color: TypeAlias = tuple[int, int, int]

RED: Color = (0, 0, 255)

ROLE_COLORS: dict[str, Color] = {
    "ignored": (187, 187, 187),
    "found": (115, 158, 0),
    "right": (233, 180, 86),
    "missed": (0, 159, 230),
    "false": (0, 94, 213),
    "low": (187, 187, 187),
}
"""Of the palette of Okabe and Ito: don't-care text grey, text that was found green, its detection
blue, missed text orange, a detection where no text is vermilion, a region whose score was too low
grey."""
DASHED = ("right", "false", "low")
"""Roles of detections: what is labelled has a line without gaps."""


_REGION: Color = (0, 158, 230)
_IGNORED: Color = (233, 180, 86)
_CASING: Color = (0, 0, 0)
"""Orange and blue in black: of the palette of Okabe and Ito, seen on any ground by its
brightness."""
_MOST_DASHES = 400


def draw_detections(
    image: NDArray[np.uint8], polygons: Sequence[Points], scores: Sequence[float]
) -> NDArray[np.uint8]:
    """A copy of an image with what was found on it: outlines in a casing, and their scores.

    Args:
        image: uint8[H, W, 3], BGR.
        polygons: [N, 2] each, in pixels of the image.
        scores: 0..1, one for each.
    """
    # As thick on a large picture as it looks on a small one.
    unit = max(1, round(max(image.shape[:2]) / 800))
    drawn = draw_polygons(image, polygons, _CASING, 3 * unit)
    outlines = [np.rint(polygon).astype(np.int32) for polygon in polygons]
    cv2.polylines(drawn, outlines, True, _REGION, unit, cv2.LINE_AA)
    for outline, score in zip(outlines, scores, strict=True):
        write_beside(drawn, f"{score:.2f}", outline, _REGION, unit)
    return drawn


def draw_labels(
    image: NDArray[np.uint8], words: Sequence[Points], ignored: Sequence[Points]
) -> NDArray[np.uint8]:
    """A copy of an image with its labels: words in orange, ignored text in blue and struck out.

    Args:
        image: uint8[H, W, 3], BGR.
        words: polygons [N, 2] in pixels of the image.
        ignored: likewise.
    """
    drawn = draw_polygons(image, [*words, *ignored], _CASING, 3)
    drawn = draw_polygons(drawn, words, _REGION, 1)
    strokes = [polygon[[0, len(polygon) // 2]] for polygon in ignored]
    return draw_polygons(drawn, [*ignored, *strokes], _IGNORED, 1)


def write_beside(
    drawn: NDArray[np.uint8], text: str, outline: NDArray[np.int32], color: Color, unit: int = 1
) -> None:
    """Write on black above the corner of an outline that is nearest to the top left, or below it.

    Args:
        drawn: uint8[H, W, 3], BGR; is changed.
        text: ASCII.
        outline: int32[N, 2] in pixels of the image.
        color: of the letters.
        unit: thickness of their strokes, in pixels.
    """
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.4 * unit
    (width, height), _ = cv2.getTextSize(text, font, size, unit)
    left, top = outline[outline.sum(axis=1).argmin()].tolist()
    above = top - 3 * unit
    bottom = above if above - height >= 0 else int(outline[:, 1].max()) + height + 4 * unit
    at = max(0, min(left, drawn.shape[1] - width)), min(bottom, drawn.shape[0] - 2 * unit)
    corner = at[0] + width, at[1] - height - 2 * unit
    cv2.rectangle(drawn, (at[0], at[1] + 2 * unit), corner, _CASING, cv2.FILLED)
    cv2.putText(drawn, text, at, font, size, color, unit, cv2.LINE_AA)


def heat_map(image: NDArray[np.uint8], probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A probability map as a layer of colour over its picture, clear where it is 0.

    Args:
        image: uint8[H, W, 3], BGR.
        probability: float32[h, w] in 0..1, of the whole picture.

    Returns:
        uint8[H, W, 3].
    """
    height, width = image.shape[:2]
    grey = cv2.resize(probability_image(probability), (width, height))
    colours = cv2.applyColorMap(grey, cv2.COLORMAP_CIVIDIS)  # even, and the same for every eye
    share = cv2.merge([grey] * 3).astype(np.float32) * (0.75 / 255)
    faded = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.asarray(faded * (1 - share) + colours * share, dtype=np.uint8)


def draw_polygons(
    image: NDArray[np.uint8],
    polygons: Sequence[Points],
    color: Color,
    thickness: int = 2,
) -> NDArray[np.uint8]:
    """A copy of an image with polygons outlined on it.

    Args:
        image: uint8[H, W, 3], BGR.
        polygons: [N, 2] each, in pixels of the image.
        color: (blue, green, red), 0..255.
        thickness: of the lines, in pixels.
    """
    drawn = image.copy()
    outlines = [np.rint(polygon).astype(np.int32) for polygon in polygons]
    cv2.polylines(drawn, outlines, True, color, thickness, cv2.LINE_AA)
    return drawn


def probability_image(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A probability map float32[H, W] in 0..1 as a grey image uint8[H, W]."""
    return np.clip(probability * 255, 0, 255).astype(np.uint8)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image in the format of its suffix: beside the target, then renamed into place.

    Raises:
        DataError: OpenCV can't write images of this suffix.
        UserError: the file can't be written, as `replacing`.
    """
    try:
        known, data = cv2.imencode(path.suffix, image)
    except cv2.error:
        known = False
    if not known:
        raise DataError(
            "image-format",
            f"{path} can't be written as an image",
            got=path.suffix,
            expected="a suffix such as .jpg or .png",
        )
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def draw_roles(
    image: NDArray[np.uint8],
    polygons: Mapping[str, Sequence[Points]],
    thickness: int = 2,
) -> NDArray[np.uint8]:
    """A copy of an image with polygons outlined by what they are: colour, line and boldness.

    Labels have a whole line, detections a dashed one, ignored text is struck out; each lies in a
    black casing, so that it holds on any ground.

    Args:
        image: uint8[H, W, 3], BGR.
        polygons: for names of ROLE_COLORS polygons [N, 2] in pixels of the image; in the order of
            drawing.
        thickness: of the lines, in pixels; mistakes are drawn bolder.
    """
    for role, group in polygons.items():
        bolder = thickness + (role in ("missed", "false"))
        strokes = [polygon[[0, len(polygon) // 2]] for polygon in group if role == "ignored"]
        image = draw_polygons(image, [*group, *strokes], _CASING, bolder + 2)
        if role in DASHED:
            lines = [dash for polygon in group for dash in _dashes(polygon, 3.0 * (bolder + 1))]
            cv2.polylines(image, lines, False, ROLE_COLORS[role], bolder, cv2.LINE_AA)
        else:
            image = draw_polygons(image, [*group, *strokes], ROLE_COLORS[role], bolder)
    return image


def _dashes(polygon: Points, length: float) -> list[NDArray[np.int32]]:
    """Pieces of a closed outline, about so many pixels long, with gaps of half their length."""
    closed = np.vstack([polygon, polygon[:1]]).astype(np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    count = int(min(max(along[-1] / (1.5 * length), 2), _MOST_DASHES))
    starts = np.arange(count) * along[-1] / count
    at = np.stack([starts, starts + along[-1] / count / 1.5], axis=1)
    points = np.stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)], axis=2)
    return list(np.rint(points).astype(np.int32))


def fitted(image: NDArray[np.uint8], longest: int) -> tuple[NDArray[np.uint8], float]:
    """An image reduced so that its longer side is at most `longest` pixels, and the factor."""
    factor = min(1.0, longest / max(image.shape[:2]))
    if factor == 1.0:
        return image, factor
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    reduced = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, dtype=np.uint8), factor


def encoded(image: NDArray[np.uint8], suffix: str, quality: int) -> bytes:
    """The bytes of an image as `.jpg` or `.webp`, quality 1..100."""
    flag = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}[suffix]
    _, data = cv2.imencode(suffix, image, [flag, quality])
    return bytes(data)
