"""What a value looks like on disk."""

import msgspec

__all__ = ["Payload", "Unsealed"]


class Payload(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An encoded value: how it is encoded, and its bytes."""

    encoding: str
    """`"plain"`, `"typed"`, `"pickle"` ..., with `"+zlib"` and the like behind it."""
    data: bytes

    @property
    def is_failure(self) -> bool:
        """Whether it holds an exception."""
        return self.encoding.startswith("failure")

    def __repr__(self) -> str:
        # Records end up in logs and tracebacks, where contents have no business.
        return f"Payload({self.encoding!r}, {len(self.data)} bytes)"


class Unsealed(Payload, frozen=True, array_like=True, gc=False):
    """A large value on its way: encoded, without a layer yet, and nothing to put on disk.

    It can be decoded as it is. What goes on record for it is `Codec.shared` of it.
    """
