"""Inference: the text boxes of a folder of images, as files and as pictures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.actions.detection import open_model
from ocdnet.actions.session import session
from ocdnet.backends.pipeline import Prediction, predict
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import list_images
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.resizing import note_stretch
from ocdnet.errors import DataError
from ocdnet.files import write_text
from ocdnet.postprocess import DBPostprocessor, Detections
from ocdnet.progress_bar import tracked
from ocdnet.runs.printed import InferenceResult
from ocdnet.spec_keys import INFERENCE_RESIZE
from ocdnet.visualize import RED, draw_polygons, probability_image, write_image

LOG = logging.getLogger("ocdnet")
_SHOWN = 10


def run(loaded: Loaded) -> InferenceResult:
    """Write `<stem>.txt`, `<stem>_result.jpg` and `<stem>_pred.jpg` for every image of a folder.

    A line of the text file is `x1,y1,...,score`, in pixels of the original image.

    Args:
        loaded: a spec checked for `inference`.

    Returns:
        Numbers of images and boxes, the images that were left out, and where the files are.

    Raises:
        UserError: no images, an unreadable one, or a model made for other images.
    """
    config = loaded.experiment.inference
    with session(loaded) as here:
        size = config.width, config.height
        preprocess = Preprocess(size, config.img_mode, resize=config.resize)
        images = _images(Path(config.input_folder))
        names = output_names(images)
        opened = open_model(config, loaded.experiment.model, preprocess)
        postprocess = DBPostprocessor.from_spec(config.post_processing, config.polygon, "inference")
        skipped: list[Path] = []

        def skip(image: Path, error: DataError) -> None:
            skipped.append(image)
            LOG.warning("%s: left out", error.message)

        def finish(image: Path, prediction: Prediction) -> int:
            if config.resize == "stretch":
                note_stretch(prediction.frame.scale, image, INFERENCE_RESIZE)
            detections = postprocess(prediction.probability, prediction.frame, image)
            _write(here.folder / names[image], prediction, detections, config.img_mode)
            return len(detections.polygons)

        written = predict(
            opened.predictor,
            opened.preprocess,
            images,
            Path,
            finish,
            batch_size=opened.batch_size,
            skipped=skip if config.skip_unreadable else None,
        )
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
            checkpoint=str(opened.path),
            backend=opened.predictor.backend,
            resize=config.resize,
            results_dir=str(here.folder),
            overlays=str(here.folder / "*_result.jpg"),
        )


def _write(stem: Path, prediction: Prediction, detections: Detections, img_mode: str) -> None:
    """Write the three files of an image."""
    picture = draw_polygons(_as_bgr(prediction.image, img_mode), detections.polygons, RED)
    write_text(stem.with_name(f"{stem.name}.txt"), text_lines(detections))
    write_image(stem.with_name(f"{stem.name}_result.jpg"), picture)
    grey = probability_image(prediction.probability)
    write_image(stem.with_name(f"{stem.name}_pred.jpg"), grey)


def text_lines(detections: Detections) -> str:
    """One line a box: whole-pixel coordinates of the original image, then the score."""
    lines = []
    for polygon, score in zip(detections.polygons, detections.scores.tolist(), strict=True):
        points = np.rint(polygon).astype(int).ravel().tolist()
        lines.append(",".join(map(str, points)) + f",{score:.6f}\n")
    return "".join(lines)


def output_names(images: Sequence[Path]) -> dict[Path, str]:
    """Name of each image's results: its stem, or its whole name if others have the same stem."""
    stems = Counter(path.stem for path in images)
    return {path: path.stem if stems[path.stem] == 1 else path.name for path in images}


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(
            "no-such-folder",
            "inference.input_folder is not a folder",
            got=str(folder),
            expected="a folder of images",
        )
    images = list_images(folder)
    if not images:
        raise DataError(
            "no-images",
            f"There are no images in {folder}",
            expected=".jpg, .jpeg, .png, .bmp, .webp, .tif or .tiff files",
            hint="Subfolders are not searched: give the folder that holds the images.",
        )
    return images


def _none_readable(images: Sequence[Path]) -> DataError:
    return DataError(
        "unreadable-image",
        "None of the images can be read",
        got=[str(image) for image in images[:_SHOWN]],
        expected="undamaged image files (JPEG, PNG, BMP, WebP or TIFF)",
    )


def _as_bgr(image: NDArray[np.uint8], img_mode: str) -> NDArray[np.uint8]:
    if img_mode != "RGB":
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8)
