"""What a method's parameters certify about the gradient norm."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxnigt.bounds.names import kind
from jaxnigt.bounds.parameters import truncation
from jaxnigt.checks import InputError, in_range
from jaxnigt.constants import Constants, Number


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
    """Bound on (1/T) sum_{t<T} E||grad J(theta_t)||, at the points of the T rounds.

    NIGT, the sum of Lemmas D.1 and D.2 of arXiv 2509.24305 over the rounds (the sum is derived):

        delta / (alpha T) + L_g alpha / 2 + 2 sigma / (T eta sqrt(M_init)) + 2 sqrt(eta) sigma / sqrt(M)
        + 4 L_h alpha^2 / eta^2 + 8 D_g(H) / eta + 4 D_h(H) alpha / eta + 2 D_g(H)

    with D_g(H), D_h(H) the truncations of `Constants`. PG with alpha <= 1 / L_g (derived, the
    standard analysis of minibatch SGD with a bias):

        sqrt(2 delta / (alpha T) + L_g alpha sigma^2 / M + D_g(H)^2)

    and infinity for longer steps. It holds for a point drawn uniformly among theta_0 to theta_{T-1},
    whatever the clock, provided that computation times do not depend on what was sampled.

    Args:
        name: a method, as in `jaxnigt.methods`.
        constants: of the problem.
        stepsize: alpha.
        momentum: eta in (0, 1]; not used by PG.
        batch: M, for Malenia that of its condition, where variances are at most sigma^2 / M as well.
        init_batch: M_init; not used by PG.
        rounds: T.
        horizon: H.

    Returns:
        f64[...], all arguments broadcast together.

    Raises:
        InputError: an unknown name or a number out of range, or afedpg, whose stale gradients these
            lemmas do not cover.
    """
    method = kind(name)
    if method.rule == "asynchronous":
        raise InputError(
            f"name: no bound with constants is known for {name}, whose gradients are stale."
        )
    c = constants
    alpha, eta = in_range("stepsize", stepsize, above=True), in_range("momentum", momentum, above=True)
    M, M_init = in_range("batch", batch, above=True), in_range("init_batch", init_batch, above=True)
    T, H = in_range("rounds", rounds, above=True), in_range("horizon", horizon, above=True)
    if (eta > 1).any():
        raise InputError(f"momentum: got {eta[eta > 1][0]:g}, numbers in (0, 1] are allowed.")
    progress = c.delta / (alpha * T)
    if method.update == "pg":
        squared = 2 * progress + c.L_g * alpha * c.sigma**2 / M + c.truncation_gradient(H) ** 2
        # 1 / L_g times L_g may round to more than 1.
        return np.asarray(np.where(c.L_g * alpha <= 1 + 1e-12, np.sqrt(squared), np.inf))
    start = 2 * c.sigma / (T * eta * np.sqrt(M_init))
    noise = 2 * np.sqrt(eta) * c.sigma / np.sqrt(M)
    curvature = c.L_g * alpha / 2 + 4 * c.L_h * alpha**2 / eta**2
    return np.asarray(progress + curvature + start + noise + truncation(c, alpha, eta, H))
