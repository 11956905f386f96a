"""From the plain tables of a definition to the objects of the library."""

from __future__ import annotations

import functools
import inspect
import json
from typing import Any

import numpy as np

from jaxnigt.checks import InputError
from jaxnigt.clock.communication import Communication
from jaxnigt.methods import Asynchronous, Method
from jaxnigt.problems import Problem
from jaxnigt.problems.measured import by_gradient
from jaxnigt.profiles import Profile
from jaxnigt.registry import Entry, hints, known, lookup, make, named
from jaxnigt.sweep.definition import plain
from jaxnigt.sweep.fingerprint import sources
from jaxnigt.sweep.schema import ARRAYS, Definition, Plain


def _takes_workers(entry: Entry) -> inspect.Parameter | None:
    """The argument that says how many workers have something of their own, where there is one."""
    return inspect.signature(entry.maker).parameters.get("workers")


def problem_workers(table: Plain, workers: int) -> int:
    """How many workers a problem is drawn for: n, or 1 where nothing is drawn for each of them."""
    inner = table.get("heterogeneity")
    if isinstance(inner, dict) and _takes_workers(lookup("heterogeneity", inner["kind"])):
        return workers
    parameter = _takes_workers(lookup("problem", table["kind"]))
    shared = parameter is None or parameter.default in (None, 1)
    return workers if table.get("own") or not shared else 1


def problem(table: Plain, workers: int) -> Problem:
    """The problem of a definition; the same object for the same table, so that programs are shared.

    Raises:
        InputError: naming a key of `problem`.
    """
    now = known(), tuple(sources(table))
    return _problem(json.dumps(table, sort_keys=True), problem_workers(table, workers), now)


@functools.lru_cache(maxsize=64)
def _problem(text: str, workers: int, _: tuple[tuple[Entry, ...], tuple[str, ...]]) -> Problem:
    # What is registered and how is an argument, so that what was registered anew is not the old thing.
    table = json.loads(text)
    entry = lookup("problem", table["kind"], "problem.kind")
    takes, own, measure = _takes_workers(entry), table.pop("own", None), table.pop("measure", None)
    if own is not None and takes is None:
        raise InputError(f"problem.own: {entry.name} has no workers of its own, leave it out.")
    others: dict[str, Any] = {"workers": workers} if takes is not None and workers > 1 else {}
    inner = table.get("heterogeneity")
    if isinstance(inner, dict):
        drawn = _takes_workers(lookup("heterogeneity", inner["kind"]))
        del table["heterogeneity"]
        others["heterogeneity"] = under(
            "problem.", make, "heterogeneity", inner, **({"workers": workers} if drawn else {})
        )
    found = under("problem.", make, "problem", table, "problem", **others)
    return by_gradient(found) if measure == "gradient" else found


def under(prefix: str, function: Any, *arguments: Any, **others: Any) -> Any:
    """Call a maker, and put the table that it is for before the key that an error names."""
    try:
        return function(*arguments, **others)
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(prefix) else prefix + text) from None


def method(table: Plain, workers: int) -> Method:
    """A method whose hyperparameters have an axis each, in the order of its arguments.

    Raises:
        InputError: naming a key of the method.
    """
    entry, values = lookup("method", table["name"]), leaves(table)
    rest = {k: v for k, v in table.items() if k not in ("iterations", "eval_every", *values)}
    all_workers = entry.facts.get("workers")
    if all_workers and rest.setdefault(all_workers, workers) != workers:
        raise InputError(
            f"{all_workers}: got {rest[all_workers]!r}, {entry.name} takes one gradient from each of "
            f"the workers = {workers}."
        )
    arrays: Any = np.meshgrid(*values.values(), indexing="ij", sparse=True)
    method = make("method", rest, **dict(zip(values, arrays, strict=True)))
    if not isinstance(method.collection, Asynchronous):
        try:
            method.collection.rule.check(workers)
        except InputError as error:
            words = f"name: {entry.name} cannot have workers = {workers} ({error})"
            raise InputError(words) from None
    return method


def profile_labels(table: Plain) -> tuple[str, ...] | None:
    """Labels of the profiles that a table stands for, None where it stands for one."""
    own = lookup("profile", table["family"]).facts.get("labels")
    others = {key: value for key, value in table.items() if key not in ("family", "noise")}
    return None if own is None else own(**others)


def profile(table: Plain, workers: int, dimension: int) -> Profile:
    """One profile of n workers, or several with `profile_labels`; d is for numbers that grow with it.

    Raises:
        InputError: naming a key of the profile.
    """
    given = {
        key: float(dimension) ** value["dimension_power"]
        if isinstance(value, dict) and "dimension_power" in value
        else value
        for key, value in table.items()
    }
    noise = given.pop("noise", None)
    counted = "n" in inspect.signature(lookup("profile", given["family"]).maker).parameters
    others: dict[str, Any] = {"n": workers} if counted else {}
    found = make("profile", given, **others)
    labels = profile_labels(table)
    if found.shape != (() if labels is None else (len(labels),)) or found.n != workers:
        raise InputError(
            f"{table['family']}: it has {max(1, found.compute.size // found.n)} profile(s) of {found.n} "
            f"workers, one of workers = {workers} is allowed, a key at the top of the definition."
        )
    return found if noise is None else found.replace(noise=make("noise", noise))


def networks(definition: Definition) -> dict[str, Communication]:
    """The communication models of rounds, by the labels that they have in data sets."""

    def made(table: Any, key: str, kind: str) -> Communication:
        model = make("communication", plain(table), key)
        if not getattr(model, kind):
            raise InputError(f"{key}: got {str(model)!r}, models of {kind} are allowed.")
        return model

    models = [made(table, "comm_model", "rounds") for table in definition.comm_model]
    if definition.arrival_model is not None:
        made(definition.arrival_model, "arrival_model", "arrivals")
    return {named(model): model for model in models}


def leaves(table: Plain) -> dict[str, list[float]]:
    """Hyperparameters of a method's table, those of its arguments that may be arrays."""
    maker = lookup("method", table["name"]).maker
    parameters = inspect.signature(maker).parameters
    annotations, found = hints(maker), {}
    for name, parameter in parameters.items():
        plain_number = name not in annotations and isinstance(parameter.default, float)
        if annotations.get(name) in ARRAYS or plain_number:
            value = table.get(name, parameter.default)
            if value is None:  # a default that rests on other arguments
                own = {k: v for k, v in table.items() if k in parameters and isinstance(v, str | int)}
                value = maker(**own).hyperparameters[name]
            found[name] = list(value) if isinstance(value, list | tuple) else [value]
    return found
