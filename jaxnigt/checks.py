"""The errors that a user can meet, and the checks of arguments that many functions share."""

from __future__ import annotations

import dataclasses
import errno
import functools
import math
import os
import reprlib
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from jaxnigt import machine

_LONGEST = 1000
"""Characters of a message, so that a table of the user's in it does not fill the screen."""


class InputError(ValueError):
    """A value that cannot be used. The message names the key or argument and what is allowed.

    The command line prints the message without a traceback and exits with status 2. The middle of a long
    message is left out.
    """

    def __init__(self, message: str):
        half = _LONGEST // 2
        cut = f"{message[:half]} ... {message[-half:]}" if len(message) > _LONGEST else message
        super().__init__(cut)


class TrainingDiverged(ArithmeticError):  # noqa: N818  (says what happened)
    """Training produced a number that is not finite.

    Attributes:
        round: index of the first bad round, counted from 0.
        seed: number of the first bad seed in that round.
        hyperparameters: values of the hyperparameters of that run.
    """

    def __init__(self, round: int, seed: int, hyperparameters: dict[str, float]):
        super().__init__(round, seed, hyperparameters)  # by which it is pickled between processes
        self.round, self.seed, self.hyperparameters = round, seed, hyperparameters

    def __str__(self) -> str:
        values = ", ".join(f"{k} = {v:g}" for k, v in self.hyperparameters.items())
        return f"training stopped being finite at round {self.round}, seed {self.seed} ({values})"


class Stopped(RuntimeError):  # noqa: N818  (says what happened)
    """Training was asked to stop and stopped at a safe point.

    Attributes:
        done: rounds that the last snapshot holds.
    """

    def __init__(self, done: int):
        super().__init__(done)
        self.done = done

    def __str__(self) -> str:
        return f"training stopped after round {self.done}, a snapshot was taken"


class InvariantError(AssertionError):
    """A clock result that no clock can have produced. The message names the first broken invariant."""

    def __init__(self, invariant: str, where: str):
        super().__init__(invariant, where)
        self.invariant, self.where = invariant, where

    def __str__(self) -> str:
        return f"clock invariant broken: {self.invariant}, first at {self.where}"


def instance(name: str, value: object, kind: type, example: str) -> None:
    """Check that an argument is of a class; `example` is how to come by such an object."""
    if not isinstance(value, kind):
        raise InputError(
            f"{name}: got {reprlib.repr(value)}, a {kind.__name__} is allowed, such as {example}."
        )


MOST = 2**31 - 1
"""What JAX counts to in 32 bits."""
MOST_ENTRIES = 10**8
"""Of an array that is made of a few numbers, so that a slip of the keyboard fits into memory."""
MOST_WORKERS, MOST_SEEDS = 10**6, 10**5
"""Of a profile, of which a definition has several, and of a training."""


def whole(name: str, value: object, least: int = 1, most: int = MOST) -> int:
    """Check that an argument is a whole number from `least` to `most`, and return it as an int."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        given = reprlib.repr(value)
        raise InputError(f"{name}: got {given}, a whole number of at least {least} is allowed.")
    if value > most:
        raise InputError(f"{name}: whole numbers from {least} to {most} are allowed, not larger ones.")
    return int(value)


def fits(name: str, size: int) -> None:
    """Check that so many bytes fit into half of the memory that there is, before anything is made."""
    most = machine.memory() // 2
    if size > most:
        raise InputError(
            f"{name}: it would take {size:,} bytes, at most {most:,} are allowed, half of the memory "
            "that there is."
        )


def flag(name: str, value: object) -> bool:
    """Check that an argument is True or False, and return it as a bool."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name}: got {reprlib.repr(value)}, True or False is allowed.")
    return bool(value)


def room(name: str, entries: float, most: int = MOST_ENTRIES) -> None:
    """Check that an array which an argument asks for has no more than `most` entries."""
    if entries > most:
        raise InputError(f"{name}: it asks for {entries:,.0f} numbers at once, {most:,} are allowed.")


def positive(name: str, value: float, above: float = 0.0) -> float:
    """Check that an argument is a finite number above a limit, and return it as a float."""
    allowed = f"finite numbers above {above:g}"
    number = one_number(name, value, allowed)
    if not (math.isfinite(number) and number > above):
        raise InputError(f"{name}: got {value!r}, {allowed} are allowed.")
    return number


def one_number(name: str, value: object, allowed: str = "numbers") -> float:
    """Check that an argument is one real number, and return it as a float."""
    number = as_numbers(name, value, allowed)
    if number.shape or isinstance(value, np.timedelta64):
        raise InputError(f"{name}: got {reprlib.repr(value)}, {allowed} are allowed.")
    return float(number)


def within(name: str, value: object, interval: str) -> float:
    """Check that an argument is a number in an interval such as "[0, 1)", and return it as a float."""
    allowed = f"numbers in {interval}"
    number = one_number(name, value, allowed)
    least, most = (float(Fraction(end)) for end in interval[1:-1].split(","))
    above = number > least or (number == least and interval[0] == "[")
    if not (above and (number < most or (number == most and interval[-1] == "]"))):
        raise InputError(f"{name}: got {value!r}, {allowed} are allowed.")
    return number


def as_path(name: str, value: object) -> Path:
    """Check that an argument is the path of a file or folder, which need not be there."""
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name}: got {reprlib.repr(value)}, a path is allowed.")
    try:
        os.lstat(value)
    except (OSError, ValueError) as error:  # ValueError for signs that no name can have
        if not isinstance(error, OSError) or error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{name}: got {value!r}, the system has no such names ({error}).") from None
    return Path(os.fsdecode(value))


