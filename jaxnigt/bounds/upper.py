"""Upper bounds: how much time each method, and each round of a rule, takes at most."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxnigt.bounds import question as base
from jaxnigt.bounds.analysis import Kind, Parameters, kind
from jaxnigt.bounds.prescribe import timed
from jaxnigt.bounds.question import Bound, Order, Pairs, Question, Speeds, pairs, product
from jaxnigt.checks import InputError, choice, in_range, instance
from jaxnigt.constants import Constants
from jaxnigt.profiles import Profile


def upper(
    name: str,
    profile: Profile,
    constants: Constants,
    epsilon: ArrayLike,
    *,
    kappa: ArrayLike | None = None,
    form: str = "order",
) -> Bound:
    """Upper bound on the time in which a method reaches E||grad J|| <= epsilon.

    Let h_1 <= ... <= h_n be the times of a gradient (the theorems' factor H ~ 1/(1-gamma) is in them),
    H_m the harmonic mean of the m smallest, A = L_g delta / epsilon^2, B = sqrt(L_h) delta /
    epsilon^(3/2) and s = sigma^2 / epsilon^2. Form "order" is

        method              computation                              communication
        rennala_nigt        min_m H_m (A + B + (s + s B) / m)        kappa (A + B)
        rennala_pg          min_m H_m (A + s A / m)                  kappa A
        malenia_nigt        h_n (A + B) + mean(h) (s + s B) / n      kappa (A + B)
        malenia_pg          h_n A + mean(h) s A / n                  kappa A
        synchronous_nigt    h_n (A + B + (s + s B) / n)              kappa (A + B + (s + s B) / n)
        synchronous_pg      h_n (A + s A / n)                        kappa (A + s A / n)
        m_synchronous_nigt  min_m h_m (A + B + (s/m)^(3/2) + s B/m)  kappa (the same bracket)
        afedpg              H_n (D + s B / n)                        kappa n (the same bracket)

    with D = n^(4/3) L_g delta max(sigma, epsilon)^(1/3) / epsilon^(7/3), whose n leaves out dead
    workers. The minimum over m is that of the sum of both columns. Leading constants are 1 and no
    logarithms are in it: the form compares methods and names regimes, but it does not hold as a bound.
    AFedPG's row counts each gradient as a message, while Table 1 says that its communication is at least
    kappa epsilon^-3.

    Form "certified" does hold: the rounds of `prescribe`, with the batches that are best for the
    profile, times the longest that the clock can take for each, plus kappa per round. It is about
    `allreduce` communication with kappa the largest kappa_i, and about a point drawn uniformly from the
    trajectory, by Lemmas D.1 and D.2.

    Args:
        name: a method, as in `jaxnigt.methods`. Synchronous methods wait for all n workers.
        profile: times of n workers; leading axes are profiles.
        constants: of the problem.
        epsilon: accuracy, above 0.
        kappa: seconds of one communication; None means the profile's slowest live link.
        form: "order" or "certified"; the latter has no constants for AFedPG.

    Returns:
        A Bound of the shape of profiles, constants, epsilon and kappa broadcast together: reshape
        profiles to [P, 1] for epsilon of [E]. It is inf where a dead worker is waited for.

    Raises:
        InputError: an unknown name or form, a number out of range, or times that are not fixed.

    Example:
        >>> from jaxnigt.profiles import equal
        >>> upper("rennala_pg", equal(4, comm=1.0), Constants(1.0, 1.0, 1.0, 1.0), 0.1)
        Bound of shape (), Table 1 of arXiv 2509.24305, Rennala SGD of arXiv 2305.12387
          time           2,700 s
          computation    2,600 s
          communication  100 s
          dominated by   noise, m = 4

    References:
        Theorems 4.4 and 5.1 and Tables 1 and 2 of arXiv 2509.24305; `ORDERS` names the source of each
        row. Derived are the communication of synchronous methods, m-synchronous NIGT, which starts with
        m gradients, all of D but n and epsilon, and form "certified".
    """
    method = kind(name)
    choice("form", form, base.FORMS)
    q = base.ask(profile, constants, epsilon, kappa)
    with np.errstate(divide="ignore", over="ignore"):
        if form == "certified":
            return _certified(name, method, q)
        at, row = method.collection.speeds(q), ORDERS[name]
        return base.smallest(base.products(row.terms(q, at)), at.m, row.source)


def _certified(name: str, method: Kind, q: Question) -> Bound:
    """R(M_init) + (T - 1) R(M) + T kappa, where R(M) seconds are enough for a round of M gradients."""
    rule, update = method
    zero = np.zeros(())
    if rule.stale:
        raise InputError(f"form: no constants are known for {name}, 'order' is allowed.")
    clock, p = timed(method, q)
    at = clock.at
    first, one, more = rule.round_seconds(at, p.init_batch), at.whole, zero
    if not rule.fixed:
        # The first round may count on another m than the rest.
        first = first.min(axis=-1, keepdims=True)
        # A round of one gradient counts for what decides the number of rounds, the rest for noise.
        one = rule.round_seconds(at, np.ones(()))
        with np.errstate(invalid="ignore"):
            more = np.where(np.isinf(one), 0.0, rule.round_seconds(at, p.batch) - one)
    terms = {"smoothness": zero, "start": first, "noise": product(more, p.rounds - 1)}
    decides, rounds = update.regime(q.constants, Parameters(*p, np.ones(()))), product(one, p.rounds - 1)
    terms = {name: term + np.where(decides == name, rounds, 0.0) for name, term in terms.items()}
    return base.smallest({**terms, base.COMMUNICATION: p.rounds * q.kappa}, at.m, update.source)


def _pg(q: Question, at: Speeds) -> Pairs:
    return pairs(q, q.A, smoothness=(at.whole, q.A), noise=(at.share, q.s * q.A))


def _synchronous_pg(q: Question, at: Speeds) -> Pairs:
    return {**_pg(q, at), **pairs(q, q.A + q.s * q.A / at.m)}


def _nigt(q: Question, at: Speeds) -> Pairs:
    rounds = {"smoothness": (at.whole, q.A), "hessian": (at.whole, q.B)}
    return pairs(q, q.A + q.B, **rounds, start=(at.share, q.s), noise=(at.share, q.s * q.B))


def _synchronous_nigt(q: Question, at: Speeds) -> Pairs:
    return {**_nigt(q, at), **pairs(q, q.A + q.B + (q.s + q.s * q.B) / at.m)}


def _m_synchronous_nigt(q: Question, at: Speeds) -> Pairs:
    # Without a larger first round, the first error takes this many rounds to fade.
    start = (q.s / at.m) ** (3 / 2)
    return {**_nigt(q, at), **pairs(q, q.A + q.B + start + q.s * q.B / at.m, start=(at.whole, start))}


def _afedpg(q: Question, at: Speeds) -> Pairs:
    noise = q.s * q.B
    return pairs(q, q.live * q.D + noise, staleness=(at.whole, q.D), noise=(at.share, noise))


_PAPER = "arXiv 2509.24305"
_APART = f"derived like Table 1 of {_PAPER}"
_UPPER = f"Table 1 of {_PAPER}, upper side and constants derived"

ORDERS = {
    "synchronous_pg": Order(_synchronous_pg, f"Table 1 of {_PAPER}, constants derived", _APART),
    "synchronous_nigt": Order(_synchronous_nigt, _UPPER, _APART),
    "m_synchronous_nigt": Order(_m_synchronous_nigt, "derived"),
    "rennala_pg": Order(_pg, f"Table 1 of {_PAPER}, Rennala SGD of arXiv 2305.12387"),
    "malenia_pg": Order(_pg, "Malenia SGD of arXiv 2305.12387"),
    "afedpg": Order(_afedpg, f"Table 1 of {_PAPER}, constants chosen by their units"),
    "rennala_nigt": Order(_nigt, f"Theorem 4.4 of {_PAPER}"),
    "malenia_nigt": Order(_nigt, f"Theorem 5.1 of {_PAPER}"),
}
"""The rows of Tables 1 and 2 by the names of methods."""


def rennala_round(profile: Profile, batch: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """Seconds after which a Rennala round of M gradients is certainly collected (derived).

    min_m (sum_{i<=m} 1/h_i)^-1 (M + m), because each of the m fastest workers has lost at most one
    unfinished gradient.

    Example:
        >>> rennala_round(Profile([1.0, 2.0, float("inf")]), 4)
        array(4.)
    """
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    m = np.arange(1, profile.n + 1)
    # A dead worker adds no speed, so the minimum never counts on one.
    speed = np.cumsum(1 / np.sort(profile.compute, axis=-1), axis=-1)
    return np.asarray(((in_range("batch", batch)[..., None] + m) / speed).min(axis=-1))


def rennala_round_literature(profile: Profile, batch: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """Twice `rennala_round` in seconds, the form in the proofs of Tyurin's papers on Rennala SGD.

    Example:
        >>> rennala_round_literature(Profile([1.0, 2.0]), 4)
        array(8.)
    """
    return np.asarray(2 * rennala_round(profile, batch))


def malenia_round(profile: Profile, batch: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """Seconds after which a Malenia round is certainly collected: 2 (h_n + mean(h) M / n).

    It is inf with a dead worker. Source: the proof of Theorem 9 of Tyurin and Richtarik, 2024 (Amelie
    SGD).

    Example:
        >>> malenia_round(Profile([1.0, 2.0]), 4)
        array(10.)
    """
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    slowest, mean = profile.compute.max(axis=-1), profile.compute.mean(axis=-1)
    return np.asarray(2 * (slowest + mean * in_range("batch", batch) / profile.n))


def m_synchronous_total(profile: Profile, gradients: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """min_m h_m (1 + s / m) seconds for s gradients after the first round of m-synchronous SGD.

    It is at most 1 + ln n times `rennala_round` with M = s. Source: m-Synchronous SGD, arXiv 2602.03802;
    the factor is derived from sum_{i<=m} 1/h_i <= (1 + ln m) max_{j<=m} j/h_j.

    Example:
        >>> m_synchronous_total(Profile([1.0, 2.0]), 4)
        array(5.)
    """
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    rounds = 1 + in_range("gradients", gradients)[..., None] / np.arange(1, profile.n + 1)
    return np.asarray((np.sort(profile.compute, axis=-1) * rounds).min(axis=-1))
