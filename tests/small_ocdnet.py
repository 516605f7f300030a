"""`ocdnet` with the small network, as a file that torchrun, srun and Lightning can start.

What a test changes it hands over as Python in OCDNET_TEST_BEFORE.
"""

import os

import pytest

import support
from ocdnet.cli.main import main

support.shrink_network(pytest.MonkeyPatch())
exec(os.environ.get("OCDNET_TEST_BEFORE", ""))
main()
