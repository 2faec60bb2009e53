"""Values to payloads and back.

A payload's encoding names its form, then the layers around it, from the inside out:

    plain            MessagePack of plain data
    typed            MessagePack of a tree (`_nodes.py`): data with its types
    pickle           cloudpickle; reading it runs code
    failure          an exception (`_failure.py`)
    failure-pickle   one of which some parts are pickles
    ...+zlib         compressed
    ...+hmac         after an HMAC-SHA256 over the encoding and the data

Rule 1: nothing of a payload is decoded before its layers were checked. Rule 2: no payload makes
`decode` raise anything but `DecodeError`.
"""

# ruff: noqa: ANN401 - the border where values are of any type

import hmac
import zlib
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from durable_agents.errors import DecodeError, EncodeError, PayloadTooLargeError
from durable_agents.serialization._data_reader import DataReader
from durable_agents.serialization._failure import FailureWriter, read_failure
from durable_agents.serialization._payload import Payload
from durable_agents.serialization._pickles import pickled, unpickled
from durable_agents.serialization._plain import SCALARS, decode_plain, encode_plain, is_plain
from durable_agents.serialization._tree_reader import TreeReader
from durable_agents.serialization._tree_writer import Refused, TreeWriter, type_name

__all__ = ["Codec", "What", "encode_error"]

What: TypeAlias = str | Callable[[], str]
"""A value's part for error messages (`"result of shop:charge"`), or a function that says it."""

_REMEDY = "Use plain data, a dataclass, a pydantic model or a msgspec struct instead."
_NOT_PLAIN = (OverflowError, UnicodeEncodeError)  # an int beyond 64 bits, a lone surrogate
_MAC_BYTES = 32
_FASTEST = 1  # the event loop waits while a payload is compressed

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


