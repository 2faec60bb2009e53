"""Begin now, finish from outside: a payment that its provider reports on when it pleases.

The program starts itself as three processes. The first life of the worker begins a payment,
hands the provider the id of a promise along with it, and dies by SIGKILL while it waits. Then
the provider, which knows nothing but that id, reports; as providers do, it reports twice. Here
it does so by the command line, while no worker runs; a web hook would call

    await worker.complete(promise_id, report)

The second life does not begin the payment again: that call has settled. Its promise has the
same id as in the first one, and is completed by now.

Run it:

    python examples/finish_from_outside.py

What you will see:

    life 1: asked the provider for 100 from Ann
    life 1 was killed by signal 9
    provider: promise 0:pay:root:0 of run order-7: the next worker takes it up
    provider: promise 0:pay:root:0 of run order-7: it was completed so before
    provider ended with exit code 0
    life 2: Ann has paid 100, receipt R-1
    life 2 ended with exit code 0
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker


class Report(msgspec.Struct):
    """What the provider says when the money is there."""

    amount: int
    receipt: str


agent = Agent("payments", input=str)
FOLDER = Path(os.environ.get("FOLDER", ""))


def say(text: str) -> None:
    """Print at once: what is still in a buffer dies with the process."""
    print(f"{os.environ['ROLE']}: {text}", flush=True)


async def ask_provider(name: str, promise_id: str) -> None:
    """Begin a payment. It may take days; who reports on it needs the id and nothing else."""
    (FOLDER / "provider.txt").write_text(promise_id)
    say(f"asked the provider for 100 from {name}")


@agent.action(InputEvent)
async def pay(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Begin a payment, and wait for what becomes of it."""
    promise = ctx.promise(Report)
    await ctx.durable(ask_provider, event.input, promise.id)
    if os.environ["ROLE"] == "life 1":
        os.kill(os.getpid(), signal.SIGKILL)
    report = await promise.result(timeout=30 * 86_400)
    ctx.output(f"{event.input} has paid {report.amount}, receipt {report.receipt}")


async def live() -> None:
    """One life of the worker."""
    async with Worker(agent, store=SqliteStore(FOLDER / "payments.db")) as worker:
        run = await worker.submit("Ann", id="order-7")
        (told,) = await run.result()
        say(told)


def report() -> None:
    """The provider's part: tell whoever gave it the id, and be sure to have been heard."""
    promise_id = (FOLDER / "provider.txt").read_text()
    value = '{"amount": 100, "receipt": "R-1"}'
    for _ in range(2):
        arguments = ["complete", promise_id, f"--store={FOLDER / 'payments.db'}"]
        command = [sys.executable, "-m", "durable_agents", *arguments, f"--value={value}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        say(done.stdout.strip())


def main(folder: str) -> None:
    """Start this file three times over one folder."""
    for role in ("life 1", "provider", "life 2"):
        environment = {**os.environ, "ROLE": role, "FOLDER": folder}
        command = [sys.executable, __file__]
        code = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        print(f"{role} {ended}", flush=True)


if __name__ == "__main__":
    if "ROLE" not in os.environ:
        with TemporaryDirectory() as folder:
            main(folder)
    elif os.environ["ROLE"] == "provider":
        report()
    else:
        asyncio.run(live())
