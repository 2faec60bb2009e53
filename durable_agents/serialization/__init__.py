"""Values as bytes: payloads, digests of arguments, exceptions as records."""

from durable_agents.serialization._payload import Payload

__all__ = ["Payload"]
