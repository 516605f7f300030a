"""Backgrounds without text: drawn rooms, streets and walls with clutter, or photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ocdnet.data.reading import read_image
from ocdnet.data.scenes import surfaces
from ocdnet.data.scenes.drawing import (
    Image,
    Points,
    lay,
    near,
    octaves,
    random_colour,
    random_view,
    vivid,
)
from ocdnet.data.scenes.style import SceneStyle


def background(style: SceneStyle, rng: np.random.Generator) -> Image:
    """A background without text, uint8[H, W, 3] BGR."""
    width, height = style.size
    if style.photographs:
        return _photograph(style.photographs, style.size, rng)
    canvas: Image = np.full((height, width, 3), random_colour(rng), np.uint8)
    if style.clutter <= 0:
        return canvas
    if rng.random() < style.clutter:
        canvas = (_wall, _room, _street)[int(rng.integers(3))](width, height, rng)
    else:
        canvas = surfaces.plain(width, height, rng)
    for _ in range(rng.poisson(5 * style.clutter)):
        _hung(canvas, rng)
    for _ in range(rng.poisson(6 * style.clutter)):
        _THINGS[int(rng.integers(len(_THINGS)))](canvas, rng)
    return canvas


def _photograph(paths: Sequence[Path], size: tuple[int, int], rng: np.random.Generator) -> Image:
    """A part of one of the pictures, mirrored or not."""
    image = read_image(paths[int(rng.integers(len(paths)))])
    height, width = image.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    part = np.ceil(np.array(size) / scale * rng.uniform(0.5, 1)).astype(int)
    x, y = (rng.uniform(0, 1, 2) * (np.array((width, height)) - part + 0.99)).astype(int)
    cut = image[y : y + part[1], x : x + part[0]]
    sized = cv2.resize(cut[:, :: int(rng.choice((-1, 1)))], size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(sized, np.uint8)


def _wall(width: int, height: int, rng: np.random.Generator) -> Image:
    """One surface, seen slanted."""
    return _slanted(surfaces.random_surface(width, height, rng), rng)


def _slanted(flat: Image, rng: np.random.Generator) -> Image:
    view = random_view(flat.shape, rng.uniform(-50, 50), rng.uniform(-20, 20), rng.normal(0, 8), 2)
    height, width = flat.shape[:2]
    grown = view * 1.7 + np.array((width / 2, height / 2), np.float32)
    seen: Image = np.full_like(flat, 90)
    matrix = cv2.getPerspectiveTransform(
        np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32),
        grown.astype(np.float32),
    )
    mode = cv2.BORDER_REFLECT
    return np.asarray(cv2.warpPerspective(flat, matrix, (width, height), seen, borderMode=mode))


def _room(width: int, height: int, rng: np.random.Generator) -> Image:
    """A corridor: back wall, ceiling, floor and two side walls that run to a vanishing point."""
    far = rng.uniform((0.2, 0.2), (0.8, 0.7)) * (width, height)
    half = rng.uniform(0.04, 0.4, 2) * (width, height)
    box = [far - half, far + half * (1, -1), far + half, far + half * (-1, 1)]
    edge = [(-9, -9), (width + 9, -9), (width + 9, height + 9), (-9, height + 9)]
    canvas = cv2.resize(
        surfaces.random_surface(width // 2, height // 2, rng), (width, height)
    ).astype(np.uint8)
    for side in range(4):
        after = (side + 1) % 4
        quad = np.array([edge[side], edge[after], box[after], box[side]], np.float32)
        lay(canvas, surfaces.random_surface(width // 2, height // 2, rng), quad)
    return canvas


def _street(width: int, height: int, rng: np.random.Generator) -> Image:
    """Sky, what stands at the horizon, ground, and house fronts at the sides."""
    level = int(height * rng.uniform(0.3, 0.7))
    bright = np.full((height, width, 3), near((235, 225, 215), 18, rng), np.uint8)
    canvas: Image = bright if rng.random() < 0.6 else surfaces.plain(width, height, rng)
    ground = surfaces.rough if rng.random() < 0.6 else surfaces.random_surface
    deep = np.array([(0, level), (width, level), (width * 2.2, height), (-width * 1.2, height)])
    lay(canvas, ground(width // 2, height // 2, rng), deep.astype(np.float32))
    x = -rng.uniform(0, 0.2) * width
    while x < width:
        w, h = rng.uniform(0.08, 0.4) * width, rng.uniform(0.05, 0.95) * level
        front = surfaces.foliage if rng.random() < 0.45 else surfaces.random_surface
        top = level - h
        quad = [(x, top + rng.normal(0, 0.05) * h), (x + w, top + rng.normal(0, 0.05) * h)]
        foot = [(x + w, level + h * rng.uniform(0, 0.1)), (x, level + h * rng.uniform(0, 0.1))]
        lay(canvas, front(int(w), int(h) + 4, rng), np.array(quad + foot, np.float32))
        x += w * rng.uniform(0.5, 1.4)
    return canvas


def _place(canvas: Image, low: float, high: float, rng: np.random.Generator) -> tuple[int, ...]:
    """A random box x, y, w, h whose sides are `low` to `high` of the image's short side."""
    height, width = canvas.shape[:2]
    w, h = rng.uniform(low, high, 2) * min(width, height)
    x, y = rng.uniform(-w / 2, width - w / 2), rng.uniform(-h / 2, height - h / 2)
    return int(x), int(y), max(int(w), 4), max(int(h), 4)


