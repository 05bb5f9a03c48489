"""What tests of different files need around them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from bot.logs import QUIET

# A busy machine is no fault of the code. CI looks longer than a person who waits for the tests.
settings.register_profile("capturebot", deadline=None, max_examples=100 if os.environ.get("CI") else 20)
settings.load_profile("capturebot")


@pytest.fixture
def own_log() -> Iterator[None]:
    """For tests of what opens the log, which is the process's own: everything is put back."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("", *QUIET)}
    yield
    root.handlers[:], sys.excepthook = handlers, hook
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()
