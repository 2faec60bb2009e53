"""The control socket: how commands reach the worker that owns a store.

The worker listens on a Unix socket beside the file of its store, for the file's owner alone
(mode 0600). A connection carries requests and replies in turn, each one line of JSON of at most
`MAX_BYTES`, each with the version of this protocol. A request names one command and its
arguments; a reply holds the result, or the class and the arguments of an error of ours.

Data does not run code here either: a request can do what `Command` lists, and nothing else.
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from durable_agents import errors
from durable_agents.errors import DurableAgentsError, StoreUnavailableError
from durable_agents.worker._commands import Command

__all__ = ["ControlServer", "ask_owner", "reply_to"]

logger = logging.getLogger("durable_agents")

VERSION = 1
MAX_BYTES = 2**20
_MODE = 0o600
_LONGEST_ADDRESS = 100
"""Bytes; the system's own bound is 107 on Linux, 103 elsewhere."""
_IDLE_SECONDS = 10.0
_ANSWER_SECONDS = 60.0


_NOT_UNDERSTOOD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What bytes of anybody's making raise when they are decoded."""

Execute: TypeAlias = Callable[[Command], Awaitable[int | None]]


class _Request(msgspec.Struct, frozen=True):
    version: int
    command: msgspec.Raw


class _Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    version: int
    result: int | None = None
    error: str = ""
    """Name of a class in `durable_agents.errors`; empty where the command was done."""
    arguments: list[Any] = []


# From Python 3.13 on a server looks for the file of its socket, to remove it: by the name that
# the socket was bound to, which need not lead there any more; see `_address`.
_KEEP_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


class ControlServer:
    """Listens for commands while a worker owns its store.

    A worker whose socket cannot be made works all the same, and warns that no command will
    reach it.

    Args:
        path: The socket; what an earlier owner left there is replaced. Only the owner of the
            store may open it.
        execute: Does what a command says.
    """

    def __init__(self, path: Path, execute: Execute) -> None:
        self._path = path
        self._execute = execute
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen. Cancellation: nothing listens."""
        try:
            listening = await asyncio.to_thread(_bind, self._path)
        except OSError as error:
            logger.warning("no command can reach this worker: %s: %s", self._path, error)
            return
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, sock=listening, limit=MAX_BYTES, **_KEEP_FILE
            )
        except BaseException:
            listening.close()
            raise

    async def close(self) -> None:
        """Stop listening; a command under way is broken off."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        with suppress(OSError):
            await asyncio.to_thread(self._path.unlink)
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        self._serving.add(task)
        try:
            while (line := await _line_from(reader)) is not None:
                reply = await self.answer(line)
                writer.write(msgspec.json.encode(reply) + b"\n")
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # the other side has gone, or has nothing to say
        finally:
            self._serving.discard(task)
            writer.close()

    async def answer(self, line: bytes) -> _Reply:
        """The reply to one line, whatever is in it."""
        try:
            request = msgspec.json.decode(line, type=_Request)
            if request.version != VERSION:
                return _failure(f"this worker speaks version {VERSION} of the control protocol")
            command: Command = msgspec.json.decode(request.command, type=Command)
        except _NOT_UNDERSTOOD as error:
            return _failure(f"the request cannot be understood: {error}")
        try:
            return _Reply(VERSION, result=await self._execute(command))
        except DurableAgentsError as error:
            return _Reply(VERSION, error=type(error).__name__, arguments=list(error.args))
        except Exception as error:  # a command must not end the worker
            logger.exception("command %r failed", command)
            return _failure(f"{type(error).__name__}: {error}")


async def ask_owner(path: Path, command: Command) -> int | None:
    """Have the worker that owns a store do something.

    Cancellation: the command may be done all the same.

    Args:
        path: The control socket of the store.
        command: What to do.

    Returns:
        How many runs were deleted, of `Prune`; else None.

    Raises:
        ConnectionError: Nobody listens there.
        DurableAgentsError: What the worker answered.
        StoreUnavailableError: It does not answer as it should.
    """
    line = msgspec.json.encode({"version": VERSION, "command": command}) + b"\n"
    if len(line) > MAX_BYTES:
        problem = f"a command takes at most {MAX_BYTES:,} bytes, this one has {len(line):,}"
        raise StoreUnavailableError(str(path), problem)
    connection = await asyncio.to_thread(_connect, path)
    reader, writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_BYTES)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            writer.write(line)
            await writer.drain()
            answer = await reader.readline()
    except (TimeoutError, OSError, ValueError) as error:
        raise StoreUnavailableError(str(path), _NO_ANSWER) from error
    finally:
        writer.close()
    return reply_to(answer, path)


_NO_ANSWER = "its worker did not answer: look whether it was done before you try again"


def reply_to(answer: bytes, path: Path) -> int | None:
    """What an owner's answer says; raises as `ask_owner` does."""
    try:
        reply = msgspec.json.decode(answer, type=_Reply)
    except _NOT_UNDERSTOOD as error:
        raise StoreUnavailableError(str(path), _NO_ANSWER) from error
    if not reply.error:
        return reply.result
    raise _error_of(reply)


def _error_of(reply: _Reply) -> DurableAgentsError:
    """The error that a reply carries; the base of all where it is none that this code makes."""
    kind: object = getattr(errors, reply.error, None)
    if isinstance(kind, type) and issubclass(kind, DurableAgentsError):
        try:
            return kind(*reply.arguments)
        except TypeError:
            pass  # another version's, made of other arguments
    return DurableAgentsError(*reply.arguments)


def _failure(problem: str) -> _Reply:
    return _Reply(VERSION, error=DurableAgentsError.__name__, arguments=[problem])


async def _line_from(reader: asyncio.StreamReader) -> bytes | None:
    """The next whole line; None at the end, or where a line is too long to be one."""
    async with asyncio.timeout(_IDLE_SECONDS):
        try:
            line = await reader.readline()
        except ValueError:
            return None
    return line if line.endswith(b"\n") else None


def _bind(path: Path) -> socket.socket:
    """A socket that listens, made with no moment in which others could connect."""
    with suppress(FileNotFoundError):
        path.unlink()
    listening = socket.socket(socket.AF_UNIX)
    try:
        with _address(path) as address:
            listening.bind(address)
        # Nobody can connect before it listens, and then its mode is what it should be.
        path.chmod(_MODE)
        listening.listen()
        listening.setblocking(False)  # noqa: FBT003 - the only way to say it
    except BaseException:
        listening.close()
        raise
    return listening


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _address(path) as address:
            connection.connect(address)
        connection.setblocking(False)  # noqa: FBT003 - the only way to say it
    except FileNotFoundError as error:
        connection.close()
        raise ConnectionRefusedError(*error.args) from error
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _address(path: Path) -> Generator[str, None, None]:
    """A name for a socket that is short enough for the system, while inside.

    Where the path is too long, its folder is opened and goes by its number; see
    https://man7.org/linux/man-pages/man7/unix.7.html and proc_pid_fd(5).
    """
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
