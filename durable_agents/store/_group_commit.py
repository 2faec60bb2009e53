"""One queue, one transaction, many waiters.

Writes from all runs queue here. A single writer takes all that has queued, has it committed in
one transaction, and wakes every waiter in the order of the queue. So the cost of a sync is
shared by all who wait for one, a run's writes keep their order, and nobody is told before the
commit.

The writer awaits nothing but the commit, so no circle of waiting can form.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, cast

import msgspec

from durable_agents.errors import StoreError, StoreUnavailableError

__all__ = ["BadWriteError", "GroupCommit", "Queued"]

W = TypeVar("W")

MAX_BATCH = 8192
"""Writes per transaction: bounds how long the first of a batch waits for the last."""


class BadWriteError(Exception):
    """The transaction was refused for the data of one of its writes; nothing happened."""


class Queued(msgspec.Struct, Generic[W], eq=False, gc=False):
    """A write and who waits for it."""

    number: int
    """Number of the run; a run whose write failed gets no later write through."""
    write: W
    body: bytes
    """Its entries, encoded."""
    future: asyncio.Future[Any]
    result: Any = None
    """What the future is given after the commit; the committer sets it."""


class GroupCommit(Generic[W]):
    """The only way to the disk.

    Args:
        name: Name of the store, for errors.
        commit: Makes a batch durable, all or nothing, and sets each result. Raises
            `BadWriteError` where the data of a write is at fault, `StoreError` where the store
            is; in both cases nothing of the batch is durable. Returns the writes that were left
            out, each with its error; None: all are durable.
    """

    def __init__(
        self,
        name: str,
        commit: Callable[
            [Sequence[Queued[W]]], Awaitable[Mapping[Queued[W], StoreError] | None]
        ],
    ) -> None:
        self._name = name
        self._commit = commit
        self._queue: list[Queued[W]] = []
        self._idle: asyncio.Future[None] | None = None
        self._closing = False
        self._refused: dict[int, StoreError] = {}
        self._loop = asyncio.get_running_loop()
        self._new_future = _maker_of_futures(self._loop)
        self._writer: asyncio.Task[None] | None = None
        self._has_ended = False

    def start(self) -> None:
        """Start the writer; `close` awaits it."""
        self._writer = self._loop.create_task(self._write(), name="group commit")

    async def close(self) -> None:
        """Commit what has queued, then stop the writer.

        Cancellation: the writer stops all the same, when it has committed what has queued.
        """
        self._closing = True
        self._wake()
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def enqueue(self, number: int, write: W, body: bytes) -> asyncio.Future[Any]:
        """Queue a write; the future is done when it is durable or has failed."""
        future = self._new_future()
        self._queue.append(Queued(number, write, body, future))
        if self._idle is not None:
            self._wake()
        elif self._has_ended:
            self._fail_queued()
        return future

    def readmit(self, number: int) -> None:
        """Let writes of a run through again: its state was read afresh from the store."""
        self._refused.pop(number, None)

    def _wake(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and not idle.done():
            idle.set_result(None)

    async def _write(self) -> None:
        try:
            await self._commit_what_queues()
        finally:
            # A loop that is torn down cancels the writer, too: nobody may wait for it then.
            self._idle = None
            self._has_ended = True
            self._fail_queued()

    def _fail_queued(self) -> None:
        batch, self._queue = self._queue, []
        self._fail_all(batch, StoreUnavailableError(self._name, "its writer has ended"))

    async def _commit_what_queues(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._idle = self._new_future()
                await self._idle
                continue
            batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
            if self._refused:
                batch = self._without_refused(batch)
            try:
                await self._commit_or_fail(batch)
            except asyncio.CancelledError:
                self._queue[:0] = batch
                raise

    async def _commit_or_fail(self, batch: Sequence[Queued[W]]) -> None:
        if not batch:
            return
        try:
            refused = await self._commit(batch)
        except BadWriteError as error:
            await self._split(batch, error)
        except StoreError as error:
            self._fail_all(batch, error)
        except Exception as error:  # noqa: BLE001 - whoever waits for a dead writer waits for ever
            failure = StoreError(self._name, f"a commit failed in a way of its own: {error!r}")
            failure.__cause__ = error
            self._fail_all(batch, failure)
        else:
            for queued, refusal in (refused or {}).items():
                self._fail(queued, refusal)
            for queued in batch:
                # A waiter that was cancelled in the meantime takes nothing back.
                if not queued.future.done():
                    queued.future.set_result(queued.result)

    async def _split(self, batch: Sequence[Queued[W]], error: BadWriteError) -> None:
        """Find the bad write, so that it fails its own run and no other."""
        if len(batch) == 1:
            refusal = StoreError(self._name, f"a write was refused for its data: {error}")
            refusal.__cause__ = error.__cause__
            self._fail(batch[0], refusal)
            return
        for queued in batch:
            for one in self._without_refused([queued]):
                await self._commit_or_fail([one])

    def _without_refused(self, batch: Sequence[Queued[W]]) -> list[Queued[W]]:
        for queued in batch:
            if (error := self._refused.get(queued.number)) is not None:
                self._fail(queued, error)
        return [queued for queued in batch if queued.number not in self._refused]

    def _fail_all(self, batch: Sequence[Queued[W]], error: StoreError) -> None:
        for queued in batch:
            self._fail(queued, error)

    def _fail(self, queued: Queued[W], error: StoreError) -> None:
        self._refused[queued.number] = error
        if not queued.future.done():
            # Each waiter gets an instance of its own: tracebacks and notes are theirs.
            own = type(error)(*error.args)
            own.__cause__ = error.__cause__
            queued.future.set_exception(own)
            # Abandoned calls and the like are not awaited; their run learns it from others.
            queued.future.exception()


def _maker_of_futures(loop: asyncio.AbstractEventLoop) -> Callable[[], asyncio.Future[Any]]:
    """`loop.create_future`; where it is asyncio's own, without the step in between."""
    if getattr(type(loop), "create_future", None) is asyncio.BaseEventLoop.create_future:
        make = cast("Callable[..., asyncio.Future[Any]]", asyncio.Future)
        return partial(make, loop=loop)
    return loop.create_future
