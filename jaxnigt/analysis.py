"""What is read off traces: which stepsize is best, how much was learnt, when a threshold is met."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxnigt.trace import Trace


def _tenth(length: int) -> int:
    return max(1, length // 10)


def best_leaf(trace: Trace) -> tuple[int, ...]:
    """Index of the hyperparameters with the highest J at the end.

    The rule: J(theta_t) averaged over seeds and over the last tenth of the evaluations. It knows
    nothing of any profile.
    """
    end = _final(trace)
    return tuple(int(i) for i in np.unravel_index(np.argmax(end), end.shape))


def _final(trace: Trace) -> Float[np.ndarray, "*leaf"]:
    evaluations = trace.objective.shape[-1]
    return np.asarray(trace.objective[..., -_tenth(evaluations) :].mean(axis=(-2, -1)))


def improvement(trace: Trace) -> tuple[Float[np.ndarray, "*leaf S"], Float[np.ndarray, "*leaf S"]]:
    """Mean undiscounted return of the first and of the last tenth of rounds, for every seed."""
    tenth = _tenth(trace.rounds)
    returns = trace.batch_undiscounted
    return returns[..., :tenth].mean(axis=-1), returns[..., -tenth:].mean(axis=-1)


def threshold(traces: list[Trace], share: float) -> tuple[float, float]:
    """J at the start, and J that lies `share` of the way to the end that all methods reach.

    From J(theta_0), averaged over methods and seeds, to the lowest final J of the methods, each at
    its best hyperparameters.
    """
    start = float(np.mean([trace.objective[..., 0].mean() for trace in traces]))
    end = min(float(_final(trace)[best_leaf(trace)]) for trace in traces)
    return start, start + share * (end - start)
