"""The named methods, each a composition of a collection rule and an update rule."""

from __future__ import annotations

from numpy.typing import ArrayLike

from jaxnigt.checks import InputError
from jaxnigt.methods.collection import (
    Asynchronous,
    Collection,
    Malenia,
    MSynchronous,
    Rennala,
    Synchronous,
)
from jaxnigt.methods.decay import afedpg_decreasing_update, n_pg_igt_update, pg
from jaxnigt.methods.method import Method, at_params, check_momentum, check_stepsize
from jaxnigt.methods.nigt import nigt, nigt_eval_params

SCHEDULES = ("constant", "decreasing")


def _leaves(stepsize: ArrayLike, momentum: ArrayLike) -> dict[str, ArrayLike]:
    return {"stepsize": check_stepsize(stepsize), "momentum": check_momentum(momentum)}


def _nigt_method(
    name: str, collection: Collection, init_batch: int | None, momentum: ArrayLike, stepsize: ArrayLike
) -> Method:
    first = collection.batch if init_batch is None else init_batch
    return Method(name, collection, nigt, first, nigt_eval_params, _leaves(stepsize, momentum))


def _pg_method(name: str, collection: Collection, stepsize: ArrayLike) -> Method:
    leaves = {"stepsize": check_stepsize(stepsize)}
    return Method(name, collection, pg, hyperparameters=leaves)


def rennala_nigt(
    batch: int = 20,
    *,
    init_batch: int | None = None,
    momentum: ArrayLike = 0.1,
    stepsize: ArrayLike = 2**-5,
    restart: str = "cancel",
) -> Method:
    """Rennala NIGT: the first M gradients of a round, one aggregation, one NIGT step.

    Args:
        batch: M, gradients of a round.
        init_batch: M_init, gradients of the first round; `batch` by default.
        momentum: eta in (0, 1]; an array trains all its values at once.
        stepsize: alpha > 0; likewise.
        restart: "cancel" or "finish", what happens to unfinished work; only the clock feels it.

    Raises:
        InputError: an argument out of range.

    References:
        Algorithms 1 and 2 of arXiv 2509.24305.
    """
    return _nigt_method("rennala_nigt", Rennala(batch, restart), init_batch, momentum, stepsize)


def malenia_nigt(
    batch: int = 20,
    *,
    init_batch: int | None = None,
    momentum: ArrayLike = 0.1,
    stepsize: ArrayLike = 2**-5,
) -> Method:
    """Malenia NIGT: per-worker means until their harmonic stopping rule holds, one NIGT step.

    For workers whose problems differ: the aggregate is unbiased for the mean of their gradients.

    Args:
        batch: M of the rule ((1/n) sum_i 1/M_i)^-1 >= M/n.
        init_batch: M_init, likewise in the first round; `batch` by default.
        momentum: eta in (0, 1]; an array trains all its values at once.
        stepsize: alpha > 0; likewise.

    Raises:
        InputError: an argument out of range.

    References:
        Algorithms 1 and 3 of arXiv 2509.24305.
    """
    return _nigt_method("malenia_nigt", Malenia(batch), init_batch, momentum, stepsize)


def synchronous_nigt(
    batch: int = 10,
    *,
    init_batch: int | None = None,
    momentum: ArrayLike = 0.1,
    stepsize: ArrayLike = 2**-5,
) -> Method:
    """Synchronized NIGT: one gradient from each of n workers, one aggregation, one NIGT step.

    Args:
        batch: n, the number of workers and so of gradients of a round.
        init_batch: M_init, gradients of the first round, a multiple of n; n by default.
        momentum: eta in (0, 1]; an array trains all its values at once.
        stepsize: alpha > 0; likewise.

    Raises:
        InputError: an argument out of range.

    References:
        Algorithm 1 of arXiv 2509.24305 with synchronous aggregation.
    """
    return _nigt_method("synchronous_nigt", Synchronous(batch), init_batch, momentum, stepsize)


def m_synchronous_nigt(
    batch: int = 5, *, momentum: ArrayLike = 0.1, stepsize: ArrayLike = 2**-5
) -> Method:
    """m-synchronous NIGT: one gradient from each of the m first workers, one NIGT step.

    Args:
        batch: m, workers that a round waits for.
        momentum: eta in (0, 1]; an array trains all its values at once.
        stepsize: alpha > 0; likewise.

    Raises:
        InputError: an argument out of range.

    References:
        Algorithm 1 of arXiv 2509.24305 with the collection of arXiv 2602.03802.
    """
    return _nigt_method("m_synchronous_nigt", MSynchronous(batch), None, momentum, stepsize)


