"""One scene: signs in front of a background, photographed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from ocdnet.data.scenes.background import background, occlude
from ocdnet.data.scenes.camera import photographed
from ocdnet.data.scenes.drawing import (
    Homography,
    Image,
    Points,
    contrasting,
    corners,
    lay,
    project,
    random_view,
)
from ocdnet.data.scenes.signs import Flat, coloured, panel, plated, single, stands_out
from ocdnet.data.scenes.style import SceneStyle

_FAILURES = 20
_HIDDEN, _GONE = 0.2, 0.8
"""Shares of a word behind something: then it is ignored, then it is not there."""


@dataclass(frozen=True)
class Scene:
    """One rendered image and its text.

    `image` is uint8[H, W, 3] BGR; `polygons` one outline a word (or line), tight around its ink,
    clockwise from the top left of the reading direction, in pixels: float32[4, 2], or more points
    where the word is bent; `texts` the transcriptions (of ignored words too); `ignore` whether a
    word is don't-care.
    """

    image: Image
    polygons: list[Points]
    texts: list[str]
    ignore: list[bool]


@dataclass(frozen=True)
class _View:
    """How the signs of one scene are seen: most of them alike."""

    roll: float
    side: float


def render_scene(style: SceneStyle, rng: np.random.Generator) -> Scene:
    """Render one scene; the same `rng` state, fonts and library versions give the same pixels.

    Raises:
        EnvironmentFault: Pillow or matplotlib's fonts are missing.
    """
    scene = Scene(background(style, rng), [], [], [])
    if rng.random() >= style.empty:
        add_text(scene, style, rng)
    for _ in range(rng.poisson(style.occluders * 0.6)):
        scene = _occluded(scene, rng)
    image, unreadable = photographed(scene.image, scene.polygons, style, rng)
    ignore = [a or b for a, b in zip(scene.ignore, unreadable, strict=True)]
    return Scene(image, scene.polygons, scene.texts, ignore)


def add_text(scene: Scene, style: SceneStyle, rng: np.random.Generator) -> None:
    """Paint signs into `scene` until it has its words or has failed to find room too often.

    Text that is there, as of a photograph, is neither painted over nor counted.
    """
    taken: Image = np.zeros(scene.image.shape[:2], np.uint8)
    for polygon in scene.polygons:
        cv2.fillPoly(taken, [np.round(polygon).astype(np.int32)], (1,))
    low, high = np.log((style.words[0], style.words[1] + 1))
    wanted, failures = int(np.exp(rng.uniform(low, high))), 0
    wanted += len(scene.texts)
    view = _View(style.rotate * rng.uniform(-1, 1) * rng.uniform() ** 2, rng.choice((-1, 1)))
    while len(scene.texts) < wanted and failures < _FAILURES:
        most, shrink = wanted - len(scene.texts), 0.85**failures
        is_panel = most > 2 and rng.random() < style.panels
        sign = (panel if is_panel else single)(most, shrink, style, rng)
        placed = _find_room(sign, taken, style, view, rng)
        if placed is None:
            failures += 1
            continue
        if not is_panel:
            sign = _inked(sign, scene.image, placed, style, rng)
        lay(scene.image, sign.image, project(corners(sign.alpha.shape), placed), sign.alpha)
        scene.polygons.extend(project(outline, placed) for outline in sign.outlines)
        scene.texts.extend(sign.texts)
        scene.ignore.extend([sign.ignore] * len(sign.texts))


def _find_room(
    sign: Flat, taken: Image, style: SceneStyle, view: _View, rng: np.random.Generator
) -> Homography | None:
    """The homography from the sign to a free place, marked in `taken`; None if there is no room."""
    height, width = taken.shape
    seen = _seen(sign.alpha.shape, style, view, rng)
    seen -= seen.min(axis=0)
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
            there = (seen + np.array((x, y), np.float32)).astype(np.float32)
            matrix = cv2.getPerspectiveTransform(corners(sign.alpha.shape), there)
            return np.asarray(matrix, np.float64)
    return None


def _seen(
    shape: tuple[int, ...], style: SceneStyle, view: _View, rng: np.random.Generator
) -> Points:
    """The sign's corners, turned as most of the scene or on its own."""
    roll, side = view.roll + rng.normal(0, min(1.5, style.rotate / 8)), view.side
    if rng.random() < 0.3:
        roll = style.rotate * rng.uniform(-1, 1) * rng.uniform() ** 2
        side = rng.choice((-1, 1))
    roll = float(np.clip(roll, -style.rotate, style.rotate))
    yaw = style.turn * side * rng.uniform() ** 1.5
    pitch = style.turn * 0.35 * rng.uniform(-1, 1)
    return random_view(shape, yaw, pitch, roll, float(rng.uniform(1.3, 5)))


def _inked(
    sign: Flat, image: Image, placed: Homography, style: SceneStyle, rng: np.random.Generator
) -> Flat:
    """A single sign in a colour that stands out where it hangs, on a plate if none does."""
    quad = project(corners(sign.alpha.shape), placed)
    greys = stands_out(_behind(image, quad), style.contrast)
    if greys is None or rng.random() < style.plates:
        return plated(sign, style.contrast, style.effects, rng)
    colour = contrasting(greys, style.contrast, rng)
    ink, alpha = coloured(sign, colour, style.effects, rng)
    return replace(sign, image=ink, alpha=alpha)


def _behind(image: Image, quad: Points) -> npt.NDArray[np.uint8]:
    """Grey levels of the image within a quad."""
    x, y = np.maximum(np.floor(quad.min(axis=0)), 0).astype(int).tolist()
    right, bottom = np.ceil(quad.max(axis=0)).astype(int).tolist()
    grey = cv2.cvtColor(image[y : bottom + 1, x : right + 1], cv2.COLOR_BGR2GRAY)
    inside: Image = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(inside, np.round(quad - (x, y)).astype(np.int32), (1,))
    return np.asarray(grey, np.uint8)[inside > 0]


def _occluded(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with something in front; words behind it are ignored or gone."""
    before = scene.image.copy()
    occlude(scene.image, rng)
    changed = np.any(before != scene.image, axis=2).astype(np.uint8)
    kept = Scene(scene.image, [], [], [])
    for polygon, text, ignore in zip(scene.polygons, scene.texts, scene.ignore, strict=True):
        x, y, w, h = cv2.boundingRect(polygon)
        x, y = max(x, 0), max(y, 0)
        window = changed[y : y + h, x : x + w]
        inside: Image = np.zeros(window.shape, np.uint8)
        cv2.fillPoly(inside, [np.round(polygon - (x, y)).astype(np.int32)], (1,))
        hidden = float(window[inside > 0].mean()) if inside.any() else 1.0
        if hidden < _GONE:
            kept.polygons.append(polygon)
            kept.texts.append(text)
            kept.ignore.append(ignore or hidden > _HIDDEN)
    return kept
