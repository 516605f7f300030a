"""Plans of these tests are for a machine with a GPU and data enough, unless a test says else."""

from __future__ import annotations

import pytest

from ocdnet import hardware
from ocdnet.policy import starting


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU here; and two images are many."""
    monkeypatch.setattr(hardware, "gpus", lambda: 1)
    monkeypatch.setattr(starting, "FEW", 0)
    monkeypatch.setattr(starting, "_FEWEST_STEPS", 0)
