"""Outputs of all runs as they are committed, read from the store by a cursor.

Nothing waits in memory: whoever reads slowly reads later, and nobody who writes ever waits for
a reader.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import InitVar, dataclass, field
from typing import Any, Generic, TypeVar

from durable_agents.serialization import Codec
from durable_agents.store import OutputRow, Store

__all__ = ["Output", "OutputSignal", "as_output", "follow"]

T = TypeVar("T")

_ROWS_PER_READ = 256


class OutputSignal:
    """Wakes those who have read all outputs that there were."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing is committed any more."""
        return self._is_closed

    def announce(self) -> None:
        """Outputs were committed."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def close(self) -> None:
        """Nothing is committed any more; who waits reads what there is, and ends."""
        self._is_closed = True
        self.announce()

    def next(self) -> asyncio.Future[None]:
        """Done when something has been committed after this call."""
        if self._waiter is None:
            self._waiter = asyncio.get_running_loop().create_future()
            if self._is_closed:
                self._waiter.set_result(None)
        return self._waiter


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Generic[T]):
    """A value that a run sent out of the agent, as it was committed."""

    position: int
    """Grows in the order of commits, over all runs of the store; from 1."""
    run_id: str
    key: str
    event_id: str
    """Id of the output event, the same in every life of the run."""
    value: T
    created_at: float
    """When it was sent: seconds since 1970-01-01 UTC."""
    acknowledge: InitVar[Callable[[], Awaitable[None]] | None] = None
    _acknowledge: Callable[[], Awaitable[None]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __post_init__(self, acknowledge: Callable[[], Awaitable[None]] | None) -> None:
        """Keep how it is acknowledged; None where the reader has no name."""
        object.__setattr__(self, "_acknowledge", acknowledge)

    async def ack(self) -> None:
        """Say that this output and all before it are dealt with; durable on return.

        The named consumer goes on behind it, also in a later process.

        Raises:
            RuntimeError: The reader has no name: ask for `outputs(consumer="...")`.
            StoreError: It cannot be kept.
        """
        if self._acknowledge is None:
            msg = 'nobody in particular reads here: use `outputs(consumer="...")`'
            raise RuntimeError(msg)
        await self._acknowledge()


def as_output(
    row: OutputRow, codec: Codec, acknowledge: Callable[[], Awaitable[None]] | None = None
) -> Output[Any]:
    """An output for people, decoded."""
    return Output(
        position=row.position,
        run_id=row.run_id,
        key=row.key,
        event_id=row.event.event_id,
        value=codec.decode(row.event.payload),
        created_at=row.event.at,
        acknowledge=acknowledge,
    )


async def follow(
    store: Store, codec: Codec, signal: OutputSignal, consumer: str | None, after: int | None
) -> AsyncGenerator[Output[Any], None]:
    """All outputs behind a position, then those that come; see `Worker.outputs`."""
    position = await _start(store, consumer) if after is None else after
    while True:
        news = signal.next()
        was_closed = signal.is_closed
        rows = await store.outputs(after=position, limit=_ROWS_PER_READ)
        for row in rows:
            position = row.position
            acknowledge = None
            if consumer is not None:
                acknowledge = _Acknowledgement(store, consumer, position)
            yield as_output(row, codec, acknowledge)
        if not rows:
            if was_closed:
                return
            await asyncio.shield(news)


async def _start(store: Store, consumer: str | None) -> int:
    if consumer is None:
        return await store.last_position()
    # From its first look on, what it has not seen is kept for it.
    await store.acknowledge(consumer, 0)
    return await store.acknowledged(consumer)


class _Acknowledgement:
    """One output of one consumer."""

    __slots__ = ("_consumer", "_position", "_store")

    def __init__(self, store: Store, consumer: str, position: int) -> None:
        self._store = store
        self._consumer = consumer
        self._position = position

    async def __call__(self) -> None:
        await self._store.acknowledge(self._consumer, self._position)
