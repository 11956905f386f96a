"""Simulates many episodes at once, in lanes that take the next episode as soon as one is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Var
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnigt.checks import InputError, asked
from jaxnigt.environments.brax import Environment, quiet
from jaxnigt.environments.heterogeneity import Heterogeneity
from jaxnigt.environments.mjx_cpu import substituted

# Lanes on a CPU, at most, where all episodes have H steps. More do not fit its caches.
_ENDLESS = 256
# The least and the most lanes on a CPU where episodes may end early. Fewer leave its vector units idle;
# with more, many wait for the longest episode.
_ENDING = 32, 64


class Trajectory(NamedTuple):
    """H steps of an episode, with zeros after its termination.

    Attributes:
        observation: f32[H, o], what the policy saw, before any normalisation.
        u: f32[H, a], the policy's samples, of which actions are tanh.
        reward: f32[H].
        alive: bool[H], whether the episode was still going on when the step was taken.
    """

    observation: Float[Array, "H o"]
    u: Float[Array, "H a"]
    reward: Float[Array, " H"]
    alive: Bool[Array, " H"]


Act = Callable[[Float[Array, "L o"], Int[Array, " L"], Int[Array, " L"]], tuple[Array, Array]]
"""Maps the observations, slots and steps of L lanes to u f32[L, a] and actions f32[L, a]."""

Advance = Callable[[Any, Int[Array, " L"], Int[Array, " L"]], tuple[Any, Any, Bool[Array, " L"]]]
"""Maps states, slots and steps of L lanes to the next states, what to keep and whose episode is over."""


class Simulator:
    """An environment for all workers, under any policy; `start` has shapes and types of a state."""

    def __init__(self, env: Environment, heterogeneity: Heterogeneity):
        self.env, self.heterogeneity = env, heterogeneity
        with quiet(), substituted():
            # Brax's own `observation_size` runs the reset operation by operation, which is slow on MJX.
            self.start: Any = asked(
                "environment: reset", lambda: jax.eval_shape(env.reset, jax.random.key(0))
            )
        _check_start(self.start)
        # Physics takes seconds to trace. These traces serve gradients and evaluations alike.
        self._reset = jax.jit(lambda worker, key: self._of(worker).reset(key), inline=True)
        self._step = jax.jit(lambda worker, *at: self._of(worker).step(*at), inline=True)

    def sample(
        self,
        act: Act,
        keys: Key[Array, " N"],
        workers: Int[Array, " N"],
        horizon: int,
        lanes: int | None,
    ) -> Trajectory:
        """N trajectories of at most H steps, each of its worker's environment, with an axis N in front.

        The policy may differ from slot to slot. `lanes` trajectories are simulated side by side; None
        chooses how many. The keys are for the resets.
        """

        def advance(
            state: Any, slot: Int[Array, " L"], step: Int[Array, " L"]
        ) -> tuple[Any, Trajectory, Bool[Array, " L"]]:
            observation = jax.vmap(self.heterogeneity.observation)(state.obs, workers[slot])
            u, action = act(observation, slot, step)
            after = jax.vmap(self._step)(workers[slot], state, action)
            alive = jnp.ones(slot.shape, bool)
            return after, Trajectory(observation, u, after.reward, alive), after.done != 0

        with quiet(), substituted():
            starts = jax.vmap(self._reset)(workers, keys)
            self._check_step()
            endless = self._endless()
            return run_lanes(starts, advance, horizon, lane_count(len(keys), lanes, endless), endless)

    def _of(self, worker: Int[Array, ""]) -> Environment:
        return self.heterogeneity.environment(self.env, worker)

    def _check_step(self) -> None:
        """Raise InputError unless a step keeps the parts of a state, their shapes and their types."""
        worker = jax.ShapeDtypeStruct((), jnp.int32)
        action = jax.ShapeDtypeStruct((self.env.action_size,), jnp.float32)
        after = asked(
            "environment: step", lambda: jax.eval_shape(self._step, worker, self.start, action)
        )
        before, now = (
            {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(state)}
            for state in (self.start, after)
        )
        for part in sorted(before.keys() | now.keys()):
            one, other = (_kind(state.get(part)) for state in (before, now))
            if one != other:
                raise InputError(
                    f"environment: {part} of a state is {one} after reset and {other} after step, the "
                    "same is allowed."
                )

    def _endless(self) -> bool:
        """Whether no episode of this environment ends before the horizon."""
        worker = jax.ShapeDtypeStruct((), jnp.int32)
        action = jax.ShapeDtypeStruct((self.env.action_size,), jnp.float32)

        def step(state: Any, worker: Any, action: Any) -> tuple[Any, Any]:
            after = self._step(worker, state, action)
            return after, after.done

        return is_endless(step, self.start, worker, action)


def _check_start(state: Any) -> None:
    """Raise InputError unless a state has what a rollout reads, in shapes of one environment."""
    if missing := [name for name in ("obs", "reward", "done") if not hasattr(state, name)]:
        raise InputError(
            f"environment: reset gives a {type(state).__name__} without {', '.join(missing)}, a State "
            "as Brax's is allowed."
        )
    if not hasattr(state.obs, "ndim"):
        raise InputError(
            f"environment: observations are a {type(state.obs).__name__}, one vector is allowed."
        )
    for name, allowed in (("obs", 1), ("reward", 0), ("done", 0)):
        shape = jnp.shape(getattr(state, name))
        if len(shape) != allowed:
            words = "a vector" if allowed else "a number"
            raise InputError(f"environment: {name} of a state has shape {shape}, {words} is allowed.")


def _kind(leaf: Any) -> str:
    return "not there" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"


def lane_count(slots: int, lanes: int | None, endless: bool) -> int:
    """The number of lanes for N slots: as asked for, or else a few on a CPU and N elsewhere."""
    if lanes is not None or jax.default_backend() != "cpu":
        return min(slots, lanes or slots)
    if endless:
        # All lanes get equally many slots, so that they end together.
        return -(-slots // -(-slots // _ENDLESS))
    least, most = _ENDING
    # Each lane gets several slots, so that few lanes idle while the longest episode goes on alone.
    return min(slots, max(least, min(slots // 4, most)))


def is_endless(step: Callable[..., tuple[Any, Any]], state: Any, *others: Any) -> bool:
    """Whether no step can change whether an episode is over.

    `step` maps a state and other arguments, given by shapes and types, to the next state and whether the
    episode is over. The answer is no if the latter depends on a leaf of the state that `step` changes,
    or on the other arguments.
    """
    jaxpr = jax.make_jaxpr(step)(state, *others).jaxpr
    before, after = (x[: len(jax.tree.leaves(state))] for x in (jaxpr.invars, jaxpr.outvars))
    kept = {x for x, y in zip(before, after, strict=True) if x is y}
    writers = {out: eqn for eqn in jaxpr.eqns for out in eqn.outvars}
    asked = [x for x in jaxpr.outvars[-1:] if isinstance(x, Var)]
    while asked:
        var = asked.pop()
        if var in writers:
            asked += [x for x in writers[var].invars if isinstance(x, Var)]
        elif var in jaxpr.invars and var not in kept:
            return False
    return True


def run_lanes(starts: Any, advance: Advance, horizon: int, lanes: int, endless: bool = False) -> Any:
    """What `advance` keeps of N slots' episodes in L lanes: pytree of [N, H, ...], 0 after the end.

    `starts` holds the state in which each slot begins, and `endless` says whether all episodes have H
    steps. What a slot sees depends on the slot alone, not on the lanes. No slot is dropped or added
    because episodes are short or long.
    """
    return (_abreast if endless else _in_turn)(starts, advance, horizon, lanes)


def _abreast(starts: Any, advance: Advance, horizon: int, lanes: int) -> Any:
    """Episodes of equal length: groups of L slots begin and end together."""
    # XLA then knows how often the loop over steps turns. MJX is faster on a CPU for it, but only where
    # that loop is not inside another one, not even inside a loop of a single turn.
    slots = len(jax.tree.leaves(starts)[0])
    groups = -(-slots // lanes)
    # Where the last group has lanes to spare, they run the episode of the last slot once more.
    slot = jnp.minimum(jnp.arange(groups * lanes, dtype=jnp.int32), slots - 1).reshape(groups, lanes)

    def one_group(slot: Int[Array, " L"]) -> Any:
        def step(state: Any, h: Int[Array, ""]) -> tuple[Any, Any]:
            return advance(state, slot, jnp.full_like(slot, h))[:2]

        begin = jax.tree.map(lambda x: x[slot], starts) if groups > 1 else starts
        return jax.lax.scan(step, begin, jnp.arange(horizon, dtype=jnp.int32))[1]

    def by_slot(x: Array) -> Array:
        return x.swapaxes(1, 2).reshape(groups * lanes, horizon, *x.shape[3:])[:slots]

    if groups == 1:
        seen = jax.tree.map(lambda x: x[None], one_group(slot[0]))
    else:
        seen = jax.lax.map(one_group, slot)
    return jax.tree.map(by_slot, seen)


class _Lanes(NamedTuple):
    """The lanes between two steps.

    Attributes:
        state: pytree of [L, ...], the state of each lane's environment.
        slot: i32[L], the slot that each lane runs, N where none is left for it.
        step: i32[L], how many steps of that slot are done.
        taken: i32[], how many slots have been taken. Lanes take them in their order.
    """

    state: Any
    slot: Int[Array, " L"]
    step: Int[Array, " L"]
    taken: Int[Array, ""]


def _in_turn(starts: Any, advance: Advance, horizon: int, lanes: int) -> Any:
    """Episodes that may end early: a lane begins the next slot when its episode is over."""
    slots = len(jax.tree.leaves(starts)[0])
    first = jnp.arange(lanes, dtype=jnp.int32)
    begin = jax.tree.map(lambda x: x[:lanes], starts)
    lane = _Lanes(begin, first, jnp.zeros_like(first), jnp.asarray(lanes, jnp.int32))
    shapes = jax.eval_shape(advance, lane.state, lane.slot, lane.step)[1]
    kept = jax.tree.map(lambda x: jnp.zeros((slots, horizon, *x.shape[1:]), x.dtype), shapes)

    def more(carry: tuple[_Lanes, Any]) -> Bool[Array, ""]:
        return (carry[0].slot < slots).any()

    def step(carry: tuple[_Lanes, Any]) -> tuple[_Lanes, Any]:
        lane, kept = carry
        # A lane without a slot simulates on. Its `slot` is out of range, so that nothing of it is kept.
        state, seen, over = advance(lane.state, jnp.minimum(lane.slot, slots - 1), lane.step)

        def put(all_: Array, new: Array) -> Array:
            return all_.at[lane.slot, lane.step].set(new, mode="drop")

        kept = jax.tree.map(put, kept, seen)
        over = over | (lane.step == horizon - 1)
        return _next(lane._replace(state=state), over, starts, slots), kept

    return jax.lax.while_loop(more, step, (lane, kept))[1]


def _next(lane: _Lanes, over: Bool[Array, " L"], starts: Any, slots: int) -> _Lanes:
    """The lanes after a step: those whose episode is over take the next slots, while there are any."""
    # A lane without a slot may report more than once that its episode is over. No slot is left by then.
    turn = lane.taken + jnp.cumsum(over, dtype=jnp.int32) - 1
    slot = jnp.where(over, jnp.minimum(turn, slots), lane.slot)
    step = jnp.where(over, 0, lane.step + 1)
    taken = lane.taken + over.sum(dtype=jnp.int32)
    state = lane.state
    if len(over) < slots:
        begins = over & (slot < slots)
        at = jnp.minimum(slot, slots - 1)

        def begin(start: Array, now: Array) -> Array:
            return jnp.where(begins.reshape(-1, *[1] * (now.ndim - 1)), start[at], now)

        state = jax.lax.cond(
            begins.any(), lambda: jax.tree.map(begin, starts, lane.state), lambda: lane.state
        )
    return _Lanes(state, slot, step, taken)
