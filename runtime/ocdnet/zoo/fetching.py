"""From a name of public weights to their file: fetched once, checked by its hash."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import sys
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ocdnet import install
from ocdnet.errors import DataError, EnvironmentFault
from ocdnet.files import replacing, sha256
from ocdnet.zoo.registry import Weights, find, hash_prefix, is_unknown, named

MIRROR = "OCDNET_WEIGHTS"
"""Variable with another server (http:// or https://), or a folder that holds the files."""
_SILENCE = 30.0
"""Seconds without a byte after which a server counts as not there."""
_NETWORK = (
    urllib.error.URLError,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
    http.client.HTTPException,
)


def model_file(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model: a path as it is, a name of `ocdnet weights list` fetched if need be.

    Raises:
        DataError: it looks like a name and is none, or the file is not the one it should be.
        EnvironmentFault: the file cannot be fetched; says where to put it by hand.
    """
    given = os.fspath(name_or_path)
    weights = find(given)
    if weights is not None:
        return fetch(weights)
    if is_unknown(given):
        named(given)  # raises
    return Path(given)


def fetch(weights: Weights) -> Path:
    """The file of public weights, in the cache or the folder that OCDNET_WEIGHTS names.

    Raises:
        DataError: the file is not the one it should be.
        EnvironmentFault: it is not there and cannot be fetched.
    """
    if weights.packaged:
        return _packaged(weights)
    mirror, url = os.environ.get(MIRROR, ""), _url(weights)
    by_hand = bool(mirror) and not re.match(r"https?://", mirror)
    file = (Path(mirror) if by_hand else cache()) / PurePosixPath(urlsplit(url).path).name
    if not file.is_file():
        if by_hand:
            raise EnvironmentFault(
                "no-weights-file",
                f"{MIRROR} names a folder that lacks the file of {weights.name}",
                got=str(file),
                expected=f"the file of {url}",
                hint=f"Put it there, or unset {MIRROR} to have it fetched.",
            )
        _download(weights, url, file)
    if not sha256(file).startswith(hash_prefix(url)):
        raise DataError(
            "wrong-hash",
            f"{file} is not the file of {weights.name}: it was cut off, or is another one",
            got=f"sha256 {sha256(file)}",
            expected=f"sha256 {hash_prefix(url)}...",
            hint=f"Remove it, and put there the file of {url}.",
        )
    return file


def _packaged(weights: Weights) -> Path:
    file = Path(__file__).with_name(weights.packaged)
    if not file.is_file():
        raise EnvironmentFault(
            "no-weights-file",
            f"This installation lacks the file of {weights.name}",
            got=str(file),
            expected="the file that the package brings along",
            hint="Install the package again, or name another model.",
        )
    return file


def cache() -> Path:
    """Folder of fetched files: `ocdnet/weights` in the user's cache."""
    return install.cache_dir() / "weights"


def _url(weights: Weights) -> str:
    if weights.url:
        return weights.url
    try:
        from torchvision.models import get_weight  # noqa: PLC0415 - for its own weights alone
    except ImportError as error:
        raise _no_torch(weights) from error
    url: str = get_weight(weights.torchvision).url
    return url


def _download(weights: Weights, url: str, file: Path) -> None:
    """Fetch a file whole, or leave nothing; raises as `fetch`."""
    try:
        from torch import hub  # noqa: PLC0415 - to download alone
    except ImportError as error:
        raise _no_torch(weights) from error
    mirror = os.environ.get(MIRROR, "")
    source = mirror.rstrip("/") + urlsplit(url).path if mirror else url
    _say(f"{weights.name}: licence {weights.licence}, from {weights.source}")
    _say(f"Fetching {source}")
    with replacing(file) as temporary, _impatient():
        try:
            hub.download_url_to_file(
                source, str(temporary), hash_prefix=hash_prefix(url), progress=sys.stderr.isatty()
            )
        except _NETWORK as error:
            raise EnvironmentFault(
                "cannot-fetch",
                f"Cannot fetch {source}",
                got=str(getattr(error, "reason", None) or error) or type(error).__name__,
                hint=f"{_by_hand(url, file)} A proxy is taken from HTTPS_PROXY; {MIRROR} names "
                "another server, or a folder with the files.",
            ) from error
        except RuntimeError as error:  # torch's own, for a hash that differs
            raise DataError(
                "wrong-hash",
                f"What {source} sent is not the file of {weights.name}: cut off, or another one",
                got=str(error),
                expected=f"sha256 {hash_prefix(url)}...",
                hint=f"Nothing was kept: try again. {_by_hand(url, file)}",
            ) from error


def _by_hand(url: str, file: Path) -> str:
    return f"By hand: download {url} elsewhere and put it at {file}."


def _no_torch(weights: Weights) -> EnvironmentFault:
    return EnvironmentFault(
        "missing-package",
        f"Fetching {weights.name} needs torch and torchvision, as its use does",
        hint=install.command("train"),
    )


@contextmanager
def _impatient() -> Iterator[None]:
    """Give up on a server that is silent; torch sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(before or _SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
