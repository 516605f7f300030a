"""Pickled files: what is read, what is refused, and that nothing of theirs runs."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import os
import pathlib
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from ocdnet.errors import DataError
from ocdnet.unpickle import read_pickle

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3)}


def save(path, **beside):
    torch.save({"state_dict": WEIGHTS, **beside}, path)
    return path


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.5),
        np.bool_(True),
        np.arange(4).reshape(2, 2),
        np.array(["one", "two"]),
        np.dtype("f4"),
        pathlib.PurePosixPath("/results/train"),
        pathlib.PureWindowsPath("C:/results"),
        pathlib.Path("/results"),
        argparse.Namespace(lr=0.1, output=pathlib.Path("/results"), sizes=[1, 2]),
        collections.defaultdict(list, {1: [2.0]}),
        collections.OrderedDict(a=np.float32(1)),
        {"hmean": np.float64(0.5), np.float64(0.5): "key"},
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_harmless_objects_beside_the_weights_do_not_matter(tmp_path, value, zipped):
    content = {"state_dict": WEIGHTS, "beside": value, "epoch": 3}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    content = read_pickle(tmp_path / "a.pth")
    assert torch.equal(content["state_dict"]["a.weight"], WEIGHTS["a.weight"])
    assert content["epoch"] == 3


def test_what_stands_beside_the_weights_is_not_built(tmp_path):
    """Not even a path: the object in its place is empty."""
    where = read_pickle(save(tmp_path / "a.pth", where=pathlib.Path("/results")))["where"]
    assert type(where).__name__ in ("PosixPath", "WindowsPath")
    assert not isinstance(where, pathlib.PurePath)
    assert vars(where) == {}


def object_of(patch, module, name):
    """An object of a package that is here until the patch is undone."""
    kind = type(name, (), {"__module__": module})
    for dot in [i for i, letter in enumerate(module) if letter == "."] + [len(module)]:
        patch.setitem(sys.modules, module[:dot], types.ModuleType(module[:dot]))
    setattr(sys.modules[module], name, kind)
    return kind()


def test_a_package_that_is_absent_is_not_needed(tmp_path, monkeypatch):
    """A spec as Hydra holds it, on a machine without OmegaConf."""
    config = object_of(monkeypatch, "omegaconf.dictconfig", "DictConfig")
    config.__dict__["_content"] = {"model": {"backbone": "deformable_resnet18"}, "type": dict}
    path = save(tmp_path / "a.pth", hyper_parameters=config)
    monkeypatch.undo()
    assert "a.weight" in read_pickle(path)["state_dict"]


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("place", ["beside", "in a namespace", "as weights", "as key", "in numpy"])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, f"{os.name if os.name == 'nt' else 'posix'}.system"), (eval, "eval")],
    ids=["system", "eval"],
)
def test_a_call_in_any_place_is_named_and_never_made(tmp_path, place, function, name):
    marker = tmp_path / "marker"
    command = f"touch {marker}" if function is os.system else f"open({str(marker)!r}, 'w').close()"
    call = Call(function, command)
    content = {
        "beside": {"state_dict": WEIGHTS, "extra": call},
        "in a namespace": {"state_dict": WEIGHTS, "args": argparse.Namespace(run=call)},
        "as weights": {"state_dict": call},
        "as key": {"state_dict": WEIGHTS, call: 1},
        "in numpy": {"state_dict": WEIGHTS, "extra": np.array([call], dtype=object)},
    }[place]
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(DataError) as caught:
        read_pickle(tmp_path / "a.pth")
    assert (caught.value.code, caught.value.got) == ("unsafe-checkpoint", name)
    assert not marker.exists()
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert marker.exists()  # it would have run


def test_a_type_that_is_not_known_to_be_harmless_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        read_pickle(save(tmp_path / "a.pth", when=datetime.timedelta(1)))
    assert caught.value.got == "datetime.timedelta"
    assert "state_dict" in caught.value.hint


def test_what_is_let_through_is_let_through_here_only(tmp_path):
    path = save(tmp_path / "a.pth", args=argparse.Namespace(lr=1))
    read_pickle(path)
    with pytest.raises(Exception, match=r"argparse\.Namespace"):
        torch.load(io.BytesIO(path.read_bytes()), weights_only=True)


class Opener:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_code_is_named_and_never_run(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "a.pth"
    torch.save({"state_dict": WEIGHTS, "extra": Opener(marker)}, path)
    with pytest.raises(DataError) as caught:
        read_pickle(path)
    assert caught.value.code == "unsafe-checkpoint"
    assert caught.value.got in ("io.open", "_io.open")
    assert not marker.exists()
    torch.load(path, weights_only=False)["extra"].close()
    assert marker.exists()  # it would have run


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.nn.modules.linear", "Linear"),
        ("nvidia_tao_pytorch.cv.ocdnet.model.model", "Model"),
        ("torchvision.models.resnet", "ResNet"),
    ],
)
def test_a_pickled_network_is_refused_as_such(tmp_path, monkeypatch, module, name):
    """As TAO writes its pruned ones."""
    path = tmp_path / "pruned_0.1.pth"
    with monkeypatch.context() as patch:
        network = nn.Linear(2, 2) if name == "Linear" else object_of(patch, module, name)
        torch.save(network, path)
    with pytest.raises(DataError) as caught:
        read_pickle(path)
    assert (caught.value.code, caught.value.got) == ("unsafe-checkpoint", f"{module}.{name}")
    assert f"{path} holds a pickled network" in caught.value.message
    assert "pruned from" in caught.value.hint


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_cut_anywhere_is_refused(tmp_path, zipped):
    whole, path = tmp_path / "whole.pth", tmp_path / "cut.pth"
    torch.save(WEIGHTS, whole, _use_new_zipfile_serialization=zipped)
    content = whole.read_bytes()
    # Cut within a type's name, the legacy format looks like one that holds an unknown type.
    codes = {"bad-checkpoint"} if zipped else {"bad-checkpoint", "unsafe-checkpoint"}
    for kept in range(0, len(content), 1 + len(content) // 150):
        path.write_bytes(content[:kept])
        with pytest.raises(DataError) as caught:
            read_pickle(path)
        assert caught.value.code in codes, kept
        assert str(path) in caught.value.message


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "content",
    [b"", b"model:\n  backbone: deformable_resnet18\n", b'{"a": 1}', b"1,2,3", b"\xff" * 99],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_pickle(tmp_path / "a.pth")
    assert caught.value.code == "bad-checkpoint"


@pytest.mark.parametrize("name", ["absent.pth", "."])
def test_no_file_is_no_checkpoint(tmp_path, name):
    with pytest.raises(DataError) as caught:
        read_pickle(tmp_path / name)
    assert caught.value.code == "no-checkpoint"
    assert caught.value.got == str(tmp_path / name)
