"""The Docker engine that tests of containers need."""

from __future__ import annotations

import os

import pytest
from drainproof.errors import Unsupported
from drainproof.target.container.engine import address, connect

REQUIRED = "DRAINPROOF_REQUIRE_ENGINE"
"""Set where an engine is to be there, as in CI: then a test fails that is skipped elsewhere."""


def require_engine() -> None:
    """Skips the test where no engine answers, with the sentence that tells how to get one."""
    try:
        connect(address())
    except Unsupported as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(str(error))
