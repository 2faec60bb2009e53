"""The worker: takes inputs in, runs them to their end, stops gracefully."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import msgspec

from durable_agents.agent import Agent, AgentPlan
from durable_agents.clock import Clock, SystemClock
from durable_agents.errors import RunError, StoreError
from durable_agents.events import Event, InputEvent
from durable_agents.journal import RunStatus
from durable_agents.serialization import Codec
from durable_agents.store import AcceptedRun, InMemoryStore, NewRun, Store, StoreFacts, name_of
from durable_agents.worker._commands import execute
from durable_agents.worker._control import ControlServer
from durable_agents.worker._dispatcher import Dispatcher
from durable_agents.worker._handle import Run
from durable_agents.worker._lease import Lease
from durable_agents.worker._outputs import Output
from durable_agents.worker._process import process
from durable_agents.worker._schedules import Schedules
from durable_agents.worker._services import UNWINDING_SECONDS, Services, make_services
from durable_agents.worker._settings import WorkerSettings
from durable_agents.worker._shared_dispatcher import SharedDispatcher
from durable_agents.worker._steering import Steering
from durable_agents.worker._verbs import RunVerbs, check_text

__all__ = ["Worker", "WorkerStatistics"]

T = TypeVar("T")

logger = logging.getLogger("durable_agents")


class WorkerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is doing at this moment."""

    running: int
    """Runs that are being worked on."""
    resting: int
    """Of them, those that only wait for time or a signal: they take no place of
    `max_concurrent_runs`."""
    evicted: int
    """Runs that wait in the store and have left memory: see `max_resident_runs`."""
    waiting: int
    """Runs in memory that wait for their turn; more may wait in the store."""
    calls_in_flight: int
    """Durable calls that hold a place of the pool."""
    completed: int
    """Runs that completed since the worker started."""
    failed: int
    """Runs that failed since the worker started."""
    parked: int
    """Runs that were parked since the worker started."""
    cancelled: int
    """Runs that were cancelled since the worker started."""
    limits: dict[str, int]
    """By name, how many calls each of `WorkerSettings.limits` admits now: the figure that was
    set, or what an `AdaptiveLimit` has come to."""


