"""Training by rounds: one aggregate and one update a round, all runs in one program."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float32, Int, Int32, Key
from optax import tree

from jaxnigt import spread
from jaxnigt.checks import InputError
from jaxnigt.clock import verify
from jaxnigt.methods.collection import Collection
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

Slots = tuple[Int32[np.ndarray, "P R B"], Float32[np.ndarray, "P R B"]]
"""Worker and weight of each slot of R rounds of P schedules; padding has weight 0."""


class RoundProgram:
    """Trains a method that collects rounds.

    Where the clock decides which gradients enter, it is run first, and every profile is a schedule.

    Attributes:
        times: f64[P, K], ends of rounds; None where one trace serves every profile.
        samples: i[P, K], gradients of every round.
        leading: shape of the profiles, () without a schedule.
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
    ):
        assert isinstance(method.collection, Collection)
        self.split: spread.Split | None = None
        self.stopwatch = Stopwatch()
        self.problem, self.method, self.collection = problem, method, method.collection
        self.rule, self.leaves = (method.update, method.eval_params), method.leaves()
        self.iterations, self.eval_every = iterations, eval_every
        sizes = method.sizes(iterations)
        self.samples, self.times, self.leading = sizes[None], None, ()
        self._counts: np.ndarray | None = None
        if self.collection.replayable(problem.workers is not None):
            if profile is not None:
                self.collection.rounds(profile, method.sizes(1), key=key, comm_model=comm_model)
            return
        profile = _needed(profile, method)
        rounds = self.collection.rounds(profile, sizes, key=key, comm_model=comm_model)
        verify(rounds, profile)
        assert rounds.counts is not None
        count = int(np.prod(profile.shape, dtype=int))
        shape = (*profile.shape, iterations, profile.n)
        self._counts = np.broadcast_to(rounds.counts, shape).reshape(count, iterations, profile.n)
        self.leading, self.times = profile.shape, rounds.end.reshape(count, iterations)
        check_ends(self.times, profile)
        self.samples = self._counts.sum(axis=-1)

    def initial(self, keys: RunKeys) -> RunState:
        """Runs at their initial points."""
        return _initial(self.problem, self.rule, self.leaves, keys, len(self.samples))

    def until(self, done: int) -> int:
        """Where a call that begins after `done` rounds stops: before the next evaluation."""
        if done == 0 and self._first_differs:
            return 1
        return min((done // self.eval_every + 1) * self.eval_every, self.iterations)

    def advance(self, state: RunState, keys: RunKeys, done: int, until: int) -> tuple[RunState, Record]:
        """Runs after round `until` - 1, and what happened in between; the state is consumed."""
        # A first round of another size is a program of its own, one round long.
        rounds = 1 if done == 0 and self._first_differs else self.eval_every
        slots = jax.tree.map(jnp.asarray, self._slots(done, until, rounds))
        arguments = (self.leaves, state, keys, slots, done, until)
        state, record = self.stopwatch.run(advance, self.problem, self.rule, self.split, *arguments)
        return state, jax.tree.map(lambda x: np.asarray(x)[: until - done], record)

    @property
    def _first_differs(self) -> bool:
        return self.method.init_batch != self.collection.batch

    def _slots(self, done: int, until: int, rounds: int) -> Slots:
        """Slots of rounds `done` to `until`, repeated to `rounds` rounds."""
        if self._counts is None:
            size = self.method.init_batch if done == 0 else self.collection.batch
            workers, weights = self.collection.slots(size)
            shape = (1, rounds, size)
            return np.broadcast_to(workers, shape), np.broadcast_to(weights, shape)
        first = self._first_differs
        alike = self.samples[:, :1] if first and done == 0 else self.samples[:, int(first) :]
        which = np.minimum(np.arange(done, done + rounds), until - 1)
        counts = self._counts[:, which]
        return slots_of_counts(counts, self.collection.weights(counts), int(alike.max()))


def slots_of_counts(
    counts: Int[np.ndarray, "P R n"], weights: Float[np.ndarray, "P R n"], size: int
) -> Slots:
    """Slots of rounds, worker by worker, padded to `size` with weight 0 and never cut.

    Args:
        counts: gradients of each worker.
        weights: of each gradient of a worker.
        size: B.
    """
    last = counts.cumsum(axis=-1)
    slot = np.arange(size)
    # The worker of a slot is how many workers' slots are all before it.
    workers = (last[..., None, :] <= slot[:, None]).sum(axis=-1)
    used = workers < counts.shape[-1]
    workers = np.where(used, workers, 0)
    weight = np.where(used, np.take_along_axis(weights, workers, axis=-1), 0.0)
    return workers.astype(np.int32), weight.astype(np.float32)


def check_ends(times: Float[np.ndarray, "P K"], profiles: Profile) -> None:
    """Raise InputError where a schedule comes to a standstill, with the workers that are dead."""
    if not np.isfinite(times).all():
        profile, k = (int(i[0]) for i in np.nonzero(~np.isfinite(times)))
        dead = np.flatnonzero(np.isinf(profiles.compute.reshape(-1, profiles.n)[profile]))
        why = f" (compute = inf for workers {dead.tolist()})" if dead.size else ""
        raise InputError(
            f"profile: nothing arrives any more from round or update {k} of profile {profile} on{why}, "
            "training needs workers that go on."
        )


def _needed(profile: Profile | None, method: Method) -> Profile:
    if profile is None:
        raise InputError(f"profile: {method.name} trains along a schedule here, so a Profile is needed.")
    return profile


@functools.partial(jax.jit, static_argnums=(0, 1, 4))
def _initial(problem: Problem, rule: Rule, leaves: Leaves, keys: RunKeys, schedules: int) -> RunState:
    return initial_state(problem, rule, leaves, keys, schedules, None)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def advance(
    problem: Problem,
    rule: Rule,
    split: spread.Split | None,
    leaves: Leaves,
    state: RunState,
    keys: RunKeys,
    slots: tuple[Int[Array, "P R B"], Float[Array, "P R B"]],
    first: Int[Array, ""],
    until: Int[Array, ""],
) -> tuple[RunState, Record]:
    """Advance all runs by the R rounds of `slots` from round `first`, or up to `until`.

    Records are NaN from `until` on.
    """
    inputs = (spread.LEAVES, spread.ALL, spread.SEEDS, spread.SCHEDULES, spread.NONE, spread.NONE)
    program = functools.partial(_advance, problem, rule)
    program = spread.over_devices(program, split, inputs, (spread.ALL, spread.RECORD))
    return program(leaves, state, keys, slots, first, until)


def _advance(
    problem: Problem,
    rule: Rule,
    leaves: Leaves,
    state: RunState,
    keys: RunKeys,
    slots: tuple[Int[Array, "P R B"], Float[Array, "P R B"]],
    first: Int[Array, ""],
    until: Int[Array, ""],
) -> tuple[RunState, Record]:

    def one_round(state: RunState, round_: tuple[Array, tuple[Array, Array]]) -> tuple[RunState, Record]:
        k, slots = round_

        def blank() -> tuple[RunState, Record]:
            nan = jnp.full(jax.tree.leaves(state)[0].shape[:3], jnp.nan, jnp.float32)
            return state, Record(nan, nan, nan, nan)

        def play() -> tuple[RunState, Record]:
            return _round(problem, rule, leaves, keys, k, slots, state)

        return jax.lax.cond(k < until, play, blank)

    by_round = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), slots)
    rounds = first + jnp.arange(slots[0].shape[1])
    return jax.lax.scan(one_round, state, (rounds, by_round))


