"""Ask before repeating: a call that nobody can look up waits for a person after a crash.

The program starts itself twice. The first life dies by SIGKILL while it posts a letter. There
is no service to ask whether the letter left the house, and a second one would be embarrassing.
So the function declares `on_interrupt="ask"`: the second life parks the run rather than guess,
and says which call is in doubt. A person has a look and resolves it, here from within the
program, elsewhere with `durable-agents resolve`. The run goes on as if the call had returned.
What waits behind it for the same customer waits until then; other customers do not notice.

Run it:

    python examples/ask_before_repeating.py

What you will see:

    life 1: posting a letter to Ann
    life 1 was killed by signal 9
    life 2: Bob: nothing was in doubt, letter L-2 was posted
    life 2: run letter-1 is parked: post-letter('Ann') at root:0 is in doubt; resolve it
    person: the letter lies at the post office, its number is L-1
    life 2: Ann: letter L-1 was posted
    life 2 ended with exit code 0
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import (
    Agent,
    InputEvent,
    RunnerContext,
    RunParkedError,
    SqliteStore,
    Worker,
    durable,
)

agent = Agent("letters", input=str)


def say(text: str) -> None:
    """Print at once: what is still in a buffer dies with the process."""
    print(f"life {os.environ['LIFE']}: {text}", flush=True)


@durable(name="post-letter", on_interrupt="ask")
async def post(name: str) -> str:
    """Post a letter; the first life dies while it is at it."""
    if os.environ["LIFE"] == "1":
        say(f"posting a letter to {name}")
        os.kill(os.getpid(), signal.SIGKILL)
    return "L-2"


@agent.action(InputEvent)
async def write(event: InputEvent[str], ctx: RunnerContext) -> None:
    """One letter for each customer."""
    ctx.output(await ctx.durable(post, event.input))


async def live() -> None:
    """One life; from the second one on, there may be something to decide."""
    logging.getLogger("durable_agents").setLevel(logging.ERROR)  # what is parked is told below
    store = SqliteStore(Path(os.environ["FOLDER"], "letters.db"))
    async with Worker(agent, store=store) as worker:
        run = await worker.submit("Ann", key="Ann", id="letter-1")
        if os.environ["LIFE"] == "2":
            other = await worker.submit("Bob", key="Bob", id="letter-2")
            say(f"Bob: nothing was in doubt, letter {(await other.result())[0]} was posted")
        try:
            await run.result()
        except RunParkedError as parked:
            say(str(parked))
            print("person: the letter lies at the post office, its number is L-1", flush=True)
            await worker.resolve(run.id, value="L-1")
        (number,) = await run.result()
        say(f"Ann: letter {number} was posted")


def main(folder: str) -> None:
    """Start this file twice over one folder."""
    for life in ("1", "2"):
        environment = {**os.environ, "LIFE": life, "FOLDER": folder}
        command = [sys.executable, __file__]
        code = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        print(f"life {life} {ended}", flush=True)


if __name__ == "__main__":
    if "LIFE" in os.environ:
        asyncio.run(live())
    else:
        with TemporaryDirectory() as folder:
            main(folder)
