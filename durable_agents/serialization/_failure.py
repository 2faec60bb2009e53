"""Exceptions to records and back, without their constructors.

An `except` clause must match on replay as it did at first, and many exceptions cannot be
unpickled: a constructor with two arguments is enough. So an exception is taken apart into its
arguments, its attributes and what C keeps for it, and is put together by the `__new__` of the
builtin class it derives from.

All exceptions that belong together (causes, contexts, members of groups, those among arguments
and attributes) go into one list and refer to each other by their place in it: cycles and shared
causes come back as they were.

What cannot be recorded is left out, and a note on the exception says so. One whose class cannot
be found or made is replaced by a `CallFailedError`. Neither hides the failure itself.
"""

# ruff: noqa: ANN401 - the border where values are of any type

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from durable_agents.errors import CallFailedError
from durable_agents.serialization._classes import bare, find_class, is_findable, reference
from durable_agents.serialization._exceptions import (
    add_notes,
    attributes_of,
    builtin_base,
    get_args,
    get_chain,
    get_group,
    member_values,
    members_of,
    recorded_traceback,
    set_args,
    set_attributes,
    set_chain,
    set_traceback,
)
from durable_agents.serialization._plain import is_encodable_text
from durable_agents.serialization._tree_reader import TreeReader
from durable_agents.serialization._tree_writer import Refused, TreeWriter, refuse, type_name
from durable_agents.serialization._validation import (
    is_validation_error,
    make_validation_error,
    validation_parts,
)

__all__ = ["FailureWriter", "read_failure"]

_EXCEPTION, _PICKLED = 50, 51
_MAX_LINKS = 64
_LEAN_CHARACTERS = 1_000
_LEAN_TRACEBACK_CHARACTERS = 16_000
_RAISED_AGAIN = "The exception above came back from the journal, and was raised again:"


class _Record(msgspec.Struct, omit_defaults=True):
    """One exception. On disk: fields are only added, with a default."""

    type: str
    text: str = ""
    is_findable: bool = True
    args: list[Any] = []
    attributes: dict[str, Any] = {}
    members: dict[str, Any] = {}
    """What descriptors hold: slots, and the fields of builtin exceptions."""
    message: str = ""
    group: list[int] | None = None
    validation: Any = None
    cause: int | None = None
    context: int | None = None
    is_context_suppressed: bool = False
    lost: list[str] = []
    traceback: str = ""


_encode_records = msgspec.msgpack.Encoder().encode
_decode_records = msgspec.msgpack.Decoder(list[_Record]).decode


