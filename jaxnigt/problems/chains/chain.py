"""The chains as arrays that can be stacked, and the problem with noisy gradients that they make.

Axes are W workers, C chains that share no coordinate, and T coordinates of each chain. The papers
minimise f; here J = -f is maximised. No formula divides by something that can vanish.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32, Key

from jaxnigt.checks import whole
from jaxnigt.constants import Constants
from jaxnigt.problems.base import Estimate, ExactProblem, Keys, Params, Weights, Workers
from jaxnigt.problems.chains.draws import BinomialTable, binomial_table, mean_factor

_FLAT = 0.03  # exp(1 - 1/u^2) is 0 in float64 for all u up to this, so that u can be clipped there.


def psi(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Psi(x) = exp(1 - 1 / (2x - 1)^2) above 1/2, and 0 below."""
    u = jnp.maximum(2 * x - 1, _FLAT)
    return jnp.where(u > _FLAT, jnp.exp(1 - 1 / u**2), jnp.zeros_like(x))


def psi_slope(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Psi'(x) = 4 Psi(x) / (2x - 1)^3."""
    u = jnp.maximum(2 * x - 1, _FLAT)
    return psi(x) * 4 / u**3


def phi(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Phi(x), the integral of sqrt(e) exp(-t^2 / 2) from minus infinity to x."""
    return math.sqrt(math.pi * math.e / 2) * jax.scipy.special.erfc(-x / math.sqrt(2))


def phi_slope(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Phi'(x) = exp((1 - x^2) / 2)."""
    return jnp.exp((1 - x**2) / 2)


def upsilon(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Upsilon(x), the integral of 120 t^2 (t - 1) / (1 + t^2) from 1 to x, in closed form (derived)."""
    return 120 * ((x - 1) ** 2 / 2 - jnp.log((1 + x**2) / 2) / 2 + jnp.arctan(x) - math.pi / 4)


def upsilon_slope(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Upsilon'(x) = 120 x^2 (x - 1) / (1 + x^2)."""
    return 120 * x**2 * (x - 1) / (1 + x**2)


class ZeroChain(NamedTuple):
    """J_i(x) = -sum_c height_c sum_k terms_ick t_k(x_c / width_c), where sum_k t_k = F_T.

    t_k(x) = Psi(-x_{k-1}) Phi(-x_k) - Psi(x_{k-1}) Phi(x_k) with x_0 = 1. The gradient in a coordinate
    vanishes until the one before it has passed 1/2, so that every step discovers one coordinate at most.
    Source: Carmon, Duchi, Hinder, Sidford, arXiv 1710.11606.

    Attributes:
        terms: f[W, C, T], each worker's share of each term.
        height: f[C], the scale of values.
        width: f[C], the scale of coordinates.
        threshold: f[], a coordinate counts as discovered where |x| / width is above it.
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
        """sum_i known_i grad J_i(x), with weights frontier_i in coordinates beyond `progress`."""
        at, before = self._pairs(x)
        after = jnp.pad(at[:, 1:], ((0, 0), (0, 1)))
        # x_k enters t_k, by which it is discovered, and t_{k+1}. Of the two products of each term one is
        # 0, because Psi is 0 below 1/2.
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
        return _last(jnp.abs(x) > self.threshold * self.width[:, None])

    def _pairs(self, x: Float[Array, "C T"]) -> tuple[Float[Array, "C T"], Float[Array, "C T"]]:
        """The scaled coordinates, and for each of them the one before it."""
        at = x / self.width[:, None]
        return at, jnp.concatenate([jnp.ones_like(at[:, :1]), at[:, :-1]], axis=-1)


class QuadraticChain(NamedTuple):
    """J(x) = -height f(x / width) for a quadratic chain with a little non-convexity at each link.

    f(x) = (sqrt(mu) / 2) (x_1 - 1)^2 + sum_k links_k ((x_{k+1} - x_k)^2 / 2 + mu Upsilon(x_k)).
    Gradients are exact, because noise in the undiscovered coordinate would have no bounded variance.
    Source: Carmon, Duchi, Hinder, Sidford, arXiv 1711.00841, with r = 1.

    Attributes:
        links: f[T], 1 where a coordinate is linked to the next; 0 for the last one and for padding.
        height: f[1], the scale of values.
        width: f[1], the scale of coordinates.
        mu: f[1], in (0, 1].
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
        """The gradient of J times `known`. There is no noise, so that `frontier` has no effect."""
        at = x[0] / self.width
        pull = jnp.sqrt(self.mu) * (at[:1] - 1)
        tension = self.links * _gaps(at)
        before = jnp.concatenate([pull, tension[:-1]])
        slope = before - tension + self.mu * self.links * upsilon_slope(at)
        return -(known * self.height / self.width * slope)[None]

    def progress(self, x: Float[Array, "1 T"]) -> Int32[Array, "1"]:
        """The last coordinate that is not 0, counted from 1; 0 for none."""
        return _last(x != 0)


class NestedChain(NamedTuple):
    """J(x) = -height f(x / width) for a chain of T + 1 outer coordinates a_i joined by T bridges.

    f = (nu / 2) (1 - a_1)^2 + sum_{i <= T} (Q(a_i, z_i, a_{i+1}) / 2 + nu Upsilon(a_i)), where a bridge
    z in R^m costs Q(a, z, b) = (z_1 - theta a)^2 / m + sum_j (z_{j+1} - z_j)^2 + (z_m - theta b)^2 / m,
    theta^2 = 1 / m and nu = theta^2 / (3 m - 1). The least that a bridge can cost is nu (a - b)^2.
    Coordinates stand in the order in which they are discovered: a_1, z_1, a_2, z_2 and so on. Gradients
    are exact. Source: arXiv 2511.22331, Theorem 3.1, which simplifies arXiv 2606.05438.

    Attributes:
        links: f[N], 1 where a coordinate is linked to the next; 0 for the last one and for padding.
        height: f[1], the scale of values.
        width: f[1], the scale of coordinates.
        inner: f[1], m, the coordinates of a bridge.
    """

    links: Float[Array, " N"]
    height: Float[Array, "1"]
    width: Float[Array, "1"]
    inner: Float[Array, "1"]

    def objectives(self, x: Float[Array, "1 N"]) -> Float[Array, "1"]:
        """J."""
        at, nu = x[0] / self.width, self._nu()
        weight, _, _ = self._edges()
        pull = nu / 2 * (1 - at[:1]) ** 2
        each = weight * self._stretch(at) ** 2 / 2 + nu * self._outer() * upsilon(at)
        return -self.height * (pull + (self.links * each).sum(keepdims=True))

    def combine(
        self, x: Float[Array, "1 N"], known: Float[Array, "1"], frontier: Float[Array, "1"]
    ) -> Float[Array, "1 N"]:
        """The gradient of J times `known`. There is no noise, so that `frontier` has no effect."""
        at, nu = x[0] / self.width, self._nu()
        weight, own, following = self._edges()
        tension = self.links * weight * self._stretch(at)
        before = jnp.concatenate([jnp.zeros_like(nu), (following * tension)[:-1]])
        slope = before - own * tension + nu * self.links * self._outer() * upsilon_slope(at)
        slope = slope.at[0].add(nu[0] * (at[0] - 1))
        return -(known * self.height / self.width * slope)[None]

    def progress(self, x: Float[Array, "1 N"]) -> Int32[Array, "1"]:
        """The last coordinate that is not 0, counted from 1; 0 for none."""
        return _last(x != 0)

    def _nu(self) -> Float[Array, "1"]:
        return 1 / (self.inner * (3 * self.inner - 1))

    def _place(self) -> Float[Array, " N"]:
        """The place of each coordinate in its bridge, from 1 to m; 0 for an outer one."""
        count = jnp.arange(len(self.links), dtype=self.inner.dtype)
        return count % (self.inner + 1)

    def _outer(self) -> Float[Array, " N"]:
        return (self._place() == 0).astype(self.inner.dtype)

    def _edges(self) -> tuple[Float[Array, " N"], Float[Array, " N"], Float[Array, " N"]]:
        """Of the edge from each coordinate to the next: its weight, and the factors of both."""
        place, theta = self._place(), jnp.sqrt(1 / self.inner)
        first, final = place == 0, place == self.inner
        weight = jnp.where(first | final, 1 / self.inner, jnp.ones_like(place))
        one = jnp.ones_like(place)
        return weight, jnp.where(first, theta, one), jnp.where(final, theta, one)

    def _stretch(self, at: Float[Array, " N"]) -> Float[Array, " N"]:
        """What each edge says of its two coordinates."""
        _, own, following = self._edges()
        return following * jnp.concatenate([at[1:], at[:1] * 0]) - own * at


def _last(discovered: Bool[Array, "C T"]) -> Int32[Array, " C"]:
    """The last coordinate of each chain for which it holds, counted from 1; 0 for none."""
    count = jnp.arange(1, discovered.shape[-1] + 1, dtype=jnp.int32)[None]
    return jnp.where(discovered, count, 0).max(axis=-1)


Function = ZeroChain | QuadraticChain | NestedChain
"""What a `Chain` climbs."""


def _gaps(at: Float[Array, " T"]) -> Float[Array, " T"]:
    """x_{k+1} - x_k, and 0 for the last."""
    return jnp.pad(jnp.diff(at), (0, 1))


@dataclasses.dataclass(eq=False, repr=False)
class Chain(ExactProblem):
    """J = -f for a hard function f, with the oracle of the Bernoulli zero-chain.

    A stochastic gradient of worker i is the gradient of J_i, with every coordinate beyond the last
    discovered one multiplied by xi / p_i, xi ~ Bernoulli(p_i). Only one of these coordinates is not 0,
    so the mean of M draws has it multiplied by Binomial(M, p_i) / (M p_i).

    Params are {"x": f[C, T]}: C chains of T coordinates. They start at 0 whatever the key. Source:
    Carmon et al., arXiv 1710.11606; Arjevani et al., arXiv 1912.02365 (the oracle); Tyurin and
    Richtarik, 2024 (the oracle with prog_0 and the time it takes).

    Attributes:
        function: the chains themselves.
        probability: f[W], p_i.
        levels: i32[C], how many coordinates of each chain have to be discovered.
        constants: of J, those that the instance was built for.
        epsilon: the accuracy for which it is hard. While `progress` is below `levels`,
            |grad J| > epsilon (with C > 1 chains, see `chain_blocks`).
    """

    function: Function
    probability: Float[np.ndarray, " W"]
    levels: Int[np.ndarray, " C"]
    constants: Constants
    epsilon: float

    def __post_init__(self) -> None:
        self.levels = self.levels.astype(np.int32)
        self.workers = None if len(self.probability) == 1 else len(self.probability)
        self.shape = (len(self.levels), self.function[0].shape[-1])

    def __repr__(self) -> str:
        kind = type(self.function).__name__
        return f"Chain({kind}, shape={self.shape}, workers={self.workers}, epsilon={self.epsilon:g})"

    def init(self, key: Key[Array, ""]) -> Params:
        """The origin, where no coordinate is discovered."""
        return {"x": jnp.zeros(self.shape, jnp.result_type(float))}

    def objectives(self, params: Params) -> Float[Array, " W"]:
        """J_i of each worker; W = 1 where all share one problem."""
        return self._function(params).objectives(params["x"])

    def gradient_exact(self, params: Params) -> Params:
        """The gradient of J, by formula."""
        weights = jnp.full(len(self.probability), 1 / len(self.probability), params["x"].dtype)
        return {"x": self._function(params).combine(params["x"], weights, weights)}

    def progress(self, params: Params) -> Int32[Array, " C"]:
        """The last discovered coordinate of each chain, counted from 1."""
        return self._function(params).progress(params["x"])

    @property
    def slopes(self) -> Float[np.ndarray, " C"]:
        """What gradients of unfinished chains exceed.

        For a `QuadraticChain` it is mu^(3/4) / 4 of this, and for a `NestedChain` nu / 8.
        """
        return np.asarray(self.function.height / self.function.width)

    def estimate(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """sum_b weights_b g(xi_b, params). Each slot is said to return J_i(params)."""
        x = params["x"]
        which = workers if self.workers else jnp.zeros_like(workers)
        missed = np.rint(2.0**32 * (1 - self.probability)).clip(max=2**32 - 1).astype(np.uint32)
        bits = jax.vmap(lambda key: jax.random.bits(key, dtype=jnp.uint32))(keys)
        found = (bits >= jnp.asarray(missed)[which]).astype(x.dtype)
        factor = found / jnp.asarray(self.probability, x.dtype)[which]
        known = jnp.zeros(len(self.probability), x.dtype).at[which].add(weights.astype(x.dtype))
        frontier = jnp.zeros_like(known).at[which].add(weights.astype(x.dtype) * factor)
        value = self.objectives(params)[which]
        return Estimate({"x": self._function(params).combine(x, known, frontier)}, value, value)

    def tables(self, batch: int | Sequence[int]) -> list[BinomialTable]:
        """For each worker, how many of M gradients discover a coordinate; `batch` as in `aggregate`."""
        counts = np.broadcast_to(np.asarray(batch), self.probability.shape).tolist()
        pairs = zip(counts, self.probability.tolist(), strict=True)
        return [binomial_table(whole("batch", m), p) for m, p in pairs]

    def aggregate(self, params: Params, key: Key[Array, ""], batch: int | Sequence[int]) -> Params:
        """A sample of the mean of M gradients at params, from one draw for each worker.

        `batch` is M, or the number of gradients M_i of each worker, whose means are averaged as Malenia
        and synchronous collection do. The key is consumed.
        """
        counts = np.broadcast_to(np.asarray(batch), self.probability.shape)
        bits = jax.random.bits(key, self.probability.shape, jnp.uint32)
        expected = jnp.asarray(counts * self.probability, params["x"].dtype)
        factors = [mean_factor(*each) for each in zip(self.tables(batch), expected, bits, strict=True)]
        known = jnp.full_like(expected, 1 / len(expected))
        return {"x": self._function(params).combine(params["x"], known, known * jnp.stack(factors))}

    def _function(self, params: Params) -> Function:
        """The chains in the precision of params."""
        return jax.tree.map(lambda a: jnp.asarray(a, params["x"].dtype), self.function)
