"""The control socket: commands in, replies out, and what it makes of anything else."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from durable_agents import DurableAgentsError, RunError, StoreUnavailableError
from durable_agents.worker import _control
from durable_agents.worker._commands import (
    CancelRun,
    Command,
    ForkRun,
    PauseAgent,
    PruneRuns,
    ResolveCall,
    ResumeAgent,
    RetryRun,
    RetryRuns,
)
from durable_agents.worker._control import ControlServer, ask_owner, reply_to


class Recorder:
    """Does nothing with commands but to remember them."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.commands: list[Command] = []
        self._error = error

    async def __call__(self, command: Command) -> int | None:
        self.commands.append(command)
        if self._error is not None:
            raise self._error
        return 3 if isinstance(command, PruneRuns) else None


@asynccontextmanager
async def listening(path: Path, recorder: Recorder) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, recorder)
    await server.open()
    try:
        yield server
    finally:
        await server.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def exists(path: Path) -> bool:
    return path.exists()


async def say(path: Path, line: bytes) -> bytes:
    """What comes back for bytes of anybody's making."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    await writer.drain()
    answer = await reader.readline()
    writer.close()
    return answer


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a socket, wherever the others lie."""
    with TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is."""
    return tmp_path / "s.sock"


@pytest.mark.every_loop
async def test_each_command_arrives_as_it_was_given(path: Path) -> None:
    """And its result comes back."""
    recorder = Recorder()
    commands: list[Command] = [
        CancelRun("a", "no longer needed"),
        RetryRun("b", repeat_failed=True),
        RetryRuns(["b", "c"], repeat_failed=True),
        ForkRun("b", "d", "0:x:root:1", value=None),
        PauseAgent("shop", "closed", "tea"),
        ResumeAgent("shop"),
        ResolveCall("c", "0:x:root:1", value={"n": 1}),
        ResolveCall("c", value=None),
        ResolveCall("d", error="it never arrived"),
        ResolveCall("e", rerun=True),
        PruneRuns(older_than=3600.0, keep=5, failed=True),
    ]
    async with listening(path, recorder):
        results = [await ask_owner(path, command) for command in commands]

    assert commands == recorder.commands
    assert [*[None] * 10, 3] == results


async def test_an_error_of_ours_comes_back_as_what_it_is(path: Path) -> None:
    """So that a command tells the same, whoever did it."""
    async with listening(path, Recorder(error=RunError("a", "it has completed"))):
        with pytest.raises(RunError, match="run a did not complete: it has completed"):
            await ask_owner(path, RetryRun("a"))


async def test_any_other_error_comes_back_and_the_worker_goes_on(path: Path) -> None:
    """A bug in a command is told to who gave it."""
    async with listening(path, Recorder(error=KeyError("x"))):
        for _ in range(2):
            with pytest.raises(DurableAgentsError, match="KeyError: 'x'"):
                await ask_owner(path, RetryRun("a"))


async def test_where_nobody_listens_the_connection_is_refused(path: Path) -> None:
    """Whether nothing is there, or what a worker that died has left."""
    with pytest.raises(ConnectionError):
        await ask_owner(path, RetryRun("a"))
    with closing(socket.socket(socket.AF_UNIX)) as left_behind:
        left_behind.bind(str(path))

    with pytest.raises(ConnectionError):
        await ask_owner(path, RetryRun("a"))


async def test_what_a_dead_worker_left_is_replaced_and_removed_at_the_end(path: Path) -> None:
    """The next owner has the store's lock, so nobody else can be listening."""
    with closing(socket.socket(socket.AF_UNIX)) as left_behind:
        left_behind.bind(str(path))
    async with listening(path, Recorder()):
        await ask_owner(path, RetryRun("a"))

    assert not exists(path)


async def test_only_the_owner_of_the_store_may_connect(path: Path) -> None:
    """The file's own mode, whatever the umask says."""
    async with listening(path, Recorder()):
        assert 0o600 == mode(path)


