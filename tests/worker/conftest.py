"""What outlives a worker in a test: stores, a clock, what was called, where a life ends."""

from pathlib import Path

import pytest

from durable_agents import InMemoryStore, SqliteStore, Store
from durable_agents.testing import ManualClock
from tests.worker._kit import Calls, Gate


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store that outlives its worker, of each kind."""
    if request.param == "memory":
        return InMemoryStore()
    return SqliteStore(tmp_path / "agents.db", synchronous="normal")


@pytest.fixture
def memory() -> InMemoryStore:
    """A store that outlives its worker; where the kind does not matter."""
    return InMemoryStore()


@pytest.fixture
def clock() -> ManualClock:
    """One for all lives of a test."""
    return ManualClock()


@pytest.fixture
def calls() -> Calls:
    """Durable functions, and what was executed."""
    return Calls()


@pytest.fixture
def gate() -> Gate:
    """Where the first life ends."""
    return Gate()
