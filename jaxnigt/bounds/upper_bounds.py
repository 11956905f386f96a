"""Upper bounds on the time to an accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxnigt.bounds.certified import certified
from jaxnigt.bounds.names import Kind, choice, kind
from jaxnigt.bounds.question import Question, ask, speeds
from jaxnigt.bounds.result import COMMUNICATION, Bound, product, smallest
from jaxnigt.checks import InputError
from jaxnigt.constants import Constants
from jaxnigt.profiles import Profile

FORMS = ("order", "certified")

_PAPER = "arXiv 2509.24305"
_SOURCES = {
    "rennala_nigt": f"Theorem 4.4 of {_PAPER}",
    "malenia_nigt": f"Theorem 5.1 of {_PAPER}",
    "synchronous_pg": f"Table 1 of {_PAPER}, constants derived",
    "synchronous_nigt": f"Table 1 of {_PAPER}, upper side and constants derived",
    "rennala_pg": f"Table 1 of {_PAPER}, Rennala SGD of arXiv 2305.12387",
    "malenia_pg": "Malenia SGD of arXiv 2305.12387",
    "afedpg": f"Table 1 of {_PAPER}, constants chosen by their units",
    "m_synchronous_nigt": "derived",
}


def upper(
    name: str,
    profile: Profile,
    constants: Constants,
    epsilon: ArrayLike,
    *,
    kappa: ArrayLike = 0.0,
    form: str = "order",
) -> Bound:
    """Upper bound on the time in which a method reaches E||grad J|| <= epsilon.

    With h_1 <= ... <= h_n the times of a gradient (the theorems' factor H ~ 1/(1-gamma) is in them),
    H_m the harmonic mean of the m fastest, A = L_g delta / epsilon^2, B = sqrt(L_h) delta /
    epsilon^(3/2) and s = sigma^2 / epsilon^2, form "order" is

        rennala_nigt        min_m H_m (A + B + (s + s B) / m)                kappa (A + B)
        rennala_pg          min_m H_m (A + s A / m)                          kappa A
        malenia_nigt        h_n (A + B) + mean(h) (s + s B) / n              kappa (A + B)
        malenia_pg          h_n A + mean(h) s A / n                          kappa A
        synchronous_nigt    h_n (A + B + (s + s B) / n)            kappa (A + B + (s + s B) / n)
        synchronous_pg      h_n (A + s A / n)                      kappa (A + s A / n)
        m_synchronous_nigt  min_m h_m r(m)                         kappa r(m),
                            r(m) = A + B + (s/m)^(3/2) + s B / m
        afedpg              H_n (n^(4/3) L_g delta sigma^(1/3) / epsilon^(7/3) + s B / n)
                            kappa times its updates, n times the bracket

    that is, Theorems 4.4 and 5.1 and Tables 1 and 2 of arXiv 2509.24305 with leading constants 1
    and without logarithms; it orders methods and names regimes, it does not hold as it stands. The
    row of Malenia PG is that of Malenia SGD. We derive the others that the paper does not have: the
    rounds in kappa of synchronous methods, m-synchronous NIGT with its first round of m gradients,
    and in AFedPG's first term everything but n and epsilon, which Table 1 leaves out. Table 1 says of
    AFedPG's communication that it is at least kappa epsilon^-3; here every gradient is a message.

    Form "certified" holds as it stands (derived): the rounds of `prescribe` times the longest that the
    clock can take for each, the first with M_init gradients, plus kappa for each round. It is valid
    for `comm_model="allreduce"` with kappa the largest kappa_i, for a point drawn uniformly from the
    trajectory, and as much as Lemmas D.1 and D.2 are.

    Args:
        name: a method, as in `jaxnigt.methods`. Synchronous methods wait for all n workers.
        profile: times of n workers; leading axes are profiles.
        constants: of the problem.
        epsilon: accuracy, above 0.
        kappa: seconds of one communication.
        form: "order" or "certified".

    Returns:
        A Bound whose shape is that of the profiles, constants, epsilon and kappa broadcast together:
        reshape profiles to [P, 1] to meet epsilon of [E]. inf where a dead worker is waited for.

    Raises:
        InputError: an unknown name or form, a number out of range, a profile of random or varying
            times, or AFedPG with form "certified", for which no constants are known.

    Example:
        >>> from jaxnigt.profiles import equal
        >>> c = Constants(L_g=1.0, L_h=1.0, sigma=1.0, delta=1.0)
        >>> round(float(upper("rennala_pg", equal(4), c, 0.1).time), 6)
        2600.0
    """
    method = kind(name)
    choice("form", form, FORMS)
    question = ask(profile, constants, epsilon, kappa)
    if form == "order":
        with np.errstate(divide="ignore"):
            return _order(name, method, question)
    if method.rule == "asynchronous":
        raise InputError(f"form: no constants are known for {name}, 'order' is allowed.")
    with np.errstate(divide="ignore", over="ignore"):
        return certified(name, question)


def _order(name: str, method: Kind, q: Question) -> Bound:
    at = speeds(method.rule, q.h)
    if method.rule == "asynchronous":
        fixed, shared = _staleness(q), {"noise": q.variance * q.hessian}
    elif method.update == "pg":
        fixed, shared = {"smoothness": q.smoothness}, {"noise": q.variance * q.smoothness}
    else:
        fixed = {"smoothness": q.smoothness, "hessian": q.hessian}
        shared = {"start": q.variance, "noise": q.variance * q.hessian}
    if method.rule == "m_synchronous":
        # It has no larger first round, so the first error takes (s/m)^(3/2) rounds to forget.
        shared["start"] = q.variance**1.5 / np.sqrt(at.m)
    rounds = sum(fixed.values())
    if method.rule in ("synchronous", "m_synchronous"):
        rounds = rounds + sum(shared.values()) / at.m
    elif method.rule == "asynchronous":
        rounds = q.n * rounds + shared["noise"]
    terms = {regime: product(at.whole, count) for regime, count in fixed.items()}
    terms |= {regime: product(at.share, count) for regime, count in shared.items()}
    return smallest({**terms, COMMUNICATION: q.kappa * rounds}, at.m, _SOURCES[name])


def _staleness(q: Question) -> dict[str, np.ndarray]:
    """AFedPG's first term; with its constants, it is linear in delta and L_g like all the others."""
    c = q.constants
    count = q.n ** (4 / 3) * c.L_g * c.delta * np.cbrt(c.sigma) / q.epsilon ** (7 / 3)
    return {"staleness": count}
