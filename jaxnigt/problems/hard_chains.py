"""The two chains as arrays: values, gradients and progress, of any worker, at any scale.

Both are NamedTuples of arrays, so that chains of one shape can be stacked and mapped over. The axes are
W workers, C chains that share no coordinate, and T coordinates of each. Signs are those of a
maximisation: J = -f where f is what the papers minimise.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from jaxnigt.problems.hard_functions import phi, phi_slope, psi, psi_slope, upsilon, upsilon_slope


class ZeroChain(NamedTuple):
    """J_i(x) = -sum_c height_c sum_k terms_ick t_k(x_c / width_c), where sum_k t_k = F_T.

    t_k(x) = Psi(-x_{k-1}) Phi(-x_k) - Psi(x_{k-1}) Phi(x_k) with x_0 = 1. A coordinate's gradient
    vanishes until the one before it has passed 1/2, so that every step discovers one at most.

    Attributes:
        terms: f[W, C, T], how much of each term a worker has.
        height: f[C], the scale of values.
        width: f[C], the scale of coordinates.
        threshold: f[], a coordinate counts as discovered where |x| / width is above it.

    References:
        Carmon, Duchi, Hinder, Sidford, arXiv 1710.11606.
    """

    terms: Float[Array, "W C T"]
    height: Float[Array, " C"]
    width: Float[Array, " C"]
    threshold: Float[Array, ""]

    def objectives(self, x: Float[Array, "C T"]) -> Float[Array, " W"]:
        """J_i of each worker."""
        at, before = self._pairs(x)
        values = psi(-before) * phi(-at) - psi(before) * phi(at)
        return -jnp.einsum("c,wct,ct->w", self.height, self.terms, values)

    def combine(
        self, x: Float[Array, "C T"], known: Float[Array, " W"], frontier: Float[Array, " W"]
    ) -> Float[Array, "C T"]:
        """sum_i known_i grad J_i(x), but frontier_i in undiscovered coordinates.

        Args:
            x: the point.
            known: weight of each worker's gradient.
            frontier: its weight in coordinates beyond `progress`.
        """
        at, before = self._pairs(x)
        after = jnp.pad(at[:, 1:], ((0, 0), (0, 1)))
        # x_k enters t_k, by which it is discovered, and t_{k+1}. Of the two parts of each term one is 0,
        # as Psi is 0 below 1/2.
        own = psi(jnp.abs(before)) * phi_slope(at)
        later = psi_slope(jnp.abs(at)) * phi(jnp.sign(at) * after)
        beyond = jnp.arange(x.shape[-1], dtype=jnp.int32)[None] >= self.progress(x)[:, None]
        weights = jnp.einsum("vw,wct->vct", jnp.stack([known, frontier]), self.terms)
        next_weights = jnp.pad(weights[..., 1:], ((0, 0), (0, 0), (0, 1)))
        slope = (self.height / self.width)[:, None]
        return slope * (
            jnp.where(beyond, weights[1], weights[0]) * own
            + jnp.where(beyond, next_weights[1], next_weights[0]) * later
        )

    def progress(self, x: Float[Array, "C T"]) -> Int32[Array, " C"]:
        """The last discovered coordinate of each chain, counted from 1; 0 for none."""
        discovered = jnp.abs(x) > self.threshold * self.width[:, None]
        count = jnp.arange(1, x.shape[-1] + 1, dtype=jnp.int32)[None]
        return jnp.where(discovered, count, 0).max(axis=-1)

    def _pairs(self, x: Float[Array, "C T"]) -> tuple[Float[Array, "C T"], Float[Array, "C T"]]:
        """Scaled coordinates, and for each the one before it."""
        at = x / self.width[:, None]
        return at, jnp.concatenate([jnp.ones_like(at[:, :1]), at[:, :-1]], axis=-1)


class QuadraticChain(NamedTuple):
    """J(x) = -height f(x / width) for a quadratic chain with a little non-convexity at each link.

    f(x) = (sqrt(mu) / 2) (x_1 - 1)^2 + sum_k links_k ((x_{k+1} - x_k)^2 / 2 + mu Upsilon(x_k)).
    Gradients are exact: noise in the undiscovered coordinate would have no bounded variance.

    Attributes:
        links: f[T], 1 where a coordinate is linked to the next; 0 for the last and for padding.
        height: f[1], the scale of values.
        width: f[1], the scale of coordinates.
        mu: f[1], in (0, 1].

    References:
        Carmon, Duchi, Hinder, Sidford, arXiv 1711.00841, with r = 1.
    """

    links: Float[Array, " T"]
    height: Float[Array, "1"]
    width: Float[Array, "1"]
    mu: Float[Array, "1"]

    def objectives(self, x: Float[Array, "1 T"]) -> Float[Array, "1"]:
        """J."""
        at = x[0] / self.width
        pull = jnp.sqrt(self.mu) / 2 * (at[:1] - 1) ** 2
        each = _gaps(at) ** 2 / 2 + self.mu * upsilon(at)
        return -self.height * (pull + (self.links * each).sum(keepdims=True))

    def combine(
        self, x: Float[Array, "1 T"], known: Float[Array, "1"], frontier: Float[Array, "1"]
    ) -> Float[Array, "1 T"]:
        """The gradient of J times `known`; there is no noise, so `frontier` has no effect."""
        del frontier
        at = x[0] / self.width
        pull = jnp.sqrt(self.mu) * (at[:1] - 1)
        tension = self.links * _gaps(at)
        before = jnp.concatenate([pull, tension[:-1]])
        slope = before - tension + self.mu * self.links * upsilon_slope(at)
        return -(known * self.height / self.width * slope)[None]

    def progress(self, x: Float[Array, "1 T"]) -> Int32[Array, "1"]:
        """The last coordinate that is not 0, counted from 1; 0 for none."""
        count = jnp.arange(1, x.shape[-1] + 1, dtype=jnp.int32)[None]
        return jnp.where(x != 0, count, 0).max(axis=-1)


def _gaps(at: Float[Array, " T"]) -> Float[Array, " T"]:
    """x_{k+1} - x_k, and 0 for the last."""
    return jnp.pad(jnp.diff(at), (0, 1))
