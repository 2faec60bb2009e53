"""Closing a store closes all that it holds, whatever fails on the way."""

# ruff: noqa: ANN401 - connections take and give anything

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durable_agents import SqliteStore
from durable_agents.store import _sqlite_file
from tests.store._kit import new, notes, write

READER, WRITER = "reader", "writer"


class FatalError(BaseException):
    """One that no `except Exception` sees."""


class Connections:
    """Makes connections of which each closes, and then raises what it was told to."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.failures: dict[str, BaseException] = {}

    def named(
        self, name: str, connect: Callable[..., sqlite3.Connection]
    ) -> Callable[..., Any]:
        """The real `connect`, watched."""

        def watched(*args: Any) -> Any:
            return _Watched(self, name, connect(*args))

        return watched


class _Watched:
    def __init__(self, made: Connections, name: str, inner: sqlite3.Connection) -> None:
        self._made = made
        self._name = name
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def close(self) -> None:
        self._inner.close()
        self._made.closed.append(self._name)
        if self._name in self._made.failures:
            raise self._made.failures[self._name]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """Those of stores that are opened later in the test."""
    made = Connections()
    place = "durable_agents.store._sqlite"
    writing = made.named(WRITER, _sqlite_file.connect)
    reading = made.named(READER, _sqlite_file.connect_reader)
    monkeypatch.setattr(f"{place}.connect", writing)
    monkeypatch.setattr(f"{place}.connect_reader", reading)
    return made


async def written(path: Path) -> SqliteStore:
    """A store that is open, with one note of run 1 on its way."""
    store = SqliteStore(path)
    await store.open("worker 1")
    run = await store.accept(new())
    store.append(write(run.number, "last"))
    return store


async def assert_is_whole(path: Path, connections: Connections) -> None:
    """The file is free for the next owner, and holds what had been enqueued."""
    connections.failures.clear()
    store = SqliteStore(path)
    await store.open("worker 2")
    assert ["last"] == await notes(store, 1)
    await store.close()


@pytest.mark.rows("ST-13", "ST-20")
async def test_closing_closes_both_connections(connections: Connections, path: Path) -> None:
    """The reading one first; then the file belongs to nobody."""
    store = await written(path)

    await store.close()

    assert [READER, WRITER] == connections.closed
    await assert_is_whole(path, connections)


@pytest.mark.rows("ST-11", "ST-21", "ST-23")
@pytest.mark.parametrize("error", [sqlite3.OperationalError("no"), FatalError("no")])
@pytest.mark.parametrize("failing", [READER, WRITER])
async def test_what_fails_to_close_keeps_nothing_else_open(
    connections: Connections, path: Path, failing: str, error: BaseException
) -> None:
    """Its failure is raised as it is, and nothing is added to it."""
    store = await written(path)
    connections.failures = {failing: error}

    with pytest.raises(type(error)) as caught:
        await store.close()

    assert caught.value is error
    assert [] == getattr(error, "__notes__", [])
    assert [READER, WRITER] == connections.closed
    await assert_is_whole(path, connections)


@pytest.mark.rows("ST-09", "ST-12", "ST-22")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (sqlite3.OperationalError("first"), sqlite3.OperationalError("second")),
        (FatalError("first"), sqlite3.OperationalError("second")),
        (sqlite3.OperationalError("first"), FatalError("second")),
    ],
    ids=["both plain", "first fatal", "second fatal"],
)
async def test_of_two_failures_to_close_the_first_is_raised_and_tells_of_the_second(
    connections: Connections, path: Path, first: BaseException, second: BaseException
) -> None:
    """The first is the cause more often than not."""
    store = await written(path)
    connections.failures = {READER: first, WRITER: second}

    with pytest.raises(type(first)) as caught:
        await store.close()

    assert caught.value is first
    assert [f"What was closed next failed, too: {second!r}"] == first.__notes__
    assert [READER, WRITER] == connections.closed
    await assert_is_whole(path, connections)
