"""Runs of calls that a kill leaves in doubt, one for each way in which that can be declared.

The outside world is a ledger, a file on a healthy disk: each call has its effect by one line in
it, some time after it began and some time before it ends. Whoever is asked whether a call took
effect looks there: the reconcilers, and the person who decides about parked runs.

Every value says how it came about, so that what a run put out tells how it was treated.
"""

import asyncio
import faulthandler
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from durable_agents import (
    Agent,
    InDoubtError,
    InputEvent,
    NotExecuted,
    ReconcilerUnavailable,
    RetryPolicy,
    Run,
    RunFailedError,
    RunnerContext,
    RunParkedError,
    SqliteStore,
    Worker,
    WorkerSettings,
    current_call,
    durable,
)
from tests.crash import witness
from tests.crash.child import LONGEST_LIFE
from tests.crash.scenarios import latency
from tests.crash.witness import this_life, witnessed

__all__ = [
    "ASKED",
    "IN_DOUBT",
    "KINDS",
    "LEDGER",
    "STORE",
    "TOLD",
    "WITNESS",
    "DeclinedError",
    "Effect",
    "Kind",
    "Telling",
    "decision",
    "id_of",
    "is_decided_outside",
    "kinds_of",
    "lines",
]

STORE = "store.db"
WITNESS = "witness.jsonl"
LEDGER = "ledger.jsonl"
TOLD = "told.jsonl"
REPAIRED = "repaired.txt"

ASKED = "asked"
"""What the witness calls a reconciler."""
NOT_EXECUTED = "not executed"
UNAVAILABLE = "unavailable"
IN_DOUBT = "in doubt"
"""What an action makes of an `InDoubtError`."""

Kind = Literal[
    "rerun", "rerun_thread", "fail", "ask", "lookup", "lookup_thread", "declined", "unavailable"
]
"""Functions by what they declare, and where they run."""
KINDS: tuple[Kind, ...] = (
    "rerun",
    "rerun_thread",
    "fail",
    "ask",
    "lookup",
    "lookup_thread",
    "declined",
    "unavailable",
)
_OUTSTANDING = 12
"""Inputs submitted and not done: each kill leaves about as many calls in doubt."""


class DeclinedError(Exception):
    """The outside world refused what a call asked for: an effect, too."""


class Effect(msgspec.Struct, frozen=True):
    """A line of the ledger."""

    key: str
    """Idempotency key of the call."""
    run_id: str
    call_id: str
    value: str


class Telling(msgspec.Struct, frozen=True):
    """Something that the engine told its user, or the user told the engine."""

    run_id: str
    what: Literal["accepted", "parked", "failed", "decided", "output"]
    text: str = ""
    life: int = -1
    """-1: told to a person outside, between two lives."""


def id_of(number: int) -> str:
    """Id of the run that an input causes."""
    return f"run-{number}"


def kinds_of(number: int) -> tuple[Kind, ...]:
    """The calls of a run in order; they begin elsewhere in each."""
    first = number % len(KINDS)
    return KINDS[first:] + KINDS[:first]


def is_decided_outside(number: int) -> bool:
    """Whether a parked run is decided about by the command line, while no worker lives."""
    return number % 2 == 0


def lines(path: Path, kind: type[Any]) -> list[Any]:
    """What one of the files holds; a kill may leave a piece of a line."""
    if not path.exists():
        return []
    found = path.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=kind) for line in found if line.endswith(b"}")]


def decision(folder: Path, run_id: str) -> Effect | None:
    """What a person finds out about the call in doubt of a run; None: it took no effect."""
    effects: list[Effect] = lines(folder / LEDGER, Effect)
    ours = [e for e in effects if e.run_id == run_id and e.value.startswith("ask ")]
    return ours[-1] if ours else None


def _folder() -> Path:
    return Path(os.environ[witness.FILE]).parent


def _add(name: str, line: bytes) -> None:
    file = os.open(_folder() / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, b"\n" + line + b"\n")
    finally:
        os.close(file)


def _tell(telling: Telling) -> None:
    _add(TOLD, msgspec.json.encode(telling))


def _take_effect(kind: Kind) -> str:
    call = current_call()
    value = f"{kind} {call.run_id} in life {this_life()}"
    effect = Effect(call.idempotency_key, call.run_id, call.call_id, value)
    _add(LEDGER, msgspec.json.encode(effect))
    return value


async def _act(kind: Kind, name: str) -> str:
    with witnessed(kind, name):
        await asyncio.sleep(latency(name, kind))
        value = _take_effect(kind)
        await asyncio.sleep(latency(kind, name))
    return value


def _act_in_thread(kind: Kind, name: str) -> str:
    with witnessed(kind, name):
        time.sleep(latency(name, kind))
        value = _take_effect(kind)
        time.sleep(latency(kind, name))
    return value


def _look_up(kind: Kind) -> str:
    """What a reconciler finds out, seen by the witness before anybody is told."""
    key = current_call().idempotency_key
    effects: list[Effect] = lines(_folder() / LEDGER, Effect)
    found = next((effect.value for effect in effects if effect.key == key), NOT_EXECUTED)
    with witnessed(ASKED, kind, found):
        pass
    if found == NOT_EXECUTED:
        raise NotExecuted
    return found


@durable(name="rerun")
async def rerun(name: str) -> str:
    """A call that may be made again, as is the default."""
    return await _act("rerun", name)


