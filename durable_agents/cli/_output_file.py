"""Outputs as JSON lines: each one once, whatever crash came between, with no state of its own.

A line holds what is the same in every life: run, key, id of the event, value. Where the file
ends is looked up in the store: outputs have an order there, the one of their commits, and the
file has the same one. So its last lines, found in the store, say from where to go on. An output
is in the store before it is in the file, so a crash can only have cut the file short; a piece
of a line is the beginning of what comes next, and is written anew.

What does not fit this picture is somebody else's file, and stays as it is.
"""

import asyncio
import fcntl
import os
import stat
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from durable_agents.cli._exit import OutputError, UsageError
from durable_agents.cli._values import to_json
from durable_agents.serialization import Codec
from durable_agents.store import OutputRow, RunRow, SqliteReader

__all__ = ["OutputFile"]

T = TypeVar("T")

_PAGE = 1000
_CHECKED_BYTES = 2**20
"""How much of the file's end is compared with the store, at least one line."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """One output as it is written."""

    run: str
    key: str
    event_id: str
    value: Any


class OutputFile:
    """The file that `--output` names.

    Args:
        path: The file; made where it is missing.
        reader: The store, open.
        codec: How the values were recorded.
        wants: Whether the outputs of a run belong into the file.
    """

    def __init__(
        self, path: Path, reader: SqliteReader, codec: Codec, wants: Callable[[RunRow], bool]
    ) -> None:
        self._path = path
        self._reader = reader
        self._codec = codec
        self._wants = wants
        self._position = 0
        self._file: int | None = None
        # One thread: what was being written when a caller was cancelled is written to its end.
        self._thread = ThreadPoolExecutor(1, "durable-agents-output")

    async def open(self) -> None:
        """Take the file, find where it ends, and cut a torn last line off.

        Raises:
            UsageError: It cannot be written, or it is not an output of this store.
        """
        try:
            self._file = await self._in_thread(self._take)
            lines, is_whole, torn = await self._in_thread(self._tail)
        except OSError as error:
            self._refuse(f"cannot be written: {error.strerror}")
        following = await self._find_end(deque(lines), is_whole=is_whole)
        if torn:
            if following is None or not following.startswith(torn):
                self._refuse(f"ends in {torn[:40]!r}, which is no output of this store")
            await self._in_thread(lambda: self._cut(len(torn)))

    async def catch_up(self) -> None:
        """Write what has been committed since.

        Raises:
            OutputError: The file cannot be written; the same command goes on.
            UsageError: A value has no form in JSON.
        """
        while page := await self._reader.outputs(after=self._position, limit=_PAGE):
            lines = await self._as_lines(page)
            try:
                await self._in_thread(lambda: self._append(b"".join(lines)))  # noqa: B023
            except OSError as error:
                problem = (
                    f"--output {self._path} cannot be written: {error.strerror}; what it lacks "
                    "is in the store, and the same command goes on"
                )
                raise OutputError(problem) from error
            self._position = page[-1].position

    async def close(self) -> None:
        """Have the file on the disk, and let it go."""
        file, self._file = self._file, None
        if file is not None:
            await self._in_thread(lambda: _sync_and_close(file))
        self._thread.shutdown(wait=False)

    async def _find_end(self, lines: deque[bytes], *, is_whole: bool) -> bytes | None:
        """Find the position of the last line, comparing the lines with the store on the way.

        Args:
            lines: The last ones of the file, without what a crash tore.
            is_whole: Whether there are no others before them.

        Returns:
            What the store holds next; None where that is nothing.
        """
        if not is_whole:
            self._position = await self._first_known(lines)
        has_matched = not lines or not is_whole
        async for position, line in self._stored():
            await self._drop_pruned(lines, until=line)
            if not lines:
                if has_matched:
                    return line
                break
            lines.popleft()
            self._position, has_matched = position, True
        await self._drop_pruned(lines, until=None)
        if not has_matched:
            self._refuse(f"holds no output of the store {self._reader.path}")
        return None

    async def _first_known(self, lines: deque[bytes]) -> int:
        """Position of the first line whose run is in the store; lines up to it are dropped."""
        position: int | None = None
        while lines and position is None:
            position = await self._position_of(lines.popleft())
        if position is not None:
            return position
        return self._refuse(f"ends in runs that the store {self._reader.path} does not hold")

    async def _drop_pruned(self, lines: deque[bytes], until: bytes | None) -> None:
        """Drop lines of runs that the store holds no more; any other must be what it holds."""
        while lines and lines[0] != until:
            if await self._position_of(lines[0]) is not None:
                problem = f"differs from the store {self._reader.path} at {lines[0][:80]!r}"
                self._refuse(problem)
            lines.popleft()

    async def _position_of(self, line: bytes) -> int | None:
        """Where the store holds a line; None where it does not hold its run."""
        try:
            read = msgspec.json.decode(line, type=_Line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            problem = f"holds a line that is no output of ours: {line[:80]!r}"
            self._refuse(problem)
        run = await self._reader.find(read.run)
        if run is None:
            return None
        for row in await self._reader.outputs_of(run.number):
            if row.event.event_id == read.event_id:
                return row.position
        return self._refuse(f"holds an output of run {read.run} that its store does not hold")

    async def _stored(self) -> AsyncIterator[tuple[int, bytes]]:
        """Positions and lines behind the present position, in order."""
        after = self._position
        while page := await self._reader.outputs(after=after, limit=_PAGE):
            runs = await self._reader.numbered(row.number for row in page)
            for row in page:
                run = runs.get(row.number)
                if run is not None and self._wants(run):
                    yield row.position, self._as_line(row, run)
            after = page[-1].position

    async def _as_lines(self, page: list[OutputRow]) -> list[bytes]:
        runs = await self._reader.numbered(row.number for row in page)
        pairs = [(row, runs[row.number]) for row in page if row.number in runs]
        return [self._as_line(row, run) for row, run in pairs if self._wants(run)]

    def _as_line(self, row: OutputRow, run: RunRow) -> bytes:
        value = self._codec.decode(row.event.payload)
        line = _Line(run.run_id, run.key, row.event.event_id, value)
        try:
            return to_json(line) + b"\n"
        except (TypeError, ValueError) as error:
            msg = (
                f"--output: an output of run {run.run_id} has no form in JSON ({error}): "
                "output plain data, a dataclass or a struct; the value is in the store"
            )
            raise UsageError(msg) from error

    def _take(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                self._refuse("is no regular file")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._refuse("is being written by another command")
        except BaseException:
            os.close(file)
            raise
        return file

    def _tail(self) -> tuple[list[bytes], bool, bytes]:
        """The last whole lines, whether these are all, and what follows the last one."""
        file = self._opened
        size = os.fstat(file).st_size
        length = min(size, _CHECKED_BYTES)
        while True:
            end = _read(file, size - length, length)
            is_whole = length == size
            # The first line of a part may be a piece of one.
            whole = end if is_whole else end[end.find(b"\n") + 1 :]
            if is_whole or b"\n" in whole:
                break
            length = min(size, 2 * length)
        *lines, torn = whole.split(b"\n")
        return [line + b"\n" for line in lines], is_whole, torn

    def _cut(self, length: int) -> None:
        os.ftruncate(self._opened, os.fstat(self._opened).st_size - length)

    def _append(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._opened, rest) :]

    @property
    def _opened(self) -> int:
        assert self._file is not None, "who writes has opened it"
        return self._file

    def _refuse(self, problem: str) -> NoReturn:
        msg = f"--output {self._path} {problem}: take another file"
        raise UsageError(msg)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _read(file: int, start: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length and (part := os.pread(file, length, start)):
        parts.append(part)
        start, length = start + len(part), length - len(part)
    return b"".join(parts)


def _sync_and_close(file: int) -> None:
    try:
        os.fsync(file)
    finally:
        os.close(file)
