"""The file of an SQLite store: opening it, checking it, and what its errors mean."""

import os
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from durable_agents.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    StoreVersionError,
)
from durable_agents.store._atomic import atomic
from durable_agents.store.sql import load_migrations

__all__ = [
    "CHECKPOINT_BYTES",
    "INDEX_OF_SHARED",
    "as_store_error",
    "connect",
    "connect_read_only",
    "connect_reader",
    "connect_shared",
    "is_free_of_wal_reset_bug",
    "is_locked_out",
    "is_private",
    "make_file",
    "migrate",
    "read_meta",
]

APPLICATION_ID = 0x44416773
"""Marks a file as ours in its header ("DAgs")."""
INDEX_OF_SHARED = (
    "CREATE INDEX IF NOT EXISTS open_runs_without_key ON runs (agent, turn) "
    "WHERE status < 10 AND key IS NULL"
)
"""Finds runs that are ordered with nobody. Not in the schema: a file that one worker owns has
no use for it, and would pay for it with every input."""
_HEADER = b"SQLite format 3\x00"
_MODE = 0o600
_UNAVAILABLE = {
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_READONLY: "it is read-only: change its permissions, or take another path",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_BUSY: "another program holds it locked",
    sqlite3.SQLITE_LOCKED: "another program holds it locked",
    sqlite3.SQLITE_PERM: "it may not be opened",
}
_PATIENCE = 60.0
"""Seconds that a connection waits for others that have the file locked: a call whose outcome
cannot be recorded is in doubt, and made again, so that waiting is the lesser evil for long."""
CHECKPOINT_BYTES = 4 * 2**20
"""Bytes written to the WAL between two checkpoints; it stays at a small multiple of it."""
_WAL_BYTES = 2 * CHECKPOINT_BYTES
"""What the WAL is cut down to where it grew beyond: while another program reads the file, no
checkpoint can fold in what was written since that began."""
_PRIMARY = 0xFF
"""SQLite's extended error codes hold the primary one in the lowest byte."""


def connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """The writing connection to a file that exists, in WAL mode, never checkpointing by itself.

    Raises:
        StoreDamagedError: The file is not a store of ours, or not whole.
        StoreUnavailableError: It cannot be read or written.
        StoreVersionError: It is newer than this code.
    """
    return _connect(path, _PATIENCE, _pragmas("wal", synchronous))


def connect_shared(path: Path, synchronous: str, journal_mode: str) -> sqlite3.Connection:
    """The writing connection to a file that other workers have open, too; see `connect`.

    Args:
        path: The file.
        synchronous: As of the store. Without a WAL the file is always synced in full: less
            might damage it in a power cut.
        journal_mode: `"wal"` or `"truncate"`.
    """
    safe = synchronous if journal_mode == "wal" else "full"
    return _connect(path, _PATIENCE, (*_pragmas(journal_mode, safe), INDEX_OF_SHARED))


def _pragmas(journal_mode: str, synchronous: str) -> tuple[str, ...]:
    return (
        f"PRAGMA journal_mode = {journal_mode}",
        f"PRAGMA synchronous = {synchronous}",
        # The automatic checkpoint would run inside somebody's commit.
        "PRAGMA wal_autocheckpoint = 0",
        f"PRAGMA journal_size_limit = {_WAL_BYTES}",
    )


def _connect(path: Path, patience: float, statements: Iterable[str]) -> sqlite3.Connection:
    try:
        connection = _open(path, patience)
    except sqlite3.Error as error:
        raise as_store_error(error, path) from error
    try:
        # Looked at before anything of it is changed: it may be another program's.
        migrate(connection, path)
        for statement in statements:
            connection.execute(statement)
    except sqlite3.Error as error:
        connection.close()
        raise as_store_error(error, path) from error
    except UnicodeDecodeError as error:
        connection.close()
        problem = f"its schema is no text ({error}): restore the file from a backup"
        raise StoreDamagedError(str(path), problem) from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing."""
    connection = _open(path, _PATIENCE)
    connection.execute("PRAGMA query_only = 1")
    return connection


def is_free_of_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Whether several connections may write in WAL mode with this version of SQLite.

    In the others, a checkpoint that meets a writer at the wrong moment may damage the file.

    Source: https://www.sqlite.org/wal.html, on the WAL-reset bug.
    """
    return (
        version >= (3, 51, 3)
        or (3, 50, 7) <= version < (3, 51, 0)
        or (3, 44, 6) <= version < (3, 45, 0)
    )