class FailureWriter:
    """Makes the bytes of one exception and of all that belong to it.

    Args:
        pickle: Pickles a part that has no other form, or raises `Refused`. None: such parts are
            left out.
        is_lean: Whether to leave out all but short scalars, for exceptions that are too large.
    """

    __slots__ = (
        "_errors",
        "_indices",
        "_is_lean",
        "_links",
        "_pickle",
        "_write",
        "has_pickles",
    )

    def __init__(self, pickle: Callable[[Any], bytes] | None, *, is_lean: bool = False) -> None:
        self.has_pickles = False
        """Whether the bytes hold pickles."""
        self._pickle = pickle
        self._is_lean = is_lean
        self._write = TreeWriter(self._foreign).tree
        self._errors: list[BaseException] = []
        self._links: list[int] = []
        self._indices: dict[int, int] = {}

    def write(self, error: BaseException) -> bytes:
        """Bytes of an exception. Never raises, whatever the exception's own code does."""
        self._refer(error, 0)
        # The list grows while records are made of it.
        records = [self._record(index, each) for index, each in enumerate(self._errors)]
        records[0].traceback = self._short(_formatted(error), _LEAN_TRACEBACK_CHARACTERS)
        return _encode_records(records)

    def _refer(self, error: BaseException, links: int) -> int:
        # By identity: an exception may define equality, or none.
        index = self._indices.setdefault(id(error), len(self._errors))
        if index == len(self._errors):
            self._errors.append(error)
            self._links.append(links)
        return index

    def _record(self, index: int, error: BaseException) -> _Record:
        cls = type(error)
        lost: list[str] = []
        record = _Record(
            type=_clean(reference(cls)),
            text=self._short(_text(error)),
            is_findable=is_findable(cls),
            args=[
                self._argument(place, part, lost) for place, part in enumerate(get_args(error))
            ],
            attributes=self._parts(attributes_of(error), lost),
            members=self._parts(member_values(error), lost),
            is_context_suppressed=error.__suppress_context__,
            lost=lost,
        )
        group = get_group(error)
        if group is not None:
            record.message = self._short(group[0])
            record.group = [self._refer(each, self._links[index]) for each in group[1]]
        elif is_validation_error(cls):
            record.validation = self._validation(error, lost)
        cause, context = get_chain(error)
        record.cause = self._link(index, cause, lost)
        record.context = self._link(index, context, lost)
        return record

    def _link(self, index: int, error: BaseException | None, lost: list[str]) -> int | None:
        if error is None:
            return None
        links = self._links[index] + 1
        if links > _MAX_LINKS and id(error) not in self._indices:
            lost.append(
                f"what came before it was not recorded: {_MAX_LINKS} links are the limit"
            )
            return None
        return self._refer(error, links)

    def _argument(self, index: int, value: Any, lost: list[str]) -> Any:
        try:
            return self._tree(value)
        except Refused as error:
            lost.append(
                f"argument {index} ({type_name(value)}) is kept as its text: {_why(error)}"
            )
            return self._short(_text(value))

    def _parts(self, values: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        for name, value in values.items():
            try:
                parts[name] = self._tree(value)
            except Refused as error:
                lost.append(
                    f"attribute {name} ({type_name(value)}) was not recorded: {_why(error)}"
                )
        return parts

    def _validation(self, error: BaseException, lost: list[str]) -> Any:
        parts = validation_parts(error)
        for problem in parts["problems"]:
            for name in ("input", "ctx"):
                kept = self._parts({name: problem.get(name)}, lost)
                if name in problem and name not in kept:
                    problem[name] = {} if name == "ctx" else self._short(_text(problem[name]))
        return self._write(parts)

    def _tree(self, value: Any) -> Any:
        if self._is_lean and not _is_short(value):
            raise Refused(type_name(value), "the exception as a whole is too large")
        try:
            return self._write(value)
        except RecursionError as error:
            raise Refused(type_name(value), "it nests too deep") from error

    def _foreign(self, value: Any) -> Any:
        if isinstance(value, BaseException):
            return {_EXCEPTION: self._refer(value, 0)}
        if self._pickle is None:
            refuse(value)
        data = self._pickle(value)
        self.has_pickles = True
        return {_PICKLED: data}

    def _short(self, text: str, most: int = _LEAN_CHARACTERS) -> str:
        text = _clean(text)
        if not self._is_lean or len(text) <= most:
            return text
        return f"{text[: most // 2]}\n...\n{text[-most // 2 :]}"


def read_failure(data: bytes, unpickle: Callable[[bytes], Any] | None) -> BaseException:
    """The exception that a `FailureWriter` wrote.

    Args:
        data: What it wrote; may be forged.
        unpickle: Reads a pickle. None: parts that are pickles are left out.

    Raises:
        Exception: Of whatever class: the data are no exception's; the text says why.
    """
    return _FailureReader(_decode_records(data), unpickle).read()


class _FailureReader:
    """Makes exceptions of records: first all of them, then what they hold: maybe each other."""

    __slots__ = ("_errors", "_in_progress", "_records", "_stand_ins", "_unpickle", "_value")

    def __init__(self, records: list[_Record], unpickle: Callable[[bytes], Any] | None) -> None:
        self._records = records
        self._errors: dict[int, BaseException] = {}
        self._in_progress: set[int] = set()
        self._stand_ins: set[int] = set()
        self._unpickle = unpickle
        self._value = TreeReader({_EXCEPTION: self._error, _PICKLED: self._unpickled}).value

    def read(self) -> BaseException:
        for index in range(len(self._records)):
            self._error(index)
        for index, record in enumerate(self._records):
            self._fill(index, record)
        error = self._errors[0]
        if self._records[0].traceback:
            set_traceback(error, self._records[0].traceback)
        return error

    def _error(self, index: int) -> BaseException:
        if index not in self._errors:
            if index in self._in_progress:
                msg = "an exception is a member of itself"
                raise ValueError(msg)
            self._in_progress.add(index)
            record = self._records[index]
            made = self._made(record)
            if made is None:
                made = CallFailedError(record.type, record.text, record.traceback)
                self._stand_ins.add(index)
            self._errors[index] = made
        return self._errors[index]

    def _made(self, record: _Record) -> BaseException | None:
        members = [self._error(index) for index in record.group or ()]
        if not record.is_findable:
            return None
        try:
            cls = find_class(record.type)
            if record.validation is not None and is_validation_error(cls):
                return make_validation_error(self._value(record.validation))
            base = builtin_base(cls)
            if base is None:
                return None
            content = () if record.group is None else (record.message, members)
            made: BaseException = bare(cls, base, *content)
        except Exception:  # noqa: BLE001 - it cannot be made, whatever the reason
            return None
        return made

    def _fill(self, index: int, record: _Record) -> None:
        error = self._errors[index]
        lost = list(record.lost)
        if index not in self._stand_ins:
            set_args(error, tuple(self._argument(part, lost) for part in record.args))
            set_attributes(error, self._parts(record.attributes, lost))
            _set_members(error, self._parts(record.members, lost), lost)
        set_chain(
            error,
            None if record.cause is None else self._errors[record.cause],
            None if record.context is None else self._errors[record.context],
            is_context_suppressed=record.is_context_suppressed,
        )
        add_notes(error, lost)

    def _argument(self, tree: Any, lost: list[str]) -> Any:
        try:
            return self._value(tree)
        except Exception as error:  # noqa: BLE001 - a class of the author's may raise anything
            lost.append(f"an argument could not be read: {error}")
            return "<not readable>"

    def _parts(self, trees: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        for name, tree in trees.items():
            try:
                parts[name] = self._value(tree)
            except Exception as error:  # noqa: BLE001 - a class of the author's may raise anything
                lost.append(f"attribute {name} could not be read: {error}")
        return parts

    def _unpickled(self, body: Any) -> Any:
        if self._unpickle is None:
            msg = "it is a pickle, and the codec does not read those"
            raise ValueError(msg)
        return self._unpickle(body)


def _set_members(error: BaseException, parts: Mapping[str, Any], lost: list[str]) -> None:
    members = members_of(type(error))
    for name, part in parts.items():
        try:
            members[name].__set__(error, part)
        except Exception as problem:  # noqa: BLE001 - a descriptor written in C says no
            lost.append(f"attribute {name} could not be set: {problem!r}")


def _formatted(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as problem:  # noqa: BLE001 - the exception's own code
        text = f"(the traceback cannot be formatted: {type(problem).__name__})"
    earlier = recorded_traceback(error)
    if earlier is None:
        return text
    return f"{earlier}\n{_RAISED_AGAIN}\n\n{text}"


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - the value's own code
        return f"<a {type_name(value)} whose text cannot be made>"


def _why(error: Refused) -> str:
    return _clean(f"{error.place()} {error.problem}".strip())


def _clean(text: str) -> str:
    return text if is_encodable_text(text) else text.encode(errors="backslashreplace").decode()


def _is_short(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= _LEAN_CHARACTERS
    return value is None or type(value) in {bool, int, float}