def _round(
    problem: Problem,
    rule: Rule,
    leaves: Leaves,
    keys: RunKeys,
    k: Int[Array, ""],
    slots: tuple[Int[Array, "P B"], Float[Array, "P B"]],
    state: RunState,
) -> tuple[RunState, Record]:
    """One round of all runs: the gradients of all at once, then a step of each."""

    def ask(leaf: Leaves, key: RunKeys, slots: Any, run: RunState) -> Any:
        samples = fold_in_all(jax.random.fold_in(key.train, k), slots[0].shape[0])
        return rule[1](run.optimiser, run.params), samples, *slots

    def step(leaf: Leaves, key: RunKeys, slots: Any, answer: tuple[RunState, Estimate]) -> Any:
        return _step(problem, rule, leaf, slots[1], *answer)

    estimates = estimate_runs(problem, *over_runs(ask)(leaves, keys, slots, state))
    return over_runs(step)(leaves, keys, slots, (state, estimates))


def _step(
    problem: Problem,
    rule: Rule,
    leaf: Leaves,
    weights: Float[Array, " B"],
    run: RunState,
    estimate: Estimate,
) -> tuple[RunState, Record]:
    """What one run does with its aggregate."""
    optimiser = transformation(rule, leaf)
    descent = jax.tree.map(jnp.negative, estimate.gradient)
    updates, after = optimiser.update(descent, run.optimiser, run.params)
    params: Params = problem.observe(optax.apply_updates(run.params, updates), estimate)
    used = (weights > 0).astype(estimate.discounted.dtype)

    def mean(values: Float[Array, " B"]) -> Float[Array, ""]:
        return (used * values).sum() / used.sum()

    record = Record(
        mean(estimate.discounted),
        mean(estimate.undiscounted),
        tree.norm(estimate.gradient),
        tree.norm(tree.get(after, "direction", updates)),
    )
    return RunState(params, after), jax.tree.map(lambda x: x.astype(jnp.float32), record)
