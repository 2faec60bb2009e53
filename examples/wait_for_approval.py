"""Wait for a person: an approval that outlives the process, and is never asked for twice.

The program starts itself twice. The first life mails the question, waits for the answer, and
dies by SIGKILL while it waits. The second life does not mail again: that call has settled. It
waits on at the same place, and a person answers: here from within the program, elsewhere with

    durable-agents signal refund-7 approval:root:1 '{"approved": true}' --store refunds.db

and the run goes on. `durable-agents show refund-7` has the question, and the name to answer by.

Run it:

    python examples/wait_for_approval.py

What you will see:

    life 1: mail to the boss: refund 100 to Ann?
    life 1: waiting for an answer
    life 1 was killed by signal 9
    life 2: waiting for an answer
    person: yes, but only this once
    life 2: refunded 100 to Ann (only this once)
    life 2 ended with exit code 0
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import Agent, Approval, InputEvent, RunnerContext, SqliteStore, Worker

agent = Agent("refunds", input=str)
asked = asyncio.Event()


def say(text: str) -> None:
    """Print at once: what is still in a buffer dies with the process."""
    print(f"life {os.environ['LIFE']}: {text}", flush=True)


async def mail(question: str) -> None:
    """Ask whoever decides; once, however often the action is started."""
    say(f"mail to the boss: {question}")


async def refund(name: str) -> str:
    """Imagine a payment."""
    return f"refunded 100 to {name}"


@agent.action(InputEvent)
async def decide(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Ask, wait, and do what was decided."""
    question = f"refund 100 to {event.input}?"
    await ctx.durable(mail, question)
    say("waiting for an answer")
    asked.set()
    decision = await ctx.approve(question)
    if decision.approved:
        done = await ctx.durable(refund, event.input)
        ctx.output(f"{done} ({decision.comment})")
    else:
        ctx.output(f"no refund ({decision.comment})")


async def live() -> None:
    """One life: the first one ends while it waits."""
    async with Worker(agent, store=SqliteStore(Path(os.environ["FOLDER"], "r.db"))) as worker:
        run = await worker.submit("Ann", id="refund-7")
        await asked.wait()
        if os.environ["LIFE"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        print("person: yes, but only this once", flush=True)
        answer = Approval(approved=True, comment="only this once")
        await worker.signal(run.id, "approval:root:1", answer)
        (told,) = await run.result()
        say(told)


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
