"""The named methods, each a composition of a collection rule and an update rule."""

from __future__ import annotations

from numpy.typing import ArrayLike

from jaxnigt.methods.collection import Collection, Rennala, Synchronous
from jaxnigt.methods.method import Method, check_momentum, check_stepsize
from jaxnigt.methods.nigt import nigt, nigt_eval_params


def _nigt_method(
    name: str, collection: Collection, init_batch: int | None, momentum: ArrayLike, stepsize: ArrayLike
) -> Method:
    leaves = {"stepsize": check_stepsize(stepsize), "momentum": check_momentum(momentum)}
    first = collection.batch if init_batch is None else init_batch
    return Method(name, collection, nigt, first, nigt_eval_params, leaves)


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
