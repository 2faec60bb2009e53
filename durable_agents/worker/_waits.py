"""Durable waits: sleeps, and signals from outside.

A wait takes a place among the durable calls of its branch, so that it is found again. What it
came to (it fired, a signal was taken) is on record before the action goes on, as the outcome of
a call is, in the same order of delivery: a race with calls is decided on replay as it was.
One exception: where no other task was there to race, the end of a sleep needs no record.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, NoReturn, Protocol

import msgspec

from durable_agents.agent import decode
from durable_agents.clock import Clock
from durable_agents.errors import DecodeError
from durable_agents.journal import (
    SIGNAL,
    SLEEP,
    Abandoned,
    CallKey,
    CallLog,
    CallRecord,
    Diverged,
    Replay,
    Resume,
    SignalAwaited,
    SignalTaken,
    TimerFired,
    TimerSet,
    is_promise,
    place,
)
from durable_agents.worker._call import Scope
from durable_agents.worker._lineage import Branch
from durable_agents.worker._mailbox import Mailbox
from durable_agents.worker._replaying import Replaying
from durable_agents.worker._services import Services

__all__ = ["APPROVAL", "WaitingScope", "Waits", "as_signal", "check_seconds", "until"]

APPROVAL = "approval"
"""Begins the names of the signals that answer `approve`; the place of the call follows."""

_LONGEST_SLEEP = 3600.0
"""Seconds: a machine that was suspended has the loop's clock late, by so much at most."""


class WaitingScope(Scope, Protocol):
    """What a wait needs of its action run."""

    @property
    def mailbox(self) -> Mailbox:
        """The signals of the run."""
        ...

    @property
    def is_alone(self) -> bool:
        """Whether one task is all that there is, with no timeout: nothing can race."""
        ...

    def waiting(
        self, due: float | None, coming: asyncio.Future[int] | None = None
    ) -> AbstractContextManager[None]:
        """While inside, a task of the action waits for time or a signal."""
        ...

    def set_deadline(self, timeout: object, due: float | None) -> None:
        """A timeout fires then; None: it does not any more."""
        ...


async def until(clock: Clock, due: float) -> None:
    """Wait until the wall clock has come so far, however it jumps meanwhile.

    Cancellation: leaves nothing behind.
    """
    while (left := due - clock.now()) > 0:
        await clock.sleep(min(left, _LONGEST_SLEEP))


class Wait(msgspec.Struct, eq=False):
    """One wait, from its place to what it came to."""

    branch: Branch
    key: CallKey
    function: str
    name: str
    """Of the signal; empty for a sleep."""
    preview: str

    @property
    def digest(self) -> bytes:
        """What tells waits of one function apart."""
        return self.name.encode()

    def __str__(self) -> str:
        return f"{self.function}({self.preview}) at {place(self.key)}"


