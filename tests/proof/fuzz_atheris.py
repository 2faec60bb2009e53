"""One decoder under atheris, which instruments the package and looks for new ways through it.

python -m tests.proof.fuzz_atheris NUMBER SECONDS RESULT CORPUS [options of libFuzzer]
"""

import os
import sys
import time
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # not installed everywhere
import msgspec

with atheris.instrument_imports(include=["durable_agents"]):
    from tests.proof.decoders import decoders
    from tests.proof.fuzz import Watch, tried


def main(number: int, seconds: float, result: Path, arguments: list[str]) -> None:
    """Try the decoder with this number, and leave how often, and what was found.

    Args:
        number: Of the decoder, from 0.
        seconds: For how long.
        result: File for the cases and the violations.
        arguments: Those of libFuzzer.
    """
    decoder = decoders()[number]
    watch = Watch()
    end = time.monotonic() + seconds
    cases = 0
    breaches: list[str] = []

    def once(data: bytes) -> None:
        nonlocal cases
        cases += 1
        if (breach := tried(decoder, data, watch, forges=True)) is not None:
            breaches.append(breach)
        if time.monotonic() > end:
            result.write_bytes(msgspec.json.encode([cases, breaches[:10]]))
            os._exit(0)  # libFuzzer's own end runs no code of Python's, and may hang

    atheris.Setup([sys.argv[0], *arguments], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
