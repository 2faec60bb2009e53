"""Raw inputs into what the agent declares, at the one border where data is not yet trusted."""

from typing import Any, is_typeddict

import msgspec

from durable_agents.errors import DefinitionError, InputError

__all__ = ["check_input_type", "decode"]


def check_input_type(wanted: Any) -> None:  # noqa: ANN401 - any type can be declared
    """Make sure that inputs can be decoded into a type at all.

    Raises:
        DefinitionError: They cannot; the text says why.
    """
    try:
        msgspec.msgpack.Decoder(wanted, dec_hook=_foreign)
    except TypeError as error:
        msg = f"input={_named(wanted)} is not a type that inputs can be decoded into: {error}"
        raise DefinitionError(msg) from error


def decode(
    raw: object,
    wanted: Any,  # noqa: ANN401 - any type can be declared
    what: str = "the input",
) -> Any:  # noqa: ANN401 - any type can be declared
    """The input as the declared type; an instance of it as it is.

    Args:
        raw: What a caller or a file handed in: an instance, or data such as JSON gives.
        wanted: The declared type.
        what: What is decoded, for the error.

    Raises:
        InputError: It does not fit; the text has the field's path and what was expected.
    """
    if _is_instance(raw, wanted):
        return raw
    try:
        return msgspec.convert(raw, wanted, dec_hook=_foreign)
    except msgspec.ValidationError as error:
        msg = f"{what} does not fit {_named(wanted)}: {error}"
        raise InputError(msg) from error


# Instances pass as they are: msgspec would refuse those of classes that it does not know.
def _is_instance(raw: object, wanted: Any) -> bool:  # noqa: ANN401 - any type can be declared
    if type(raw) is wanted:
        return True
    return isinstance(wanted, type) and not is_typeddict(wanted) and isinstance(raw, wanted)


def _foreign(wanted: Any, raw: object) -> Any:  # noqa: ANN401 - any type can be declared
    """An instance of a class that msgspec does not know; pydantic's know how to validate."""
    validate = getattr(wanted, "model_validate", None)
    if validate is None:
        msg = f"Expected `{_named(wanted)}`, got `{type(raw).__name__}`"
        raise ValueError(msg)
    try:
        return validate(raw)
    except ValueError as error:
        raise ValueError(_summary(error)) from error


def _summary(error: ValueError) -> str:
    """What pydantic found wrong, in one line: each field's path and what was expected."""
    errors: Any = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    return "; ".join(f"{e['msg']} - at `{'.'.join(map(str, e['loc']))}`" for e in errors())


def _named(wanted: Any) -> str:  # noqa: ANN401 - any type can be declared
    return wanted.__name__ if isinstance(wanted, type) else repr(wanted)
