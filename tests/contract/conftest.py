"""Every store that the package ships, opened for a test and closed behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_agents import InMemoryStore, SqliteStore, Store
from durable_agents.testing import CrashingStore


def _make(kind: str, folder: Path) -> Store:
    match kind:
        case "memory":
            return InMemoryStore()
        case "sqlite-full":
            return SqliteStore(folder / "agents.db")
        case "sqlite-normal":
            return SqliteStore(folder / "agents.db", synchronous="normal")
        case "sqlite-shared":
            return SqliteStore(folder / "agents.db", shared=True)
        case _:
            return CrashingStore(InMemoryStore(), after=None)


@pytest.fixture(params=["memory", "sqlite-full", "sqlite-normal", "sqlite-shared", "crashing"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A new store, open."""
    made = _make(request.param, tmp_path)
    await made.open("worker 1")
    yield made
    await made.close()
