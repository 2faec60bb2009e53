"""Hands outcomes to the tasks that wait for them, in the order that `journal` decides.

An action rests when none of its tasks has made a step for `QUIET_PASSES` passes of the loop. A
pass is counted by a callback that schedules itself again: no private part of the loop is
touched, so any loop will do. One ticker serves all actions of a worker, and stands still while
none of them has a batch that is ready.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial

from durable_agents.journal import CANCELLATION, CallKey, DeliveryOrder, batch_of
from durable_agents.worker._lineage import ActionTasks

__all__ = ["Delivery", "Ticker"]

QUIET_PASSES = 16
"""A wake-up travels one future per pass: `gather` inside `gather` takes two a level."""
RESTLESS_PASSES = 1000
"""A task that never rests (one that polls) delays the others' outcomes by so many passes."""
REPLAYS_PER_PASS = 256
"""Recorded outcomes handed over in a row before other tasks get the loop."""


class Ticker:
    """Counts passes of the loop for the actions that need it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[Delivery, None] = {}
        self._context = Context()
        self._is_ticking = False

    def watch(self, delivery: "Delivery") -> None:
        """Call `delivery.tick` once per pass until it has nothing to wait for."""
        self._watched[delivery] = None
        if not self._is_ticking:
            self._is_ticking = True
            self._loop.call_soon(self._tick, context=self._context)

    def _tick(self) -> None:
        for delivery in list(self._watched):
            if not delivery.tick():
                del self._watched[delivery]
        if self._watched:
            self._loop.call_soon(self._tick, context=self._context)
        else:
            self._is_ticking = False


class Delivery:
    """The outcomes of one start of one action.

    Args:
        order: Decides what comes next.
        tasks: The tasks of the action.
        ticker: The worker's.
        order_wait: Seconds without a step before the order is given up.
        on_overtaking: Told which outcome is handed over before which.
    """

    def __init__(
        self,
        order: DeliveryOrder,
        tasks: ActionTasks,
        ticker: Ticker,
        order_wait: float,
        on_overtaking: Callable[[CallKey, CallKey], None],
    ) -> None:
        self._order = order
        self._tasks = tasks
        self._ticker = ticker
        self._order_wait = order_wait
        self._on_overtaking = on_overtaking
        self._waiting: dict[CallKey, asyncio.Future[None]] = {}
        self._cancel: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._steps_seen = -1
        self._quiet_passes = 0
        self._ready_passes = 0
        self._replays = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be handed over."""
        return self._order.is_empty and self._cancel is None

    async def hand_over(self, key: CallKey) -> None:
        """Wait until a recorded outcome is due.

        Cancellation: the outcome is never handed over.
        """
        self._order.ask_recorded(key)
        if (
            self._tasks.live == 1
            and self._order.hands_over_next(key)
            and not self._order.cancels_next
        ):
            # Nobody can race with the only task: no pass of the loop is spent on it.
            self._resolve(self._order.take(), besides=key)
            if self._cancel is not None:
                self._look_again()
            self._replays += 1
            if self._replays % REPLAYS_PER_PASS == 0:
                await asyncio.sleep(0)
            return
        await self._wait(key)

    async def commit(self, key: CallKey, future: asyncio.Future[int]) -> None:
        """Wait until an outcome is durable and due.

        Cancellation: the outcome is never handed over; its record stays.

        Raises:
            StoreError: It could not be made durable.
        """
        self._order.ask(key)
        future.add_done_callback(partial(self._committed, key))
        await self._wait(key)

    def expect(
        self,
        key: CallKey,
        callback: Callable[[], object],
        future: "asyncio.Future[int] | None" = None,
    ) -> None:
        """Call back when an outcome is due that no task waits for.

        Args:
            key: Its place.
            callback: Called once, unless `forget` comes first.
            future: When it is durable; None where an earlier start recorded it.
        """
        waiter = self._waiting[key] = self._loop.create_future()
        waiter.add_done_callback(partial(_called, callback))
        if future is None:
            self._order.ask_recorded(key)
            self._look_again()
        else:
            self._order.ask(key)
            future.add_done_callback(partial(self._committed, key))

    def forget(self, key: CallKey) -> None:
        """Nobody is called back for this outcome any more; it is never handed over."""
        waiter = self._waiting.pop(key, None)
        if waiter is not None:
            waiter.cancel()
            self._order.withdraw(key)
            self._look_again()

    def cancel_when_due(
        self, cancel: Callable[[], None], future: "asyncio.Future[int] | None" = None
    ) -> None:
        """Tell the action to stop when that is due among its outcomes.

        Args:
            cancel: Called once.
            future: When the cancellation is durable; None where an earlier start recorded it.
        """
        self._cancel = cancel
        self._order.ask(CANCELLATION)
        if future is None:
            self._look_again()
        else:
            future.add_done_callback(self._cancellation_committed)

    def release(self) -> None:
        """End ordered delivery: the code no longer repeats what is recorded."""
        self._order.release()
        self._look_again()

    def close(self) -> None:
        """The action has ended; nothing is handed over any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        self._cancel = None
        self._on_overtaking = _tell_nobody  # else a circle with the action run

    def tick(self) -> bool:
        """One pass of the loop has gone by; returns whether to be told of the next one."""
        steps = self._tasks.steps
        if steps != self._steps_seen:
            self._steps_seen = steps
            self._quiet_passes = 0
        else:
            self._quiet_passes += 1
        if not self._order.is_ready or not (self._waiting or self._cancel):
            return False
        self._ready_passes += 1
        if (
            self._quiet_passes >= QUIET_PASSES
            or (self._tasks.live == 1 and not self._order.cancels_next)
            or self._ready_passes >= RESTLESS_PASSES
        ):
            self._resolve(self._order.take())
            self._look_again()
            return self._order.is_ready
        return True

    async def _wait(self, key: CallKey) -> None:
        waiter = self._waiting[key] = self._loop.create_future()
        self._look_again()
        try:
            await waiter
        except asyncio.CancelledError:
            self._waiting.pop(key, None)
            self._order.withdraw(key)
            self._look_again()
            raise

    def _committed(self, key: CallKey, future: asyncio.Future[int]) -> None:
        waiter = self._waiting.get(key)
        if waiter is None or waiter.done() or future.cancelled():
            return  # given up in the meantime
        error = future.exception()
        if error is not None:
            del self._waiting[key]
            waiter.set_exception(error)
            return
        self._order.commit(key, batch_of(future.result()))
        self._look_again()

    def _cancellation_committed(self, future: asyncio.Future[int]) -> None:
        if self._cancel is None or future.cancelled():
            return  # the action has ended
        if future.exception() is not None:
            self._cancel = None  # whoever asked for it learns why
            return
        self._order.commit(CANCELLATION, batch_of(future.result()))
        self._look_again()

    def _resolve(self, batch: list[CallKey], besides: CallKey | None = None) -> None:
        for key in batch:
            if key == CANCELLATION:
                cancel, self._cancel = self._cancel, None
                if cancel is not None:
                    cancel()
            elif key != besides:
                waiter = self._waiting.pop(key)
                if not waiter.done():
                    waiter.set_result(None)
        # The next batch waits until all that follows from this one has been done.
        self._quiet_passes = self._ready_passes = 0

    def _look_again(self) -> None:
        if self._order.is_ready:
            self._ticker.watch(self)
        elif self._waiting and not self._order.is_empty and self._timer is None:
            self._arm_timer()

    def _arm_timer(self) -> None:
        steps = self._tasks.steps
        self._timer = self._loop.call_later(
            self._order_wait, self._give_up_order, steps, context=Context()
        )

    def _give_up_order(self, steps: int) -> None:
        self._timer = None
        if self._order.is_ready or self._order.is_empty or not self._waiting:
            return
        if steps != self._tasks.steps:
            self._arm_timer()
            return
        overtaking = self._order.overtake()
        if overtaking is not None:
            batch, overtaken = overtaking
            for key in batch:
                self._on_overtaking(key, overtaken)
            self._resolve(batch)
            self._look_again()


def _tell_nobody(_key: CallKey, _overtaken: CallKey) -> None:
    """Nothing is handed over any more."""


def _called(callback: Callable[[], object], waiter: asyncio.Future[None]) -> None:
    if not waiter.cancelled() and waiter.exception() is None:
        callback()
