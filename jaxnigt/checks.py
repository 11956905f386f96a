"""The errors that a user can meet, and the checks of arguments that many functions share."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import psutil
from jaxtyping import Float64


class InputError(ValueError):
    """A value that cannot be used. The message names the key or argument and what is allowed.

    The command line prints the message without a traceback and exits with status 2.
    """


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


def whole(name: str, value: object, least: int = 1) -> int:
    """Check that an argument is a whole number of at least `least`, and return it as an int."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}: got {value!r}, a whole number of at least {least} is allowed.")
    return int(value)


def fits(name: str, size: int) -> None:
    """Check that so many bytes fit into half of the machine's memory, before anything is made."""
    most = psutil.virtual_memory().total // 2
    if size > most:
        raise InputError(
            f"{name}: it would take {size:,} bytes, at most {most:,} are allowed, half of the machine's "
            "memory."
        )


def positive(name: str, value: float, above: float = 0.0) -> float:
    """Check that an argument is a finite number above a limit, and return it as a float."""
    if not (math.isfinite(value) and value > above):
        raise InputError(f"{name}: got {value!r}, finite numbers above {above:g} are allowed.")
    return float(value)


def choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Check that an argument is one of a few words."""
    if value not in (allowed := tuple(allowed)):
        raise InputError(f"{name}: got {value!r}, allowed are {', '.join(allowed)}.")


def discount_factor(value: float) -> float:
    """Check a discount gamma, and return it as a float."""
    if not 0 < value <= 1:
        raise InputError(f"discount: got {value!r}, numbers in (0, 1] are allowed.")
    return float(value)


MOST_KEY = 2**32 - 1
"""JAX's keys hold 32 bits of an integer. Of a larger one it would drop the rest without a word."""


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
        return tuple(range(whole("seeds", value)))
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
    except ValueError:  # rows of different length
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
