"""Inference: the text boxes of a folder of images, as files and as pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ocdnet import findings
from ocdnet.actions.detection import detector_of
from ocdnet.actions.result_names import result_names
from ocdnet.actions.session import session
from ocdnet.config.inference import InferenceConfig
from ocdnet.config.spec import Loaded, results_dir
from ocdnet.data.folders import list_images
from ocdnet.data.layout import IMAGE_SUFFIXES, PDF
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.reading import FilePage, pages_of
from ocdnet.errors import DataError, SpecError
from ocdnet.files import is_folder, write_text
from ocdnet.findings import collecting
from ocdnet.hardware import limited
from ocdnet.page import Page
from ocdnet.postprocess import DBPostprocessor
from ocdnet.progress_bar import tracked
from ocdnet.runs.files import EXPERIMENT, STATUS
from ocdnet.runs.jobs import same_folder
from ocdnet.runs.printed import InferenceResult
from ocdnet.spec_keys import INFERENCE_RECURSIVE, INFERENCE_RESIZE, SKIP_UNREADABLE
from ocdnet.visualize import RED, draw_polygons, probability_image, write_image

LOG = logging.getLogger("ocdnet")
_SHOWN = 10
RESULT_SUFFIXES = (".txt", "_result.jpg", "_pred.jpg")
"""Of the files of an image: boxes, boxes drawn, probabilities."""
_LEFT_OUT = "Images that cannot be read were left out"


def run(loaded: Loaded) -> InferenceResult:
    """Write `<stem>.txt`, `<stem>_result.jpg` and `<stem>_pred.jpg` for every image of a folder.

    A line of the text file is `x1,y1,...,score`, in pixels of the original image. Of TIFF and PDF
    files every page is an image (`<stem>_p1.txt`); `result_names` says what else may be in a name.

    Args:
        loaded: a spec checked for `inference`.

    Returns:
        Numbers of images and boxes, the images that were left out, and where the files are.

    Raises:
        UserError: no images, an unreadable one, or a model made for other images.
    """
    config = loaded.experiment.inference
    _refuse_same_folder(loaded)
    writes = _result_files(config)
    with limited(config.num_threads), session(loaded, writes=writes, renews=True) as here:
        size = config.width, config.height
        preprocess = Preprocess(size, config.img_mode, resize=config.resize)
        images = _images(Path(config.input_folder), config.recursive)
        names = result_names(images, Path(config.input_folder))
        postprocess = DBPostprocessor.from_spec(config.post_processing, config.polygon, "inference")
        model = loaded.experiment.model
        detector = detector_of(config, model, preprocess, postprocess, INFERENCE_RESIZE)
        skipped: list[Path] = []

        def skip(image: FilePage, error: DataError) -> None:
            skipped.append(image.path)
            LOG.info("%s: left out", error.message)
            findings.note("left-out", _LEFT_OUT, key=SKIP_UNREADABLE, file=image.path)

        def finish(image: FilePage, page: Page) -> int:
            _write(here.folder / names[image], page)
            return len(page)

        skip_bad = skip if config.skip_unreadable else None
        written = detector.map(images, lambda image: image, finish, skipped=skip_bad)
        done = tracked(written, "detecting", len(images))
        boxes = [count for _, count in done]
        if not boxes:
            raise _none_readable(images)
        return InferenceResult(
            warnings=here.warnings,
            images=len(boxes),
            boxes=sum(boxes),
            skipped=tuple(str(image) for image in sorted(skipped)[:_SHOWN]),
            skipped_images=len(skipped),
            checkpoint=detector.model,
            backend=detector.backend,
            resize=config.resize,
            results_dir=str(here.folder),
            overlays=str(here.folder / ("**/" * config.recursive + "*_result.jpg")),
        )


def _write(stem: Path, page: Page) -> None:
    """Write the three files of an image."""
    write_text(stem.with_name(f"{stem.name}.txt"), text_lines(page))
    picture = draw_polygons(page.image, page.polygons, RED)
    write_image(stem.with_name(f"{stem.name}_result.jpg"), picture)
    if page.probability is not None:
        grey = probability_image(page.probability)
        write_image(stem.with_name(f"{stem.name}_pred.jpg"), grey)


def text_lines(page: Page) -> str:
    """One line a box: whole-pixel coordinates of the original image, then the score."""
    lines = []
    for polygon, score in zip(page.polygons, page.scores.tolist(), strict=True):
        points = np.rint(polygon).astype(int).ravel().tolist()
        lines.append(",".join(map(str, points)) + f",{score:.6f}\n")
    return "".join(lines)


def _refuse_same_folder(loaded: Loaded) -> None:
    """The next run would take the results for images: also where no name is one that is there."""
    given = Path(loaded.experiment.inference.input_folder)
    folder = results_dir(loaded.experiment, loaded.action)
    if same_folder(given, folder):
        raise SpecError(
            "results-in-input",
            f"The results would lie among the images: {folder} is inference.input_folder, too",
            got=str(folder),
            expected="a folder of its own for the results",
            hint="Set another inference.results_dir.",
        )


def _result_files(config: InferenceConfig) -> list[str]:
    """Files below the results folder that the images get; none where the run can't begin."""
    folder = Path(config.input_folder)
    with collecting():  # what is to be said of the images is said when they are read
        try:
            names = result_names(_images(folder, config.recursive), folder).values()
        except DataError:
            return []
    return [f"{name}{suffix}" for name in names for suffix in RESULT_SUFFIXES]


def _images(folder: Path, recursive: bool) -> list[FilePage]:
    if not is_folder(folder):
        raise DataError(
            "no-such-folder",
            "inference.input_folder is not a folder",
            got=str(folder),
            expected="a folder of images",
        )
    files = list_images(
        folder, recursive, key=INFERENCE_RECURSIVE, documents=True, is_own=_is_results
    )
    if not files:
        raise DataError(
            "no-images",
            f"There are no images in {folder}",
            expected=f"images ({' '.join(sorted(IMAGE_SUFFIXES))})",
            hint=f"Give the folder that holds the images; {INFERENCE_RECURSIVE}=true searches "
            "sub-folders.",
        )
    return [page for file in files for page in pages_of_file(file)]


def pages_of_file(file: Path) -> list[FilePage]:
    """The pages of a file, without opening it where its format has none."""
    return pages_of(file) if file.suffix.lower() in (".tif", ".tiff", PDF) else [FilePage(file)]


def _is_results(folder: Path) -> bool:
    """Whether a run of ours wrote to a folder: its pictures are no input."""
    return (folder / EXPERIMENT).is_file() and (folder / STATUS).is_file()


def _none_readable(images: Sequence[FilePage]) -> DataError:
    return DataError(
        "unreadable-image",
        "None of the images can be read",
        got=[str(image.path) for image in images[:_SHOWN]],
        expected="undamaged image files",
    )
