"""What a run puts on record, and what was put there for it by others.

The base of `ActiveRun`: everything about the run's journal that does not depend on where its
actions are.
"""

import asyncio
from functools import partial

from durable_agents.journal import Entry, SignalReceived, SignalState
from durable_agents.serialization import Blobs
from durable_agents.store import Write
from durable_agents.worker._agenda import StoredRun
from durable_agents.worker._mailbox import Mailbox
from durable_agents.worker._services import Services
from durable_agents.worker._versions import Versions

__all__ = ["RunRecord"]


class RunRecord:
    """The record of a run that is being worked on.

    Args:
        stored: The run as it was found.
        services: The worker's.
    """

    def __init__(self, stored: StoredRun, services: Services) -> None:
        self.number = stored.number
        self.run_id = stored.run_id
        self.key = stored.key
        self.is_ordered = stored.is_ordered
        """Whether others may be ordered with it."""
        self._signals_on_the_way = 0
        self._stored = stored
        self._services = services
        self._blobs = Blobs()
        self.codec = services.codec.for_run(self._blobs)
        """Bound to the run: what it encodes goes on record as `shared` makes of it."""
        self._progress: asyncio.Event | None = None
        self._mailbox: Mailbox | None = None
        self._versions: Versions | None = None

    @property
    def mailbox(self) -> Mailbox:
        """The signals of the run; made when it is first asked for."""
        if self._mailbox is None:
            state = self._stored.state
            self._mailbox = Mailbox([] if state is None else state.signals)
        return self._mailbox

    @property
    def versions(self) -> Versions:
        """Which versions of changes the run follows; made when it is first asked for."""
        if self._versions is None:
            self._versions = Versions(self._stored.state)
        return self._versions

    def write(self, entries: list[Entry]) -> asyncio.Future[int]:
        """Enqueue entries of the run."""
        return self._append(Write(number=self.number, entries=entries))

    def _append(self, write: Write) -> asyncio.Future[int]:
        if (tables := self._blobs.tables) is not None and tables.new:
            write.blobs = self._blobs.take_new()
        future = self._services.store.append(write)
        if self._progress is not None:
            future.add_done_callback(self._note_progress)
        return future

    def signal(self, received: SignalReceived) -> asyncio.Future[int] | None:
        """Enqueue a signal; it is handed to who waits for it as soon as it is durable.

        Returns:
            Done when it is durable; None where one of this id has been received.
        """
        mailbox = self.mailbox
        if not mailbox.admit(received.signal_id):
            return None
        future = self.write([received])
        self._signals_on_the_way += 1
        future.add_done_callback(partial(self._received, mailbox, received))
        return future

    def _received(
        self, mailbox: Mailbox, received: SignalReceived, future: asyncio.Future[int]
    ) -> None:
        self._signals_on_the_way -= 1
        if future.cancelled() or future.exception() is not None:
            mailbox.forget(received.signal_id)
        else:
            name, signal_id = received.name, received.signal_id
            mailbox.receive(SignalState(name, signal_id, received.value))

    async def wait_for_progress(self) -> None:
        """Wait until something new is on record, or until the run has ended here."""
        self._progress = asyncio.Event()
        await self._progress.wait()

    def _note_progress(self, future: asyncio.Future[int]) -> None:
        if self._progress is not None and not future.cancelled() and not future.exception():
            self._progress.set()

    async def _read_blobs(self) -> None:
        """Take in what the record of an action may refer to."""
        self._blobs = Blobs(await self._services.store.blobs(self.number))
        self.codec = self._services.codec.for_run(self._blobs)
