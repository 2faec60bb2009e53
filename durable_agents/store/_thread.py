"""Files are opened in threads: the event loop waits for no disk."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import aiosqlite

__all__ = ["Connection", "connected", "in_thread"]

T = TypeVar("T")
Connection: TypeAlias = aiosqlite.Connection


async def connected(open_file: Callable[[], sqlite3.Connection]) -> aiosqlite.Connection:
    """Give a connection its thread; it is closed again if the caller is cancelled."""
    # Opened before aiosqlite starts its thread: one whose opening fails outlives the loop.
    opened = await in_thread(open_file, undo=sqlite3.Connection.close)
    try:
        return await aiosqlite.Connection(lambda: opened, iter_chunk_size=64)
    except BaseException:
        opened.close()
        raise


async def in_thread(function: Callable[[], T], *, undo: Callable[[T], object]) -> T:
    """Run a function in a thread. Cancellation: when it has ended, its result is undone."""
    running = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        # The thread cannot be called back.
        await asyncio.wait([running])
        if not running.cancelled() and running.exception() is None:
            await asyncio.to_thread(undo, running.result())
        raise