class Codec:
    """Turns values into payloads and back, exactly: type and value come back equal.

    Args:
        pickle: What happens to values that only a pickle can hold. `"allow"`: they are pickled.
            `"signed"`: the same, and only pickles signed with `secret` are read. `"refuse"`:
            they are neither written nor read.
        secret: Key of the HMAC that every payload then carries. A payload that does not carry
            it, or a wrong one, is not decoded.
        compress_above: Size in bytes above which a payload is compressed. None: never.
        max_bytes: The largest size of an encoded value in bytes, before compression.

    Raises:
        ValueError: An argument is out of its range, or `"signed"` lacks a secret.
    """

    __slots__ = ("_bare_bytes", "_compress_above", "_max_bytes", "_pickle", "_secret")

    def __init__(
        self,
        *,
        pickle: Literal["allow", "signed", "refuse"] = "allow",
        secret: bytes | None = None,
        compress_above: int | None = 16_384,
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
        self._pickle = pickle
        self._secret = secret
        self._max_bytes = max_bytes
        self._compress_above = max_bytes if compress_above is None else compress_above
        # Up to this size a payload needs neither a check nor a layer.
        self._bare_bytes = -1 if secret else min(max_bytes, self._compress_above)

    def passes_through(self, value: Any) -> bool:
        """Whether a value is its own replay, so that it need not be decoded to equal it."""
        return type(value) in SCALARS

    def encode(self, value: Any, what: What) -> Payload:
        """The payload of a value.

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
            return self._seal("plain", data, what)
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
        if payload.encoding == "plain" and self._secret is None:
            try:
                return decode_plain(payload.data)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise DecodeError(payload.encoding, _problem(error)) from error
        form, data = self._open(payload)
        if form == "pickle":
            self._check_pickle(payload.encoding)
        elif form not in {"plain", "typed"}:
            problem = "its encoding is none of a value's. Was it written by a newer version?"
            raise DecodeError(payload.encoding, problem)
        try:
            if form == "pickle":
                return unpickled(data)
            plain = decode_plain(data)
            return _read_tree(plain) if form == "typed" else plain
        except Exception as error:  # a class of the author's may raise anything
            raise DecodeError(payload.encoding, _problem(error)) from error

    def decode_data(self, payload: Payload) -> Any:
        """What a payload holds as data, whether or not its classes are loaded; for people.

        An instance comes back as a dict of its fields.

        Raises:
            DecodeError: The payload is damaged or forged, or it is a pickle.
        """
        form, data = self._open(payload)
        if form not in {"plain", "typed"}:
            raise DecodeError(payload.encoding, "only its own code can tell what it holds")
        try:
            plain = decode_plain(data)
            return _read_data(plain) if form == "typed" else plain
        except Exception as error:  # forged parts may raise anything
            raise DecodeError(payload.encoding, _problem(error)) from error

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
        return self._seal("failure-pickle" if writer.has_pickles else "failure", data, what)

    def decode_failure(self, payload: Payload) -> BaseException:
        """The exception of a payload, made without its constructor.

        A `CallFailedError` stands in for one whose class is not loaded or cannot be made so.

        Raises:
            DecodeError: The payload is damaged or forged.
        """
        form, data = self._open(payload)
        if form not in {"failure", "failure-pickle"}:
            raise DecodeError(payload.encoding, "its encoding is none of an exception's")
        may_unpickle = form == "failure-pickle" and self._pickle != "refuse"
        try:
            return read_failure(data, unpickled if may_unpickle else None)
        except Exception as error:  # forged parts may raise anything
            raise DecodeError(payload.encoding, _problem(error)) from error

    def _encode(self, value: Any, what: What, *, may_pickle: bool) -> Payload:
        try:
            form, data = _encoded(value, may_pickle=may_pickle)
        except Refused as refused:
            raise encode_error(refused, what) from refused.__cause__
        except RecursionError as error:
            problem = "it nests deeper than what is left of the stack"
            raise encode_error(Refused(type_name(value), problem), what) from error
        return self._seal(form, data, what)

    def _seal(self, form: str, data: bytes, what: What) -> Payload:
        size = len(data)
        if size > self._max_bytes:
            name = what if isinstance(what, str) else what()
            raise PayloadTooLargeError(name, size, self._max_bytes)
        if size > self._compress_above:
            compressed = zlib.compress(data, _FASTEST)
            if len(compressed) < size:
                form, data = f"{form}+zlib", compressed
        if self._secret is None:
            return Payload(form, data)
        return Payload(f"{form}+hmac", _mac(self._secret, form, data) + data)

    def _open(self, payload: Payload) -> tuple[str, bytes]:
        encoding, data = payload.encoding, payload.data
        if encoding.endswith("+hmac") or self._secret is not None:
            encoding, data = self._verified(encoding, data)
        form, *layers = encoding.split("+")
        if layers == ["zlib"]:
            data = self._decompressed(payload.encoding, data)
        elif layers:
            problem = "it is wrapped in a way that this version does not know"
            raise DecodeError(payload.encoding, problem)
        return form, data

    def _verified(self, encoding: str, signed: bytes) -> tuple[str, bytes]:
        if self._secret is None:
            problem = "it is signed: give the codec the secret it was written with"
            raise DecodeError(encoding, problem)
        inner, _, layer = encoding.rpartition("+")
        mac, data = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if layer != "hmac" or not hmac.compare_digest(mac, _mac(self._secret, inner, data)):
            problem = (
                "it is not signed with this codec's secret: it was forged, or written without"
            )
            raise DecodeError(encoding, problem)
        return inner, data

    def _decompressed(self, encoding: str, data: bytes) -> bytes:
        stream = zlib.decompressobj()
        try:
            # Bounded, so that a small payload cannot fill the memory.
            whole = stream.decompress(data, self._max_bytes)
            rest = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
        except zlib.error as error:
            raise DecodeError(encoding, _problem(error)) from error
        if rest or not stream.eof or stream.unused_data:
            problem = f"it is damaged, or unpacks to more than {self._max_bytes:,} bytes"
            raise DecodeError(encoding, problem)
        return whole

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


def _mac(secret: bytes, encoding: str, data: bytes) -> bytes:
    return hmac.digest(secret, encoding.encode(errors="replace") + b"\0" + data, "sha256")


def _problem(error: Exception) -> str:
    return f"{error} ({type(error).__name__})"
