"""No bytes whatever make a decoder do anything but decode them or refuse them."""

import random
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proof.decoders import Decoder, decoders
from tests.proof.fuzz import FuzzReport, Watch, fuzz, mutated

DECODERS = decoders()
EACH = pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_each_decoder_reads_what_was_encoded() -> None:
    """A decoder that refuses everything would pass all the others."""
    read: set[str] = set()
    for decoder in DECODERS:
        for seed in decoder.seeds:
            with suppress(*decoder.allowed):
                decoder.read(seed)
                read.add(decoder.name)

    assert {decoder.name for decoder in DECODERS} == read


@EACH
@QUICK
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_decoded_or_refused(decoder: Decoder, data: bytes) -> None:
    """With an error that the decoder declares."""
    assert decoder.breach(data) is None


@EACH
@QUICK
@given(seed=st.integers(0, 2**32))
def test_mutated_encodings_are_decoded_or_refused(decoder: Decoder, seed: int) -> None:
    """They come further than arbitrary bytes."""
    data = mutated(decoder.seeds, random.Random(seed))  # noqa: S311 - not a secret

    assert decoder.breach(data) is None


@pytest.mark.slow
def test_fuzzing_finds_nothing_wrong() -> None:
    """The quick form of the program."""
    report = fuzz(seconds=30, most_cases=5_000, watch=WATCH)

    assert [] == report.breaches


WATCH = Watch()


def _refuse(data: bytes) -> object:
    raise KeyError(data)


@pytest.mark.parametrize(
    ("decoder", "problem"),
    [
        (Decoder("raises", _refuse, [b"a"]), "KeyError"),
        (Decoder("gives nothing", lambda _: None, [b"a"]), "None in place"),
        (Decoder("takes all", lambda data: data, [b"a"], seal="hmac"), "nobody has sealed"),
        (
            Decoder("has no checksum", lambda data: data, [b"a"], seal="checksum"),
            "nobody has sealed",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Decoder) else "",
)
def test_a_decoder_that_is_wrong_is_found_out(decoder: Decoder, problem: str) -> None:
    """Or finding nothing would mean nothing."""
    breach = decoder.breach(b"b")

    assert breach is not None
    assert problem in breach


def test_code_that_runs_is_noticed() -> None:
    """The audit hook sees what the interpreter does."""
    with WATCH.watching():
        exec("0")  # noqa: S102 - to be noticed

    assert any(event.startswith(("exec", "compile")) for event in WATCH.seen)


def test_a_report_tells_the_cases_of_each_decoder() -> None:
    """And in total."""
    report = FuzzReport("plain")
    report.cases.update(row=3, blob=4)

    assert "cases                                        7" in str(report)
