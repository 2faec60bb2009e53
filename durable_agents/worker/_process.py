"""Many inputs through one worker: submitted with back-pressure, their outputs as they come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from durable_agents.errors import InputError, RunError
from durable_agents.worker._handle import Run
from durable_agents.worker._outputs import Output

__all__ = ["process"]

T = TypeVar("T")

_MOST_ERRORS = 100
"""Errors that are kept to be raised at the end; the runs themselves stay in the store."""


class Submitter(Protocol):
    """What is needed of a worker."""

    async def submit(self, value: object, *, key: str | None, id: str | None) -> Run:  # noqa: A002 - the public name
        """Take an input in."""
        ...

    async def outputs_of(self, run: Run) -> list[Output[Any]]:
        """Outputs of a run, once it has completed."""
        ...


async def process(
    worker: Submitter,
    inputs: Iterable[T] | AsyncIterable[T],
    *,
    key: Callable[[T], str | None] | None,
    id_of: Callable[[T], str | None] | None,
    at_once: int,
) -> AsyncGenerator[Output[Any], None]:
    """Outputs of the runs that the inputs cause; see `Worker.process`."""
    stream = _Stream(worker, key, id_of, at_once)
    feeding = asyncio.get_running_loop().create_task(stream.feed(inputs), name="process inputs")
    try:
        while (outputs := await stream.next()) is not None:
            for output in outputs:
                yield output
        await feeding
    finally:
        feeding.cancel()
        for task in stream.tasks:
            task.cancel()
        await asyncio.wait([feeding, *stream.tasks])
    if stream.errors:
        msg = f"{stream.error_count} of {stream.input_count} inputs did not complete"
        raise ExceptionGroup(msg, stream.errors)


class _Stream(Generic[T]):
    """Inputs on their way; a bounded number of them at once."""

    def __init__(
        self,
        worker: Submitter,
        key: Callable[[T], str | None] | None,
        id_of: Callable[[T], str | None] | None,
        at_once: int,
    ) -> None:
        self.errors: list[Exception] = []
        self.error_count = 0
        self.input_count = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self._worker = worker
        self._key = key
        self._id_of = id_of
        self._places = asyncio.Semaphore(at_once)
        self._done: asyncio.Queue[list[Output[Any]] | None] = asyncio.Queue()

    async def feed(self, inputs: Iterable[T] | AsyncIterable[T]) -> None:
        """Submit all inputs, in order, as there is room."""
        try:
            async for value in _each(inputs):
                await self._places.acquire()
                self.input_count += 1
                try:
                    run = await self._submit(value)
                except (InputError, RunError) as error:
                    self._fail(error)
                    self._done.put_nowait([])
                else:
                    task = asyncio.get_running_loop().create_task(self._collect(run))
                    self.tasks.add(task)
                    task.add_done_callback(self.tasks.discard)
            if self.tasks:
                await asyncio.wait(self.tasks)
        finally:
            self._done.put_nowait(None)

    async def next(self) -> list[Output[Any]] | None:
        """Outputs of the next run that has ended; None behind the last."""
        outputs = await self._done.get()
        # Only now: what nobody has asked for yet keeps its place.
        self._places.release()
        return outputs

    async def _submit(self, value: T) -> Run:
        key = None if self._key is None else self._key(value)
        run_id = None if self._id_of is None else self._id_of(value)
        return await self._worker.submit(value, key=key, id=run_id)

    async def _collect(self, run: Run) -> None:
        outputs: list[Output[Any]] = []
        try:
            outputs = await self._worker.outputs_of(run)
        except RunError as error:
            self._fail(error)
        self._done.put_nowait(outputs)

    def _fail(self, error: Exception) -> None:
        self.error_count += 1
        if len(self.errors) < _MOST_ERRORS:
            self.errors.append(error)


async def _each(inputs: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(inputs, AsyncIterable):
        async for value in inputs:
            yield value
    else:
        for value in inputs:
            yield value
