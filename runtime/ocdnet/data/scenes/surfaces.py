"""Flat surfaces without text: plaster, bricks, shutters, windows, fences, foliage, shelves."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ocdnet.data.scenes.drawing import Image, grained, lit, near, octaves, random_colour, vivid

Surface = Callable[[int, int, np.random.Generator], Image]


def plain(width: int, height: int, rng: np.random.Generator) -> Image:
    """Plaster, metal, sky: one colour with a gradient and a faint grain."""
    flat: Image = np.full((height, width, 3), random_colour(rng), np.uint8)
    small = (max(height // 4, 2), max(width // 4, 2))
    strength = rng.uniform(1, 9)
    slope = np.linspace(-1, 1, small[0], dtype=np.float32)[:, None] * rng.normal(0, 22)
    return grained(flat, octaves(small, int(rng.integers(1, 6)), 4, rng) * strength + slope)


def rough(width: int, height: int, rng: np.random.Generator) -> Image:
    """Asphalt, gravel, granite, carpet: fine grain."""
    flat: Image = np.full((height, width, 3), random_colour(rng), np.uint8)
    grain = int(rng.integers(1, 5))
    shape = (max(height // grain, 2), max(width // grain, 2))
    fine = rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(4, 26))
    coarse = octaves((max(shape[0] // 4, 2), max(shape[1] // 4, 2)), 3, 3, rng)
    wide = np.asarray(cv2.resize(coarse, shape[::-1]), np.float32)
    return grained(flat, fine + wide * np.float32(rng.uniform(0, 12)))


def tiles(width: int, height: int, rng: np.random.Generator) -> Image:
    """Bricks, tiles, panels: cells of nearly one colour, with joints."""
    colour = np.array(random_colour(rng))
    down = float(np.exp(rng.uniform(np.log(6), np.log(120))))
    across = down * rng.uniform(0.8, 3.5)
    rows, columns = max(1, round(height / down)), max(1, round(width / across))
    cells = colour + rng.normal(0, rng.uniform(1, 22), (rows, columns, 1))
    small = np.clip(cells, 0, 255).astype(np.uint8)
    wall = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    joint, thick = random_colour(rng), 1 if down < 25 else int(rng.integers(1, 4))
    shifted = rng.random() < 0.5
    for row in range(rows):
        top, bottom = row * height // rows, (row + 1) * height // rows
        cv2.line(wall, (0, top), (width, top), joint, thick)
        for column in range(columns + 1):
            x = int((column + 0.5 * (shifted and row % 2)) * width / columns)
            cv2.line(wall, (x, top), (x, bottom), joint, thick)
    return np.asarray(wall, np.uint8)


def stripes(width: int, height: int, rng: np.random.Generator) -> Image:
    """Shutters, ribs, gratings, railings, zebra crossings, planks: a rhythm of bars."""
    length = height if rng.random() < 0.5 else width
    pitch = float(np.exp(rng.uniform(np.log(4), np.log(60))))
    phase = np.arange(length, dtype=np.float32) / pitch % 1
    first = random_colour(rng)
    second = near(first, 45, rng) if rng.random() < 0.6 else random_colour(rng)
    share = rng.uniform(0.15, 0.85)
    bars = (phase < share).astype(np.float32)[:, None]
    if rng.random() < 0.4:  # rounded, as of shutters
        bars = (0.5 + 0.5 * np.cos(2 * np.pi * phase)).astype(np.float32)[:, None]
    line = np.clip(bars * np.array(first) + (1 - bars) * np.array(second), 0, 255).astype(np.uint8)
    stretched = line[:, None] if length == height else line[None]
    return np.ascontiguousarray(np.broadcast_to(stretched, (height, width, 3)))


def windows(width: int, height: int, rng: np.random.Generator) -> Image:
    """A front with rows of windows, lockers, keys: a grid of cells, each a little different."""
    front = plain(width, height, rng)
    across = float(np.exp(rng.uniform(np.log(8), np.log(110))))
    down = across * rng.uniform(0.5, 1.8)
    fill_x, fill_y = rng.uniform(0.35, 0.92, 2)
    glass, frame = random_colour(rng), random_colour(rng)
    framed, varied = rng.random() < 0.5 and across > 20, rng.uniform(2, 30)
    for top in np.arange(down * 0.2, height - down * fill_y, down):
        for left in np.arange(across * 0.2, width - across * fill_x, across):
            a, b = (int(left), int(top)), (int(left + across * fill_x), int(top + down * fill_y))
            cv2.rectangle(front, a, b, near(glass, varied, rng), -1)
            if framed:
                cv2.rectangle(front, a, b, frame, 1)
    return front


def lattice(width: int, height: int, rng: np.random.Generator) -> Image:
    """A fence or a net: crossing lines, straight or slanted, before something."""
    behind = _ANY[int(rng.integers(3))](width, height, rng)
    pitch, colour = int(rng.integers(6, 40)), random_colour(rng)
    thick = 1 if pitch < 14 else int(rng.integers(1, 4))
    slant = int(height * rng.choice((0, 0, 0.5, 1)))
    for x in range(-slant, width + slant, pitch):
        cv2.line(behind, (x, 0), (x + slant, height), colour, thick, cv2.LINE_AA)
        if slant:
            cv2.line(behind, (x, 0), (x - slant, height), colour, thick, cv2.LINE_AA)
    for y in range(0, height, pitch) if not slant and rng.random() < 0.6 else ():
        cv2.line(behind, (0, y), (width, y), colour, thick)
    return behind


def foliage(width: int, height: int, rng: np.random.Generator) -> Image:
    """Leaves and grass: fractal noise through a palette of greens, dark below and bright above."""
    shape = (max(height // 2, 2), max(width // 2, 2))
    noise = octaves(shape, int(rng.integers(3, 10)), 5, rng)
    noise += rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(0.2, 0.9))
    index = np.clip(noise * 55 + 110, 0, 255).astype(np.uint8)
    hue, bright = rng.uniform(28, 62), rng.uniform(90, 230)
    ramp = np.linspace(0, 1, 256)
    hsv = np.stack((hue - 12 * ramp, 190 - 90 * ramp, 8 + bright * ramp**1.6), 1).astype(np.uint8)
    table = cv2.cvtColor(hsv[:, None], cv2.COLOR_HSV2BGR)
    leaves = cv2.LUT(cv2.merge([index] * 3), table)
    return np.asarray(cv2.resize(leaves, (width, height)), np.uint8)


def shelf(width: int, height: int, rng: np.random.Generator) -> Image:
    """Goods, books, boxes: rows of cells of many colours, with marks that are no letters."""
    front: Image = np.full((height, width, 3), near((60, 60, 60), 30, rng), np.uint8)
    row = float(rng.uniform(20, 110))
    for top in np.arange(0, height, row):
        x = 0.0
        while x < width:
            w, h = row * rng.uniform(0.15, 0.8), row * rng.uniform(0.5, 0.92)
            colour = vivid(rng) if rng.random() < 0.6 else random_colour(rng)
            a, b = (int(x), int(top + row - h)), (int(x + w), int(top + row * 0.95))
            cv2.rectangle(front, a, b, colour, -1)
            if rng.random() < 0.5:
                _mark(front, a, b, rng)
            x += w + rng.uniform(0, 0.12) * row
    return front


def _mark(image: Image, a: tuple[int, int], b: tuple[int, int], rng: np.random.Generator) -> None:
    """A patch, a disc or a cross in a box."""
    low, high = np.array(a), np.array(b)
    first, second = (low + (high - low) * rng.uniform(0.1, 0.9, 2) for _ in range(2))
    p, q = first.astype(int).tolist(), second.astype(int).tolist()
    kind, colour = rng.integers(3), random_colour(rng)
    if kind == 0:
        cv2.rectangle(image, p, q, colour, -1)
    elif kind == 1:
        cv2.circle(image, p, max(1, int(np.ptp((low, high), axis=0).min() // 4)), colour, -1)
    else:
        cv2.line(image, p, q, colour, 1, cv2.LINE_AA)


def picture(width: int, height: int, rng: np.random.Generator) -> Image:
    """What posters show: soft blobs of colour, as of people, food, landscapes."""
    image = plain(width, height, rng)
    for _ in range(int(rng.integers(2, 9))):
        centre = (rng.uniform(0, 1, 2) * (width, height)).astype(int).tolist()
        axes = np.maximum(rng.uniform(0.05, 0.4, 2) * min(width, height), 1).astype(int).tolist()
        colour = vivid(rng) if rng.random() < 0.5 else random_colour(rng)
        cv2.ellipse(image, centre, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    small = (max(height // 8, 2), max(width // 8, 2))
    return lit(image, 1 + np.float32(0.22) * octaves(small, 2, 3, rng))


_ANY: tuple[Surface, ...] = (
    *(plain, rough, foliage, plain, tiles, tiles, stripes, stripes, windows, lattice, foliage),
    *(shelf, picture),
)


def random_surface(width: int, height: int, rng: np.random.Generator) -> Image:
    """Any surface without text, uint8[height, width, 3]."""
    return _ANY[int(rng.integers(len(_ANY)))](max(width, 4), max(height, 4), rng)
