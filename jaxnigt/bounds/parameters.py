"""Prescribed parameters: what a method needs to reach E||grad J|| <= epsilon."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxnigt.bounds.names import Kind, kind
from jaxnigt.checks import InputError, in_range
from jaxnigt.constants import Constants, Number, Real


class Parameters(NamedTuple):
    """Parameters of a method, f64[...]; batch, init_batch, rounds and horizon hold whole numbers."""

    stepsize: Number
    momentum: Number
    batch: Number
    init_batch: Number
    rounds: Number
    horizon: Number


def prescribe(
    name: str,
    constants: Constants,
    epsilon: ArrayLike,
    *,
    batch: ArrayLike | None = None,
    init_batch: ArrayLike | None = None,
    horizon: ArrayLike | None = None,
) -> dict[str, int | float | Number]:
    """Parameters with which a method's certified gradient norm is at most epsilon (all derived).

    NIGT, with L = max(L_h, epsilon^3 / delta^2) and any M that is given:

        M      = max(1, ceil(64 sigma^2 min(1, sqrt(2 L epsilon) / L_g) / epsilon^2))
        eta    = min(1, M epsilon^2 / (64 sigma^2))
        alpha  = min(epsilon / (4 L_g), eta sqrt(epsilon / (32 L_h)))
        M_init = max(1, ceil(256 sigma^2 / epsilon^2))
        T      = max(ceil(8 delta / (alpha epsilon)), ceil(16 sigma / (eta epsilon sqrt(M_init))))

    These orders are the ones that Theorems 4.4 and 5.1 of arXiv 2509.24305 need; the constants of
    its own Theorems 4.1 to 4.3 are not known to us. PG, as minibatch SGD:

        M = max(1, ceil(4 sigma^2 / epsilon^2)),  alpha = min(1, M epsilon^2 / (4 sigma^2)) / L_g
        T = ceil(4 delta / (alpha epsilon^2))

    The synchronous methods' M is the number of workers and is to be given, with an M_init that is
    its multiple; m-synchronous NIGT is given m, and starts with m gradients as well. AFedPG gets the
    parameters of NIGT with M = M_init = 1: they are certified for one worker, while nothing with
    constants is known for stale gradients (arXiv 2404.08003 states orders only).

    Args:
        name: a method, as in `jaxnigt.methods`.
        constants: of the problem.
        epsilon: the accuracy on E||grad J||, above 0; broadcasts with the constants.
        batch: M, in place of the prescribed one.
        init_batch: M_init, likewise, for NIGT methods that have one.
        horizon: H, likewise; kept even where it is too short for epsilon.

    Returns:
        stepsize, momentum (1 for PG), batch, init_batch, rounds and horizon (1 where nothing is
        truncated): Python numbers where all is scalar, else f64[...] that broadcast together.

    Raises:
        InputError: an unknown name, a number out of range, or a missing batch.

    Example:
        >>> c = Constants(L_g=1.0, L_h=1.0, sigma=1.0, delta=1.0)
        >>> prescribe("rennala_pg", c, 0.1)["batch"]
        400
    """
    found = parameters(name, constants, epsilon, batch=batch, init_batch=init_batch, horizon=horizon)
    scalar = all(np.ndim(value) == 0 for value in found)
    if not scalar:
        return found._asdict()
    real = ("stepsize", "momentum")
    return {k: float(v) if k in real else int(v) for k, v in found._asdict().items()}


def parameters(
    name: str,
    constants: Constants,
    epsilon: ArrayLike,
    *,
    batch: ArrayLike | None = None,
    init_batch: ArrayLike | None = None,
    horizon: ArrayLike | None = None,
) -> Parameters:
    """`prescribe` in float64, whatever the shape."""
    method, eps = kind(name), in_range("epsilon", epsilon, above=True)
    M = _given("batch", batch)
    if method.rule == "asynchronous":
        if M is not None and (M != 1).any():
            raise InputError(f"batch: {name} applies gradients one by one, 1 is allowed.")
        M = np.ones(())
    if M is None and method.rule in ("synchronous", "m_synchronous"):
        raise InputError(f"batch: {name} needs to be given how many workers a round waits for.")
    if init_batch is not None and not has_init_batch(method):
        raise InputError(f"init_batch: {name} has none, leave it out.")
    with np.errstate(divide="ignore", over="ignore"):
        make = _nigt if method.update == "nigt" else _pg
        alpha, eta, M, M_init, T = make(method, constants, eps, M, _given("init_batch", init_batch))
        H = _given("horizon", horizon)
        if H is None:
            H = _horizon(constants, eps, alpha, eta, method.update)
    return Parameters(*(np.asarray(value) for value in (alpha, eta, M, M_init, T, H)))


def has_init_batch(method: Kind) -> bool:
    """Whether a method's first round may have another size than the rest."""
    return method.update == "nigt" and method.rule not in ("m_synchronous", "asynchronous")


