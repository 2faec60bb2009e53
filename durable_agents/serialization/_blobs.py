"""Large values by content: cut into blobs that a run keeps once, and put together again.

Theory of operation
===================

A tree (`_nodes.py`) whose encoding is large is cut from the inside out: each part of it that is
still large when its own parts were cut becomes a **blob** under the hash of its content, and a
reference takes its place. Equal parts are one blob, wherever in the run they turn up.

A list is cut otherwise, since lists of messages grow. Its elements are gathered into **steps**
of some size, and each state that the list goes through has a hash:

    h(0) = nothing        h(i) = H(h(i-1), step i)

What is stored under the last one is a **chain**: where the latest state that the run knows is
found, and the steps since. So a list that extends an earlier one stores what is new, one that
is the beginning of an earlier one stores next to nothing, and a list of which nothing is known
is one blob, however many elements it has.

    blob        the encoded tree of a part
    chain       [another chain, how many steps of it, [the steps since]]
    a step      the encoded list of some elements
    reference   MessagePack extension: what it refers to, and the hash

Where one step ends and the next begins depends on nothing but the elements so far. The last
step of a list may be short; when the list grows that step is stored again, longer:
`_STEP_BYTES` at most for each extension.

Rule 1: a hash is taken over what is referred to as it was before compression and encryption, so
that equal content is found however it was sealed. Rule 2: it is taken again when a blob is
read; one that differs is an error. Rule 3: what references unfold to is bounded.
"""

# ruff: noqa: ANN401 - the border where values are of any type

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

import msgspec

from durable_agents.errors import DecodeError
from durable_agents.serialization._leaves import expect
from durable_agents.serialization._payload import Payload
from durable_agents.serialization._plain import class_of, decode_plain, encode_plain

__all__ = ["SMALLEST_SHARED", "Blobs", "Hasher", "Joiner", "Sharer"]

SMALLEST_SHARED = 64
"""Bytes below which a reference would save nothing."""

_BLOB, _CHAIN = 1, 2  # on disk: codes of the extension
_FORMS = {_BLOB: "blob", _CHAIN: "chain"}
_HASH_BYTES = 24  # 2**96 tries to find two contents with one hash
_STEP_BYTES = 256
_REMEMBERED = 64  # states of one chain that a later list can go on from; bounds the memory
_LEVELS = 16  # of large parts within large parts; each is encoded once more
_START = b""

_Open: TypeAlias = Callable[[Payload], tuple[str, bytes]]
_Seal: TypeAlias = Callable[[str, bytes], Payload]


class _Chain(NamedTuple):
    """A chain that was read and checked."""

    base: bytes
    taken: int
    """Steps that it shares with `base`."""
    steps: list[bytes]
    hashes: list[bytes]
    """The state after each of its own steps."""


class Blobs:
    """The blobs of one run, as far as they are known here.

    What is handed to a write by `take_new` is from then on known by its hash alone: an active
    run holds no second copy of its values.

    Args:
        stored: Those that the run has on record, from `Store.blobs`; each is checked when a
            value that refers to it is decoded.
    """

    __slots__ = ("tables",)

    def __init__(self, stored: Mapping[bytes, Payload] | None = None) -> None:
        self.tables: BlobTables | None = None if stored is None else BlobTables(stored)
        """What is known of them; None: there are none, as in most runs."""

    def made(self) -> "BlobTables":
        """What is known of them, to be added to."""
        if self.tables is None:
            self.tables = BlobTables({})
        return self.tables

    def take_new(self) -> dict[bytes, Payload]:
        """What has to become durable together with the next entries of the run."""
        tables = self.made()
        new, tables.new = tables.new, {}
        return new


class BlobTables:
    """What is known of a run's blobs."""

    __slots__ = ("chains", "known", "new", "states", "stored")

    def __init__(self, stored: Mapping[bytes, Payload]) -> None:
        self.stored: dict[bytes, Payload] = dict(stored)
        self.known: set[bytes] = set(stored)
        """Hashes of all that is on record, or will be with the next write."""
        self.states: dict[bytes, bytes] = {}
        """The chain in the midst of which a state of a list is found."""
        self.new: dict[bytes, Payload] = {}
        """What the next write of the run has to take along."""
        self.chains: dict[bytes, _Chain] = {}
        """Those that were read."""

    def remember(self, chain: bytes, states: list[bytes]) -> None:
        """Let later lists go on from states in the midst of a chain."""
        for state in states[-_REMEMBERED:]:
            self.states.setdefault(state, chain)


