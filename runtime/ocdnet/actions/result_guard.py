"""Where `ocdnet predict` may write: over nothing but what an earlier predict has made."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ocdnet.actions.page_files import PageFiles, names_beforehand
from ocdnet.errors import SpecError
from ocdnet.files import make_folder, watching
from ocdnet.runs.jobs import same_folder
from ocdnet.runs.outputs import Outputs
from ocdnet.training.folder_lock import locked_folder

_SECTION = "predict"
_OPTION = "--out, --crops or file"


class ResultGuard:
    """Checks what is written, and puts it on record in its folder.

    A folder that was given is renewed: the first new file removes those of an earlier predict. Of a
    folder in which only a file was given, nothing else changes.

    Args:
        files: what will be written, and where.
    """

    def __init__(self, files: PageFiles) -> None:
        self._files = files
        given = {_absolute(path) for path in (files.folder, files.crops) if path}
        self._folders = {folder for folder in given if not _above(given, folder)}
        self._single = {_absolute(path) for path in (files.json, files.coco) if path}
        homes = self._folders | {self._home(path) for path in self._single}
        self._outputs = {
            home: Outputs(home, _SECTION, renews=home in self._folders, option=_OPTION)
            for home in homes
        }

    def refuse(self, sources: Sequence[str], stems: Collection[Path]) -> None:
        """Look, before anything is written, for what is in the way.

        Args:
            sources: folders among them get no results.
            stems: names of the pictures' results.

        Raises:
            SpecError: a file that no predict made would be written over, or results would lie among
                the pictures.
        """
        for folder in self._folders:
            if any(same_folder(Path(source), folder) for source in sources):
                raise SpecError(
                    "results-in-input",
                    f"The results would lie among the images: {folder} is a source, too",
                    got=str(folder),
                    expected="a folder of its own for the results",
                )
        due = [*self._single]
        if self._files.folder is not None:
            names = names_beforehand(stems, self._files.outputs)
            due += [_absolute(self._files.folder / name) for name in names]
        for home, outputs in self._outputs.items():
            below = [path for path in due if self._home(path) == home]
            outputs.refuse_others(path.relative_to(home).as_posix() for path in below)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Put each file on record that is written within.

        Raises:
            SpecError: as `refuse`, or another run writes into a folder.
        """
        with ExitStack() as stack:
            for folder in sorted(self._folders):
                make_folder(folder)
                stack.enter_context(locked_folder(folder))
            with watching(self._record):
                yield

    def _record(self, temporary: Path, path: Path) -> None:
        target = _absolute(path)
        if target in self._single or _above(self._folders, target):
            self._outputs[self._home(target)].record(temporary, target)

    def _home(self, path: Path) -> Path:
        """The folder with whose record a file is kept."""
        return _above(self._folders, path) or path.parent


def _above(folders: Collection[Path], path: Path) -> Path | None:
    """One of the folders that a path is below."""
    return next((folder for folder in path.parents if folder in folders), None)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve() follows links)
