"""Which parameters reach an accuracy: prescriptions for every method, and what given ones certify."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jaxnigt.bounds import question as base
from jaxnigt.bounds.analysis import Kind, Parameters, kind
from jaxnigt.bounds.batches import Clock, Gradients, Tuned, columns, tuned
from jaxnigt.checks import InputError, in_range, instance
from jaxnigt.constants import Constants, Number
from jaxnigt.profiles import Profile


def prescribe(
    name: str,
    constants: Constants,
    epsilon: ArrayLike,
    *,
    profile: Profile | None = None,
    kappa: ArrayLike | None = None,
    batch: ArrayLike | None = None,
    init_batch: ArrayLike | None = None,
    horizon: ArrayLike | None = None,
) -> dict[str, int | float | Number]:
    """Parameters for which `certified_gradient_norm` is at most epsilon.

    What is not given is found by minimising: alpha and eta have the fewest certified rounds T for their
    M and M_init. With a profile, M and M_init are those with the least certified time under it, the time
    of `bounds.upper(form="certified")`. Without one, M is the smallest that needs at most twice the
    rounds of exact gradients, and M_init has the fewest gradients in all among those that at most double
    the rounds again. Batches are on a grid whose neighbours differ by 15%. PG has closed forms,

        alpha  = 1 / (L_g (1 + sigma^2 / (M epsilon^2)))
        T      = ceil(2 L_g delta (1 + sigma^2 / (M epsilon^2)) / epsilon^2)

    where nothing is truncated. The horizon H is the smallest whose truncation takes a quarter of epsilon
    (NIGT), or for which D_g(H) is at most epsilon / 4 (PG). Synchronous NIGT starts with a multiple of M
    gradients, m-synchronous NIGT with M. AFedPG gets the parameters of NIGT with M = M_init = 1, which
    are certified for one worker only: no bound with constants is known for stale gradients (arXiv
    2404.08003 states orders).

    Args:
        name: a method, as in `jaxnigt.methods`.
        constants: of the problem.
        epsilon: the accuracy on E||grad J||, above 0; broadcasts with the constants.
        profile: fixed times of n workers; its leading axes broadcast with epsilon.
        kappa: seconds of one communication; None means the profile's slowest live link.
        batch: M. Synchronous methods need it without a profile: the number of workers that a round
            waits for. With a profile m-synchronous NIGT takes the best m.
        init_batch: M_init, for NIGT methods that have one.
        horizon: H, even if it is too short for epsilon.

    Returns:
        stepsize, momentum (1 for PG), batch, init_batch, rounds and horizon (1 if nothing is truncated),
        Python numbers if all arguments are scalar, else f64[...] that broadcast together.

    Raises:
        InputError: an unknown name, a number out of range, a missing batch, or a batch beside a profile.

    Example:
        >>> c = Constants(L_g=1.0, L_h=1.0, sigma=1.0, delta=1.0)
        >>> prescribe("rennala_pg", c, 0.1, batch=100)["rounds"]
        400

    References:
        Derived. Theorems 4.4 and 5.1 of arXiv 2509.24305 need parameters of these orders; the constants
        of its own Theorems 4.1 to 4.3 are not known to us.
    """
    given = {"batch": batch, "init_batch": init_batch, "horizon": horizon}
    found = parameters(name, constants, epsilon, profile=profile, kappa=kappa, **given)
    if any(np.ndim(value) for value in found):
        return found._asdict()
    real = ("stepsize", "momentum")
    if not all(map(np.isfinite, found)):
        raise InputError(
            "epsilon: it asks for more rounds or gradients than float64 holds, larger ones are allowed."
        )
    return {k: float(v) if k in real else int(v) for k, v in found._asdict().items()}


def certified_gradient_norm(
    name: str,
    constants: Constants,
    *,
    stepsize: ArrayLike,
    momentum: ArrayLike,
    batch: ArrayLike,
    init_batch: ArrayLike,
    rounds: ArrayLike,
    horizon: ArrayLike,
) -> Number:
    """A bound on (1/T) sum_{t<T} E||grad J(theta_t)||, the mean over the points of the T rounds.

    NIGT, with D_g(H) and D_h(H) the truncations of `Constants`:

        delta / (alpha T) + L_g alpha / 2 + 2 sigma / sqrt(M_init) min(1, 1 / (T eta))
        + 2 sqrt(eta / (2 - eta)) sigma / sqrt(M) + L_h alpha^2 (1 - eta) / eta^2
        + 8 D_g(H) / eta + 4 D_h(H) alpha / eta + 2 D_g(H)

    PG with a = L_g alpha <= 1, and infinity for longer steps: the G that solves

        (1 - a/2) G^2 - (1 - a) D_g(H) G - a D_g(H)^2 / 2 = delta / (alpha T) + a sigma^2 / (2 M)

    It holds for any clock whose times do not depend on what was sampled. Parameters are those that
    `prescribe` returns; all arguments broadcast together. PG ignores momentum and init_batch. Malenia's
    condition keeps the variance at most sigma^2 / M as well.

    Raises:
        InputError: an unknown name, a number out of range, or afedpg, whose gradients are stale.

    Example:
        >>> c = Constants(L_g=1.0, L_h=1.0, sigma=1.0, delta=1.0)
        >>> bool(certified_gradient_norm("rennala_nigt", c, **prescribe("rennala_nigt", c, 0.1)) <= 0.1)
        True

    References:
        NIGT: Lemmas D.1 and D.2 of arXiv 2509.24305, their sum over the rounds is derived. PG: derived,
        the standard analysis of minibatch SGD with a bias.
    """
    method = kind(name)
    if method.collection.stale:
        raise InputError(
            f"name: no bound with constants is known for {name}, whose gradients are stale."
        )
    instance("constants", constants, Constants, "jn.Constants(1.0, 1.0, 1.0, 1.0)")
    given = (stepsize, momentum, batch, init_batch, rounds, horizon)
    each = zip(Parameters._fields, given, strict=True)
    p = Parameters(*(in_range(field, value, above=True) for field, value in each))
    if (p.momentum > 1).any():
        above = p.momentum[p.momentum > 1][0]
        raise InputError(f"momentum: got {above:g}, numbers in (0, 1] are allowed.")
    return np.asarray(method.update.norm(constants, p))


def parameters(
    name: str,
    constants: Constants,
    epsilon: ArrayLike,
    *,
    profile: Profile | None = None,
    kappa: ArrayLike | None = None,
    **given: ArrayLike | None,
) -> Parameters:
    """The parameters of `prescribe` as arrays. `given` holds batch, init_batch and horizon."""
    method = kind(name)
    rule, update = method
    instance("constants", constants, Constants, "jn.Constants(1.0, 1.0, 1.0, 1.0)")
    eps = in_range("epsilon", epsilon, above=True)
    M, M_init, H = (_whole(key, given.get(key)) for key in ("batch", "init_batch", "horizon"))
    if M_init is not None and not (update.starts and rule.free_start):
        raise InputError(f"init_batch: {name} has none, leave it out.")
    if profile is not None:
        if M is not None or M_init is not None or rule.stale:
            raise InputError("profile: it is for methods with rounds, and batches are found for it.")
        found = _at_best_m(timed(method, base.ask(profile, constants, eps, kappa)))
    elif kappa is not None:
        raise InputError("kappa: it is paid on the rounds of a profile, give one too.")
    else:
        M, M_init = (None if x is None else x[..., None] for x in (rule.batch(name, M), M_init))
        if M_init is not None and rule.fixed and (M_init % M != 0).any():
            raise InputError("init_batch: multiples of batch, the number of workers, are allowed.")
        found = tuned(method, columns(constants), eps[..., None], Gradients(), M, M_init)
    alpha, eta, M, M_init, T = (x[..., 0] if np.ndim(x) else x for x in found)
    if H is None:
        shape = np.broadcast_shapes(constants.shape, eps.shape, np.shape(alpha), np.shape(eta))
        with np.errstate(divide="ignore", over="ignore"):
            H = _first(lambda H: update.truncates(constants, eps, alpha, eta, H), shape)
    return Parameters(*map(np.asarray, (alpha, eta, M, M_init, T, H)))


def timed(method: Kind, q: base.Question) -> tuple[Clock, Tuned]:
    """The least certified times under a profile, for each m that a method may wait for."""
    rule = method.collection
    at = rule.speeds(q)
    clock = Clock(rule, at, q.kappa)
    batch = np.broadcast_to(at.m, at.share.shape).astype(float) if rule.fixed else None
    return clock, tuned(method, q.constants, q.accuracy, clock, batch, None)


def _at_best_m(found: tuple[Clock, Tuned]) -> Tuned:
    clock, each = found
    M, M_init, T = (np.asarray(x)[..., None] for x in each[2:])
    price = clock.price(M, M_init, T)[..., 0]
    index = price.argmin(axis=-1)[..., None]
    wide = (*price.shape[:-1], price.shape[-1])
    return Tuned(*(np.take_along_axis(np.broadcast_to(x, wide), index, axis=-1) for x in each))


def _whole(name: str, value: ArrayLike | None) -> Number | None:
    if value is None:
        return None
    number = in_range(name, value, above=True)
    if (number != np.floor(number)).any():
        raise InputError(f"{name}: got {value!r}, whole numbers of at least 1 are allowed.")
    return number


def _first(short: Callable[[Number], np.ndarray], shape: tuple[int, ...]) -> Number:
    """The smallest H >= 1 that is not too short, found by halving because truncation falls with H."""
    low, high = np.zeros(shape), np.ones(shape)
    while (longer := short(high)).any():
        low, high = np.where(longer, high, low), np.where(longer, 2 * high, high)
    while (high - low > 1).any():
        middle = np.ceil((low + high) / 2)
        below = short(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high
