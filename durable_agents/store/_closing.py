"""Lets go of several things, whatever becomes of each."""

from collections.abc import Awaitable, Callable, Iterable

__all__ = ["close_each"]


async def close_each(closers: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Call each in turn, those behind a failure too.

    Raises:
        BaseException: The first failure, which tells most of what went wrong; the later ones
            are its notes.
    """
    first: BaseException | None = None
    for close in closers:
        try:
            await close()
        except BaseException as error:  # noqa: BLE001 - raised when all have been closed
            if first is None:
                first = error
            else:
                first.add_note(f"What was closed next failed, too: {error!r}")
    if first is not None:
        raise first
