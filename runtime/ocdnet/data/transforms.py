"""TAO's `pre_processes` lists, compiled once and applied as one warp per sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.data.augment import Affine, Fliplr, GaussianBlur, Resize, Step, View
from ocdnet.data.crop import choose_window
from ocdnet.data.preprocess import STRIDE, Size, pad_to
from ocdnet.data.step_args import StepArgs, read_items, unknown
from ocdnet.data.targets import Targets, make_targets
from ocdnet.errors import SpecError
from ocdnet.geometry import Polygon

_WORD_AT = (0.15, 0.85)
"""Where in a WordCrop's window the word's centre may lie, as a share of its sides."""


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """TAO's EastRandomCropData: a text-respecting window (data/crop.py) scaled to `size`.

    Attributes:
        size: (width, height) of the result.
        max_tries: windows drawn before the whole image is taken.
        keep_ratio: scale both axes alike and pad right and below; else stretch.
        min_side_ratio: least part of the image that a window spans, each way.
    """

    size: tuple[int, int]
    max_tries: int
    keep_ratio: bool
    min_side_ratio: float

    def __call__(
        self, view: View, cared: Sequence[Polygon], rng: np.random.Generator
    ) -> tuple[View, bool]:
        """The view of the window, at most `size` large, and whether a window was found.

        `cared` lies on the view's canvas.
        """
        window = choose_window(cared, view.size, self.max_tries, self.min_side_ratio, rng)
        view = view.cropped(*(window or (0, 0, *view.size)))
        fx, fy = self.size[0] / view.size[0], self.size[1] / view.size[1]
        if self.keep_ratio:
            fx = fy = min(fx, fy)
        return view.scaled(fx, fy), window is not None


@dataclass(frozen=True, slots=True)
class WordCrop:
    """A window around a random readable word, at the canvas's own scale; ours, not TAO's.

    EastRandomCropData scales windows of any extent to its size, which makes most words too small to
    learn from on few images; this one keeps the scale that IaaAugment's Resize gave.

    Attributes:
        size: (width, height) of the result, in pixels of the canvas.
    """

    size: tuple[int, int]

    def __call__(
        self, view: View, cared: Sequence[Polygon], rng: np.random.Generator
    ) -> tuple[View, bool]:
        """The view of the window, and whether there was a word to put into it.

        `cared` lies on the view's canvas.
        """
        centres = [(polygon.min(axis=0) + polygon.max(axis=0)) / 2 for polygon in cared]
        inside = [c for c in centres if 0 <= c[0] < view.size[0] and 0 <= c[1] < view.size[1]]
        centre = inside[rng.integers(len(inside))] if inside else rng.uniform((0, 0), view.size)
        corner = []
        for axis, side in enumerate(self.size):
            length = min(side, view.size[axis])
            start = round(float(centre[axis]) - length * rng.uniform(*_WORD_AT))
            corner.append((min(max(start, 0), view.size[axis] - length), length))
        (left, width), (top, height) = corner
        return view.cropped(left, top, left + width, top + height), bool(inside)


@dataclass(frozen=True, slots=True)
class BorderMap:
    """TAO's MakeBorderMap: see `make_targets`."""

    shrink_ratio: float
    thresh_min: float
    thresh_max: float


@dataclass(frozen=True, slots=True)
class ShrinkMap:
    """TAO's MakeShrinkMap: see `make_targets`."""

    shrink_ratio: float
    min_text_size: int


class CropResult(NamedTuple):
    """What a training crop came to, as `CropWatch` counts it."""

    has_text: bool
    """The image has a text region that is not ignored."""
    found_window: bool
    """A window was found; else the crop is the whole image."""
    teaches: bool
    """The crop's shrink map holds text."""


@dataclass(frozen=True, slots=True)
class TrainSample:
    """What a training step needs of one image.

    Attributes:
        image: uint8[h, w, 3], not normalised.
        targets: label maps of [h, w].
        polygons: K arrays float32[N, 2] in pixels of `image`; none lies wholly outside,
            but a rotation can drive parts of one over the image's edge.
        ignore: bool[K].
        crop: what the crop came to.
    """

    image: NDArray[np.uint8]
    targets: Targets
    polygons: list[Polygon]
    ignore: NDArray[np.bool_]
    crop: CropResult


