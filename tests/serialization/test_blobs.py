"""Large values by content: cut, kept once, put together again; and damaged or forged ones."""

# ruff: noqa: ANN401 - values of any type

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_agents.errors import DecodeError, EncodeError
from durable_agents.serialization import Blobs, Codec, Payload, Unsealed

SECRET = b"a secret"
SMALL = 64
LONG = "x" * 5_000


class Journal:
    """What a run has on record: what its codec made, and the blobs that went with it."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.blobs: dict[bytes, Payload] = {}
        self.payload_bytes = 0
        self.active = Blobs()
        self.bound = codec.for_run(self.active)

    def write(self, value: Any) -> Payload:
        """Put a value on record; the process that writes it decodes what it has in hand."""
        encoded = self.bound.encode(value, "value")
        recorded = self.bound.shared(encoded)
        assert same(value, self.bound.decode(encoded))
        self.blobs.update(self.active.take_new())
        self.payload_bytes += len(recorded.data)
        return recorded

    def read(self, payload: Payload) -> Any:
        """The value, as a process reads it that knows nothing but the record."""
        return self.codec.for_run(Blobs(self.blobs)).decode(payload)

    def restart(self) -> None:
        """Go on as a process does that has nothing but the record."""
        self.active = Blobs(self.blobs)
        self.bound = self.codec.for_run(self.active)

    @property
    def size(self) -> int:
        """Bytes of all that was written."""
        blobs = sum(len(name) + len(blob.data) for name, blob in self.blobs.items())
        return self.payload_bytes + blobs


def same(left: Any, right: Any) -> bool:
    """Equal, types included; NaN as NaN."""
    return repr(left) == repr(right)


def messages(count: int, characters: int = 300) -> list[dict[str, Any]]:
    """A conversation, each message unlike the others."""
    return [
        {"role": "user", "content": f"{number} " + "abc" * (characters // 3), "turn": number}
        for number in range(count)
    ]


@dataclass
class State:
    """What an agent may carry from call to call."""

    history: list[Any]
    notes: dict[str, Any]


TEXT = st.text(max_size=8) | st.integers(0, 5_000).map(lambda size: "t" * size)
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=200)
VALUE: st.SearchStrategy[Any] = st.recursive(
    LEAF,
    lambda part: (
        st.lists(part, max_size=8)
        | st.dictionaries(st.text(max_size=3), part, max_size=6)
        | st.lists(part, max_size=4).map(tuple)
        | st.dictionaries(st.integers(), part, max_size=3)
        | st.builds(State, st.lists(part, max_size=4), st.just({}))
    ),
    max_leaves=30,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(VALUE, min_size=1, max_size=4),
    above=st.sampled_from([64, 300, 2_048]),
    secret=st.sampled_from([None, SECRET]),
    restarts=st.booleans(),
)
def test_any_values_of_a_run_come_back_equal(
    values: list[Any], above: int, secret: bytes | None, restarts: bool
) -> None:
    """Whatever of them is large, shared, or was there before."""
    journal = Journal(Codec(share_above=above, secret=secret, compress_above=200))

    recorded = []
    for value in values:
        recorded.append(journal.write(value))
        if restarts:
            journal.restart()

    for value, payload in zip(values, recorded, strict=True):
        assert same(value, journal.read(payload))


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    pieces=st.lists(st.lists(VALUE, min_size=1, max_size=4), min_size=1, max_size=12),
    restarts=st.booleans(),
)
def test_a_growing_list_costs_what_is_new(pieces: list[list[Any]], restarts: bool) -> None:
    """And not more than 1,000 bytes for each state beside it, whatever came before."""
    journal = Journal(Codec(share_above=SMALL, compress_above=None))
    whole: list[Any] = []

    for piece in pieces:
        before = journal.size
        whole += piece
        recorded = journal.write(whole)
        if restarts:
            journal.restart()
            journal.read(recorded)
        alone = Journal(journal.codec)
        alone.write(piece)
        growth = journal.size - before
        # A short last step is stored again, and each part may lie beside the others.
        assert growth <= 2 * alone.size + 1_000

    assert same(whole, journal.read(recorded))


@pytest.mark.parametrize("restarts", [False, True])
def test_a_conversation_costs_about_its_own_size(restarts: bool) -> None:
    """However often the whole of it goes on record."""
    journal = Journal(Codec())
    whole = messages(100)
    own = len(msgspec.msgpack.encode(whole))

    recorded = []
    for turn in range(2, 101, 2):
        recorded.append(journal.write(whole[:turn]))
        if restarts:
            journal.restart()
            journal.read(recorded[-1])

    assert journal.size < 1.5 * own
    assert [whole[:turn] for turn in range(2, 101, 2)] == list(map(journal.read, recorded))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda history: {"state": {"messages": history, "done": False}},
        lambda history: State(history, {"n": len(history)}),
        lambda history: ("history", [history], len(history)),
        tuple,
    ],
    ids=["dict", "dataclass", "tuple", "is a tuple"],
)
def test_a_list_within_a_value_is_shared(wrap: Any) -> None:
    """What is around it changes with each call."""
    journal = Journal(Codec())
    whole = messages(60)

    recorded = [journal.write(wrap(whole[:turn])) for turn in range(20, 61)]

    assert journal.size < 1.5 * len(msgspec.msgpack.encode(whole)) + 41 * 200
    assert [wrap(whole[:turn]) for turn in range(20, 61)] == list(map(journal.read, recorded))


def test_a_list_of_small_elements_grows_in_steps() -> None:
    """No element has a row of its own, and no call writes the list anew."""
    journal = Journal(Codec())

    for size in range(5_000, 5_100):
        recorded = journal.write(list(range(size)))

    assert list(range(5_099)) == journal.read(recorded)
    assert len(journal.blobs) == 100
    assert journal.size < 15_500 + 100 * 400


def test_a_shorter_list_is_found_in_a_longer_one() -> None:
    """So is one that went another way from there."""
    journal = Journal(Codec())
    whole = messages(40)
    journal.write(whole)
    before = journal.size

    shorter = journal.write(whole[:30])
    from_shorter = journal.write([*whole[:30], "on from there"])
    other = journal.write([*whole[:35], "another way"])

    assert journal.size < before + 500
    assert [*whole[:30], "on from there"] == journal.read(from_shorter)
    assert whole[:30] == journal.read(shorter)
    assert [*whole[:35], "another way"] == journal.read(other)


def test_a_chain_goes_on_from_the_midst_of_one_that_went_on_from_another() -> None:
    """Each holds its own steps; the state may lie in any of them."""
    journal = Journal(Codec())
    whole = messages(60)
    values = [whole[:20], whole[:40], whole, [*whole[:10], *whole[50:]], [*whole[:30], LONG]]

    recorded = [journal.write(value) for value in values]
    journal.restart()
    again = [journal.write(value) for value in reversed(values)]

    assert recorded == list(reversed(again))
    assert values == list(map(journal.read, recorded))


def test_equal_parts_are_kept_once_wherever_they_lie() -> None:
    """A document that is a result, part of an event, and in memory."""
    journal = Journal(Codec())

    for value in (LONG, {"document": LONG}, [1, LONG], State([LONG], {"a": {"b": LONG}})):
        assert same(value, journal.read(journal.write(value)))

    assert len(journal.blobs) == 1


def test_what_is_small_is_no_blob() -> None:
    """Most results are: their payloads are what they were without a run."""
    codec = Codec()
    bound = codec.for_run(blobs := Blobs())

    for value in (1, "x" * 2_000, [1, {"a": None}], (1, 2), None):
        payload = bound.encode(value, "value")
        assert payload == codec.encode(value, "value")
        assert payload is bound.shared(payload)
    assert {} == blobs.take_new()


def test_a_value_that_is_large_only_by_its_parts_refers_to_them() -> None:
    """The value itself stays where it is."""
    journal = Journal(Codec())

    recorded = journal.write([LONG, 7])

    assert "plain+shared" == recorded.encoding
    assert len(recorded.data) < 60
    assert [LONG, 7] == journal.read(recorded)


def test_a_codec_can_be_told_to_share_nothing() -> None:
    """Then every payload stands alone."""
    journal = Journal(Codec(share_above=None))

    recorded = journal.write(messages(50))

    assert {} == journal.blobs
    assert messages(50) == Codec().decode(recorded)


def test_a_reference_must_be_smaller_than_what_it_stands_for() -> None:
    """The bound is refused where the codec is made."""
    with pytest.raises(ValueError, match="share_above is 63, expected at least 64"):
        Codec(share_above=63)


def test_pickles_are_shared_as_a_whole() -> None:
    """What is in them is nobody's business."""
    journal = Journal(Codec())

    recorded = journal.write(Odd(LONG))

    assert "pickle+shared" == recorded.encoding
    assert LONG == journal.read(recorded).text


