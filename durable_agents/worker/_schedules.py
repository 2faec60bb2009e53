"""Waits for the moments of an agent's schedules, and submits their inputs.

A moment is submitted under an id that is made of it, and kept as dealt with afterwards: a crash
in between, or another worker that shares the store, submits the same run.
"""

import logging
from collections.abc import Awaitable
from typing import Protocol

from durable_agents.agent import AgentPlan
from durable_agents.errors import RunError, StoreError
from durable_agents.schedule import LATE_SECONDS, Schedule
from durable_agents.worker._services import Services

__all__ = ["Schedules"]

logger = logging.getLogger("durable_agents")


class Submit(Protocol):
    """`Worker.submit`."""

    def __call__(
        self,
        value: object,
        *,
        key: str | None,
        id: str | None,  # noqa: A002
    ) -> Awaitable[object]:
        """Take an input in; raises RunError where the worker is stopping."""
        ...


class Schedules:
    """The schedules of one worker.

    Args:
        plan: The agent's plan.
        services: The worker's.
        submit: The worker's.
    """

    def __init__(self, plan: AgentPlan, services: Services, submit: Submit) -> None:
        self._plan = plan
        self._services = services
        self._submit = submit
        self._looks: dict[str, float] = dict.fromkeys(plan.schedules, 0.0)
        """When each schedule is looked at next."""

    async def run(self) -> None:
        """Submit what is due, and wait for what comes, until the worker stops.

        Returns early where no moment will come any more. Cancellation: an input may have been
        accepted all the same; the next worker submits it again, to no effect.
        """
        try:
            while self._looks:
                await self._look()
                await self._rest()
        except RunError:
            pass  # the worker is stopping; the next one goes on from here

    async def _look(self) -> None:
        for name, at in list(self._looks.items()):
            if at > self._services.clock.now():
                continue
            following = await self._catch_up(self._plan.schedules[name])
            if following is None:
                del self._looks[name]
            else:
                self._looks[name] = following

    async def _rest(self) -> None:
        clock = self._services.clock
        while self._looks and (left := min(self._looks.values()) - clock.now()) > 0:
            # A machine that was suspended wakes up late by this much at most: not so late that
            # a moment at which it was up counts as missed.
            await clock.sleep(min(left, LATE_SECONDS / 2))

    async def _catch_up(self, schedule: Schedule) -> float | None:
        """Submit what is due; returns when to look again, None for never."""
        now = self._services.clock.now()
        try:
            while await self._submit_due(schedule, now):
                now = self._services.clock.now()
        except RunError:
            raise
        except Exception as error:  # of the store, or of the author's function and its value
            if isinstance(error, StoreError) and error.retryable:
                logger.warning("schedule %r: %s; trying again", schedule.name, error)
                return now + self._services.settings.store_retry_seconds
            logger.exception(
                "schedule %r: the input of a moment cannot be submitted; the moment counts as "
                "missed when the next one comes, and when a worker starts",
                schedule.name,
            )
        # Behind the time of the last look, not behind the time by now: nothing in between
        # has been submitted.
        return schedule.next_after(now)

    async def _submit_due(self, schedule: Schedule, now: float) -> bool:
        """Submit some of what is due; returns whether there may be more."""
        store, agent, name = self._services.store, self._plan.name, schedule.name
        # Asked each time: another worker may have come further, and its runs may be pruned.
        last = await store.moment(agent, name, int(now))
        due = schedule.due(last, now)
        if due.up_to == last:
            return False
        for moment in due.moments:
            await self._submit_once(schedule, moment)
        if not due.moments:
            passed = schedule.at(due.up_to).isoformat()
            logger.warning("schedule %r: moments up to %s were missed", name, passed)
        await store.keep_moment(agent, name, due.up_to)
        return True

    async def _submit_once(self, schedule: Schedule, moment: int) -> None:
        store, agent = self._services.store, self._plan.name
        run_id = schedule.run_id(agent, moment)
        row = await store.find(run_id)
        if row is None:
            earlier = await store.find(schedule.earlier_run_id(moment))
            if earlier is None or earlier.agent != agent:
                await self._submit(schedule.value_at(moment), key=schedule.key, id=run_id)
        elif row.agent != agent:
            logger.error(
                "%s is a run of agent %r already, so that schedule %r of agent %r passes the "
                "moment over: do not submit inputs under ids that begin with 'schedule:'",
                run_id,
                row.agent,
                schedule.name,
                agent,
            )
