"""What tests of the proof leave as they found it."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def level_of_log() -> Iterator[None]:
    """The programs of the proof quiet the package's log, for a process that is theirs alone."""
    logger = logging.getLogger("durable_agents")
    level = logger.level
    yield
    logger.setLevel(level)
