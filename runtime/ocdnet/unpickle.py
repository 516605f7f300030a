"""Reading pickled files without running what they hold."""

from __future__ import annotations

import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch

from ocdnet.errors import DataError

# Errors that torch.load raises for cut and garbled files, as seen on some thousands of them.
_DAMAGE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)

# Types that stand beside the weights in checkpoints of TAO, timm, mmocr and torchvision's scripts.
# None of their values is of use here, so none is built: an inert object takes its place, no code of
# the named package runs, and the package need not be installed.
_BESIDE_WEIGHTS = (
    # Metrics that were never made Python numbers (TAO's `metrics`), by NumPy 2 and 1.
    "numpy.dtype",
    "numpy.ndarray",
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("_core", "core")
        for name in ("scalar", "_reconstruct")
    ),
    # The command line of the training script (`args` of timm and torchvision), its folders.
    "argparse.Namespace",
    *(
        f"pathlib.{name}"
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
    *(f"pathlib._local.{name}" for name in ("PosixPath", "WindowsPath")),
    # The training log of mmengine (`message_hub`), where a file was not stripped of it.
    "mmengine.logging.history_buffer.HistoryBuffer",
    # The spec as Hydra holds it (`hyper_parameters`), and the types that its nodes refer to.
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    *(
        f"omegaconf.nodes.{name}Node"
        for name in ("Any", "Boolean", "Bytes", "Float", "Integer", "Path", "String")
    ),
    "typing.Any",
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple")),
)


class _StandIn:
    """Stands in for an object that is not built: takes any arguments and state, and keeps none."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _plain_dict(*_: object) -> dict[Any, Any]:
    """In place of a defaultdict, whose factory is then never called."""
    return {}


_SAFE = [
    (_plain_dict, "collections.defaultdict"),
    *((type(name.rpartition(".")[2], (_StandIn,), {}), name) for name in _BESIDE_WEIGHTS),
]


def read_pickle(path: Path) -> Any:
    """What `torch.save` wrote: tensors on the CPU and plain values.

    Harmless objects that stand beside the weights are replaced by empty ones.

    Raises:
        DataError: absent, damaged, or holding objects whose loading could run code.
    """
    if not path.is_file():
        raise DataError(
            "no-checkpoint",
            f"There is no checkpoint {path}",
            got=str(path),
            expected="a .pth file",
            hint="Training writes model_best.pth into <results_dir>/train.",
        )
    try:
        with torch.serialization.safe_globals(_SAFE):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise unusable(path, "it is damaged or no checkpoint") from error
        raise _unsafe(path, named.group(1)) from error
    except _DAMAGE as error:
        raise unusable(path, "it is damaged or no checkpoint") from error


def unusable(path: Path, reason: str) -> DataError:
    """The error for a file that holds no usable weights."""
    return DataError(
        "bad-checkpoint",
        f"Cannot use the checkpoint {path}: {reason}",
        expected="a .pth file written by training",
        hint="Check that the copy is whole.",
    )


def _unsafe(path: Path, name: str) -> DataError:
    if re.search(r"(?:^|\.)models?\.|^torch\.nn\.modules\.", name):
        return DataError(
            "unsafe-checkpoint",
            f"{path} holds a pickled network (as TAO's prune writes it), whose code would run",
            got=name,
            expected="tensors and plain values",
            hint="Save its state_dict alone; of TAO's pruned model, take what it was pruned from.",
        )
    return DataError(
        "unsafe-checkpoint",
        f"{path} holds Python objects, which would run code when loaded",
        got=name,
        expected="tensors and plain values",
        hint="Save its state_dict alone: torch.save({'state_dict': model.state_dict()}, FILE).",
    )
