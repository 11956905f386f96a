"""Lanes: trajectories in a batch that take the next slot as soon as an episode is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Var
from jaxtyping import Array, Bool, Int

_ENDLESS = 256
_ENDING = 32, 64
"""Lanes on CPU: at most, where episodes all have H steps; and a few or many, where they may end before.

Fewer leave its vector units idle; more do not fit its caches, or idle while they wait for the longest.
"""


class Lanes(NamedTuple):
    """Where every lane is.

    Attributes:
        state: pytree of [L, ...], its environment.
        slot: i32[L], whose trajectory it runs; the number of slots where none is left.
        step: i32[L], steps taken of it.
        taken: i32[], slots that lanes have taken, which go in their order.
    """

    state: Any
    slot: Int[Array, " L"]
    step: Int[Array, " L"]
    taken: Int[Array, ""]


Advance = Callable[[Any, Int[Array, " L"], Int[Array, " L"]], tuple[Any, Any, Bool[Array, " L"]]]
"""From states, slots and steps of the lanes to the states after, what is kept, and which are over."""


def width(slots: int, lanes: int | None, endless: bool) -> int:
    """How many lanes serve some slots: what is asked for; else a few on CPU, and all elsewhere."""
    if lanes is not None or jax.default_backend() != "cpu":
        return min(slots, lanes or slots)
    if endless:
        # Equal shares, so that all lanes end together.
        return -(-slots // -(-slots // _ENDLESS))
    few, many = _ENDING
    # Several slots a lane, so that few lanes are idle while the longest episode goes on alone.
    return min(slots, max(few, min(slots // 4, many)))


def endless(step: Callable[..., tuple[Any, Any]], state: Any, *others: Any) -> bool:
    """Whether no step can change which episodes are over.

    Args:
        step: from a state, and other things, to the state after and whether the episode is over.
        state: pytree of shapes and types, which leaves that steps do not change keep as they are.
        others: shapes and types.
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


def run(starts: Any, advance: Advance, horizon: int, lanes: int, endless: bool = False) -> Any:
    """Every slot's episode of at most `horizon` steps, whichever lane runs it.

    What a slot sees depends on the slot alone: it is the same for any number of lanes, and slots are
    neither dropped nor added because episodes are short or long.

    Args:
        starts: pytree of [N, ...], the state in which each of the N slots begins.
        advance: one step of all lanes.
        horizon: H, steps of the longest episode.
        lanes: L, from 1 to N.
        endless: whether all episodes have H steps.

    Returns:
        What `advance` keeps of each step: pytree of [N, H, ...], 0 after termination.
    """
    return (_abreast if endless else _in_turn)(starts, advance, horizon, lanes)


def _abreast(starts: Any, advance: Advance, horizon: int, lanes: int) -> Any:
    """Lanes that all begin and end together.

    XLA then knows how often the loop over steps turns. MJX on a CPU is faster for it, but only where
    that loop is not within another, not even one of a single turn.
    """
    slots = len(jax.tree.leaves(starts)[0])
    groups = -(-slots // lanes)
    # The last lanes of the last group may have nothing left, and run the last slot's episode once more.
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


def _in_turn(starts: Any, advance: Advance, horizon: int, lanes: int) -> Any:
    """Lanes that each begin the next slot when they are done with one."""
    slots = len(jax.tree.leaves(starts)[0])
    first = jnp.arange(lanes, dtype=jnp.int32)
    lane = Lanes(
        jax.tree.map(lambda x: x[:lanes], starts),
        first,
        jnp.zeros_like(first),
        jnp.asarray(lanes, jnp.int32),
    )
    shapes = jax.eval_shape(advance, lane.state, lane.slot, lane.step)[1]
    kept = jax.tree.map(lambda x: jnp.zeros((slots, horizon, *x.shape[1:]), x.dtype), shapes)

    def more(carry: tuple[Lanes, Any]) -> Bool[Array, ""]:
        return (carry[0].slot < slots).any()

    def step(carry: tuple[Lanes, Any]) -> tuple[Lanes, Any]:
        lane, kept = carry
        # Lanes with nothing left to do run somebody else's episode on; nothing of it is kept.
        state, seen, over = advance(lane.state, jnp.minimum(lane.slot, slots - 1), lane.step)
        kept = jax.tree.map(lambda all_, new: _put(all_, lane, new), kept, seen)
        over = over | (lane.step == horizon - 1)
        return _next(lane._replace(state=state), over, starts, slots), kept

    return jax.lax.while_loop(more, step, (lane, kept))[1]


def _put(kept: Array, lane: Lanes, new: Array) -> Array:
    return kept.at[lane.slot, lane.step].set(new, mode="drop")


def _next(lane: Lanes, over: Bool[Array, " L"], starts: Any, slots: int) -> Lanes:
    """Lanes a step later: those whose episode is over take the next slots, while there are any.

    Lanes with nothing to do may say that it is over as often as they like: all slots are taken by then.
    """
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
    return Lanes(state, slot, step, taken)
