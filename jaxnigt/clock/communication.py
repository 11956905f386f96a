"""What one round of communication costs, by the model of the network."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int

from jaxnigt.errors import InputError

ROUND_MODELS = ("allreduce", "server")


def check_round_model(comm_model: str) -> None:
    """Raise InputError for a model that rounds do not know."""
    if comm_model not in ROUND_MODELS:
        raise InputError(f"comm_model: got {comm_model!r}, allowed are {', '.join(ROUND_MODELS)}.")


def round_communication(
    comm_model: str,
    comm: Float64[Array, " n"],
    live: Bool[Array, " n"],
    counts: Int[Array, " n"],
) -> Float64[Array, ""]:
    """Seconds between the end of collection and the end of the round, of one profile.

    allreduce: max of kappa_i over all live workers. server: contributors send in parallel, so
    max of kappa_i over workers with counts > 0.
    """
    taking_part = live if comm_model == "allreduce" else counts > 0
    return jnp.where(taking_part, comm, 0.0).max()
