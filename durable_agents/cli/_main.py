"""`durable-agents`: reads the command line, runs one command, says by a number how it went.

    0    done
    1    some runs failed, are parked or would diverge, or some inputs were refused
    2    usage error, an agent that is wrongly declared, an unknown run or one in a wrong state
    3    the store cannot do what was asked or is damaged, or an output file cannot be written
    130  interrupted; the same command goes on where it stopped

Results go to standard output; progress, warnings and errors to standard error.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from durable_agents.cli._bench import add_bench
from durable_agents.cli._cancel import add_cancel
from durable_agents.cli._complete import add_complete
from durable_agents.cli._demo import add_demo
from durable_agents.cli._doctor import add_doctor
from durable_agents.cli._exit import ExitCode, OutputError, UsageError
from durable_agents.cli._fork import add_fork
from durable_agents.cli._list import add_runs
from durable_agents.cli._pause import add_pause, add_resume
from durable_agents.cli._prune import add_prune
from durable_agents.cli._replay import add_replay
from durable_agents.cli._resolve import add_resolve
from durable_agents.cli._retry import add_retry
from durable_agents.cli._run import add_run
from durable_agents.cli._show import say
from durable_agents.cli._show_run import add_show
from durable_agents.cli._signal import add_signal
from durable_agents.errors import DurableAgentsError, StoreError

__all__ = ["main", "parser"]

_COMMANDS = (
    add_demo,
    add_run,
    add_runs,
    add_show,
    add_retry,
    add_cancel,
    add_resolve,
    add_signal,
    add_complete,
    add_fork,
    add_pause,
    add_resume,
    add_prune,
    add_bench,
    add_doctor,
    add_replay,
)

_EPILOG = """\
exit codes: 0 done, 1 some runs failed, are parked, were refused or would diverge, 2 usage or
definition error, an unknown run, or one in the wrong state, 3 the store or the output file
cannot be used, 130 interrupted (the same command goes on where it stopped)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What follows the name of the program. Default: those of the process.

    Returns:
        The exit code. Wrong usage leaves by `SystemExit`, as argparse does.
    """
    parsed = parser().parse_args(arguments)
    logger = logging.getLogger("durable_agents")
    handler = _OneLine(logging.WARNING)
    logger.addHandler(handler)
    try:
        return int(parsed.run(parsed))
    except (StoreError, OutputError) as error:
        return _complain(error, ExitCode.STORE)
    except (UsageError, DurableAgentsError) as error:
        return _complain(error, ExitCode.USAGE)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not fail on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except KeyboardInterrupt:
        return _complain("interrupted", ExitCode.INTERRUPTED)
    finally:
        logger.removeHandler(handler)


def parser() -> argparse.ArgumentParser:
    """What understands the command line, all commands included."""
    made = argparse.ArgumentParser(
        prog="durable-agents",
        description="Durable execution for asyncio: agents that survive crashes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in _COMMANDS:
        add(commands)
    return made


def _complain(problem: object, code: ExitCode) -> ExitCode:
    say(f"durable-agents: {problem}", sys.stderr)
    return code


class _OneLine(logging.Handler):
    """Shows what the worker has to tell without tracebacks; those of runs are in the store."""

    def emit(self, record: logging.LogRecord) -> None:
        # Looked up each time: a progress bar puts its own stream in place while it is shown.
        say(f"{record.levelname.lower()}: {record.getMessage()}", sys.stderr)
