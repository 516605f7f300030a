"""Labelled pictures for many machines: labels are read here, pictures where they are seen."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocdnet import findings
from ocdnet.data.annotations import Annotation, Annotations, index_dataset
from ocdnet.data.layout import fetch_hint
from ocdnet.data.safe_names import safe_parts
from ocdnet.errors import DataError, UserError
from ocdnet.scale.storage import absolute, entries_of, is_local, opened, reaching

_THREADS = 16


@dataclass(frozen=True)
class Origins:
    """Where the files of an index come from.

    Attributes:
        folders: of each data path that is a URI: the folder that stood in for it, and the URI.
        below: folder that relative paths start from.
    """

    folders: tuple[tuple[str, str], ...]
    below: Path

    def uri(self, path: Path | str) -> str:
        """The URI of a file; empty: it is a file of this machine."""
        text = str(path)
        for folder, uri in self.folders:
            if text.startswith(f"{folder}/"):
                return uri + text[len(folder) :]
        return ""

    def named(self, annotation: Annotation) -> Annotation:
        """The annotation with its image's name, and its path from the root on."""
        uri = self.uri(annotation.image)
        if uri:
            return replace(annotation, shown=uri)
        return replace(annotation, image=self.below / annotation.image, shown=annotation.name)

    def told(self, value: Any) -> Any:
        """Something that is to be read, with URIs for the folders in it."""
        if isinstance(value, list):
            return [self.told(one) for one in value]
        for folder, uri in self.folders if isinstance(value, str) else ():
            value = value.replace(folder, uri)
        return value


def index_sources(
    data_paths: Sequence[str], ignore_tags: Sequence[str], key: str
) -> tuple[Annotations, Origins]:
    """The labels of data paths, of which some are URIs of split folders (`img/`, `gt/`).

    Of those the labels are fetched, and of the images only names are seen here.

    Raises:
        UserError: as `index_dataset`; or a URI is no such folder, or can't be read.
    """
    with tempfile.TemporaryDirectory(prefix="ocdnet-") as scratch:
        places: list[str] = []
        folders: list[tuple[str, str]] = []
        for path in data_paths:
            if is_local(path):
                places.append(absolute(path) if "://" in path else path)
                continue
            folder = Path(scratch) / str(len(folders))
            _stand_in(path.rstrip("/"), folder)
            folders.append((str(folder), path.rstrip("/")))
            places.append(str(folder))
        origins = Origins(tuple(folders), Path.cwd())
        try:
            with findings.collecting() as seen:
                annotations = index_dataset(places, ignore_tags, key)
        except UserError as error:
            for part in ("message", "got", "expected", "hint"):
                setattr(error, part, origins.told(getattr(error, part)))
            raise
    rows = seen.rows()
    for row in rows:
        row.message = origins.told(row.message)
    findings.relay(rows, origins.told)
    return annotations, origins


def _stand_in(uri: str, folder: Path) -> None:
    """A folder with a split folder's labels, and empty files for its images."""
    for _, file in _files_below(uri, "img", folder):
        file.touch()
    labels = _files_below(uri, "gt", folder)
    fs, _ = opened(uri)
    with ThreadPoolExecutor(_THREADS) as pool, reaching(uri):
        list(pool.map(lambda pair: fs.get_file(pair[0], str(pair[1])), labels))


def _files_below(uri: str, part: str, folder: Path) -> list[tuple[str, Path]]:
    """Files of a URI's folder, each with its place here; folders in it are made, and empty."""
    fs, root = opened(f"{uri}/{part}")
    with reaching(uri):
        try:
            entries = entries_of(fs, root)
        except (FileNotFoundError, NotADirectoryError):
            entries = []
    files = []
    for entry in entries:
        path = entry["name"].rstrip("/")
        place = folder / part / "/".join(safe_parts(path.rpartition("/")[2], _refused(uri)))
        if entry["type"] == "directory":
            place.mkdir(parents=True)
        else:
            files.append((path, place))
    if not files:
        raise DataError(
            "bad-split-folder",
            f"{uri} has no files in {part}/",
            got=uri,
            expected="a folder with img/ and gt/",
            hint=fetch_hint(uri),
        )
    (folder / part).mkdir(parents=True, exist_ok=True)
    return files


def _refused(uri: str) -> Any:
    return lambda why: DataError("bad-name", f"A file of {uri} {why}", expected="another name")
