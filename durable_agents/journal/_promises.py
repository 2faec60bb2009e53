"""What a promise is known by outside: an opaque text that names its run and its place there.

It is worked out of the two, and so is the same in every life, before anything is on record:
whoever was handed it by a call that a crash interrupted is handed the same one again.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import msgspec

from durable_agents.errors import InputError
from durable_agents.journal._waits import PROMISE

__all__ = ["is_promise", "promise_id", "promise_name", "promise_of"]

_PREFIX = "promise-a-"
"""The letter is the version of what follows."""
_CHECK_BYTES = 6
_MOST_SHOWN = 80


def promise_id(run_id: str, call: str) -> str:
    """The id of a promise: text for a URL or a header.

    Args:
        run_id: The run.
        call: Id of the call that made the promise.
    """
    named = msgspec.msgpack.encode((run_id, call))
    # What was cut or mistyped on its way is told from an id of something that is not there.
    check = sha256(named).digest()[:_CHECK_BYTES]
    return _PREFIX + urlsafe_b64encode(check + named).decode().rstrip("=")


def promise_of(text: str) -> tuple[str, str]:
    """The run and the id of the call that an id of a promise names.

    Raises:
        InputError: It is no such id, or not whole.
    """
    try:
        content = urlsafe_b64decode(text.removeprefix(_PREFIX) + "==")
        named = msgspec.msgpack.decode(content[_CHECK_BYTES:], type=tuple[str, str])
        # There is one text for each promise, and everything else is refused.
        is_whole = text == promise_id(*named)
    except (ValueError, msgspec.MsgspecError):
        is_whole, named = False, ("", "")
    if not is_whole:
        shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
        problem = f"{shown!r} is no id of a promise: hand on what `promise.id` gives, whole"
        raise InputError(problem)
    return named


def promise_name(call: str) -> str:
    """Name of the signal that completes the promise of a call, within its run."""
    return f"{PROMISE}:{call}"


def is_promise(name: str) -> bool:
    """Whether signals of this name complete a promise."""
    return name.startswith(PROMISE)
