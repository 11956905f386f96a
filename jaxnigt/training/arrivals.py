"""Training by arrivals: every gradient is an update, and gradients are computed in wavefronts.

A gradient can be computed as soon as the model that it started from is known. A wavefront is a run of
updates whose gradients all started no later than its first update: they are computed as one batch, and
then the updates are applied in order.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Int32

from jaxnigt.clock import verify
from jaxnigt.methods.collection import Asynchronous
from jaxnigt.problems.base import Estimate, Params, Problem
from jaxnigt.training import runs
from jaxnigt.training.rounds import Program, Task, check_ends
from jaxnigt.training.runs import Leaves, Record, RunKeys, RunState, Split, UpdateRule

_LAUNCH = {"cpu": 6.0}
"""What a batch costs beyond its lanes, in lanes; benchmarks/wavefronts.py shows what it leads to."""

_LAUNCH_ELSEWHERE = 500.0
"""Accelerators hardly notice a lane more."""

Window = tuple[int, int]
"""First update of a wavefront and how many it has."""


def next_blocked(staleness: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
    """For each update a, the first later one whose gradient starts after a, K if there is none."""
    total = len(staleness)
    starts = np.arange(total) - staleness
    arrives = np.full(total + 1, total)
    # Version 0 starts all workers at once, and no wavefront has to wait for it.
    late = np.flatnonzero(starts > 0)
    np.minimum.at(arrives, starts[late], late)
    return np.minimum.accumulate(arrives[::-1])[::-1][1:]


def wavefronts(blocked: Int[np.ndarray, " K"], first: int, until: int, lanes: int) -> list[Window]:
    """The fewest wavefronts of at most `lanes` updates that cover updates `first` to `until`."""
    windows, at = [], first
    while at < until:
        end = min(int(blocked[at]), at + lanes, until)
        windows.append((at, end - at))
        at = end
    return windows


def plan(
    staleness: Int[np.ndarray, "P K"], eval_every: int, together: int, platform: str, lanes: int | None
) -> tuple[int, list[list[list[Window]]]]:
    """Lanes of a wavefront, and the wavefronts between evaluations: [chunk][profile][window].

    Args:
        staleness: of the updates of every profile.
        eval_every: updates between evaluations, which no wavefront may cross.
        together: hyperparameters x seeds that share a profile's schedule.
        platform: of the device, for what a batch costs beyond its lanes.
        lanes: at most; None chooses what costs least, one at a time included.
    """
    profiles, total = staleness.shape
    blocked = [next_blocked(row) for row in staleness]
    firsts = range(0, total, eval_every)

    def cut(lanes: int) -> list[list[list[Window]]]:
        return [
            [wavefronts(row, first, min(first + eval_every, total), lanes) for row in blocked]
            for first in firsts
        ]

    if lanes is not None:
        windows = cut(lanes)
        return _widest(windows), windows
    launch = _LAUNCH.get(platform, _LAUNCH_ELSEWHERE)
    best: tuple[float, int, list[list[list[Window]]]] | None = None
    for width in _widths(_widest(cut(total))):
        windows = cut(width)
        # Profiles go in step, so that the one with most wavefronts decides.
        steps = sum(max(len(each) for each in chunk) for chunk in windows)
        cost = steps * (launch + width * profiles * together)
        if best is None or cost < best[0]:
            best = (cost, width, windows)
    assert best is not None
    return best[1], best[2]


def _widths(widest: int) -> list[int]:
    """1, 2, 3, 4, 6, 9, ... and the widest."""
    widths = [1]
    while widths[-1] < widest:
        widths.append(min(max(widths[-1] + 1, widths[-1] * 3 // 2), widest))
    return widths


def _widest(windows: list[list[list[Window]]]) -> int:
    return max(size for chunk in windows for each in chunk for _, size in each)


def table(chunk: list[list[Window]], steps: int, lanes: int) -> Int32[np.ndarray, "P W L"]:
    """Updates in the lanes of each wavefront, -1 where there is none."""
    updates = np.full((len(chunk), steps, lanes), -1, np.int32)
    for profile, windows in enumerate(chunk):
        for step, (first, size) in enumerate(windows):
            updates[profile, step, :size] = np.arange(first, first + size)
    return updates


class Lanes(NamedTuple):
    """Gradients of wavefronts.

    Attributes:
        update: i32[P, W, L], the update that a gradient makes, -1 for none.
        worker: i32[P, W, L], who computes it.
        version: i32[P, W, L], updates that its starting model had seen.
        starts: bool[P, W, L, n], which workers start their next gradient right after the update; None
            where that is the update's own worker.
    """

    update: Int[Array, "..."]
    worker: Int[Array, "..."]
    version: Int[Array, "..."]
    starts: Bool[Array, "..."] | None


class ArrivalProgram(Program):
    """Trains a method whose gradients update the server one by one.

    Attributes:
        lanes: gradients of a wavefront at most.
        useful: share of lanes that held a gradient.
    """

    def __init__(self, task: Task):
        collection, iterations = task.method.collection, task.iterations
        assert isinstance(collection, Asynchronous)
        profile = task.needed()
        network = task.network("parallel")
        found = []
        for key in task.clocks():
            arrivals = collection.arrivals(profile, iterations, key=key, comm_model=network)
            verify(arrivals, profile)
            check_ends(arrivals.time, profile)
            found.append((arrivals.time, arrivals.worker, arrivals.staleness))
        times, *others = (np.stack(column, axis=-2) for column in zip(*found, strict=True))
        self.worker, staleness = (x.reshape(-1, iterations) for x in others)
        self.n, self.refuses = profile.n, collection.rule is not None
        self.version = np.arange(iterations, dtype=np.int32) - staleness
        together = len(task.seeds) * int(np.prod(task.method.leaf_shape, dtype=int))
        self.lanes, windows = plan(
            staleness, task.eval_every, together, jax.default_backend(), collection.lanes
        )
        self.blocked = [next_blocked(row) for row in staleness]
        used = sum(max(len(each) for each in chunk) for chunk in windows)
        self.useful = iterations / (used * self.lanes)
        super().__init__(task, times, np.ones(staleness.shape, int))

    @property
    def workers(self) -> int:
        """n."""
        return self.n

    def advance(self, state: RunState, keys: RunKeys, done: int, until: int) -> tuple[RunState, Record]:
        """Runs after update `until` - 1, and what happened in between; the state is consumed."""
        chunk = [wavefronts(row, done, until, self.lanes) for row in self.blocked]
        # As many wavefronts as there can be, so that one program serves all; those left cost nothing.
        update = table(chunk, self.task.eval_every, self.lanes)
        profile = np.arange(len(update))[:, None, None]
        worker, version = self.worker[profile, update], self.version[profile, update]
        starts = jnp.asarray(self._starts(update)) if self.refuses else None
        lanes = Lanes(jnp.asarray(update), jnp.asarray(worker), jnp.asarray(version), starts)
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

    def _starts(self, update: Int32[np.ndarray, "P W L"]) -> Bool[np.ndarray, "P W L n"]:
        """Which workers start the gradient that they deliver next at the model after each update.

        Where a rule refuses gradients, that need not be the worker of the update.
        """
        found = np.zeros((*update.shape, self.n), bool)
        for p, (worker, version) in enumerate(zip(self.worker, self.version, strict=True)):
            step, lane = np.nonzero(update[p] >= 0)
            place = np.full(len(version) + 1, -1)  # the last entry is for version 0
            place[update[p, step, lane]] = np.arange(len(step))
            made = place[version - 1]
            here = made >= 0
            found[p, step[made[here]], lane[made[here]], worker[here]] = True
        return found


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def advance(
    problem: Problem,
    rule: UpdateRule,
    split: Split | None,
    leaves: Leaves,
    state: RunState,
    keys: RunKeys,
    lanes: Lanes,
) -> tuple[RunState, Record]:
    """Advance all runs by at most W wavefronts; records have axes [W, P, A, S, L]."""
    inputs = (runs.LEAVES, runs.ALL, runs.SEEDS, runs.SCHEDULES)
    program = functools.partial(_advance, problem, rule)
    program = runs.over_devices(program, split, inputs, (runs.ALL, runs.RECORD))
    return program(leaves, state, keys, lanes)


def _advance(
    problem: Problem, rule: UpdateRule, leaves: Leaves, state: RunState, keys: RunKeys, lanes: Lanes
) -> tuple[RunState, Record]:

    def play(w: Int[Array, ""], carry: tuple[RunState, Record]) -> tuple[RunState, Record]:
        state, records = carry
        now = jax.tree.map(lambda x: x[:, w], lanes)
        state, record = _wavefront(problem, rule, leaves, keys, now, state)
        return state, jax.tree.map(lambda all_, x: all_.at[w].set(x), records, record)

    _, count, width = lanes.update.shape
    shape = (count, *jax.tree.leaves(state)[0].shape[:3], width)
    records = Record(*[jnp.full(shape, jnp.nan, jnp.float32)] * 4)
    # Wavefronts that hold nothing come last and are not played.
    used = (lanes.update >= 0).any(axis=(0, 2)).sum()
    return jax.lax.fori_loop(0, used, play, (state, records))


def _wavefront(
    problem: Problem, rule: UpdateRule, leaves: Leaves, keys: RunKeys, lanes: Lanes, state: RunState
) -> tuple[RunState, Record]:
    """One wavefront of all runs: gradients in one batch, then the updates of each run in order."""

    def ask(leaf: Leaves, key: RunKeys, lanes: Lanes, run: RunState) -> Any:
        # The key of slot 0 of a round, so that the randomness is that of any other method.
        slot = jax.vmap(lambda k: runs.fold_in_all(jax.random.fold_in(key.train, k), 1))(lanes.update)
        points = jax.tree.map(lambda x: x[lanes.worker], run.points)
        return points, slot, lanes.worker[:, None], jnp.ones((len(slot), 1))

    def step(leaf: Leaves, key: RunKeys, lanes: Lanes, answer: tuple[RunState, Estimate]) -> Any:
        return _updates(problem, rule, leaf, lanes, *answer)

    estimates = runs.estimate_runs(problem, *runs.over_runs(ask)(leaves, keys, lanes, state))
    return runs.over_runs(step)(leaves, keys, lanes, (state, estimates))


def _updates(
    problem: Problem, rule: UpdateRule, leaf: Leaves, lanes: Lanes, run: RunState, estimates: Estimate
) -> tuple[RunState, Record]:
    """The updates of one run by the gradients of a wavefront."""
    optimiser = rule.at(leaf)

    def apply(run: RunState, lane: tuple[Lanes, Estimate]) -> tuple[RunState, Record]:
        (update, worker, version, starts), estimate = lane
        means = estimate.discounted[0], estimate.undiscounted[0]
        after, record = runs.step(problem, optimiser, run, estimate, means, version=version)
        held = update >= 0
        points = _begun(run.points, runs.point(problem, rule, after), worker, held, starts)
        params, state = _where(held, after[:2], run[:2])
        return RunState(params, state, points), record

    return jax.lax.scan(apply, run, (lanes, estimates))


def _begun(
    points: Params,
    point: Params,
    worker: Int[Array, ""],
    held: Bool[Array, ""],
    starts: Bool[Array, " n"] | None,
) -> Params:
    """Where each worker takes its gradient, after an update whose new point some workers start at."""
    if starts is None:
        # One row is chosen, as choosing between tables would copy them.
        row = jax.tree.map(lambda x, table: jnp.where(held, x, table[worker]), point, points)
        return jax.tree.map(lambda table, x: table.at[worker].set(x), points, row)

    def put(table: Array, x: Array) -> Array:
        return jnp.where(starts.reshape(-1, *[1] * x.ndim), x[None], table)

    return jax.tree.map(put, points, point)


def _where(condition: Bool[Array, ""], one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