class Hasher:
    """Names content.

    Args:
        secret: Whoever lacks it cannot tell from a name whether a guess at the content is
            right. None: anybody can.
    """

    __slots__ = ("_key",)

    def __init__(self, secret: bytes | None) -> None:
        # Not the key of the HMAC itself, and of any length.
        key = b"" if secret is None else b"durable_agents content\0" + secret
        self._key = blake2b(key).digest() if key else b""

    def blob(self, content: bytes) -> bytes:
        """The name of a part."""
        return self._hash(b"blob", content)

    def state(self, before: bytes, step: bytes) -> bytes:
        """The state of a list after one more step."""
        return self._hash(b"chain", before + step)

    def _hash(self, person: bytes, content: bytes) -> bytes:
        hashed = blake2b(content, digest_size=_HASH_BYTES, key=self._key, person=person)
        return hashed.digest()


class Sharer:
    """Cuts one tree into blobs.

    Args:
        blobs: The run's, which it adds to.
        hasher: Names them.
        above: Size in bytes above which a part becomes a blob.
        seal: Makes a payload of a blob's form and content.
    """

    def __init__(self, blobs: Blobs, hasher: Hasher, above: int, seal: _Seal) -> None:
        self._blobs = blobs.made()
        self._hasher = hasher
        self._above = above
        self._seal = seal

    def cut(self, tree: Any, data: bytes, levels: int = _LEVELS) -> bytes:
        """The encoding of a large tree, with references in the place of its large parts.

        Args:
            tree: Plain data.
            data: Its encoding.
            levels: How deep to look for parts.
        """
        kind = class_of(tree)
        if levels and kind is list:
            parts = self._parts(tree, levels - 1)
            if sum(map(len, parts)) > self._above:
                return self._chain(parts)
            return encode_plain([msgspec.Raw(part) for part in parts])
        if levels and kind is dict:
            parts = self._parts(tree.values(), levels - 1)
            data = encode_plain(dict(zip(tree, map(msgspec.Raw, parts), strict=True)))
            if len(data) <= self._above:
                return data
        return self._blob(data)

    def _parts(self, values: Iterable[Any], levels: int) -> list[bytes]:
        above, cut = self._above, self.cut
        encoded = ((value, encode_plain(value)) for value in values)
        return [
            data if len(data) <= above else cut(value, data, levels) for value, data in encoded
        ]

    def _blob(self, content: bytes) -> bytes:
        name = self._hasher.blob(content)
        if name not in self._blobs.known:
            self._add(name, _BLOB, content)
        return encode_plain(msgspec.msgpack.Ext(_BLOB, name))

    def _chain(self, parts: list[bytes]) -> bytes:
        steps = list(_steps(parts))
        states = list(accumulate(steps, self._hasher.state, initial=_START))
        name = states[-1]
        if name not in self._blobs.known:
            base, taken = self._latest_known(states)
            self._add(name, _CHAIN, encode_plain([base, taken, steps[taken:]]))
            self._blobs.remember(name, states[taken + 1 : -1])
        return encode_plain(msgspec.msgpack.Ext(_CHAIN, name))

    def _latest_known(self, states: list[bytes]) -> tuple[bytes, int]:
        """The chain that has most of these states in common, and how many steps that is."""
        blobs = self._blobs
        for taken in range(len(states) - 1, 0, -1):
            state = states[taken]
            if state in blobs.known:
                return state, taken
            if state in blobs.states:
                return blobs.states[state], taken
        return _START, 0

    def _add(self, name: bytes, code: int, content: bytes) -> None:
        self._blobs.new[name] = self._seal(_FORMS[code], content)
        self._blobs.known.add(name)


def _steps(parts: list[bytes]) -> Iterator[bytes]:
    step: list[msgspec.Raw] = []
    size = 0
    for part in parts:
        step.append(msgspec.Raw(part))
        size += len(part)
        if size >= _STEP_BYTES:
            yield encode_plain(step)
            step, size = [], 0
    if step:
        yield encode_plain(step)


