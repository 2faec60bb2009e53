"""What every test gets: a loop that must not block, and the choice of loops."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

pytest_plugins = ["tests.conformance.plugin"]

Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]


def _loops() -> Loops:
    """Every kind of event loop that is installed, by name."""
    if find_spec("uvloop") is None:
        return {"asyncio": asyncio.new_event_loop}
    from uvloop import new_event_loop  # noqa: PLC0415 -- an extra

    return {"asyncio": asyncio.new_event_loop, "uvloop": new_event_loop}


LOOPS = _loops()


def pytest_asyncio_loop_factories(item: pytest.Item) -> Loops:
    """Run a test marked `every_loop` on each kind of loop, all others on asyncio's own."""
    if item.get_closest_marker("every_loop"):
        return LOOPS
    return {"asyncio": LOOPS["asyncio"]}


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Make a blocking call of the package fail the test when it is made in the event loop.

    Threads may block, so aiosqlite and durable functions that are plain `def` pass.
    """
    with blockbuster_ctx("durable_agents") as detector:
        for name, function in detector.functions.items():
            if "acquire" in name:
                # Coverage takes a lock of its own inside the lines that it measures.
                function.can_block_in("coverage/collector.py", {"lock_data"})
        yield detector