async def test_a_path_beyond_the_systems_bound_is_reached_all_the_same(tmp_path: Path) -> None:
    """A Unix socket has room for about a hundred bytes of path."""
    folder = tmp_path / ("x" * 120)
    await asyncio.to_thread(folder.mkdir)
    recorder = Recorder()
    async with listening(folder / "s.sock", recorder):
        await ask_owner(folder / "s.sock", RetryRun("a"))

    assert [RetryRun("a")] == recorder.commands


@pytest.mark.every_loop
async def test_a_long_path_may_have_been_reached_by_a_number_that_means_another_file_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks for the file of the socket by the name that it was bound to is misled."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    bind, taken = _control._bind, list[int]()  # noqa: SLF001 - called in between

    def bind_and_open_files(path: Path) -> socket.socket:
        bound = bind(path)
        taken.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(16))
        return bound

    monkeypatch.setattr(_control, "_bind", bind_and_open_files)
    recorder = Recorder()
    async with listening(folder / "s.sock", recorder):
        await ask_owner(folder / "s.sock", RetryRun("a"))

    assert [RetryRun("a")] == recorder.commands
    for file in taken:
        os.close(file)


async def test_a_worker_without_a_socket_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It works on; the one who gives a command is told that nobody listens."""
    async with listening(tmp_path / ("x" * 200), Recorder()):
        assert "no command can reach this worker" in caplog.text


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"hello\n", "cannot be understood"),
        (b"\xff\n", "cannot be understood"),
        (b'{"command":' + b"[" * 100_000 + b"\n", "cannot be understood"),
        (b'{"version": 1}\n', "missing required field `command`"),
        (b'{"version": 1, "command": {"type": "format"}}\n', "Invalid value 'format'"),
        (b'{"version": 1, "command": {"type": "retry", "run": 7}}\n', "Expected `str`"),
        (
            b'{"version": 1, "command": {"type": "retry", "run": "a", "b": 1}}\n',
            "unknown field",
        ),
        (b'{"version": 2, "command": {"type": "retry", "run": "a"}}\n', "speaks version 1"),
    ],
)
async def test_what_is_no_request_is_answered_by_what_is_wrong_with_it(
    line: bytes, problem: str, path: Path
) -> None:
    """Nothing is done."""
    recorder = Recorder()
    async with listening(path, recorder):
        answer = json.loads(await say(path, line))

    assert "DurableAgentsError" == answer["error"]
    assert problem in answer["arguments"][0]
    assert [] == recorder.commands


async def is_cut_off(path: Path, line: bytes) -> bool:
    """Whether the other side goes without an answer: what it has not read resets the rest."""
    try:
        return await say(path, line) == b""
    except ConnectionError:
        return True


async def test_a_line_without_an_end_is_not_waited_for_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too long, and who says nothing, is cut off."""
    monkeypatch.setattr(_control, "_IDLE_SECONDS", 0.01)
    async with listening(path, Recorder()):
        assert await is_cut_off(path, b"x" * (_control.MAX_BYTES + 2))
        assert await is_cut_off(path, b"{")


async def test_a_command_that_is_too_long_is_not_sent(path: Path) -> None:
    """Its author is told the bound."""
    with pytest.raises(StoreUnavailableError, match="at most 1,048,576 bytes"):
        await ask_owner(path, CancelRun("a", "x" * _control.MAX_BYTES))


DEEP = b'{"arguments":' + b"[" * 100_000 + b"\n"


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"\xff\n", DEEP])
async def test_an_owner_that_does_not_answer_may_have_done_it(
    answer: bytes, path: Path
) -> None:
    """Who gave the command is told to look before trying again."""

    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(mumble, path):
        with pytest.raises(StoreUnavailableError, match="look whether it was done"):
            await ask_owner(path, RetryRun("a"))


@pytest.mark.parametrize(
    "answer",
    [
        b'{"version":1,"error":"StoreFullError","arguments":["full"]}',
        b'{"version":1,"error":"NewerError","arguments":["full"]}',
        b'{"version":1,"error":"RunAborted","arguments":["full"]}',
    ],
)
def test_an_error_that_this_code_cannot_make_is_one_of_ours_all_the_same(
    answer: bytes, path: Path
) -> None:
    """Another version may make it of other arguments, or have others."""
    with pytest.raises(DurableAgentsError, match="full"):
        reply_to(answer, path)
