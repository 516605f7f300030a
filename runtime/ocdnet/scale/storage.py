"""Files by path or URI (s3://, gs://, file:// and what else fsspec knows)."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from ocdnet import findings
from ocdnet.errors import EnvironmentFault, UsageError
from ocdnet.files import path_of_uri, replacing

_LOCAL = "file://"
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "memory"}
"""Where a file is there when all of it was sent, and never in part."""
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs"}
_CLIENT_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("aiohttp", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("gcsfs.retry", "HttpError"),
)
"""What clients raise that is no OSError."""


def opened(uri: str) -> tuple[Any, str]:
    """The file system of a path or URI, and the path in it.

    Raises:
        UsageError: no such scheme.
        EnvironmentFault: its package is not installed.
    """
    if is_local(uri):
        path = path_of_uri(uri[len(_LOCAL) :]) if "://" in uri else uri
        return _file_system("file", ""), str(LocalFileSystem._strip_protocol(path))
    scheme, _, rest = uri.partition("://")
    scheme = scheme.lower()
    fs = _file_system(scheme, rest.partition("/")[0])
    return fs, str(fs._strip_protocol(f"{scheme}://{rest}"))


@cache
def _file_system(scheme: str, host: str) -> Any:
    """One for all threads: fsspec's own cache has one for each, with a client of its own."""
    root = f"{scheme}://{host}/"
    try:
        return url_to_fs(root, use_listings_cache=False)[0]
    except ImportError as error:
        package = _PACKAGES.get(scheme, f"of {scheme}://")
        raise EnvironmentFault(
            "missing-package",
            f"{scheme}:// needs the package {package}",
            got=str(error),
            hint=f"pip install {package}, here and on every node.",
        ) from error
    except ValueError as error:
        raise UsageError(
            "unknown-scheme", f"{root} cannot be opened", got=str(error), expected="s3://, gs://"
        ) from error


def is_local(uri: str) -> bool:
    """Whether a path or URI leads to this machine's files."""
    return "://" not in uri or uri.lower().startswith(_LOCAL)


def absolute(source: str) -> str:
    """A path from the root on; a URI as it is, of file:// its path."""
    return str(opened(source)[1]) if is_local(source) else source.rstrip("/")


def full_name(fs: Any, path: str) -> str:
    """What rows call a file: its path, or its URI."""
    return path if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


def faults() -> tuple[type[Exception], ...]:
    """What the clients of the object stores raise, as far as they are installed."""
    found: list[type[Exception]] = [OSError]
    for module, name in _CLIENT_ERRORS:
        try:
            found.append(getattr(import_module(module), name))
        except ImportError:
            continue
    return tuple(found)


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Let what goes wrong with a URI be an EnvironmentFault."""
    try:
        yield
    except faults() as error:
        raise EnvironmentFault(
            "cannot-reach",
            f"Cannot read or write {uri}",
            got=f"{type(error).__name__}: {error}"[:300],
            expected="a folder or bucket that is there, and the right to use it",
        ) from error


def read_file(uri: str, start: int | None = None, stop: int | None = None) -> bytes | None:
    """A file's bytes, or some of them; None: there is no such file."""
    fs, path = opened(uri)
    with reaching(uri):
        try:
            return bytes(fs.cat_file(path, start=start, end=stop))
        except FileNotFoundError:
            return None


def put_whole(file: Path, uri: str) -> None:
    """Copy a local file to a URI, where it is whole or not there at all."""
    fs, path = opened(uri)
    if isinstance(fs, LocalFileSystem):
        with replacing(Path(path)) as temporary:
            shutil.copyfile(file, temporary)
        return
    with reaching(uri):
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        if protocols & _OBJECT_STORES:
            fs.put_file(os.fspath(file), path)
            return
        beside = f"{path}.{uuid.uuid4().hex}"
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        fs.put_file(os.fspath(file), beside)
        fs.mv(beside, path)


def entries_of(fs: Any, path: str) -> list[dict[str, Any]]:
    """What lies in a folder, without the object that some stores have for the folder itself."""
    entries, itself = fs.ls(path, detail=True), path.rstrip("/")
    for entry in entries:
        if entry["name"] == f"{itself}/" and entry.get("StorageClass") == "DIRECTORY":
            message = "Folders without a name (// in keys) cannot be searched"
            findings.note("nameless-folder", message, file=full_name(fs, entry["name"]) + "/")
    return [entry for entry in entries if entry["name"].rstrip("/") != itself]


def names_in(uri: str) -> list[str]:
    """Names of what lies in a folder; none where it is not there."""
    fs, path = opened(uri)
    with reaching(uri):
        try:
            return [name.rstrip("/").rpartition("/")[2] for name in fs.ls(path, detail=False)]
        except FileNotFoundError:
            return []
