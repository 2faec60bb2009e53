"""Which agent a command is about: `MODULE:AGENT`, imported."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from durable_agents.agent import Agent
from durable_agents.cli._exit import UsageError

__all__ = ["load_agent"]

_EXPECTED = "expected an Agent, a subclass of it, or a function that makes one"


def load_agent(target: str) -> Agent:
    """The agent that a text names.

    The module of a file goes by the file's name, wherever the file lies: what is on record
    refers to it by that name. Its folder, or for an import path the current one, is searched
    for what it imports, as for a script.

    Args:
        target: `MODULE:AGENT`, the module as an import path or as the path of a `.py` file.

    Raises:
        UsageError: There is no such module or name, or it stands for no agent.
    """
    place, colon, name = target.rpartition(":")
    if not (place and colon and name):
        msg = f"{target!r} names no agent: expected MODULE:AGENT, as in reviews.py:agent"
        raise UsageError(msg)
    module = _module(place)
    try:
        found: object = getattr(module, name)
    except AttributeError:
        msg = f"{place} has no {name!r}; {_agents_of(module)}"
        raise UsageError(msg) from None
    return _made(found, target)


def _module(place: str) -> ModuleType:
    try:
        return _from_file(Path(place)) if place.endswith(".py") else _from_path(place)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        msg = f"{place} cannot be imported: {type(error).__name__}: {error}{_where(error)}"
        raise UsageError(msg) from error


def _from_path(place: str) -> ModuleType:
    _search(Path.cwd())
    return importlib.import_module(place)


def _from_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        msg = f"there is no file {path}"
        raise UsageError(msg)
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
        msg = f"{path} has the name of another module, {name!r}: rename the file"
        raise UsageError(msg)
    _search(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _search(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _where(error: BaseException) -> str:
    """The place of an error in the author's own code, if it is there."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def _made(found: object, target: str) -> Agent:
    if isinstance(found, Agent):
        return found
    if not callable(found):
        msg = f"{target} is of type {type(found).__name__}; {_EXPECTED}"
        raise UsageError(msg)
    try:
        made = found()
    except Exception as error:
        msg = (
            f"{target}() failed: {type(error).__name__}: {error}; {_EXPECTED} without arguments"
        )
        raise UsageError(msg) from error
    if not isinstance(made, Agent):
        msg = f"{target}() gave a value of type {type(made).__name__}; {_EXPECTED}"
        raise UsageError(msg)
    return made


def _agents_of(module: ModuleType) -> str:
    names = sorted(name for name, value in vars(module).items() if isinstance(value, Agent))
    return f"its agents: {', '.join(names)}" if names else "it has no agents"
