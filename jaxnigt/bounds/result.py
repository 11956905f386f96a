"""What a bound says, and how it is made from named terms."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64, Int64

COMMUNICATION = "communication"

Terms = Mapping[str, np.ndarray]
"""Seconds f64[..., c] of each term, by regime, for c candidates of m."""


@dataclasses.dataclass(frozen=True, eq=False)
class Bound:
    """A bound on the time to E||grad J|| <= epsilon, for a batch of questions.

    Attributes:
        time: seconds, computation + communication.
        computation: seconds.
        communication: seconds.
        m: how many of the fastest workers the bound counts on, the minimiser where there is one.
        regime: the term that dominates: "communication", "smoothness" (L_g delta / epsilon^2),
            "hessian" (sqrt(L_h) delta / epsilon^(3/2)), "start" (the first aggregate), "noise",
            "staleness" (AFedPG), "chain" (the deterministic hard instance), or "none" where the
            bound is 0.
        source: where the bound comes from.
    """

    time: Float64[np.ndarray, "*batch"]
    computation: Float64[np.ndarray, "*batch"]
    communication: Float64[np.ndarray, "*batch"]
    m: Int64[np.ndarray, "*batch"]
    regime: np.ndarray
    source: str


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A product that is 0 where a factor is, whatever the other: none of an endless time is none."""
    out = np.zeros(np.broadcast_shapes(np.shape(left), np.shape(right)))
    return np.multiply(left, right, out=out, where=(left != 0) & (right != 0))


def smallest(terms: Terms, m: np.ndarray, source: str) -> Bound:
    """The candidate of the least sum of terms; terms f64[..., c], m i64[c]."""
    each = np.broadcast_arrays(*terms.values())
    best = functools.reduce(np.add, each).argmin(axis=-1)
    parts = np.stack([np.take_along_axis(x, best[..., None], axis=-1)[..., 0] for x in each])
    names = [*terms, "none"]
    communication = parts[names.index(COMMUNICATION)]
    computation = parts[[name != COMMUNICATION for name in terms]].sum(axis=0)
    time = computation + communication
    dominating = np.where(time == 0, len(terms), parts.argmax(axis=0))
    arrays = (np.asarray(x) for x in (time, computation, communication, m[best]))
    return Bound(*arrays, regime=np.asarray(np.array(names)[dominating]), source=source)


def largest(first: Bound, *others: Bound) -> Bound:
    """The strongest of some lower bounds, question by question."""
    for other in others:
        first = where(np.asarray(other.time > first.time), other, first)
    return first


def where(condition: np.ndarray, yes: Bound, no: Bound) -> Bound:
    """One bound where a condition holds, the other elsewhere; the source of the second."""
    fields = ("time", "computation", "communication", "m", "regime")
    chosen = {f: np.asarray(np.where(condition, getattr(yes, f), getattr(no, f))) for f in fields}
    return Bound(**chosen, source=no.source)
