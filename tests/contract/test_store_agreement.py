"""Whatever is asked of two stores, they give the same answer.

The contract suite says what each verb does; here long histories of them are tried, restarts and
bad writes among them, on a database and on the fake that stands in for it.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from durable_agents import InMemoryStore, SqliteStore, Store
from durable_agents.journal import MemoryUpdate, RunParked, RunStatus, SentEvent
from durable_agents.serialization import Payload
from durable_agents.store import NewRun, Write

pytestmark = pytest.mark.slow

texts = st.text(max_size=2)
agents = st.sampled_from(["shop", "mail"])
keys = st.sampled_from(["k", "", "nul\0"])
ids = st.none() | st.sampled_from(["order-1", "order-2", ""])
runs = st.integers(1, 6)
payloads = st.builds(Payload, st.just("plain"), st.binary(max_size=4))
outputs = st.lists(st.builds(SentEvent, texts, payloads), max_size=3)
paths = st.sampled_from(["a", "a.b", "ü"])
updates = st.dictionaries(
    paths, st.none() | st.builds(MemoryUpdate, paths, st.just("value"), payloads), max_size=3
)
memories = st.none() | st.tuples(agents, keys, updates)
blobs = st.none() | st.dictionaries(st.binary(max_size=1), payloads, max_size=3)
writes = st.builds(
    Write,
    number=runs,
    entries=st.lists(st.builds(RunParked, texts, st.just(1.0)), min_size=1, max_size=2),
    status=st.none() | st.sampled_from(RunStatus),
    wake=st.none() | st.floats(0, 9),
    outputs=outputs,
    memory=memories,
    blobs=blobs,
)
bad_writes = st.builds(
    Write,
    number=runs,
    entries=st.just([RunParked("bad", 1.0)]),
    status=st.just(RunStatus.FAILED),
    memory=st.tuples(agents, st.just("\ud800"), st.just({"a": None})),
    blobs=blobs,
)


class TwoStores(RuleBasedStateMachine):
    """A database and the fake, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.accepted = 0

    @initialize()
    def open(self) -> None:
        database = SqliteStore(self.folder / "agents.db", synchronous="normal")
        facts = self.runner.run(database.open("worker"))
        fake = InMemoryStore(facts.token)
        assert facts == self.runner.run(fake.open("worker"))
        self.stores: list[Store] = [database, fake]

    def ask(self, question: Callable[[Store], Awaitable[Any]]) -> Any:  # noqa: ANN401 - any answer
        """What both stores say."""

        async def answers() -> list[Any]:
            return [await question(store) for store in self.stores]

        first, second = self.runner.run(answers())
        assert first == second
        return first

    @rule(agent=agents, key=st.none() | keys, run_id=ids)
    def accept(self, agent: str, key: str | None, run_id: str | None) -> None:
        new = NewRun(agent, key, run_id, Payload("plain", b""), 1.0)

        async def accept(store: Store) -> object:
            return await store.accept(new)

        self.accepted = max(self.accepted, self.ask(accept).number)

    @rule(batch=st.lists(writes | bad_writes, min_size=1, max_size=5))
    def append(self, batch: list[Write]) -> None:
        """Together, so that one of them may be refused among others."""
        batch = [write for write in batch if write.number in self.known()]

        async def append(store: Store) -> list[str]:
            futures = [store.append(write) for write in batch]
            results = await asyncio.gather(*futures, return_exceptions=True)
            return [type(result).__name__ for result in results]

        self.ask(append)

    @rule(number=runs)
    def readmit(self, number: int) -> None:
        for store in self.stores:
            store.readmit(number)

    @rule()
    def restart(self) -> None:
        async def reopen(store: Store) -> object:
            await store.close()
            return await store.open("worker")

        self.ask(reopen)

    @rule(agent=agents, name=keys, first=st.integers(0, 9), later=st.integers(0, 9))
    def schedule(self, agent: str, name: str, first: int, later: int) -> None:
        self.ask(lambda s: s.moment(agent, name, first))
        self.ask(lambda s: s.keep_moment(agent, name, later))

    def known(self) -> set[int]:
        return {row.number for row in self.ask(lambda s: s.runs(after=0, limit=1000))}

    @rule(agent=agents, key=keys, after=st.integers(0, 6), limit=st.integers(1, 4))
    def page(self, agent: str, key: str, after: int, limit: int) -> None:
        self.ask(lambda s: s.runs(after=after, limit=limit))
        self.ask(lambda s: s.open_runs(agent, after=after, limit=limit))
        self.ask(lambda s: s.open_runs_of_key(agent, key, after=after, limit=limit))

    @rule(agent=agents, now=st.floats(0, 9), limit=st.integers(1, 4))
    def wake(self, agent: str, now: float, limit: int) -> None:
        self.ask(lambda s: s.waiting_runs(agent))
        self.ask(lambda s: s.due_runs(agent, now=now, limit=limit))

    @rule(run_id=st.sampled_from(["order-1", "order-2", "", "nobody"]))
    def find(self, run_id: str) -> None:
        self.ask(lambda s: s.find(run_id))

    @invariant()
    def they_hold_the_same(self) -> None:
        if not hasattr(self, "stores"):
            return
        for row in self.ask(lambda s: s.runs(after=0, limit=1000)):
            assert row == self.ask(methodcaller("find", row.run_id))
        for agent in ("shop", "mail"):
            for key in ("k", "", "nul\0"):
                self.ask(methodcaller("memory", agent, key))

        async def outputs(store: Store) -> list[Any]:
            """A position may be missing: that of an output that was refused."""
            rows = await store.outputs(after=0, limit=1000)
            positions = [row.position for row in rows]
            assert sorted(set(positions)) == positions
            return [(row.number, row.event) for row in rows]

        self.ask(outputs)

    @invariant()
    def they_have_written_the_same(self) -> None:
        """Rows are numbered in a store's own way; entries and their order are the same."""
        if not hasattr(self, "stores"):
            return
        for number in self.known():

            async def entries(store: Store, number: int = number) -> list[Any]:
                rows = await store.journal(number)
                seqs = [seq for seq, _ in rows]
                assert sorted(set(seqs)) == seqs
                return [entries for _, entries in rows]

            self.ask(entries)
            self.ask(methodcaller("blobs", number))

    def teardown(self) -> None:
        async def close(store: Store) -> None:
            await store.close()

        if hasattr(self, "stores"):
            self.ask(close)
        self.runner.close()
        shutil.rmtree(self.folder)


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
