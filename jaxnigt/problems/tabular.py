"""Finite Markov decision problems with softmax policies, whose J is known exactly."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxnigt.checks import (
    MOST_KEY,
    InputError,
    as_numbers,
    as_sequence,
    discount_factor,
    room,
    whole,
    within,
)
from jaxnigt.constants import Constants, softmax_policy
from jaxnigt.problems.base import Params
from jaxnigt.problems.score import EpisodicProblem, Sample
from jaxnigt.registry import register

_MOST_ROWS, _MOST_ENTRIES = 10**5, 10**7
"""Of tables that are drawn row by row, in about two seconds."""


class MDP(NamedTuple):
    """The decision problems of W workers; W = 1 for one that all share.

    Attributes:
        transition: f64[W, s, a, s'], probabilities that sum to 1 over s'.
        reward: f64[W, s, a].
        start: f64[W, s], probabilities of the first state.
    """

    transition: Float[np.ndarray, "W s a s"]
    reward: Float[np.ndarray, "W s a"]
    start: Float[np.ndarray, "W s"]


class Tabular(EpisodicProblem):
    """J(theta) over H steps of a softmax policy pi(a|s) = softmax(theta[s])_a.

    Params are {"logits": f[s, a]}.
    """

    def __init__(self, mdp: MDP, discount: float, horizon: int):
        mdp = MDP(*(as_numbers(name, table) for name, table in mdp._asdict().items()))
        _check(mdp)
        self.mdp = mdp
        # Outcomes are drawn from cumulative probabilities.
        self._tables = (mdp.transition.cumsum(-1), mdp.reward, mdp.start.cumsum(-1))
        self.discount = discount_factor(discount)
        self.horizon = whole("horizon", horizon)
        self.workers = None if len(mdp.start) == 1 else len(mdp.start)

    def __repr__(self) -> str:
        _, states, actions = self.mdp.reward.shape
        return (
            f"Tabular(states={states}, actions={actions}, workers={self.workers}, "
            f"discount={self.discount}, horizon={self.horizon})"
        )

    def init(self, key: Key[Array, ""]) -> Params:
        """Logits near 0, so that every action is likely."""
        shape = self.mdp.reward.shape[1:]
        return {"logits": 0.1 * jax.random.normal(key, shape, jnp.result_type(float))}

    def returns(self, params: Params, discount: float) -> Float[Array, " W"]:
        """Expected returns, by propagating the distribution over states through H steps."""
        flow, paid, start = self._under(params)

        def step(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
            at, weight = state
            now = weight * jnp.einsum("ws,ws->w", at, paid)
            return (jnp.einsum("ws,wst->wt", at, flow), weight * discount), now

        initial = (start, jnp.ones((), start.dtype))
        return jax.lax.scan(step, initial, length=self.horizon)[1].sum(axis=0)

    @property
    def constants(self) -> Constants:
        """Constants that no decision problem with such rewards and discount exceeds (derived).

        delta is (max r - min r) / (1 - gamma). For the others, and the errors for rewards that are all 0
        or a discount of 1, see `Constants.from_policy`.
        """
        reward, left = self.mdp.reward, 1 - self.discount
        delta = (reward.max() - reward.min()) / left if left > 0 else None
        largest = np.abs(reward).max()
        return Constants.from_policy(softmax_policy(), largest, self.discount, delta=delta or None)

    def objective_unbounded(self, params: Params) -> Float[Array, ""]:
        """J of infinitely many steps."""
        return self.objectives_unbounded(params).mean()

    def objectives_unbounded(self, params: Params) -> Float[Array, " W"]:
        """J_i of infinitely many steps, by solving (I - gamma P) v = r."""
        flow, paid, start = self._under(params)
        system = jnp.eye(flow.shape[-1], dtype=flow.dtype)[None] - self.discount * flow
        value = jnp.linalg.solve(system, paid[..., None])[..., 0]
        return jnp.einsum("ws,ws->w", start, value)

    def trajectory(self, params: Params, key: Key[Array, ""], worker: Int[Array, ""]) -> Sample:
        """States and actions i[H], and rewards."""
        chances = jnp.cumsum(jax.nn.softmax(params["logits"]), axis=-1)
        moves, reward, start = (jnp.asarray(x, chances.dtype) for x in self._tables)
        uniform = jax.random.uniform(key, (self.horizon + 1, 2), chances.dtype)

        def step(state: Array, uniform: Float[Array, "2"]) -> tuple[Array, tuple[Array, ...]]:
            action = _choose(chances[state], uniform[0])
            after = _choose(moves[worker, state, action], uniform[1])
            return after, (state, action, reward[worker, state, action])

        first = _choose(start[worker], uniform[0, 0])
        _, (states, actions, rewards) = jax.lax.scan(step, first, uniform[1:])
        return (states, actions), rewards

    def log_density(self, params: Params, seen: Params) -> Float[Array, " H"]:
        """log pi(a_t | s_t)."""
        return jax.nn.log_softmax(params["logits"])[seen]

    def _under(self, params: Params) -> tuple[Array, Array, Array]:
        """The policy's transitions f[W, s, s'], its expected rewards f[W, s], and the start f[W, s]."""
        policy = jax.nn.softmax(params["logits"])
        transition, reward, start = (jnp.asarray(x, policy.dtype) for x in self.mdp)
        flow = jnp.einsum("wsat,sa->wst", transition, policy)
        return flow, jnp.einsum("wsa,sa->ws", reward, policy), start


@register("tabular")
def tabular(
    mdp: MDP | None = None,
    *,
    discount: float = 0.9,
    horizon: int = 20,
    states: int = 5,
    actions: int = 3,
    branching: int = 3,
    workers: int = 1,
    heterogeneity: float = 1.0,
    seed: int = 0,
) -> Tabular:
    """A finite Markov decision problem with a softmax policy.

    J counts H = `horizon` steps. `mdp` is a problem of your own. Without one, `garnet` draws a problem
    from the last six arguments.

    Raises:
        InputError: a number out of range, tables that are no decision problem, or an argument of
            `garnet` for a problem that is given.

    Example:
        >>> problem = tabular(states=4, workers=3, heterogeneity=0.5)
        >>> problem.workers, problem.dimension()
        (3, 12)
    """
    arguments = inspect.signature(garnet).parameters
    given = states, actions, branching, workers, heterogeneity, seed
    drawn: dict[str, Any] = dict(zip(arguments, given, strict=True))
    if mdp is None:
        mdp = garnet(**drawn)
    elif unused := [name for name, value in drawn.items() if value != arguments[name].default]:
        raise InputError(f"{unused[0]}: has no effect on a problem that is given.")
    return Tabular(mdp, discount, horizon)


def garnet(
    *,
    states: int = 5,
    actions: int = 3,
    branching: int = 3,
    workers: int = 1,
    heterogeneity: float = 1.0,
    seed: int = 0,
) -> MDP:
    """Random decision problems: each action leads to `branching` random states, rewards are in [0, 1].

    Each of W = `workers` has a problem; one worker's is shared by all. With `heterogeneity` 0 all have
    the same problem, with 1 independent ones. In between their tables are mixed with a common one. The
    draws come from NumPy's generator with this seed. Source: Archibald, McKinnon, Thomas, On the
    generation of Markov decision processes, 1995.

    Raises:
        InputError: a number out of range.

    Example:
        >>> garnet(states=4, workers=2).reward.shape
        (2, 4, 3)
    """
    states, actions = whole("states", states), whole("actions", actions)
    if whole("branching", branching) > states:
        raise InputError(f"branching: got {branching}, 1 to states = {states} is allowed.")
    within("heterogeneity", heterogeneity, "[0, 1]")
    rng = np.random.default_rng(whole("seed", seed, 0, MOST_KEY))
    count = whole("workers", workers) + 1  # The first problem is the common one.
    room("states", count * states * actions, _MOST_ROWS)
    room("states", count * states * actions * states, _MOST_ENTRIES)
    transition = np.zeros((count, states, actions, states))
    for index in np.ndindex(count, states, actions):
        reached = rng.choice(states, branching, replace=False)
        transition[index][reached] = rng.dirichlet(np.ones(branching))
    reward = rng.uniform(size=(count, states, actions))
    start = rng.dirichlet(np.ones(states), count)

    def mix(tables: np.ndarray) -> np.ndarray:
        return (1 - heterogeneity) * tables[:1] + heterogeneity * tables[1:]

    return MDP(mix(transition), mix(reward), mix(start))


def gridworld(
    size: int = 4, *, goals: tuple[tuple[int, int], ...] = ((3, 3),), slip: float = 0.1
) -> MDP:
    """A square of cells with four moves, which pays 1 for each step that begins at the goal.

    Trajectories begin in cell (0, 0). `goals` are (row, column) of each worker's goal, a single one for
    a problem that all workers share; different goals ask contradictory things of one policy. With
    probability `slip` a random move replaces the chosen one.

    Raises:
        InputError: a goal outside the square, or a number out of range.

    Example:
        >>> tabular(gridworld(goals=((3, 3), (0, 3))))
        Tabular(states=16, actions=4, workers=2, discount=0.9, horizon=20)
    """
    within("slip", slip, "[0, 1)")
    room("size", 4 * whole("size", size) ** 4, _MOST_ENTRIES)
    cells = [(row, column) for row in range(size) for column in range(size)]
    cell = "cells (row, column)"
    ends = [tuple(as_sequence("goals", goal, cell)) for goal in as_sequence("goals", goals, cell)]
    if not ends:
        raise InputError("goals: got none, at least one cell is needed.")
    for goal in ends:
        if goal not in cells:
            raise InputError(f"goals: got {goal!r}, cells from (0, 0) to {cells[-1]} are allowed.")
    moves = np.zeros((len(cells), 4, len(cells)))
    for at, (row, column) in enumerate(cells):
        for action, (down, right) in enumerate([(-1, 0), (1, 0), (0, -1), (0, 1)]):
            to = np.clip([row + down, column + right], 0, size - 1)
            moves[at, action, to[0] * size + to[1]] = 1.0
    moves = (1 - slip) * moves + slip * moves.mean(axis=1, keepdims=True)
    reward = np.array([[float(at == goal) for at in cells] for goal in ends])
    start = np.zeros((len(ends), len(cells)))
    start[:, 0] = 1.0
    transition = np.broadcast_to(moves, (len(ends), *moves.shape))
    return MDP(transition, np.broadcast_to(reward[..., None], (*reward.shape, 4)), start)


def _choose(chances: Float[Array, " s"], uniform: Float[Array, ""]) -> Int[Array, ""]:
    """The outcome that a uniform number falls on, given cumulative probabilities."""
    return jnp.minimum((uniform >= chances).sum(), len(chances) - 1)


def _check(mdp: MDP) -> None:
    shape = mdp.transition.shape
    fits = len(shape) == 4 and shape[1] == shape[3]
    if not fits or mdp.reward.shape != shape[:3] or mdp.start.shape != shape[:2]:
        raise InputError(
            f"mdp: transition {shape}, reward {mdp.reward.shape} and start {mdp.start.shape}, allowed "
            "are (W, s, a, s), (W, s, a) and (W, s)."
        )
    for name in ("transition", "start"):
        table = getattr(mdp, name)
        if (table < 0).any() or not np.allclose(table.sum(axis=-1), 1.0, atol=1e-9):
            raise InputError(f"mdp: {name} must be probabilities that sum to 1 over the last axis.")
    if not np.isfinite(mdp.reward).all():
        raise InputError("mdp: reward must be finite.")
