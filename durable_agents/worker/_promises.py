"""Promises: what an action begins, and somebody outside finishes.

A promise has a place of its own, which makes its id, and that it was made is on record: a
replay finds it, and so does a fork. It is completed by a signal of the run, named by that
place; to wait for it is to wait for that signal, at a place of its own among the calls.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from durable_agents.agent import decode
from durable_agents.context import Promise
from durable_agents.errors import OutsideActionError
from durable_agents.journal import (
    PROMISE,
    CallKey,
    CallLog,
    Diverged,
    PromiseMade,
    Resume,
    place,
    promise_id,
    promise_name,
)
from durable_agents.worker._lineage import Branch
from durable_agents.worker._replaying import Replaying
from durable_agents.worker._services import Services
from durable_agents.worker._sync_action import action_thread_branch
from durable_agents.worker._waits import WaitingScope, Waits, check_seconds

__all__ = ["FAILURE", "Promises"]


class _Failure:
    """Stands for the value of a promise that is failed: it need not fit anything."""


FAILURE = _Failure()


class PromisingScope(WaitingScope, Protocol):
    """What a promise needs of its action run."""

    def branch(self, verb: str) -> Branch:
        """The branch of the task that runs now, if it may use the context."""
        ...


class Promises(Replaying):
    """The promises of one start of one action.

    Args:
        scope: The action run.
        log: What earlier starts left on record.
        services: The worker's.
        waits: The waits of the same start.
    """

    __slots__ = ("_run", "_waits")

    def __init__(
        self, scope: PromisingScope, log: CallLog, services: Services, waits: Waits
    ) -> None:
        super().__init__(scope, log, services)
        self._run = scope
        self._waits = waits

    def make(self, wanted: Any) -> Promise[Any]:
        """A promise; its place is fixed now, and that it was made goes on record.

        Args:
            wanted: What it has to be completed with; None: with anything.

        Raises:
            OutsideActionError: It is made in the thread of a plain `def` action.
        """
        branch = self._run.branch("promise")
        if action_thread_branch() is branch:
            verb, hint = "promise", "a promise is awaited: declare the action by `async def`"
            raise OutsideActionError(verb, hint)
        key = (branch.path, branch.next_position)
        branch.next_position += 1
        made_by, call = self._made_by(key), self._run.call_id(key)
        shown = f"promise at {place(key)}"
        fits = partial(_as_wanted, shown, wanted)
        self._run.mailbox.promise(promise_name(call), fits)
        wait = partial(self._wait, promise_name(call), fits, shown)
        return _Made(promise_id(made_by, call), wait, shown)

    def _made_by(self, key: CallKey) -> str:
        """The run that the id names: this one, or the one that it was forked from."""
        decision = self._log.next_call(key, PROMISE, b"", "")
        if isinstance(decision, Resume):
            return decision.record.preview or self._run.run_id
        if isinstance(decision, Diverged):
            self._clear(key, decision)
        branch, position = key
        # Not waited for: the id is worked out, and so is the same whatever becomes of this.
        now = self._services.clock.now()
        self._run.record(PromiseMade(self._run.number, branch, position, "", now))
        return self._run.run_id

    def _wait(
        self,
        name: str,
        fits: Callable[[object], Any],
        shown: str,
        timeout: float | None,
    ) -> Coroutine[Any, Any, Any]:
        branch = self._run.branch("Promise.result")
        if timeout is not None:
            check_seconds("result", timeout)
        return self._waits.signal(branch, name, timeout, fits, shown)


class _Made(Promise[Any]):
    """A promise as its action holds it.

    Args:
        promise: Its id.
        wait: Makes a wait for what becomes of it, given a timeout.
        shown: What it is, for people.
    """

    def __init__(
        self,
        promise: str,
        wait: Callable[[float | None], Coroutine[Any, Any, Any]],
        shown: str,
    ) -> None:
        self._id = promise
        self._wait = wait
        self._shown = shown

    @property
    def id(self) -> str:
        return self._id

    def result(self, *, timeout: float | None = None) -> Coroutine[Any, Any, Any]:
        return self._wait(timeout)

    def __repr__(self) -> str:
        return f"<{self._shown}: {self._id}>"


def _as_wanted(shown: str, wanted: Any, value: object) -> Any:
    """What a promise is completed with, as what its action wants.

    Raises:
        InputError: It is no such value.
    """
    if wanted is None or value is FAILURE:
        return value
    return decode(value, wanted, f"what completes the {shown}")
