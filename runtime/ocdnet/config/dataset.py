"""Section `dataset`: what is read, how it is prepared, how it is batched."""

from dataclasses import field
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, WithJsonSchema
from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT, ImgMode, Resize, below, popular, search, words
from ocdnet.config.rules import NoArchive
from ocdnet.spec_keys import CALIBRATION_DATA, TRAIN_DATA, VALIDATE_DATA


@dataclass(config=STRICT, kw_only=True)
class PreProcess:
    """One step of preparing a sample; its arguments are checked where the step is built."""

    type: str
    """Name of the step, e.g. EastRandomCropData."""

    args: dict[str, Any] | list[Any] = field(default_factory=dict)
    """Arguments of the step; of IaaAugment, a list of steps."""


Step = Annotated[PreProcess, WithJsonSchema({"type": "object", "required": ["type"]})]
"""A step as the schema sees it: open, since its arguments are typed where it is built."""


STEPS = (
    *("IaaAugment", "Fliplr", "Affine", "Resize", "GaussianBlur", "ColorJitter"),
    *("EastRandomCropData", "WordCrop", "MakeBorderMap", "MakeShrinkMap", "Resize2D"),
)
"""Names of steps, and of those in IaaAugment's list."""

BatchSize = Annotated[int, Field(ge=1, le=1024)]
"""Images a batch; TAO has no upper bound, a search needs a finite one."""


@dataclass(config=STRICT, kw_only=True)
class DatasetArgs:
    """How images and labels are read and prepared."""

    img_mode: ImgMode = "BGR"
    """Channel order that images are read in."""

    filter_keys: list[str] = field(default_factory=lambda: [""])
    """TAO's list of sample fields to drop; not needed here."""

    ignore_tags: list[str] = field(default_factory=lambda: ["*", "###"])
    """Transcriptions that mark a text region as don't-care."""

    pre_processes: Annotated[
        list[Step], words(type=STEPS, shrink_type=["pyclipper"], mode=get_args(Resize))
    ] = field(default_factory=list)
    """Steps that prepare a sample, in order."""


@dataclass(config=STRICT, kw_only=True)
class Loader:
    """How samples are batched."""

    batch_size: Annotated[BatchSize, popular] = 1
    """Images a batch, on each device."""

    num_workers: Annotated[int, Field(ge=-1), popular] = -1
    """Processes that prepare samples; 0: none, -1: as many as the CPUs allow."""

    shuffle: bool = False
    """Read the samples in random order, a new one each epoch."""

    pin_memory: bool = False
    """TAO's switch; batches for a GPU are always in page-locked memory here."""

    collate_fn: str = ""
    """TAO's collate function; chosen automatically here."""


def _steps(*augmentation: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a training sample: augmentation where there is some, crop, maps."""
    augment = [{"type": "IaaAugment", "args": list(augmentation)}] if augmentation else []
    return [
        *augment,
        {
            "type": "EastRandomCropData",
            "args": {"size": [640, 640], "max_tries": 50, "keep_ratio": True},
        },
        {
            "type": "MakeBorderMap",
            "args": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7},
        },
        {"type": "MakeShrinkMap", "args": {"shrink_ratio": 0.4, "min_text_size": 8}},
    ]


_FLIP = {"type": "Fliplr", "args": {"p": 0.5}}
_AUGMENTATIONS = (
    _steps(),
    _steps(
        _FLIP,
        {"type": "Affine", "args": {"rotate": [-10, 10]}},
        {"type": "Resize", "args": {"size": [0.5, 3]}},
    ),
    _steps(
        _FLIP,
        {"type": "Affine", "args": {"rotate": [-45, 45]}},
        {"type": "GaussianBlur", "args": {"sigma": [1.5, 2.5], "p": 0.2}},
    ),
)


def _train_args() -> DatasetArgs:
    return DatasetArgs(
        filter_keys=["img_path", "img_name", "text_polys", "texts", "ignore_tags", "shape"],
        pre_processes=[PreProcess(**step) for step in _steps()],
    )


def _validate_args() -> DatasetArgs:
    resize = {"short_size": [1280, 736], "resize_text_polys": True}
    return DatasetArgs(pre_processes=[PreProcess(type="Resize2D", args=resize)])


@dataclass(config=STRICT, kw_only=True)
class TrainData:
    """Images to train on."""

    data_name: Literal["ICDAR2015Dataset"] = "ICDAR2015Dataset"
    """Format of the labels."""

    data_path: Annotated[list[str], popular] = field(default_factory=list)
    """Folders with img/ and gt/, or UTF-8 datalist files."""

    args: Annotated[
        DatasetArgs, below("pre_processes", search(choices=_AUGMENTATIONS, metric="hmean"))
    ] = field(default_factory=_train_args)

    loader: Annotated[Loader, below("batch_size", search(choices=[2, 4, 8, 16, 32]))] = field(
        default_factory=lambda: Loader(batch_size=16, shuffle=True)
    )


@dataclass(config=STRICT, kw_only=True)
class ValidateData:
    """Images to validate and evaluate on."""

    data_name: Literal["ICDAR2015Dataset"] = "ICDAR2015Dataset"
    """Format of the labels."""

    data_path: Annotated[list[str], popular] = field(default_factory=list)
    """Folders with img/ and gt/, or UTF-8 datalist files."""

    args: DatasetArgs = field(default_factory=_validate_args)

    loader: Loader = field(default_factory=lambda: Loader(collate_fn="ICDARCollateFN"))


@dataclass(config=STRICT, kw_only=True)
class CalibrationData:
    """Images that quantization measures activations on."""

    images_dir: Annotated[str, popular] = ""
    """Folder of images."""


@dataclass(config=STRICT, kw_only=True)
class DatasetConfig:
    """Training, validation and calibration data."""

    train_dataset: TrainData = field(default_factory=TrainData)

    validate_dataset: ValidateData = field(default_factory=ValidateData)

    quant_calibration_dataset: CalibrationData = field(default_factory=CalibrationData)


RULES = (
    NoArchive(TRAIN_DATA),
    NoArchive(VALIDATE_DATA),
    NoArchive(CALIBRATION_DATA),
)
