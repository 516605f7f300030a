"""`ocdnet` with the small network, as a file that torchrun, srun and Lightning can start."""

import pytest

import changes
import support
from ocdnet.cli.main import main

support.shrink_network(pytest.MonkeyPatch())
changes.make_changes()
main()
