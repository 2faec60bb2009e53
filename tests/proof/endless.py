"""A process that always has the same number of runs alive, until its driver has had enough.

Each slot has a key of its own and one run at a time: when that is done, the next one is
submitted. So a slot's turn says everything about it, and the driver need not remember the runs
that are done. What the engine tells the process, it writes down at once.

A store that fails is asked again until it takes the input, as a user would; that it failed is
written down, too.
"""

import asyncio
import faulthandler
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from durable_agents import Run, RunError, SqliteStore, StoreError, Worker, WorkerSettings
from durable_agents.store import _sqlite_file
from tests.crash import witness
from tests.crash.workload import STORE, agent, id_of

__all__ = ["Duty", "Told"]

_RETRY_SECONDS = 0.05
_PRUNE_SECONDS = 1.0
_MARGIN = 60.0


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is to do."""

    folder: str
    """Where the store is."""
    diary: str
    """Where the witness, and what the process is told, are written down."""
    life: int = 0
    """Tells processes apart."""
    part: int = 0
    parts: int = 1
    """How many processes work on the store; each has slots of its own."""
    turns: list[int] = []
    """How many runs of each slot are done."""
    shared: bool = False
    keep: int | None = None
    """How many ended runs are kept, and all that are young; None: all."""
    young: float = 10.0
    """Seconds since its end that a run is kept in any case, so that its submitter learns of it:
    one that took long is not among the newest even as it ends."""
    patience: float | None = None
    """Seconds that a locked file is waited for; None: as always."""
    longest: float = 120.0
    """Seconds after which a process that hangs says where, and ends."""

    @property
    def store(self) -> Path:
        """The store's file."""
        return Path(self.folder, STORE)

    @property
    def witness(self) -> Path:
        """The witness's file: one for all parts, so that their order is known."""
        return Path(self.diary, f"witness-{self.life}.jsonl")

    @property
    def told(self) -> Path:
        """What the process was told."""
        return Path(self.diary, f"told-{self.part}-{self.life}.jsonl")

    @property
    def said(self) -> Path:
        """What it wrote to its standard error."""
        return Path(self.diary, f"said-{self.part}-{self.life}.txt")

    def number(self, slot: int, turn: int) -> int:
        """The input of a slot's turn."""
        return (turn * len(self.turns) + slot) * self.parts + self.part


class Told(msgspec.Struct, frozen=True):
    """What the engine told its user about a run."""

    slot: int
    turn: int
    what: Literal["accepted", "known", "done", "refused", "lost", "failed"]
    """`accepted` as new, or `known` from before; `refused`: the store failed; `lost`: to
    another worker, where it goes on."""
    outputs: list[Any] = []
    reason: str = ""


class _Slots:
    """Keeps all slots of a process busy.

    Args:
        duty: What is to be done.
        worker: Who does it.
    """

    def __init__(self, duty: Duty, worker: Worker) -> None:
        self._duty = duty
        self._worker = worker
        self._log = os.open(duty.told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._has_enough = False

    def stop(self) -> None:
        """Begin nothing new."""
        self._has_enough = True

    async def work(self) -> None:
        """Keep all slots busy until there is enough, and see through what has begun."""
        await asyncio.gather(
            *(self._keep_busy(slot, turn) for slot, turn in enumerate(self._duty.turns))
        )

    async def _keep_busy(self, slot: int, turn: int) -> None:
        while not self._has_enough:
            await self._see_through(slot, turn)
            turn += 1

    async def _see_through(self, slot: int, turn: int) -> None:
        while True:
            try:
                run = await self._submit(slot, turn)
                self._tell(Told(slot, turn, "accepted" if run.is_new else "known"))
                self._tell(Told(slot, turn, "done", await run.result()))
            except StoreError as error:
                self._tell(Told(slot, turn, "refused", reason=str(error)))
                await asyncio.sleep(_RETRY_SECONDS)
            except RunError as error:
                if "took the run over" not in error.reason:
                    self._tell(Told(slot, turn, "failed", reason=repr(error)))
                    return
                self._tell(Told(slot, turn, "lost"))
            else:
                return

    async def _submit(self, slot: int, turn: int) -> Run:
        number = self._duty.number(slot, turn)
        key = f"key-{self._duty.part}-{slot}"
        return await self._worker.submit(number, key=key, id=id_of(number))

    def _tell(self, told: Told) -> None:
        os.write(self._log, msgspec.json.encode(told) + b"\n")


async def work(duty: Duty) -> None:
    """Be busy until the standard input ends; then see the last runs through."""
    settings = WorkerSettings(
        store_retry_seconds=_RETRY_SECONDS,
        lease_seconds=2.0,
        shutdown_grace_seconds=1.0,
    )
    store = SqliteStore(duty.store, shared=duty.shared)
    async with Worker(agent, store=store, settings=settings) as worker:
        slots = _Slots(duty, worker)
        asyncio.get_running_loop().add_reader(sys.stdin, slots.stop)
        async with _pruning(worker, duty):
            await slots.work()
            await worker.drain()


@asynccontextmanager
async def _pruning(worker: Worker, duty: Duty) -> AsyncGenerator[None]:
    """While inside, forget what has ended, but for the newest."""

    async def forget() -> None:
        while duty.keep is not None:
            try:
                await worker.prune(keep=duty.keep, older_than=duty.young)
            except StoreError as error:
                sys.stderr.write(f"nothing is forgotten: {error}\n")
            await asyncio.sleep(_PRUNE_SECONDS)

    task = asyncio.create_task(forget())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def main(text: str) -> None:
    """Be that process."""
    duty = msgspec.json.decode(text, type=Duty)
    os.environ[witness.FILE] = str(duty.witness)
    os.environ[witness.LIFE] = str(duty.life)
    faulthandler.dump_traceback_later(duty.longest + _MARGIN, exit=True)
    if duty.patience is not None:
        _sqlite_file._PATIENCE = duty.patience  # noqa: SLF001 - nobody else needs it
    asyncio.run(work(duty))
