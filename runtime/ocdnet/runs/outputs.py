"""What runs have made in a results folder, on record: nothing else is ever written over."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ocdnet.catalogue import RUNS
from ocdnet.errors import SpecError
from ocdnet.files import os_fault, watching, write_text
from ocdnet.findings import note
from ocdnet.runs.files import EXPERIMENT, REPORT, RESULTS, SAMPLES, STATUS
from ocdnet.runs.progress import progress
from ocdnet.runs.status import read_status

RECORD = ".ocdnet_files.jsonl"
"""The record: a line {section, file, digest} for each file, written before the file is there."""
_PAGE = b"<title>OCDNet: "
_KEPT = (EXPERIMENT, STATUS, REPORT)
"""What each run in a folder writes anew by itself."""
_OURS = (*_KEPT, RESULTS, SAMPLES)
"""What runs of earlier releases, which kept no record, wrote under these names."""
_CHUNK = 1 << 20
_SHOWN = 10


class Outputs:
    """The files that a run may write into its folder, and those that an earlier one left.

    Args:
        folder: of the results.
        section: of the action; runs of others share no folder with it.
        renews: whether the first file that is written removes those of an earlier run.
        checks: whether each write is checked; not of a training, which goes on in its own folder.
        option: what names the folder where no spec does; not given: `<section>.results_dir`.
    """

    def __init__(
        self,
        folder: Path,
        section: str,
        *,
        renews: bool = False,
        checks: bool = True,
        option: str = "",
    ) -> None:
        self.folder, self.section, self.renews, self.checks = folder, section, renews, checks
        self._key = "" if option else f"{section}.results_dir"
        self._option = option or self._key
        self._lock = threading.Lock()
        self._written: set[str] = set()
        self._known, self._others = self._recorded()
        self._earlier = self._section_of_earlier_release() if not self._known else None

    def refuse_others(self, names: Iterable[str]) -> None:
        """Check the names of files, relative to the folder, before any of them is written.

        Raises:
            SpecError: one is there that no run of this action made, or that was changed since.
        """
        foreign = [name for name in names if self._foreign(name)]
        if foreign:
            raise self._refusal(foreign)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Put each file on record that is written within; raises as `refuse_others`."""
        with watching(self.record):
            yield

    def _recorded(self) -> tuple[dict[str, set[str]], set[str]]:
        """Names and digests of this action's files, and the names of other actions' files."""
        known: dict[str, set[str]] = {}
        others: set[str] = set()
        for section, name, digest in _rows(self.folder):
            if section == self.section:
                known.setdefault(name, set()).add(digest)
            else:
                others.add(name)
        return known, others

    def _section_of_earlier_release(self) -> str | None:
        """The section whose run of an earlier release, or of TAO, the status.json tells of."""
        try:
            action = progress(read_status(self.folder / STATUS)).action
        except OSError:
            return None
        return RUNS[action].section if action in RUNS else None

    def _foreign(self, name: str) -> bool:
        """Whether a file is there that is not this action's."""
        path = self.folder / name
        if not os.path.lexists(path):
            return False
        if path.is_symlink() or not path.is_file():
            return True
        if name in _OURS and self._earlier == self.section:
            return False
        if name == STATUS:  # is only added to
            ours = self._tells(path)
        elif name == REPORT:
            ours = _PAGE in _head(path)
        elif name == EXPERIMENT:  # a spec that is written anew from what was read
            ours = name in self._known
        else:
            ours = digest_of(path) in self._known.get(name, ())
        return not ours

    def _tells(self, path: Path) -> bool:
        """Whether a status.json is empty, or of a run of this action."""
        try:
            status = read_status(path)
        except OSError:
            return False
        if not status.lines:
            return path.stat().st_size == 0
        return self._section_of_earlier_release() in (None, self.section)

    def _refusal(self, foreign: list[str]) -> SpecError:
        path = self.folder / foreign[0]
        others = sorted(self._others.intersection(foreign))
        why = "another action made it" if others else f"no run of {self.section} made it as it is"
        more = f", and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        return SpecError(
            "file-exists",
            f"{path} would be written over, but {why}{more}",
            got=foreign[:_SHOWN],
            expected="a folder of results without files of the same names",
            hint=f"Set another {self._option}, or move these files away.",
        )

    def record(self, temporary: Path, path: Path) -> None:
        """Before a file takes its place: refuse it as `refuse_others`, or put it on record.

        Args:
            temporary: the whole file.
            path: where it goes; what is not below the folder is none of ours.
        """
        try:
            name = path.relative_to(self.folder).as_posix()
        except ValueError:
            return  # elsewhere: its action has looked
        passing = path.name.startswith(".") and path.suffix == ".tmp"  # another file's content
        if name == RECORD or passing:
            return
        with self._lock:
            if self._written <= set(_KEPT) and name not in _KEPT and self.renews:
                self._remove_earlier()
            if self.checks and name not in self._written and self._foreign(name):
                raise self._refusal([name])
            self._written.add(name)
            self._append({"section": self.section, "file": name, "digest": digest_of(temporary)})

    def _append(self, row: dict[str, str]) -> None:
        path = self.folder / RECORD
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise os_fault(error, path) from error

    def _remove_earlier(self) -> None:
        """Remove what an earlier run of this action left, as it left it; say so."""
        removed: list[Path] = []
        gone: set[str] = set()  # or changed: ours no more
        for name, digests in list(self._known.items()):
            path = self.folder / name
            if name in _KEPT:
                continue
            gone.add(name)
            if path.is_symlink() or not path.is_file():
                continue
            if digest_of(path) not in digests:
                note(
                    "changed-since",
                    "A file of an earlier run was changed since then, and is kept",
                    key=self._key,
                    file=path,
                )
                continue
            path.unlink(missing_ok=True)
            del self._known[name]
            removed.append(path)
            _drop_empty(path.parent, self.folder)
        for path in removed:
            note(
                "earlier-results",
                "The results folder held an earlier run, whose files this run replaces or removes",
                key=self._key,
                file=path,
            )
        if gone:
            lines = [line for line in _lines(self.folder) if _file_of(line) not in gone]
            write_text(self.folder / RECORD, "".join(f"{line}\n" for line in lines))


