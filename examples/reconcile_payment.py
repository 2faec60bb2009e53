"""Reconcile: a process dies while it charges a card, and the next one asks the bank.

The program starts itself twice. The first life dies by SIGKILL when the bank has the money and
nobody here knows. To charge again would be wrong, and so would giving up: the second life finds
the call in doubt and asks the reconciler that the function declares. The bank keeps what it did
under the call's idempotency key, which is the same in every life.

Run it:

    python examples/reconcile_payment.py

What you will see:

    life 1: charging 420
    bank: took 420, receipt R-1
    life 1 was killed by signal 9
    life 2: asking the bank
    life 2: paid, receipt R-1
    life 2 ended with exit code 0
    bank: took money 1 time
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import (
    Agent,
    InputEvent,
    NotExecuted,
    RunnerContext,
    SqliteStore,
    Worker,
    current_call,
    durable,
)

agent = Agent("shop", input=int)


class Bank:
    """Keeps its books in a file of its own: it does not die with our process."""

    def __init__(self, folder: str) -> None:
        self.book = Path(folder, "bank.json")

    def entries(self) -> dict[str, str]:
        """Receipts by idempotency key."""
        return json.loads(self.book.read_text()) if self.book.exists() else {}

    def take(self, amount: int, key: str) -> str:
        """Take money; the same key again takes nothing."""
        entries = self.entries()
        receipt = entries.setdefault(key, f"R-{len(entries) + 1}")
        self.book.write_text(json.dumps(entries))
        print(f"bank: took {amount}, receipt {receipt}", flush=True)
        return receipt


def say(text: str) -> None:
    """Print at once: a buffer dies with the process."""
    print(f"life {os.environ['LIFE']}: {text}", flush=True)


async def ask_bank(amount: int) -> str:  # noqa: ARG001 - a reconciler is given the call's arguments
    """The reconciler: did the interrupted call take effect?"""
    say("asking the bank")
    entries = Bank(os.environ["FOLDER"]).entries()
    if current_call().idempotency_key not in entries:
        raise NotExecuted  # it never reached the bank: the call is made now
    return entries[current_call().idempotency_key]


@durable(name="charge-card", reconciler=ask_bank)
async def charge(amount: int) -> str:
    """Charge the card; the first life dies when the bank has taken the money."""
    say(f"charging {amount}")
    receipt = Bank(os.environ["FOLDER"]).take(amount, current_call().idempotency_key)
    if os.environ["LIFE"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return receipt


@agent.action(InputEvent)
async def pay(event: InputEvent[int], ctx: RunnerContext) -> None:
    """One call that must not happen twice."""
    ctx.output(await ctx.durable(charge, event.input))


async def live() -> None:
    """One life: the same code each time."""
    async with Worker(
        agent, store=SqliteStore(Path(os.environ["FOLDER"], "shop.db"))
    ) as worker:
        run = await worker.submit(420, id="order-7")
        say(f"paid, receipt {(await run.result())[0]}")


def main(folder: str) -> None:
    """Start this file twice over one folder."""
    command = [sys.executable, __file__]
    for life in ("1", "2"):
        environment = {**os.environ, "LIFE": life, "FOLDER": folder}
        code = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        print(f"life {life} {ended}", flush=True)
    print(f"bank: took money {len(Bank(folder).entries())} time")


if __name__ == "__main__":
    if "LIFE" in os.environ:
        asyncio.run(live())
    else:
        with TemporaryDirectory() as folder:
            main(folder)
