"""Crash and resume: a process kills itself in the middle of a trip's booking, the next goes on.

The program starts itself twice. The first life dies by SIGKILL while it charges the card: no
`finally` block runs, nothing is cleaned up. The second life opens the same store. The flight
and the hotel had settled, so they are not booked again, and their numbers are the same ones.
The charge was in flight when the process died: nobody can know whether it took effect. So it is
made again, under the same idempotency key, by which a payment service tells a repetition from
a second charge.

Run it:

    python examples/crash_and_resume.py

What you will see:

    life 1: booking a flight
    life 1: booking a hotel
    life 1: charging 420 under the first key
    life 1 was killed by signal 9
    life 2: charging 420 under the same key
    life 2: Lisbon is booked and paid: flight F-1, hotel H-1
    life 2 ended with exit code 0
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker, current_call

agent = Agent("trips", input=str)


def say(text: str) -> None:
    """Print at once: what is still in a buffer dies with the process."""
    print(f"life {os.environ['LIFE']}: {text}", flush=True)


async def book(what: str) -> str:
    """Imagine a request that costs money each time it is made; nothing else counts them."""
    say(f"booking a {what}")
    return f"{what[0].upper()}-{os.environ['LIFE']}"


def charge(amount: int) -> None:
    """Charge the card; the first life dies while it is at it."""
    keys = Path(os.environ["FOLDER"], "keys-seen-by-the-payment-service")
    key = current_call().idempotency_key
    is_known = keys.exists() and keys.read_text() == key
    keys.write_text(key)
    say(f"charging {amount} under the {'same' if is_known else 'first'} key")
    if os.environ["LIFE"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)


@agent.action(InputEvent)
async def book_trip(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Book a flight, then a hotel, then pay."""
    flight = await ctx.durable(book, "flight")
    hotel = await ctx.durable(book, "hotel")
    await ctx.durable(charge, 420)
    ctx.output(f"{event.input} is booked and paid: flight {flight}, hotel {hotel}")


async def live() -> None:
    """One life: the same code each time, which need not know that there was a crash."""
    store = SqliteStore(Path(os.environ["FOLDER"], "trips.db"))
    async with Worker(agent, store=store) as worker:
        run = await worker.submit("Lisbon", id="trip-1")
        (outcome,) = await run.result()
        say(outcome)


def main(folder: str) -> None:
    """Start this file twice over one folder."""
    for life in ("1", "2"):
        environment = {**os.environ, "LIFE": life, "FOLDER": folder}
        done = subprocess.run(  # noqa: S603
            [sys.executable, __file__], env=environment, check=False
        )
        code = done.returncode
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        print(f"life {life} {ended}", flush=True)


if __name__ == "__main__":
    if "LIFE" in os.environ:
        asyncio.run(live())
    else:
        with TemporaryDirectory() as folder:
            main(folder)