class Worker(RunVerbs):
    """Runs one agent over one store.

    Entering it (`async with Worker(agent, store=SqliteStore("agents.db")) as worker`) opens the
    store and takes over what an earlier process left unfinished. Leaving it stops gracefully:
    no call begins any more, running ones get `shutdown_grace_seconds`, what has settled stays,
    and what is unfinished goes on with the next worker.

    Args:
        agent: What to run.
        store: Where facts are kept. Default: in memory, which survives no crash.
        settings: How to work.
        codec: How values become bytes. Default: `Codec` with the settings' size limit.
        clock: Where the time comes from. Default: the machine's.

    Raises:
        DefinitionError: Something is wrong with the agent; each problem is listed.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        store: Store | None = None,
        settings: WorkerSettings | None = None,
        codec: Codec | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._plan = AgentPlan.of(agent)
        self._store = InMemoryStore() if store is None else store
        self._settings = WorkerSettings() if settings is None else settings
        self._codec = (
            Codec(max_bytes=self._settings.max_payload_bytes) if codec is None else codec
        )
        self._clock = SystemClock() if clock is None else clock
        super().__init__()
        self._crash: BaseException | None = None
        self._control: ControlServer | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._services is not None:
            msg = "a Worker is entered once; make another one"
            raise RuntimeError(msg)
        self._loop = asyncio.get_running_loop()
        self._stop_requested = asyncio.Event()
        owner = f"{self._plan.name} (process {os.getpid()})"
        facts = await self._store.open(owner)
        try:
            self._services = services = make_services(
                self._settings, self._store, self._clock, self._codec
            )
            self._check_privacy(facts)
            self._dispatcher = self._make_dispatcher(services, owner)
            self._steering = Steering(self._dispatcher, services, self._plan.name)
            await self._steering.take_pauses()
            await self._dispatcher.find_open_runs(was_closed=facts.was_closed)
        except BaseException:
            await self._store.close()
            raise
        services.lineage.install()
        self._dispatcher.dispatch()
        if self._plan.schedules:
            schedules = Schedules(self._plan, services, self.submit)
            self._dispatcher.read(schedules.run(), "submit what is scheduled")
        if self._store.control_path is not None:
            self._control = ControlServer(self._store.control_path, partial(execute, self))
            await self._control.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        services = self._opened
        try:
            if self._control is not None:
                await self._control.close()
            await self.stop()
        finally:
            services.lineage.uninstall()
            services.threads.close()
            await self._store.close()
        if self._crash is not None:
            raise self._crash

    async def submit(
        self,
        value: object,
        *,
        key: str | None = None,
        id: str | None = None,  # noqa: A002 - the public name
    ) -> Run:
        """Take an input in.

        Durable on return: the run will come to its end, in this process or in a later one.
        Cancellation: the input may have been accepted all the same; with an `id`, submit again.

        Args:
            value: An event, taken as it is; or a value of the agent's input type, or data that
                makes one.
            key: What inputs are ordered by: of one key, one run at a time, in the order
                accepted. Default: the run's own id, ordered with nobody.
            id: Makes the call idempotent: a second submit with the same id is the same run.

        Raises:
            InputError: The value does not fit the agent's input type.
            EncodeError: The value cannot be recorded.
            RunError: The worker is stopping.
            StoreError: The store cannot take it; nothing was accepted.
            TypeError: The key or the id is no text.
            ValueError: The key or the id cannot be written as UTF-8.
        """
        services = self._opened
        if self._stopping is not None:
            raise RunError(id or "(new)", "the worker is stopping and takes nothing in")
        if key is not None:
            check_text("key", key)
        event = self._plan.decode_input(value)
        recorded = _recorded(event)
        payload = services.codec.encode(recorded, "the input")
        is_event = recorded is event
        new = NewRun(self._plan.name, key, id, payload, services.clock.now(), is_event)
        return await self._take_in(new)

    def process(
        self,
        inputs: Iterable[T] | AsyncIterable[T],
        *,
        key: Callable[[T], str | None] | None = None,
        id: Callable[[T], str | None] | None = None,  # noqa: A002 - the public name
    ) -> AsyncGenerator[Output[Any], None]:
        """Submit inputs as there is room, and hand over their outputs as runs complete.

        At most `max_concurrent_runs` of them are on their way or wait to be taken here. Leaving
        the loop early submits no more; what was accepted runs on.

        Args:
            inputs: Values or events, from an iterable or an asynchronous one.
            key: Says of each input what it is ordered by. Default: ordered with nobody.
            id: Says of each input its id: the same inputs again cause nothing twice.

        Yields:
            The outputs of each run that completed, in the order sent.

        Raises:
            ExceptionGroup: At the end, if inputs did not fit (`InputError`) or runs did not
                complete (`RunError`); the first hundred errors.
            StoreError: The store cannot take an input.
        """
        at_once = self._opened.settings.max_concurrent_runs
        return process(self, inputs, key=key, id_of=id, at_once=at_once)

    async def drain(self) -> None:
        """Wait until every run has ended or is parked. Cancellation: leaves nothing behind."""
        await self._dispatcher.drain()

    def request_stop(self) -> None:
        """Begin to stop, from the loop's thread; `stop` waits for it."""
        if self._stopping is None:
            self._stop_requested.set()
            self._stopping = self._opened.lineage.outside(
                lambda: self._loop.create_task(self._stop(), name="stop the worker")
            )

    async def stop(self) -> None:
        """Stop gracefully: see the class. Calling it again waits for the same stop."""
        self.request_stop()
        assert self._stopping is not None, "request_stop has set it"
        await asyncio.shield(self._stopping)

    async def serve(self) -> None:
        """Work until SIGTERM or SIGINT, then stop gracefully."""
        with self.stopping_on_signals():
            await self._stop_requested.wait()
            await self.stop()

    @contextmanager
    def stopping_on_signals(self) -> Generator[None, None, None]:
        """While inside, SIGTERM and SIGINT stop the worker gracefully; main thread only."""
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            self._loop.add_signal_handler(number, self.request_stop)
        try:
            yield
        finally:
            for number in signals:
                self._loop.remove_signal_handler(number)

    @property
    def _agent_name(self) -> str:
        return self._plan.name

    @property
    def is_stopping(self) -> bool:
        """Whether the worker takes nothing in any more."""
        return self._stopping is not None

    def statistics(self) -> WorkerStatistics:
        """What the worker is doing at this moment."""
        dispatcher = self._dispatcher
        ended = dispatcher.endings.counts
        return WorkerStatistics(
            running=len(dispatcher.active),
            resting=dispatcher.resting.count,
            evicted=dispatcher.evictions.count,
            waiting=dispatcher.scheduler.waiting_count,
            calls_in_flight=self._opened.calls.taken_count,
            completed=ended[RunStatus.COMPLETED],
            failed=ended[RunStatus.FAILED] + ended[RunStatus.BLOCKING],
            parked=ended[RunStatus.PARKED],
            cancelled=ended[RunStatus.CANCELLED],
            limits={name: limit.count for name, limit in self._opened.limits.items()},
        )

    def _make_dispatcher(self, services: Services, owner: str) -> Dispatcher:
        claims = self._store.claims
        if claims is None:
            return Dispatcher(self._plan, services, owner, self._crashed)
        lease = Lease(claims, self._plan.name, self._settings, self._clock, services.calls)
        services.lease = lease
        return SharedDispatcher(self._plan, services, owner, self._crashed, claims, lease)

    def _check_privacy(self, facts: StoreFacts) -> None:
        """Refuse to read pickles that somebody else may have written."""
        if self._codec.trusts_pickles and not facts.is_private:
            problem = (
                "others than its owner may read or write it, and pickles in it could run their "
                "code: make it private (chmod 600), or give the worker a Codec with "
                'pickle="signed" and a secret, or pickle="refuse"'
            )
            raise StoreError(name_of(self._store), problem)

    async def _take_in(self, new: NewRun) -> Run:
        if new.run_id is not None:
            check_text("id", new.run_id)
        run: asyncio.Future[Run] = self._loop.create_future()
        # Not awaited itself: if its submitter is cancelled, an accepted run must start all the
        # same, and runs are offered in the order in which they were accepted.
        self._store.accept(new).add_done_callback(partial(self._accepted, new, run))
        return await run

    def _accepted(
        self,
        new: NewRun,
        run: asyncio.Future[Run],
        accepted: asyncio.Future[AcceptedRun],
    ) -> None:
        error = accepted.exception()
        handle = None if error is not None else self._dispatcher.offer(accepted.result(), new)
        if run.done():
            return
        if handle is None:
            run.set_exception(error or RuntimeError("no run was accepted"))
        else:
            run.set_result(handle)

    async def _stop(self) -> None:
        """Let running calls finish, end the runs here, then await every task."""
        grace = self._settings.shutdown_grace_seconds
        calls = self._opened.calls
        calls.close()
        if self._crash is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await calls.wait_until_empty()
        # Outcomes that came in last are on their way to the store before anything is cancelled.
        await asyncio.sleep(0)
        self._dispatcher.stop("the worker stopped; the run goes on with the next one")
        self._opened.outputs.close()
        tasks = self._dispatcher.tasks
        if tasks:
            _, stubborn = await asyncio.wait(tasks, timeout=max(grace, UNWINDING_SECONDS))
            for task in stubborn:
                logger.warning(
                    "%s ignores its cancellation and is left behind", task.get_name()
                )

    def _crashed(self, error: BaseException) -> None:
        """A task of ours failed: a bug. Nothing goes on as if it had not been."""
        logger.critical("the worker failed: %r", error, exc_info=error)
        if self._crash is None:
            self._crash = error
        self.request_stop()


def _recorded(event: Event) -> object:
    """What of an input event is put on record; most envelopes are the same, and left out."""
    if type(event) is not InputEvent:
        return event
    return cast("InputEvent[object]", event).input