def asked(where: str, function: Callable[[], Any]) -> Any:
    """What code of the user's answers; an InputError that says where, if it raises something else."""
    try:
        return function()
    except InputError:
        raise
    except Exception as error:
        first = str(error).partition("\n")[0].rstrip(".")
        raise InputError(f"{where} raises {type(error).__name__}: {first}.") from error


_NUMBERS = {"b": "truth values", "f": "floats", "iuf": "numbers"}
"""Kinds of NumPy's types, and what they are called."""


def answer(where: str, found: Any, shape: tuple[int, ...], kinds: str) -> Any:
    """Check that code of the user's answered with an array of this shape, of one of `_NUMBERS`."""
    try:
        array: Any = found if hasattr(found, "weak_type") else np.asarray(found)  # JAX's as they are
    except ValueError:  # rows of different length
        array = np.asarray(None)
    kind = "f" if str(array.dtype).startswith("bfloat") else getattr(array.dtype, "kind", "O")
    if kind not in kinds or array.shape != shape:
        given = reprlib.repr(found) if kind in "OSU" else f"{array.dtype}{list(array.shape)}"
        raise InputError(f"{where} gives {given}, {_NUMBERS[kinds]} of shape {list(shape)} are allowed.")
    return found


def frozen(name: str, thing: Any) -> None:
    """Check that a thing of the user's is equal to another only where it computes the same.

    Compiled programs and stored results are found again by what a thing is equal to. What is equal to
    itself alone may keep what it likes.
    """
    if type(thing).__eq__ is object.__eq__:
        return
    fields = {field.name for field in dataclasses.fields(thing)}
    cached = functools.cached_property
    loose = [
        key
        for key in getattr(thing, "__dict__", {})
        if key not in fields and not isinstance(getattr(type(thing), key, None), cached)
    ]
    if loose:
        raise InputError(
            f"{name}: {type(thing).__name__} keeps {', '.join(map(repr, loose))} in no field of a "
            "dataclass; fields under @dataclasses.dataclass(frozen=True) are allowed."
        )
    try:
        hash(thing)
    except TypeError as error:
        raise InputError(
            f"{name}: {type(thing).__name__} has no hash ({error}), numbers, words and tuples are "
            "allowed in its fields."
        ) from None


def choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Check that an argument is one of a few words."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name}: got {value!r}, allowed are {', '.join(allowed)}.")


def discount_factor(value: float) -> float:
    """Check a discount gamma, and return it as a float."""
    return within("discount", value, "(0, 1]")


MOST_KEY = 2**32 - 1
"""JAX's keys hold 32 bits of an integer. Of a larger one it would drop the rest without a word."""


def as_sequence(name: str, value: object, allowed: str) -> list[Any]:
    """Check that an argument is a list, a tuple or an array of one axis, and return its entries."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return value.tolist()
    if not isinstance(value, list | tuple | range):
        raise InputError(f"{name}: got {reprlib.repr(value)}, {allowed} are allowed.")
    return list(value)


def as_key(name: str, value: object) -> Any:
    """A JAX key, from one, from a whole number, or from the raw data that jax.random.PRNGKey gives.

    Raises:
        InputError: another type, several keys, or a number that JAX would cut.
    """
    import jax

    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if 0 <= value <= MOST_KEY:
            return jax.random.key(int(value))
    elif isinstance(value, jax.Array):
        if jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key) and value.shape == ():
            return value
        if value.dtype == np.uint32 and value.shape == jax.random.key_data(jax.random.key(0)).shape:
            return jax.random.wrap_key_data(value)
    raise InputError(
        f"{name}: got {reprlib.repr(value)}, a JAX key or a whole number from 0 to {MOST_KEY} is "
        "allowed."
    )


def as_seeds(value: object) -> tuple[int, ...]:
    """Numbers of seeds, from how many there are or from different whole numbers."""
    if isinstance(value, int | np.integer):
        return tuple(range(whole("seeds", value, most=MOST_SEEDS)))
    found = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(found, list | tuple | range) and found:
        whole_numbers = [x for x in found if isinstance(x, int | np.integer) and not isinstance(x, bool)]
        different = len({int(x) for x in whole_numbers}) == len(found)
        if different and min(whole_numbers) >= 0 and max(whole_numbers) < MOST_KEY:
            return tuple(int(x) for x in whole_numbers)
    raise InputError(
        f"seeds: got {reprlib.repr(found)}, how many or different whole numbers from 0 to "
        f"{MOST_KEY - 1} are allowed."
    )


def as_numbers(name: str, value: object, allowed: str = "numbers") -> Float64[np.ndarray, "..."]:
    """Check that an argument holds real numbers, and return them in float64; durations are in seconds.

    NumPy would take True for 1, "1" for 1, the real part of a complex number, what is under a mask, and
    a millisecond for a second.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):  # rows of different length, keys of JAX
        array = np.asarray(None)
    if array.dtype.kind == "m":
        return np.asarray(array / np.timedelta64(1, "s"))
    if array.dtype.kind not in "iuf" or np.ma.is_masked(value):
        raise InputError(f"{name}: got {reprlib.repr(value)}, {allowed} are allowed.")
    return array.astype(np.float64)


def in_range(
    name: str, value: object, *, above: bool = False, below: float = math.inf
) -> Float64[np.ndarray, "..."]:
    """Check that numbers are finite, at least (or above) 0 and below a limit; return them in float64."""
    allowed = f"finite numbers {'above' if above else 'of at least'} 0"
    if below < math.inf:
        allowed += f" and below {below:g}"
    number = as_numbers(name, value, allowed)
    good = np.isfinite(number) & ((number > 0) if above else (number >= 0)) & (number < below)
    if not good.all():
        raise InputError(f"{name}: got {number[~good][0]:g}, {allowed} are allowed.")
    return number
