"""How a durable function wants to be called: declared by a decorator, or given for one call."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

from durable_agents.retry import RetryPolicy

__all__ = [
    "VARIADIC",
    "DurableOptions",
    "OnInterrupt",
    "check_reconciler",
    "declared_options",
    "durable",
    "is_declared",
    "signature_of",
]

OnInterrupt: TypeAlias = Literal["rerun", "fail", "ask"]
F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = "__durable_options__"


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableOptions:
    """How a durable function wants to be called; None leaves the default."""

    name: str | None = None
    """Id of the function instead of `module:qualname`; survives renaming and moving it."""
    retry: RetryPolicy | None = None
    """When to try again. Default: never."""
    timeout: float | None = None
    """Seconds for each attempt, > 0. Default: no bound."""
    reconciler: Callable[..., Any] | None = None
    """Asks the outside whether an interrupted call took effect; takes the call's arguments or
    none."""
    on_interrupt: OnInterrupt | None = None
    """What becomes of a call in doubt without a reconciler. Default `"rerun"`."""
    limit: str | None = None
    """Name of a limit in `WorkerSettings.limits`."""
    key: str | None = None
    """Stands for the arguments, and for a method's instance, in the digest: for those that have
    no stable form."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.timeout is not None and not self.timeout > 0:
            msg = f"timeout is {self.timeout!r}, expected seconds > 0 or None"
            raise ValueError(msg)
        if self.on_interrupt not in {None, "rerun", "fail", "ask"}:
            msg = f"on_interrupt is {self.on_interrupt!r}, expected 'rerun', 'fail' or 'ask'"
            raise ValueError(msg)
        if self.reconciler is not None and not callable(self.reconciler):
            msg = f"the reconciler must be callable, got {type(self.reconciler).__name__}"
            raise TypeError(msg)

    @property
    def is_guarded(self) -> bool:
        """Whether a pending record is written before the effect."""
        return self.reconciler is not None or self.on_interrupt in {"fail", "ask"}

    def merged_over(self, declared: "DurableOptions") -> "DurableOptions":
        """These options where they are given, the declared ones elsewhere."""
        given = {f: v for f in self.__slots__ if (v := getattr(self, f)) is not None}
        return replace(declared, **given)


def durable(  # noqa: PLR0913 - each is one documented option of the decorator
    *,
    name: str | None = None,
    retry: RetryPolicy | None = None,
    timeout: float | None = None,
    reconciler: Callable[..., Any] | None = None,
    on_interrupt: OnInterrupt | None = None,
    limit: str | None = None,
    key: str | None = None,
) -> Callable[[F], F]:
    """Declare how a function behaves when it is called through `ctx.durable`.

    The function itself stays as it is: called directly, it runs without a record.

    Args:
        name: Id of the function in the journal. Default `module:qualname`.
        retry: When a failed attempt is followed by another one. Default: never.
        timeout: Seconds for each attempt. Default: no bound.
        reconciler: Asks the outside whether an interrupted call took effect. Called with the
            call's arguments or with none; returns or raises the outcome, or raises
            `NotExecuted`.
        on_interrupt: For a call in doubt without a reconciler: `"rerun"` (default) runs it
            again, `"fail"` raises `InDoubtError`, `"ask"` parks the run.
        limit: Name of a limit of the worker that each call takes a place of.
        key: Text that stands for the arguments, and for a method's instance, in the digest.

    Raises:
        TypeError: The reconciler is not callable, or takes neither no argument nor the
            arguments of the function; or the function is a bound method or builtin, which
            keeps no declaration: give the options at the call, by `ctx.options`.
        ValueError: The timeout is not positive, or `on_interrupt` is none of the three.
    """
    options = DurableOptions(
        name=name,
        retry=retry,
        timeout=timeout,
        reconciler=reconciler,
        on_interrupt=on_interrupt,
        limit=limit,
        key=key,
    )

    def declare(fn: F) -> F:
        if reconciler is not None:
            check_reconciler(reconciler, fn)
        try:
            setattr(fn, _OPTIONS, options)
        except AttributeError as error:
            msg = f"{fn!r} keeps no declaration; use ctx.options(...) where it is called"
            raise TypeError(msg) from error
        return fn

    return declare


def check_reconciler(reconciler: Callable[..., Any], fn: Callable[..., Any]) -> bool:
    """Whether the reconciler takes the call's arguments; False where it takes none.

    Raises:
        TypeError: It takes neither.
    """
    wanted = signature_of(reconciler)
    if wanted is None or not wanted.parameters:
        return wanted is None
    offered = signature_of(fn)
    if offered is None or _accepts(wanted, offered):
        return True
    if all(p.default is not p.empty or p.kind in VARIADIC for p in wanted.parameters.values()):
        return False
    msg = (
        f"the reconciler {reconciler!r} takes {wanted}; it must take no argument or the "
        f"arguments of {getattr(fn, '__qualname__', fn)}{offered}"
    )
    raise TypeError(msg)


VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
"""Kinds of parameters that take any number of arguments."""


def _accepts(wanted: inspect.Signature, offered: inspect.Signature) -> bool:
    """Whether all that `offered` takes can be handed on to `wanted`."""
    positional: list[None] = []
    keywords: dict[str, None] = {}
    for parameter in offered.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = None
        elif parameter.kind not in VARIADIC:
            positional.append(None)
    try:
        wanted.bind(*positional, **keywords)
    except TypeError:
        return False
    return True


_NOT_DECLARED = DurableOptions()


def declared_options(fn: Callable[..., Any]) -> DurableOptions:
    """What `@durable` declared for the function; the defaults where it did not."""
    declared: DurableOptions = getattr(fn, _OPTIONS, _NOT_DECLARED)
    return declared


def is_declared(fn: Callable[..., Any]) -> bool:
    """Whether `@durable` declared the function."""
    return hasattr(fn, _OPTIONS)


def signature_of(fn: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(fn)
    except ValueError:
        return None  # some builtins do not tell