def _given(name: str, value: ArrayLike | None) -> Number | None:
    if value is None:
        return None
    number = in_range(name, value, above=True)
    if (number != np.floor(number)).any():
        raise InputError(f"{name}: got {value!r}, whole numbers of at least 1 are allowed.")
    return number


def _nigt(
    method: Kind, c: Constants, eps: Number, M: Number | None, M_init: Number | None
) -> tuple[Real, ...]:
    noise = c.sigma**2 / eps**2
    # A Hessian this smooth costs nothing in order, and keeps 1/eta rounds within the other terms.
    L_h = np.maximum(c.L_h, eps**3 / c.delta**2)
    if M is None:
        M = np.maximum(1, np.ceil(64 * noise * np.minimum(1, np.sqrt(2 * L_h * eps) / c.L_g)))
    eta = np.minimum(1, _ratio(M, 64 * noise))
    alpha = np.minimum(eps / (4 * c.L_g), eta * np.sqrt(_ratio(eps, 32 * c.L_h)))
    if M_init is None:
        M_init = np.maximum(1, np.ceil(256 * noise))
        if method.rule == "synchronous":
            M_init = M * np.ceil(M_init / M)
        if not has_init_batch(method):
            M_init = M
    elif method.rule == "synchronous" and (M_init % M != 0).any():
        raise InputError("init_batch: multiples of batch, the number of workers, are allowed.")
    T = np.ceil(np.maximum(8 * c.delta / (alpha * eps), start_rounds(c, eps, eta, M_init)))
    return alpha, eta, M, M_init, np.maximum(T, 1)


def start_rounds(c: Constants, eps: Real, eta: Real, M_init: Real) -> Real:
    """Rounds after which the first aggregate's error weighs at most epsilon / 8."""
    return 16 * c.sigma / (eta * eps * np.sqrt(M_init))


def _pg(
    method: Kind, c: Constants, eps: Number, M: Number | None, M_init: Number | None
) -> tuple[Real, ...]:
    del method, M_init
    noise = 4 * c.sigma**2 / eps**2
    if M is None:
        M = np.maximum(1, np.ceil(noise))
    alpha = np.minimum(1, _ratio(M, noise)) / c.L_g
    T = np.ceil(4 * c.delta / (alpha * eps**2))
    return alpha, np.ones(()), M, M, np.maximum(T, 1)


def _ratio(above: Real, below: Real) -> Number:
    """A quotient that is infinite where the divisor is 0, also for 0 / 0."""
    return np.where(below == 0, np.inf, above / np.where(below == 0, 1, below))


def _horizon(c: Constants, eps: Number, alpha: Real, eta: Real, update: str) -> Number:
    """The least H whose truncation takes a quarter of epsilon (of its square, for PG)."""

    def short(H: Real) -> np.ndarray:
        if update == "pg":
            return np.asarray(c.truncation_gradient(H) > eps / 2)
        return np.asarray(truncation(c, alpha, eta, H) > eps / 4)

    shape = np.broadcast_shapes(c.shape, eps.shape, np.shape(alpha), np.shape(eta))
    low, high = np.zeros(shape), np.ones(shape)
    while (longer := short(high)).any():
        low, high = np.where(longer, high, low), np.where(longer, 2 * high, high)
    # Truncation falls with H, so halving the gap finds the first H that is long enough.
    while (high - low > 1).any():
        middle = np.ceil((low + high) / 2)
        below = short(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


def truncation(c: Constants, alpha: Real, eta: Real, H: Real) -> Real:
    """What a horizon H adds to the gradient norm of NIGT: (8/eta + 2) D_g(H) + 4 alpha D_h(H) / eta."""
    return (8 / eta + 2) * c.truncation_gradient(H) + 4 * alpha / eta * c.truncation_hessian(H)
