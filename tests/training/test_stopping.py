"""SIGTERM said twice at once, as to a process and to its parent, is said once."""

from __future__ import annotations

import time

import pytest

from ocdnet.training.stopping import StopRequest


@pytest.fixture
def told():
    """A request within the training loop that SIGTERM has reached once."""
    request = StopRequest()
    request.defer()
    request.handle()
    return request


def test_at_once_it_is_the_same_request(told):
    told.handle()


def test_later_it_does_not_wait(told, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.5)
    with pytest.raises(KeyboardInterrupt):
        told.handle()


def test_before_the_loop_it_ends_the_run_at_once():
    with pytest.raises(KeyboardInterrupt):
        StopRequest().handle()