class Odd:
    """No kind of data that the codec knows."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Odd({self.text!r})"


def test_a_payload_of_before_the_run_is_shared_like_a_value() -> None:
    """A memory that outlives runs stands alone, and its snapshot in a run does not."""
    codec = Codec(secret=SECRET, compress_above=None)
    journal = Journal(codec)
    cell = codec.encode_data(messages(50), "memory")
    journal.write(messages(48))
    before = len(journal.blobs)

    recorded = journal.bound.shared(cell)
    journal.blobs.update(journal.active.take_new())

    assert len(journal.blobs) == before + 1
    assert messages(50) == journal.read(recorded) == codec.decode(cell)
    assert recorded is journal.bound.shared(recorded)


def test_what_does_not_outlive_the_run_is_not_written_by_what_does() -> None:
    """A codec of the run that shares nothing more reads what is shared."""
    journal = Journal(Codec())
    recorded = journal.write(messages(50))
    free = journal.codec.for_run(Blobs(journal.blobs)).self_contained()

    alone = free.encode_data(messages(50), "memory")

    assert messages(50) == free.decode(recorded) == Codec().decode(alone)


@pytest.mark.parametrize(
    "payload",
    [
        Payload("plain", b"\xc1" * 5_000),
        Payload("plain+zlib", b"\xc1" * 5_000),
        Codec().encode_failure(ValueError(LONG), "error"),
        Codec(secret=SECRET).encode(LONG * 10, "value"),
    ],
    ids=["damaged", "not compressed", "failure", "signed"],
)
def test_what_cannot_be_shared_stays_as_it_is(payload: Payload) -> None:
    """Whoever reads it is told what is wrong with it."""
    assert payload is Codec().for_run(Blobs()).shared(payload)


def test_a_large_value_on_its_way_is_no_payload_yet() -> None:
    """A codec without a run makes one of it, so that nothing is written without its layers."""
    codec = Codec(secret=SECRET)

    encoded = codec.for_run(Blobs()).encode(LONG, "value")

    assert isinstance(encoded, Unsealed)
    assert codec.shared(encoded) == codec.encode(LONG, "value")
    assert LONG == codec.decode(encoded)


def test_a_failure_is_never_shared() -> None:
    """Why a run failed can be read without anything else."""
    error = ValueError(LONG, messages(50))

    payload = Codec().for_run(Blobs()).encode_failure(error, "error")

    assert error.args == Codec().decode_failure(payload).args
    with pytest.raises(DecodeError, match="none of an exception's"):
        Codec().decode_failure(Payload("failure+shared", payload.data))


def test_a_shared_value_without_its_run_is_an_error_that_says_so() -> None:
    """Not a value with holes."""
    recorded = Journal(Codec()).write(messages(50))

    with pytest.raises(DecodeError, match="read it by a codec for that run"):
        Codec().decode(recorded)


def test_a_missing_blob_is_named() -> None:
    """The run cannot go on without it, and a person has to look for it."""
    journal = Journal(Codec())
    recorded = journal.write([LONG, messages(50)])

    for name in list(journal.blobs):
        blob = journal.blobs.pop(name)
        with pytest.raises(DecodeError, match=f"blob {name.hex()} of its run is missing"):
            journal.read(recorded)
        journal.blobs[name] = blob


def test_a_chain_whose_beginning_is_missing_names_it() -> None:
    """The end of a list is no list."""
    journal = Journal(Codec())
    journal.write(messages(20))
    (first,) = journal.blobs
    recorded = journal.write(messages(40))

    del journal.blobs[first]

    with pytest.raises(DecodeError, match=f"blob {first.hex()} of its run is missing"):
        journal.read(recorded)


def damaged(payload: Payload) -> Iterator[Payload]:
    """The payload with one of its bytes changed."""
    for place in range(0, len(payload.data), 7):
        changed = bytearray(payload.data)
        changed[place] ^= 1
        yield Payload(payload.encoding, bytes(changed))


@pytest.mark.parametrize("compress_above", [None, 100])
@pytest.mark.parametrize("secret", [None, SECRET])
def test_a_damaged_blob_is_never_a_wrong_value(
    secret: bytes | None, compress_above: int | None
) -> None:
    """Its hash is taken again when it is read."""
    journal = Journal(Codec(secret=secret, share_above=200, compress_above=compress_above))
    value = [{"document": "y" * 400}, [f"{n}" * 40 for n in range(30)]]
    journal.write([value[0], value[1][:10]])
    recorded = journal.write(value)
    whole = dict(journal.blobs)

    for name, blob in whole.items():
        for other in chain(damaged(blob), whole.values()):
            journal.blobs = whole | {name: other}
            try:
                read = journal.read(recorded)
            except DecodeError:
                continue
            # MessagePack may write a length in more bytes than it needs: the same content.
            assert value == read


FIRST = b"f" * 24
LAST = b"l" * 24
BLOB, CHAIN = 1, 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([LAST, 0, []], "damaged or forged"),
        ([FIRST, 0, [b"\x90"]], "damaged or forged"),
        ([b"", 0, [b"\x90"]], "damaged or forged"),
        ([b"", 5, [b"\x90"]], "damaged or forged"),
        ([b"", -1, [b"\x90"]], "damaged or forged"),
        ([b"", 0, []], "damaged or forged"),
        ([b"nobody", 0, []], "6e6f626f6479 of its run is missing"),
        ([b"", 0, ["text"]], "damaged or forged"),
        ([b"", 0, 1], "damaged or forged"),
        (["", 0, []], "damaged or forged"),
        ([b"", "0", []], "damaged or forged"),
        (7, "damaged or forged"),
        ([b""], "damaged or forged"),
    ],
)
def test_a_forged_chain_is_refused(content: Any, problem: str) -> None:
    """One that leads round in a circle, too."""
    other = [LAST, 0, [b"\x90"]]
    blobs = {
        LAST: Payload("chain", msgspec.msgpack.encode(content)),
        FIRST: Payload("chain", msgspec.msgpack.encode(other)),
    }
    data = msgspec.msgpack.encode(msgspec.msgpack.Ext(CHAIN, LAST))

    with pytest.raises(DecodeError, match=problem):
        Codec().for_run(Blobs(blobs)).decode(Payload("plain+shared", data))


@pytest.mark.parametrize("taken", [3, 4, 100])
def test_a_chain_cannot_go_on_from_where_its_base_never_was(taken: int) -> None:
    """What it would leave out must have been there."""
    journal = Journal(Codec())
    journal.write(messages(10))
    (first,) = journal.blobs
    recorded = journal.write(messages(20))
    (second,) = journal.blobs.keys() - {first}
    content = msgspec.msgpack.decode(journal.blobs[second].data)

    content[1] = taken
    journal.blobs[second] = Payload("chain", msgspec.msgpack.encode(content))

    with pytest.raises(DecodeError, match=f"blob {second.hex()} of its run is damaged"):
        journal.read(recorded)


def test_a_blob_of_another_form_is_refused() -> None:
    """A chain is no part, a part is no chain, and a value is neither."""
    journal = Journal(Codec())
    recorded = journal.write([LONG, messages(50)])
    whole = dict(journal.blobs)

    for name, blob in whole.items():
        for form in ("blob", "chain", "plain", "pickle", "blob+shared"):
            if form != blob.encoding:
                journal.blobs = whole | {name: Payload(form, blob.data)}
                with pytest.raises(DecodeError, match=f"blob {name.hex()} of its run is"):
                    journal.read(recorded)
                with pytest.raises(DecodeError, match="none of a value's"):
                    journal.codec.decode(blob)


@pytest.mark.parametrize("data", [b"\xd4\x05\x00", b"\xc7\x18\x05" + bytes(24)])
def test_a_reference_of_another_kind_is_refused(data: bytes) -> None:
    """It is none of ours."""
    with pytest.raises(DecodeError, match="extension 5 is none of ours"):
        Codec().for_run(Blobs()).decode(Payload("plain+shared", data))


def test_references_that_unfold_without_end_are_refused() -> None:
    """Four references to one blob of four references, and so on: little on disk, all memory."""
    blobs: dict[bytes, Payload] = {}
    data = msgspec.msgpack.encode("x" * 1_000)
    for _ in range(12):
        name = blake2b(data, digest_size=24, person=b"blob").digest()
        blobs[name] = Payload("blob", data)
        data = msgspec.msgpack.encode([msgspec.msgpack.Ext(BLOB, name)] * 4)

    with pytest.raises(DecodeError, match="unfold to more than a value may be"):
        Codec().for_run(Blobs(blobs)).decode(Payload("plain+shared", data))


def test_references_that_nest_without_end_are_refused() -> None:
    """No value is cut so deep."""
    blobs: dict[bytes, Payload] = {}
    data = b"\x90"
    for _ in range(10_000):
        name = blake2b(data, digest_size=24, person=b"blob").digest()
        blobs[name] = Payload("blob", data)
        data = msgspec.msgpack.encode(msgspec.msgpack.Ext(BLOB, name))

    with pytest.raises(DecodeError, match="unfold to more than a value may be"):
        Codec().for_run(Blobs(blobs)).decode(Payload("plain+shared", data))


@pytest.mark.parametrize("above", [64, 2_048])
def test_values_that_nest_deep_are_cut_as_far_as_it_pays(above: int) -> None:
    """Each level of large parts is encoded once more, so there is an end to it."""
    journal = Journal(Codec(share_above=above))
    value: Any = [LONG]
    for level in range(80):
        value = [value, "y" * 100] if level % 2 else {"deeper": value, "pad": "z" * 100}

    recorded = journal.write(value)

    assert value == journal.read(recorded)


def test_no_blob_can_be_forged_without_the_secret() -> None:
    """Refused before anything is unpickled."""
    honest, forger = Journal(Codec(secret=SECRET)), Journal(Codec())
    recorded = honest.write(Odd(LONG))
    forger.write(Trap(LONG))
    (content,) = forger.blobs.values()
    Trap.sprung.clear()

    for forgery in (content, Payload("blob+hmac", b"0" * 32 + content.data)):
        honest.blobs = dict.fromkeys(honest.blobs, forgery)
        with pytest.raises(DecodeError, match="not signed with this codec's secret"):
            honest.read(recorded)
    assert [] == Trap.sprung


def test_a_pickle_in_a_blob_is_refused_like_any_other() -> None:
    """It says so in its payload, and only there."""
    journal = Journal(Codec())
    recorded = journal.write(Trap(LONG))
    Trap.sprung.clear()

    journal.codec = Codec(pickle="refuse")

    with pytest.raises(DecodeError, match='given pickle="refuse"'):
        journal.read(recorded)
    with pytest.raises(DecodeError, match=r"a list|bytes"):
        Journal(Codec()).read(Payload("pickle+shared", b"\x90"))
    assert [] == Trap.sprung


class Trap:
    """Notes down that it was unpickled."""

    sprung: list[str] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "Trap()"

    def __reduce__(self) -> Any:
        return spring, (self.text,)


def spring(text: str) -> Trap:
    Trap.sprung.append(text)
    return Trap(text)


def test_names_of_content_tell_nothing_without_the_secret() -> None:
    """Whoever can read the file cannot check a guess at what is in it."""
    names = [
        set(journal.blobs)
        for secret in (None, SECRET, b"another" * 20)
        for journal in [Journal(Codec(secret=secret))]
        if journal.write(LONG)
    ]

    assert 3 == len(set.union(*names))


class Turned(Codec):
    """Every byte is turned round, with a number in front that is never the same."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sealed = 0
        self.fails = False

    def seal(self, encoding: str, data: bytes) -> tuple[str, bytes]:
        if self.fails:
            msg = "no key"
            raise OSError(msg)
        self.sealed += 1
        turned = self.sealed.to_bytes(4, "big") + bytes(255 - byte for byte in data)
        return super().seal(f"{encoding}+turned", turned)

    def unseal(self, encoding: str, data: bytes) -> tuple[str, bytes]:
        encoding, data = super().unseal(encoding, data)
        if self.fails or not encoding.endswith("+turned"):
            msg = "it is not turned"
            raise OSError(msg)
        return encoding.removesuffix("+turned"), bytes(255 - byte for byte in data[4:])


