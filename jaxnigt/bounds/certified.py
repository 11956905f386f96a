"""Certified upper bounds: prescribed rounds times the longest time that a round can take."""

from __future__ import annotations

import numpy as np

from jaxnigt.bounds.names import Kind, kind
from jaxnigt.bounds.parameters import Parameters, parameters, start_rounds
from jaxnigt.bounds.question import Question, round_seconds, speeds
from jaxnigt.bounds.result import COMMUNICATION, Bound, product, smallest

_SOURCE = "derived from Lemmas D.1 and D.2 of arXiv 2509.24305 and bounds on the clock"
_SOURCE_PG = "derived from minibatch SGD and bounds on the clock"

# Numbers that are equal in exact arithmetic count as equal.
_SLACK = 1 - 1e-9


def certified(name: str, q: Question) -> Bound:
    """R(M_init) + (T - 1) R(M) + T kappa, with R(M) the bound on the clock's time of a round."""
    method = kind(name)
    at = speeds(method.rule, q.h)
    batch = at.m if method.rule in ("synchronous", "m_synchronous") else None
    # Truncation is a matter of H, which is in the time of a gradient: any horizon will do here.
    found = parameters(name, q.constants, q.epsilon, batch=batch, horizon=1)
    first = round_seconds(method.rule, at, found.init_batch)
    if method.rule == "rennala":
        first = first.min(axis=-1, keepdims=True)
    zero = np.zeros(())
    terms = {"smoothness": zero, "hessian": zero, "start": first, "noise": zero}
    further = found.rounds - 1
    one = at.whole
    if batch is None:
        # Of a round, what one gradient would take is owed to the rounds, the rest to the noise.
        one = round_seconds(method.rule, at, np.ones(()))
        shared = at._replace(whole=np.zeros_like(at.whole))
        more = round_seconds(method.rule, shared, found.batch - 1)
        terms["noise"] = product(more, further)
    cause = _cause(method, q, found)
    for regime in terms:
        terms[regime] = terms[regime] + np.where(cause == regime, product(one, further), 0.0)
    terms[COMMUNICATION] = found.rounds * q.kappa
    return smallest(terms, at.m, _SOURCE if method.update == "nigt" else _SOURCE_PG)


def _cause(method: Kind, q: Question, found: Parameters) -> np.ndarray:
    """Which requirement decides the number of rounds."""
    c = q.constants
    if method.update == "pg":
        return np.where(found.stepsize < _SLACK / c.L_g, "noise", "smoothness")
    eta = found.momentum
    steep = found.stepsize >= _SLACK * q.epsilon / (4 * c.L_g)
    curved = np.where(eta == 1, "hessian", "noise")
    progress = 8 * c.delta / (found.stepsize * q.epsilon)
    late = start_rounds(c, q.epsilon, eta, found.init_batch) * _SLACK > progress
    return np.where(late, "start", np.where(steep, "smoothness", curved))
