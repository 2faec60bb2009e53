"""Fork a run: what would have become of it, had one call come to something else?

A review is fetched, a model scores it, and a notice is written about the score. The model was
wrong, as models are. The run is forked at that call, with the score that it should have given:
the text is not fetched again, and everything behind the call is done by the fork itself. The
first run stays as it is. The same from a shell:

    durable-agents fork review-7 0:review:root:1 --value 5 --store reviews.db

`durable-agents show review-7 --json` has the ids of its calls.

Run it:

    python examples/fork_a_run.py

What you will see:

    fetch review-7
    ask the model about "Broke after two days. Great service!"
    write a notice: score 1
    review-7: score 1
    what if the score were 5?
    write a notice: score 5
    the fork: score 5
    and what if the model is asked once more?
    ask the model about "Broke after two days. Great service!"
    write a notice: score 1
    the other fork: score 1
    review-7 is still: score 1
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker

agent = Agent("reviews", input=str)


async def fetch(name: str) -> str:
    """Imagine a request."""
    print(f"fetch {name}")
    return "Broke after two days. Great service!"


async def rate(text: str) -> int:
    """Imagine a model."""
    print(f'ask the model about "{text}"')
    return 1


async def write(notice: str) -> str:
    """Imagine somebody who reads it."""
    print(f"write a notice: {notice}")
    return notice


@agent.action(InputEvent)
async def review(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Three calls: `0:review:root:0`, `0:review:root:1` and `0:review:root:2`."""
    text = await ctx.durable(fetch, event.input)
    score = await ctx.durable(rate, text)
    ctx.output(await ctx.durable(write, f"score {score}"))


async def main(folder: str) -> None:
    """Run it once, and then twice in part."""
    async with Worker(agent, store=SqliteStore(Path(folder, "reviews.db"))) as worker:
        run = await worker.submit("review-7", id="review-7")
        print("review-7:", *await run.result())

        print("what if the score were 5?")
        fork = await worker.fork(run.id, at="0:review:root:1", value=5)
        print("the fork:", *await fork.result())

        print("and what if the model is asked once more?")
        fork = await worker.fork(run.id, at="0:review:root:1")
        print("the other fork:", *await fork.result())

        print("review-7 is still:", *await run.result())


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
