"""Give every decoder bytes that nobody of ours wrote, and see it refuse them properly.

    python -m tests.proof.fuzz --seconds 60

The bytes come from valid encodings, mutated: by atheris where it is installed, which looks for
bytes that take new ways through the code (and forges checksums by watching them be compared),
else by a plain mutator, seeded. Whatever they are, a
decoder gives a value or one of the errors that it declares: never another exception, never None
in place of a value, within bounds of time, and without importing, compiling or unpickling
anything. What is sealed is refused unless it is what was sealed.

With atheris installed, `--plain` uses the plain mutator all the same.
"""

import argparse
import faulthandler
import importlib.util
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tests.crash.verdict import Verdict, conclude, figures
from tests.proof.decoders import Decoder, decoders

__all__ = ["FuzzReport", "Watch", "fuzz", "mutated"]

_LONGEST = 2.0
"""Seconds that a decoder may take for a few kilobytes."""
_MOST_BYTES = 16_384
_EXAMPLES = 3
_HANGS = 60
_ATHERIS = "tests.proof.fuzz_atheris"
_WATCHED = {
    "import",
    "exec",
    "compile",
    "pickle.find_class",
    "open",
    "os.system",
    "subprocess.Popen",
    "socket.connect",
}


class Watch:
    """Knows what the interpreter did while something was decoded.

    An audit hook stays for as long as the process; there is one for all.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._is_on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._is_on and event in _WATCHED:
            self.seen.append(f"{event}{arguments[:1]!r}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While inside, everything is noted that plain data must not bring about."""
        self.seen.clear()
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False


@dataclass(slots=True)
class FuzzReport:
    """What was tried, and what came of it."""

    mutator: str
    cases: Counter[str] = field(default_factory=Counter)
    """By decoder."""
    breaches: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        return figures({
            **self.cases,
            "cases": f"{self.cases.total():,}",
            "violations": len(self.breaches),
            "mutator": self.mutator,
            "seconds": f"{self.seconds:.1f}",
        })


def tried(decoder: Decoder, data: bytes, watch: Watch, *, forges: bool = False) -> str | None:
    """What is wrong with how a decoder takes some bytes; None: nothing. See `Decoder`."""
    started = time.monotonic()
    with watch.watching():
        breach = decoder.breach(data, forges=forges)
    if breach is None and decoder.is_plain and watch.seen:
        breach = f"it brought about {watch.seen}"
    if breach is None and (took := time.monotonic() - started) > _LONGEST:
        breach = f"it took {took:.1f} s"
    return None if breach is None else f"{decoder.name}: {data[:200]!r}: {breach}"


def _flip(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at] ^= 1 << chance.randrange(8)


def _set(data: bytearray, chance: random.Random) -> None:
    # Markers of MessagePack, JSON's own, and the ends of what a byte can be.
    marks = b'\x00\x01\x7f\x80\x90\xa0\xc0\xc1\xc7\xd4\xd9\xdc\xdd\xde\xdf\xff{}[]",:0\\'
    data[chance.randrange(len(data))] = chance.choice(marks)


def _cut(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + 1 + chance.randrange(8)]


def _insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(1 + chance.randrange(8))


def _repeat(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    part = data[at : at + 1 + chance.randrange(16)]
    data[at:at] = part * chance.choice([1, 2, 16, 2_000])


def _truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _nest(data: bytearray, chance: random.Random) -> None:
    opening = chance.choice([b"\x91", b"[", b'{"a":', b"\x81\xa1a", b"\x81\x01"])
    at = chance.randrange(len(data))
    data[at:at] = opening * chance.choice([3, 100, 3_000])


_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _flip,
    _set,
    _set,
    _cut,
    _insert,
    _repeat,
    _truncate,
    _nest,
)


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Bytes made of one or two valid encodings; now and then, of nothing."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(64))
    data = bytearray(chance.choice(seeds))
    if chance.random() < 0.1:
        other = chance.choice(seeds)
        data[chance.randrange(len(data) + 1) :] = other[chance.randrange(len(other) + 1) :]
    for _ in range(1 + chance.randrange(4)):
        if data:
            chance.choice(_MUTATIONS)(data, chance)
    return bytes(data[:_MOST_BYTES])


def fuzz(
    *, seconds: float, seed: int = 0, most_cases: int | None = None, watch: Watch | None = None
) -> FuzzReport:
    """Try all decoders in turn with bytes of the plain mutator.

    Args:
        seconds: For how long.
        seed: Of the mutations.
        most_cases: Ends earlier, after so many. None: it does not.
        watch: Default: a new one, which stays for as long as the process.
    """
    started = time.monotonic()
    report = FuzzReport("plain")
    watch = watch or Watch()
    chance = random.Random(seed)  # noqa: S311 - not a secret
    found: Counter[str] = Counter()
    ways = decoders()
    for decoder in ways:
        report.breaches += filter(None, (tried(decoder, s, watch) for s in decoder.seeds))
    while time.monotonic() - started < seconds:
        for decoder in ways:
            breach = tried(decoder, mutated(decoder.seeds, chance), watch)
            report.cases[decoder.name] += 1
            if breach is not None and found[decoder.name] < _EXAMPLES:
                found[decoder.name] += 1
                report.breaches.append(breach)
        if most_cases is not None and report.cases.total() >= most_cases:
            break
    report.seconds = time.monotonic() - started
    return report


def fuzz_with_atheris(*, seconds: float, seed: int) -> FuzzReport:
    """Have atheris try each decoder in a process of its own, for its share of the time."""
    started = time.monotonic()
    report = FuzzReport("atheris")
    ways = decoders()
    for number, decoder in enumerate(ways):
        with TemporaryDirectory() as folder:
            said = _one_with_atheris(Path(folder), number, decoder, (seconds / len(ways), seed))
        cases, breaches = said
        report.cases[decoder.name] += cases
        report.breaches += breaches[:_EXAMPLES]
    report.seconds = time.monotonic() - started
    return report


def _one_with_atheris(
    folder: Path, number: int, decoder: Decoder, limits: tuple[float, int]
) -> tuple[int, list[str]]:
    """Cases and violations of one decoder; `limits` are the seconds and the seed."""
    seconds, seed = limits
    corpus, result = folder / "corpus", folder / "result.json"
    corpus.mkdir()
    for index, data in enumerate(decoder.seeds):
        (corpus / str(index)).write_bytes(data)
    arguments = [str(number), str(seconds), str(result), str(corpus)]
    command = [sys.executable, "-m", _ATHERIS, *arguments, f"-seed={seed + 1}", "-max_len=4096"]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, timeout=seconds + _HANGS, check=False
        )
    except subprocess.TimeoutExpired:
        return 0, [f"{decoder.name}: it hangs"]
    if not result.exists():
        return 0, [f"{decoder.name}: {done.stderr[-2000:]!r}"]
    return msgspec.json.decode(result.read_bytes(), type=tuple[int, list[str]])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="not with atheris")
    options = parser.parse_args(arguments)
    faulthandler.dump_traceback_later(options.seconds * 2 + _HANGS, exit=True)
    if options.plain or importlib.util.find_spec("atheris") is None:
        report = fuzz(seconds=options.seconds, seed=options.seed)
    else:
        report = fuzz_with_atheris(seconds=options.seconds, seed=options.seed)
    faulthandler.cancel_dump_traceback_later()
    verdict = Verdict(
        layer=f"fuzzed decoders ({report.mutator})",
        claims=("C2", "C3"),
        tried=f"{report.cases.total():,} cases, {len(report.cases)} decoders",
        violations=len(report.breaches),
        seconds=report.seconds,
    )
    return conclude(report, report.breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
