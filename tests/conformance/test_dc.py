"""What the journal holds of the calls of an action, call by call."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

from typing import Any

import msgspec
import pytest

from durable_agents import CallFailedError, Codec, DecodeError, RunnerContext, Store
from durable_agents.journal import CallSettled, CallStatus
from tests.conformance._journals import call_entries, only_action
from tests.worker._kit import Calls, Gate, agent_of, finish, interrupt

CODEC = Codec()


@pytest.mark.rows("DC-05")
async def test_a_success_is_one_record_with_its_value(store: Store) -> None:
    """The place after it is free."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(calls.double, 21)
        await gate.wait()

    await interrupt(agent_of(act), store, gate)

    action = await only_action(store)
    [record] = action.records.values()
    assert (record.key, record.function, record.status) == (
        ("", 0),
        "double",
        CallStatus.SUCCEEDED,
    )
    assert record.payload is not None
    assert CODEC.decode(record.payload) == 42
    assert not action.call_log().has_outcome(("", 1))


@pytest.mark.rows("DC-06")
async def test_a_failure_is_one_record_with_its_error_and_no_value(store: Store) -> None:
    """A record that could be read both ways would turn a failure into a result."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(ValueError, match="no"):
            await ctx.durable(calls.refuse, "no")
        await gate.wait()

    await interrupt(agent_of(act), store, gate)

    [record] = (await only_action(store)).records.values()
    assert record.status is CallStatus.FAILED
    assert record.payload is not None
    assert repr(CODEC.decode_failure(record.payload)) == "ValueError('no')"
    with pytest.raises(DecodeError):
        CODEC.decode(record.payload)


@pytest.mark.rows("DC-09", "DX-01", "AS-03")
async def test_each_call_is_durable_when_its_value_is_handed_over(store: Store) -> None:
    """One entry each, in their order; none waits for the next one."""
    calls, durably = Calls(), list[list[tuple[str, int]]]()

    async def act(event: Any, ctx: RunnerContext) -> None:
        for number in range(3):
            await ctx.durable(calls.double, number)
            made = await call_entries(store)
            durably.append([(e.function, e.position) for e in made if type(e) is CallSettled])
            assert len(made) == number + 1

    await finish(agent_of(act), store)

    one, two, three = (("double", position) for position in range(3))
    assert durably == [[one], [one, two], [one, two, three]]
    assert calls.made == [0, 1, 2]


class GoneError(Exception):
    """A class that a later version of the program does not have."""


ERRORS = [
    Exception("plain"),
    RuntimeError("a wrong state"),
    TypeError("'NoneType' object is not subscriptable"),
    ValueError('it\'s "quoted" both ways'),
    ValueError(""),
]


@pytest.mark.rows("DC-10")
def test_an_exception_is_recorded_with_its_class_and_its_text() -> None:
    """Whoever reads the journal without our classes finds both under their names."""
    payload = CODEC.encode_failure(ValueError("Invalid argument: foo"), "the call")

    [recorded] = msgspec.msgpack.decode(payload.data)
    assert recorded["type"] == "builtins:ValueError"
    assert recorded["text"] == "Invalid argument: foo"


@pytest.mark.rows("DC-11", "DC-12")
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_rebuilt_exception_is_of_its_class_and_has_its_text(error: Exception) -> None:
    """The same `except` clause matches, the same text is shown."""
    rebuilt = CODEC.decode_failure(CODEC.encode_failure(error, "the call"))

    assert type(rebuilt) is type(error)
    assert str(rebuilt) == str(error)


@pytest.mark.rows("DC-11", "DC-12", "DC-13")
@pytest.mark.parametrize("text", [*(str(error) for error in ERRORS), None])
def test_an_exception_whose_class_is_gone_tells_class_and_text(
    text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be rebuilt is at least named."""
    error = GoneError() if text is None else GoneError(text)
    payload = CODEC.encode_failure(error, "the call")
    monkeypatch.delitem(globals(), "GoneError")

    rebuilt = CODEC.decode_failure(payload)

    assert isinstance(rebuilt, CallFailedError)
    assert "GoneError" in str(rebuilt)
    assert (text or "") in str(rebuilt)


@pytest.mark.rows("DC-13")
@pytest.mark.parametrize("error", [ValueError(), ValueError(None)], ids=repr)
def test_an_exception_without_a_message_comes_back(error: Exception) -> None:
    """Nothing to say is not nothing that happened."""
    rebuilt = CODEC.decode_failure(CODEC.encode_failure(error, "the call"))

    assert repr(rebuilt) == repr(error)
