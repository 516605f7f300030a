"""The fake has what NVIDIA's bindings have, so that what runs with it runs with them."""

from __future__ import annotations

import enum
import inspect
import json
import lzma
import re
from pathlib import Path

import pytest

from backends import fake_tensorrt as fake

_FILE = Path(__file__).with_name("tensorrt_signatures.json.xz")
REAL = json.loads(lzma.decompress(_FILE.read_bytes()))


def parameters(signature):
    """Names of a signature's parameters: of pybind11's `name: type`, or Cython's `type name`."""
    inside = re.sub(r"\[[^]]*\]|<[^>]*>", "", signature.partition("(")[2].rpartition(")")[0])
    names = [part.partition(":")[0].partition("=")[0].split() for part in inside.split(",")]
    return [name[-1] for name in names if name and name[-1] != "self"]


def taken(function):
    given = inspect.signature(function).parameters
    return [name for name in given if name != "self"]


def members(kind):
    """What a fake class offers: its own public names, and the attributes that instances have."""
    names = [name for name in vars(kind) if name[0] != "_"]
    return {name: vars(kind)[name] for name in names if name not in ("fails", "last", "made")}


@pytest.mark.parametrize("version", REAL["tensorrt"])
@pytest.mark.parametrize("name", fake.TENSORRT)
def test_tensorrt(version, name):
    kind, real = fake.TENSORRT[name], REAL["tensorrt"][version].get(name)
    assert real is not None
    for member, value in members(kind).items():
        assert member in real, f"{name}.{member}"
        if inspect.isfunction(value):
            names = taken(value)
            overloads = [parameters(line)[: len(names)] for line in real[member]]
            assert names in overloads, f"{name}.{member}: {real[member]}"


@pytest.mark.parametrize("name", fake.CUDA)
def test_cuda(name):
    (real,) = (version[name] for version in REAL["cuda"].values())
    value = fake.CUDA[name]
    if isinstance(value, enum.EnumMeta):
        assert set(value.__members__) <= set(real)
    else:
        assert [taken(value)] == [parameters(line) for line in real]


@pytest.mark.parametrize("kind", ["Builder", "Runtime", "OnnxParser", "ILogger"])
@pytest.mark.parametrize("version", REAL["tensorrt"])
def test_what_is_called_to_make_them(version, kind):
    (real,) = REAL["tensorrt"][version][kind]["__init__"]
    assert parameters(real) == taken(fake.TENSORRT[kind].__init__)


def test_precision_has_no_flags_in_tensorrt_11():
    """Why precision is put into the ONNX: asserted so that nobody goes back to flags."""
    flags = REAL["tensorrt"]["11.4.0.106"]["BuilderFlag"]
    assert "FP16" not in flags
    assert "INT8" not in flags
    assert "TF32" in flags
