"""Regions of a picture as small upright pictures, as recognisers of text take them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.geometry import Points, min_area_quad, order_quad

_TALL = 1.5
"""Height by width above which a region is taken for a line that stands on its end."""


def crop(
    image: NDArray[np.uint8], polygon: Points, margin: float = 0.0, lay_flat: bool = False
) -> NDArray[np.uint8]:
    """The region of a polygon, rectified by a perspective transform.

    Args:
        image: uint8[H, W, 3].
        polygon: [N, 2] in its pixels. Of four corners the first becomes the top left, the others
            follow clockwise on the screen; of others the smallest rectangle around them is taken.
        margin: pixels of the crop around the region, as a part of its shorter side.
        lay_flat: turn a region that is taller than 1.5 times its width by 90 degrees
            counter-clockwise, so that what was its top is at the left.

    Returns:
        uint8[h, w, 3], at least 1 x 1. Beyond the picture its border is repeated.
    """
    quad = polygon if len(polygon) == 4 else order_quad(min_area_quad(polygon)[0])
    corners = np.asarray(quad, np.float32)
    top, right, bottom, left = (
        math.dist(corners[start], corners[(start + 1) % 4]) for start in range(4)
    )
    width, height = max(1, round(max(top, bottom))), max(1, round(max(left, right)))
    border = round(margin * min(width, height))
    inner = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32) + border
    matrix = cv2.getPerspectiveTransform(corners, inner)
    flat = cv2.warpPerspective(
        image,
        matrix,
        (width + 2 * border, height + 2 * border),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if lay_flat and height > _TALL * width:
        flat = cv2.rotate(flat, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return np.asarray(flat, dtype=np.uint8)
