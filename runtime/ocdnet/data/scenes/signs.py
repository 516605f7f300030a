"""Flat signs: letters alone or on a plate, and panels of many words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from ocdnet.data.scenes import surfaces
from ocdnet.data.scenes.drawing import Colour, Image, blend, contrasting, luma, random_colour, vivid
from ocdnet.data.scenes.fonts import random_font
from ocdnet.data.scenes.lettering import (
    Lettering,
    Outline,
    Setting,
    bent,
    set_lines,
    stacked,
    turned,
)
from ocdnet.data.scenes.style import SceneStyle
from ocdnet.data.scenes.words import SCRIPTS, one_case, random_letters, random_text

_TINY = (3, 5)  # Capitals this small can't be read, nor told from texture.
_NO_ALPHABET = ("han", "kana", "hangul")


@dataclass(frozen=True)
class Flat:
    """A sign seen straight on.

    `image` is uint8[h, w, 3] BGR, `alpha` uint8[h, w] where it covers what is behind;
    `outlines`, `texts` and `ignore` as in `Scene`, in pixels of `image`.
    """

    image: Image
    alpha: Image
    outlines: list[Outline]
    texts: list[str]
    ignore: bool = False


def cap_height(style: SceneStyle, shrink: float, rng: np.random.Generator) -> int:
    """Height of capitals: near the geometric mean of the range more often than near its ends."""
    most = max(style.height[0], min(style.height[1], min(style.size) // 3))
    low, high = np.log((style.height[0], most))
    drawn = rng.triangular(low, (low + high) / 2, high) if high > low else low
    return max(style.height[0], round(float(np.exp(low + (drawn - low) * shrink))))


def random_lettering(
    cap: int, rows: int, across: int, most: int, style: SceneStyle, rng: np.random.Generator
) -> Lettering:
    """At most `rows` lines of at most `across` words, `most` words in all, level."""
    script = None
    if rng.random() < style.other_scripts:
        script = str(rng.choice(list(SCRIPTS)))
    font = random_font(style.fonts, script, rng)
    if font is None:
        script, font = None, random_font(style.fonts, None, rng)
    assert font is not None
    case, lines, left = one_case(rng), [], most
    for _ in range(rows):
        count = min(int(rng.integers(1, across + 1)), left)
        if count:
            words = [
                random_letters(script, rng) if script else random_text(style.fonts, rng, case)
                for _ in range(count)
            ]
            lines.append(words)
        left -= count
    spaced = script is None and rng.random() < style.effects * 0.5
    setting = Setting(
        tracking=float(rng.uniform(-0.06, 0.45)) if spaced else 0,
        space=float(rng.uniform(0.75, 1.4)),
        gap=float(rng.uniform(0.25, 0.9)),
        align=float(rng.integers(3)) / 2,
        margin=style.margin,
        lines=style.lines or script in _NO_ALPHABET,
    )
    return set_lines(lines, font, cap, setting)


def single(most: int, shrink: float, style: SceneStyle, rng: np.random.Generator) -> Flat:
    """The ink of one sign of one to three short lines; its colour is not chosen yet.

    Args:
        most: words it may have.
        shrink: 1, or less where larger signs found no room.
        style: how scenes look.
        rng: source of every random choice.
    """
    ignore = bool(rng.random() < style.ignored)
    tiny = ignore and rng.random() < 0.5
    cap = int(rng.integers(_TINY[0], _TINY[1] + 1)) if tiny else cap_height(style, shrink, rng)
    rows = 1 if shrink < 0.6 or rng.random() < 0.6 else int(rng.integers(2, 4))
    kind = rng.random()
    if kind < style.curved:
        drawn = _arc(cap, most, style, rng)
    elif kind < style.curved + style.vertical:
        drawn = _downwards(cap, most, style, rng)
    else:
        drawn = random_lettering(cap, rows, 3, most, style, rng)
    alpha = drawn.alpha
    if ignore and not tiny:
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.3, 0.5) * cap), np.uint8)
    return Flat(np.zeros((*alpha.shape, 3), np.uint8), alpha, drawn.outlines, drawn.texts, ignore)


def _arc(cap: int, most: int, style: SceneStyle, rng: np.random.Generator) -> Lettering:
    """A line on an arc; without numbers, which a reader of labels could take for points."""
    font = random_font(style.fonts, None, rng)
    assert font is not None
    case = one_case(rng)
    words: list[str] = []
    while len(words) < min(int(rng.integers(1, 4)), most):
        text = random_text(style.fonts, rng, case)
        if text.isalpha():
            words.append(text)
    flat = set_lines(
        [words], font, cap, Setting(tracking=0.08, margin=style.margin, lines=style.lines)
    )
    height, width = flat.alpha.shape
    # The inner side of the ink must keep a radius.
    most_bent = min(2.6, width / (0.9 * height))
    return bent(flat, float(rng.uniform(0.3, 1)) * most_bent * float(rng.choice((1, 1, -1))))


def _downwards(cap: int, most: int, style: SceneStyle, rng: np.random.Generator) -> Lettering:
    if rng.random() < 0.6:
        return turned(random_lettering(cap, 1, 3, most, style, rng), bool(rng.random() < 0.5))
    font = random_font(style.fonts, None, rng)
    assert font is not None
    return stacked(
        random_text(style.fonts, rng, str.upper)[:8], font, cap, Setting(margin=style.margin)
    )


def coloured(
    sign: Flat, colour: Colour, effects: float, rng: np.random.Generator
) -> tuple[Image, Image]:
    """The ink in a colour, with its outline or shadow: image and alpha."""
    image: Image = np.empty((*sign.alpha.shape, 3), np.uint8)
    image[:], alpha = colour, sign.alpha
    if rng.random() < effects and not sign.ignore:
        kind, reach = int(rng.integers(3)), max(1, round(sign.alpha.shape[0] / 40))
        other = contrasting((luma(colour), luma(colour)), 40, rng)
        if kind == 0:
            grown = np.asarray(cv2.dilate(alpha, np.ones((2 * reach + 1,) * 2, np.uint8)), np.uint8)
        elif kind == 1:
            shift = np.array([[1, 0, reach], [0, 1, reach]], np.float32)
            grown = np.asarray(cv2.warpAffine(alpha, shift, alpha.shape[::-1]), np.uint8)
        else:
            return image, _dotted(alpha)
        image[:] = other
        blend(image, alpha, colour)
        alpha = np.maximum(alpha, grown)
    if rng.random() < effects * 0.5:
        alpha = (alpha * rng.uniform(0.5, 0.9)).astype(np.uint8)
    return image, alpha


def _dotted(alpha: Image) -> Image:
    """The ink as lamps of a display, where it is large enough."""
    pitch = alpha.shape[0] // 14
    if pitch < 3:
        return alpha
    down, across = np.indices(alpha.shape) % pitch
    middle = (pitch - 1) / 2
    dots = (np.hypot(down - middle, across - middle) < 0.42 * pitch).astype(np.uint8)
    return np.asarray(alpha * dots, np.uint8)


def paper_colour(rng: np.random.Generator) -> Colour:
    """What signs are painted on: white, dark, a colour, or grey."""
    kind = rng.random()
    if kind < 0.28:
        light = int(rng.integers(215, 256))
        return light - int(rng.integers(20)), light - int(rng.integers(8)), light
    if kind < 0.5:
        blue, green, red = rng.integers(5, 70, 3).tolist()
        return blue, green, red
    return vivid(rng) if kind < 0.8 else random_colour(rng)


def panel(most: int, shrink: float, style: SceneStyle, rng: np.random.Generator) -> Flat:
    """A notice, a list, a poster or a row of goods, opaque; at most `most` words."""
    if rng.random() < 0.2:
        return _goods(most, shrink, style, rng)
    rows = _rows(cap_height(style, shrink, rng), most, style, rng)
    cap = max(row.cap for row in rows)
    margin = int(rng.uniform(0.3, 1.6) * cap) + 2
    gaps = [max(1, int(rng.uniform(0, 0.7) * row.cap)) for row in rows]
    width = max(row.alpha.shape[1] for row in rows) + 2 * margin
    drawn = int(rng.uniform(0.25, 1.1) * width) if rng.random() < 0.35 else 0
    height = sum(row.alpha.shape[0] for row in rows) + sum(gaps) + 2 * margin + drawn
    image = _paper(width, height, rng)
    before, y, align = int(rng.integers(len(rows) + 1)), margin, float(rng.integers(3)) / 2
    ink, outlines = None, []
    for index, (row, gap) in enumerate(zip(rows, gaps, strict=True)):
        if drawn and index == before:
            image[y : y + drawn] = surfaces.picture(width, drawn, rng)
            y += drawn
        h, w = row.alpha.shape
        x = margin + int(align * (width - 2 * margin - w))
        if rng.random() < 0.12:
            image[y : y + h], ink = paper_colour(rng), None
        region = image[y : y + h, x : x + w]
        greys = _greys(region)
        again = ink is not None and not greys[0] - 25 < luma(ink) < greys[1] + 25
        if ink is None or not again or rng.random() < 0.2:
            ink = contrasting(greys, max(style.contrast, 45), rng)
        blend(region, row.alpha, ink)
        outlines += [outline + np.array((x, y), np.float32) for outline in row.outlines]
        y += h + gap
    _framed(image, rng)
    texts = [text for row in rows for text in row.texts]
    return Flat(image, np.full(image.shape[:2], 255, np.uint8), outlines, texts)


def _rows(cap: int, most: int, style: SceneStyle, rng: np.random.Generator) -> list[Lettering]:
    """What stands on a panel, from above: headings, lines of a text or a list, something large."""
    kind, rows = rng.random(), []
    small = max(style.height[0], round(cap * rng.uniform(0.35, 0.75)))
    if kind < 0.35:  # a notice: a heading, then text
        rows.append(random_lettering(cap, 2, 3, most, style, rng))
        left = most - len(rows[0].texts)
        if left > 0:
            rows.append(random_lettering(small, int(rng.integers(1, 9)), 5, left, style, rng))
    elif kind < 0.65:  # a list: lines of one height
        rows.append(random_lettering(cap, int(rng.integers(2, 8)), 4, most, style, rng))
    else:  # a poster: lines of many heights
        left = most
        while left > 0 and len(rows) < 6 and (len(rows) < 2 or rng.random() < 0.75):
            size = max(style.height[0], round(cap * float(rng.choice((1, 0.75, 0.5, 0.35)))))
            rows.append(random_lettering(size, 1, 4, left, style, rng))
            left -= len(rows[-1].texts)
    return rows


def _goods(most: int, shrink: float, style: SceneStyle, rng: np.random.Generator) -> Flat:
    """Backs of books, or packages: coloured cells side by side, a few words on each."""
    cap = max(style.height[0], round(cap_height(style, shrink, rng) * 0.7))
    upright, cells, left = rng.random() < 0.5, [], min(most, int(rng.integers(3, 10)))
    while left > 0:
        size = max(style.height[0], round(cap * float(rng.uniform(0.7, 1.2))))
        ink = random_lettering(size, 1 if upright else 2, 2, min(left, 3), style, rng)
        left -= len(ink.texts)
        cells.append(turned(ink, clockwise=True) if upright else ink)
    height = int(max(cell.alpha.shape[0] for cell in cells) * rng.uniform(1, 1.6))
    images, outlines, x = [], [], 0
    for cell in cells:
        h, w = cell.alpha.shape
        wide, y = w + int(rng.integers(1, cap + 2)), int(rng.uniform(0, height - h + 0.9))
        back: Image = np.empty((height, wide, 3), np.uint8)
        back[:] = paper_colour(rng)
        colour = contrasting(_greys(back[:1, :1]), max(style.contrast, 45), rng)
        blend(back[y : y + h, :w], cell.alpha, colour)
        images.append(back)
        outlines += [outline + np.array((x, y), np.float32) for outline in cell.outlines]
        x += wide
    image = np.concatenate(images, axis=1)
    texts = [text for cell in cells for text in cell.texts]
    return Flat(image, np.full(image.shape[:2], 255, np.uint8), outlines, texts)


def _paper(width: int, height: int, rng: np.random.Generator) -> Image:
    kind = rng.random()
    if kind < 0.08:
        return surfaces.picture(width, height, rng)
    if kind < 0.2:
        return surfaces.plain(width, height, rng)
    paper: Image = np.empty((height, width, 3), np.uint8)
    paper[:] = paper_colour(rng)
    return paper


def _framed(image: Image, rng: np.random.Generator) -> None:
    if rng.random() < 0.4:
        height, width = image.shape[:2]
        thick = int(rng.integers(1, 5))
        cv2.rectangle(image, (0, 0), (width - 1, height - 1), random_colour(rng), thick)


def _greys(region: Image) -> tuple[float, float]:
    """The range of grey levels that ink has to stand out of."""
    low, high = np.percentile(cv2.cvtColor(region[::2, ::2], cv2.COLOR_BGR2GRAY), (5, 95)).tolist()
    return low, high


def plated(sign: Flat, least: float, effects: float, rng: np.random.Generator) -> Flat:
    """A single sign on a plate of its own."""
    plate: Image = np.empty((*sign.alpha.shape, 3), np.uint8)
    plate[:] = paper_colour(rng)
    ink, alpha = coloured(sign, contrasting(_greys(plate[:1, :1]), least, rng), effects, rng)
    blend(plate, alpha, ink)
    _framed(plate, rng)
    return replace(sign, image=plate, alpha=np.full(sign.alpha.shape, 255, np.uint8))


def stands_out(levels: npt.NDArray[np.uint8], least: float) -> tuple[float, float] | None:
    """The range of grey levels behind a sign; None where no ink stands out by `least`."""
    low, high = np.percentile(levels, (5, 95)).tolist() if levels.size else (0.0, 255.0)
    return None if low < least and high > 255 - least else (low, high)
