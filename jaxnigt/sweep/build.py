"""From plain tables of a definition to the objects of the library."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np

from jaxnigt import environments, methods, problems, profiles
from jaxnigt.checks import InputError
from jaxnigt.environments.heterogeneity import Heterogeneity
from jaxnigt.methods import Method
from jaxnigt.problems import Problem, RunningNormalisation
from jaxnigt.profiles import Profile
from jaxnigt.sweep import modules

Plain = dict[str, Any]
"""A table with one value for each key, as `jaxnigt.sweep.expand` makes it."""

_PROBLEM = {
    "policy_gradient": (
        "module",
        "environment",
        "backend",
        "horizon",
        "discount",
        "discounting",
        "action_scale",
        "normalisation",
        "heterogeneity",
    ),
    "tabular": ("states", "actions", "branching", "own", "heterogeneity", "seed", "horizon", "discount"),
}
_PROFILE = {
    "equal": ("compute", "comm"),
    "power_law": ("exponent", "comm_exponent", "comm_scale"),
    "linear": ("comm",),
    "stragglers": ("count", "slowdown", "compute", "comm"),
    "lognormal": ("sigma", "seed", "comm"),
    "decreasing": ("exponent", "factor", "every", "times"),
    "outages": ("share", "length", "until", "seed", "compute", "comm"),
    "from_csv": ("path",),
}
_NEEDED = {"power_law": "exponent", "from_csv": "path"}
_METHOD = {
    "rennala_nigt": ("batch", "init_batch", "restart", "momentum", "stepsize"),
    "malenia_nigt": ("batch", "init_batch", "momentum", "stepsize"),
    "synchronous_nigt": ("batch", "init_batch", "momentum", "stepsize"),
    "m_synchronous_nigt": ("batch", "momentum", "stepsize"),
    "rennala_pg": ("batch", "restart", "stepsize"),
    "malenia_pg": ("batch", "stepsize"),
    "synchronous_pg": ("batch", "stepsize"),
    "n_pg_igt": ("momentum", "stepsize"),
    "afedpg": ("lookahead", "schedule", "lanes", "momentum", "stepsize"),
}
_NOISE = ("exponential", "lognormal", "gamma", "pareto", "bernoulli_outage")
_MOMENTUM = 0.1
"""Where a definition gives none, as in the experiments of arXiv 2509.24305."""


def problem(table: Plain, workers: int) -> Problem:
    """The problem of a definition; the same object for the same table, so that programs are shared.

    Args:
        table: of the problem.
        workers: n, for problems in which each worker has its own.

    Raises:
        InputError: naming a key of `problem`.
    """
    try:
        return _problem(json.dumps(table, sort_keys=True), problem_workers(table, workers))
    except InputError as error:
        raise InputError(f"problem.{error}") from None


def problem_workers(table: Plain, workers: int) -> int:
    """How many workers a problem is drawn for: n, or 1 where nothing is drawn for each of them."""
    heterogeneity = table.get("heterogeneity")
    drawn = isinstance(heterogeneity, dict) and heterogeneity["kind"] == "drawn"
    return workers if drawn or table.get("own") else 1


@functools.lru_cache(maxsize=64)
def _problem(text: str, workers: int) -> Problem:
    given = json.loads(text)
    kind = given.pop("kind")
    for key in given:
        if key not in _PROBLEM[kind]:
            raise InputError(f"{key}: kind {kind!r} allows {', '.join(_PROBLEM[kind])}.")
    if kind == "tabular":
        own = given.pop("own", False)
        heterogeneity = given.get("heterogeneity", 1.0)
        if isinstance(heterogeneity, dict):
            raise InputError("heterogeneity: a tabular problem allows a number in [0, 1].")
        return problems.tabular(workers=workers if own else 1, **given)
    if given.pop("normalisation", "none") == "running":
        given["normalisation"] = RunningNormalisation()
    if "heterogeneity" in given:
        given["heterogeneity"] = _heterogeneity(given["heterogeneity"], workers)
    if "module" in given:
        modules.run(given.pop("module"))
    return problems.policy_gradient(given.pop("environment", "reacher"), **given)


def _heterogeneity(given: Any, workers: int) -> Heterogeneity:
    if not isinstance(given, dict):
        raise InputError('heterogeneity: an environment allows a table, as { kind = "flipped" }.')
    given = dict(given)
    kind = given.pop("kind")
    allowed = {
        "flipped": ("signs", "indicator"),
        "physical": ("gravity", "mass", "friction", "strength", "attributes"),
        "drawn": ("gravity", "mass", "friction", "strength", "seed"),
    }[kind]
    for key in given:
        if key not in allowed:
            raise InputError(f"heterogeneity.{key}: kind {kind!r} allows {', '.join(allowed)}.")
    try:
        if kind == "flipped":
            return environments.flipped(**given)
        if kind == "drawn":
            return environments.Physical.drawn(workers, **given)
        return environments.Physical(**given)
    except (InputError, TypeError) as error:
        raise InputError(f"heterogeneity.{error}") from None


def method(table: Plain, workers: int) -> Method:
    """A method with hyperparameters of shape [stepsizes, momenta]; PG methods have one momentum, 1.

    Raises:
        InputError: naming a key of the method.
    """
    name = table["name"]
    own = ("name", "iterations", "eval_every")
    given = {key: value for key, value in table.items() if key not in own}
    for key in given:
        if key not in _METHOD[name]:
            raise InputError(f"{key}: {name} has none, allowed are {', '.join(_METHOD[name])}.")
    if name.startswith("synchronous") and given.setdefault("batch", workers) != workers:
        raise InputError(
            f"batch: got {given['batch']!r}, {name} takes one gradient from each of the "
            f"workers = {workers}."
        )
    if name == "m_synchronous_nigt" and given.setdefault("batch", min(5, workers)) > workers:
        raise InputError(f"batch: got {given['batch']}, at most the workers = {workers} are allowed.")
    if name == "n_pg_igt" and workers != 1:
        raise InputError(f"name: n_pg_igt has one worker, workers = {workers} is not allowed.")
    given["stepsize"] = np.asarray(given["stepsize"])[:, None]
    if "momentum" in _METHOD[name]:
        given["momentum"] = np.asarray(given.get("momentum", [_MOMENTUM]))[None, :]
    return getattr(methods, name)(**given)


def momenta(table: Plain) -> list[float]:
    """Momenta of a method's table, 1 for methods without."""
    return table.get("momentum", [_MOMENTUM]) if "momentum" in _METHOD[table["name"]] else [1.0]


