"""In which order outcomes reach the tasks of an action, live and on replay alike.

Races (`as_completed`, `wait(FIRST_COMPLETED)`, queues between branches) are decided by the
order in which outcomes arrive. So that a replay decides them the same way:

1. Outcomes that one transaction committed are one batch. A batch is handed over in one pass of
   the loop, in the order in which its calls settled.
2. Batches are handed over in the order of their transactions, the next one only when the
   action's tasks have come to rest: they have done all that follows from the one before.
3. On replay a batch waits until all of its calls have been asked for, as they had been live.
4. An action with a single live task has no races: its outcomes are handed over at once.
5. A cancellation has its place among the outcomes. Nobody asks for it, and it always waits for
   the action to rest, so that it meets the tasks where it met them live.
6. Order is a preference; identity and digest are the safety. When the action rests and the next
   outcome in order is not asked for, `overtake` gives up waiting for it.

This file decides; it knows no futures and no loop. `tests/rules/test_delivery.py` walks it.
"""

from collections import deque
from collections.abc import Iterable

from durable_agents.journal._call_log import CANCELLATION, CallKey

__all__ = ["DeliveryOrder"]


class DeliveryOrder:
    """The outcomes of one action run that wait to be handed over.

    Args:
        recorded: Batches that earlier starts of the action left, in order.
    """

    __slots__ = ("_asked", "_batches", "_is_released", "_last_batch", "_late")

    def __init__(self, recorded: Iterable[Iterable[CallKey]] = ()) -> None:
        self._batches: deque[list[CallKey]] = deque(list(b) for b in recorded)
        self._asked: set[CallKey] = set()
        self._last_batch = -1
        self._is_released = False
        self._late: set[CallKey] = set()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be handed over."""
        return not self._batches

    @property
    def is_ready(self) -> bool:
        """Whether the next batch can be handed over as soon as the action rests."""
        return bool(self._batches) and self._asked.issuperset(self._batches[0])

    @property
    def cancels_next(self) -> bool:
        """Whether the next batch holds the cancellation."""
        return bool(self._batches) and CANCELLATION in self._batches[0]

    def hands_over_next(self, key: CallKey) -> bool:
        """Whether the next batch is ready, and holds this outcome."""
        return self.is_ready and key in self._batches[0]

    def ask(self, key: CallKey) -> None:
        """A task of the action waits for this outcome, which is not durable yet."""
        self._asked.add(key)

    def ask_recorded(self, key: CallKey) -> None:
        """A task of the action waits for this outcome, which an earlier start left."""
        self._asked.add(key)
        if self._is_released or key in self._late:
            self._batches.append([key])
            self._last_batch = -1  # what is committed next is no part of this one

    def commit(self, key: CallKey, batch: int) -> None:
        """An outcome that a task waits for has become durable, in this transaction."""
        if batch == self._last_batch and self._batches:
            self._batches[-1].append(key)
        else:
            self._batches.append([key])
        self._last_batch = batch

    def withdraw(self, key: CallKey) -> None:
        """The task that waited for this outcome gave up; it is never handed over."""
        self._asked.discard(key)
        for batch in self._batches:
            if key in batch:
                batch.remove(key)
                break
        self._drop_empty()

    def take(self) -> list[CallKey]:
        """The next batch, to be handed over now; empty where it is not ready."""
        if not self.is_ready:
            return []
        batch = self._batches.popleft()
        self._asked.difference_update(batch)
        self._drop_empty()
        return batch

    def overtake(self) -> tuple[list[CallKey], CallKey] | None:
        """Give up waiting for outcomes that are due and are not asked for.

        They are handed over when they are asked for, and nothing waits for them again.

        Returns:
            The rest of the first batch of which something has been asked for, to be handed over
            now, and the outcome that it overtakes; None where nothing is overtaken.
        """
        late: list[CallKey] = []
        for batch in self._batches:
            late += [key for key in batch if key not in self._asked]
            if not self._asked.isdisjoint(batch):
                break
        else:
            return None
        if not late:
            return None
        self._late.update(late)
        for key in late:
            self.withdraw(key)
        return self.take(), late[0]

    def release(self) -> None:
        """End ordered delivery: what waits is handed over as soon as it is asked for."""
        self._is_released = True
        asked = [key for batch in self._batches for key in batch if key in self._asked]
        self._batches = deque([key] for key in asked)

    def _drop_empty(self) -> None:
        while self._batches and not self._batches[0]:
            self._batches.popleft()
