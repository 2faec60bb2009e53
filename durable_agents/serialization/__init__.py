"""Values as bytes: payloads, digests of arguments, exceptions as records."""

from durable_agents.serialization._blobs import Blobs
from durable_agents.serialization._codec import Codec, What
from durable_agents.serialization._digest import canonical_bytes, scalar_bytes
from durable_agents.serialization._exceptions import recorded_traceback
from durable_agents.serialization._payload import Payload, Unsealed
from durable_agents.serialization._plain import SCALARS, is_plain

__all__ = [
    "SCALARS",
    "Blobs",
    "Codec",
    "Payload",
    "Unsealed",
    "What",
    "canonical_bytes",
    "is_plain",
    "recorded_traceback",
    "scalar_bytes",
]
