"""Hello, durable: an action, two durable calls, and a second look at a finished run.

The action greets a guest: it looks the guest's language up, then translates. Both go through
`ctx.durable`, so their results are in the store before the action sees them. The same input is
submitted twice under one id: that is one run, so nothing is called the second time.

Run it:

    python examples/hello_durable.py

What you will see:

    looking up the language of Ada
    translating Hello into fr
    new run: True, result: ['Bonjour, Ada']
    new run: False, result: ['Bonjour, Ada']
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker

agent = Agent("greeter", input=str)


async def language_of(guest: str) -> str:
    """Imagine a look-up in a customer database."""
    print(f"looking up the language of {guest}")
    return {"Ada": "fr"}.get(guest, "en")


def translated(word: str, language: str) -> str:
    """A plain function: it runs in a thread, so it may block."""
    print(f"translating {word} into {language}")
    return {("Hello", "fr"): "Bonjour"}.get((word, language), word)


@agent.action(InputEvent)
async def greet(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Greet the guest in their language."""
    language = await ctx.durable(language_of, event.input)
    word = await ctx.durable(translated, "Hello", language)
    ctx.output(f"{word}, {event.input}")


async def main(folder: Path) -> None:
    """Submit one input twice, to two workers: the second might as well run next week."""
    for _ in range(2):
        async with Worker(agent, store=SqliteStore(folder / "hello.db")) as worker:
            run = await worker.submit("Ada", key="Ada", id="guest-1")
            print(f"new run: {run.is_new}, result: {await run.result()}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