def profile(table: Plain, workers: int, dimension: int) -> Profile:
    """One profile.

    Args:
        table: of the profile.
        workers: n.
        dimension: d, for communication that grows with it.

    Raises:
        InputError: naming a key of the profile.
    """
    given = dict(table)
    family, noise = given.pop("family"), given.pop("noise", None)
    for key in given:
        if key not in _PROFILE[family]:
            raise InputError(f"{key}: family {family!r} allows {', '.join(_PROFILE[family])}, noise.")
    needed = _NEEDED.get(family)
    if needed and needed not in given:
        raise InputError(f"{needed}: this key is missing, family {family!r} needs it.")
    if isinstance(given.get("comm_scale"), dict):
        given["comm_scale"] = float(dimension) ** given["comm_scale"]["dimension_power"]
    if family == "from_csv":
        found = profiles.from_csv(given["path"])
        if found.shape or found.n != workers:
            raise InputError(
                f"path: {given['path']} has {max(1, found.compute.size // found.n)} profile(s) of "
                f"{found.n} workers, one of workers = {workers} is allowed, a key at the top of the "
                "definition."
            )
    else:
        found = getattr(profiles, family)(workers, **given)
    return found if noise is None else found.replace(noise=_noise(noise))


def _noise(given: str | Plain) -> Any:
    arguments = {"name": given} if isinstance(given, str) else dict(given)
    name = arguments.pop("name")
    if name not in _NOISE:
        raise InputError(f"noise: got {name!r}, allowed are {', '.join(_NOISE)}.")
    try:
        return getattr(profiles.noise, name)(**arguments)
    except TypeError as error:
        raise InputError(f"noise.{name}: {error}.") from None
