"""Double optimism inside the collections of Rennala and Malenia: a step that knows two gradients.

The method is that of Patitucci, Jiang and Mokhtari, arXiv 2510.03167, for one worker. That its rate
carries over to rounds of M gradients is derived, by the dimensions of the bound, and unproven.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike
from optax import tree

from jaxnigt.checks import flag, whole
from jaxnigt.clock import Malenia, Rennala
from jaxnigt.methods.collection import Collection, worker_mean
from jaxnigt.methods.method import Method, above_zero
from jaxnigt.registry import register

Params = Any


class OptimismState(NamedTuple):
    """State of `double_optimism`.

    Attributes:
        count: i32[], updates so far; the next one answers with a hint where it is even.
        displacement: pytree like params, Delta_n.
        hint: pytree like params, h_n.
        gradient: pytree like params, g_n.
        surprise: f[], sum of |g_i - h_i|^2 in this episode.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    displacement: Params
    hint: Params
    gradient: Params
    surprise: Float[Array, ""]


def double_optimism(
    stepsize: float | Float[Array, ""],
    rate: float | Float[Array, ""],
    adaptive: bool = False,
    episode: int = 100,
) -> optax.GradientTransformation:
    r"""Optimistic gradient steps whose hint is a gradient at an extrapolated point.

    .. math::
        \Delta_{n+1} = \Pi_{\|\Delta\| \le D}
        \bigl(\Delta_n - \rho_n h_{n+1} - \rho_n (g_n - h_n)\bigr), \qquad
        x_n = x_{n-1} + \Delta_n,

    where g_n is the gradient at x_{n-1} + Delta_n / 2 and h_{n+1} that at x_n + Delta_n / 2. Each of
    them is one update. Both points are params + Delta_n / 2, as params move between the two. The first
    update is a hint, at the initial point.

    Args:
        stepsize: D > 0, the largest length of a step.
        rate: rho > 0, of gradients; at most 0.6 / L_g. If `adaptive`, the factor of D / sqrt(D^2 + sum
            of |g_i - h_i|^2), whose sum starts again with every episode.
        adaptive: whether the rate adapts to how far hints are off.
        episode: steps of an episode.

    Example:
        >>> optimiser = double_optimism(0.1, 0.2)
        >>> params = jnp.array([1.0, -2.0])
        >>> state = optimiser.init(params)
        >>> for _ in range(200):
        ...     gradient = 2 * optimism_eval_params(state, params)
        ...     updates, state = optimiser.update(gradient, state)
        ...     params = optax.apply_updates(params, updates)
        >>> bool(jnp.abs(params).max() < 0.01)
        True
    """

    def init(params: Params) -> OptimismState:
        zeros = tree.zeros_like(params)
        return OptimismState(
            jnp.zeros((), jnp.int32), zeros, zeros, zeros, jnp.zeros((), jnp.result_type(float))
        )

    def at_rate(surprise: Float[Array, ""]) -> Float[Array, ""]:
        if not adaptive:
            return jnp.asarray(rate, surprise.dtype)
        most = jnp.asarray(stepsize, surprise.dtype)
        return rate * most / jnp.sqrt(most**2 + surprise)

    def answer(updates: Params, state: OptimismState) -> tuple[Params, OptimismState]:
        """g_n has come: params move by Delta_n."""
        off = tree.norm(tree.sub(updates, state.hint)) ** 2
        again = (state.count // 2) % episode == 0
        surprise = jnp.where(again, 0.0, state.surprise) + off.astype(state.surprise.dtype)
        after = state._replace(gradient=updates, surprise=surprise)
        return state.displacement, after

    def guess(updates: Params, state: OptimismState) -> tuple[Params, OptimismState]:
        """h_{n+1} has come: the next displacement is known."""
        rho = at_rate(state.surprise)

        def moved(delta: Array, h: Array, g: Array, before: Array) -> Array:
            return delta - rho.astype(h.dtype) * (h + g - before)

        wanted = jax.tree.map(moved, state.displacement, updates, state.gradient, state.hint)
        norm = tree.norm(wanted)
        most = jnp.asarray(stepsize, norm.dtype)
        share = jnp.where(norm > most, most / jnp.where(norm > 0, norm, 1.0), 1.0)
        delta = jax.tree.map(lambda d: share.astype(d.dtype) * d, wanted)
        return tree.zeros_like(updates), state._replace(displacement=delta, hint=updates)

    def update(
        updates: Params, state: OptimismState, params: Params | None = None
    ) -> tuple[Params, OptimismState]:
        # Both are cheap beside a gradient, and a choice of arrays works under vmap.
        one, other = guess(updates, state), answer(updates, state)
        found, after = jax.tree.map(
            lambda a, b: jnp.where(state.count % 2 == 0, a, b.astype(a.dtype)), one, other
        )
        return found, after._replace(count=state.count + 1)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def optimism_eval_params(state: Any, params: Params) -> Params:
    """The point of the next gradient, params + Delta_n / 2, for a state of `double_optimism`.

    Example:
        >>> params = jnp.ones(2)
        >>> optimism_eval_params(double_optimism(0.1, 0.2).init(params), params)
        Array([1., 1.], dtype=float32)
    """
    displacement = tree.get(state, "displacement")
    return jax.tree.map(lambda p, step: p + (0.5 * step).astype(p.dtype), params, displacement)


class _Adaptive(NamedTuple):
    """`double_optimism` with an adaptive rate; hashable, so that equal methods share a program."""

    episode: int

    def __call__(self, stepsize: Any, rate: Any) -> optax.GradientTransformation:
        return double_optimism(stepsize, rate, adaptive=True, episode=self.episode)


def _constant(stepsize: Any, rate: Any) -> optax.GradientTransformation:
    return double_optimism(stepsize, rate)


def _method(
    name: str,
    collection: Collection,
    init_batch: int | None,
    stepsize: ArrayLike,
    rate: ArrayLike,
    adaptive: bool,
    episode: int,
) -> Method:
    episode = whole("episode", episode)
    update = _Adaptive(episode) if flag("adaptive", adaptive) else _constant
    leaves = {"stepsize": above_zero("stepsize", stepsize), "rate": above_zero("rate", rate)}
    return Method(name, collection, update, init_batch, optimism_eval_params, leaves)


@register(
    "rennala_double_optimism",
    title="Rennala, double optimism",
    colour="#56B4E9",
    line="-.",
    works=("patitucci2026improving", "tyurin2026asynchronous"),
)
def rennala_double_optimism(
    batch: int = 20,
    *,
    init_batch: int | None = None,
    stepsize: ArrayLike = 2**-9,
    rate: ArrayLike = 2**-14,
    adaptive: bool = False,
    episode: int = 100,
) -> Method:
    """Double optimism on Rennala's rounds: two rounds of M gradients a step. Derived and unproven.

    With M of the order of max(1, sigma^2 L_h^(1/4) / (L_g^(1/2) epsilon^(7/4))) the number of rounds
    would be of the order of L_g^(1/2) L_h^(1/4) delta epsilon^(-7/4), where Rennala NIGT needs
    epsilon^(-2).

    Args:
        batch: M, gradients of a round.
        init_batch: M_init, gradients of the first round; `batch` by default.
        stepsize: D > 0, the largest length of a step; an array trains all its values at once.
        rate: rho > 0 of `double_optimism`; likewise.
        adaptive: whether the rate adapts to how far hints are off.
        episode: steps of an episode, for adaptive rates.

    Raises:
        InputError: an argument out of range.

    Example:
        >>> rennala_double_optimism(8, stepsize=[0.01, 0.1], rate=0.1).leaf_shape
        (2,)

    References:
        Patitucci, Jiang, Mokhtari, arXiv 2510.03167, for one worker; inside a collection: derived.
    """
    collection = Collection(Rennala(batch))
    name = "rennala_double_optimism"
    return _method(name, collection, init_batch, stepsize, rate, adaptive, episode)


@register(
    "malenia_double_optimism",
    title="Malenia, double optimism",
    colour="#999933",
    line="-.",
    works=("patitucci2026improving", "tyurin2026asynchronous"),
)
def malenia_double_optimism(
    batch: int = 20,
    *,
    init_batch: int | None = None,
    stepsize: ArrayLike = 2**-9,
    rate: ArrayLike = 2**-14,
    adaptive: bool = False,
    episode: int = 100,
) -> Method:
    """Double optimism on Malenia's rounds, for workers whose problems differ. Derived and unproven.

    The rest is as for `rennala_double_optimism`.

    Example:
        >>> malenia_double_optimism(8).collection.rule
        Malenia(batch=8)
    """
    collection = Collection(Malenia(batch), worker_mean)
    name = "malenia_double_optimism"
    return _method(name, collection, init_batch, stepsize, rate, adaptive, episode)