def without_own(paths: Iterable[Path], root: Path) -> Iterator[Path]:
    """The files below a folder but for those that runs have made and nobody changed since.

    Those are noted.
    """
    known: dict[Path, dict[str, set[str]]] = {}
    recording: dict[Path, list[Path]] = {}  # of each folder those above, and itself, with a record
    for path in paths:
        here = path.parent
        if here not in recording:
            above = (one for one in path.parents if one == root or root in one.parents)
            recording[here] = [folder for folder in above if _digests_in(folder, known)]
        if any(_made_in(folder, path, known[folder]) for folder in recording[here]):
            note("own-results", "Pictures that an earlier run made were left out", file=path)
        else:
            yield path


def files_on_record(folder: Path) -> dict[str, bool]:
    """Of the files that runs have made in a folder whether each is there as it was made.

    Their names are relative to the folder. What each run writes anew by itself is left out.
    """
    known = _digests_in(folder, {})
    return {name: _made_in(folder, folder / name, known) for name in known if name not in _KEPT}


def _digests_in(folder: Path, known: dict[Path, dict[str, set[str]]]) -> dict[str, set[str]]:
    """Names and digests of the files that are on record in a folder, read once."""
    if folder not in known:
        known[folder] = {}
        for _, name, digest in _rows(folder):
            known[folder].setdefault(name, set()).add(digest)
    return known[folder]


def _made_in(folder: Path, path: Path, known: dict[str, set[str]]) -> bool:
    digests = known.get(path.relative_to(folder).as_posix(), set())
    return bool(digests) and path.is_file() and digest_of(path) in digests


def _rows(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Section, file and digest of each line of a folder's record."""
    for line in _lines(folder):
        with suppress(ValueError, TypeError, KeyError):  # the end of a run that was killed
            row = json.loads(line)
            yield str(row["section"]), str(row["file"]), str(row["digest"])


def _lines(folder: Path) -> list[str]:
    path = folder / RECORD
    try:
        return path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []
    except OSError as error:
        raise os_fault(error, path) from error


def _file_of(line: str) -> str:
    try:
        return str(json.loads(line)["file"])
    except (ValueError, TypeError, KeyError):
        return ""


def digest_of(path: Path) -> str:
    """What tells a file from a changed one: its size, and a digest of its first and last MiB."""
    size = path.stat().st_size
    state = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        state.update(file.read(_CHUNK))
        if size > _CHUNK:
            file.seek(max(_CHUNK, size - _CHUNK))
            state.update(file.read(_CHUNK))
    return state.hexdigest()[:32]


def refuse_input(target: Path, source: Path, key: str) -> None:
    """Raise SpecError where a file would be written over the one that it is made of."""
    if target.exists() and target.samefile(source):
        raise SpecError(
            "file-exists",
            f"{target} is what is read, and would be written over",
            got=str(source),
            expected="another folder for the result",
            hint=f"Set another {key}.",
        )


def refuse_page(path: Path) -> None:
    """Raise SpecError where a report would be written over a file that is no report of ours."""
    if os.path.lexists(path) and not (path.is_file() and _PAGE in _head(path)):
        raise SpecError(
            "file-exists",
            f"{path} is no report of this program, and is not written over",
            got=str(path),
            expected="a file that does not exist yet, or an earlier report",
            hint="Give another file: ocdnet report RESULTS_DIR --out FILE.html",
        )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _drop_empty(folder: Path, root: Path) -> None:
    while folder != root and root in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
