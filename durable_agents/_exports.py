"""Public names come from their door, wherever the file that defines them lies.

This is not cosmetics: a recorded value names its class by module and name. With the door in
that place a private file can be moved and old journals still open; tracebacks and `repr` say
the name that a user can import. The price: `inspect.getsource` no longer finds the class.
"""

from collections.abc import Iterable, Mapping
from types import FunctionType

__all__ = ["publish"]


def publish(namespace: Mapping[str, object], names: Iterable[str]) -> None:
    """Make the classes and functions of a door say that they come from there.

    The outermost door that publishes a name wins, since it is the last to run.

    Args:
        namespace: `globals()` of the door.
        names: Its `__all__`. Constants and type aliases among them are left as they are.

    Raises:
        KeyError: A name is listed and not defined.
    """
    door = str(namespace["__name__"])
    for name in names:
        published = namespace[name]
        if isinstance(published, (type, FunctionType)):
            published.__module__ = door
