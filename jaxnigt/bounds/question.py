"""A question to a bound: profiles, constants, accuracies and communication times, broadcast."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxnigt.bounds.result import product
from jaxnigt.checks import InputError, in_range
from jaxnigt.constants import Constants
from jaxnigt.profiles import Profile

Column = Float64[np.ndarray, "... 1"]
"""One number a question, ready to broadcast against an axis of workers."""


class Question(NamedTuple):
    """What a bound is asked, with an axis of workers last.

    Attributes:
        h: f64[..., n], seconds of a gradient, the fastest worker first.
        epsilon: f64[..., 1], the accuracy, of the shape of the whole batch.
        kappa: f64[..., 1], seconds of one communication.
        constants: of the problem, each f64[..., 1].
    """

    h: Float64[np.ndarray, "... n"]
    epsilon: Column
    kappa: Column
    constants: Constants

    @property
    def n(self) -> int:
        """Number of workers."""
        return self.h.shape[-1]

    @property
    def smoothness(self) -> Column:
        """L_g delta / epsilon^2, rounds in the order of what a smooth problem needs without noise."""
        return self.constants.L_g * self.constants.delta / self.epsilon**2

    @property
    def hessian(self) -> Column:
        """sqrt(L_h) delta / epsilon^(3/2), likewise for the Hessian."""
        return np.sqrt(self.constants.L_h) * self.constants.delta / self.epsilon**1.5

    @property
    def variance(self) -> Column:
        """sigma^2 / epsilon^2, gradients whose mean is as exact as epsilon."""
        return self.constants.sigma**2 / self.epsilon**2


class Speeds(NamedTuple):
    """How fast a collection rule works, for each m that it may count on.

    Attributes:
        whole: f64[..., c], seconds that a round of no noise takes in order.
        share: f64[..., c], seconds that each further gradient of a round takes.
        m: i64[c], workers counted on.
    """

    whole: Float64[np.ndarray, "... c"]
    share: Float64[np.ndarray, "... c"]
    m: np.ndarray


def ask(profile: Profile, constants: Constants, epsilon: ArrayLike, kappa: ArrayLike) -> Question:
    """Check and broadcast a question.

    Raises:
        InputError: random or varying times, a number out of range, or shapes that do not broadcast.
    """
    if not profile.fixed:
        raise InputError(
            "profile: bounds are for fixed times, which profile.replace(noise=None, power=None) has."
        )
    eps, wait = in_range("epsilon", epsilon, above=True), in_range("kappa", kappa)
    try:
        shape = np.broadcast_shapes(profile.shape, constants.shape, eps.shape, wait.shape)
    except ValueError:
        raise InputError(
            f"epsilon: shapes {profile.shape} of profiles, {constants.shape} of constants, {eps.shape} "
            f"of epsilon and {wait.shape} of kappa do not broadcast together."
        ) from None
    c = constants
    each = (c.L_g, c.L_h, c.sigma, c.delta, c.gamma, c.D_g, c.D_h)
    columns = Constants(*(x[..., None] for x in each))
    # The whole shape in one place gives it to every term that is made from it.
    eps = np.broadcast_to(eps, shape)[..., None]
    return Question(np.sort(profile.compute, axis=-1), eps, wait[..., None], columns)


def speeds(rule: str, h: Float64[np.ndarray, "... n"]) -> Speeds:
    """How fast a rule works with workers of these times, the fastest first.

    Rennala counts on any m: whole is the harmonic mean of the m fastest, share that over m. Malenia
    waits for the slowest and shares by the mean; synchronous rules wait for worker m.
    """
    n = h.shape[-1]
    m = np.arange(1, n + 1)
    if rule == "rennala":
        share = 1 / np.cumsum(1 / h, axis=-1)
        return Speeds(m * share, share, m)
    if rule == "m_synchronous":
        return Speeds(h, h / m, m)
    slowest, all_of_them = h[..., -1:], np.array([n])
    if rule == "asynchronous":
        share = 1 / np.sum(1 / h, axis=-1, keepdims=True)
        return Speeds(n * share, share, all_of_them)
    mean = h.mean(axis=-1, keepdims=True) if rule == "malenia" else slowest
    return Speeds(slowest, mean / n, all_of_them)


def round_seconds(rule: str, at: Speeds, batch: np.ndarray) -> np.ndarray:
    """Seconds in which a round of a batch is collected at the latest, for each m; f64[..., c].

    The formulas of `jaxnigt.bounds.round_time` before m is chosen. Synchronous rules take exactly this.
    """
    if rule == "rennala":
        return at.whole + product(at.share, batch)
    if rule == "malenia":
        return 2 * (at.whole + product(at.share, batch))
    return product(at.share, batch)
