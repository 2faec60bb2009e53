"""Records the golden journals of today's version: `python -m tests.golden.record VERSION`.

What is there of a version is never recorded anew: it is the proof that later code reads it.
So a kind of store that was added since is all that is recorded of a version that is there.
"""

import asyncio
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from durable_agents import SqliteStore, Store, Worker, WorkerSettings
from durable_agents.errors import RunError
from durable_agents.journal import promise_id
from durable_agents.testing import CrashingStore
from tests.golden import agents
from tests.golden.agents import AGENTS, CODECS, MADE, VERSION, RefusedError

FOLDER = Path(__file__).parent
SETTINGS = WorkerSettings(
    on_divergence="clear", replay_order_wait=0.01, shutdown_grace_seconds=0
)
PRAGMAS = ("application_id", "user_version")


class Stage:
    """One store, and the lives of workers over it.

    Args:
        path: Where the store is made.
        codec: Name of the codec.
    """

    def __init__(self, path: Path, codec: str = "plain") -> None:
        self.path = path
        self.codec = CODECS[codec]

    def worker(self, agent: str, store: Store | None = None) -> Worker:
        """A worker of an agent, over the store as it is or over one that crashes."""
        store = SqliteStore(self.path) if store is None else store
        return Worker(AGENTS[agent], store=store, settings=SETTINGS, codec=self.codec)

    async def finish(self, agent: str, run_id: str) -> None:
        """Run an input to its end, whatever that is."""
        async with self.worker(agent) as worker:
            with suppress(RunError):
                await (await worker.submit(1, id=run_id)).wait()

    async def crash(self, agent: str, run_id: str, after: int) -> None:
        """End a worker when so many writes of its life are durable."""
        crash = asyncio.Event()
        store = CrashingStore(
            SqliteStore(self.path), after=after, crash=crash.set, one_by_one=True
        )
        async with self.worker(agent, store) as worker:
            submitting = asyncio.ensure_future(worker.submit(1, id=run_id))
            await asyncio.wait_for(crash.wait(), 10)
            worker.request_stop()
            await asyncio.sleep(0.02)
            store.fail_waiters()
            submitting.cancel()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            # A pretended crash lets the file go in good order; a real one does not.
            connection.execute("UPDATE meta SET value = '0' WHERE name = 'was_closed'")


async def finished(stage: Stage) -> None:
    """Runs that have ended, each in its own way."""
    await stage.finish("forms", "forms")
    await stage.finish("branches", "branches")
    await stage.finish("fails", "fails")
    async with stage.worker("fails") as worker:
        await worker.retry("fails")
        await worker.drain()
    VERSION[0] = 1
    await stage.crash("clears", "clears", 2)
    await stage.crash("overtakes", "overtakes", 3)
    VERSION[0] = 2
    await stage.finish("clears", "clears")
    await stage.finish("overtakes", "overtakes")
    async with stage.worker("cancelled") as worker:
        run = await worker.submit(1, id="cancelled")
        while "never" not in MADE[-1:]:  # noqa: ASYNC110 - the agents know no event of ours
            await asyncio.sleep(0.001)
        await worker.cancel("cancelled", "for the record")
        with suppress(RunError):
            await run.wait()
    await stage.crash("asks", "asks", 3)
    await stage.finish("asks", "asks")
    async with stage.worker("asks") as worker:
        await worker.resolve("asks", rerun=True)
        await worker.drain()


async def unfinished(stage: Stage) -> None:
    """Runs that were interrupted, some of them twice, and one that is parked."""
    await stage.crash("forms", "forms", 15)
    await stage.crash("forms", "forms", 5)
    await stage.crash("branches", "branches", 7)
    await stage.crash("asks", "asks", 3)
    await stage.finish("asks", "asks")


async def signed(stage: Stage) -> None:
    """Payloads that carry an HMAC."""
    await stage.finish("branches", "branches")
    await stage.crash("forms", "forms", 27)


async def waiting(stage: Stage) -> None:
    """Runs that slept and were signalled: one that has ended, its fork, and one that waits."""
    for run_id in ("waits", "still waits"):
        async with stage.worker("waits") as worker:
            await worker.submit(1, id=run_id)
            if run_id == "waits":
                await worker.signal(run_id, "go", {"sent": 1})
                await worker.drain()
                await worker.fork(run_id, at="0:act:root:5", id="forked")
                await worker.drain()
            else:
                while not worker.statistics().resting:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.001)


async def lacking(stage: Stage) -> None:
    """A run that is parked, since the code cannot read an event of it."""
    await stage.crash("lacks", "lacks", 4)
    leaving = vars(agents).pop("Leaving")
    await stage.finish("lacks", "lacks")
    agents.Leaving = leaving


async def promised(stage: Stage) -> None:
    """Runs with promises: one that has ended, its fork, and one that waits for the second."""
    for run_id in ("paid", "unpaid"):
        async with stage.worker("promises") as worker:
            await worker.submit(1, id=run_id)
            kept, failed = (promise_id(run_id, f"0:act:root:{place}") for place in (0, 1))
            await worker.complete(kept, {"sum": 7})
            if run_id == "paid":
                await worker.complete(failed, error=RefusedError("declined"))
                await worker.drain()
                await worker.fork(
                    run_id, at="0:act:root:5", value="paid after all", id="forked"
                )
                await worker.drain()
            else:
                while not worker.statistics().resting:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.001)


STORES = {
    "finished": finished,
    "unfinished": unfinished,
    "signed": signed,
    "waiting": waiting,
    "lacking": lacking,
    "promised": promised,
}


def dump(path: Path) -> str:
    """A store as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        pragmas = [
            f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};"
            for name in PRAGMAS
        ]
        return "\n".join([*pragmas, *connection.iterdump(), ""])


def restore(dumped: Path, path: Path) -> None:
    """A store out of what `dump` made."""
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dumped.read_text(encoding="utf-8"))


def main(version: str) -> None:
    """Record every store of a version."""
    folder = FOLDER / version
    folder.mkdir(exist_ok=True)
    for name, play in STORES.items():
        if (folder / f"{name}.sql").exists():
            continue
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, f"{name}.db")
            codec = "signed" if name == "signed" else "plain"
            asyncio.run(play(Stage(path, codec)))
            (folder / f"{name}.sql").write_text(dump(path), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
