"""What a value looks like on disk."""

import msgspec

__all__ = ["Payload"]


class Payload(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An encoded value: how it is encoded, and its bytes."""

    encoding: str
    """`"plain"`, `"typed"`, `"pickle"` ..., with `"+zlib"` and the like behind it."""
    data: bytes

    def __repr__(self) -> str:
        # Records end up in logs and tracebacks, where contents have no business.
        return f"Payload({self.encoding!r}, {len(self.data)} bytes)"