@durable(name="rerun_thread", on_interrupt="rerun")
def rerun_thread(name: str) -> str:
    """The same, declared, and in a thread."""
    return _act_in_thread("rerun_thread", name)


@durable(name="fail", on_interrupt="fail")
async def fail(name: str) -> str:
    """A call that its action wants to hear of."""
    return await _act("fail", name)


@durable(name="ask", on_interrupt="ask")
async def ask(name: str) -> str:
    """A call about which a person decides."""
    return await _act("ask", name)


async def _lookup(name: str) -> str:  # noqa: ARG001 -- the arguments of the call
    return f"found {_look_up('lookup')}"


@durable(name="lookup", reconciler=_lookup)
async def lookup(name: str) -> str:
    """A call that can be looked up."""
    return await _act("lookup", name)


def _lookup_thread() -> str:
    return f"found {_look_up('lookup_thread')}"


@durable(name="lookup_thread", reconciler=_lookup_thread)
def lookup_thread(name: str) -> str:
    """The same in threads; its reconciler takes no arguments."""
    return _act_in_thread("lookup_thread", name)


async def _lookup_declined() -> str:
    msg = f"found {_look_up('declined')}"
    raise DeclinedError(msg)


@durable(name="declined", reconciler=_lookup_declined)
async def declined(name: str) -> str:
    """A call that is refused, which its reconciler finds out, too."""
    raise DeclinedError(await _act("declined", name))


async def _lookup_later() -> str:
    if current_call().run_id in _repaired():
        return f"found {_look_up('unavailable')}"
    with witnessed(ASKED, "unavailable", UNAVAILABLE):
        msg = "the ledger cannot be read now"
        raise ReconcilerUnavailable(msg)


@durable(
    name="unavailable",
    reconciler=_lookup_later,
    retry=RetryPolicy(max_attempts=2, initial=0.001, jitter=0.0),
)
async def unavailable(name: str) -> str:
    """A call that cannot be looked up before somebody has repaired that."""
    return await _act("unavailable", name)


def _repaired() -> set[str]:
    path = _folder() / REPAIRED
    return set(path.read_text().split()) if path.exists() else set()


_FUNCTIONS: dict[Kind, Callable[[str], Any]] = {
    "rerun": rerun,
    "rerun_thread": rerun_thread,
    "fail": fail,
    "ask": ask,
    "lookup": lookup,
    "lookup_thread": lookup_thread,
    "declined": declined,
    "unavailable": unavailable,
}

agent = Agent("doubt", input=int)


@agent.action(InputEvent)
async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
    """One call of each kind, one after the other."""
    name = str(event.input)
    for kind in kinds_of(event.input):
        call: Awaitable[str] = ctx.durable(_FUNCTIONS[kind], name)
        try:
            ctx.output([kind, await call])
        except InDoubtError:
            ctx.output([kind, IN_DOUBT])
        except DeclinedError as error:
            ctx.output([kind, error.args[0]])


async def _see_through(worker: Worker, number: int) -> None:
    """Submit an input and do what people do until its run has completed."""
    run = await worker.submit(number, id=id_of(number))
    _tell(Telling(run.id, "accepted", life=this_life()))
    while True:
        try:
            outputs = await run.result()
        except RunParkedError as parked:
            _tell(Telling(run.id, "parked", parked.reason, this_life()))
            if is_decided_outside(number):
                return
            await _decide(worker, run)
        except RunFailedError as failed:
            reason = f"{type(failed.__cause__).__name__}: {failed.reason}"
            _tell(Telling(run.id, "failed", reason, this_life()))
            _add(REPAIRED, run.id.encode())
            await worker.retry(run.id)
        else:
            _tell(Telling(run.id, "output", str(len(outputs)), this_life()))
            return


async def _decide(worker: Worker, run: Run) -> None:
    effect = decision(_folder(), run.id)
    _tell(Telling(run.id, "decided", "rerun" if effect is None else effect.value, this_life()))
    if effect is None:
        await worker.resolve(run.id, rerun=True)
    else:
        await worker.resolve(run.id, value=f"told {effect.value}")


async def work(store: Path, runs: int) -> None:
    """See all inputs through, or as far as nobody outside has to decide."""
    done = {t.run_id for t in lines(_folder() / TOLD, Telling) if t.what == "output"}
    places = asyncio.Semaphore(_OUTSTANDING)

    async def see_through(number: int) -> None:
        try:
            await _see_through(worker, number)
        finally:
            places.release()

    settings = WorkerSettings(shutdown_grace_seconds=1.0)
    async with (
        Worker(agent, store=SqliteStore(store), settings=settings) as worker,
        asyncio.TaskGroup() as group,
    ):
        for number in range(runs):
            if id_of(number) not in done:
                await places.acquire()
                group.create_task(see_through(number))


def main(folder: str, runs: str, life: str) -> None:
    """Be one of the processes that work on it.

    Args:
        folder: Where everything is kept.
        runs: How many inputs there are.
        life: How many processes came before.
    """
    os.environ[witness.FILE] = str(Path(folder, WITNESS))
    os.environ[witness.LIFE] = life
    faulthandler.dump_traceback_later(LONGEST_LIFE, exit=True)
    # Parked and failed runs are told by `Telling`; what is left is a bug of the worker's.
    logging.getLogger("durable_agents").setLevel(logging.CRITICAL)
    asyncio.run(work(Path(folder, STORE), int(runs)))
