"""Training by arrivals: every gradient is an update, and wavefronts of gradients are one batch."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Int, Key
from optax import tree

from jaxnigt import spread, wavefronts
from jaxnigt.checks import InputError
from jaxnigt.clock import verify
from jaxnigt.methods.collection import Asynchronous
from jaxnigt.methods.method import Method
from jaxnigt.problems.base import Estimate, Params, Problem
from jaxnigt.profiles import Profile
from jaxnigt.runs import (
    Leaves,
    Record,
    Rule,
    RunKeys,
    RunState,
    estimate_runs,
    fold_in_all,
    initial_state,
    over_runs,
    transformation,
)
from jaxnigt.stopwatch import Stopwatch
from jaxnigt.training_rounds import check_ends


class Lanes(NamedTuple):
    """Gradients of wavefronts.

    Attributes:
        update: i32[P, W, L], the update that a gradient makes, -1 for none.
        worker: i32[P, W, L], who computes it.
        version: i32[P, W, L], updates that its starting model had seen.
    """

    update: Int[Array, "..."]
    worker: Int[Array, "..."]
    version: Int[Array, "..."]


class ArrivalProgram:
    """Trains a method whose gradients update the server one by one.

    Attributes:
        times: f64[P, K], when updates happen.
        samples: i[P, K] of ones.
        leading: shape of the profiles.
        lanes: gradients of a wavefront at most.
        useful: share of lanes that held a gradient.
        split: how runs are spread over devices, None for one.
        stopwatch: time in compiled programs.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        iterations: int,
        eval_every: int,
        profile: Profile | None,
        key: Key[Array, ""],
        comm_model: str,
        seeds: int,
    ):
        assert isinstance(method.collection, Asynchronous)
        self.split: spread.Split | None = None
        self.stopwatch = Stopwatch()
        if profile is None:
            raise InputError(f"profile: {method.name} trains along a schedule, so a Profile is needed.")
        self.problem, self.method = problem, method
        self.rule, self.leaves = (method.update, method.eval_params), method.leaves()
        self.iterations, self.eval_every = iterations, eval_every
        arrivals = method.collection.arrivals(profile, iterations, key=key, comm_model=comm_model)
        verify(arrivals, profile)
        self.leading, self.workers = profile.shape, profile.n
        self.times, self._worker, staleness = (
            x.reshape(-1, iterations) for x in (arrivals.time, arrivals.worker, arrivals.staleness)
        )
        check_ends(self.times, profile)
        self.samples = np.ones(self.times.shape, int)
        self._version = np.arange(iterations, dtype=np.int32) - staleness
        runs = seeds * int(np.prod(method.leaf_shape, dtype=int))
        self.lanes, self._windows = wavefronts.plan(
            staleness, eval_every, runs, jax.default_backend(), method.collection.lanes
        )
        used = sum(max(len(each) for each in chunk) for chunk in self._windows)
        self.useful = iterations / (used * self.lanes)

    def initial(self, keys: RunKeys) -> RunState:
        """Runs at their initial points."""
        arguments = (self.leaves, keys, len(self.times), self.workers)
        return _initial(self.problem, self.rule, *arguments)

    def until(self, done: int) -> int:
        """Where a call that begins after `done` updates stops: before the next evaluation."""
        return min(done + self.eval_every, self.iterations)

    def advance(self, state: RunState, keys: RunKeys, done: int, until: int) -> tuple[RunState, Record]:
        """Runs after update `until` - 1, and what happened in between; the state is consumed."""
        chunk = self._windows[done // self.eval_every]
        # As many wavefronts as there can be, so that one program serves all; those left cost nothing.
        update = wavefronts.table(chunk, self.eval_every, self.lanes)
        profile = np.arange(len(update))[:, None, None]
        tables = (update, self._worker[profile, update], self._version[profile, update])
        lanes = Lanes(*map(jnp.asarray, tables))
        arguments = (self.leaves, state, keys, lanes)
        state, record = self.stopwatch.run(advance, self.problem, self.rule, self.split, *arguments)

        def by_update(values: Any) -> np.ndarray:
            """From [W, P, A, S, L] to [updates, P, A, S]."""
            values = np.moveaxis(np.asarray(values), -1, 1)
            out = np.empty((until - done, *values.shape[2:]), values.dtype)
            for p in range(len(update)):
                step, lane = np.nonzero(update[p] >= 0)
                out[update[p, step, lane] - done, p] = values[step, lane, p]
            return out

        return state, jax.tree.map(by_update, record)


@functools.partial(jax.jit, static_argnums=(0, 1, 4, 5))
def _initial(
    problem: Problem, rule: Rule, leaves: Leaves, keys: RunKeys, schedules: int, workers: int
) -> RunState:
    return initial_state(problem, rule, leaves, keys, schedules, workers)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def advance(
    problem: Problem,
    rule: Rule,
    split: spread.Split | None,
    leaves: Leaves,
    state: RunState,
    keys: RunKeys,
    lanes: Lanes,
) -> tuple[RunState, Record]:
    """Advance all runs by at most W wavefronts; records have axes [W, P, A, S, L]."""
    inputs = (spread.LEAVES, spread.ALL, spread.SEEDS, spread.SCHEDULES)
    program = functools.partial(_advance, problem, rule)
    program = spread.over_devices(program, split, inputs, (spread.ALL, spread.RECORD))
    return program(leaves, state, keys, lanes)


def _advance(
    problem: Problem, rule: Rule, leaves: Leaves, state: RunState, keys: RunKeys, lanes: Lanes
) -> tuple[RunState, Record]:

    def play(w: Int[Array, ""], carry: tuple[RunState, Record]) -> tuple[RunState, Record]:
        state, records = carry
        now = jax.tree.map(lambda x: x[:, w], lanes)
        state, record = _wavefront(problem, rule, leaves, keys, now, state)
        return state, jax.tree.map(lambda all_, x: all_.at[w].set(x), records, record)

    _, wavefronts, width = lanes.update.shape
    shape = (wavefronts, *jax.tree.leaves(state)[0].shape[:3], width)
    records = Record(*[jnp.full(shape, jnp.nan, jnp.float32)] * 4)
    # Wavefronts that hold nothing come last and are not played.
    used = (lanes.update >= 0).any(axis=(0, 2)).sum()
    return jax.lax.fori_loop(0, used, play, (state, records))


def _wavefront(
    problem: Problem, rule: Rule, leaves: Leaves, keys: RunKeys, lanes: Lanes, state: RunState
) -> tuple[RunState, Record]:
    """One wavefront of all runs: gradients in one batch, then the updates of each run in order."""

    def ask(leaf: Leaves, key: RunKeys, lanes: Lanes, run: RunState) -> Any:
        # The key of slot 0 of a round, so that the randomness is that of any other method.
        slot = jax.vmap(lambda k: fold_in_all(jax.random.fold_in(key.train, k), 1))(lanes.update)
        points = jax.tree.map(lambda x: x[lanes.worker], run.points)
        return points, slot, lanes.worker[:, None], jnp.ones((len(slot), 1))

    def step(leaf: Leaves, key: RunKeys, lanes: Lanes, answer: tuple[RunState, Estimate]) -> Any:
        return _updates(problem, rule, leaf, lanes, *answer)

    estimates = estimate_runs(problem, *over_runs(ask)(leaves, keys, lanes, state))
    return over_runs(step)(leaves, keys, lanes, (state, estimates))


def _updates(
    problem: Problem, rule: Rule, leaf: Leaves, lanes: Lanes, run: RunState, estimates: Estimate
) -> tuple[RunState, Record]:
    """The updates of one run by the gradients of a wavefront."""
    optimiser = transformation(rule, leaf)

    def apply(run: RunState, lane: tuple[Lanes, Estimate]) -> tuple[RunState, Record]:
        (update, worker, version), estimate = lane
        descent = jax.tree.map(jnp.negative, estimate.gradient)
        updates, after = optimiser.update(descent, run.optimiser, run.params, version=version)
        params: Params = problem.observe(optax.apply_updates(run.params, updates), estimate)
        point = rule[1](after, params)
        held = update >= 0
        # One row is chosen, as choosing between tables would copy them.
        row = jax.tree.map(lambda x, table: jnp.where(held, x, table[worker]), point, run.points)
        points = jax.tree.map(lambda table, x: table.at[worker].set(x), run.points, row)
        record = Record(
            estimate.discounted[0],
            estimate.undiscounted[0],
            tree.norm(estimate.gradient),
            tree.norm(tree.get(after, "direction", updates)),
        )
        params, after = _where(held, (params, after), (run.params, run.optimiser))
        return RunState(params, after, points), jax.tree.map(lambda x: x.astype(jnp.float32), record)

    return jax.lax.scan(apply, run, (lanes, estimates))


def _where(condition: Bool[Array, ""], one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
