"""JSON and XML files from anyone: whole or refused; no entities, no great depth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element
from xml.parsers import expat

from ocdnet.data.formats.labelled import Malformed
from ocdnet.data.text_files import read_text
from ocdnet.errors import DataError
from ocdnet.files import open_regular

_MOST_BYTES = 1 << 30
_DEEPEST = 32
_CHUNK = 1 << 16


def load_json(path: Path) -> Any:
    """A JSON file's document.

    Raises:
        DataError: it can't be read, is larger than 1 GiB, no JSON, or nested too deep.
    """
    text = read_text(path, "label file", _MOST_BYTES)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise _bad(path, "JSON", why) from error


def loads(text: str) -> Any:
    """The value of a JSON text; raises Malformed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {str(error)[:120]}") from error


def elements(path: Path, *tags: str) -> Iterator[Element]:
    """The elements of some names in an XML file, each with all that is within; others are let go.

    Raises:
        DataError: it can't be read, is no XML, nested too deep, or has a DTD, whose entities could
            grow without end or name other files.
    """
    builder = _Builder(tags)
    try:
        with open_regular(path) as file:
            while chunk := file.read(_CHUNK):
                builder.parser.Parse(chunk, False)
                yield from builder.done
                builder.done.clear()
            builder.parser.Parse(b"", True)
            yield from builder.done
    except OSError as error:
        raise _bad(path, "readable file", error.strerror or str(error)) from error
    except (expat.ExpatError, Malformed, ValueError, LookupError) as error:
        raise _bad(path, "XML", str(error)) from error


class _Builder:
    """Builds the elements that are asked for."""

    def __init__(self, tags: tuple[str, ...]) -> None:
        self._tags, self._depth = tags, 0
        self._open: list[Element] = []
        self.done: list[Element] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _refuse(self, *_: Any) -> None:
        raise Malformed("it has a document type (DTD), which label files don't need")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Malformed("nested too deep")
        if not self._open and tag not in self._tags:
            return
        element = Element(tag, attributes)
        if self._open:
            self._open[-1].append(element)
        self._open.append(element)

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._open:
            element = self._open.pop()
            if not self._open:
                self.done.append(element)

    def _text(self, text: str) -> None:
        if self._open and not len(self._open[-1]):
            self._open[-1].text = (self._open[-1].text or "") + text


def _bad(path: Path, kind: str, why: str) -> DataError:
    return DataError("bad-label-file", f"{path}: no {kind}: {why[:200]}", expected=kind)
