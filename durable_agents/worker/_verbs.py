"""What can be asked of a worker about the runs in its store."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import Any

from durable_agents.errors import RunError, RunStateError
from durable_agents.journal import SignalReceived
from durable_agents.store import NewRun, Pause
from durable_agents.worker._completion import check_name, complete, completion_of
from durable_agents.worker._decisions import (
    UNSET,
    check_fork,
    edit,
    fork,
    fork_id,
    prune,
    resolution,
    retention,
    retry,
)
from durable_agents.worker._endings import output_rows
from durable_agents.worker._handle import Run
from durable_agents.worker._outputs import Output, as_output, follow
from durable_agents.worker._services import Services
from durable_agents.worker._steering import Steering

__all__ = ["RunVerbs", "check_text"]


class RunVerbs(ABC):
    """The part of `Worker` that reads the outputs of runs and takes decisions about them."""

    def __init__(self) -> None:
        self._services: Services | None = None
        self._steering: Steering | None = None

    @property
    @abstractmethod
    def is_stopping(self) -> bool:
        """Whether the worker takes nothing in any more."""

    @property
    @abstractmethod
    def _agent_name(self) -> str:
        """Name of the agent that the worker runs."""

    @abstractmethod
    async def _take_in(self, new: NewRun) -> Run:
        """Have the store accept a run; it starts when its turn comes."""

    def outputs(
        self, consumer: str | None = None, *, after: int | None = None
    ) -> AsyncGenerator[Output[Any], None]:
        """Outputs of all runs of the store in the order of their commits, then those to come.

        Ends when the worker has stopped and everything was handed over. A slow reader delays
        nobody: outputs wait in the store.

        Args:
            consumer: A name under which acknowledged outputs are remembered: the next reader of
                this name goes on behind the last `ack()`, a new name begins with the first
                output. What a named consumer has not acknowledged is not pruned. Default: no
                name; begins with what is committed from the first step of the iteration on.
            after: Begin behind this position instead.

        Raises:
            StoreError: The store cannot be read.
            DecodeError: An output cannot be decoded; it is not skipped.
        """
        services = self._opened
        return follow(services.store, services.codec, services.outputs, consumer, after)

    async def outputs_of(self, run: Run) -> list[Output[Any]]:
        """Outputs of one run as they were committed, once it has completed.

        Raises:
            RunError: It did not complete, or was pruned; see `Run.result`.
        """
        await run.wait()
        services = self._opened
        rows = await output_rows(services.store, run.id, run.number)
        return [as_output(row, services.codec) for row in rows]

    async def cancel(self, run_id: str, reason: str = "cancelled by a person") -> None:
        """Tell a run to stop. On return the request is durable; `Run.result` tells the end.

        An action that runs meets a `CancelledError` where it waits, and through it every task
        that it awaits; what they do to clean up, durable calls included, runs to its end and is
        recorded. Then the run ends as cancelled: no further action starts, and what completed
        stays. A run that waits for its turn, is parked or failed ends at once.

        Raises:
            UnknownRunError: The store has no such run.
            RunStateError: It completed, or was cancelled already; or another worker that
                shares the store has it: cancel it there.
            RunError: It ended otherwise before it could be told.
            StoreError: The request cannot be recorded.
        """
        await self._decisions_about(run_id).cancel(run_id, reason)

    async def signal(
        self,
        run_id: str,
        name: str,
        value: object = None,
        *,
        id: str | None = None,  # noqa: A002
    ) -> bool:
        """Send a value to a run, for its `RunnerContext.wait_for_signal`.

        Durable on return, whether or not the run waits for it yet: a run that waits for its
        turn, is parked or failed keeps it until it goes on. Signals of one name are taken in
        the order in which they were sent.

        Args:
            run_id: The run.
            name: Of the signal, as the action waits for it.
            value: What the wait returns: anything that can be recorded.
            id: Makes the call idempotent: a second signal of the run with this id is the same.

        Returns:
            Whether it was received; False where one of this id had been already.

        Raises:
            InputError: The action waits for a value of another type, or the name is that of a
                promise; nothing was recorded.
            UnknownRunError: The store has no such run.
            RunStateError: It completed, or was cancelled; or another worker that shares the
                store has it: send it there.
            EncodeError: The value cannot be recorded.
            StoreError: It cannot be recorded.
        """
        services = self._opened
        check_name(name)
        payload = services.codec.encode(value, f"signal {name!r}")
        received = SignalReceived(name, id or "", payload, services.clock.now())
        return await self._decisions_about(run_id).signal(run_id, received, value)

    async def complete(
        self, promise: str, value: object = None, *, error: Exception | str | None = None
    ) -> bool:
        """Complete a promise of an action: give it what it waits for, or fail it.

        Durable on return, whether or not the action waits yet. The first completion counts; the
        same once more changes nothing, so that a delivery may be repeated.

        Args:
            promise: `Promise.id`.
            value: What `Promise.result` returns.
            error: What it raises instead, or the text of a `PromiseFailedError`.

        Returns:
            Whether this completed it; False where the same value, or error, had done before.

        Raises:
            InputError: `promise` is no id of a promise, or is not whole; or the action wants a
                value of another type. Nothing was recorded.
            UnknownRunError: The store has no such run: it is another store's, or was pruned.
            RunStateError: It was completed before with something else, which stays; the run
                completed or was cancelled; or another worker that shares the store has it:
                complete it there.
            TypeError: `promise` is no text, or `error` neither an exception nor text.
            ValueError: Both a value and an error were given.
            EncodeError: The value cannot be recorded.
            StoreError: It cannot be recorded.
        """
        services = self._opened
        check_text("promise", promise)
        completion = completion_of(services.codec, services.clock, promise, value, error)
        send = self._decisions_about(completion.run_id).signal
        return await complete(services.store, services.codec, completion, send)

    async def retry(self, run_id: str, *, repeat_failed: bool = False) -> None:
        """Put a failed or parked run back to work: what had not completed starts again.

        Settled calls are not repeated. A failed run goes to the end of the line of its key; one
        that kept its key goes on at once.

        Args:
            run_id: The run.
            repeat_failed: Make those calls again whose failure ended their branch. Without it,
                a recorded failure is handed over again: right after a change of the code,
                useless after an outage.

        Raises:
            UnknownRunError: The store has no such run.
            RunStateError: It is neither failed nor parked.
            StoreError: It cannot be recorded.
        """
        decide = retry(repeats_failed=repeat_failed)
        await self._decisions_about(run_id).put_back(run_id, decide)

    async def resolve(
        self,
        run_id: str,
        call_id: str | None = None,
        *,
        value: object = UNSET,
        error: BaseException | str | None = None,
        rerun: bool = False,
    ) -> None:
        """Decide about a call in doubt of a parked run, which then goes on.

        Args:
            run_id: The run.
            call_id: The call, as `CallInfo.call_id` has it. Default: the only one in doubt.
            value: It took effect: what it returned.
            error: It failed: what it raised, or the text of a `CallFailedError`.
            rerun: It did not take effect, or may do so again: make it again.

        Raises:
            ValueError: Not exactly one of value, error and rerun was given.
            UnknownRunError: The store has no such run.
            RunStateError: The run is not parked, or the call is not in doubt.
            EncodeError: The value cannot be recorded.
            StoreError: It cannot be recorded.
        """
        codec = self._opened.codec
        decide = resolution(codec, call_id, value=value, error=error, rerun=rerun)
        await self._decisions_about(run_id).put_back(run_id, decide)

    async def fork(
        self,
        run_id: str,
        at: str | None = None,
        *,
        value: object = UNSET,
        error: BaseException | str | None = None,
        id: str | None = None,  # noqa: A002 - the public name
    ) -> Run:
        """Make a run of another one, which goes its own way from some call on.

        It has the same agent, input and key. What had settled before that call is on its record
        from the start, outputs included, and is not repeated; the call itself is made again, or
        has the result that is given here; all that came later is its own to do. Its effects are
        its own, too: a payment behind that call is paid once more. The other run stays as it
        is, whatever it has come to. The fork goes to the end of the line of its key; durable on
        return, all or nothing.

        Args:
            run_id: The other run.
            at: Id of the call, as `CallInfo.call_id` and `show` have it. A wait for a signal is
                one, too. Default: none, the fork begins at the beginning.
            value: What the call returns in the fork.
            error: What it raises instead, or the text of a `CallFailedError`.
            id: Id of the fork; makes the call idempotent. Default: one is made up.

        Returns:
            The fork.

        Raises:
            ValueError: Both `value` and `error` were given, or one of them without `at`.
            UnknownRunError: The store has no such run.
            RunStateError: It has no such call on record (the error names those that it has), or
                one that has no such result; it is another agent's; or the id is another run's.
            EncodeError: The value cannot be recorded.
            RunError: The worker is stopping.
            StoreError: It cannot be recorded.
        """
        services = self._opened
        self._decisions_about(run_id)
        edited = edit(services.codec, at, value=value, error=error)
        new_id = fork_id(run_id) if id is None else id
        new = await fork(services.store, services.clock, run_id, at, edited, new_id)
        if new.agent != self._agent_name:
            problem = f"its agent is {new.agent!r}, that of this worker {self._agent_name!r}"
            raise RunStateError(run_id, problem)
        run = await self._take_in(new)
        if not run.is_new:
            await check_fork(services.store, new, run.number)
        services.outputs.announce()
        return run

    async def pause(
        self, key: str | None = None, *, reason: str = "paused by a person"
    ) -> None:
        """Let no further run start, of one key or at all; durable on return, until `resume`.

        Runs that are under way go on, inputs are accepted and wait. A restart changes nothing:
        what was under way when the worker stopped waits with the others then.

        Args:
            key: The key. Default: whatever the key.
            reason: For people, in `durable-agents runs`.

        Raises:
            StoreError: It cannot be recorded.
            TypeError: The key or the reason is no text.
            ValueError: The key or the reason cannot be written as UTF-8.
            RuntimeError: The worker is not open.
        """
        await self.pause_agent(self._agent_name, key, reason)

    async def resume(self, key: str | None = None) -> bool:
        """Let runs start again, of one key or at all; keys that are paused themselves stay so.

        Args:
            key: The key. Default: the pause that holds whatever the key.

        Returns:
            Whether it was paused.

        Raises:
            StoreError: It cannot be recorded.
        """
        return await self.resume_agent(self._agent_name, key)

    async def pause_agent(self, agent: str, key: str | None, reason: str) -> None:
        """The same as `pause` for any agent with runs in the store, by its name."""
        check_text("reason", reason)
        if key is not None:
            check_text("key", key)
        await self._decisions.pause(Pause(agent, key, reason, self._opened.clock.now()))

    async def resume_agent(self, agent: str, key: str | None) -> bool:
        """The same as `resume` for any agent with runs in the store, by its name."""
        return await self._decisions.resume(agent, key)

    async def prune(
        self, *, older_than: float | None = None, keep: int | None = None, failed: bool = False
    ) -> int:
        """Forget runs that have ended, with their journals and outputs; work goes on meanwhile.

        A run stays while an output of it waits for a named consumer. The ids of forgotten runs
        are forgotten: submitted again, such an input runs again.

        Args:
            older_than: Seconds since the run ended, at least. Default: any.
            keep: So many of the newest runs that have ended stay, however old. Default: none.
            failed: Forget failed runs, too. By default they wait for a person.

        Returns:
            How many runs were forgotten.

        Raises:
            ValueError: Neither `older_than` nor `keep` was given, or one is negative.
            StoreError: The store cannot be written; what was forgotten by then stays so.
        """
        services = self._opened
        return await prune(
            services.store, retention(services.clock.now(), older_than, keep, failed=failed)
        )

    @property
    def _opened(self) -> Services:
        if self._services is None:
            msg = "the worker is not open: use it by `async with Worker(...)`"
            raise RuntimeError(msg)
        return self._services

    def _decisions_about(self, run_id: str) -> Steering:
        if self.is_stopping:
            raise RunError(run_id, "the worker is stopping and takes no decisions")
        return self._decisions

    @property
    def _decisions(self) -> Steering:
        _ = self._opened
        assert self._steering is not None, "an open worker has it"
        return self._steering


def check_text(name: str, text: object) -> None:
    """Refuse what is no text, or none that a store could hold.

    Raises:
        TypeError: It is no text.
        ValueError: It cannot be written as UTF-8.
    """
    if not isinstance(text, str):
        msg = f"{name} is {type(text).__name__}, expected str; use str(...)"
        raise TypeError(msg)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{name} {text!r} cannot be written as UTF-8: {error}"
        raise ValueError(msg) from error
