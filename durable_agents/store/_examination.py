"""Looks at everything in an SQLite store and says what is damaged; changes nothing.

A worker checks an entry when it reads it. Here all of them are read: the pages by SQLite
itself, each row by its checksum, each value as far as that takes no code of the author's, each
journal by folding it, and what belongs together by comparing it.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

from durable_agents.errors import DecodeError, StoreError, StoreUnavailableError
from durable_agents.journal import (
    ActionCompleted,
    Entry,
    RunAccepted,
    RunState,
    RunStatus,
    decode_blob,
    decode_memory,
    decode_row,
)
from durable_agents.serialization import Blobs, Codec, Payload
from durable_agents.store._port import RunRow
from durable_agents.store._rows import as_outputs, as_runs
from durable_agents.store._run_ids import RunIds
from durable_agents.store._sqlite_file import (
    as_store_error,
    connect_read_only,
    is_free_of_wal_reset_bug,
    read_meta,
)
from durable_agents.store.sql import load_queries

__all__ = ["Damage", "Examination", "StoreFile", "examine"]

T = TypeVar("T")
P = ParamSpec("P")

_PAGE = 1000
# https://www.sqlite.org/fileformat.html#file_format_version_numbers
_HEADER_BYTES, _WRITE_VERSION = 100, 18
_WRITE_VERSIONS = {1, 2}
_RESTORE = "restore the store from a backup; the other runs can still be read"
_READING = Codec(pickle="refuse")
_OWN_LAYERS = {"zlib", "shared"}
_FAILURES = {"failure", "failure-pickle"}
_PICKLES = {"pickle", "failure-pickle"}
_FORMS = {"plain", "typed", "blob", "chain"} | _FAILURES | _PICKLES


class Damage(msgspec.Struct, frozen=True):
    """Something that is not as it was written."""

    run: str
    """Id of the run; empty where it concerns no single one."""
    problem: str
    next_move: str


class StoreFile(msgspec.Struct, frozen=True, kw_only=True):
    """A store's file and where it lies."""

    schema: int
    sqlite: str
    """Version of the SQLite library that this process uses."""
    journal_mode: str
    shared_journal_mode: str
    """What a file is in that workers share, with this library."""
    shared_reason: str
    mode: str
    """Permissions, octal."""
    owner: int
    """User id."""
    is_private: bool
    file_system: str
    """Empty where the system does not tell."""
    free_bytes: int
    file_bytes: int
    wal_bytes: int


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a store."""

    file: StoreFile
    runs: dict[str, int]
    """Runs by status."""
    entries: int
    blobs: int
    outputs: int
    sealed: int
    """Values that were checked by their checksums alone: pickles, and those under an HMAC or
    another layer that only their codec can read."""
    damage: list[Damage]


def examine(path: Path) -> Examination:
    """Look at everything in a store. Reads all of it; takes a while where it is large.

    Args:
        path: The file; also while a worker owns it.

    Raises:
        StoreDamagedError: It is no store of ours, or so damaged that it cannot be opened.
        StoreUnavailableError: It is missing or cannot be read.
        StoreVersionError: Its schema is not the one that this code reads.
    """
    with closing(connect_read_only(path)) as connection:
        return _Examiner(path, connection).examine()


class _Examiner:
    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._sql = load_queries()
        self._counts = {"entries": 0, "blobs": 0, "outputs": 0, "sealed": 0}
        self._damage: list[Damage] = []
        self._statuses: dict[str, int] = {}
        self._ids = RunIds("")

    def examine(self) -> Examination:
        self._header()
        self._pages()
        if (meta := self._try("", self._meta)) is not None:
            self._ids = RunIds(meta["token"])
        for row in self._runs():
            name = row.status.name.lower()
            self._statuses[name] = self._statuses.get(name, 0) + 1
            self._run(row)
        self._memory()
        self._strays()
        return Examination(
            file=_file_of(self._path, self._connection),
            runs=self._statuses,
            damage=self._damage,
            **self._counts,
        )

    def _header(self) -> None:
        """What SQLite itself passes over where a file is opened for reading only."""
        with self._path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if (version := header[_WRITE_VERSION]) not in _WRITE_VERSIONS:
            self._report("", f"its header says version {version}, which SQLite does not write")

    def _pages(self) -> None:
        found = self._try("", self._select, "PRAGMA integrity_check(20)")
        for (line,) in found or ():
            if line != "ok":
                self._report("", f"SQLite finds: {line}")

    def _meta(self) -> dict[str, str]:
        return read_meta(self._connection, self._sql, self._path)

    def _runs(self) -> Iterator[RunRow]:
        after = 0
        while rows := self._try("", self._select, self._sql["runs"], after, _PAGE):
            for row in rows:
                found = self._try("", as_runs, [row], self._ids, str(self._path))
                yield from found or ()
            if rows[-1][0] <= after:
                self._report("", "the numbers of its runs are out of order")
                return  # or it would go round in circles
            after = rows[-1][0]

    def _run(self, row: RunRow) -> None:
        blobs = self._blobs(row)
        rows = self._try(row.run_id, self._journal, row)
        if rows is None:
            return
        entries = [entry for _, found in rows for entry in found]
        self._counts["entries"] += len(entries)
        if not entries or not isinstance(entries[0], RunAccepted):
            self._report(row.run_id, "its journal does not begin with its acceptance")
            return
        for problem in _contradictions(row, rows):
            self._report(row.run_id, problem)
        codec = _READING.for_run(Blobs(blobs))
        for entry in entries:
            self._values(row.run_id, f"a value of {type(entry).__name__}", entry, codec)
        self._outputs(row, entries)

    def _journal(self, row: RunRow) -> list[tuple[int, list[Entry]]]:
        accepted = self._select(self._sql["accepted"], row.number)
        rows = self._select(self._sql["journal"], row.number)
        bodies = [(0, body) for (body,) in accepted] + rows
        store = str(self._path)
        return [(seq, decode_row(row.number, body, store)) for seq, body in bodies]

    def _blobs(self, row: RunRow) -> dict[bytes, Payload]:
        found = self._try(row.run_id, self._select, self._sql["blobs"], row.number)
        blobs: dict[bytes, Payload] = {}
        for name, body in found or ():
            where = str(self._path)
            blob = self._try(row.run_id, decode_blob, row.number, name, body, where)
            if blob is not None:
                blobs[name] = blob
        self._counts["blobs"] += len(blobs)
        return blobs

    def _outputs(self, row: RunRow, entries: Sequence[Entry]) -> None:
        rows = self._try(row.run_id, self._select, self._sql["outputs_of"], row.number)
        outputs = self._try(row.run_id, as_outputs, rows or (), self._ids, str(self._path))
        if rows is None or outputs is None:
            return
        self._counts["outputs"] += len(outputs)
        sent = sum(e.outputs for e in entries if isinstance(e, ActionCompleted))
        if sent != len(outputs):
            self._report(
                row.run_id, f"its actions sent {sent} outputs, {len(outputs)} are here"
            )
        for output in outputs:
            self._values(row.run_id, f"output {output.position}", output.event, _READING)

    def _memory(self) -> None:
        rows = self._try("", self._select, self._sql["all_memory"])
        for agent, key, path, body in rows or ():
            update = self._try("", decode_memory, body, str(self._path))
            if update is not None:
                what = f"memory {path!r} of key {key!r} of agent {agent!r}"
                self._values("", what, update, _READING)

    def _strays(self) -> None:
        rows = self._try("", self._select, self._sql["strays"])
        for (number,) in rows or ():
            self._report(
                self._ids.of(number), f"run number {number} is gone, parts of it are left"
            )

    def _values(self, run_id: str, what: str, found: object, codec: Codec) -> None:
        for payload in _payloads(found):
            try:
                is_sealed = not _can_be_read(payload, codec)
            except DecodeError as error:
                self._report(run_id, f"{what} cannot be read: {error}")
            else:
                self._counts["sealed"] += is_sealed

    def _select(self, statement: str, *parameters: object) -> list[Any]:
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise as_store_error(error, self._path) from error

    def _try(
        self, run_id: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        try:
            return read(*args, **kwargs)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            self._report(run_id, str(error))
        except sqlite3.Error as error:
            self._report(run_id, str(as_store_error(error, self._path)))
        except (TypeError, ValueError) as error:
            self._report(run_id, f"a row is of a form that no worker writes: {error}")
        return None

    def _report(self, run_id: str, problem: str) -> None:
        self._damage.append(Damage(run_id, problem, _RESTORE))


def _contradictions(row: RunRow, rows: Sequence[tuple[int, Sequence[Entry]]]) -> Iterator[str]:
    """In what a journal contradicts itself or the row of its run."""
    try:
        state = RunState.of(rows)
    except LookupError as error:
        yield f"its journal is not whole, {error}: a row is gone"
        return
    accepted = state.accepted
    listed = (row.run_id, row.agent, row.key)
    if accepted is not None and (accepted.run_id, accepted.agent, accepted.key) != listed:
        yield f"it is listed as {listed}, and was accepted as another run"
    is_under_way = {RunStatus.ACCEPTED, RunStatus.RUNNING, RunStatus.WAITING}
    if row.status != state.status and not {row.status, state.status} <= is_under_way:
        was, now = row.status.name.lower(), state.status.name.lower()
        yield f"it is listed as {was}, and its journal says {now}: a row is gone"


def _payloads(found: object) -> Iterator[Payload]:
    """Every payload within an entry."""
    if isinstance(found, Payload):
        yield found
        return
    parts: Iterable[object] = ()
    if isinstance(found, (list, tuple)):
        parts = cast("Iterable[object]", found)
    elif isinstance(found, dict):
        parts = cast("dict[str, object]", found).values()
    elif isinstance(found, msgspec.Struct):
        parts = [getattr(found, name) for name in found.__struct_fields__]
    for part in parts:
        yield from _payloads(part)


def _can_be_read(payload: Payload, codec: Codec) -> bool:
    """Whether a value could be read; False where only its own codec or code can.

    Raises:
        DecodeError: It is not what was written, or of a form that nobody knows.
    """
    form, *layers = payload.encoding.split("+")
    if form not in _FORMS:
        raise DecodeError(payload.encoding, "no version of this package knows this form")
    if form in _PICKLES or not set(layers) <= _OWN_LAYERS:
        return False
    if form in _FAILURES:
        codec.decode_failure(payload)
    else:
        codec.decode_data(payload)
    return True


def _file_of(path: Path, connection: sqlite3.Connection) -> StoreFile:
    resolved = path.resolve()
    facts = resolved.stat()
    is_free = is_free_of_wal_reset_bug(sqlite3.sqlite_version_info)
    wal = Path(f"{resolved}-wal")
    return StoreFile(
        schema=connection.execute("PRAGMA user_version").fetchone()[0],
        sqlite=sqlite3.sqlite_version,
        journal_mode=connection.execute("PRAGMA journal_mode").fetchone()[0],
        shared_journal_mode="wal" if is_free else "truncate",
        shared_reason=(
            "this SQLite library is free of the WAL-reset bug"
            if is_free
            else "this SQLite library has the WAL-reset bug (fixed in 3.51.3, 3.50.7, 3.44.6)"
        ),
        mode=f"{facts.st_mode & 0o7777:04o}",
        owner=facts.st_uid,
        is_private=not facts.st_mode & 0o077,
        file_system=_file_system(resolved),
        free_bytes=shutil.disk_usage(resolved.parent).free,
        file_bytes=facts.st_size,
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
    )


def _file_system(path: Path) -> str:
    """Type of the file system that a file lies on, as Linux tells it."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines.splitlines():
        _, place, found, *_ = line.split(" ")
        is_above = path.is_relative_to(place.encode().decode("unicode_escape"))
        if is_above and len(place) >= len(best):
            best, kind = place, found
    return kind
