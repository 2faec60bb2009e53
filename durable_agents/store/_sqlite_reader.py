"""A look into an SQLite store that changes nothing, also while a worker owns it.

The connection is read-only by the word of SQLite itself: it takes no lock that a worker would
notice, migrates nothing and makes no store. What was committed when it asked is what it sees.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from durable_agents.errors import StoreUnavailableError
from durable_agents.journal import Entry, RunStatus, decode_blob, decode_row
from durable_agents.serialization import Payload
from durable_agents.store._pauses import as_pauses
from durable_agents.store._port import OutputRow, Pause, RunRow
from durable_agents.store._rows import Row, as_outputs, as_runs
from durable_agents.store._run_ids import RunIds
from durable_agents.store._sqlite_file import as_store_error, connect_read_only
from durable_agents.store.sql import load_queries

__all__ = ["SqliteReader"]

T = TypeVar("T")

_AFTER_EVERY_CHARACTER = "\U0010ffff"


class SqliteReader:
    """Reads a SQLite store; `async with SqliteReader(path) as reader`.

    Its verbs are the reading ones of `Store`, and some for people who look for a run. Each sees
    what was committed when it was called. Cancellation: leaves nothing behind.

    Args:
        path: The file. It is not made where it is missing, and never changed.

    Raises:
        StoreUnavailableError: On entry: there is no such file, or it cannot be read.
        StoreVersionError: On entry: its schema is newer or older than this code.
        StoreDamagedError: On entry: it is no store of ours, or not whole.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._sql: dict[str, str] = {}
        self._ids = RunIds("")

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "durable-agents-reader")
        try:
            await self._in_thread(self._open)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the file; closing twice is allowed.

        The owner of a store folds its write-ahead log away only if it closes it last.
        """
        thread, self._thread = self._thread, None
        connection, self._connection = self._connection, None
        if thread is not None and connection is not None:
            closing = asyncio.get_running_loop().run_in_executor(thread, connection.close)
            thread.shutdown(wait=False)
            await closing

    def _open(self) -> None:
        self._sql = load_queries()
        self._connection = connection = connect_read_only(self.path)
        meta: dict[str, str] = dict(connection.execute(self._sql["meta"]).fetchall())
        self._ids = RunIds(meta["token"])

    async def find(self, run_id: str) -> RunRow | None:
        """The run with this id; None where there is none."""
        return (await self.find_all([run_id])).get(run_id)

    async def find_all(self, run_ids: Iterable[str]) -> Mapping[str, RunRow]:
        """The runs with these ids, by id; those that are not there are left out."""
        rows: list[Row] = []
        wanted = list(run_ids)

        def look() -> None:
            for run_id in wanted:
                number = self._ids.number_of(run_id)
                if number is None:
                    rows.extend(self._rows("run_by_id", (run_id,)))
                else:
                    rows.extend(self._rows("run_by_number", (number,)))

        await self._in_thread(look)
        return {row.run_id: row for row in self._as_runs(rows)}

    async def beginning_with(self, prefixes: Iterable[str]) -> list[RunRow]:
        """The runs whose callers' ids begin with any of these texts."""
        rows: list[Row] = []
        wanted = list(prefixes)

        def look() -> None:
            for prefix in wanted:
                end = prefix + _AFTER_EVERY_CHARACTER
                rows.extend(self._rows("runs_between", (prefix, end)))

        await self._in_thread(look)
        return self._as_runs(rows)

    async def numbered(self, numbers: Iterable[int]) -> Mapping[int, RunRow]:
        """The runs with these numbers, by number."""
        rows: list[Row] = []
        wanted = set(numbers)

        def look() -> None:
            for number in wanted:
                rows.extend(self._rows("run_by_number", (number,)))

        await self._in_thread(look)
        return {row.number: row for row in self._as_runs(rows)}

    async def runs(self, *, after: int, limit: int) -> list[RunRow]:
        """All runs by number, beginning behind `after`."""
        return self._as_runs(await self._select("runs", (after, limit)))

    async def latest_runs(
        self, *, status: RunStatus | None = None, key: str | None = None, limit: int
    ) -> list[RunRow]:
        """Runs by number, the newest first.

        Args:
            status: Only those of this status.
            key: Only those that were submitted with this key.
            limit: Most runs, >= 1.
        """
        wanted = None if status is None else int(status)
        parameters = (wanted, wanted, key, key, limit)
        return self._as_runs(await self._select("latest_runs", parameters))

    async def pauses(self) -> list[Pause]:
        """What is paused; see `Store.pauses`."""
        return as_pauses(await self._select("pauses", ()), str(self.path))

    async def status_counts(self) -> Mapping[RunStatus, int]:
        """How many runs there are of each status that any has."""
        rows = await self._select("status_counts", ())
        return {RunStatus(status): count for status, count in rows}

    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]:
        """Rows of a run, each its number and its entries, the acceptance first.

        Raises:
            StoreDamagedError: A row fails its checksum.
        """
        accepted = await self._select("accepted", (number,))
        rows = await self._select("journal", (number,))
        bodies = [(0, body) for (body,) in accepted] + rows
        return [(seq, decode_row(number, body, str(self.path))) for seq, body in bodies]

    async def blobs(self, number: int) -> dict[bytes, Payload]:
        """Large parts of a run's values, by hash; see `Store.blobs`.

        Raises:
            StoreDamagedError: A part fails its checksum.
        """
        rows = await self._select("blobs", (number,))
        store = str(self.path)
        return {name: decode_blob(number, name, body, store) for name, body in rows}

    async def outputs_of(self, number: int) -> list[OutputRow]:
        """Outputs of one run, in order."""
        return self._as_outputs(await self._select("outputs_of", (number,)))

    async def outputs(self, *, after: int, limit: int) -> list[OutputRow]:
        """Outputs of all runs in the order of commits, beginning behind a position."""
        return self._as_outputs(await self._select("outputs", (after, limit)))

    async def _select(self, name: str, parameters: Row) -> list[Row]:
        return await self._in_thread(lambda: self._rows(name, parameters))

    def _rows(self, name: str, parameters: Row) -> list[Row]:
        assert self._connection is not None, "who reads has entered the reader"
        try:
            return self._connection.execute(self._sql[name], parameters).fetchall()
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error
        except UnicodeEncodeError:
            return []  # nothing in the file goes by a name that could not be written

    async def _in_thread(self, function: Callable[[], T]) -> T:
        if self._thread is None:
            problem = "it is not open: use it by `async with SqliteReader(...)`"
            raise StoreUnavailableError(str(self.path), problem)
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _as_runs(self, rows: Sequence[Row]) -> list[RunRow]:
        return as_runs(rows, self._ids, str(self.path))

    def _as_outputs(self, rows: Sequence[Row]) -> list[OutputRow]:
        return as_outputs(rows, self._ids, str(self.path))