class Waits(Replaying):
    """The durable waits of one start of one action.

    Args:
        scope: The action run.
        log: What earlier starts left on record.
        services: The worker's.
    """

    __slots__ = ("_run",)

    def __init__(self, scope: WaitingScope, log: CallLog, services: Services) -> None:
        super().__init__(scope, log, services)
        self._run = scope

    def sleep(
        self, branch: Branch, due: Callable[[float], float], preview: str
    ) -> Coroutine[Any, Any, None]:
        """A coroutine for one sleep; its place is fixed now.

        Args:
            branch: Where it is made.
            due: When it is over, of the time when it begins.
            preview: Until when, for people.
        """
        return self._sleep(_made(branch, SLEEP, "", preview), due)

    def signal(
        self,
        branch: Branch,
        name: str,
        timeout: float | None,
        check: Callable[[object], Any],
        preview: str,
    ) -> Coroutine[Any, Any, Any]:
        """A coroutine for the next signal of a name; its place is fixed now.

        Args:
            branch: Where it is waited for.
            name: Of the signal.
            timeout: Seconds after which `TimeoutError` is raised, or None.
            check: Makes of what was sent what is returned, or raises.
            preview: What is waited for, for people.
        """
        return self._signal(_made(branch, SIGNAL, name, preview), timeout, check)

    async def _sleep(self, wait: Wait, due_of: Callable[[float], float]) -> None:
        found = await self._found(wait)
        scope, clock = self._scope, self._services.clock
        # Asked at its beginning: who ends meanwhile has raced with it
        # (test_what_ends_during_a_sleep_has_ended_on_replay).
        has_rivals = not self._run.is_alone
        try:
            if found is not None and found.has_settled:
                await scope.delivery.hand_over(wait.key)
                wait.branch.move_on(found.at)
                return
            future = None
            if found is None or found.due is None:
                now = clock.now()
                due = due_of(now)
                branch, position = wait.key
                future = scope.record(
                    TimerSet(scope.number, branch, position, SLEEP, wait.preview, due, now)
                )
            else:
                due = found.due
            # An earlier start has gone on from here, whatever the clock says now.
            if not self._log.is_followed(wait.key):
                await self._end_of_record(wait)
                with self._run.waiting(due):
                    await until(clock, due)
                if future is not None:
                    await future
                if has_rivals:
                    await self._fire(wait)
        except asyncio.CancelledError:
            self._abandon(wait.key, SLEEP, wait.digest, wait.preview)
            raise
        wait.branch.move_on(due)

    async def _signal(
        self, wait: Wait, seconds: float | None, check: Callable[[object], Any]
    ) -> Any:
        found = await self._found(wait)
        scope = self._scope
        try:
            if found is not None and found.has_settled:
                await scope.delivery.hand_over(wait.key)
                wait.branch.move_on(found.at)
                return self._taken(wait, found, check)
            due = self._begun(wait, seconds) if found is None else found.due
            await self._end_of_record(wait)
            return await self._next_signal(wait, due, check)
        except asyncio.CancelledError:
            self._abandon(wait.key, SIGNAL, wait.digest, wait.preview)
            raise

    async def _found(self, wait: Wait) -> CallRecord | None:
        """What is on record of a wait, if it counts."""
        key, digest = wait.key, wait.digest
        decision = self._log.next_call(key, wait.function, digest, wait.preview)
        if isinstance(decision, Abandoned):
            await self._stay_abandoned(key, decision.record)
        if isinstance(decision, Diverged):
            self._clear(key, decision)
        return decision.record if isinstance(decision, Replay | Resume) else None

    async def _end_of_record(self, wait: Wait) -> None:
        if self._services.at_end_of_record is not None:
            await self._services.at_end_of_record(str(wait))

    def _begun(self, wait: Wait, seconds: float | None) -> float | None:
        """Record that a signal is waited for; returns when that is given up."""
        now = self._services.clock.now()
        due = None if seconds is None else now + seconds
        branch, position = wait.key
        number, name = self._scope.number, wait.name
        # Not waited for: what follows cannot be on record without it.
        self._scope.record(
            SignalAwaited(number, branch, position, name, wait.preview, due, now)
        )
        return due

    async def _next_signal(
        self, wait: Wait, due: float | None, check: Callable[[object], Any]
    ) -> Any:
        scope, mailbox = self._scope, self._run.mailbox
        coming = mailbox.expect(wait.name, check)
        is_taken = False
        try:
            with self._run.waiting(due, coming):
                comes = await self._comes(coming, due)
            if not comes:
                await self._fire(wait)
                self._time_out(wait)
            number = coming.result()
            branch, position = wait.key
            now = self._services.clock.now()
            taken = SignalTaken(scope.number, branch, position, wait.name, number, now)
            future = scope.record(taken)
            if scope.is_direct:
                await future
            else:
                await scope.delivery.commit(wait.key, future)
            is_taken = True
        finally:
            if not is_taken:
                mailbox.withdraw(wait.name, coming)
        wait.branch.move_on(now)
        return self._decoded(mailbox.value(number).value, check)

    async def _comes(self, coming: asyncio.Future[int], due: float | None) -> bool:
        """Wait for a signal; returns whether there is one before it is due."""
        if coming.done() or due is None:
            await asyncio.wait([coming])
            return True
        services = self._services
        expiry = services.lineage.outside(
            lambda: asyncio.get_running_loop().create_task(until(services.clock, due))
        )
        try:
            both: list[asyncio.Future[Any]] = [coming, expiry]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            expiry.cancel()
        return coming.done()

    async def _fire(self, wait: Wait) -> None:
        """Record that a timer fired, and wait for its turn."""
        scope, now = self._scope, self._services.clock.now()
        branch, position = wait.key
        future = scope.record(
            TimerFired(scope.number, branch, position, wait.function, wait.name, now)
        )
        if scope.is_direct:
            await future
        else:
            await scope.delivery.commit(wait.key, future)
        wait.branch.move_on(now)

    def _taken(self, wait: Wait, found: CallRecord, check: Callable[[object], Any]) -> Any:
        if found.payload is None:
            self._time_out(wait)
        return self._decoded(found.payload, check)

    def _decoded(self, payload: Any, check: Callable[[object], Any]) -> Any:
        try:
            codec, has_failed = self._scope.codec, payload.is_failure
            outcome = codec.decode_failure(payload) if has_failed else codec.decode(payload)
        except DecodeError as error:
            self._scope.taint(error)  # nothing may complete in place of a value that is there
            raise
        if has_failed:
            raise outcome
        return check(outcome)

    def _time_out(self, wait: Wait) -> NoReturn:
        msg = f"no signal {wait.name!r} came in time ({wait.preview})"
        if is_promise(wait.name):
            msg = f"{wait.preview} was not completed in time"
        raise TimeoutError(msg)


def _made(branch: Branch, function: str, name: str, preview: str) -> Wait:
    position = branch.next_position
    branch.next_position = position + 1
    return Wait(branch, (branch.path, position), function, name, preview)


def as_signal(name: str, wanted: Any, value: object) -> Any:
    """What was sent, as what an action waits for.

    Raises:
        InputError: It is no such value.
    """
    return value if wanted is None else decode(value, wanted, f"signal {name!r}")


def check_seconds(verb: str, seconds: float) -> None:
    """Refuse what is no duration.

    Raises:
        ValueError: It is negative, infinite or no number.
    """
    if not 0 <= seconds < math.inf:
        msg = f"{verb} takes seconds >= 0, and finite, got {seconds}"
        raise ValueError(msg)
