"""Families of profiles, profiles from files, and profiles in a word of the command line.

Numbers that are no counts may be arrays. Their axes then lead those of the profile.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxnigt.checks import (
    MOST_KEY,
    MOST_WORKERS,
    InputError,
    as_numbers,
    in_range,
    positive,
    room,
    whole,
    within,
)
from jaxnigt.profiles.profile import Profile
from jaxnigt.profiles.table import from_csv
from jaxnigt.registry import entries, register


def _worker(n: int) -> Float64[np.ndarray, " n"]:
    return np.arange(1, whole("n", n, most=MOST_WORKERS) + 1, dtype=np.float64)


def _column(name: str, value: ArrayLike) -> np.ndarray:
    """One number a profile, ready to broadcast against the axis of workers."""
    return as_numbers(name, value)[..., None]


@register("equal")
def equal(n: int, compute: ArrayLike = 1.0, comm: ArrayLike = 0.0) -> Profile:
    """All workers alike: h_i = compute [s], kappa_i = comm [s].

    Example:
        >>> equal(2, compute=3.0).compute
        array([3., 3.])
    """
    return Profile(_column("compute", compute) * np.ones_like(_worker(n)), _column("comm", comm))


@register("power_law")
def power_law(
    n: int, exponent: ArrayLike, comm_exponent: ArrayLike = 0.0, comm_scale: ArrayLike = 0.0
) -> Profile:
    """h_i = i^exponent [s] and kappa_i = comm_scale * i^comm_exponent [s], for i = 1..n.

    The experiments of arXiv 2509.24305 use exponent = comm_exponent = 1/2 with comm_scale 1 or
    d^(1/4).

    Example:
        >>> power_law(4, 0.5).compute.round(2)
        array([1.  , 1.41, 1.73, 2.  ])
    """
    i = _worker(n)
    kappa = _column("comm_scale", comm_scale) * i ** _column("comm_exponent", comm_exponent)
    return Profile(i ** _column("exponent", exponent), kappa)


@register("stragglers")
def stragglers(
    n: int, count: int = 1, slowdown: ArrayLike = 10.0, compute: ArrayLike = 1.0, comm: ArrayLike = 0.0
) -> Profile:
    """All alike but the last `count` workers, which are `slowdown` times slower, or dead if it is inf.

    Example:
        >>> stragglers(3, slowdown=5.0).compute
        array([1., 1., 5.])
    """
    i = _worker(n)
    if whole("count", count, 0) > n:
        raise InputError(f"count: got {count!r}, 0 to n = {n} stragglers are allowed.")
    slow = np.where(i > n - count, _column("slowdown", slowdown), 1.0)
    return Profile(_column("compute", compute) * slow, _column("comm", comm))


@register("linear")
def linear(n: int, comm: ArrayLike = 0.0) -> Profile:
    """h_i = i [s], for i = 1..n, and kappa_i = comm [s].

    Example:
        >>> linear(3).compute
        array([1., 2., 3.])
    """
    return Profile(_worker(n), _column("comm", comm))


@register("lognormal")
def lognormal(n: int, sigma: ArrayLike = 1.0, seed: int = 0, comm: ArrayLike = 0.0) -> Profile:
    """h_i drawn once for each worker from a log-normal of median 1 s and log-deviation sigma.

    The draws come from NumPy's generator with this seed: profiles of a batch of sigmas share them.

    Example:
        >>> lognormal(2, sigma=0.0).compute
        array([1., 1.])
    """
    in_range("sigma", sigma)
    z = np.random.default_rng(whole("seed", seed, 0, MOST_KEY)).standard_normal(len(_worker(n)))
    return Profile(np.exp(_column("sigma", sigma) * z), _column("comm", comm))


@register("decreasing")
def decreasing(
    n: int, exponent: ArrayLike = 0.5, factor: float = 2.0, every: float = 100.0, times: int = 4
) -> Profile:
    """h_i = i^exponent [s], and all workers get `factor` times faster `times` times, `every` [s].

    Example:
        >>> decreasing(1, every=10.0, times=2).power[0]
        array([10., 20.])
    """
    room("times", whole("times", times) * len(_worker(n)))
    breaks = positive("every", every) * np.arange(1, times + 1)
    values = np.repeat(positive("factor", factor) ** np.arange(times + 1.0)[:, None], n, axis=1)
    return power_law(n, exponent).replace(power=(breaks, values))


@register("outages")
def outages(
    n: int,
    share: float = 0.2,
    length: float = 10.0,
    until: float = 1000.0,
    seed: int = 0,
    compute: ArrayLike = 1.0,
    comm: ArrayLike = 0.0,
) -> Profile:
    """`equal` workers that are now and then away: power 0 in some pieces of time, 1 in the others.

    In each piece of `length` seconds until `until`, a worker is away with probability `share`, in [0,
    1). The draws come from NumPy's generator with this seed: all profiles of a batch share them.

    Example:
        >>> outages(2, length=5.0, until=10.0).power[1].shape
        (3, 2)
    """
    within("share", share, "[0, 1)")
    spans = positive("until", until) / positive("length", length)
    room("until", spans * len(_worker(n)))
    pieces = math.ceil(spans)
    away = np.random.default_rng(whole("seed", seed, 0, MOST_KEY)).random((pieces, n)) < share
    values = np.concatenate([1.0 - away, np.ones((1, n))])
    return equal(n, compute, comm).replace(power=(length * np.arange(1, pieces + 1), values))


_ALIASES = {"p": "exponent"}


def parse(text: str) -> Profile:
    """A profile from "family:key=value,key=value" or from the path of a CSV file.

    Families are those of `jaxnigt.profiles`, with the arguments of the function of that name. The letter
    p stands for exponent.

    Raises:
        InputError: neither a family nor a file, an argument that is unknown, missing or out of range.

    Example:
        >>> parse("power_law:n=3,p=1").compute
        array([1., 2., 3.])
    """
    family, _, rest = text.partition(":")
    known = {name: entry.maker for name, entry in entries("profile").items() if name != "from_csv"}
    if family in known:
        return known[family](**_arguments(family, inspect.signature(known[family]).parameters, rest))
    if Path(text).is_file() or text.endswith(".csv"):
        return from_csv(text)
    allowed = ", ".join(known)
    raise InputError(
        f"profile: got {text!r}, a CSV file or one of {allowed}, as family:n=10, is allowed."
    )


def _arguments(family: str, known: Mapping[str, inspect.Parameter], text: str) -> dict[str, Any]:
    """What "key=value,key=value" says for the arguments of a family."""
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
        kind = int if known[key].annotation in (int, "int") else float
        try:
            arguments[key] = kind(value)
        except ValueError:
            allowed = "whole numbers" if kind is int else "numbers"
            raise InputError(f"profile: {key} = {value!r}, {allowed} are allowed.") from None
    needed = [key for key, parameter in known.items() if parameter.default is parameter.empty]
    if missing := [key for key in needed if key not in arguments]:
        example = ",".join(f"{key}={10 if key == 'n' else 0.5}" for key in needed)
        raise InputError(f"profile: {family} needs {missing[0]}, as in {family}:{example}.")
    return arguments
