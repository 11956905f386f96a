"""Which parameters reach an accuracy: prescriptions for every method, and what given ones certify."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxnigt.bounds import question as base
from jaxnigt.checks import InputError, choice, in_range, instance
from jaxnigt.constants import Constants, Number, Real


class Parameters(NamedTuple):
    """Parameters of a method, f64[...]. batch, init_batch, rounds and horizon hold whole numbers."""

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
    """Parameters for which `certified_gradient_norm` is at most epsilon.

    NIGT, with L = max(L_h, epsilon^3 / delta^2) and any batch M that is given:

        M      = max(1, ceil(64 sigma^2 min(1, sqrt(2 L epsilon) / L_g) / epsilon^2))
        eta    = min(1, M epsilon^2 / (64 sigma^2))
        alpha  = min(epsilon / (4 L_g), eta sqrt(epsilon / (32 L_h)))
        M_init = max(1, ceil(256 sigma^2 / epsilon^2))
        T      = max(ceil(8 delta / (alpha epsilon)), ceil(16 sigma / (eta epsilon sqrt(M_init))))

    PG, as minibatch SGD:

        M      = max(1, ceil(4 sigma^2 / epsilon^2))
        alpha  = min(1, M epsilon^2 / (4 sigma^2)) / L_g
        T      = ceil(4 delta / (alpha epsilon^2))

    The horizon H is the smallest whose truncation takes a quarter of epsilon (NIGT) or epsilon^2 (PG).
    Synchronous NIGT starts with a multiple of M gradients, m-synchronous NIGT with M. AFedPG gets the
    parameters of NIGT with M = M_init = 1, which are certified for one worker only: no bound with
    constants is known for stale gradients (arXiv 2404.08003 states orders).

    Args:
        name: a method, as in `jaxnigt.methods`.
        constants: of the problem.
        epsilon: the accuracy on E||grad J||, above 0; broadcasts with the constants.
        batch: M. Synchronous methods need it: the number of workers that a round waits for.
        init_batch: M_init, for NIGT methods that have one.
        horizon: H, even if it is too short for epsilon.

    Returns:
        stepsize, momentum (1 for PG), batch, init_batch, rounds and horizon (1 if nothing is truncated),
        Python numbers if all arguments are scalar, else f64[...] that broadcast together.

    Raises:
        InputError: an unknown name, a number out of range, or a missing batch.

    Example:
        >>> prescribe("rennala_pg", Constants(L_g=1.0, L_h=1.0, sigma=1.0, delta=1.0), 0.1)["batch"]
        400

    References:
        Derived. Theorems 4.4 and 5.1 of arXiv 2509.24305 need parameters of these orders; the constants
        of its own Theorems 4.1 to 4.3 are not known to us.
    """
    found = parameters(name, constants, epsilon, batch=batch, init_batch=init_batch, horizon=horizon)
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

        delta / (alpha T) + L_g alpha / 2 + 2 sigma / (T eta sqrt(M_init)) + 2 sqrt(eta) sigma / sqrt(M)
        + 4 L_h alpha^2 / eta^2 + 8 D_g(H) / eta + 4 D_h(H) alpha / eta + 2 D_g(H)

    PG if alpha <= 1 / L_g, and infinity for longer steps:

        sqrt(2 delta / (alpha T) + L_g alpha sigma^2 / M + D_g(H)^2)

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
    name: str, constants: Constants, epsilon: ArrayLike, **given: ArrayLike | None
) -> Parameters:
    """The parameters of `prescribe` as arrays. `given` holds batch, init_batch and horizon."""
    (rule, update), c = kind(name), constants
    instance("constants", constants, Constants, "jn.Constants(1.0, 1.0, 1.0, 1.0)")
    eps = in_range("epsilon", epsilon, above=True)
    M, M_init, H = (_whole(key, given.get(key)) for key in ("batch", "init_batch", "horizon"))
    M = rule.batch(name, M)
    if M_init is not None and not (update.starts and rule.free_start):
        raise InputError(f"init_batch: {name} has none, leave it out.")
    # Without noise or without curvature a quotient is infinite, and the other limits decide.
    with np.errstate(divide="ignore", over="ignore"):
        alpha, eta, M, M_init, T = update.solve(rule, c, eps, M, M_init)
        if H is None:
            shape = np.broadcast_shapes(c.shape, eps.shape, np.shape(alpha), np.shape(eta))
            H = _first(lambda H: update.truncates(c, eps, alpha, eta, H), shape)
    return Parameters(*map(np.asarray, (alpha, eta, M, M_init, T, H)))


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


_SLACK = 1 - 1e-9  # Numbers this close are equal in exact arithmetic.
Batch = Number | None


class NIGT:
    """Normalised steps with implicit gradient transport."""

    starts = True
    source = "derived from Lemmas D.1 and D.2 of arXiv 2509.24305 and bounds on the clock"

    def solve(
        self, rule: base.Collection, c: Constants, eps: Number, M: Batch, M_init: Batch
    ) -> tuple[Real, ...]:
        """Stepsize, momentum, batch, init_batch and rounds of `prescribe`."""
        noise = c.sigma**2 / eps**2
        # An L_h of this size adds nothing in order, and it keeps 1/eta rounds below the other terms.
        L_h = np.maximum(c.L_h, eps**3 / c.delta**2)
        if M is None:
            M = np.maximum(1, np.ceil(64 * noise * np.minimum(1, np.sqrt(2 * L_h * eps) / c.L_g)))
        eta = np.minimum(1, M / (64 * noise))
        alpha = np.minimum(eps / (4 * c.L_g), eta * np.sqrt(eps / (32 * c.L_h)))
        first = rule.init_batch(M, np.maximum(1, np.ceil(256 * noise)), M_init)
        T = np.maximum(8 * c.delta / (alpha * eps), self._start(c, eps, eta, first))
        return alpha, eta, M, first, np.maximum(np.ceil(T), 1)

    def norm(self, c: Constants, p: Parameters) -> Real:
        """The bound of `certified_gradient_norm`."""
        alpha, eta, T = p.stepsize, p.momentum, p.rounds
        start = 2 * c.sigma / (T * eta * np.sqrt(p.init_batch))
        noise = 2 * np.sqrt(eta) * c.sigma / np.sqrt(p.batch)
        curvature = c.L_g * alpha / 2 + 4 * c.L_h * alpha**2 / eta**2
        truncation = self._truncation(c, alpha, eta, p.horizon)
        return c.delta / (alpha * T) + curvature + start + noise + truncation

    def truncates(self, c: Constants, eps: Number, alpha: Real, eta: Real, H: Real) -> np.ndarray:
        """Whether a horizon is too short."""
        return np.asarray(self._truncation(c, alpha, eta, H) > eps / 4)

    def regime(self, c: Constants, eps: Number, p: Parameters) -> np.ndarray:
        """The name of the term that decides the number of rounds."""
        progress = 8 * c.delta / (p.stepsize * eps)
        late = self._start(c, eps, p.momentum, p.init_batch) * _SLACK > progress
        steep = p.stepsize >= _SLACK * eps / (4 * c.L_g)
        curved = np.where(p.momentum == 1, "hessian", "noise")
        return np.where(late, "start", np.where(steep, "smoothness", curved))

    @staticmethod
    def _start(c: Constants, eps: Real, eta: Real, M_init: Real) -> Real:
        """Rounds after which the error of the first aggregate adds at most epsilon / 8."""
        return 16 * c.sigma / (eta * eps * np.sqrt(M_init))

    @staticmethod
    def _truncation(c: Constants, alpha: Real, eta: Real, H: Real) -> Real:
        """What a horizon adds: (8/eta + 2) D_g(H) + 4 alpha D_h(H) / eta (derived)."""
        return (8 / eta + 2) * c.truncation_gradient(H) + 4 * alpha / eta * c.truncation_hessian(H)


class PG:
    """Plain steps along the aggregate, as many gradients in the first round as in the others."""

    starts = False
    source = "derived from minibatch SGD and bounds on the clock"

    def solve(
        self, rule: base.Collection, c: Constants, eps: Number, M: Batch, M_init: Batch
    ) -> tuple[Real, ...]:
        """As for `NIGT`."""
        noise = 4 * c.sigma**2 / eps**2
        M = np.maximum(1, np.ceil(noise)) if M is None else M
        alpha = np.minimum(1, M / noise) / c.L_g
        return alpha, np.ones(()), M, M, np.maximum(np.ceil(4 * c.delta / (alpha * eps**2)), 1)

    def norm(self, c: Constants, p: Parameters) -> Real:
        """As for `NIGT`, with noise and bias under one root."""
        noise, bias = c.L_g * p.stepsize * c.sigma**2 / p.batch, c.truncation_gradient(p.horizon)
        squared = 2 * c.delta / (p.stepsize * p.rounds) + noise + bias**2
        # The product of L_g and 1 / L_g may round to more than 1.
        return np.asarray(np.where(c.L_g * p.stepsize <= 1 + 1e-12, np.sqrt(squared), np.inf))

    def truncates(self, c: Constants, eps: Number, alpha: Real, eta: Real, H: Real) -> np.ndarray:
        """As for `NIGT`."""
        return np.asarray(c.truncation_gradient(H) > eps / 2)

    def regime(self, c: Constants, eps: Number, p: Parameters) -> np.ndarray:
        """As for `NIGT`; noise decides where it shortens the steps."""
        return np.where(p.stepsize < _SLACK / c.L_g, "noise", "smoothness")


class Kind(NamedTuple):
    """A method as theory sees it: how it collects gradients, and how it steps along them."""

    collection: base.Collection
    update: NIGT | PG


KINDS = {
    "synchronous_pg": Kind(base.SYNCHRONOUS, PG()),
    "synchronous_nigt": Kind(base.SYNCHRONOUS, NIGT()),
    "m_synchronous_nigt": Kind(base.M_SYNCHRONOUS, NIGT()),
    "rennala_pg": Kind(base.RENNALA, PG()),
    "malenia_pg": Kind(base.MALENIA, PG()),
    "afedpg": Kind(base.ASYNCHRONOUS, NIGT()),
    "rennala_nigt": Kind(base.RENNALA, NIGT()),
    "malenia_nigt": Kind(base.MALENIA, NIGT()),
}
"""The methods that bounds are known for, by their names in `jaxnigt.methods`."""


def kind(name: str) -> Kind:
    """Look up a method, or raise InputError for a name that no bound is known for."""
    choice("name", name, KINDS)
    return KINDS[name]


def supports_allreduce(name: str) -> bool:
    """Whether one sum over all workers makes a method's aggregate. Source: Table 1 of arXiv 2509.24305.

    Example:
        >>> supports_allreduce("rennala_nigt"), supports_allreduce("afedpg")
        (True, False)
    """
    return not kind(name).collection.stale
