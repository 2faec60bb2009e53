"""A disk whose power may be cut: what is surely on it, and what may be.

Theory of operation
===================

A sync makes the writes and truncations of one file safe that were done before it began; a sync
of the folder does so for names. Whatever no sync covers may be on the disk or not, in any
combination, and a write in parts: only sectors of 512 bytes are written whole or not at all.
Names are taken for a journal of their own, as file systems keep it: later ones are not there
without earlier ones.

After a sync that failed, the system may have dropped what it covered and call it written: for
each of these writes chance decides at once whether it is lost for good, and no later sync
brings it back. See https://lwn.net/Articles/752063/.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from tests.proof.trace import Change

__all__ = ["CUTS", "Cut", "Disk", "Image"]

Cut: TypeAlias = Literal["dropped", "subset", "torn", "reordered", "kept"]
"""What becomes of writes that no sync covers: none is on the disk; some are, whole; all up to
one of them, which is torn; some sectors, written in any order; all are, as after a kill."""
CUTS: tuple[Cut, ...] = get_args(Cut)

Image: TypeAlias = dict[str, bytes]
"""Contents of the files by name."""

SECTOR = 512


@dataclass(slots=True, eq=False)
class _File:
    """One file, under whatever names."""

    content: bytearray = field(default_factory=bytearray)
    """What is surely on the disk."""
    unsafe: list[tuple[int, Change]] = field(default_factory=list)
    """What may be, each change with its number."""


class Disk:
    """The state of a folder while a trace is played back.

    Args:
        chance: Decides what a failed sync loses.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._files: dict[int, _File] = {}
        self._names: dict[str, _File] = {}
        self._unsafe_names: list[tuple[int, Change, _File | None]] = []
        self._count = 0

    def play(self, change: Change) -> None:
        """Take in what happened next."""
        number, self._count = self._count, self._count + 1
        match change.kind:
            case "c":
                # An inode that was used before stands for another file now.
                file = self._files[change.inode] = _File()
                self._unsafe_names.append((number, change, file))
            case "u" | "r":
                self._unsafe_names.append((number, change, None))
            case "w" | "t":
                self._files[change.inode].unsafe.append((number, change))
            case "s":
                self._save(self._files[change.inode], change.figure)
            case "f":
                self._lose(self._files.get(change.inode), change.figure)
            case "d":
                self._save_names(change.figure)
            case _:
                raise ValueError(change.kind)

    def image(self, cut: Cut, chance: random.Random) -> Image:
        """What the disk may hold if the power is cut now.

        Args:
            cut: What becomes of the writes that no sync covers.
            chance: Decides which ones.
        """
        names = dict(self._names)
        kept = 0 if cut == "dropped" else len(self._unsafe_names)
        if cut in {"subset", "reordered"}:
            kept = chance.randint(0, kept)
        for _, change, file in self._unsafe_names[:kept]:
            _rename(names, change, file)
        # Writes of all files in the order of time: where one is torn, later ones are missing.
        unsafe = _in_order(names)
        contents = {name: bytearray(file.content) for name, file in names.items()}
        for name, change in _survivors(unsafe, cut, chance):
            _apply(contents[name], change)
        return {name: bytes(content) for name, content in contents.items()}

    def _save(self, file: _File, before: int) -> None:
        for number, change in file.unsafe:
            if number < before:
                _apply(file.content, change)
        file.unsafe = [pair for pair in file.unsafe if pair[0] >= before]

    def _lose(self, file: _File | None, before: int) -> None:
        if file is not None:
            file.unsafe = [
                (number, change)
                for number, change in file.unsafe
                if number >= before or change.kind == "t" or self._chance.random() < 1 / 2
            ]

    def _save_names(self, before: int) -> None:
        for number, change, file in self._unsafe_names:
            if number < before:
                _rename(self._names, change, file)
        self._unsafe_names = [entry for entry in self._unsafe_names if entry[0] >= before]


def _in_order(names: dict[str, _File]) -> list[tuple[str, Change]]:
    unsafe = [
        (number, name, change) for name, file in names.items() for number, change in file.unsafe
    ]
    unsafe.sort(key=lambda entry: entry[0])
    return [(name, change) for _, name, change in unsafe]


def _survivors(
    unsafe: list[tuple[str, Change]], cut: Cut, chance: random.Random
) -> list[tuple[str, Change]]:
    """What of the writes that no sync covers is on the disk, in the order written."""
    match cut:
        case "dropped":
            return []
        case "kept":
            return unsafe
        case "subset":
            return [entry for entry in unsafe if chance.random() < 1 / 2]
        case "torn":
            whole = chance.randrange(len(unsafe)) if unsafe else 0
            return unsafe[:whole] + _some(_sectors(unsafe[whole : whole + 1]), chance)
        case "reordered":
            some = _some(_sectors(unsafe), chance)
            chance.shuffle(some)
            return some


def _some(
    parts: Iterator[tuple[str, Change]], chance: random.Random
) -> list[tuple[str, Change]]:
    return [part for part in parts if chance.random() < 1 / 2]


def _sectors(changes: list[tuple[str, Change]]) -> Iterator[tuple[str, Change]]:
    """The same as writes of whole sectors, or of what a write has of one."""
    for name, change in changes:
        if change.kind != "w":
            yield name, change
            continue
        start, end = change.figure, change.figure + len(change.data)
        while start < end:
            stop = min(end, (start // SECTOR + 1) * SECTOR)
            data = change.data[start - change.figure : stop - change.figure]
            yield name, Change("w", change.inode, start, data)
            start = stop


def _apply(content: bytearray, change: Change) -> None:
    if change.kind == "t":
        del content[change.figure :]
        content.extend(bytes(change.figure - len(content)))
        return
    end = change.figure + len(change.data)
    content.extend(bytes(max(0, end - len(content))))
    content[change.figure : end] = change.data


def _rename(names: dict[str, _File], change: Change, file: _File | None) -> None:
    match change.kind:
        case "c":
            assert file is not None, "it was made"
            names[change.name] = file
        case "u":
            names.pop(change.name, None)
        case _:
            before, after = change.names
            names[after] = names.pop(before)