def rennala_pg(batch: int = 20, *, stepsize: ArrayLike = 2**-5, restart: str = "cancel") -> Method:
    """Rennala PG: the first M gradients of a round and a plain gradient step.

    Args:
        batch: M, gradients of a round.
        stepsize: factor of the gradient; an array trains all its values at once.
        restart: "cancel" or "finish", what happens to unfinished work; only the clock feels it.

    Raises:
        InputError: an argument out of range.

    References:
        Rennala SGD, Tyurin and Richtarik, arXiv 2305.12387.
    """
    return _pg_method("rennala_pg", Rennala(batch, restart), stepsize)


def malenia_pg(batch: int = 20, *, stepsize: ArrayLike = 2**-5) -> Method:
    """Malenia PG: the collection of `malenia_nigt` and a plain gradient step.

    Args:
        batch: M of the stopping rule.
        stepsize: factor of the gradient; an array trains all its values at once.

    Raises:
        InputError: an argument out of range.

    References:
        Malenia SGD, Tyurin and Richtarik, arXiv 2305.12387.
    """
    return _pg_method("malenia_pg", Malenia(batch), stepsize)


def synchronous_pg(batch: int = 10, *, stepsize: ArrayLike = 2**-5) -> Method:
    """Synchronous vanilla PG: one gradient from each of n workers and a plain gradient step.

    Args:
        batch: n, the number of workers.
        stepsize: factor of the gradient; an array trains all its values at once.

    Raises:
        InputError: an argument out of range.
    """
    return _pg_method("synchronous_pg", Synchronous(batch), stepsize)


def n_pg_igt(*, momentum: ArrayLike = 1.0, stepsize: ArrayLike = 0.1) -> Method:
    """N-PG-IGT: one worker, one gradient a step, with decreasing momentum and stepsize.

    Momentum is momentum * (2/(t+2))^(4/5) and the stepsize stepsize * 2/(t+2) at update t; the point
    of a gradient is extrapolated with the momentum that it is applied with.

    Args:
        momentum: eta_0 in (0, 1]; an array trains all its values at once.
        stepsize: gamma_0 > 0; likewise.

    Raises:
        InputError: an argument out of range.

    References:
        Fatkhullin, Barakat, Kireeva, He, arXiv 2302.01734.
    """
    leaves = _leaves(stepsize, momentum)
    return Method("n_pg_igt", Synchronous(1), n_pg_igt_update, 1, nigt_eval_params, leaves)


def afedpg(
    *,
    momentum: ArrayLike = 0.1,
    stepsize: ArrayLike = 2**-5,
    lookahead: bool = True,
    schedule: str = "constant",
    lanes: int | None = None,
) -> Method:
    """AFedPG: every gradient updates the server as it arrives, by a normalised momentum step.

    A worker that gets version v of the model samples at the lookahead point
    theta_v + ((1 - eta_v) / eta_v) (theta_v - theta_{v-1}); its gradient enters the momentum with
    the same eta_v, however many updates have come between, so that the extrapolation cancels the
    second-order error of exactly that weight.

    Args:
        momentum: eta in (0, 1]; an array trains all its values at once.
        stepsize: length of a step; likewise.
        lookahead: False samples at theta_v itself.
        schedule: "constant", or "decreasing" by (2/(v+2))^(4/7) and (2/(k+2))^(5/7).
        lanes: gradients that training computes together at most; by default as many as pay.

    Raises:
        InputError: an argument out of range.

    References:
        Lan, Han, Hashemi, Aggarwal, Brinton, arXiv 2404.08003. The first direction is the first
        gradient, which the paper leaves open (derived).
    """
    if schedule not in SCHEDULES:
        raise InputError(f"schedule: got {schedule!r}, allowed are {', '.join(SCHEDULES)}.")
    return Method(
        "afedpg" if lookahead else "afedpg_without_lookahead",
        Asynchronous(lanes),
        nigt if schedule == "constant" else afedpg_decreasing_update,
        1,
        nigt_eval_params if lookahead else at_params,
        _leaves(stepsize, momentum),
    )
