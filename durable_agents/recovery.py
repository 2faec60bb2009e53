"""What to do with a run that an earlier process left unfinished: its state in, a verdict out.

A call that kills its process (a segfault, the out-of-memory killer) would otherwise kill each
process that takes the run over. So every take-over is counted, and a run that was started
several times in a row without a single new entry is given up as a dead letter, with everything
it has on record.

Whoever runs beside such a run dies with it, and must not be given up for it. So a run that was
started once without a new entry is under suspicion: such runs start one at a time, the next one
when the one before has recorded something or has run for a while. `tests/crash` kills a worker
faster than most of its runs get anywhere, and none of them may be given up.
"""

from enum import Enum

from durable_agents.journal import RunState, RunStatus

__all__ = ["MAX_STARTS_WITHOUT_PROGRESS", "PROBATION_SECONDS", "Verdict", "verdict_on"]

MAX_STARTS_WITHOUT_PROGRESS = 5
PROBATION_SECONDS = 1.0
"""How long a run under suspicion is kept apart from its like, if it records nothing sooner."""


class Verdict(Enum):
    """What becomes of a run that is found in the store."""

    GO_ON = "go on"
    GO_ON_APART = "go on apart from others under suspicion"
    GIVE_UP = "give up"
    LEAVE = "leave"


def verdict_on(state: RunState) -> Verdict:
    """Decide about one run.

    Args:
        state: What its journal adds up to.
    """
    if not state.status.is_open or state.status is RunStatus.PARKED:
        return Verdict.LEAVE
    if state.starts_without_progress >= MAX_STARTS_WITHOUT_PROGRESS:
        return Verdict.GIVE_UP
    return Verdict.GO_ON_APART if state.starts_without_progress else Verdict.GO_ON
