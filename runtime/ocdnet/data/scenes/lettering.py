"""Lines of words in one font, seen straight on: level, downwards, or bent to an arc."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ocdnet.data.scenes.fonts import face

Ink = npt.NDArray[np.uint8]
Outline = npt.NDArray[np.float32]

_OUTWARDS = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float32)
_PAD = 3  # Some fonts draw a little outside the box they announce.


@dataclass(frozen=True)
class Lettering:
    """Lines of words in one font.

    `alpha` is the ink, uint8[h, w], with a margin all around; `outlines` the tight outline of each
    word or line, float32[K, 2], clockwise from the top left of the reading direction, in pixels of
    `alpha` (whole numbers are centres of pixels, as in OpenCV); `texts` their transcriptions;
    `cap` the height of capitals in pixels.
    """

    alpha: Ink
    outlines: list[Outline]
    texts: list[str]
    cap: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How lines are set: distances as shares of the height of capitals."""

    tracking: float = 0.0
    """Between letters, beyond the font's own."""
    space: float = 1.0
    """Between words, as a share of the font's own space instead."""
    gap: float = 0.5
    """Between lines."""
    align: float = 0.5
    """0 left, 0.5 centred, 1 right."""
    margin: float = 0.0
    """Between ink and outline."""
    lines: bool = False
    """Outline lines instead of words."""


def set_lines(lines: list[list[str]], font: Path, cap: int, setting: Setting) -> Lettering:
    """Set lines of words; ink boxes never overlap."""
    drawn = face(font, cap)
    blank = setting.space * (drawn.getlength(" ") + setting.tracking * cap) + 0.1 * cap
    space = max(3 if cap > 7 else 2, round(blank))
    gap, margin = max(2, round(setting.gap * cap)), max(2, round(0.35 * cap))
    rows = [[_ink(word, drawn, setting.tracking * cap) for word in line] for line in lines]
    widths = [sum(ink.shape[1] for ink, _ in row) + space * (len(row) - 1) for row in rows]
    tops = [min(top for _, top in row) for row in rows]
    heights = [
        max(top + ink.shape[0] for ink, top in row) - line_top
        for row, line_top in zip(rows, tops, strict=True)
    ]
    shape = (sum(heights) + gap * (len(rows) - 1) + 2 * margin, max(widths) + 2 * margin)
    alpha, boxes, y = np.zeros(shape, np.uint8), [], margin
    for row, width, line_top, height in zip(rows, widths, tops, heights, strict=True):
        start = x = margin + int(setting.align * (max(widths) - width))
        for ink, top in row:
            h, w = ink.shape
            alpha[y + top - line_top : y + top - line_top + h, x : x + w] = ink
            boxes.append(box_outline(x, y + top - line_top, w, h))
            x += w + space
        if setting.lines:
            boxes[-len(row) :] = [box_outline(start, y, width, height)]
        y += height + gap
    boxes = [grown(box, setting.margin * cap) for box in boxes]
    texts = [" ".join(line) for line in lines] if setting.lines else [*chain(*lines)]
    return Lettering(alpha, boxes, texts, cap)


def _ink(word: str, font: ImageFont.FreeTypeFont, tracking: float) -> tuple[Ink, int]:
    """The word's ink cut to its tight box, and the row of its top relative to the baseline."""
    left, top, right, bottom = (round(side) for side in font.getbbox(word, anchor="ls"))
    spread = round(max(tracking, 0) * len(word))
    size = (right - left + 2 * _PAD + spread, bottom - top + 2 * _PAD)
    image = Image.new("L", size)
    draw, at = ImageDraw.Draw(image), float(_PAD - left)
    for part in word if abs(tracking) >= 0.5 else (word,):
        draw.text((at, _PAD - top), part, fill=255, font=font, anchor="ls")
        at += font.getlength(part) + tracking
    ink = np.asarray(image)
    x, y, w, h = cv2.boundingRect(ink)
    if not w:  # a letter without ink
        return np.full((1, 1), 255, np.uint8), 0
    return ink[y : y + h, x : x + w], y - _PAD + top


def stacked(word: str, font: Path, cap: int, setting: Setting) -> Lettering:
    """One word whose upright letters stand below each other."""
    flat = replace(setting, align=0.5, gap=0.2, lines=False)
    letters = set_lines([[letter] for letter in word], font, cap, flat)
    corners = np.concatenate(letters.outlines)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    outline = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    return replace(letters, outlines=[outline], texts=[word])


def turned(lettering: Lettering, clockwise: bool) -> Lettering:
    """The same, read downwards or upwards."""
    height, width = lettering.alpha.shape
    code = cv2.ROTATE_90_CLOCKWISE if clockwise else cv2.ROTATE_90_COUNTERCLOCKWISE
    outlines = [
        np.stack((height - 1 - o[:, 1], o[:, 0]) if clockwise else (o[:, 1], width - 1 - o[:, 0]))
        for o in lettering.outlines
    ]
    alpha = np.asarray(cv2.rotate(lettering.alpha, code), np.uint8)
    return replace(lettering, alpha=alpha, outlines=[o.T.astype(np.float32) for o in outlines])


def bent(lettering: Lettering, angle: float) -> Lettering:
    """The same on an arc of `angle` radians: up in the middle, or down where it is negative."""
    height, width = lettering.alpha.shape
    radius = width / abs(angle)  # of the middle line
    sign = 1.0 if angle > 0 else -1.0

    def bend(points: Outline) -> Outline:
        """Points of the flat ink on the arc, whose middle lies at 0."""
        theta = (points[:, 0] - (width - 1) / 2) / radius
        reach = radius - sign * (points[:, 1] - (height - 1) / 2)
        across, down = reach * np.sin(theta), sign * (radius - reach * np.cos(theta))
        return np.stack((across, down), 1).astype(np.float32)

    frame = bend(divided(box_outline(0, 0, width, height), 24))
    low, size = frame.min(axis=0), np.ceil(np.ptp(frame, axis=0)).astype(int) + 1
    down, across = np.mgrid[: size[1], : size[0]].astype(np.float32) + low[::-1, None, None]
    away = radius - sign * down
    reach, theta = np.hypot(across, away), np.arctan2(across, away)
    source_x = (theta * radius + (width - 1) / 2).astype(np.float32)
    source_y = (sign * (radius - reach) + (height - 1) / 2).astype(np.float32)
    alpha = np.asarray(cv2.remap(lettering.alpha, source_x, source_y, cv2.INTER_LINEAR), np.uint8)
    outlines = [
        np.asarray(bend(divided(o, max(2, int(abs(angle) * np.ptp(o[:, 0]) / width / 0.2)))) - low)
        for o in lettering.outlines
    ]
    return replace(lettering, alpha=alpha, outlines=[o.astype(np.float32) for o in outlines])


def divided(quad: Outline, parts: int) -> Outline:
    """The quad with its upper and lower side divided."""
    share = np.linspace(0, 1, parts + 1, dtype=np.float32)[:, None]
    upper, lower = quad[0] + share * (quad[1] - quad[0]), quad[2] + share * (quad[3] - quad[2])
    return np.concatenate((upper, lower)).astype(np.float32)


def grown(box: Outline, by: float) -> Outline:
    """The corners of a level box moved outwards by as many pixels."""
    return (box + np.float32(by) * _OUTWARDS).astype(np.float32)


def box_outline(x: float, y: float, w: float, h: float) -> Outline:
    """Corners of a box of whole pixels, float32[4, 2]: pixel x covers x - 0.5 to x + 0.5."""
    corners = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    return np.array(corners, np.float32) - np.float32(0.5)
