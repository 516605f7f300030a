"""From an image file to the network's input: one code path for torch, ONNX and TensorRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.data.reading import Image, check_img_mode
from ocdnet.data.resizing import Mode, Room, fitted, padded
from ocdnet.errors import DataError, SpecError
from ocdnet.geometry import Frame
from ocdnet.spec_keys import STRIDE

MEAN = (122.67891434, 116.66876762, 104.00698793)
"""Subtracted in channel order, whatever the image mode (as TAO OCDNet does)."""

_PREFIX = "ocdnet.preprocess."
_DIVISOR = 255.0
_CHANNELS = 3

Size = tuple[int, int] | int


@dataclass(frozen=True, slots=True)
class Normalisation:
    """From pixels to the network's numbers: `(x - mean) / divisor`, each in channel order.

    TAO's is the default; a network of another trainer brings its own.
    """

    mean: tuple[float, ...] = MEAN
    divisor: tuple[float, ...] = (_DIVISOR,) * _CHANNELS

    def columns(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and divisor as float32[3, 1, 1]."""
        mean, divisor = (np.array(v, np.float32) for v in (self.mean, self.divisor))
        return mean[:, None, None], divisor[:, None, None]


TAO = Normalisation()


def resize2d(image: Image, short_size: Size) -> tuple[Image, tuple[float, float]]:
    """TAO's Resize2D, bilinear.

    Args:
        image: [H, W, 3] of any dtype OpenCV resizes.
        short_size: (width, height) to stretch to; or one number, which enlarges, aspect kept,
            only where the shorter side is below it.

    Returns:
        The image, itself where its size is right, and the factors of its width and height.
    """
    height, width = image.shape[:2]
    if isinstance(short_size, tuple):
        fx, fy = short_size[0] / width, short_size[1] / height
    else:
        fx = fy = max(1.0, short_size / min(height, width))
    if (fx, fy) == (1.0, 1.0):
        return image, (fx, fy)
    resized = cv2.resize(image, None, fx=fx, fy=fy, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=image.dtype), (fx, fy)


