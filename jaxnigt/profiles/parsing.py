"""Profiles in one word, as a command line takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxnigt.checks import InputError
from jaxnigt.profiles import families
from jaxnigt.profiles.profile import Profile
from jaxnigt.profiles.reading import from_csv

_FAMILIES: dict[str, Callable[..., Profile]] = {
    "equal": families.equal,
    "linear": families.linear,
    "lognormal": families.lognormal,
    "power_law": families.power_law,
    "stragglers": families.stragglers,
}

_ALIASES = {"p": "exponent"}

_WHOLE = ("n", "count", "seed")


def parse(text: str) -> Profile:
    """A profile from "family:key=value,key=value" or from the path of a CSV file.

    Families are equal, linear, lognormal, power_law and stragglers, with the arguments of the
    functions of that name in `jaxnigt.profiles`; p stands for exponent.

    Raises:
        InputError: neither a family nor a file, an argument that is unknown, missing or out of range.

    Example:
        >>> parse("power_law:n=3,p=1").compute
        array([1., 2., 3.])
    """
    family, _, rest = text.partition(":")
    if family in _FAMILIES:
        function = _FAMILIES[family]
        return function(**_arguments(family, function, rest))
    if Path(text).is_file() or text.endswith(".csv"):
        return from_csv(text)
    allowed = ", ".join(_FAMILIES)
    raise InputError(
        f"profile: got {text!r}, a CSV file or one of {allowed}, as family:n=10, is allowed."
    )


def _arguments(family: str, function: Callable[..., Profile], text: str) -> dict[str, Any]:
    known = inspect.signature(function).parameters
    arguments: dict[str, Any] = {}
    for part in text.split(",") if text else []:
        name, equals, value = (x.strip() for x in part.partition("="))
        key = _ALIASES.get(name, name)
        if not equals or key not in known:
            raise InputError(
                f"profile: got {part!r} for {family}, allowed are {', '.join(known)} = number."
            )
        if key in arguments:
            raise InputError(f"profile: {key} of {family} is given twice, once is allowed.")
        arguments[key] = _number(key, value)
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise InputError(f"profile: {family} needs {key}, as in {family}:{_example(known)}.")
    return arguments


def _example(known: Mapping[str, inspect.Parameter]) -> str:
    """Values for the arguments that have no default."""
    needed = [key for key, parameter in known.items() if parameter.default is parameter.empty]
    return ",".join(f"{key}={10 if key == 'n' else 0.5}" for key in needed)


def _number(key: str, value: str) -> int | float:
    kind = int if key in _WHOLE else float
    try:
        return kind(value)
    except ValueError:
        allowed = "whole numbers" if kind is int else "numbers"
        raise InputError(f"profile: {key} = {value!r}, {allowed} are allowed.") from None
