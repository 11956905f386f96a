"""Lower bounds on the time that any method needs to reach an accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxnigt.bounds.certified_lower import certified_lower
from jaxnigt.bounds.names import choice, kind
from jaxnigt.bounds.question import Question, ask, speeds
from jaxnigt.bounds.result import COMMUNICATION, Bound, product, smallest, where
from jaxnigt.checks import InputError
from jaxnigt.constants import Constants
from jaxnigt.profiles import Profile

FORMS = ("order", "certified")
POWERS = ("12/7", "7/4")
SMOOTH = ("hessian", "gradient")
PROTOCOLS = ("rounds", "any")

_SOURCES = {
    "12/7": "reconstruction of Theorem G.1 of arXiv 2509.24305",
    "7/4": "reconstruction with the claim of arXiv 2606.05438, not checked",
    "gradient": "lower bound of arXiv 2305.12387 in the metric E||grad J||",
}


def lower(
    name: str,
    profile: Profile,
    constants: Constants,
    epsilon: ArrayLike,
    *,
    kappa: ArrayLike = 0.0,
    form: str = "order",
    power: str = "12/7",
    smooth: str = "hessian",
    protocol: str = "rounds",
    heterogeneous: bool | None = None,
) -> Bound:
    """Lower bound on the time in which methods of a kind can reach E||grad J|| <= epsilon.

    It is about the worst problem with these constants, for every method that only moves along
    gradients it has seen (Theorem G.1 of arXiv 2509.24305 is of this kind; its statement is not
    known to us). With A, B, s and H_m as for `upper` and X = min(A, A^(3/7) B^(4/7)), where
    A^(3/7) B^(4/7) = L_g^(3/7) L_h^(2/7) delta / epsilon^(12/7), form "order" is

        homogeneous    kappa X + min_m H_m (X + s min(A, B) / m)          (reconstructed)
        heterogeneous  kappa X + h_n X + mean(h) s min(A, B) / n          (derived by analogy)

    With power "7/4" X = min(A, sqrt(A B)), for which only an abstract was read. That X and the noise
    stand under one minimum over m is part of the reconstruction: instances are known to us for
    h_1 X and for min_m H_m (min(A, B) + s min(A, B) / m) one by one.

    Form "certified" holds as it stands (derived, see `jaxnigt.bounds.certified_lower`): the best of
    those instances with their constants, the deterministic one as much as the lemma that
    `jaxnigt.bounds.hard.second_length` rests on. For the heterogeneous noise it has the largest over
    groups of the k slowest workers in place of the mean of h, which is at most 1 + ln n times more.

    Protocol "rounds" is about methods for which each new point at which gradients are taken costs a
    communication, as for all those named here. Where workers may go on by themselves that is no
    longer a bound: one alone needs no communication. Protocol "any" holds for those too: order, the
    lesser of that and a single worker's h_1 (X + s min(A, B)); heterogeneous, kappa min(A, B), because
    the chain can be shared out between two workers so that each link needs a message.

    Args:
        name: a method, as in `jaxnigt.methods`; it says whether workers share one problem.
        profile: times of n workers; leading axes are profiles.
        constants: of the problem; gamma and what it truncates are not used.
        epsilon: accuracy, above 0.
        kappa: seconds of one communication.
        form: "order", with constants 1, or "certified".
        power: of epsilon in the deterministic part of form "order", "12/7" or "7/4".
        smooth: "hessian" for problems with L_g and L_h; "gradient" for those with L_g alone, where
            X = A and the noise is s A: what PG methods are up against, and no bound for methods on
            a problem whose Hessian is Lipschitz.
        protocol: "rounds" or "any".
        heterogeneous: whether workers have problems of their own, whose mean has these constants;
            by default for Malenia alone.

    Returns:
        A Bound of the shape that `upper` has; 0 and regime "none" where no instance is hard.

    Raises:
        InputError: an unknown word, a number out of range, or power "7/4" with form "certified".
    """
    method = kind(name)
    for key, value, allowed in (
        ("form", form, FORMS),
        ("power", power, POWERS),
        ("smooth", smooth, SMOOTH),
        ("protocol", protocol, PROTOCOLS),
    ):
        choice(key, value, allowed)
    question = ask(profile, constants, epsilon, kappa)
    own = method.rule == "malenia" if heterogeneous is None else heterogeneous
    if form == "certified":
        if power != "12/7":
            raise InputError(f"power: no constants are known for {power!r}, '12/7' is allowed.")
        return certified_lower(question, smooth, free=protocol == "any", heterogeneous=own)
    source = _SOURCES["gradient" if smooth == "gradient" else power]
    exponent = 3 / 7 if power == "12/7" else 1 / 2
    return _order(question, exponent, smooth, protocol == "any", own, source)


def _order(
    q: Question, exponent: float, smooth: str, free: bool, heterogeneous: bool, source: str
) -> Bound:
    A, B = q.smoothness, q.hessian
    link = A if smooth == "gradient" else np.minimum(A, B)
    accelerated = A if smooth == "gradient" else A**exponent * B ** (1 - exponent)
    X, noise = np.minimum(A, accelerated), q.variance * link
    name = np.where(accelerated < A, "chain", "smoothness")
    with np.errstate(divide="ignore"):
        at = speeds("malenia" if heterogeneous else "rennala", q.h)
    terms = {
        regime: np.where(name == regime, product(at.whole, X), 0.0) for regime in ("smoothness", "chain")
    }
    terms["noise"] = product(at.share, noise)
    messages = link if heterogeneous and free else X
    bound = smallest({**terms, COMMUNICATION: q.kappa * messages}, at.m, source)
    if heterogeneous or not free:
        return bound
    fastest = {regime: term[..., :1] for regime, term in terms.items()}
    alone = smallest({**fastest, COMMUNICATION: np.zeros(())}, at.m[:1], source)
    return where(np.asarray(alone.time < bound.time), alone, bound)
