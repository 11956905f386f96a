"""The one place where names stand for objects: in TOML files, on the command line and in arguments.

Every kind of thing has a base type that its room declares. A class or a function that makes such a thing
is registered where it is defined, and nobody else keeps a list.
"""

from __future__ import annotations

import builtins
import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from jaxnigt.checks import InputError, choice, frozen

Maker = TypeVar("Maker", bound=Callable[..., Any])

KEYS = {
    "rule": "name",
    "communication": "name",
    "arrival_rule": "name",
    "noise": "name",
    "profile": "family",
    "problem": "kind",
    "method": "name",
    "environment": "name",
    "heterogeneity": "kind",
    "normalisation": "kind",
}
"""Every kind of thing, and the key of a TOML table that holds its name."""


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """A registered class or function."""

    name: str  # what users write
    kind: str  # one of `KEYS`
    maker: Callable[..., Any]  # returns a thing of this kind when it is called
    keys: Mapping[str, str]  # TOML keys that differ from the names of the maker's arguments, by argument
    facts: Mapping[str, Any]  # what else is known, such as the title and colour of a method's curve


_ENTRIES: dict[str, dict[str, Entry]] = {kind: {} for kind in KEYS}
_TESTS: dict[str, Callable[[Any], bool]] = {}


def declare(kind: str, test: type | Callable[[Any], bool]) -> None:
    """Say how things of a kind are told from others: by their base class, or by a test of a class."""
    _TESTS[kind] = (lambda found: issubclass(found, test)) if isinstance(test, type) else test


def kind_of(found: Any) -> str | None:
    """The kind of a class, None where no kind claims it."""
    if not isinstance(found, type):
        return None
    return next((kind for kind, test in _TESTS.items() if test(found)), None)


def register(
    name: str, kind: str | None = None, *, keys: Mapping[str, str] | None = None, **facts: Any
) -> Callable[[Maker], Maker]:
    """Give a class or a function of your own a name that definitions and arguments can use.

    Args:
        name: not taken by another thing of the same kind.
        kind: "rule", "communication", "arrival_rule", "noise", "profile", "problem", "method",
            "environment", "heterogeneity" or "normalisation". It can be left out where the base class,
            or the annotation of what a function returns, tells it.
        keys: TOML keys for arguments that are to be called otherwise there.
        **facts: of a method: `title`, `colour` and `line` of its curves, and `works`, keys of BibTeX
            entries.

    Returns:
        A decorator that leaves the class or function as it is.

    Raises:
        InputError: an unknown kind, a kind that cannot be told, or a name that is taken.

    Example:
        >>> import dataclasses
        >>> import jaxnigt as jn
        >>> @jn.register("half")
        ... @dataclasses.dataclass(frozen=True)
        ... class Half(jn.clock.Rule):
        ...     def done(self, counts):
        ...         return (counts > 0).mean(axis=-1) >= 0.5
        >>> jn.clock.collect(jn.profiles.linear(4), "half", 1).counts
        array([[2, 1, 0, 0]], dtype=int32)
    """
    if kind is not None:
        choice("kind", kind, KEYS)
    if not isinstance(name, str):
        raise InputError(f"name: got {name!r}, a word is allowed.")

    def decorate(maker: Maker) -> Maker:
        found = kind or kind_of(maker) or kind_of(hints(maker).get("return"))
        if found is None:
            raise InputError(f"kind: that of {name!r} cannot be told, allowed are {', '.join(KEYS)}.")
        taken = _ENTRIES[found].get(name)
        if taken is not None and not _same(taken.maker, maker):
            raise InputError(f"name: {name!r} is taken by another {found}, other names are allowed.")
        _ENTRIES[found][name] = Entry(name, found, maker, dict(keys or {}), dict(facts))
        return maker

    return decorate


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether two makers are one: a file that runs again, or a copy of it, registers its names again."""
    if (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__):
        return True
    try:
        return inspect.getsource(one) == inspect.getsource(other)
    except (OSError, TypeError):  # no source to be had
        return False


def entries(kind: str) -> dict[str, Entry]:
    """All registered things of a kind, by name."""
    return dict(_ENTRIES[kind])


def known() -> tuple[Entry, ...]:
    """Everything that is registered now; it tells whether something has been added since."""
    return tuple(entry for kind in _ENTRIES.values() for entry in kind.values())


def find(kind: str, name: object) -> Entry | None:
    """The entry of a name, None where nothing has it."""
    return _ENTRIES[kind].get(name) if isinstance(name, str) else None


def lookup(kind: str, name: object, argument: str | None = None) -> Entry:
    """The entry of a name; an InputError that names the argument, or the kind, lists what there is."""
    entry = find(kind, name)
    if entry is None:
        allowed = ", ".join(_ENTRIES[kind]) or "objects, as no name is registered"
        raise InputError(f"{argument or kind}: got {name!r}, allowed are {allowed}.")
    return entry


def make(kind: str, given: Any, argument: str | None = None, **others: Any) -> Any:
    """A thing from its name, from a table with its name and arguments, or the thing itself.

    Names and tables inside a table are made as well. An error names `argument`, by default the kind;
    `others` are arguments of the maker that are no part of the table.

    Raises:
        InputError: an unknown name, an argument that the thing does not take, or another type.
    """
    if kind_of(type(given)) == kind:
        if dataclasses.is_dataclass(given):
            frozen(argument or kind, given)
        return given
    argument = argument or kind
    table = dict(given) if isinstance(given, Mapping) else {KEYS[kind]: given}
    entry = lookup(kind, table.pop(KEYS[kind], None), argument)
    signature, annotations = inspect.signature(entry.maker), hints(entry.maker)
    names = {entry.keys.get(name, name): name for name in signature.parameters}
    for key, value in table.items():
        if key not in names:
            raise InputError(f"{argument}.{key}: {entry.name} allows {', '.join(names)}.")
        inner = _kind_within(annotations.get(names[key]))
        others[names[key]] = make(inner, value, f"{argument}.{key}") if inner else _frozen(value)
    try:
        signature.bind(**others)
    except TypeError as error:
        raise InputError(f"{argument}: {entry.name}: {error}.") from None
    return entry.maker(**others)  # outside, as a TypeError in the maker is no wrong argument


def _frozen(value: Any) -> Any:
    """Lists as tuples, which frozen values can hold."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


class _Names(dict):
    """Names for annotations. What only type checkers import stands for anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def hints(maker: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a maker's arguments, and of what it returns."""
    plain = isinstance(maker, type) and not dataclasses.is_dataclass(maker)
    names = _Names(vars(sys.modules[maker.__module__]))
    try:
        return typing.get_type_hints(
            maker.__init__ if plain else maker, None, names, include_extras=True
        )
    except TypeError:  # an annotation that only type checkers can read
        return {}


def _kind_within(annotation: Any) -> str | None:
    """The kind of the registered things that an annotation, or a member of it, allows."""
    kinds = map(kind_of, (annotation, *typing.get_args(annotation)))
    # Makers take an environment by its name: it is a class of the user's, and brax has names as well.
    return next((kind for kind in kinds if kind not in (None, "environment")), None)


def named(thing: Any) -> str:
    """How a thing is called in tables and labels: its registered name with the arguments that it has."""
    if not dataclasses.is_dataclass(thing):
        return str(thing)
    kind = kind_of(type(thing))
    registered = _ENTRIES[kind].values() if kind else ()
    name = next((e.name for e in registered if e.maker is type(thing)), type(thing).__name__)
    values = [f"{f.name}={getattr(thing, f.name)}" for f in dataclasses.fields(thing) if f.init]
    return f"{name}({', '.join(values)})" if values else name
