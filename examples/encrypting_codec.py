"""Encrypting codec: nothing of what an agent sees or says lies readable in the store.

A codec may seal everything that goes to disk: results, events, memory, outputs, and the blobs
that hold large values. This one encrypts with AES-GCM from the package `cryptography`, each
time under a new nonce. The secret that it hands to `Codec` adds an HMAC, and keeps the names of
blobs from telling whether a guess at their content is right. Names of functions and memory
paths, keys and ids stay readable.

The first worker stops in the middle of a conversation; a second one with the key reads on.

Run it:

    python examples/encrypting_codec.py

What you will see:

    asking the model: 1 messages
    asking the model: 2 messages
    the first worker stops
    plaintext in the store: none
    asking the model: 3 messages
    the answer has 4 messages, the first of them is 'My diagnosis is confidential.'
"""

import asyncio
import os
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from durable_agents import Agent, Codec, InputEvent, RunnerContext, SqliteStore, Worker

LAYER = "+aesgcm"
NONCE_BYTES = 12


class EncryptingCodec(Codec):
    """Encrypts whatever goes to disk, and refuses what it did not encrypt itself."""

    shows_arguments = False

    def __init__(self, key: bytes) -> None:
        super().__init__(secret=sha256(b"integrity" + key).digest())
        self._cipher = AESGCM(sha256(b"privacy" + key).digest())

    def seal(self, encoding: str, data: bytes) -> tuple[str, bytes]:
        """Encrypt; the encoding says how to read the data, so it is authenticated, too."""
        nonce = os.urandom(NONCE_BYTES)
        encrypted = nonce + self._cipher.encrypt(nonce, data, encoding.encode())
        return super().seal(encoding + LAYER, encrypted)

    def unseal(self, encoding: str, data: bytes) -> tuple[str, bytes]:
        """Decrypt; an error of any class becomes a `DecodeError`."""
        encoding, data = super().unseal(encoding, data)
        if not encoding.endswith(LAYER):
            msg = "it is not encrypted: somebody else wrote it"
            raise ValueError(msg)
        inner = encoding.removesuffix(LAYER)
        nonce, encrypted = data[:NONCE_BYTES], data[NONCE_BYTES:]
        return inner, self._cipher.decrypt(nonce, encrypted, inner.encode())


agent = Agent("doctor", input=str)
confidential = "My diagnosis is confidential."
secrets = [confidential, "I keep it to myself. "]
doctor_is_in = asyncio.Event()
asked = asyncio.Event()


async def ask_model(history: list[str]) -> list[str]:
    """Imagine a model that answers at length."""
    print(f"asking the model: {len(history)} messages")
    return [*history, secrets[1] * 100]


@agent.action(InputEvent)
async def consult(event: InputEvent[str], ctx: RunnerContext) -> None:
    """A conversation that goes through call after call."""
    history = [event.input]
    for turn in range(3):
        history = await ctx.durable(ask_model, history)
        if turn == 1:
            asked.set()
            await doctor_is_in.wait()
    ctx.output(history)


def readable_in(folder: Path) -> list[str]:
    """Which of the secrets anybody finds who has the files."""
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    return [text for text in secrets if text.encode() in content]


async def main(folder: Path) -> None:
    """Two workers over one store."""
    store, codec = SqliteStore(folder / "doctor.db"), EncryptingCodec(b"our key")
    async with Worker(agent, store=store, codec=codec) as worker:
        await worker.submit(confidential, id="visit")
        await asked.wait()
    print("the first worker stops")
    print(f"plaintext in the store: {readable_in(folder) or 'none'}")

    doctor_is_in.set()
    async with Worker(agent, store=store, codec=codec) as worker:
        (history,) = await (await worker.submit(confidential, id="visit")).result()
        print(f"the answer has {len(history)} messages, the first of them is {history[0]!r}")


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        asyncio.run(main(Path(scratch)))
