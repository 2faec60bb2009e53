"""pydantic's `ValidationError`, which no `__new__` makes and whose pickles cannot be read.

pydantic-core makes one from its title and the list of what was wrong; no validator runs again.
pydantic is never imported: where it is not loaded, there is no such error to handle.
"""

# ruff: noqa: ANN401 - the border where values are of any type

from typing import Any

from durable_agents.serialization._classes import find_class, is_findable, reference

__all__ = ["is_validation_error", "make_validation_error", "validation_parts"]

_CORE = "pydantic_core._pydantic_core"
_VALIDATION_ERROR = f"{_CORE}:ValidationError"
_CUSTOM_ERROR = f"{_CORE}:PydanticCustomError"
_KEPT = ("loc", "input", "ctx")


def is_validation_error(cls: type) -> bool:
    """Whether a class is pydantic's `ValidationError` itself."""
    return reference(cls) == _VALIDATION_ERROR and is_findable(cls)


def validation_parts(error: Any) -> dict[str, Any]:
    """What a `ValidationError` is made of."""
    # https://docs.pydantic.dev/latest/api/pydantic_core/#pydantic_core.ValidationError
    _make, (title, problems, mode, hides_input) = error.__reduce__()
    return {
        "title": title,
        "problems": [_problem_parts(problem) for problem in problems],
        "mode": mode,
        "hides_input": hides_input,
    }


def _problem_parts(problem: dict[str, Any]) -> dict[str, Any]:
    kind = problem["type"]
    if type(kind) is not str:  # an error of a validator's own
        kind = (kind.type, kind.message_template, kind.context)
    return {"type": kind, **{name: problem[name] for name in _KEPT if name in problem}}


def make_validation_error(parts: dict[str, Any]) -> BaseException:
    """The `ValidationError` that consists of these parts.

    Raises:
        Exception: Of whatever class: no such error can be made of them.
    """
    problems = [dict(problem) for problem in parts["problems"]]
    for problem in problems:
        if type(problem["type"]) is tuple:
            problem["type"] = find_class(_CUSTOM_ERROR)(*problem["type"])
    make: Any = find_class(_VALIDATION_ERROR)
    error: BaseException = make.from_exception_data(
        parts["title"], problems, parts["mode"], parts["hides_input"]
    )
    return error
