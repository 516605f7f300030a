"""The spec's `pre_processes` lists, compiled: TAO's steps, and WordCrop and ColorJitter of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ocdnet.config.dataset import DatasetArgs
from ocdnet.data.augment import Affine, ColorJitter, Fliplr, GaussianBlur, Resize, Step
from ocdnet.data.crop import RandomCrop, WordCrop
from ocdnet.data.preprocess import Preprocess, Size
from ocdnet.data.resizing import MODES, Mode
from ocdnet.data.step_args import StepArgs, read_items, unknown
from ocdnet.data.transforms import BorderMap, ShrinkMap, TrainTransform
from ocdnet.errors import SpecError
from ocdnet.spec_keys import STRIDE

_T = TypeVar("_T")
_KEY = "dataset.{}.args.pre_processes"


def train_transform(args: DatasetArgs) -> TrainTransform:
    """The training list of a spec, compiled; raises SpecError naming the key."""
    return compile_train(_items(args), _KEY.format("train_dataset"))


def eval_preprocess(args: DatasetArgs) -> Preprocess:
    """The network input that the validation list describes; raises SpecError naming the key."""
    size, resize = compile_eval(_items(args), _KEY.format("validate_dataset"))
    return Preprocess(size, args.img_mode, resize=resize)


def _items(args: DatasetArgs) -> list[dict[str, Any]]:
    return [{"type": step.type, "args": step.args} for step in args.pre_processes]


def _random_crop(args: StepArgs) -> RandomCrop:
    args.flag("require_original_image", False)
    return RandomCrop(
        size=args.size("size", (640, 640), STRIDE),
        max_tries=args.whole("max_tries", 50, 0),
        keep_ratio=args.flag("keep_ratio", True),
        min_side_ratio=args.number("min_crop_side_ratio", 0.1, 0, 1),
    )


def _word_crop(args: StepArgs) -> WordCrop:
    return WordCrop(size=args.size("size", (320, 320), STRIDE))


def _border_map(args: StepArgs) -> BorderMap:
    return BorderMap(
        shrink_ratio=args.number("shrink_ratio", 0.4, 0.01, 0.99),
        thresh_min=args.number("thresh_min", 0.3, 0, 1),
        thresh_max=args.number("thresh_max", 0.7, 0, 1),
    )


def _shrink_map(args: StepArgs) -> ShrinkMap:
    args.only("shrink_type", "pyclipper")
    return ShrinkMap(
        shrink_ratio=args.number("shrink_ratio", 0.4, 0.01, 0.99),
        min_text_size=args.whole("min_text_size", 8, 0),
    )


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
    "ColorJitter": lambda args: ColorJitter(
        args.number("brightness", 0.3, 0, 1),
        args.number("contrast", 0.4, 0, 1),
        args.number("saturation", 0.5, 0, 1),
        args.number("p", 0.8, 0, 1),
    ),
}
_PARTS: dict[str, tuple[str, Callable[[StepArgs], Any]]] = {
    "EastRandomCropData": ("crop", _random_crop),
    "WordCrop": ("crop", _word_crop),
    "MakeBorderMap": ("border", _border_map),
    "MakeShrinkMap": ("shrink", _shrink_map),
}
"""Steps that stand in a list once: the part of TrainTransform that each gives, and its reader."""
_REQUIRED = {"crop": "EastRandomCropData", "border": "MakeBorderMap", "shrink": "MakeShrinkMap"}
"""TAO's step for each part."""


