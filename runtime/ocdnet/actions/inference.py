"""Inference: the text boxes of a folder of images, as files and as pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.actions.detection import model_file, postprocessor
from ocdnet.actions.session import session
from ocdnet.backends.open import check_fit, open_predictor, predict
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import list_images
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError
from ocdnet.files import write_text
from ocdnet.postprocess import Detections
from ocdnet.progress import tracked
from ocdnet.visualize import RED, draw_polygons, probability_image, write_image


def run(loaded: Loaded) -> dict[str, Any]:
    """Write `<stem>.txt`, `<stem>_result.jpg` and `<stem>_pred.jpg` for every image of a folder.

    A line of the text file is `x1,y1,...,score`, in pixels of the original image.

    Args:
        loaded: a spec checked for `inference`.

    Returns:
        How many images and boxes, and where the files are.

    Raises:
        UserError: no images, an unreadable one, or a model made for other images.
    """
    config = loaded.experiment.inference
    with session(loaded) as here:
        path = model_file(config.checkpoint, config.trt_engine)
        preprocess = Preprocess((config.width, config.height), config.img_mode)
        images = _images(Path(config.input_folder))
        names = output_names(images)
        predictor = open_predictor(path, loaded.experiment.model, config.num_gpus, config.gpu_ids)
        check_fit(predictor, preprocess, path)
        postprocess = postprocessor(config.post_processing, config.polygon)
        batch_size = max(1, config.batch_size)
        boxes = 0
        pairs = predict(predictor, preprocess, images, Path, batch_size)
        for image_path, prediction in tracked(pairs, "detecting", len(images)):
            prepared = prediction.prepared
            found = postprocess(prediction.probability, prepared.scale, prepared.image_size)
            boxes += len(found.polygons)
            picture = _as_bgr(prediction.image, config.img_mode)
            stem = here.folder / names[image_path]
            write_text(stem.with_name(f"{stem.name}.txt"), text_lines(found))
            write_image(
                stem.with_name(f"{stem.name}_result.jpg"),
                draw_polygons(picture, found.polygons, RED),
            )
            write_image(
                stem.with_name(f"{stem.name}_pred.jpg"), probability_image(prediction.probability)
            )
        return {
            "action": "inference",
            "images": len(images),
            "boxes": boxes,
            "checkpoint": str(path),
            "results_dir": str(here.folder),
            "overlays": str(here.folder / "*_result.jpg"),
        }


def text_lines(found: Detections) -> str:
    """One line a box: whole-pixel coordinates of the original image, then the score."""
    lines = []
    for polygon, score in zip(found.polygons, found.scores.tolist(), strict=True):
        points = np.rint(polygon).astype(int).ravel().tolist()
        lines.append(",".join(map(str, points)) + f",{score:.6f}\n")
    return "".join(lines)


def output_names(images: Sequence[Path]) -> dict[Path, str]:
    """Name of each image's results: its stem, or its whole name where stems collide."""
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


def _as_bgr(image: NDArray[np.uint8], img_mode: str) -> NDArray[np.uint8]:
    if img_mode != "RGB":
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8)