@pytest.mark.parametrize("secret", [None, SECRET])
def test_a_codec_of_the_users_own_seals_everything(secret: bytes | None) -> None:
    """Payloads and blobs; and equal content is found all the same."""
    journal = Journal(Turned(secret=secret))
    values: list[Any] = [1, "text", messages(50), messages(52), Odd(LONG)]

    recorded = [journal.write(value) for value in values]
    count = len(journal.blobs)
    recorded += [journal.write(value) for value in values]

    assert len(journal.blobs) == count
    assert values[:-1] == list(map(journal.read, recorded[:4]))
    layer = "+turned" if secret is None else "+turned+hmac"
    for payload in (*recorded, *journal.blobs.values()):
        assert payload.encoding.endswith(layer)
        assert b"abcabc" not in payload.data
    failure = journal.bound.encode_failure(ValueError("text"), "error")
    assert "text" == str(journal.codec.decode_failure(failure))


def test_a_seal_that_fails_is_an_encode_error() -> None:
    """Whatever it raises; nothing is recorded."""
    codec = Turned()
    codec.fails = True
    bound = codec.for_run(Blobs())
    large = bound.encode(LONG, "value")

    for encode in (
        lambda: codec.encode(1, "value"),
        lambda: bound.shared(large),
        lambda: codec.encode_failure(ValueError(), "error"),
    ):
        with pytest.raises(EncodeError, match=r"the codec cannot seal it: no key \(OSError\)"):
            encode()


def test_a_seal_may_raise_an_error_of_ours() -> None:
    """It goes through as it is."""

    class Refusing(Codec):
        def seal(self, encoding: str, data: bytes) -> tuple[str, bytes]:
            raise EncodeError(encoding, "bytes", str(len(data)), "Give it a key.")

    with pytest.raises(EncodeError, match="Give it a key"):
        Refusing().encode(1, "value")


def test_what_was_not_sealed_is_not_read() -> None:
    """An encoding without the user's layer was not written by the user's codec."""
    for payload in (Codec().encode(1, "value"), Codec().encode(LONG * 10, "value")):
        with pytest.raises(DecodeError, match="it is not turned"):
            Turned().decode(payload)
    with pytest.raises(DecodeError, match="does not know"):
        Codec().decode(Turned().encode(1, "value"))
