"""Values to payloads and back.

A payload's encoding names its form, then the layers around it, from the inside out:

    plain            MessagePack of plain data
    typed            MessagePack of a tree (`_nodes.py`): data with its types
    pickle           cloudpickle; reading it runs code
    failure          an exception (`_failure.py`)
    failure-pickle   one of which some parts are pickles
    ...+shared       MessagePack of the same, large parts kept as blobs of the run (`_blobs.py`)
    ...+zlib         compressed
    ...+hmac         after an HMAC-SHA256 over the encoding and the data

Blobs are payloads, too, of the forms `blob` and `chain`; what refers to them is a value's only.
An exception is never shared: why a run failed can be read without anything else.

Rule 1: nothing of a payload is decoded before its layers were checked. Rule 2: no payload makes
`decode` raise anything but `DecodeError`.
"""

# ruff: noqa: ANN401 - the border where values are of any type

from collections.abc import Callable
from copy import copy
from itertools import chain
from typing import Any, ClassVar, Literal, Self, TypeAlias

import msgspec

from durable_agents.errors import DecodeError, EncodeError, PayloadTooLargeError
from durable_agents.serialization._blobs import SMALLEST_SHARED, Blobs, Hasher, Joiner, Sharer
from durable_agents.serialization._data_reader import DataReader
from durable_agents.serialization._failure import FailureWriter, read_failure
from durable_agents.serialization._leaves import expect
from durable_agents.serialization._payload import Payload, Unsealed
from durable_agents.serialization._pickles import pickled, unpickled
from durable_agents.serialization._plain import (
    SCALARS,
    decode_plain,
    encode_plain,
    is_plain,
)
from durable_agents.serialization._sealing import SHARED, Sealing, problem_of
from durable_agents.serialization._tree_reader import TreeReader
from durable_agents.serialization._tree_writer import Refused, TreeWriter, type_name

__all__ = ["Codec", "What", "encode_error"]

What: TypeAlias = str | Callable[[], str]
"""A value's part for error messages (`"result of shop:charge"`), or a function that says it."""

_REMEDY = "Use plain data, a dataclass, a pydantic model or a msgspec struct instead."
_NOT_PLAIN = (OverflowError, UnicodeEncodeError)  # an int beyond 64 bits, a lone surrogate
_VALUE_FORMS = frozenset({"plain", "typed", "pickle"})

_write_tree = TreeWriter().tree
_read_tree = TreeReader().value
_read_data = DataReader().value


def encode_error(refused: Refused, what: What, remedy: str = _REMEDY) -> EncodeError:
    """The error that tells the caller which part of a value was refused, and why."""
    name = what if isinstance(what, str) else what()
    place = refused.place()
    if place:
        name = f"{name} at {place}"
    return EncodeError(name, refused.type_name, refused.problem, remedy)