def is_private(path: Path) -> bool:
    """Whether nobody but its owner may read or write the file."""
    return not path.stat().st_mode & 0o077


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot change the file, nor make it, nor migrate it.

    Raises:
        StoreDamagedError: The file is not a store of ours, or not whole.
        StoreUnavailableError: It is missing or cannot be read.
        StoreVersionError: Its schema is not the one that this code reads.
    """
    if not path.exists():
        raise StoreUnavailableError(str(path), "there is no such file: check the path")
    try:
        connection = _open(path, _PATIENCE, "ro")
    except sqlite3.Error as error:
        raise as_store_error(error, path) from error
    try:
        _check_readable(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise as_store_error(error, path) from error
    except UnicodeDecodeError as error:
        connection.close()
        problem = f"its schema is no text ({error}): restore the file from a backup"
        raise StoreDamagedError(str(path), problem) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _open(path: Path, patience: float, mode: str = "rw") -> sqlite3.Connection:
    # A file that has gone must not be made anew behind the back of who was using it.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    # Statements are few and fixed, so that all of them stay prepared.
    return sqlite3.connect(
        uri,
        timeout=patience,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to today's schema, forward only, in one transaction.

    Raises:
        StoreDamagedError: It belongs to another program, or tables are missing.
        StoreVersionError: It is newer than this code.
    """
    version, tables = _check_ours(connection, path)
    migrations = load_migrations()
    if version < len(migrations):
        _run_migrations(connection, migrations, version)
    else:
        _check_whole(tables, path)


def _check_readable(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what only a migration would make readable."""
    version, tables = _check_ours(connection, path)
    if not tables:
        problem = "it is empty: nothing has run over it yet"
        raise StoreVersionError(str(path), problem)
    known = len(load_migrations())
    if version < known:
        problem = (
            f"its schema has version {version}, this package reads version {known}: run a "
            "worker over it once, which brings it up to date"
        )
        raise StoreVersionError(str(path), problem)
    _check_whole(tables, path)


def _check_ours(connection: sqlite3.Connection, path: Path) -> tuple[int, set[str]]:
    """Version of the schema and names of the tables of a file that this code may touch."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    if tables and application != APPLICATION_ID:
        problem = "it is a database of another program: take another path"
        raise StoreDamagedError(str(path), problem)
    known = len(load_migrations())
    if version > known:
        problem = (
            f"its schema has version {version}, this package knows up to {known}: "
            "upgrade durable-agents-asyncio"
        )
        raise StoreVersionError(str(path), problem)
    return version, tables


def _check_whole(tables: set[str], path: Path) -> None:
    if not tables >= {"meta", "runs", "journal", "outputs", "memory", "blobs"}:
        problem = "tables are missing: restore the file from a backup"
        raise StoreDamagedError(str(path), problem)


def _run_migrations(
    connection: sqlite3.Connection, migrations: list[str], version: int
) -> None:
    with atomic(connection):
        for script in migrations[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        if version == 0:
            token = secrets.token_hex(4)
            connection.execute("INSERT INTO meta (name, value) VALUES ('token', ?)", (token,))
            connection.execute("INSERT INTO meta (name, value) VALUES ('was_closed', '1')")


def _statements(script: str) -> list[str]:
    """The statements of a script; `executescript` would commit in between."""
    statements: list[str] = []
    current = ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements


def make_file(path: Path) -> None:
    """Make the file, readable and writable for its owner alone, or check the one that is there.

    Not to be called while this process has the file open: when any of its descriptors is
    closed, the system drops all locks of the process on the file, SQLite's own included. See
    https://www.sqlite.org/howtocorrupt.html, section 2.2.

    Raises:
        StoreDamagedError: It is no SQLite database.
        StoreUnavailableError: It cannot be made or read.
    """
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, _MODE))
        with path.open("rb") as file:
            header = file.read(len(_HEADER))
    except OSError as error:
        problem = f"{error.strerror or error}: check the path and its permissions"
        raise StoreUnavailableError(str(path), problem) from error
    if header and header != _HEADER and not _is_torn(path, header):
        problem = "it is not an SQLite database: take another path, or restore it from a backup"
        raise StoreDamagedError(str(path), problem)


def _is_torn(path: Path, header: bytes) -> bool:
    """Whether a power cut may have hit the file while it was made.

    It left zeros then, and the journal by which SQLite takes back what it had written.
    """
    return not header.strip(b"\0") and Path(f"{path}-journal").exists()


def as_store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """The error of our tree that an error of the driver stands for."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    name = str(path)
    if code == sqlite3.SQLITE_FULL:
        problem = f"no space is left ({error}): make space; what is recorded stays"
        return StoreFullError(name, problem)
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return StoreDamagedError(name, f"{error}: restore the file from a backup")
    if code in _UNAVAILABLE:
        return StoreUnavailableError(name, f"{_UNAVAILABLE[code]} ({error})")
    return StoreError(name, str(error))


def is_locked_out(error: sqlite3.Error) -> bool:
    """Whether another program had the file locked, so that nothing was written to it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    return code == sqlite3.SQLITE_BUSY


def read_meta(
    connection: sqlite3.Connection, sql: Mapping[str, str], path: Path
) -> dict[str, str]:
    """What the file says about itself.

    Raises:
        StoreDamagedError: It says nothing.
    """
    meta: dict[str, str] = dict(connection.execute(sql["meta"]).fetchall())
    if not meta.keys() >= {"token", "was_closed"}:
        problem = "its name is missing: restore the file from a backup"
        raise StoreDamagedError(str(path), problem)
    return meta
