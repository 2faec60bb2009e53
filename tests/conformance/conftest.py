"""Stores to restart over."""

from pathlib import Path

import pytest

from durable_agents import InMemoryStore, SqliteStore, Store


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
