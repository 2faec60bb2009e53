"""A store on a disk that works, until a test says otherwise."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_agents import SqliteStore
from durable_agents.store import _sqlite_file
from tests.store._kit import FaultyDisk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "agents.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """A new store, open."""
    made = SqliteStore(path)
    await made.open("worker 1")
    yield made
    await made.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    """The disk of stores that are opened later in the test: ask for it first."""
    faulty = FaultyDisk(_sqlite_file.connect)
    monkeypatch.setattr("durable_agents.store._sqlite.connect", faulty)
    shared = FaultyDisk(
        _sqlite_file.connect_shared, refused=faulty.refused, faults=faulty.faults
    )
    monkeypatch.setattr("durable_agents.store._sqlite.connect_shared", shared)
    return faulty
