"""The level game: a simulated lower bound on the time that any method needs on the hard chain."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Key
from numpy.typing import ArrayLike

from jaxnigt.checks import MOST, InputError, as_key, as_numbers, in_range, instance, whole, within
from jaxnigt.profiles import Profile

_AT_ONCE = 2**18  # How many numbers the profiles that are simulated together may hold.


def level_game(
    profile: Profile,
    probability: ArrayLike,
    levels: int,
    *,
    key: int | np.integer | Array = 0,
    draws: int = 1000,
    links: ArrayLike | None = None,
) -> Float64[np.ndarray, "*profiles draws"]:
    """Seconds until level T is known to some worker, in many plays of the game.

    Worker j knows level k at y_j^k = min_i (y_i^{k-1} + h_i eta_i^k + tau_ij), with y_j^0 = 0 and
    eta_i^k ~ Geometric(p). Without communication times this is sum_k min_i h_i eta_i^k. No method that
    leaves coordinates at 0 until it has seen a gradient of them is faster in distribution. Source:
    Tyurin and Richtarik, 2024, the proof of the lower bound of Fragile SGD. The argument for E||grad J||
    and for the links of a server is derived, see theory/README.md.

    Args:
        profile: fixed times of n workers; leading axes are profiles. A dead worker finds nothing.
        probability: p in (0, 1] that a gradient shows the next level, one number or one per profile.
        levels: T.
        key: a JAX key or an integer; consumed.
        draws: plays of every profile.
        links: f[..., n, n], tau_ij seconds from worker i to worker j, inf if they cannot talk; the
            diagonal is not used. None means (kappa_i + kappa_j) / 2: kappa_i is a whole exchange with a
            server, of which a sender uses one half and a receiver the other. No communication model of
            `jaxnigt.clock` is faster, because each contributor to a round pays its whole kappa_i.

    Returns:
        f64[..., draws] with the profile's leading axes.

    Raises:
        InputError: a probability out of range, times that are not fixed, or shapes that do not fit.

    Example:
        >>> level_game(Profile([1.0, 2.0]), 1.0, 5, draws=3)
        array([5., 5., 5.])
    """
    levels, draws, (h, comm) = whole("levels", levels), whole("draws", draws), _times(profile)
    given, n = [h, comm, _probability(probability, profile.shape).reshape(-1)], profile.n
    if links is not None:
        tau = _fit("links", as_numbers("links", links), (*profile.shape, n, n))
        if not (tau >= 0).all():
            raise InputError("links: got a number below 0, at least 0 seconds are allowed.")
        given.append(tau.reshape(-1, n, n))
    with jax.enable_x64(True):
        at_once = max(1, _AT_ONCE // (draws * n * (1 if links is None else n)))
        found = _play(min(at_once, len(h)), draws, levels, as_key("key", key), *given)
        return np.asarray(found).reshape(*profile.shape, draws)


def level_game_order(
    profile: Profile, probability: ArrayLike, levels: ArrayLike
) -> Float64[np.ndarray, "*profiles"]:
    """T min_m H_m (1 + 1 / (p m)) seconds, at least the mean of `level_game` without communication.

    H_m is the harmonic mean of the m smallest h_i. In simulations the mean is at least half of this (not
    proved). Arguments and errors are those of `level_game`. Derived, see theory/README.md.

    Example:
        >>> level_game_order(Profile([1.0, 2.0, 2.0]), 0.25, 10)
        array(35.)
    """
    h, p = _times(profile)[0], _probability(probability, profile.shape).reshape(-1)
    m = np.arange(1, profile.n + 1)
    per_level = ((m + 1 / p[:, None]) / np.cumsum(1 / np.sort(h, axis=-1), axis=-1)).min(axis=-1)
    return np.asarray(in_range("levels", levels) * per_level.reshape(profile.shape))


def block_game(
    profile: Profile,
    probability: ArrayLike,
    levels: ArrayLike,
    shares: ArrayLike,
    *,
    needed: float = 0.75,
    key: int | np.integer | Array = 0,
    draws: int = 1000,
) -> Float64[np.ndarray, "*profiles draws"]:
    """Seconds until workers that each climb a chain of their own have finished a share of all chains.

    No worker can help another: worker i knows its T_i levels after h_i sum_{k <= T_i} eta_i^k seconds.
    On the instance of `jaxnigt.problems.chain_blocks`, |grad J| > epsilon while the squared slopes of
    unfinished chains are more than 1 - needed of all. Communication is not charged. Derived.

    Args:
        profile: as for `level_game`, as is what is returned; inf where dead workers are needed.
        probability: p_i in (0, 1], f[n].
        levels: T_i, i[n].
        shares: the weight of each chain, f[n], such as the squares of `Chain.slopes`.
        needed: the share that has to be finished, in (0, 1].
        key: as for `level_game`.
        draws: as for `level_game`.

    Raises:
        InputError: a number out of range, times that are not fixed, or shapes that do not fit.

    Example:
        >>> block_game(Profile([1.0, 2.0]), 1.0, [3, 4], [0.5, 0.5], draws=2)
        array([8., 8.])
    """
    within("needed", needed, "(0, 1]")
    h, p = _times(profile)[0], _probability(probability, (profile.n,))
    lengths, weights = as_numbers("levels", levels), as_numbers("shares", shares)
    if lengths.shape != (profile.n,) or weights.shape != (profile.n,):
        raise InputError(
            f"levels: got {lengths.shape} and shares {weights.shape}, one per worker is allowed."
        )
    good = (lengths >= 1) & (lengths == np.floor(lengths)) & (lengths <= MOST)
    if not good.all() or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise InputError("levels: at least 1 per worker and shares that are not all 0 are allowed.")
    lengths = lengths.astype(np.int64)
    with jax.enable_x64(True):
        tries = np.asarray(_tries(whole("draws", draws), p, lengths, as_key("key", key)))
    ends = h[:, None] * tries
    order = ends.argsort(axis=-1)
    done = weights[order].cumsum(axis=-1) >= needed * weights.sum() * (1 - 1e-12)
    last = np.take_along_axis(order, done.argmax(axis=-1)[..., None], axis=-1)
    return np.take_along_axis(ends, last, axis=-1)[..., 0].reshape(*profile.shape, draws)


def geometric(u: Float64[Array, "*s"], p: Float64[Array, "*s"]) -> Float64[Array, "*s"]:
    """How many tries a success of probability p takes, by inversion of u in [0, 1)."""
    return jnp.maximum(jnp.ceil(jnp.log1p(-u) / jnp.log1p(-p)), 1.0)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _play(
    at_once: int, draws: int, levels: int, key: Key[Array, ""], *given: Float64[Array, "P ..."]
) -> Float64[Array, "P draws"]:
    """Play the game for h [P, n], comm [P, n], p [P] and, if they are given, links [P, n, n]."""

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

    return jax.lax.map(one_profile, (jnp.arange(len(given[0])), *given), batch_size=at_once)


@functools.partial(jax.jit, static_argnums=0)
def _tries(
    draws: int, p: Float64[Array, " n"], levels: Int[Array, " n"], key: Key[Array, ""]
) -> Float64[Array, "draws n"]:
    """How many gradients each worker needs for all its levels."""

    def level(k: Int[Array, ""], total: Float64[Array, "draws n"]) -> Float64[Array, "draws n"]:
        u = jax.random.uniform(jax.random.fold_in(key, k), total.shape)
        return total + jnp.where(k < levels[None], geometric(u, jnp.broadcast_to(p, u.shape)), 0.0)

    return jax.lax.fori_loop(0, levels.max(), level, jnp.zeros((draws, len(p))))


def _times(profile: Profile) -> tuple[Float[np.ndarray, "P n"], Float[np.ndarray, "P n"]]:
    """Computation and communication times, one row per profile."""
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    if not profile.fixed:
        raise InputError("profile: the level game is for fixed times, without noise and power.")
    h = profile.compute.reshape(-1, profile.n)
    # The communication time of a dead worker is never used, but it must not be NaN.
    return h, np.where(np.isfinite(h), profile.comm.reshape(h.shape), 0.0)


def _probability(probability: ArrayLike, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    p = as_numbers("probability", probability)
    if not ((p > 0) & (p <= 1)).all():
        raise InputError(f"probability: got {probability!r}, numbers in (0, 1] are allowed.")
    return _fit("probability", p, shape)


def _fit(name: str, value: np.ndarray, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        raise InputError(f"{name}: shape {value.shape} does not broadcast to {shape}.") from None
