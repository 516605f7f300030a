"""Inference: the text boxes of a folder of images, as files and as pictures."""

from __future__ import annotations

from pathlib import Path

from ocdnet.actions.detection import detector_of
from ocdnet.actions.kept_maps import network_digests
from ocdnet.actions.page_files import PageFiles, names_beforehand
from ocdnet.actions.page_loop import Picture, Tally, record_files, records
from ocdnet.actions.result_names import result_names
from ocdnet.actions.session import session
from ocdnet.config.inference import InferenceConfig
from ocdnet.config.spec import Loaded, results_dir
from ocdnet.data.folders import list_images
from ocdnet.data.layout import IMAGE_SUFFIXES, fetch_hint
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.reading import FilePage, pages_of_file
from ocdnet.data.shards import Share
from ocdnet.errors import DataError, SpecError
from ocdnet.files import is_folder, write_json
from ocdnet.findings import collecting
from ocdnet.hardware import limited
from ocdnet.postprocess import DBPostprocessor
from ocdnet.progress_bar import tracked
from ocdnet.runs.files import PART, is_results
from ocdnet.runs.jobs import same_folder
from ocdnet.runs.outputs import without_own
from ocdnet.runs.printed import InferenceResult
from ocdnet.spec_keys import INFERENCE_RECURSIVE, INFERENCE_RESIZE, SKIP_UNREADABLE

MODEL, PICTURES = "model", "pictures"
"""In the file of a part: what tells from others the network's files, and the pictures of all."""


def run(loaded: Loaded) -> InferenceResult:
    """Write what `inference.outputs` lists for every image of a folder.

    A line of `<stem>.txt` is `x1,y1,...,score`, in pixels of the original image. Of TIFF and PDF
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
        share = Share(config.shards, config.shard)
        pictures = _pictures(config, share)
        postprocess = DBPostprocessor.from_spec(config.post_processing, config.polygon, "inference")
        model = loaded.experiment.model
        detector = detector_of(config, model, preprocess, postprocess, INFERENCE_RESIZE)
        if config.shards > 1:
            seen = {MODEL: network_digests(Path(detector.model), model), PICTURES: share.seen}
            write_json(here.folder / PART, seen)
        tally, files = Tally(SKIP_UNREADABLE), PageFiles.below(here.folder, config.outputs)
        with record_files(files) as sinks:
            found = records(
                detector,
                pictures,
                lambda picture, page: files.write(picture.name, page),
                keeps_going=config.skip_unreadable,
            )
            for record in tracked(found, "detecting", len(pictures)):
                for add in (tally.add, *sinks):
                    add(record)
            if config.shards == 1:  # a part may have no picture
                tally.check()
        return InferenceResult(
            **files.names(config.recursive),
            warnings=here.warnings,
            images=tally.images,
            boxes=tally.regions,
            skipped=tuple(tally.skipped),
            skipped_images=tally.skipped_images,
            checkpoint=detector.model,
            backend=detector.backend,
            resize=config.resize,
            results_dir=str(here.folder),
        )


def _refuse_same_folder(loaded: Loaded) -> None:
    """The next run would take the results for images: also where no name is one that is there."""
    config = loaded.experiment.inference
    given, folder = Path(config.input_folder), results_dir(loaded.experiment, loaded.action)
    if config.shards > 1:
        folder = folder.parents[1]  # where they are merged
    if same_folder(given, folder):
        raise SpecError(
            "results-in-input",
            f"The results would lie among the images: {folder} is inference.input_folder, too",
            got=str(folder),
            expected="a folder of its own for the results",
            hint="Set another inference.results_dir.",
        )


def _result_files(config: InferenceConfig) -> list[str]:
    """Files below the results folder that are known beforehand; none where the run can't begin."""
    with collecting():  # what is to be said of the images is said when they are read
        try:
            pictures = _pictures(config, Share(config.shards, config.shard))
        except DataError:
            return []
    return names_beforehand([picture.name for picture in pictures], config.outputs)


def _pictures(config: InferenceConfig, share: Share) -> list[Picture]:
    folder = Path(config.input_folder)
    images = _images(folder, config, share)
    names = result_names(images, folder)
    return [Picture(image, str(image.path), names[image]) for image in images]


def _images(folder: Path, config: InferenceConfig, share: Share) -> list[FilePage]:
    if not is_folder(folder):
        raise DataError(
            "no-such-folder",
            "inference.input_folder is not a folder",
            got=config.input_folder,
            expected="a folder of images",
            hint=fetch_hint(config.input_folder),
        )
    found = list_images(
        folder,
        config.recursive,
        key=INFERENCE_RECURSIVE,
        documents=True,
        is_own=is_results,
        wanted=lambda path: config.shards == 1 or share(path),
    )
    files = list(without_own(found, folder))
    if not files and config.shards == 1:
        raise DataError(
            "no-images",
            f"There are no images in {folder}",
            expected=f"images ({' '.join(sorted(IMAGE_SUFFIXES))})",
            hint=f"Give the folder that holds the images; {INFERENCE_RECURSIVE}=true searches "
            "sub-folders.",
        )
    return [page for file in files for page in pages_of_file(file)]