def _hung(canvas: Image, rng: np.random.Generator) -> None:
    """A surface of its own within the view: a window, a poster, a gate, a crate."""
    x, y, w, h = _place(canvas, 0.08, 0.6, rng)
    flat = surfaces.random_surface(w, h, rng)
    if rng.random() < 0.3:
        cv2.rectangle(flat, (0, 0), (w - 1, h - 1), random_colour(rng), int(rng.integers(1, 6)))
    view = random_view(flat.shape, rng.uniform(-55, 55), rng.uniform(-15, 15), rng.normal(0, 7), 2)
    lay(canvas, flat, view + np.array((x + w / 2, y + h / 2), np.float32))


def _wires(canvas: Image, rng: np.random.Generator) -> None:
    """Cables, poles, edges: long lines, a few in parallel."""
    height, width = canvas.shape[:2]
    start, end = rng.uniform(-0.2, 1.2, (2, 2)) * (width, height)
    if rng.random() < 0.4:
        end[0] = start[0] + rng.normal(0, 0.03) * width
    step, colour = rng.uniform(4, 30, 2), random_colour(rng)
    thick = int(np.exp(rng.uniform(0, np.log(24))))
    for index in range(int(rng.integers(1, 5))):
        a, b = ((p + index * step).astype(int).tolist() for p in (start, end))
        cv2.line(canvas, a, b, near(colour, 12, rng), thick, cv2.LINE_AA)


def _scribble(canvas: Image, rng: np.random.Generator) -> None:
    """Branches, cracks, curls that are no letters: a thin random walk."""
    x, y, w, h = _place(canvas, 0.04, 0.5, rng)
    steps = rng.normal(0, (w / 12, h / 12), (int(rng.integers(6, 30)), 2))
    points = (np.array((x + w / 2, y + h / 2)) + steps.cumsum(axis=0)).astype(np.int32)
    cv2.polylines(canvas, [points], False, random_colour(rng), int(rng.integers(1, 4)), cv2.LINE_AA)


def _lamps(canvas: Image, rng: np.random.Generator) -> None:
    """Lamps and their reflections: bright discs or tubes in a row, with a glow."""
    x, y, w, h = _place(canvas, 0.1, 0.6, rng)
    number, size = int(rng.integers(1, 9)), float(rng.uniform(2, 22))
    colour = near((230, 245, 250), 8, rng)
    axes = (int(size * rng.uniform(0.5, 4)) + 1, int(size * 0.5) + 1)
    for share in np.linspace(0, 1, number):
        centre = (int(x + share * w), int(y + share * h * 0.3))
        cv2.ellipse(canvas, centre, axes, rng.uniform(-8, 8), 0, 360, colour, -1, cv2.LINE_AA)


