"""Pictures with an alpha channel as opaque ones, and pictures turned upright."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LIGHT = 0.6
"""Mean luminance, 0..1, above which a picture was made for a dark background."""
_ROWS = 256
"""Blended at once: a page of 200 megapixels takes no gigabytes beside its own."""


def blended(picture: NDArray[np.uint8], premultiplied: bool) -> NDArray[np.uint8]:
    """A picture uint8[H, W, 4], BGR and alpha, on a plain background: uint8[H, W, 3].

    The background is black where what can be seen is light (its mean luminance, weighted with
    alpha, is above 0.6), else white: so that text on nothing keeps its contrast.
    """
    strips = [slice(top, top + _ROWS) for top in range(0, len(picture), _ROWS)]
    background = 0 if _luminance(picture, premultiplied, strips) > _LIGHT else 255
    out = np.empty((*picture.shape[:2], 3), np.uint8)
    for strip in strips:
        colours = picture[strip, :, :3].astype(np.uint16)
        alpha = picture[strip, :, 3:].astype(np.uint16)
        behind = background * (255 - alpha)
        if premultiplied:
            out[strip] = np.minimum(colours + (behind + 127) // 255, 255)
        else:
            out[strip] = (colours * alpha + behind + 127) // 255
    return out


def _luminance(picture: NDArray[np.uint8], premultiplied: bool, strips: list[slice]) -> float:
    light, weight = 0.0, 0.0
    for strip in strips:
        alpha = picture[strip, :, 3].astype(np.float32)
        grey = cv2.cvtColor(picture[strip, :, :3], cv2.COLOR_BGR2GRAY)
        light += float(grey.sum() * 255.0 if premultiplied else (grey * alpha).sum())
        weight += float(alpha.sum())
    return light / (255 * weight) if weight else 0.0


def turned(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A picture as a viewer shows it, by its EXIF orientation."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
