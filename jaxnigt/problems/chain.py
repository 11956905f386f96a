"""Hard instances: chains that stochastic gradients can only climb one coordinate at a time."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32, Key
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, whole
from jaxnigt.constants import Constants
from jaxnigt.problems.base import Estimate, Evaluation, Params, Problem
from jaxnigt.problems.hard_chains import QuadraticChain, ZeroChain
from jaxnigt.problems.hard_draws import BinomialTable, binomial_table, mean_factor
from jaxnigt.problems.hard_scaling import chance, curvature, lengths, positive, width


class Chain(Problem):
    """J = -f for a hard function f, with the Bernoulli zero-chain oracle.

    A stochastic gradient of worker i is the gradient of J_i with every coordinate beyond the last
    discovered one multiplied by xi / p_i, xi ~ Bernoulli(p_i). Only one of them is not 0, so the mean
    of M draws at a point is the gradient with one coordinate multiplied by Binomial(M, p_i) / (M p_i).

    Params are {"x": f[C, T]}, C chains of T coordinates; they start at 0 whatever the key.

    Attributes:
        constants: of J: what the instance was built for.
        epsilon: the accuracy for which it is hard; while `progress` is below `levels`,
            |grad J| > epsilon (with C > 1 chains, see `chain_blocks`).
        levels: i32[C], coordinates of each chain that have to be discovered.
        probability: f[W], p_i.
        function: the chains themselves.

    References:
        Carmon et al., arXiv 1710.11606; Arjevani et al., arXiv 1912.02365 (the oracle); Tyurin and
        Richtarik, 2024 (the oracle with prog_0 and the time it takes).
    """

    def __init__(
        self,
        function: ZeroChain | QuadraticChain,
        probability: Float[np.ndarray, " W"],
        levels: Int[np.ndarray, " C"],
        constants: Constants,
        epsilon: float,
    ):
        self.function, self.probability = function, probability
        self.levels = levels.astype(np.int32)
        self.constants, self.epsilon = constants, epsilon
        self.workers = None if len(probability) == 1 else len(probability)
        self.shape = (len(levels), function[0].shape[-1])

    def __repr__(self) -> str:
        kind = type(self.function).__name__
        return f"Chain({kind}, shape={self.shape}, workers={self.workers}, epsilon={self.epsilon:g})"

    def init(self, key: Key[Array, ""]) -> Params:
        """The origin, where no coordinate is discovered."""
        del key
        return {"x": jnp.zeros(self.shape, jnp.result_type(float))}

    def objectives(self, params: Params) -> Float[Array, " W"]:
        """J_i of each worker; W = 1 where all share one."""
        return self._function(params).objectives(params["x"])

    def objective(self, params: Params) -> Float[Array, ""]:
        """J, the mean of the J_i."""
        return self.objectives(params).mean()

    def gradient_exact(self, params: Params) -> Params:
        """The gradient of J, by formula."""
        weights = jnp.full(len(self.probability), 1 / len(self.probability), params["x"].dtype)
        return {"x": self._function(params).combine(params["x"], weights, weights)}

    def progress(self, params: Params) -> Int32[Array, " C"]:
        """The last discovered coordinate of each chain, counted from 1."""
        return self._function(params).progress(params["x"])

    @property
    def slopes(self) -> Float[np.ndarray, " C"]:
        """What the gradient of each chain is above while it has an undiscovered coordinate.

        For a `QuadraticChain` it is mu^(3/4) / 4 of this.
        """
        return np.asarray(self.function.height / self.function.width)

    def estimate(
        self,
        params: Params,
        keys: Key[Array, " B"],
        workers: Int[Array, " B"],
        weights: Float[Array, " B"],
    ) -> Estimate:
        """sum_b weights_b g(xi_b, params); what each slot is said to return is J_i(params)."""
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

    def evaluate(self, params: Params, keys: Key[Array, " B"]) -> Evaluation:
        """J exactly; the keys are not needed."""
        del keys
        each = self.objectives(params)
        return Evaluation(each.mean(), each.mean(), each)

    def tables(self, batch: int | Sequence[int]) -> list[BinomialTable]:
        """Distributions of how many of a batch's gradients discover something, one a worker.

        Args:
            batch: M, the number of gradients, of every worker or of each of them.
        """
        counts = np.broadcast_to(np.asarray(batch), self.probability.shape).tolist()
        pairs = zip(counts, self.probability.tolist(), strict=True)
        return [binomial_table(whole("batch", m), p) for m, p in pairs]

    def aggregate(self, params: Params, key: Key[Array, ""], batch: int | Sequence[int]) -> Params:
        """The mean of M gradients at one point, in distribution, from one draw a worker.

        Args:
            params: the point.
            key: consumed.
            batch: M, or the number of gradients M_i of each worker, whose means are averaged: what
                Malenia and synchronous collection aggregate.

        Returns:
            Pytree like params.
        """
        counts = np.broadcast_to(np.asarray(batch), self.probability.shape)
        bits = jax.random.bits(key, self.probability.shape, jnp.uint32)
        expected = jnp.asarray(counts * self.probability, params["x"].dtype)
        factors = [mean_factor(*each) for each in zip(self.tables(batch), expected, bits, strict=True)]
        known = jnp.full_like(expected, 1 / len(expected))
        return {"x": self._function(params).combine(params["x"], known, known * jnp.stack(factors))}

    def _function(self, params: Params) -> ZeroChain | QuadraticChain:
        """The chains in the precision of params."""
        return jax.tree.map(lambda a: jnp.asarray(a, params["x"].dtype), self.function)


def chain(
    *,
    delta: float = 120.0,
    L_g: float = 152.0,
    L_h: float | None = 2070.0,
    sigma: float = 46.0,
    epsilon: float = 0.5,
    threshold: float = 0.0,
) -> Chain:
    """The scaled zero-chain: the hardest J we know for a method of given constants and accuracy.

    J(x) = -a F_T(x / b) with a = 2 epsilon b, b = max(304 epsilon / L_g, sqrt(4140 epsilon / L_h)),
    T = floor(delta / (24 epsilon b)) and p = min(1, (46 epsilon / sigma)^2). While a coordinate is
    undiscovered, |grad J| > 2 epsilon; so a method that has not discovered all of them with
    probability 1/2 has E|grad J| > epsilon. The default is -F_10 itself with p = 1/4.

    Args:
        delta: J* - J(0) is at most this.
        L_g: Lipschitz constant of the gradient.
        L_h: of the Hessian; None or inf for any, and then `constants` has the chain's own.
        sigma: standard deviation of a stochastic gradient; 0 for exact ones.
        epsilon: accuracy on E|grad J|.
        threshold: a coordinate counts as discovered where |x| / b is above it, in [0, 1/2). 1/4, as in
            Arjevani et al., keeps the noise on until a coordinate has gone a good way.

    Raises:
        InputError: a number out of range, or an accuracy so coarse that no coordinate is left.

    References:
        Carmon et al., arXiv 1710.11606; Arjevani et al., arXiv 1912.02365. The constant 2070 and the
        scaling for E|grad J| <= epsilon with a Lipschitz Hessian are derived.

    Example:
        >>> problem = chain(epsilon=0.25)
        >>> problem.levels, problem.probability
        (array([28], dtype=int32), array([0.0625]))
    """
    slope = 2 * positive("epsilon", epsilon)
    b = width(slope, L_g, L_h)
    length = lengths(np.array([positive("delta", delta)]), np.array([slope * b]), epsilon)
    probability = np.array([chance(slope, sigma)])
    function = zero_chain(np.ones((1, 1, length[0])), [slope * b], [b], threshold)
    constants = Constants(L_g, curvature(slope, b, L_h), sigma, delta)
    return Chain(function, probability, length, constants, epsilon)


def zero_chain(
    terms: Float[np.ndarray, "W C T"], height: ArrayLike, width: ArrayLike, threshold: float
) -> ZeroChain:
    """The arrays of a `ZeroChain`, checked."""
    if not 0 <= threshold < 0.5:
        raise InputError(f"threshold: got {threshold!r}, numbers in [0, 1/2) are allowed.")
    arrays = (np.asarray(a, np.float64) for a in (terms, height, width, threshold))
    return ZeroChain(*arrays)  # pyright: ignore[reportArgumentType]
