"""The level game: the time that any zero-respecting method needs on the zero-chain, as a simulation.

A method respects zeros if it never moves a coordinate that was 0 in every gradient it has seen; all
methods here do. Call level k known from when some worker holds a gradient whose coordinate k is not 0.
A gradient that makes it known must have been started at a point with all levels below k, so not before
level k - 1 was known to that worker, and each such gradient makes it known with probability p at most,
whatever has happened before. Worker i completes its eta-th gradient since that moment eta h_i seconds
after it at the earliest. So the time between levels is at least min_i h_i eta_i in distribution, with
independent eta_i ~ Geometric(p), however a method divides its work, aggregates or cancels, and the sum
over T levels bounds from below the time of every such method.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Key
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, whole
from jaxnigt.profiles import Profile

_AT_ONCE = 2**18
"""Numbers that profiles simulated together hold at most."""


def level_game(
    profile: Profile,
    probability: ArrayLike,
    levels: int,
    *,
    key: int | Key[Array, ""] = 0,
    draws: int = 1000,
    links: ArrayLike | None = None,
) -> Float64[np.ndarray, "*profiles draws"]:
    """Seconds until level T is known to anyone, in many plays of the game.

    Worker j knows level k at y_j^k = min_i (y_i^{k-1} + h_i eta_i^k + tau_ij), y_j^0 = 0. Without
    communication times that is sum_k min_i h_i eta_i^k.

    Args:
        profile: fixed times of n workers; leading axes are profiles. A dead worker finds nothing.
        probability: p in (0, 1], that a gradient makes the next level known, one or one a profile.
        levels: T.
        key: a JAX key or an integer; consumed.
        draws: plays of every profile.
        links: f[..., n, n], tau_ij seconds from worker i to worker j, the diagonal not used; inf where
            they cannot talk. By default (kappa_i + kappa_j) / 2: kappa_i is a whole exchange with a
            server, of which a worker that tells uses one half and one that is told the other. No
            communication model of `jaxnigt.clock` is faster: a round there costs each contributor its
            whole kappa_i.

    Returns:
        f64[..., draws] with the profile's leading axes.

    Raises:
        InputError: a probability out of range, times that are not fixed, or shapes that do not fit.

    References:
        Tyurin and Richtarik, 2024, the proof of the lower bound of Fragile SGD; the argument for
        E|grad J| and for the links of a server is derived.
    """
    levels, draws = whole("levels", levels), whole("draws", draws)
    h, comm = _times(profile)
    p = _probability(probability, profile.shape).reshape(-1)
    tau = None if links is None else _links(links, profile).reshape(-1, profile.n, profile.n)
    key = jax.random.key(key) if isinstance(key, int) else key
    with jax.enable_x64(True):
        size = max(1, _AT_ONCE // (draws * profile.n * (1 if tau is None else profile.n)))
        found = _play(min(size, len(h)), draws, levels, h, comm, p, tau, key)
        return np.asarray(found).reshape(*profile.shape, draws)


def level_game_order(
    profile: Profile, probability: ArrayLike, levels: ArrayLike
) -> Float64[np.ndarray, "*profiles"]:
    """T min_m H_m (1 + 1 / (p m)) seconds: the order of the mean of `level_game` without communication.

    H_m is the harmonic mean of the m least h_i. It is an upper bound on that mean (derived): the first
    m workers have completed at least t sum_{i<=m} 1/h_i - m gradients by t, so that a level is still
    unknown with probability (1 - p) to that power at most, or 1 before t = H_m. That integrates to
    H_m (1 - 1 / (m ln(1 - p))).
    In simulations the mean is no less than half of it (checked numerically, not proved).

    Args:
        profile: fixed times of n workers; leading axes are profiles.
        probability: p in (0, 1].
        levels: T.
    """
    h, _ = _times(profile)
    p = _probability(probability, profile.shape).reshape(-1)
    m = np.arange(1, profile.n + 1)
    per_level = ((m + 1 / p[:, None]) / np.cumsum(1 / np.sort(h, axis=-1), axis=-1)).min(axis=-1)
    return np.asarray(np.asarray(levels, np.float64) * per_level.reshape(profile.shape))


def block_game(
    profile: Profile,
    probability: ArrayLike,
    levels: ArrayLike,
    shares: ArrayLike,
    *,
    needed: float = 0.75,
    key: int | Key[Array, ""] = 0,
    draws: int = 1000,
) -> Float64[np.ndarray, "*profiles draws"]:
    """Seconds until workers that each climb a chain of their own have done a share of all (derived).

    Nobody can help another: worker i knows its T_i levels after h_i sum_{k <= T_i} eta_i^k seconds.
    While the squared slopes of unfinished chains are more than 1 - needed of all, |grad J| > epsilon on
    the instance of `jaxnigt.problems.chain_blocks`. Communication is not charged.

    Args:
        profile: fixed times of n workers; leading axes are profiles.
        probability: p_i in (0, 1], f[n].
        levels: T_i, i[n].
        shares: what each chain counts for, f[n], such as the squares of `Chain.slopes`.
        needed: the share that has to be done, in (0, 1].
        key: a JAX key or an integer; consumed.
        draws: plays of every profile.

    Returns:
        f64[..., draws] with the profile's leading axes; inf where dead workers are needed.

    Raises:
        InputError: a number out of range, times that are not fixed, or shapes that do not fit.
    """
    if not 0 < needed <= 1:
        raise InputError(f"needed: got {needed!r}, numbers in (0, 1] are allowed.")
    h, _ = _times(profile)
    p = _probability(probability, (profile.n,))
    lengths, weights = np.asarray(levels), np.asarray(shares, np.float64)
    if lengths.shape != (profile.n,) or weights.shape != (profile.n,):
        raise InputError(
            f"levels: got {lengths.shape} and shares {weights.shape}, one a worker is allowed."
        )
    if (lengths < 1).any() or not (weights >= 0).all() or not weights.sum() > 0:
        raise InputError("levels: at least 1 a worker and shares that are not all 0 are allowed.")
    key = jax.random.key(key) if isinstance(key, int) else key
    with jax.enable_x64(True):
        tries = np.asarray(_tries(whole("draws", draws), p, lengths, key))
    ends = h[:, None] * tries
    order = ends.argsort(axis=-1)
    done = weights[order].cumsum(axis=-1) >= needed * weights.sum() * (1 - 1e-12)
    last = np.take_along_axis(order, done.argmax(axis=-1)[..., None], axis=-1)
    return np.take_along_axis(ends, last, axis=-1)[..., 0].reshape(*profile.shape, draws)


def geometric(u: Float64[Array, "*s"], p: Float64[Array, "*s"]) -> Float64[Array, "*s"]:
    """How many tries of probability p a success takes, by inverting u in [0, 1)."""
    return jnp.maximum(jnp.ceil(jnp.log1p(-u) / jnp.log1p(-p)), 1.0)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _play(
    at_once: int,
    draws: int,
    levels: int,
    h: Float64[Array, "P n"],
    comm: Float64[Array, "P n"],
    p: Float64[Array, " P"],
    links: Float64[Array, "P n n"] | None,
    key: Key[Array, ""],
) -> Float64[Array, "P draws"]:
    def one_profile(arguments: tuple[Array, ...]) -> Float64[Array, " draws"]:
        index, h, comm, p, *tau = arguments
        mine = jax.random.fold_in(key, index)

        def level(y: Float64[Array, "draws n"], k: Int[Array, ""]) -> tuple[Array, Array]:
            u = jax.random.uniform(jax.random.fold_in(mine, k), (draws, len(h)))
            found = y + h[None] * geometric(u, jnp.full_like(u, p))
            if tau:
                told = (found[:, :, None] + tau[0][None]).min(axis=1)
            else:
                told = (found + comm[None] / 2).min(axis=-1, keepdims=True) + comm[None] / 2
            return jnp.minimum(found, told), found.min(axis=-1)

        return jax.lax.scan(level, jnp.zeros((draws, len(h))), jnp.arange(levels))[1][-1]

    given = (jnp.arange(len(h)), h, comm, p) + (() if links is None else (links,))
    return jax.lax.map(one_profile, given, batch_size=at_once)


@functools.partial(jax.jit, static_argnums=0)
def _tries(
    draws: int, p: Float64[Array, " n"], levels: Int[Array, " n"], key: Key[Array, ""]
) -> Float64[Array, "draws n"]:
    """Gradients that each worker needs for all its levels."""

    def level(k: Int[Array, ""], total: Float64[Array, "draws n"]) -> Float64[Array, "draws n"]:
        u = jax.random.uniform(jax.random.fold_in(key, k), total.shape)
        return total + jnp.where(k < levels[None], geometric(u, jnp.broadcast_to(p, u.shape)), 0.0)

    return jax.lax.fori_loop(0, levels.max(), level, jnp.zeros((draws, len(p))))


def _times(profile: Profile) -> tuple[Float[np.ndarray, "P n"], Float[np.ndarray, "P n"]]:
    """Computation and communication times, one row a profile."""
    if not profile.fixed:
        raise InputError("profile: the level game is for fixed times, without noise and power.")
    h = profile.compute.reshape(-1, profile.n)
    # What a dead worker has here is never used.
    return h, np.where(np.isfinite(h), profile.comm.reshape(h.shape), 0.0)


def _probability(probability: ArrayLike, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    p = np.asarray(probability, np.float64)
    if not ((p > 0) & (p <= 1)).all():
        raise InputError(f"probability: got {probability!r}, numbers in (0, 1] are allowed.")
    try:
        return np.broadcast_to(p, shape)
    except ValueError:
        raise InputError(f"probability: shape {p.shape} does not broadcast to {shape}.") from None


def _links(links: ArrayLike, profile: Profile) -> Float[np.ndarray, "..."]:
    tau = np.asarray(links, np.float64)
    shape = (*profile.shape, profile.n, profile.n)
    if not (tau >= 0).all():
        raise InputError("links: got a number below 0, at least 0 seconds are allowed.")
    try:
        return np.broadcast_to(tau, shape)
    except ValueError:
        raise InputError(f"links: shape {tau.shape} does not broadcast to {shape}.") from None
