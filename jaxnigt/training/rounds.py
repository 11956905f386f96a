"""Training by rounds: one aggregate and one update a round, all runs in one program."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxnigt.checks import InputError
from jaxnigt.clock.communication import Model
from jaxnigt.methods.collection import Collection
from jaxnigt.methods.method import Method
from jaxnigt.problems.base import Estimate, Evaluation, Params, Problem, evaluated
from jaxnigt.profiles import Profile
from jaxnigt.training import parallel, runs
from jaxnigt.training.runs import Leaves, Record, RunKeys, RunState, Split, UpdateRule
from jaxnigt.training.stopwatch import Stopwatch


class Task(NamedTuple):
    """What `jaxnigt.train` was asked to do, checked.

    Attributes:
        problem: what to maximise.
        method: how.
        iterations: K.
        eval_every: rounds between evaluations.
        eval_batch: trajectories of one evaluation.
        seeds: numbers of the runs.
        profile: times of the workers, None where none was given.
        key: for the clock of random times.
        draws: of the clock, None for one without an axis of its own.
        comm_model: of the clock, None for the usual one.
        devices: that share the runs.
    """

    problem: Problem
    method: Method
    iterations: int
    eval_every: int
    eval_batch: int
    seeds: tuple[int, ...]
    profile: Profile | None
    key: Key[Array, ""]
    draws: int | None
    comm_model: Model | None
    devices: Sequence[runs.Device]

    def clocks(self) -> list[Key[Array, ""]]:
        """A key for each draw of the clock that differs from the others."""
        random = self.profile is not None and self.profile.noise is not None
        return runs.draw_keys(self.key, self.draws if random else 1)

    def network(self, usual: str) -> Model:
        """The model of communication, the usual one where none was given."""
        return usual if self.comm_model is None else self.comm_model

    def needed(self) -> Profile:
        """The profile, for methods that train along one."""
        if self.profile is None:
            raise InputError(
                f"profile: {self.method.name} trains along a schedule here, so a Profile is needed."
            )
        return self.profile


class Program(abc.ABC):
    """A training that goes on from one evaluation to the next.

    Attributes:
        apart: whether the profiles of a schedule can be trained on devices of their own.
        task: what it does.
        times: f64[*profiles, D, K], ends of rounds or times of updates in each draw of the clock; None
            where one trace serves every profile.
        samples: i[P, K], gradients of every round of every schedule.
        problem: that of the task; its gradients are shared out where runs cannot be.
        split: how runs are spread over devices, None for one.
        stopwatch: time in compiled programs.
    """

    apart = True

    def __init__(self, task: Task, times: np.ndarray | None, samples: np.ndarray):
        self.task, self.times, self.samples = task, times, samples
        self.rule = UpdateRule(task.method.update, task.method.eval_params)
        self.leaves, self.stopwatch = task.method.leaves(), Stopwatch()
        shape = len(samples) if self.apart else 1, len(next(iter(self.leaves.values()))), len(task.seeds)
        self.split = runs.split(shape, task.devices)
        self.problem = task.problem
        if self.split is None and len(task.devices) > 1:
            self.problem = parallel.over_slots(task.problem, parallel.mesh(task.devices))

    @property
    def workers(self) -> int | None:
        """For how many workers a run holds the point of the gradient; None for rounds."""
        return None

    def until(self, done: int, most: int | None = None) -> int:
        """Where a call that begins after `done` rounds stops: no later than the next evaluation.

        It stops at `most` where the program can.
        """
        every, last = self.task.eval_every, self.task.iterations
        return min((done // every + 1) * every, last, last if most is None else most)

    @abc.abstractmethod
    def advance(self, state: RunState, keys: RunKeys, done: int, until: int) -> tuple[RunState, Record]:
        """Runs after round `until` - 1, and what happened in between; the state is consumed."""

    def initial(self, keys: RunKeys) -> RunState:
        """Runs at their initial points."""
        return _initial(self.problem, self.rule, self.leaves, keys, len(self.samples), self.workers)

    def placed(self, state: RunState) -> RunState:
        """A state where the program leaves one, as it would be compiled again for a state elsewhere."""
        if self.split is not None:
            return jax.device_put(state, runs.sharding(self.split, runs.ALL))
        if isinstance(self.problem, parallel.OverSlots):
            return jax.device_put(state, parallel.everywhere(self.problem.over))
        return state

    def evaluated(self, state: RunState, keys: RunKeys, k: int) -> Evaluation:
        """J at the params of all runs, on the host."""
        arguments = (self.task.eval_batch, state.params, keys.evaluate, k)
        found = self.stopwatch.run(evaluate, self.problem, self.split, *arguments)
        return jax.tree.map(np.asarray, found)


@functools.partial(jax.jit, static_argnums=(0, 1, 4, 5))
def _initial(
    problem: Problem,
    rule: UpdateRule,
    leaves: Leaves,
    keys: RunKeys,
    schedules: int,
    workers: int | None,
) -> RunState:
    return runs.initial_state(problem, rule, leaves, keys, schedules, workers)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def evaluate(
    problem: Problem,
    split: Split | None,
    eval_batch: int,
    params: Params,
    keys: Key[Array, " S"],
    k: Int[Array, ""],
) -> Evaluation:
    """J at params with axes [P, A, S] from fresh trajectories, with the same keys for all but seeds."""

    def all_runs(params: Params, keys: Key[Array, " S"], k: Int[Array, ""]) -> tuple[Evaluation]:
        # One axis for all runs: XLA's kernels for CPUs die of arrays with many axes (jax issue 39257).
        shape = jax.tree.leaves(params)[0].shape[:3]
        merged = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), params)
        own = jax.vmap(lambda key: runs.fold_in_all(jax.random.fold_in(key, k), eval_batch))(keys)
        each = jnp.broadcast_to(own, (*shape, eval_batch)).reshape(-1, eval_batch)
        found = evaluated(problem, merged, each)
        return (jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), found),)

    inputs = (runs.ALL, runs.SEEDS, runs.NONE)
    return runs.over_devices(all_runs, split, inputs, (runs.ALL,))(params, keys, k)[0]


class RoundProgram(Program):
    """Trains a method whose rounds do not depend on the clock: one trace serves every profile."""

    def __init__(self, task: Task):
        method, collection = task.method, task.method.collection
        assert isinstance(collection, Collection)
        self.collection = collection
        self.heterogeneous = task.problem.workers is not None
        self.first_differs = method.init_batch != collection.batch
        sizes = method.sizes(task.iterations)
        if task.profile is not None:
            network = task.network("allreduce")
            collection.rounds(task.profile, sizes[:1], key=task.key, comm_model=network)
        super().__init__(task, None, sizes[None])

    def until(self, done: int, most: int | None = None) -> int:
        """The next evaluation. A first round of another batch is a call of its own."""
        if done == 0 and self.first_differs:
            return 1
        return super().until(done, most)

    def advance(self, state: RunState, keys: RunKeys, done: int, until: int) -> tuple[RunState, Record]:
        """Runs after round `until` - 1, and what happened in between; the state is consumed."""
        # A first round of another batch is a program of its own, one round long.
        rounds = 1 if done == 0 and self.first_differs else self.task.eval_every
        size = int(self.samples[0, done])
        workers, weights = map(jnp.asarray, self.collection.slots(size, self.heterogeneous))
        arguments = (self.leaves, state, keys, workers, weights, done, until)
        fixed = self.problem, self.rule, self.split, rounds
        state, record = self.stopwatch.run(advance, *fixed, *arguments)
        return state, jax.tree.map(lambda x: np.asarray(x)[: until - done], record)


def check_ends(times: Float[np.ndarray, "*profiles K"], profiles: Profile) -> None:
    """Raise InputError where a schedule comes to a standstill, and name the workers that are dead."""
    if not np.isfinite(times).all():
        finite = np.isfinite(times).reshape(-1, times.shape[-1])
        profile, k = (int(i[0]) for i in np.nonzero(~finite))
        dead = np.flatnonzero(np.isinf(profiles.compute.reshape(-1, profiles.n)[profile]))
        why = f" (compute = inf for workers {dead.tolist()})" if dead.size else ""
        raise InputError(
            f"profile: nothing arrives any more from round or update {k} of profile {profile} on{why}, "
            "training needs workers that go on."
        )


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=5)
def advance(
    problem: Problem,
    rule: UpdateRule,
    split: Split | None,
    rounds: int,
    leaves: Leaves,
    state: RunState,
    keys: RunKeys,
    workers: Int[Array, " B"],
    weights: Float[Array, " B"],
    first: Int[Array, ""],
    until: Int[Array, ""],
) -> tuple[RunState, Record]:
    """Advance all runs by some rounds of the same slots from round `first`, or up to `until`.

    Records are NaN from `until` on.
    """
    inputs = (runs.LEAVES, runs.ALL, runs.SEEDS, *[runs.NONE] * 4)
    program = functools.partial(_advance, problem, rule, rounds)
    program = runs.over_devices(program, split, inputs, (runs.ALL, runs.RECORD))
    return program(leaves, state, keys, workers, weights, first, until)


def _advance(
    problem: Problem,
    rule: UpdateRule,
    rounds: int,
    leaves: Leaves,
    state: RunState,
    keys: RunKeys,
    workers: Int[Array, " B"],
    weights: Float[Array, " B"],
    first: Int[Array, ""],
    until: Int[Array, ""],
) -> tuple[RunState, Record]:

    def one_round(state: RunState, k: Int[Array, ""]) -> tuple[RunState, Record]:

        def blank() -> tuple[RunState, Record]:
            nan = jnp.full(jax.tree.leaves(state)[0].shape[:3], jnp.nan, jnp.float32)
            return state, Record(nan, nan, nan, nan)

        def play() -> tuple[RunState, Record]:
            return _round(problem, rule, leaves, keys, k, workers, weights, state)

        return jax.lax.cond(k < until, play, blank)

    return jax.lax.scan(one_round, state, first + jnp.arange(rounds))


def _round(
    problem: Problem,
    rule: UpdateRule,
    leaves: Leaves,
    keys: RunKeys,
    k: Int[Array, ""],
    workers: Int[Array, " B"],
    weights: Float[Array, " B"],
    state: RunState,
) -> tuple[RunState, Record]:
    """One round of all runs: the gradients of all at once, then a step of each."""

    def ask(leaf: Leaves, key: RunKeys, slots: Any, run: RunState) -> Any:
        samples = runs.fold_in_all(jax.random.fold_in(key.train, k), len(workers))
        return runs.point(problem, rule, run), samples, *slots

    def step(leaf: Leaves, key: RunKeys, slots: Any, answer: tuple[RunState, Estimate]) -> Any:
        run, estimate = answer
        used = (slots[1] > 0).astype(estimate.discounted.dtype)
        returns = estimate.discounted, estimate.undiscounted
        means = tuple((used * values).sum() / used.sum() for values in returns)
        return runs.step(problem, rule.at(leaf), run, estimate, means)

    slots = workers[None], weights[None]
    estimates = runs.estimate_runs(problem, *runs.over_runs(ask)(leaves, keys, slots, state))
    return runs.over_runs(step)(leaves, keys, slots, (state, estimates))
