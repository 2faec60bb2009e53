"""Parallel calls: branches that overlap, crash, and get their own results back.

Two branches run side by side in a `TaskGroup`; each searches one source, then summarizes what
it found. The web is quick, so its summary is asked for first, as the third call of the action.
The process dies while the archive's summary is made. On the replay nothing has to be searched:
an engine that numbers the calls of an action as they come may then meet the archive's summary
as the third call, and hand it the web's. This one counts the calls of each task by itself.

Run it:

    python examples/parallel_calls.py

What you will see:

    life 1: searched web
    life 1: summarized web
    life 1: searched archive
    life 1: killed while summarizing archive
    life 2: summarized archive
    archive: summary of 3 hits for tides in archive
    web: summary of 9 hits for tides in web
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker

LATENCY = {"archive": 0.5, "web": 0.1}
"""Seconds that a call to each source takes."""
HITS = {"archive": 3, "web": 9}

agent = Agent("research", input=str)


def say(text: str) -> None:
    """Print at once: what is still in a buffer dies with the process."""
    print(f"life {os.environ['LIFE']}: {text}", flush=True)


async def search(source: str, topic: str) -> str:
    """Imagine a request over the network."""
    await asyncio.sleep(LATENCY[source])
    say(f"searched {source}")
    return f"{HITS[source]} hits for {topic} in {source}"


async def summarize(source: str, found: str) -> str:
    """Imagine a model call; the first life dies in the archive's."""
    if source == "archive" and os.environ["LIFE"] == "1":
        say("killed while summarizing archive")
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(LATENCY[source])
    say(f"summarized {source}")
    return f"summary of {found}"


@agent.action(InputEvent)
async def research(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Ask both sources at once."""

    async def ask(source: str) -> str:
        found = await ctx.durable(search, source, event.input)
        return await ctx.durable(summarize, source, found)

    async with asyncio.TaskGroup() as tasks:
        answers = {source: tasks.create_task(ask(source)) for source in LATENCY}
    ctx.output({source: answer.result() for source, answer in answers.items()})


async def live(folder: str) -> None:
    """One life; the second goes on where the first one died."""
    async with Worker(agent, store=SqliteStore(Path(folder, "research.db"))) as worker:
        run = await worker.submit("tides", id="question-1")
        (answers,) = await run.result()
        for source, answer in answers.items():
            print(f"{source}: {answer}")


if __name__ == "__main__":
    if "LIFE" in os.environ:
        asyncio.run(live(sys.argv[1]))
    else:
        with TemporaryDirectory() as shared:
            for life in ("1", "2"):
                environment = {**os.environ, "LIFE": life}
                command = [sys.executable, __file__, shared]
                subprocess.run(command, env=environment, check=False)  # noqa: S603
