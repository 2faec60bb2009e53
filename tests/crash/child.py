"""One life of a process: works on a store until it is done, or until it is killed.

`main` starts lives quickly: it has imported what they need once, and forks for each of them. A
life is a process of its own all the same, and dies of a real SIGKILL.
"""

import asyncio
import faulthandler
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from durable_agents import SqliteStore, Worker, WorkerSettings
from durable_agents.testing import CrashingStore
from tests.crash import witness
from tests.crash.scenarios import SCENARIOS

RUN_ID = "the-run"
SETTINGS = WorkerSettings(replay_order_wait=2.0, shutdown_grace_seconds=1.0)
"""A replay that gets stuck says so on record, in reasonable time."""
LONGEST_LIFE = 60.0
"""Seconds after which a process that hangs says where, and ends."""


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is to do."""

    scenario: str
    folder: str
    """Where the store and the witness file are; what the process says goes there, too."""
    number: int = 0
    """Tells lives apart; one follows the other."""
    loop: str = "asyncio"
    after: int | None = None
    """The write that kills it; None: it lives to the end."""
    one_by_one: bool = True

    @property
    def store(self) -> Path:
        """The store's file."""
        return Path(self.folder, "store.db")

    @property
    def witness(self) -> Path:
        """The witness's file."""
        return Path(self.folder, "witness.jsonl")

    @property
    def said(self) -> Path:
        """What the process writes to its standard error: warnings and tracebacks."""
        return Path(self.folder, f"life-{self.number}.txt")

    @property
    def result(self) -> Path:
        """Outputs that the process was given, as JSON; missing if it was killed."""
        return Path(self.folder, f"life-{self.number}.json")


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The kind of loop to work on."""
    if name == "uvloop":
        from uvloop import new_event_loop  # noqa: PLC0415 -- an extra

        return new_event_loop
    return asyncio.new_event_loop


async def work(life: Life) -> None:
    """Run the scenario to its end, over what earlier lives have left."""
    scenario = SCENARIOS[life.scenario]
    # A killed process loses nothing under "normal"; power cuts are for other tests.
    inner = SqliteStore(life.store, synchronous="normal")
    store = CrashingStore(inner, after=life.after, one_by_one=life.one_by_one)
    async with Worker(scenario.agent(), store=store, settings=SETTINGS) as worker:
        run = await worker.submit(list(scenario.names), key="key", id=RUN_ID)
        world = None
        if scenario.meanwhile is not None:
            world = asyncio.ensure_future(scenario.meanwhile(worker, scenario.names))
        outputs = await run.result()
        if world is not None:
            world.cancel()
            with suppress(asyncio.CancelledError):
                await world  # what it was not to be told ends this life
    life.result.write_bytes(msgspec.json.encode({"outputs": outputs, "writes": store.writes}))


def live(life: Life) -> None:
    """Be that process."""
    os.environ[witness.FILE] = str(life.witness)
    os.environ[witness.LIFE] = str(life.number)
    faulthandler.dump_traceback_later(LONGEST_LIFE, exit=True)
    with asyncio.Runner(loop_factory=loop_factory(life.loop)) as runner:
        runner.run(work(life))


def give_birth(life: Life) -> int:
    """Fork, live, and return the exit status of the child."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)
    code = 1
    try:
        said = os.open(life.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(said, 2)
        live(life)
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Be a nursery: read one life per line, and answer each with its exit status."""
    decode = msgspec.json.Decoder(Life).decode
    for line in sys.stdin.buffer:
        sys.stdout.write(f"{give_birth(decode(line))}\n")
        sys.stdout.flush()