class Joiner:
    """Puts one tree together again; everything that it reads may be forged.

    Args:
        blobs: The run's.
        hasher: Checks their names.
        unseal: Gives the form and the content of a blob's payload.
        max_bytes: What the tree may unfold to.
    """

    def __init__(self, blobs: Blobs, hasher: Hasher, unseal: _Open, max_bytes: int) -> None:
        self._blobs = blobs.made()
        self._hasher = hasher
        self._unseal = unseal
        self._bytes_left = max_bytes
        self._levels_left = _LEVELS + 1

    def tree(self, data: bytes) -> Any:
        """The tree that `Sharer.cut` was given.

        Raises:
            Exception: Of whatever class: it cannot be had; the text names the blob.
        """
        self._bytes_left -= len(data)
        if self._bytes_left < 0 or self._levels_left < 0:
            msg = "its references unfold to more than a value may be"
            raise ValueError(msg)
        self._levels_left -= 1
        tree = msgspec.msgpack.decode(data, ext_hook=self._part)
        self._levels_left += 1
        return tree

    def _part(self, code: int, reference: memoryview) -> Any:
        name = bytes(reference)
        if code == _BLOB:
            content = self._content(name, _BLOB)
            if self._hasher.blob(content) != name:
                raise _damaged(name)
            return self.tree(content)
        if code != _CHAIN:
            msg = f"MessagePack extension {code} is none of ours"
            raise ValueError(msg)
        elements: list[Any] = []
        for step in self._steps_of(name):
            elements += expect(self.tree(step), list)
        return elements

    def _content(self, name: bytes, code: int) -> bytes:
        payload = self._blobs.stored.get(name)
        if payload is None:
            msg = f"blob {name.hex()} of its run is missing: restore the store from a backup"
            raise LookupError(msg)
        try:
            form, content = self._unseal(payload)
        except DecodeError as error:
            msg = f"blob {name.hex()} of its run: {error.problem}"
            raise ValueError(msg) from error
        if form != _FORMS[code]:
            raise _damaged(name)
        return content

    def _steps_of(self, name: bytes) -> list[bytes]:
        """Steps of a whole list."""
        parts: list[list[bytes]] = []
        end = None
        while name:
            chain = self._checked(name)
            own = chain.steps if end is None else chain.steps[: max(end - chain.taken, 0)]
            parts.append(own)
            end = chain.taken if end is None else min(end, chain.taken)
            name = chain.base
        return [step for part in reversed(parts) for step in part]

    def _checked(self, name: bytes) -> _Chain:
        """A chain, checked with all that it goes on from."""
        known = self._blobs.chains
        read: dict[bytes, tuple[bytes, int, list[bytes]]] = {}
        following = name
        while following and following not in known:
            if following in read:
                raise _damaged(name)  # it goes round in a circle
            read[following] = self._read_chain(following)
            following = read[following][0]
        for one, (base, taken, steps) in reversed(read.items()):
            before = self._state(base, taken)
            if before is None:
                raise _damaged(one)
            hashes = list(accumulate(steps, self._hasher.state, initial=before))
            if hashes[-1] != one:
                raise _damaged(one)
            known[one] = _Chain(base, taken, steps, hashes[1:])
            self._blobs.remember(one, hashes[1:-1])
            # Kept once: as it is read, since every later state of the list is read through it.
            del self._blobs.stored[one]
        return known[name]

    def _read_chain(self, name: bytes) -> tuple[bytes, int, list[bytes]]:
        content = self._content(name, _CHAIN)
        try:
            base, taken, steps = expect(decode_plain(content), list)
            steps = [expect(step, bytes) for step in expect(steps, list)]
            if expect(taken, int) >= 0:
                return expect(base, bytes), taken, steps
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise _damaged(name) from error
        raise _damaged(name)

    def _state(self, name: bytes, taken: int) -> bytes | None:
        """The state of a list, of checked chains, after so many steps; None: it has fewer."""
        if not taken:
            return _START
        while name:
            chain = self._blobs.chains[name]
            own = taken - chain.taken
            if own > len(chain.hashes):
                return None
            if own > 0:
                return chain.hashes[own - 1]
            name = chain.base
        return None


def _damaged(name: bytes) -> ValueError:
    msg = f"blob {name.hex()} of its run is damaged or forged: restore the store from a backup"
    return ValueError(msg)
