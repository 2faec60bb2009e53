"""What a conversation costs on disk whose whole history goes through each call.

    python -m benchmarks.conversation [TURNS]

Each turn hands the history to a durable call, which returns it with a question and an answer
more; 200 to 2,000 characters each, words drawn by a seeded generator. Printed is what the store
takes, next to the conversation itself and to full copies of it, one for each call.

One process, `synchronous="full"`, measured when the worker has closed the store. Bodies are
what journal rows and blobs hold; the file has indexes and free space besides.
"""

import asyncio
import random
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from durable_agents import Agent, Codec, InputEvent, RunnerContext, SqliteStore, Worker

TURNS = 50
SHORTEST, LONGEST = 200, 2_000
Message = dict[str, str]


def text_of(number: int) -> str:
    """A message: words of 2 to 9 letters."""
    chance = random.Random(number)  # noqa: S311 - the same each time
    size = chance.randint(SHORTEST, LONGEST)
    words: list[str] = []
    while sum(map(len, words)) + len(words) < size:
        letters = chance.choices("etaoinshrdlucmfwygpb", k=chance.randint(2, 9))
        words.append("".join(letters))
    return " ".join(words)[:size]


async def chat(history: list[Message]) -> list[Message]:
    """The history with one turn more."""
    number = len(history)
    question = {"role": "user", "content": text_of(number)}
    return [*history, question, {"role": "assistant", "content": text_of(number + 1)}]


def make_agent(turns: int) -> Agent:
    """An agent of one action."""
    agent = Agent("conversation")

    @agent.action(InputEvent)
    async def talk(_event: InputEvent[object], ctx: RunnerContext) -> None:
        history: list[Message] = []
        for _ in range(turns):
            history = await ctx.durable(chat, history)

    return agent


async def run(turns: int, store: SqliteStore, codec: Codec) -> None:
    """One run to its end."""
    async with Worker(make_agent(turns), store=store, codec=codec) as worker:
        await (await worker.submit(None)).result()


def bytes_in(path: Path) -> tuple[int, int]:
    """Bytes in the bodies of journal and blobs, and in the file after a checkpoint."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        total = "SELECT coalesce(sum(length(body)), 0) FROM"
        tables = ("journal", "blobs")
        bodies = sum(connection.execute(f"{total} {t}").fetchone()[0] for t in tables)
    return bodies, path.stat().st_size


def measure(turns: int, codec: Codec) -> tuple[int, int]:
    """`bytes_in` of a store of its own."""
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        path = Path(scratch) / "conversation.db"
        asyncio.run(run(turns, SqliteStore(path), codec))
        return bytes_in(path)


def main(turns: int) -> None:
    """Print a table."""
    own = sum(len(text_of(number)) for number in range(2 * turns))
    copies = Codec(share_above=None, compress_above=None)
    rows = {
        "by content (default)": measure(turns, Codec()),
        "a full copy for each call, compressed": measure(turns, Codec(share_above=None)),
        "a full copy for each call": measure(turns, copies),
    }
    print(f"{turns} turns, {own:,} characters")
    print("| how | bodies | times the conversation | file |")
    print("|---|---:|---:|---:|")
    for how, (bodies, file) in rows.items():
        print(f"| {how} | {bodies:,} | {bodies / own:.2f} | {file:,} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TURNS)