@dataclass(frozen=True, slots=True)
class TrainTransform:
    """A compiled training list: all geometry in one matrix, one cv2.warpAffine per sample."""

    steps: tuple[Step, ...]
    crop: RandomCrop | WordCrop
    border: BorderMap
    shrink: ShrinkMap

    def __call__(
        self,
        image: NDArray[np.uint8],
        polygons: Sequence[Polygon],
        ignore: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> TrainSample:
        """Augment uint8[H, W, 3], crop it and draw its label maps; a function of `rng`'s state.

        Args:
            image: as read by `read_image`.
            polygons: K arrays float32[N, 2], pixels of `image`.
            ignore: bool[K].
            rng: the sample's own generator, e.g. `default_rng([seed, epoch, index])`.
        """
        view = View(np.eye(3), (image.shape[1], image.shape[0]))
        for step in self.steps:
            view = step(view, rng)
        cared = [polygon for polygon, skip in zip(polygons, ignore, strict=True) if not skip]
        view, found_window = self.crop(view, view.move(cared), rng)
        moved = view.move(polygons)
        kept = [index for index, polygon in enumerate(moved) if _meets(polygon, view.size)]
        moved, ignore = [moved[index] for index in kept], ignore[kept]
        targets = self._targets(moved, ignore)
        # A text that a rotation drove over the image's edge would reach into the padding.
        targets.shrink_map[view.size[1] :] = 0
        targets.shrink_map[:, view.size[0] :] = 0
        result = CropResult(bool(cared), found_window, bool(targets.shrink_map.any()))
        return TrainSample(self._draw(image, view), targets, moved, ignore, result)

    def _draw(self, image: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
        drawn = cv2.warpAffine(image, view.matrix[:2], view.size, flags=cv2.INTER_LINEAR)
        if view.variance > 0:
            drawn = cv2.GaussianBlur(drawn, (0, 0), math.sqrt(view.variance))
        # Nothing of the image beyond the window may show in the padding: it may be a cut text.
        return pad_to(np.asarray(drawn, dtype=np.uint8), self.crop.size[1], self.crop.size[0])

    def _targets(self, polygons: list[Polygon], ignore: NDArray[np.bool_]) -> Targets:
        def draw(shrink_ratio: float) -> Targets:
            return make_targets(
                polygons,
                ignore,
                size=(self.crop.size[1], self.crop.size[0]),
                shrink_ratio=shrink_ratio,
                min_text_size=self.shrink.min_text_size,
                thresh_min=self.border.thresh_min,
                thresh_max=self.border.thresh_max,
            )

        targets = draw(self.shrink.shrink_ratio)
        if self.border.shrink_ratio == self.shrink.shrink_ratio:
            return targets
        border = draw(self.border.shrink_ratio)
        return replace(
            targets, threshold_map=border.threshold_map, threshold_mask=border.threshold_mask
        )


def _meets(polygon: Polygon, size: tuple[int, int]) -> bool:
    """Whether the polygon's bounding box meets the pixels of the canvas."""
    (left, top), (right, bottom) = polygon.min(axis=0), polygon.max(axis=0)
    return bool(right >= 0 and bottom >= 0 and left <= size[0] - 1 and top <= size[1] - 1)


_AUGMENTATIONS: dict[str, Callable[[StepArgs], Step]] = {
    "Fliplr": lambda args: Fliplr(args.number("p", 0.5, 0, 1)),
    "Affine": lambda args: Affine(
        args.interval("rotate", None, -360, 360), args.number("p", 1, 0, 1)
    ),
    "Resize": lambda args: Resize(
        args.interval("size", None, 0.01, 100), args.number("p", 1, 0, 1)
    ),
    "GaussianBlur": lambda args: GaussianBlur(
        args.interval("sigma", None, 0, 100), args.number("p", 0.5, 0, 1)
    ),
}
_TRAIN_STEPS = ("IaaAugment", "EastRandomCropData", "MakeBorderMap", "MakeShrinkMap")
_OURS = ("WordCrop",)


@dataclass
class _TrainList:
    """What has been read of a training list."""

    steps: list[Step] = field(default_factory=list)
    crop: RandomCrop | WordCrop | None = None
    border: BorderMap | None = None
    shrink: ShrinkMap | None = None


def compile_train(
    pre_processes: Sequence[Mapping[str, Any]], where: str = "pre_processes"
) -> TrainTransform:
    """Compile a training list of `{type, args}`.

    Known types: IaaAugment (args: a list of Fliplr p; Affine rotate, p; Resize size, p;
    GaussianBlur sigma, p), EastRandomCropData (size, max_tries, keep_ratio, min_crop_side_ratio;
    require_original_image, without effect as in TAO), MakeBorderMap (shrink_ratio, thresh_min,
    thresh_max), MakeShrinkMap (shrink_ratio, min_text_size, shrink_type: pyclipper). The last three
    are required, once each; IaaAugment stands before the crop. Since the crop scales its window to
    a fixed size, Resize changes which windows are likely and how sharp they are, not how large
    their text is: so it is in TAO. WordCrop (size) of ours, in place of EastRandomCropData, keeps
    the scale.

    Raises:
        SpecError: an unknown type or argument, a wrong value, a step missing, double or out of
            place; names e.g. `pre_processes[1].args.size`. `where` is the list's key in the spec.
    """
    found = _TrainList()
    for here, kind, args in read_items(pre_processes, where):
        if kind not in (*_TRAIN_STEPS, *_OURS):
            raise unknown("step", f"{here}.type", kind, (*_TRAIN_STEPS, *_OURS))
        if kind == "IaaAugment":
            if found.crop is not None:
                raise _misplaced(here, "IaaAugment after EastRandomCropData")
            found.steps += [_read_augmentation(*item) for item in read_items(args, f"{here}.args")]
        else:
            _read_once(found, kind, here, StepArgs(here, args))
    if found.crop is None or found.border is None or found.shrink is None:
        steps = (found.crop, found.border, found.shrink)
        missing = [kind for kind, step in zip(_TRAIN_STEPS[1:], steps, strict=True) if not step]
        raise SpecError(
            "missing-step",
            f"{where} lacks {', '.join(missing)}",
            got=[item["type"] for item in pre_processes],
            expected="EastRandomCropData (a fixed size), MakeBorderMap and MakeShrinkMap",
        )
    return TrainTransform(tuple(found.steps), found.crop, found.border, found.shrink)


def _read_augmentation(where: str, kind: str, raw: Any) -> Step:
    if kind not in _AUGMENTATIONS:
        raise unknown("augmentation", f"{where}.type", kind, _AUGMENTATIONS)
    args = StepArgs(where, raw)
    step = _AUGMENTATIONS[kind](args)
    args.finish()
    return step


def _read_once(found: _TrainList, kind: str, where: str, args: StepArgs) -> None:
    """Read a step that may stand in the list once."""
    name = {"MakeBorderMap": "border", "MakeShrinkMap": "shrink"}.get(kind, "crop")
    if getattr(found, name) is not None:
        raise _misplaced(where, "a second crop" if kind in _OURS else f"a second {kind}")
    if kind == "EastRandomCropData":
        found.crop = RandomCrop(
            size=args.size("size", (640, 640), STRIDE),
            max_tries=args.whole("max_tries", 50, 0),
            keep_ratio=args.flag("keep_ratio", True),
            min_side_ratio=args.number("min_crop_side_ratio", 0.1, 0, 1),
        )
        args.flag("require_original_image", False)
    elif kind == "WordCrop":
        found.crop = WordCrop(size=args.size("size", (320, 320), STRIDE))
    elif kind == "MakeBorderMap":
        found.border = BorderMap(
            shrink_ratio=args.number("shrink_ratio", 0.4, 0.01, 0.99),
            thresh_min=args.number("thresh_min", 0.3, 0, 1),
            thresh_max=args.number("thresh_max", 0.7, 0, 1),
        )
    else:
        found.shrink = ShrinkMap(
            shrink_ratio=args.number("shrink_ratio", 0.4, 0.01, 0.99),
            min_text_size=args.whole("min_text_size", 8, 0),
        )
        args.only("shrink_type", "pyclipper")
    args.finish()


def _misplaced(where: str, what: str) -> SpecError:
    return SpecError(
        "misplaced-step",
        f"{what[0].upper()}{what[1:]} at {where}",
        expected="IaaAugment first, then EastRandomCropData, MakeBorderMap and MakeShrinkMap once",
    )


def compile_eval(pre_processes: Sequence[Mapping[str, Any]], where: str = "pre_processes") -> Size:
    """The size setting of a validation list: what `Preprocess` takes.

    Known type: Resize2D (short_size: [width, height], multiples of 32, or one number;
    resize_text_polys: accepted and without effect, as polygons are compared in pixels of the
    original image). An empty list keeps the images' own size, padded to multiples of 32.

    Raises:
        SpecError: as `compile_train`.
    """
    size: Size = STRIDE
    for index, (here, kind, raw) in enumerate(read_items(pre_processes, where)):
        if kind != "Resize2D":
            raise unknown("step", f"{here}.type", kind, ("Resize2D",))
        if index:
            raise SpecError("misplaced-step", f"A second Resize2D at {here}", expected="one")
        args = StepArgs(here, raw)
        if args.is_list("short_size"):
            size = args.size("short_size", (1280, 736), STRIDE)
        else:
            size = args.whole("short_size", 736, 1)
        args.flag("resize_text_polys", True)
        args.finish()
    return size
