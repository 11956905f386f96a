"""Lower bounds: how much time every method of a kind needs at least, on the worst problem."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike

import jaxnigt.constants as known
from jaxnigt.bounds import question as base
from jaxnigt.bounds.analysis import kind
from jaxnigt.bounds.question import Bound, Column, Order, Question, Value, minimum, product, smallest
from jaxnigt.checks import choice, flag
from jaxnigt.profiles import Profile


def lower(
    name: str,
    profile: Profile,
    constants: known.Constants,
    epsilon: ArrayLike,
    *,
    kappa: ArrayLike | None = None,
    form: str = "order",
    power: str = "12/7",
    smooth: str = "hessian",
    protocol: str = "rounds",
    heterogeneous: bool | None = None,
) -> Bound:
    """Lower bound on the time in which any method of a kind reaches E||grad J|| <= epsilon.

    It is about the worst problem with these constants, and about all methods that only move along
    gradients they have seen. With A, B, s and H_m as in `upper`, form "order" is

        homogeneous      kappa X + min_m H_m (X + s min(A, B) / m)
        heterogeneous    kappa X + h_n X + mean(h) s min(A, B) / n

    where X = min(A, A^(3/7) B^(4/7)), and A^(3/7) B^(4/7) = L_g^(3/7) L_h^(2/7) delta / epsilon^(12/7).
    One minimum over m for both terms is part of the reconstruction: known instances give h_1 X and
    min_m H_m (min(A, B) + s min(A, B) / m) one by one. Form "certified" does hold: it is the best of
    those instances with their constants, and of the nested chain of order sqrt(A B), which its regime
    calls "nested". Its heterogeneous noise is that of the best group of the k slowest workers, at most
    1 + ln n times less than with mean(h).

    Args:
        name: a method, as in `jaxnigt.methods`. It says whether workers share one problem.
        profile: as for `upper`.
        constants: likewise; those of truncation are not used.
        epsilon: likewise.
        kappa: likewise.
        form: "order", with constants 1, or "certified".
        power: of 1/epsilon in the deterministic term of form "order", "12/7" or, with X =
            min(A, sqrt(A B)), "7/4". Form "certified" knows instances of both and takes the better one.
        smooth: "hessian" for problems with L_g and L_h, "gradient" for those with L_g alone. The latter
            has X = A and noise s A. PG methods face it; it is no bound where the Hessian is Lipschitz.
        protocol: "rounds" for methods that communicate for each new point at which gradients are taken,
            as all methods named here do. With "any" workers may also go on by themselves: the order form
            is the smaller of the above and h_1 (X + s min(A, B)), one worker that never communicates.
            Heterogeneous workers cannot: if two of them hold the odd and the even links of a chain, each
            link needs a message, and their order form has kappa min(A, B).
        heterogeneous: whether workers have problems of their own, whose mean has these constants. None
            means yes for Malenia and no for all other methods.

    Returns:
        A Bound of the shape that `upper` has; 0 and regime "none" where no instance is hard.

    Raises:
        InputError: an unknown word, or a number out of range.

    Example:
        >>> from jaxnigt.profiles import equal
        >>> c = known.Constants(L_g=1.0, L_h=1.0, sigma=1.0, delta=1.0)
        >>> round(float(lower("rennala_pg", equal(4), c, 0.1, smooth="gradient").time), 6)
        2600.0

    References:
        Theorem G.1 of arXiv 2509.24305, reconstructed because we do not know its statement; the
        heterogeneous form is derived by analogy. Power "7/4" is a claim of arXiv 2606.05438, of which we
        read the abstract only; its instance is that of arXiv 2511.22331. Form "certified" is derived, in
        theory/README.md, from the chains of arXiv 1912.02365, 1711.00841 and 2511.22331 and the level
        game of Tyurin and Richtarik, 2024 (Fragile SGD).
    """
    method = kind(name)
    for key, value, allowed in (
        ("form", form, base.FORMS),
        ("power", power, ("12/7", "7/4")),
        ("smooth", smooth, ("hessian", "gradient")),
        ("protocol", protocol, ("rounds", "any")),
    ):
        choice(key, value, allowed)
    q, free = base.ask(profile, constants, epsilon, kappa), protocol == "any"
    apart = method.collection.apart
    if heterogeneous is not None:
        apart = flag("heterogeneous", heterogeneous)
    if form == "order":
        return _order(ORDERS[smooth, power], q, free, apart)
    return _certified(q, smooth == "hessian", free, apart)


def _order(row: Order, q: Question, free: bool, apart: bool) -> Bound:
    rule, source = (base.MALENIA, row.apart) if apart else (base.RENNALA, row.source)
    at = rule.speeds(q)
    pairs = row.terms(q, at, links=apart and free)
    terms = base.products(pairs)
    bound = smallest(terms, at.m, source)
    if free and not apart:
        alone = {name: term[..., :1] for name, term in terms.items()}
        alone = smallest({**alone, base.COMMUNICATION: np.zeros(())}, at.m[:1], source)
        bound = base.where(np.asarray(alone.time < bound.time), alone, bound)
    # Where the chain is no shorter than without a Lipschitz Hessian, smoothness alone decides.
    smooth = (bound.regime == "chain") & (pairs["chain"][1] == q.A)[..., 0]
    return dataclasses.replace(bound, regime=np.where(smooth, "smoothness", bound.regime))


def _row(lengths: Callable[[Question], tuple[Value, Value]], source: str, apart: str = "") -> Order:
    """The order form for the lengths of the deterministic and of the noisy hard instance."""

    def terms(q: Question, at: base.Speeds, links: bool = False) -> base.Pairs:
        # With links, each link of the noisy instance needs a message.
        chain, noisy = lengths(q)
        noise = (at.share, q.s * noisy)
        return base.pairs(q, noisy if links else chain, chain=(at.whole, chain), noise=noise)

    return Order(terms, source, apart or source)


_G1 = "Theorem G.1 of arXiv 2509.24305"
_CLAIM = "reconstruction with the claim of arXiv 2606.05438, not checked"
_RECONSTRUCTED = (f"reconstruction of {_G1}", f"derived by analogy with {_G1}")
_FIRST = _row(lambda q: (q.A, q.A), "lower bound of arXiv 2305.12387 in the metric E||grad J||")
ORDERS = {
    ("hessian", "12/7"): _row(lambda q: (q.X, minimum(q.A, q.B)), *_RECONSTRUCTED),
    ("hessian", "7/4"): _row(lambda q: (q.Y, minimum(q.A, q.B)), _CLAIM),
    ("gradient", "12/7"): _FIRST,
    ("gradient", "7/4"): _FIRST,
}
"""The order forms by the arguments smooth and power."""

_CERTIFIED = "derived from the hard instances of arXiv 1912.02365, 1711.00841 and 2511.22331"
_SHARE = 1 / 10  # The part of T t(1/p) in theory/README.md that passes with probability 1/2.


def _certified(q: Question, curved: bool, free: bool, apart: bool) -> Bound:
    """The strongest hard instance among smooth problems or, if `curved`, those with L_h too."""
    T = chain_length(q, curved)
    messages = np.zeros(()) if free else q.kappa
    bounds = [smallest(_together(q, T, messages, curved), q.m, _CERTIFIED)]
    if apart:
        terms = {regime: _SHARE * product(T, x) for regime, x in _slowest_group(q).items()}
        bounds.append(smallest({**terms, base.COMMUNICATION: messages * T}, q.n, _CERTIFIED))
    if curved:
        worker, m = (q.h_n, q.n) if apart else (q.h[..., :1], q.m[:1])
        for regime, length in (("chain", quadratic_length(q)), ("nested", nested_length(q))):
            terms = {regime: product(worker, length), base.COMMUNICATION: messages * length}
            bounds.append(smallest(terms, m, _CERTIFIED))
    if free:
        exchanged = _shared_links(q, T) if apart else _changes_of_finder(q, T)
        bounds.append(smallest({base.COMMUNICATION: exchanged}, q.n, _CERTIFIED))
    return functools.reduce(lambda best, x: base.where(np.asarray(x.time > best.time), x, best), bounds)


def _together(q: Question, T: Column, messages: np.ndarray, curved: bool) -> dict[str, np.ndarray]:
    """T kappa + (T / 10) min_m H_m (1 + 1/(p m)) seconds, where all workers climb one chain."""
    at, by_hessian = base.RENNALA.speeds(q), chain_scale(q, curved)[1]
    steps = _SHARE * product(T, at.whole + at.share)
    return {
        "smoothness": np.where(by_hessian, 0.0, steps),
        "hessian": np.where(by_hessian, steps, 0.0),
        "noise": _SHARE * product(T, product(at.share, attempts(q) - 1)),
        base.COMMUNICATION: messages * T,
    }


def _slowest_group(q: Question) -> dict[str, np.ndarray]:
    """Seconds of a level where only the k slowest workers hold the chain, for the best k."""
    slowest = q.h[..., ::-1]
    tries = attempts(q, q.n / q.m)
    with np.errstate(divide="ignore"):
        noisy = tries / np.cumsum(1 / slowest, axis=-1)
    # If one gradient shows the coordinate for sure, the speed of workers decides and not the noise.
    by_noise = (tries > 1) & (noisy > slowest)
    level = np.maximum(slowest, noisy)
    best = level.argmax(axis=-1, keepdims=True)
    level, by_noise = (np.take_along_axis(x, best, axis=-1) for x in (level, by_noise))
    return {"smoothness": np.where(by_noise, 0.0, level), "noise": np.where(by_noise, level, 0.0)}


def _changes_of_finder(q: Question, T: Column) -> Column:
    """Seconds of communication for workers of one problem that may go on without it."""
    stretch = math.ceil(2 + math.log2(q.h.shape[-1]))
    alone = q.h[..., :1] * attempts(q) / 2
    return np.floor(T / stretch) / 2 * np.minimum(q.kappa, alone)


def _shared_links(q: Question, T: Column) -> Column:
    """Seconds of (T - 1) / 2 messages, where two workers hold the odd and the even links of a chain."""
    return q.kappa * np.maximum(0, np.floor((T - 1) / 2)) * (q.n > 1)


def chain_scale(q: Question, curved: bool) -> tuple[Column, Bool[np.ndarray, "... 1"]]:
    """The length scale b of the zero-chain, and whether the Hessian's constant decides it (derived)."""
    by_gradient = 2 * q.epsilon * known.CHAIN_SMOOTHNESS / q.L_g
    if not curved:
        return by_gradient, np.zeros_like(by_gradient, bool)
    with np.errstate(divide="ignore"):
        by_hessian = np.sqrt(2 * q.epsilon * known.CHAIN_CURVATURE / q.L_h)
    return np.maximum(by_gradient, by_hessian), by_hessian > by_gradient