def _icons(canvas: Image, rng: np.random.Generator) -> None:
    """Arrows, discs, crosses, bars in a row: pictograms and code marks, of the size of letters."""
    x, y, w, _ = _place(canvas, 0.05, 0.4, rng)
    side, colour = float(rng.uniform(6, 44)), contrasting_mark(rng)
    step = side * rng.uniform(1.1, 2.5)
    kind = int(rng.integers(5))
    for left in np.arange(x, x + w, step)[:14]:
        a, b = (int(left), y), (int(left + side), int(y + side))
        middle = (int(left + side / 2), int(y + side / 2))
        if kind == 0:
            cv2.arrowedLine(canvas, a, b, colour, max(1, int(side / 8)), cv2.LINE_AA)
        elif kind == 1:
            cv2.circle(canvas, middle, int(side / 2), colour, int(rng.choice((-1, 1, 2))))
        elif kind == 2:
            cv2.drawMarker(canvas, middle, colour, int(rng.integers(7)), int(side), 2)
        elif kind == 3:
            cv2.rectangle(canvas, a, b, near(colour, 40, rng), int(rng.choice((-1, 1))))
        else:  # a bar code
            for bar in rng.uniform(left, left + side, 6).astype(int).tolist():
                cv2.line(canvas, (bar, y), (bar, b[1]), colour, 1)


def contrasting_mark(rng: np.random.Generator) -> tuple[int, int, int]:
    """Black, white or a vivid colour."""
    kind = rng.random()
    return (15, 15, 15) if kind < 0.3 else (240, 240, 240) if kind < 0.6 else vivid(rng)


def person(canvas: Image, rng: np.random.Generator) -> None:
    """Somebody in the way: head, shoulders, clothes with a pattern; legs, if far enough."""
    height, width = canvas.shape[:2]
    tall = height * np.exp(rng.uniform(np.log(0.12), np.log(0.9)))
    x, y = rng.uniform(0, width), rng.uniform(0.25, 0.95) * height
    cloth = surfaces.random_surface(max(4, int(tall * 0.3)), max(4, int(tall * 0.45)), rng)
    skin = near((110, 140, 190), 35, rng)
    hair, legs = near((25, 25, 30), 14, rng), near((60, 50, 50), 30, rng)
    lean = rng.normal(0, 0.03) * tall
    for side in (-1, 1):
        hip, foot = (x + side * 0.06 * tall, y + 0.4 * tall), (x + side * 0.08 * tall, y + tall)
        ends = [np.array(p).astype(int).tolist() for p in (hip, foot)]
        cv2.line(canvas, ends[0], ends[1], legs, max(2, int(tall * 0.1)), cv2.LINE_AA)
    torso: Points = np.array(
        [(-0.13, 0), (0.13, 0), (0.12, 0.45), (-0.12, 0.45)], np.float32
    ) * np.float32(tall) + np.array((x, y), np.float32)
    mask: Image = np.zeros(cloth.shape[:2], np.uint8)
    h, w = mask.shape
    cv2.rectangle(mask, (w // 6, 0), (w - w // 6, h), (255,), -1)
    cv2.ellipse(mask, (w // 2, h // 4), (w // 2, h // 4), 0, 0, 360, (255,), -1)
    lay(canvas, cloth, torso, mask)
    head = (int(x + lean), int(y - 0.07 * tall))
    axes = (max(1, int(0.055 * tall)), max(1, int(0.08 * tall)))
    cv2.ellipse(canvas, head, axes, 0, 0, 360, skin, -1, cv2.LINE_AA)
    start = 0 if rng.random() < 0.5 else 180
    top = (head[0], head[1] - axes[1] // 5)
    cv2.ellipse(canvas, top, axes, 0, start - 180 * (start == 0), 360, hair, -1, cv2.LINE_AA)


def bush(canvas: Image, rng: np.random.Generator) -> None:
    """Leaves in front: foliage through a ragged mask."""
    x, y, w, h = _place(canvas, 0.1, 0.7, rng)
    leaves = surfaces.foliage(w, h, rng)
    small = (max(h // 4, 4), max(w // 4, 4))
    down, across = np.mgrid[-1 : 1 : small[0] * 1j, -1 : 1 : small[1] * 1j].astype(np.float32)
    ragged = octaves(small, 4, 4, rng) * np.float32(0.25) + 1 - np.hypot(down, across) * 1.3
    mask = cv2.resize(np.clip(ragged * 800, 0, 255).astype(np.uint8), (w, h))
    quad = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], np.float32)
    lay(canvas, leaves, quad, np.asarray(mask, np.uint8))


_THINGS: tuple[Callable[[Image, np.random.Generator], None], ...] = (
    *(_wires, _scribble, _lamps, _icons, _icons, person, person, bush),
)


def occlude(canvas: Image, rng: np.random.Generator) -> None:
    """Put one thing in front of everything: a pole, somebody, leaves."""
    (_wires, person, person, bush)[int(rng.integers(4))](canvas, rng)
