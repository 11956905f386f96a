"""Prescribed methods on hard instances, and when they get there under profiles."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

from jaxnigt import methods
from jaxnigt.bounds import prescribe
from jaxnigt.checks import InputError
from jaxnigt.hard_run import Case
from jaxnigt.methods.collection import Asynchronous
from jaxnigt.problems.chain import Chain
from jaxnigt.profiles import Profile


def prescribed_case(name: str, problem: Chain, workers: int | None = None) -> Case:
    """A method on a hard instance, with the parameters that are certified to reach its accuracy.

    Args:
        name: rennala_nigt, rennala_pg, synchronous_nigt, synchronous_pg or m_synchronous_nigt.
        problem: the instance, with its constants and accuracy.
        workers: n, of synchronous methods; m, of m-synchronous ones.

    Raises:
        InputError: another method, or missing workers.
    """
    makers = {
        "rennala_nigt": methods.rennala_nigt,
        "rennala_pg": methods.rennala_pg,
        "synchronous_nigt": methods.synchronous_nigt,
        "synchronous_pg": methods.synchronous_pg,
        "m_synchronous_nigt": methods.m_synchronous_nigt,
    }
    if name not in makers:
        raise InputError(f"name: got {name!r}, allowed are {', '.join(makers)}.")
    batch = None if name.startswith("rennala") else workers
    found = prescribe(name, problem.constants, problem.epsilon, batch=batch)
    options = {"stepsize": found["stepsize"]}
    if name.endswith("nigt"):
        options["momentum"] = found["momentum"]
    if name in ("rennala_nigt", "synchronous_nigt"):
        options["init_batch"] = found["init_batch"]
    return Case(problem, makers[name](found["batch"], **options))


def virtual_seconds(
    case: Case, rounds: Float[np.ndarray, " S"], profile: Profile, *, comm_model: str = "allreduce"
) -> Float64[np.ndarray, "*profiles S"]:
    """When a number of rounds is over: all rounds but the first take the same time.

    Args:
        case: whose rounds.
        rounds: how many, such as one case of `Climb.to_accuracy`; inf for never.
        profile: fixed times; leading axes are profiles.
        comm_model: as in `jaxnigt.clock`.

    Raises:
        InputError: random or varying times, or a method that has no rounds.
    """
    collection = case.method.collection
    if isinstance(collection, Asynchronous):
        raise InputError(f"name: {case.method.name} has no rounds.")
    if not profile.fixed:
        raise InputError("profile: rounds are alike under fixed times only.")
    sizes = np.array([case.method.init_batch, collection.batch])
    end = collection.rounds(profile, sizes, comm_model=comm_model).end
    first, later = end[..., :1], np.diff(end, axis=-1)
    return np.where(rounds > 0, first + np.maximum(rounds - 1, 0) * later, 0.0)
