"""A stream of reviews: one run for each, in order for each product, with a running summary.

Each review is scored by a durable call, as a model would do it, and the product's summary lives
in short-term memory, which belongs to the key. Two reviews of one product never run at the same
time, so no score is lost; those of different products overlap.

Over a file of your own, with fields `id`, `review` and `ts`, and with every crash allowed:

    durable-agents run examples/review_stream.py:agent --input FILE.jsonl --key id \
        --store reviews.db --output summaries.jsonl

Run it:

    python examples/review_stream.py

What you will see:

    kettle: 6 reviews, mean score 0.50, liked best: 'Boils fast and looks great. I love it.'
    lamp: 5 reviews, mean score -0.40, liked best: 'Warm light, great price.'
    scarf: 4 reviews, mean score 1.50, liked best: 'Soft and warm, I love the colour.'
    tent: 5 reviews, mean score 0.60, liked best: 'Easy to pitch, perfect in the rain.'
"""

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker

SAMPLE = Path(__file__).parent / "data" / "reviews_sample.jsonl"
GOOD = frozenset(["easy", "good", "great", "love", "nice", "perfect", "soft", "warm"])
BAD = frozenset(["broke", "broken", "disappointed", "leaks", "loud", "poor", "terrible"])


class Review(msgspec.Struct):
    """One line of the input."""

    id: str
    """The product."""
    review: str
    ts: int


class Summary(msgspec.Struct):
    """What the reviews of one product have come to."""

    product: str
    reviews: int = 0
    total: int = 0
    best_score: int | None = None
    best: str = ""


agent = Agent("review-stream", input=Review)


async def score(text: str) -> int:
    """Imagine a model: words of praise count 1, words of blame -1."""
    words = [word.strip(".,:;!?").lower() for word in text.split()]
    return sum((word in GOOD) - (word in BAD) for word in words)


@agent.action(InputEvent)
async def summarize(event: InputEvent[Review], ctx: RunnerContext) -> None:
    """Score the review and bring the summary of its product up to date."""
    review, memory = event.input, ctx.short_term_memory
    points = await ctx.durable(score, review.review)
    summary = memory.get("summary", Summary(review.id))
    summary.reviews += 1
    summary.total += points
    if summary.best_score is None or points > summary.best_score:
        summary.best_score, summary.best = points, review.review
    memory["summary"] = summary
    ctx.output(summary)


async def main(reviews: list[Any], folder: Path) -> None:
    """Submit every review, and print the last summary of each product."""
    latest: dict[str, Summary] = {}
    async with Worker(agent, store=SqliteStore(folder / "reviews.db")) as worker:
        runs = [await worker.submit(review, key=review["id"]) for review in reviews]
        for run in runs:
            (latest[run.key],) = await run.result()
    for product, summary in sorted(latest.items()):
        mean = summary.total / summary.reviews
        print(
            f"{product}: {summary.reviews} reviews, mean score {mean:.2f}, "
            f"liked best: {summary.best[:60]!r}"
        )


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    lines = chosen.read_text(encoding="utf-8").splitlines()
    with TemporaryDirectory() as temporary:
        asyncio.run(main([json.loads(line) for line in lines], Path(temporary)))
