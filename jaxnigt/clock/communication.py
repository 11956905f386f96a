"""What communication costs: models of a round, and kappa from a message, a latency and a bandwidth."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float64, Num
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError

ROUND_MODELS = ("allreduce", "server", "serial", "gather")
ARRIVAL_MODELS = ("parallel", "serial")


def check_model(comm_model: str, allowed: tuple[str, ...]) -> None:
    """Raise InputError for a model that is not among the allowed ones."""
    if comm_model not in allowed:
        raise InputError(f"comm_model: got {comm_model!r}, allowed are {', '.join(allowed)}.")


def round_communication(
    comm_model: str,
    comm: Float64[Array, " n"],
    live: Bool[Array, " n"],
    counts: Num[Array, " n"],
) -> Float64[Array, ""]:
    """Seconds between the end of collection and the end of the round, of one profile.

    allreduce: max of kappa_i over all live workers. server: contributors send in parallel, max of
    kappa_i over workers with counts > 0. serial: the sum over contributors. gather: nothing, since
    messages were under way while others computed.
    """
    if comm_model == "gather":
        return jnp.zeros(())
    taking_part = live if comm_model == "allreduce" else counts > 0
    costs = jnp.where(taking_part, comm, 0.0)
    return costs.sum() if comm_model == "serial" else costs.max()


def ring_allreduce(
    n: int, message: ArrayLike, latency: ArrayLike, bandwidth: ArrayLike
) -> Float64[np.ndarray, "..."]:
    """kappa of a ring AllReduce: 2 (n - 1) latency + 2 message (n - 1) / (n bandwidth), in seconds.

    Args:
        n: workers in the ring.
        message: bytes of a gradient, 4 d for d float32 parameters.
        latency: seconds of one hop.
        bandwidth: bytes per second of one link.
    """
    message, latency, bandwidth = (np.asarray(x, np.float64) for x in (message, latency, bandwidth))
    return np.asarray(2 * (n - 1) * latency + 2 * message * (n - 1) / n / bandwidth)


def parameter_server(
    message: ArrayLike, latency: ArrayLike, bandwidth: ArrayLike
) -> Float64[np.ndarray, "..."]:
    """kappa of a gradient sent up and a model sent down: 2 (latency + message / bandwidth), in seconds.

    Args:
        message: bytes of a gradient, 4 d for d float32 parameters.
        latency: seconds of one message.
        bandwidth: bytes per second of the worker's link.
    """
    message, latency, bandwidth = (np.asarray(x, np.float64) for x in (message, latency, bandwidth))
    return np.asarray(2 * (latency + message / bandwidth))
