"""What a process did to its files, as the shim recorded it.

A trace is a row of records, each with a header: kind (1 byte), inode (8), figure (8, signed),
length of what follows (4), little-endian.

    kind   figure            bytes       what happened
    c      -                 name        a file was made
    w      offset            data        a write
    t      size              -           a truncation
    s, f   records before    -           a sync, begun after so many records: done, or failed
    d      records before    -           the same of the folder: names are safe
    u      -                 name        a file was unlinked
    r      -                 two names   a file was renamed, a zero byte between the names

A write is on record when it has returned, so that a power cut in the middle of it, too, is one
of those for which an image is rebuilt: a write that no sync covers may be torn.
"""

import struct
from dataclasses import dataclass

__all__ = ["Change", "decode_trace", "encode_change"]

_HEADER = struct.Struct("<cQqI")


@dataclass(frozen=True, slots=True)
class Change:
    """One record."""

    kind: str
    inode: int = 0
    figure: int = 0
    data: bytes = b""

    @property
    def name(self) -> str:
        """Name of the file that was made or unlinked."""
        return self.data.decode()

    @property
    def names(self) -> tuple[str, str]:
        """Names of a file before and after it was renamed."""
        before, _, after = self.data.partition(b"\0")
        return before.decode(), after.decode()


def decode_trace(trace: bytes) -> list[Change]:
    """All records, in order; one that a kill cut off is left out."""
    changes: list[Change] = []
    place = 0
    while place + _HEADER.size <= len(trace):
        kind, inode, figure, length = _HEADER.unpack_from(trace, place)
        place += _HEADER.size
        data = trace[place : place + length]
        place += length
        if len(data) == length:
            changes.append(Change(kind.decode(), inode, figure, data))
    return changes


def encode_change(change: Change) -> bytes:
    """A record, as the shim would write it."""
    header = _HEADER.pack(change.kind.encode(), change.inode, change.figure, len(change.data))
    return header + change.data
