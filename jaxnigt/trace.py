"""A trace: what a training left behind, before any clock has been applied to it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxnigt.methods.method import Method


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """What happened in K rounds of S seeds, for every entry of the leaf hyperparameters.

    Leading axes `...` are the shape of the profiles, where the schedule was part of the training,
    and then that of the method's hyperparameters. Rounds count from 0: round k moves theta_k to
    theta_{k+1}; for asynchronous methods every update is one.

    Attributes:
        method: the method, which also knows the clock's collection rule.
        eval_rounds: i[E], the rounds t at whose start theta_t was evaluated; 0 is the initial point.
        objective: f[..., S, E], clean evaluation of J(theta_t), the mean discounted return.
        undiscounted: f[..., S, E], mean undiscounted return of the same trajectories.
        worker_objective: f[..., S, E, W], J_i(theta_t) of each worker's problem, whose mean is J;
            W = 1 where all workers share one problem.
        batch_discounted: f[..., S, K], mean discounted return of the round's own trajectories,
            which are sampled at the method's evaluation point.
        batch_undiscounted: f[..., S, K], likewise undiscounted.
        gradient_norm: f[..., S, K], norm of the aggregate.
        direction_norm: f[..., S, K], norm of the momentum d_k (of the update, for rules without one).
        samples: i[K], or i[profiles, K] along schedules: trajectories used in round k.
        params: final theta_K, a pytree with leading axes [..., S].
        replayable: whether the iterates are the same under every profile.
        times: f64[profiles, K] seconds at which rounds are over, where the schedule was part of the
            training; else None, and `replay` gives them for any profile.
        seconds: wall-clock time of the training, since it was last resumed.
        compiled_seconds: how much of it compiled programs ran, compilation not included.
    """

    method: Method
    eval_rounds: Int[np.ndarray, " E"]
    objective: Float[np.ndarray, "*leaf S E"]
    undiscounted: Float[np.ndarray, "*leaf S E"]
    worker_objective: Float[np.ndarray, "*leaf S E W"]
    batch_discounted: Float[np.ndarray, "*leaf S K"]
    batch_undiscounted: Float[np.ndarray, "*leaf S K"]
    gradient_norm: Float[np.ndarray, "*leaf S K"]
    direction_norm: Float[np.ndarray, "*leaf S K"]
    samples: Int[np.ndarray, "*profiles K"]
    params: Any
    replayable: bool
    times: Float[np.ndarray, "*profiles K"] | None = None
    seconds: float = 0.0
    compiled_seconds: float = 0.0

    def __repr__(self) -> str:
        profiles = self.samples.shape[:-1]
        leading = f"profiles{list(profiles)}, " if profiles else ""
        return (
            f"Trace({self.method.name}, {leading}hyperparameters{list(self.method.leaf_shape)}, "
            f"seeds={self.objective.shape[-2]}, rounds={self.rounds}, "
            f"evaluations={len(self.eval_rounds)}, replayable={self.replayable})"
        )

    @property
    def rounds(self) -> int:
        """K."""
        return self.samples.shape[-1]


def eval_times(
    end: Float[np.ndarray, "*batch K"], eval_rounds: Int[np.ndarray, " E"]
) -> Float[np.ndarray, "*batch E"]:
    """Seconds at which theta_t exists: the end of round t - 1, and 0 for the initial point.

    Args:
        end: f64[..., K], ends of rounds, as `replay` gives them.
        eval_rounds: i[E], of a trace.
    """
    start = np.concatenate([np.zeros((*end.shape[:-1], 1)), end], axis=-1)
    return start[..., eval_rounds]