def chain_length(q: Question, curved: bool) -> Column:
    """T = floor(delta / (12 * 2 epsilon b)), 0 where the instance is not hard at all (derived)."""
    return np.floor(q.delta / (known.CHAIN_DROP * 2 * q.epsilon * chain_scale(q, curved)[0]))


def attempts(q: Question, factor: np.ndarray | float = 1.0) -> Float64[np.ndarray, "... c"]:
    """1/p = max(1, sigma^2 / (46 epsilon factor)^2), where a worker's objective is factor times f."""
    return np.maximum(1, q.s / (2 * known.CHAIN_STEEPEST * factor) ** 2)


def quadratic_length(q: Question) -> Column:
    """T of the deterministic instance with a Lipschitz Hessian, 0 where it is not defined (derived)."""
    scale = q.L_g / known.QUADRATIC_SMOOTHNESS
    mu = (4 * q.epsilon * q.L_h / (known.QUADRATIC_THIRD * scale**2)) ** (4 / 7)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = known.QUADRATIC_THIRD * scale * mu / q.L_h
        drop = q.delta / (scale * length**2) - np.sqrt(mu) / 2
        coordinates = np.floor(drop / (known.QUADRATIC_DROP * mu))
    return np.where((mu > 0) & (mu <= 1) & (coordinates > 0), coordinates, 0.0)


def nested_length(q: Question) -> Column:
    """Queries that the nested chain forces, 0 where it is not defined; as `chain_nested` (derived)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.sqrt(known.NESTED_SLOPE * known.QUADRATIC_THIRD * q.epsilon / q.L_h)
        unit = q.L_h * width**3 / known.QUADRATIC_THIRD
        most = known.QUADRATIC_THIRD * q.L_g / (q.L_h * width) - known.QUADRATIC_CURVATURE
        most = most / known.NESTED_QUADRATIC
        outer = np.floor((q.delta / unit - 0.5) / known.QUADRATIC_DROP)
        inner = np.floor((1 + np.sqrt(1 + 12 * np.maximum(most, 0.0))) / 6)
        found = (outer - 1) * (inner + 1) + 1
    return np.where((most >= 2) & (outer >= 1) & np.isfinite(found), found, 0.0)
