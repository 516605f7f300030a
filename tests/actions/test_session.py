"""What an action's failure means to the user, wherever it was noticed."""

from __future__ import annotations

import inspect
import socket
from multiprocessing import resource_sharer

import pytest

from ocdnet.actions.session import session
from ocdnet.config import spec
from ocdnet.errors import DataError, RunError

DEATH = "DataLoader worker (pid 7) is killed by signal: Killed."


class Interrupted:
    """A callable in the midst of whose inspection the signal comes."""

    def __call__(self):
        """Nothing."""

    @property
    def __signature__(self):
        raise RuntimeError(DEATH)


def test_a_worker_s_death_is_told_whatever_code_it_interrupts(tmp_path):
    given = [f"results_dir={tmp_path}", "dataset.train_dataset.data_path=[/words]"]
    loaded = spec.load("train", None, given)
    with pytest.raises(RunError) as raised, session(loaded):
        inspect.getfullargspec(Interrupted())  # wraps any error in a TypeError of its own
    assert (raised.value.code, raised.value.got) == ("worker-died", DEATH)
    assert DEATH in (tmp_path / "train" / "status.json").read_text()


def test_a_worker_that_dies_as_it_hands_over_a_sample(tmp_path):
    """Its end of the connection is gone before torch knows of its death."""
    given = [f"results_dir={tmp_path}", "dataset.train_dataset.data_path=[/words]"]
    loaded = spec.load("train", None, given)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        with pytest.raises(RunError) as raised, session(loaded):
            resource_sharer._resource_sharer.get_connection((str(tmp_path / "socket"), 1))
    assert (raised.value.code, "refused" in raised.value.got) == ("worker-died", True)
    with pytest.raises(ConnectionRefusedError), session(loaded):
        raise ConnectionRefusedError  # another's


def test_what_may_not_be_read_is_the_user_s_to_mend(tmp_path):
    given = [f"results_dir={tmp_path}", "dataset.train_dataset.data_path=[/words]"]
    loaded = spec.load("train", None, given)
    with pytest.raises(DataError) as raised, session(loaded):
        raise PermissionError(13, "Permission denied", "/root/detector.onnx")
    assert raised.value.code == "cannot-read"
    assert "/root/detector.onnx" in raised.value.message
