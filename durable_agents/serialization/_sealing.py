"""What lies around encoded data: compression, then a seal that a subclass may replace."""

import hmac
import zlib

from durable_agents.errors import DecodeError, EncodeError, SerializationError
from durable_agents.serialization._payload import Payload, Unsealed

__all__ = ["SHARED", "Sealing", "problem_of"]

SHARED = "+shared"
"""Behind the form of a value of which parts are blobs; the innermost layer."""

_MAC_BYTES = 32
_FASTEST = 1  # the event loop waits while a payload is compressed
_SAMPLED_ABOVE, _SAMPLE_BYTES = 2**16, 2**12
_LAYERS: frozenset[tuple[str, ...]] = frozenset({
    (),
    ("zlib",),
    ("shared",),
    ("shared", "zlib"),
})


class Sealing:
    """Puts layers around data, and takes them off again once they were checked.

    Args:
        secret: Key of the HMAC; None: there is none.
        compress_above: Size in bytes above which data is compressed.
    """

    __slots__ = ("_compress_above", "_is_bare", "_secret")

    def __init__(self, secret: bytes | None, compress_above: int) -> None:
        self._secret = secret
        self._compress_above = compress_above
        cls = type(self)
        # Whether small data goes to disk as it is.
        self._is_bare = (
            secret is None and cls.seal is Sealing.seal and cls.unseal is Sealing.unseal
        )

    def seal(self, encoding: str, data: bytes) -> tuple[str, bytes]:
        """Put the outermost layer around what goes to disk: by default the HMAC, if any.

        Called for every payload and every blob. A subclass that encrypts calls this on what it
        made: `return super().seal(f"{encoding}+mine", encrypted)`. Its layer's name may not be
        one of ours. It may raise; then nothing is recorded.

        Args:
            encoding: Form and layers so far; to be authenticated, since it says how to read.
            data: What it stands for.

        Returns:
            The encoding with the layer's name at its end, and the data within the layer.
        """
        if self._secret is None:
            return encoding, data
        return f"{encoding}+hmac", _mac(self._secret, encoding, data) + data

    def unseal(self, encoding: str, data: bytes) -> tuple[str, bytes]:
        """Undo `seal`; whatever it raises becomes a `DecodeError`.

        A subclass calls this first, and refuses an encoding without its own layer: it was not
        written by it.
        """
        if self._secret is None and not encoding.endswith("+hmac"):
            return encoding, data
        return self._verified(encoding, data)

    def _layered(self, form: str, data: bytes) -> Payload:
        if len(data) > self._compress_above and _may_shrink(data):
            compressed = zlib.compress(data, _FASTEST)
            if len(compressed) < len(data):
                form, data = f"{form}+zlib", compressed
        if self._is_bare:
            return Payload(form, data)
        try:
            return Payload(*self.seal(form, data))
        except SerializationError:
            raise
        except Exception as error:  # a subclass may raise anything
            problem = f"the codec cannot seal it: {problem_of(error)}"
            what, remedy = "a value", "Nothing was recorded."
            raise EncodeError(what, form, problem, remedy) from error

    def _open(self, payload: Payload, max_bytes: int) -> tuple[str, bytes]:
        """A payload's form, shared or not, and its data, without the other layers."""
        if type(payload) is Unsealed:
            return payload.encoding, payload.data
        try:
            encoding, data = self.unseal(payload.encoding, payload.data)
        except DecodeError:
            raise
        except Exception as error:  # a subclass may raise anything
            raise DecodeError(payload.encoding, problem_of(error)) from error
        form, *layers = encoding.split("+")
        if tuple(layers) not in _LAYERS:
            problem = "it is wrapped in a way that this version does not know"
            raise DecodeError(payload.encoding, problem)
        if "zlib" in layers:
            data = self._decompressed(payload.encoding, data, max_bytes)
        return form + SHARED if "shared" in layers else form, data

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

    def _decompressed(self, encoding: str, data: bytes, max_bytes: int) -> bytes:
        stream = zlib.decompressobj()
        try:
            # Bounded, so that a small payload cannot fill the memory.
            whole = stream.decompress(data, max_bytes)
            rest = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
        except zlib.error as error:
            raise DecodeError(encoding, problem_of(error)) from error
        if rest or not stream.eof or stream.unused_data:
            problem = f"it is damaged, or unpacks to more than {max_bytes:,} bytes"
            raise DecodeError(encoding, problem)
        return whole


def _may_shrink(data: bytes) -> bool:
    """Whether compression is worth a try: images, archives and encrypted data never shrink.

    A megabyte of those would hold the loop up for tens of milliseconds, so samples decide.
    """
    if len(data) <= _SAMPLED_ABOVE:
        return True
    middle = len(data) // 2
    sample = b"".join((
        data[:_SAMPLE_BYTES],
        data[middle : middle + _SAMPLE_BYTES],
        data[-_SAMPLE_BYTES:],
    ))
    return len(zlib.compress(sample, _FASTEST)) < len(sample)


def _mac(secret: bytes, encoding: str, data: bytes) -> bytes:
    return hmac.digest(secret, encoding.encode(errors="replace") + b"\0" + data, "sha256")


def problem_of(error: Exception) -> str:
    """What a foreign error says, and its class."""
    return f"{error} ({type(error).__name__})"