def compile_train(
    pre_processes: Sequence[Mapping[str, Any]], where: str = "pre_processes"
) -> TrainTransform:
    """Compile a training list of `{type, args}`.

    Known types: IaaAugment (args: a list of Fliplr p; Affine rotate, p; Resize size, p;
    GaussianBlur sigma, p; ColorJitter of ours: brightness, contrast, saturation, p),
    EastRandomCropData (size, max_tries, keep_ratio, min_crop_side_ratio;
    require_original_image, without effect as in TAO), MakeBorderMap (shrink_ratio, thresh_min,
    thresh_max), MakeShrinkMap (shrink_ratio, min_text_size, shrink_type: pyclipper). The last three
    are required, once each; IaaAugment stands before the crop. As in TAO, the crop scales its
    window to a fixed size: so Resize changes which windows are likely and how sharp they are, not
    how large their text is. WordCrop (size) of ours, in place of EastRandomCropData, keeps the
    scale.

    Raises:
        SpecError: an unknown type or argument, a wrong value, a step missing, double or out of
            place; names e.g. `pre_processes[1].args.size`. `where` is the list's key in the spec.
    """
    augmentations: list[Step] = []
    parts: dict[str, Any] = {}
    for here, kind, args in read_items(pre_processes, where):
        if kind == "IaaAugment":
            if "crop" in parts:
                raise _misplaced(here, "IaaAugment after EastRandomCropData")
            augmentations += [_augmentation(*item) for item in read_items(args, f"{here}.args")]
        elif kind in _PARTS:
            part, read = _PARTS[kind]
            if part in parts:
                raise _misplaced(
                    here, "A second crop" if kind == "WordCrop" else f"A second {kind}"
                )
            parts[part] = _read(read, StepArgs(here, args))
        else:
            raise unknown("step", f"{here}.type", kind, ("IaaAugment", *_PARTS))
    if missing := [step for part, step in _REQUIRED.items() if part not in parts]:
        raise _incomplete(where, missing, [item["type"] for item in pre_processes])
    return TrainTransform(tuple(augmentations), **parts)


def _augmentation(where: str, kind: str, args: Any) -> Step:
    if kind not in _AUGMENTATIONS:
        raise unknown("augmentation", f"{where}.type", kind, _AUGMENTATIONS)
    return _read(_AUGMENTATIONS[kind], StepArgs(where, args))


def _read(reader: Callable[[StepArgs], _T], args: StepArgs) -> _T:
    """What a reader makes of a step's arguments, of which it must know all."""
    step = reader(args)
    args.finish()
    return step


def _misplaced(where: str, problem: str) -> SpecError:
    return SpecError(
        "misplaced-step",
        f"{problem} at {where}",
        expected="IaaAugment first, then EastRandomCropData, MakeBorderMap and MakeShrinkMap once",
    )


def _incomplete(where: str, missing: Sequence[str], given: Sequence[str]) -> SpecError:
    return SpecError(
        "missing-step",
        f"{where} lacks {', '.join(missing)}",
        got=given,
        expected="EastRandomCropData (a fixed size), MakeBorderMap and MakeShrinkMap",
    )


def compile_eval(
    pre_processes: Sequence[Mapping[str, Any]], where: str = "pre_processes"
) -> tuple[Size, Mode]:
    """The size setting of a validation list, and how images come to it: what `Preprocess` takes.

    Known type: Resize2D (short_size: [width, height], multiples of 32, or one number;
    resize_text_polys: accepted and without effect, as polygons are compared in pixels of the
    original image; mode, ours: stretch as TAO does, or fit, auto, tile). An empty list keeps the
    images' own size, padded to multiples of 32.

    Raises:
        SpecError: as `compile_train`.
    """
    setting: tuple[Size, Mode] = STRIDE, "stretch"
    for index, (here, kind, args) in enumerate(read_items(pre_processes, where)):
        if kind != "Resize2D":
            raise unknown("step", f"{here}.type", kind, ("Resize2D",))
        if index:
            raise SpecError("misplaced-step", f"A second Resize2D at {here}", expected="one")
        setting = _read(_resize2d, StepArgs(here, args))
    return setting


def _resize2d(args: StepArgs) -> tuple[Size, Mode]:
    args.flag("resize_text_polys", True)
    mode: Mode = args.choice("mode", "stretch", MODES)
    # One number keeps the aspect already; the other modes need a width and a height.
    if args.is_list("short_size") or mode != "stretch":
        return args.size("short_size", (1280, 736), STRIDE), mode
    return args.whole("short_size", 736, 1), mode
