"""The errors are part of the public surface: their tree, their text, their way by pickle."""

import pickle
import re

import pytest

from durable_agents import errors

EXAMPLES: list[BaseException] = [
    errors.DurableAgentsError("something"),
    errors.DefinitionError("action 'a' has no trigger"),
    errors.DefinitionError("action 'a' has no trigger", "action 'b' is not callable"),
    errors.DuplicateNameError("two actions are called 'a'"),
    errors.UnknownResourceError("no chat model is called 'fast'"),
    errors.TriggerSyntaxError("'score <' ends too early"),
    errors.UnsupportedCallableError("a lambda without a name"),
    errors.NondeterminismError("run-1", "recorded f(1), now f(2)"),
    errors.ForbiddenInDurableCallError("send", "shop:charge"),
    errors.OutsideActionError("durable", "start the task within the action"),
    errors.SerializationError("no codec"),
    errors.EncodeError("result of shop:charge", "socket", "it is open", "Return its address."),
    errors.DecodeError("typed", "class shop:Receipt is not loaded"),
    errors.PayloadTooLargeError("result of shop:charge", 2_000_000, 1_000_000),
    errors.DurableCallError("no value"),
    errors.CallFailedError("shop:Declined", "card is blocked", "Traceback ..."),
    errors.CallFailedError("shop:Declined", ""),
    errors.CallTimeoutError("shop:charge", 2.5),
    errors.RetriesExhaustedError("shop:charge", 3),
    errors.InDoubtError("shop:charge", "root/0"),
    errors.PromiseFailedError("card is blocked"),
    errors.RunError("run-1", "no reason"),
    errors.RunFailedError("run-1", "ValueError: no"),
    errors.RunCancelledError("run-1", "by hand"),
    errors.RunParkedError("run-1", "a call is in doubt"),
    errors.RunStateError("run-1", "it is completed; only failed or parked runs are retried"),
    errors.UnknownRunError("run-9"),
    errors.InputError("expected int at $.score, got str", "reviews.jsonl line 12"),
    errors.InputError("expected int at $.score, got str"),
    errors.StoreError("agents.db", "no"),
    errors.StoreUnavailableError("agents.db", "cannot be opened"),
    errors.StoreOwnedError("agents.db", "process 12 owns it"),
    errors.StoreConflictError("agents.db", "run-1 was taken over"),
    errors.StoreFullError("agents.db", "no space left"),
    errors.StoreDamagedError("agents.db", "checksum"),
    errors.StoreVersionError("agents.db", "schema 9, this version knows 1"),
    errors.EngineError("no source"),
    errors.TerminalError("card is blocked"),
    errors.NotExecuted("no such charge"),
    errors.ReconcilerUnavailable("the bank is closed"),
    errors.RunAborted("shutdown"),
]


def test_every_error_has_an_example_here() -> None:
    """A new error joins this list, or its way through a journal is never tried."""
    assert set(errors.__all__) == {type(example).__name__ for example in EXAMPLES}


@pytest.mark.parametrize(
    "error", EXAMPLES, ids=[f"{type(e).__name__}-{i}" for i, e in enumerate(EXAMPLES)]
)
def test_an_error_survives_pickling_with_its_text(error: BaseException) -> None:
    """Errors cross processes and journals; one that made its text in `__init__` fails here."""
    error.add_note("while charging order 7")

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- made in the line itself

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_the_tree_in_the_heading_is_the_tree_in_the_code() -> None:
    """The heading is what people read, so it may not lie about a class or its base."""
    drawn = set(re.findall(r"\w*(?:Error|Executed|Unavailable|Aborted)\b", heading()))
    defined = {name for name, value in vars(errors).items() if is_ours(value)}

    assert drawn == defined


def test_the_tree_in_the_heading_shows_the_bases() -> None:
    """Each line of the tree hangs below its base class."""
    for name, base in drawn_bases().items():
        assert getattr(errors, name).__bases__[0] is getattr(errors, base)


def heading() -> str:
    """The drawn tree, up to the rules."""
    return (errors.__doc__ or "").partition("Rule 1")[0]


def is_ours(value: object) -> bool:
    """Whether a value is an exception class that `errors.py` defines."""
    return isinstance(value, type) and issubclass(value, BaseException)


def drawn_bases() -> dict[str, str]:
    """The base of each class below the root of the tree, read off the indentation."""
    bases: dict[str, str] = {}
    above = ["DurableAgentsError"]
    for branch, name in re.findall(r"^    ([│ ]*)[├└]─ (\w+)", heading(), re.MULTILINE):
        depth = len(branch) // 3 + 1
        above[depth:] = [name]
        bases[name] = above[depth - 1]
    return bases
