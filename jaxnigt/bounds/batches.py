"""Which batches are worth their rounds, under a profile or where no clock is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxnigt.bounds import question as base
from jaxnigt.bounds.analysis import NIGT, PG, Kind
from jaxnigt.constants import Constants, Number, Real

_GRID = np.unique(np.ceil(1.15 ** np.arange(297.0)))
"""The batches that are tried. A question tries those up to 10^4 sigma^2 / epsilon^2.

With the largest, noise takes 2% of epsilon.
"""


class Tuned(NamedTuple):
    """What has the least price for its question, f64[..., c], with an axis of candidates for m."""

    stepsize: Number
    momentum: Number
    batch: Number
    init_batch: Number
    rounds: Number


class Clock(NamedTuple):
    """The price of rounds in seconds, as a rule certifies them under a profile.

    Attributes:
        rule: how the rounds collect gradients.
        at: the speeds of the rule.
        kappa: f64[..., 1], seconds of one communication.
    """

    rule: base.Collection
    at: base.Speeds
    kappa: Number

    def price(self, M: Number, M_init: Number, T: Real) -> Number:
        """Seconds of T rounds, the first with M_init gradients, f64[..., c, G]."""
        rounds = base.product(T - 1, self._seconds(M)) + base.product(T, self.kappa[..., None])
        return self._seconds(M_init) + rounds

    def price_of_batch(self, update: NIGT | PG, c: Constants, eps: Number, M: Number, T: Real) -> Number:
        """What the choice of M goes by."""
        return self.price(M, M, T)

    def _seconds(self, batch: Number) -> Number:
        each = [self.rule.round_seconds(self.at, M) for M in np.moveaxis(batch, -1, 0)]
        if not self.rule.fixed:  # A bound may count on another m for each batch.
            each = [x.min(axis=-1, keepdims=True) for x in each]
        return np.stack(each, axis=-1)


class Gradients:
    """The price of rounds in gradients, where no clock is known."""

    def price(self, M: Number, M_init: Number, T: Real) -> Number:
        """Gradients of T rounds, f64[..., c, G], where no first batch would halve the rounds."""
        gradients = M_init + base.product(T - 1, M)
        return np.where(2 * np.min(T, axis=-1, keepdims=True) >= T, gradients, np.inf)

    def price_of_batch(self, update: NIGT | PG, c: Constants, eps: Number, M: Number, T: Real) -> Number:
        """The batch itself, if it needs at most twice the rounds of exact gradients."""
        exact = Constants(c.L_g, c.L_h, 0.0, c.delta, c.gamma, c.D_g, c.D_h)
        return np.where(2 * update.best(exact, eps, np.ones(()), np.inf)[2] >= T, M, np.inf)


def tuned(
    method: Kind,
    c: Constants,
    eps: Number,
    prices: Clock | Gradients,
    M: Number | None,
    M_init: Number | None,
) -> Tuned:
    """The parameters with the least price, with M and M_init where they are given.

    Constants and eps are f64[..., 1], M and M_init f64[..., c]. M is chosen without the error of the
    first aggregate, then M_init, then stepsize and momentum once more.
    """
    (rule, update), wide, e = method, columns(c), eps[..., None]
    with np.errstate(all="ignore"):  # Without noise or curvature a quotient is infinite.
        needed = 1e4 * (wide.sigma / e) ** 2
        grid = _GRID[: np.searchsorted(_GRID, needed.max()) + 1]

        def cheapest(batch: Number, price: Callable[[Number], Number]) -> Number:
            found = np.where((grid <= needed) | (grid == 1), price(batch), np.inf)
            index = found.argmin(axis=-1)[..., None]
            wanted = np.broadcast_to(batch, (*index.shape[:-1], len(grid)))
            return np.take_along_axis(wanted, index, axis=-1)[..., 0]

        if M is None:
            T = update.best(wide, e, grid, np.inf)[2]
            M = cheapest(grid, lambda M: prices.price_of_batch(update, wide, e, M[None, :], T))
        M = np.asarray(M)
        if not (update.starts and rule.free_start):
            M_init = M
        if M_init is None:
            alpha, eta, _ = (np.asarray(x)[..., None] for x in update.best(c, eps, M, np.inf))
            each = M[..., None]
            first = each * np.ceil(grid / each) if rule.fixed else grid[None, :]
            T = update.rounds(wide, e, alpha, eta, each, first)
            M_init = cheapest(first, lambda first: prices.price(each, first, T))
        alpha, eta, T = update.best(c, eps, M, M_init)
    return Tuned(*map(np.asarray, (alpha, eta, M, M_init, T)))


def columns(c: Constants) -> Constants:
    """Constants with one more axis at the end."""
    return Constants(**{f.name: getattr(c, f.name)[..., None] for f in dataclasses.fields(c)})