class Codec(Sealing):
    """Turns values into payloads and back, exactly: type and value come back equal.

    A subclass that overrides `seal` and `unseal` can encrypt every value that goes to disk. It
    sets `shows_arguments` to False, since previews of arguments are text for people.

    Args:
        pickle: What happens to values that only a pickle can hold. `"allow"`: they are pickled.
            `"signed"`: the same, and only pickles signed with `secret` are read. `"refuse"`:
            they are neither written nor read.
        secret: Key of the HMAC that every payload then carries. A payload that does not carry
            it, or a wrong one, is not decoded.
        compress_above: Size in bytes above which a payload is compressed. None: never.
        share_above: Size in bytes, >= 64, above which a run keeps equal parts of its values
            once, and of a list that grows what is new. None: never.
        max_bytes: The largest size of an encoded value in bytes, before compression.

    Raises:
        ValueError: An argument is out of its range, or `"signed"` lacks a secret.
    """

    __slots__ = (
        "_bare_bytes",
        "_blobs",
        "_cut_above",
        "_hasher",
        "_max_bytes",
        "_pickle",
        "_share_above",
    )

    shows_arguments: ClassVar[bool] = True
    """Whether the journal shows the arguments of durable calls to people, shortened. They are
    not needed for a replay."""

    def __init__(
        self,
        *,
        pickle: Literal["allow", "signed", "refuse"] = "allow",
        secret: bytes | None = None,
        compress_above: int | None = 16_384,
        share_above: int | None = 2_048,
        max_bytes: int = 64 * 2**20,
    ) -> None:
        if pickle not in {"allow", "signed", "refuse"}:
            msg = f'pickle is {pickle!r}, expected "allow", "signed" or "refuse"'
            raise ValueError(msg)
        if secret == b"" or (pickle == "signed" and secret is None):
            msg = 'pickle="signed" needs a secret, and a secret must not be empty'
            raise ValueError(msg)
        if max_bytes < 1 or (compress_above is not None and compress_above < 0):
            found = f"{max_bytes}, {compress_above}"
            msg = f"expected max_bytes >= 1 and compress_above >= 0, got {found}"
            raise ValueError(msg)
        if share_above is not None and share_above < SMALLEST_SHARED:
            msg = f"share_above is {share_above}, expected at least {SMALLEST_SHARED}"
            raise ValueError(msg)
        super().__init__(secret, max_bytes if compress_above is None else compress_above)
        self._pickle = pickle
        self._max_bytes = max_bytes
        self._share_above = max_bytes if share_above is None else share_above
        # Nothing is shared before there is a run to share it in.
        self._cut_above = max_bytes
        self._blobs: Blobs | None = None
        self._hasher = Hasher(secret)
        # Up to this size a payload needs neither a check nor a layer.
        self._bare_bytes = min(max_bytes, self._compress_above) if self._is_bare else -1

    def for_run(self, blobs: Blobs) -> Self:
        """The same codec for one run: it reads what the run has shared, and may share more.

        From then on `encode` leaves large values to `shared`.

        Args:
            blobs: The run's. To read only: `Blobs(await store.blobs(number))`.
        """
        bound = self.__copy__()
        bound._blobs = blobs  # noqa: SLF001 - our own copy
        bound._cut_above = min(self._share_above, self._max_bytes)  # noqa: SLF001
        bound._bare_bytes = min(self._bare_bytes, bound._cut_above)  # noqa: SLF001
        return bound

    def __copy__(self) -> Self:
        # One for each run, so it has to be quicker than the general way.
        bound = object.__new__(type(self))
        bound._compress_above = self._compress_above
        bound._is_bare = self._is_bare
        bound._secret = self._secret
        bound._bare_bytes = self._bare_bytes
        bound._blobs = self._blobs
        bound._cut_above = self._cut_above
        bound._hasher = self._hasher
        bound._max_bytes = self._max_bytes
        bound._pickle = self._pickle
        bound._share_above = self._share_above
        if type(self) is Codec:
            return bound
        for name in _slots_beside_ours(type(self)):
            setattr(bound, name, getattr(self, name))
        if extra := getattr(self, "__dict__", None):  # a subclass's own
            bound.__dict__.update(extra)
        return bound

    def self_contained(self) -> Self:
        """The same codec, which shares nothing more: what it encodes can outlive the run."""
        free = copy(self)
        free._cut_above = self._max_bytes  # noqa: SLF001 - our own copy
        return free

    @property
    def trusts_pickles(self) -> bool:
        """Whether a pickle is read whoever wrote it."""
        return self._pickle == "allow" and self._secret is None

    def passes_through(self, value: Any) -> bool:
        """Whether a value is its own replay, so that it need not be decoded to equal it."""
        return type(value) in SCALARS

    def encode(self, value: Any, what: What) -> Payload:
        """The payload of a value; bound to a run, what goes on record for it is `shared` of it.

        Args:
            value: What to record.
            what: The value's part, for the error.

        Raises:
            EncodeError: The value, or a part of it, cannot come back as it is.
            PayloadTooLargeError: It takes more than `max_bytes`.
        """
        # Most results are scalars: one look-up, one encoding, one payload.
        if type(value) in SCALARS:
            try:
                data = encode_plain(value)
            except _NOT_PLAIN:
                return self._encode(value, what, may_pickle=False)
            if len(data) <= self._bare_bytes:
                return Payload("plain", data)
            return self._finished("plain", data, what)
        return self._encode(value, what, may_pickle=self._pickle != "refuse")

    def encode_data(self, value: Any, what: What) -> Payload:
        """The payload of a value that must be data: it is never a pickle.

        Args:
            value: What to record.
            what: The value's part, for the error.

        Raises:
            EncodeError: The value, or a part of it, is not data.
            PayloadTooLargeError: It takes more than `max_bytes`.
        """
        return self._encode(value, what, may_pickle=False)

    def decode(self, payload: Payload) -> Any:
        """The value of a payload, equal to what was encoded.

        Raises:
            DecodeError: The payload is damaged, forged or refused, or one of its classes is not
                loaded; the text says which.
        """
        if payload.encoding == "plain" and self._is_bare:
            try:
                return decode_plain(payload.data)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise DecodeError(payload.encoding, problem_of(error)) from error
        encoding, data = self._open(payload, self._max_bytes)
        form = encoding.removesuffix(SHARED)
        if form not in _VALUE_FORMS:
            problem = "its encoding is none of a value's. Was it written by a newer version?"
            raise DecodeError(payload.encoding, problem)
        if form == "pickle":
            self._check_pickle(payload.encoding)
        try:
            plain = data if encoding == "pickle" else self._plain(encoding, data)
            if form == "pickle":
                return unpickled(expect(plain, bytes))
            return _read_tree(plain) if form == "typed" else plain
        except Exception as error:  # a class of the author's may raise anything
            raise DecodeError(payload.encoding, problem_of(error)) from error

    def shared(self, payload: Payload) -> Payload:
        """A value's payload as its run records it: large parts are references to blobs.

        What the run did not have before is added to its blobs, and must become durable together
        with the payload at the latest. A small payload is returned as it is, and so is one of
        which nothing is to be shared.

        Raises:
            EncodeError: `seal` failed; what is in the blobs by now does no harm.
        """
        is_sealed = type(payload) is not Unsealed
        if is_sealed and len(payload.data) <= self._cut_above:
            return payload
        try:
            form, data = self._open(payload, self._max_bytes)
            if is_sealed and (form not in _VALUE_FORMS or len(data) <= self._cut_above):
                return payload
            tree = data if form == "pickle" else decode_plain(data)
        except (DecodeError, msgspec.MsgspecError, ValueError, RecursionError):
            return payload  # whoever reads it is told
        if self._blobs is None:
            return self._layered(form, data)
        sharer = Sharer(self._blobs, self._hasher, self._cut_above, self._layered)
        whole = encode_plain(data) if form == "pickle" else data
        return self._layered(form + SHARED, sharer.cut(tree, whole))

    def decode_data(self, payload: Payload) -> Any:
        """What a payload holds as data, whether or not its classes are loaded; for people.

        An instance comes back as a dict of its fields.

        Raises:
            DecodeError: The payload is damaged or forged, or it is a pickle.
        """
        encoding, data = self._open(payload, self._max_bytes)
        form = encoding.removesuffix(SHARED)
        if form not in {"plain", "typed"}:
            raise DecodeError(payload.encoding, "only its own code can tell what it holds")
        try:
            plain = self._plain(encoding, data)
            return _read_data(plain) if form == "typed" else plain
        except Exception as error:  # forged parts may raise anything
            raise DecodeError(payload.encoding, problem_of(error)) from error

    def encode_failure(self, error: BaseException, what: What) -> Payload:
        """The payload of an exception; what it holds and cannot be recorded becomes a note.

        Args:
            error: What a call raised.
            what: The call's part, for the error.

        Raises:
            PayloadTooLargeError: Even without its attributes it takes more than `max_bytes`.
        """
        writer = FailureWriter(None if self._pickle == "refuse" else pickled)
        data = writer.write(error)
        if len(data) > self._max_bytes:
            writer = FailureWriter(None, is_lean=True)
            data = writer.write(error)
        self._check_size(data, what)
        return self._layered("failure-pickle" if writer.has_pickles else "failure", data)

    def decode_failure(self, payload: Payload) -> BaseException:
        """The exception of a payload, made without its constructor.

        A `CallFailedError` stands in for one whose class is not loaded or cannot be made so.

        Raises:
            DecodeError: The payload is damaged or forged.
        """
        form, data = self._open(payload, self._max_bytes)
        if form not in {"failure", "failure-pickle"}:
            raise DecodeError(payload.encoding, "its encoding is none of an exception's")
        may_unpickle = form == "failure-pickle" and self._pickle != "refuse"
        try:
            return read_failure(data, unpickled if may_unpickle else None)
        except Exception as error:  # forged parts may raise anything
            raise DecodeError(payload.encoding, problem_of(error)) from error

    def _encode(self, value: Any, what: What, *, may_pickle: bool) -> Payload:
        try:
            form, data = _encoded(value, may_pickle=may_pickle)
        except Refused as refused:
            raise encode_error(refused, what) from refused.__cause__
        except RecursionError as error:
            problem = "it nests deeper than what is left of the stack"
            raise encode_error(Refused(type_name(value), problem), what) from error
        return self._finished(form, data, what)

    def _finished(self, form: str, data: bytes, what: What) -> Payload:
        self._check_size(data, what)
        if len(data) > self._cut_above:
            return Unsealed(form, data)
        return self._layered(form, data)

    def _check_size(self, data: bytes, what: What) -> None:
        if len(data) > self._max_bytes:
            name = what if isinstance(what, str) else what()
            raise PayloadTooLargeError(name, len(data), self._max_bytes)

    def _plain(self, encoding: str, data: bytes) -> Any:
        """What a value's encoding stands for, put together where it was shared.

        Raises:
            Exception: Of whatever class; the text says why.
        """
        if not encoding.endswith(SHARED):
            return decode_plain(data)
        if self._blobs is None:
            msg = "parts of it are blobs of its run: read it by a codec for that run"
            raise LookupError(msg)
        return Joiner(self._blobs, self._hasher, self._open_blob, 2 * self._max_bytes).tree(
            data
        )

    def _open_blob(self, payload: Payload) -> tuple[str, bytes]:
        # A chain keeps a little more than its steps.
        return self._open(payload, 2 * self._max_bytes)

    def _check_pickle(self, encoding: str) -> None:
        if self._pickle == "refuse":
            raise DecodeError(
                encoding, 'it is a pickle, and the codec was given pickle="refuse"'
            )


def _encoded(value: Any, *, may_pickle: bool) -> tuple[str, bytes]:
    if is_plain(value):
        try:
            return "plain", encode_plain(value)
        except _NOT_PLAIN:
            pass
    try:
        return "typed", encode_plain(_write_tree(value))
    except Refused as refused:
        if refused.is_final or not may_pickle:
            raise
    return "pickle", pickled(value)


_SLOTS: dict[type[Any], tuple[str, ...]] = {}


def _slots_beside_ours(cls: type[Any]) -> tuple[str, ...]:
    """Slots that a subclass has added."""
    slots = _SLOTS.get(cls)
    if slots is None:
        added = [c for c in cls.__mro__ if c not in Codec.__mro__]
        names = chain.from_iterable(c.__dict__.get("__slots__", ()) for c in added)
        slots = tuple(name for name in names if name not in {"__dict__", "__weakref__"})
        _SLOTS[cls] = slots
    return slots
