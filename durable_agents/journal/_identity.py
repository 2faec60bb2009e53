"""What was called: the function's id and the digest of its arguments.

Rule 1: the identity of a call is the same in every process, on every machine and for every
order of keywords, sets and dictionaries. Rule 2: what has no such identity is refused with the
remedy; nothing falls back to a `repr` or to an address in memory.

    callable                            id                         part of the digest
    ---------------------------------   ------------------------   ---------------------------
    function, class or static method    module:qualname            -
    lambda                              module:qualname#code       -
    functools.partial                   that of its function       its arguments
    bound method                        module:qualname            the instance, if plain data
    object with `__call__`              module:qualname of class   the instance, if plain data
    any of them with a declared name    the name                   arguments only

Arguments are bound to the signature first, so that a value given by position or by keyword is
the same call. Defaults that were not given are left out: a new parameter with a default changes
no call that was recorded before it.
"""

import functools
import inspect
import reprlib
from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any, NamedTuple, cast

import msgspec

from durable_agents.errors import EncodeError, UnsupportedCallableError
from durable_agents.journal._options import (
    VARIADIC,
    DurableOptions,
    check_reconciler,
    declared_options,
    signature_of,
)
from durable_agents.serialization import SCALARS, canonical_bytes, scalar_bytes

__all__ = [
    "CallIdentity",
    "CallableSpec",
    "identify",
    "is_async",
]

_DIGEST_BYTES = 16
_PREVIEW_LENGTH = 120


class CallIdentity(msgspec.Struct, eq=False):
    """One durable call as it was made: what is called, with what, and how it is known."""

    spec: "CallableSpec"
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    digest: bytes
    preview: str

    def __str__(self) -> str:
        return f"{self.spec.function_id}({self.preview})"


