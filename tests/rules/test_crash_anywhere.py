"""Whatever the history of crashes, a settled call never executes again.

An action of a few calls in a few branches runs, crashes and starts again. What it does is
written as journal entries, encoded and decoded as a store would, and each start folds them
anew. The model remembers what a caller was told; the journal must never contradict it.
"""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from durable_agents.journal import (
    BATCH_BITS,
    Abandoned,
    ActionStarted,
    CallAbandoned,
    CallBegun,
    CallKey,
    CallLog,
    CallRetried,
    CallsCleared,
    CallSettled,
    Diverged,
    DurableOptions,
    Entry,
    Replay,
    Resolution,
    Resume,
    RunAccepted,
    RunState,
    Start,
    decode_row,
    encode_row,
    is_cleared_by,
    resolution,
)
from durable_agents.serialization import Codec

pytestmark = pytest.mark.slow

CODEC = Codec()
BRANCHES = ["", "/0.f.0", "/1.f.0", "/1.f.0/2.g.0"]
CALLS = 3
RUN = 7

branches = st.sampled_from(BRANCHES)


@dataclass(frozen=True)
class Outcome:
    """What a caller was told."""

    value: int
    failed: bool


class CrashAnywhere(RuleBasedStateMachine):
    """One action run, a journal that survives, a process that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, bytes]] = []
        self.transaction = 0
        self.executions = 0
        self.told: dict[CallKey, Outcome] = {}
        self.given_up: set[CallKey] = set()
        self.attempts: dict[CallKey, int] = {}
        self.in_doubt: set[CallKey] = set()
        self.code = dict.fromkeys(BRANCHES, "shop:pay")

    @initialize()
    def accept(self) -> None:
        self.write(RunAccepted("run-1", "shop", "k", CODEC.encode(None, "input"), 0.0))
        self.write(ActionStarted(0, 0, "charge", {}, "3.11", 0.0))
        self.crash()

    def write(self, *entries: Entry) -> None:
        self.transaction += 1
        row = encode_row(RUN, list(entries))
        self.rows.append((self.transaction << BATCH_BITS, row))

    @rule()
    def crash(self) -> None:
        """All that is not in the journal is lost; the action starts from its first line."""
        rows = [(seq, decode_row(RUN, body, "model")) for seq, body in self.rows]
        self.state = RunState.of(rows)
        self.action = self.state.actions[0, "charge"]
        self.log: CallLog = self.action.call_log()
        self.next = dict.fromkeys(BRANCHES, 0)

    @precondition(lambda self: any(n < CALLS for n in self.next.values()))
    @rule(
        branch=branches,
        how=st.sampled_from(["settle", "fail", "crash", "retry", "give up"]),
        on_interrupt=st.sampled_from(["rerun", "fail", "ask"]),
    )
    def call(self, branch: str, how: str, on_interrupt: str) -> None:
        position = self.next[branch]
        if position >= CALLS:
            return
        key = (branch, position)
        options = DurableOptions(on_interrupt=on_interrupt)  # type: ignore[arg-type]  # one of three
        match self.log.next_call(key, self.code[branch], b"d", "1"):
            case Start():
                assert key not in self.told
                assert key not in self.given_up
                self.execute(key, how, options)
            case Resume(record):
                assert key not in self.told
                assert self.attempts.get(key, 0) == record.attempts
                assert (key in self.in_doubt) == record.in_doubt
                match resolution(record, options):
                    case Resolution.RUN:
                        self.execute(key, how, options)
                    case Resolution.FAIL:
                        self.settle(key, failed=True)
                    case other:
                        assert Resolution.PARK is other
                        self.crash()
            case Replay(record):
                assert key not in self.given_up
                assert record.payload is not None
                value = CODEC.decode(record.payload)
                outcome = Outcome(value, record.status.value == "failed")
                # What was settled and not yet told at the crash is told now.
                assert outcome == self.told.setdefault(key, outcome)
                self.next[branch] += 1
            case Abandoned():
                assert key in self.given_up
                self.next[branch] += 1
            case Diverged(record, dropped):
                assert record in dropped
                self.clear(key)

    def execute(self, key: CallKey, how: str, options: DurableOptions) -> None:
        branch, position = key
        function = self.code[branch]
        attempt = self.attempts.get(key, 0) + 1
        self.executions += 1
        if options.is_guarded:
            self.in_doubt.add(key)
            self.write(CallBegun(0, branch, position, function, b"d", "1", attempt, 1.0))
        match how:
            case "crash":
                self.crash()
            case "retry":
                error = CODEC.encode_failure(ValueError(), "error")
                self.attempts[key] = attempt
                self.in_doubt.discard(key)
                self.write(
                    CallRetried(0, branch, position, function, b"d", attempt, error, 2.0)
                )
                self.crash()
            case "give up":
                self.write(
                    CallAbandoned(
                        0, branch, position, function, b"d", "1", options.is_guarded, 2.0
                    )
                )
                self.given_up.add(key)
                self.next[branch] += 1
            case _:
                self.settle(key, failed=how == "fail", guarded=options.is_guarded)

    def settle(self, key: CallKey, *, failed: bool, guarded: bool = True) -> None:
        branch, position = key
        outcome = Outcome(self.executions, failed)
        payload = CODEC.encode(outcome.value, "value")
        function, attempt = self.code[branch], self.attempts.get(key, 0) + 1
        entry = CallSettled(
            0, branch, position, function, b"d", "1", failed, payload, attempt, guarded, 2.0
        )
        self.write(entry)
        self.told[key] = outcome
        self.in_doubt.discard(key)
        self.next[branch] += 1

    @rule(branch=branches)
    def deploy(self, branch: str) -> None:
        """The code of a branch calls something else from now on."""
        self.code[branch] = "shop:refund" if self.code[branch] == "shop:pay" else "shop:pay"
        self.crash()

    def clear(self, key: CallKey) -> None:
        self.log.clear(key)
        self.write(CallsCleared(0, *key, "changed", 3.0))
        for known in (self.told, self.attempts):
            for dropped in [k for k in known if is_cleared_by(k, key)]:
                del known[dropped]
        for marked in (self.given_up, self.in_doubt):
            marked -= {k for k in marked if is_cleared_by(k, key)}

    @invariant()
    def what_was_told_is_in_the_journal(self) -> None:
        if not self.rows:
            return
        entries = [(seq, decode_row(RUN, body, "model")) for seq, body in self.rows]
        records = RunState.of(entries).actions[0, "charge"].records
        assert set(self.told) == {k for k, r in records.items() if r.has_settled}
        assert self.given_up == {k for k, r in records.items() if r.status.value == "abandoned"}

    @invariant()
    def each_settled_call_is_delivered_once(self) -> None:
        if not self.rows:
            return
        batches = self.action.call_log().batches()
        keys = [key for batch in batches for key in batch]
        assert len(keys) == len(set(keys))
        assert all(batches)


TestCrashAnywhere = CrashAnywhere.TestCase
TestCrashAnywhere.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