def resized(image: Image, size: tuple[int, int]) -> Image:
    """The image at (width, height), without the false edges of pixels that are left out."""
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = width * height < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=image.dtype)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image at the network's size.

    Attributes:
        image: uint8[h, w, 3], h and w multiples of 32.
        frame: what brings polygons back to the original image; not larger than `image`.
    """

    image: Image
    frame: Frame


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How an image becomes the network's input; travels with every exported artifact.

    Attributes:
        size: (width, height), multiples of 32, to stretch to; or one number as in TAO's
            Resize2D (see `resize2d`), with black added right and below up to multiples of 32.
        img_mode: BGR, RGB or GRAY: how images are read, and the channel order.
        normalisation: from pixels to the network's numbers.
        resize: how an image comes to that size; for modes other than stretch `size` is a pair.
        room: sizes that the network takes; None: any.

    Raises:
        SpecError: a side that is no positive multiple of 32, or an unknown mode.
    """

    size: Size
    img_mode: str = "BGR"
    normalisation: Normalisation = field(default=TAO)
    resize: Mode = "stretch"
    room: Room | None = None

    def __post_init__(self) -> None:
        check_img_mode(self.img_mode)
        explicit = isinstance(self.size, tuple)
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        if min(sides) < 1 or (explicit and any(side % STRIDE for side in sides)):
            raise SpecError(
                "bad-network-size",
                "The network's width and height are not usable",
                got=list(sides),
                expected=f"positive multiples of {STRIDE}" if explicit else "a positive number",
                hint=f"Nearest: {[max(1, round(side / STRIDE)) * STRIDE for side in sides]}.",
            )

    @property
    def pair(self) -> tuple[int, int]:
        """Width and height, of one number a square."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    def prepare(self, image: Image) -> Prepared:
        """Resize (and pad) one image uint8[H, W, 3] read with `img_mode`: whole, never as tiles."""
        height, width = image.shape[:2]
        if self.resize != "stretch":
            inner = fitted((width, height), self.pair, self.resize, self.room)
            outer = padded(inner, self.room)
            image = pad_to(resized(image, inner), outer[1], outer[0])
            scale = width / inner[0], height / inner[1]
            return Prepared(image, Frame(inner, scale, (width, height)))
        image, (fx, fy) = resize2d(image, self.size)
        # Black, as outside the image in training: the network has learnt that it holds no text.
        image = pad_to(image, *(-(-side // STRIDE) * STRIDE for side in image.shape[:2]))
        size = image.shape[1], image.shape[0]
        return Prepared(image, Frame(size, (1 / fx, 1 / fy), (width, height)))

    def to_tensor(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Normalised float32[B, 3, h, w] of prepared images; smaller ones are padded."""
        height = max(image.shape[0] for image in images)
        width = max(image.shape[1] for image in images)
        batch = np.empty((len(images), 3, height, width), dtype=np.float32)
        mean, divisor = self.normalisation.columns()
        for out, image in zip(batch, images, strict=True):
            # Straight into the channels-first batch: a third of the time of a copy turned over.
            planes = pad_to(image, height, width).transpose(2, 0, 1)
            np.subtract(planes, mean, out=out, dtype=np.float32)
        batch /= divisor
        return batch

    def to_metadata(self) -> dict[str, str]:
        """The preprocessing as strings, for ONNX `metadata_props`; see `from_metadata`."""
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        return {
            f"{_PREFIX}img_mode": self.img_mode,
            f"{_PREFIX}size": ",".join(map(str, sides)),
            f"{_PREFIX}mean": _listed(self.normalisation.mean),
            f"{_PREFIX}divisor": _listed(self.normalisation.divisor),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Preprocess:
        """The inverse of `to_metadata`; other keys are left alone.

        Raises:
            DataError: a key is missing or makes no sense.
        """
        try:
            sides = tuple(int(side) for side in str(metadata[f"{_PREFIX}size"]).split(","))
            size: Size = sides[0] if len(sides) == 1 else (sides[0], sides[1])
            mean, divisor = (_numbers(metadata[f"{_PREFIX}{key}"]) for key in ("mean", "divisor"))
            if len(sides) > 2 or not all(divisor):
                raise ValueError("not two sides, or a divisor of 0")
            mode = str(metadata[f"{_PREFIX}img_mode"])
            return cls(size, mode, Normalisation(mean, divisor))
        except (KeyError, ValueError, SpecError) as error:
            raise _bad_metadata(metadata) from error

    @staticmethod
    def is_in(metadata: Mapping[str, Any]) -> bool:
        """Whether an artifact's metadata describe its preprocessing."""
        return any(key.startswith(_PREFIX) for key in metadata)


def _listed(numbers: tuple[float, ...]) -> str:
    """The numbers as text; a single one where all are the same."""
    kept = numbers[:1] if len(set(numbers)) == 1 else numbers
    return ",".join(str(number).removesuffix(".0") for number in kept)


def _numbers(text: Any) -> tuple[float, ...]:
    """The inverse of `_listed`: a number for each channel.

    Raises:
        ValueError: no numbers, not finite, or not one or three of them.
    """
    numbers = tuple(float(part) for part in str(text).split(","))
    if len(numbers) == 1:
        numbers *= _CHANNELS
    if len(numbers) != _CHANNELS or not np.isfinite(numbers).all():
        raise ValueError(text)
    return numbers


def _bad_metadata(metadata: Mapping[str, Any]) -> DataError:
    return DataError(
        "bad-preprocess-metadata",
        "The artifact does not say how its input is prepared",
        got={key: value for key, value in metadata.items() if key.startswith(_PREFIX)},
        expected=sorted(Preprocess((STRIDE, STRIDE)).to_metadata()),
        hint="Export it again with `ocdnet export`; for a network of another trainer see "
        "references/foreign-models.md.",
    )


def pad_to(image: Image, height: int, width: int) -> Image:
    """The image with black added right and below; the image itself where it has that size."""
    if image.shape[:2] == (height, width):
        return image
    out = np.zeros((height, width, 3), dtype=np.uint8)
    out[: image.shape[0], : image.shape[1]] = image
    return out