class CallableSpec:
    """A callable, described once: its id, its parameters, and how it wants to be called."""

    __slots__ = (
        "_counts",
        "_names",
        "_prefixes",
        "_seed",
        "_signature",
        "fn",
        "function_id",
        "is_async",
        "is_direct",
        "is_guarded",
        "options",
        "reconciler_takes_arguments",
    )

    def __init__(self, fn: Callable[..., Any], options: DurableOptions) -> None:
        shape = _shape_of(fn)
        self.fn: Callable[..., Any] = fn
        self.options: DurableOptions = options
        self.is_async: bool = shape.is_async
        self.function_id: str
        self.function_id, instance = (
            _function_id(fn) if options.name is None else (options.name, None)
        )
        is_in_digest = instance is not None and options.key is None
        self._seed = _instance_bytes(instance, self.function_id) if is_in_digest else b""
        self._signature = shape.signature
        self._names = shape.names
        self._counts = shape.counts
        self._prefixes: dict[int, blake2b] = {}
        self.is_guarded: bool = options.is_guarded
        # Nothing to wait for, to look up or to write before the effect: the straight road.
        self.is_direct: bool = (
            self.is_async
            and not self.is_guarded
            and (options.retry is None and options.timeout is None and options.limit is None)
        )
        reconciler = options.reconciler
        self.reconciler_takes_arguments: bool = reconciler is not None and check_reconciler(
            reconciler, fn
        )

    def identify(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> CallIdentity:
        """The call of this callable with these arguments, as it stands before it runs.

        Raises:
            EncodeError: An argument has no stable form; the error names it.
            TypeError: The callable does not take these arguments.
        """
        if (
            kwargs
            or (prefix := self._prefixes.get(len(args))) is None
            or (content := scalar_bytes(args)) is None
        ):
            digest, preview = self._digest(args, kwargs), _preview(args, kwargs)
            return CallIdentity(self, args, kwargs, digest, preview)
        # A few scalars, and not for the first time: the straight road.
        state = prefix.copy()
        state.update(content)
        if len(content) > _SHORT:
            preview = _preview(args, kwargs)
        else:
            preview = repr(args[0]) if len(args) == 1 else repr(args)[1:-1]
        return CallIdentity(self, args, kwargs, state.digest(), preview[:_PREVIEW_LENGTH])

    def _digest(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        if self.options.key is not None:
            self._bind(args, kwargs)
            key = self.options.key.encode(errors="surrogatepass")
            return self._prefix(("key",), key).digest()
        if kwargs or len(args) not in self._counts:
            bound = self._bind(args, kwargs)
            names, values = tuple(bound), list(bound.values())
            return self._prefix(names, self._canonical(names, values)).digest()
        # One hash state per number of arguments: the names are hashed once, not per call.
        prefix = self._prefixes.get(len(args))
        if prefix is None:
            prefix = self._prefixes[len(args)] = self._prefix(self._names[: len(args)], b"")
        prefix = prefix.copy()
        prefix.update(self._canonical(self._names, list(args)))
        return prefix.digest()

    def _prefix(self, names: tuple[str, ...], content: bytes) -> blake2b:
        state = blake2b(self._seed, digest_size=_DIGEST_BYTES)
        state.update("\0".join(names).encode(errors="surrogatepass") + b"\0")
        state.update(content)
        return state

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if self._signature is None:
            return {**{str(i): a for i, a in enumerate(args)}, **dict(sorted(kwargs.items()))}
        return self._signature.bind(*args, **kwargs).arguments

    def _canonical(self, names: tuple[str, ...], values: list[Any]) -> bytes:
        try:
            return canonical_bytes(values, self.function_id)
        except EncodeError:
            # Once more, one by one: the error has to name the argument.
            for name, value in zip(names, values, strict=False):
                canonical_bytes(value, f"argument {name!r} of {self.function_id}")
            raise


class _Shape(NamedTuple):
    """What of a callable stays the same from one call of it to the next."""

    code: CodeType | None
    is_async: bool
    signature: inspect.Signature | None
    names: tuple[str, ...]
    """Of the parameters that may be given by position."""
    counts: range
    """How many arguments it may be given where all are given by position."""


def _shape_of(fn: Callable[..., Any]) -> _Shape:
    """Its shape; a function keeps it, since it takes ten times as long to find out as a call.

    Closures and bound methods are made anew all the time. So a function knows its shape, and
    the one that its methods have; `functools.wraps` hands it on with everything else that a
    function keeps, to one that has another code.
    """
    if isinstance(fn, FunctionType):
        function, name = fn, "_durable_shape"
    elif isinstance(fn, MethodType) and isinstance(fn.__func__, FunctionType):
        function, name = fn.__func__, "_durable_method_shape"
    else:
        return _described_shape(fn, None)
    shape: _Shape | None = function.__dict__.get(name)
    if shape is None or shape.code is not function.__code__:
        shape = function.__dict__[name] = _described_shape(fn, function.__code__)
    return shape


def _described_shape(fn: Callable[..., Any], code: CodeType | None) -> _Shape:
    signature = signature_of(fn)
    names = _positional_names(signature)
    return _Shape(code, is_async(fn), signature, names, _counts(signature, len(names)))


def identify(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: DurableOptions | None = None,
) -> CallIdentity:
    """What calling `fn` with these arguments is known by.

    Args:
        fn: Function, partial, bound method or callable object.
        args: Positional arguments.
        kwargs: Keyword arguments.
        options: Options of this one call, which go before the declared ones.

    Raises:
        EncodeError: An argument or the instance of a method has no stable form.
        TypeError: `fn` does not take these arguments, or its reconciler does not fit.
        UnsupportedCallableError: `fn` has no stable name; give it one.
    """
    if type(fn) is FunctionType and options is None and fn.__closure__ is None:
        return _described(fn).identify(args, kwargs)
    while isinstance(fn, functools.partial):
        args, kwargs = fn.args + args, {**fn.keywords, **kwargs}
        fn = fn.func
    declared = declared_options(fn)
    merged = declared if options is None else options.merged_over(declared)
    return CallableSpec(fn, merged).identify(args, kwargs)


@functools.lru_cache(maxsize=1024)
def _described(fn: FunctionType) -> CallableSpec:
    # Only functions without a closure are kept: they live as long as their module anyway.
    return CallableSpec(fn, declared_options(fn))


def _function_id(fn: Callable[..., Any]) -> tuple[str, object | None]:
    """Id of the callable, and the instance that takes part in the digest, if any."""
    if isinstance(fn, MethodType):
        owner = fn.__self__
        if isinstance(owner, type):
            return f"{owner.__module__}:{owner.__qualname__}.{fn.__name__}", None
        return _name_of(fn), owner
    if isinstance(fn, FunctionType):
        suffix = f"#{_code_hash(fn.__code__)}" if fn.__name__ == "<lambda>" else ""
        return _name_of(fn) + suffix, None
    if isinstance(fn, BuiltinFunctionType):
        return _name_of(fn), fn.__self__ if _has_instance(fn) else None
    if hasattr(fn, "__qualname__") and hasattr(fn, "__module__"):
        return _name_of(fn), None
    return _name_of(type(fn)), fn


def _has_instance(fn: BuiltinFunctionType) -> bool:
    owner = fn.__self__
    return owner is not None and not inspect.ismodule(owner)


def _name_of(fn: Callable[..., Any]) -> str:
    module = getattr(fn, "__module__", None)
    qualname = getattr(fn, "__qualname__", None)
    if not isinstance(qualname, str):
        msg = f"{fn!r} has no name to be known by after a crash: use ctx.options(name=...)"
        raise UnsupportedCallableError(msg)
    return f"{module or 'builtins'}:{qualname}"


def _instance_bytes(instance: object, function_id: str) -> bytes:
    try:
        return canonical_bytes(instance, f"instance of {function_id}")
    except EncodeError as error:
        raise EncodeError(
            error.what,
            error.type_name,
            error.problem,
            "Name the call: ctx.options(name=...) leaves the instance out of its identity.",
        ) from error


def _code_hash(code: CodeType) -> str:
    """Hash of what a lambda does; the same in each process of one Python version."""
    # Each part is repeated with its end marked: (1, 23) is not (12, 3).
    parts = [_constant(c) for c in code.co_consts] + [*code.co_names, *code.co_freevars]
    state = blake2b(code.co_code, digest_size=6)
    state.update("".join(f"{part}\0" for part in parts).encode())
    return state.hexdigest()


def _constant(constant: object) -> str:
    if isinstance(constant, CodeType):
        return _code_hash(constant)
    if isinstance(constant, frozenset):
        members = cast("frozenset[object]", constant)  # isinstance cannot tell of what
        return f"frozenset({sorted(map(repr, members))})"
    return repr(constant)


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    if isinstance(fn, functools.partial):
        return is_async(fn.func)
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        getattr(fn, "__call__", None)  # noqa: B004 - asks how it is called, not whether
    )


def _positional_names(signature: inspect.Signature | None) -> tuple[str, ...]:
    if signature is None:
        return ()
    kinds = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return tuple(p.name for p in signature.parameters.values() if p.kind in kinds)


def _counts(signature: inspect.Signature | None, most: int) -> range:
    if signature is None:
        return range(1)
    needed = [
        p
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind not in VARIADIC
    ]
    if any(p.kind is p.KEYWORD_ONLY for p in needed):
        return range(0)
    return range(len(needed), most + 1)


_REPR = reprlib.Repr()
_SHORT = 60
_REPR.maxstring = _REPR.maxother = _SHORT
_MAX_PREVIEW_INT = 1 << 63
_FIXED = SCALARS - {int, str, bytes}


def _preview(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    text = ", ".join(map(_short, args))
    if kwargs:
        named = [f"{name}={_short(value)}" for name, value in kwargs.items()]
        text = ", ".join([text, *named] if args else named)
    text = text[:_PREVIEW_LENGTH]
    # A lone surrogate could not be recorded, and a preview must not fail a call.
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _short(value: object) -> str:
    # The commonest by themselves: `reprlib` takes ten times as long.
    if type(value) is str and len(value) <= _SHORT:
        return repr(value)
    if type(value) is int and -_MAX_PREVIEW_INT < value < _MAX_PREVIEW_INT:
        return repr(value)
    if type(value) in _FIXED:
        return repr(value)
    try:
        return _REPR.repr(value)
    except Exception:  # noqa: BLE001 - a preview must not fail a call
        return f"<{type(value).__name__}>"
