"""Training along schedules whose rounds have unequal sizes, in batches of one shape.

A profile takes its step after the batch that has its round's last block; see `jaxnigt.training.packing`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxnigt.clock import verify
from jaxnigt.methods.collection import Collection
from jaxnigt.problems.base import Estimate, Params, Problem
from jaxnigt.training import runs
from jaxnigt.training.packing import Places, blocks_of, layout, place, slots_of_counts
from jaxnigt.training.rounds import Program, Task, check_ends
from jaxnigt.training.runs import Leaves, Record, RunKeys, RunState, Split, UpdateRule

_SEGMENT = 32
"""Batches of one call. Their number is not known beforehand, and every shape is a program of its own."""


def keeps_whole(problem: Problem) -> bool:
    """Whether rounds cannot be cut, as a problem observes samples but cannot merge what it observed."""
    kind = type(problem)
    return kind.observe is not Problem.observe and kind.merge_observed is Problem.merge_observed


class Batches(NamedTuple):
    """J batches on a device.

    Attributes:
        profile: i32[J, L], P where a lane is empty.
        round: i32[J, L], since the beginning of training.
        first: i32[J, L], the first slot of a block.
        worker: i32[J, L, W], of each slot.
        weight: f32[J, L, W], of each slot, 0 for padding.
        over: bool[J, P], whose round is over with the batch.
        row: i32[J, P], where the record has the round that a profile is in.
    """

    profile: Array
    round: Array
    first: Array
    worker: Array
    weight: Array
    over: Array
    row: Array


class Sums(NamedTuple):
    """What the blocks of rounds under way have added up to. Axes [P, A, S] in front.

    Attributes:
        gradient: of the weighted gradients.
        discounted: of the returns of slots with a weight.
        undiscounted: likewise, undiscounted.
        used: how many slots have a weight.
        observed: what the problem has observed, None where it observes nothing.
    """

    gradient: Params
    discounted: Array
    undiscounted: Array
    used: Array
    observed: Any


class PackedProgram(Program):
    """Trains a method along schedules; every profile is one.

    Attributes:
        layout: of its batches, whose lanes hold blocks of any profile.
    """

    apart = False

    def __init__(self, task: Task):
        collection, profile = task.method.collection, task.needed()
        assert isinstance(collection, Collection)
        network, sizes = task.network("allreduce"), task.method.sizes(task.iterations)
        ends, counts = [], []
        for key in task.clocks():
            rounds = collection.rounds(profile, sizes, key=key, comm_model=network)
            verify(rounds, profile)
            check_ends(rounds.end, profile)
            assert rounds.counts is not None
            ends.append(rounds.end)
            counts.append(np.broadcast_to(rounds.counts, (*rounds.end.shape, profile.n)))
        times = np.stack(ends, axis=-2)
        self.counts = np.stack(counts, axis=-3).reshape(-1, task.iterations, profile.n)
        self.weigh = collection.weigh
        super().__init__(task, times, self.counts.sum(axis=-1))
        together = len(next(iter(self.leaves.values()))) * len(task.seeds)
        self.layout = layout(self.samples, task.eval_every, together, whole=keeps_whole(task.problem))

    def advance(self, state: RunState, keys: RunKeys, done: int, until: int) -> tuple[RunState, Record]:
        """Runs after round `until` - 1, and what happened in between; the state is consumed."""
        shapes = self.layout.width, self.task.eval_every
        carry = state, *_nothing(self.problem, self.split, *shapes, state, keys)
        for batches, count in self._segments(done, until):
            fixed = self.problem, self.rule, self.split
            carry = self.stopwatch.run(advance, *fixed, self.leaves, carry, keys, batches, count)
        state, _, record = carry
        return state, jax.tree.map(lambda x: np.asarray(x)[: until - done], record)

    def _segments(self, done: int, until: int) -> Iterator[tuple[Batches, int]]:
        """The batches of rounds `done` to `until`, a call's at a time, and how many there are."""
        width, lanes = self.layout.width, self.layout.lanes
        counts = self.counts[:, done:until]
        weights = self.weigh(counts)
        places = place(blocks_of(self.samples[:, done:until], width), lanes)
        for begin in range(0, len(places.profile), _SEGMENT):
            own = Places(*(x[begin : begin + _SEGMENT] for x in places))
            count = len(own.profile)
            padded = Places(*(np.pad(x, [(0, _SEGMENT - count), (0, 0)]) for x in own))
            profile = np.minimum(padded.profile, len(counts) - 1)
            first = padded.block * width
            worker, weight = slots_of_counts(
                counts[profile, padded.round], weights[profile, padded.round], width, first
            )
            weight[padded.profile == len(counts)] = 0.0
            numbers = padded.profile, padded.round + done, first, worker, weight, padded.over, padded.at
            yield Batches(*(jnp.asarray(_narrow(x)) for x in numbers)), count


def _narrow(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int32) if x.dtype == np.int64 else x


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _nothing(
    problem: Problem, split: Split | None, width: int, rounds: int, state: RunState, keys: RunKeys
) -> tuple[Sums, Record]:
    """The sums of no blocks, and a record of no rounds."""

    def one_run(params: Params, key: Any) -> Estimate:
        slots = jnp.zeros(width, jnp.int32), jnp.zeros(width, jnp.float32)
        own = params, runs.fold_in_all(key, width), *slots
        found = runs.estimate_runs(problem, *jax.tree.map(lambda x: x[None], own))
        return jax.tree.map(lambda x: x[0], found)

    def program(state: RunState, keys: RunKeys) -> tuple[Sums, Record]:
        shape = jax.tree.leaves(state)[0].shape[:3]
        params = jax.tree.map(lambda x: x[0, 0, 0], state.params)
        found = jax.eval_shape(one_run, params, keys.train[0])

        def zeros(like: Any) -> Array:
            return jnp.zeros((*shape, *like.shape), like.dtype)

        returned, none = jnp.zeros(shape, found.discounted.dtype), jnp.zeros(shape)
        gradient, observed = jax.tree.map(zeros, (found.gradient, found.observed))
        record = jnp.full((rounds, *shape), jnp.nan, jnp.float32)
        sums = Sums(gradient, returned, returned, none, observed)
        return sums, Record(record, record, record, record)

    outputs = runs.ALL, runs.RECORD
    return runs.over_devices(program, split, (runs.ALL, runs.SEEDS), outputs)(state, keys)


_Carry = tuple[RunState, Sums, Record]


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def advance(
    problem: Problem,
    rule: UpdateRule,
    split: Split | None,
    leaves: Leaves,
    carry: _Carry,
    keys: RunKeys,
    batches: Batches,
    count: Int[Array, ""],
) -> _Carry:
    """All runs after the first `count` of some batches."""
    places = runs.ALL, runs.ALL, runs.RECORD

    def program(leaves: Leaves, *rest: Any) -> _Carry:
        *carry, keys, batches, count = rest

        def one_batch(j: Array, carry: _Carry) -> _Carry:
            own = jax.tree.map(lambda x: x[j], batches)
            state, sums, record = carry
            sums = _add(problem, rule, keys, own, state, sums)
            return jax.lax.cond(
                own.over.any(),
                lambda: _step(problem, rule, leaves, own, state, sums, record),
                lambda: (state, sums, record),
            )

        return jax.lax.fori_loop(0, count, one_batch, tuple(carry))

    inputs = (runs.LEAVES, *places, runs.SEEDS, runs.NONE, runs.NONE)
    return runs.over_devices(program, split, inputs, places)(leaves, *carry, keys, batches, count)


def _add(
    problem: Problem, rule: UpdateRule, keys: RunKeys, batch: Batches, state: RunState, sums: Sums
) -> Sums:
    """Sums with the blocks of a batch."""
    lanes, (leaves, seeds) = batch.profile.shape[0], jax.tree.leaves(state)[0].shape[1:3]
    own = jax.tree.map(lambda x: x.at[batch.profile].get(mode="clip"), state)
    points = _vmap3(functools.partial(runs.point, problem, rule))(own)

    def samples(train: Array, round_: Array, first: Array) -> Array:
        slots = first + jnp.arange(batch.worker.shape[1])
        return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(train, round_), slots)

    by_seed = jax.vmap(jax.vmap(samples, (0, None, None)), (None, 0, 0))(
        keys.train, batch.round, batch.first
    )
    shape = (lanes, leaves, seeds, batch.worker.shape[1])

    def repeated(x: Array) -> Array:
        return jnp.broadcast_to(jnp.expand_dims(x, (1, 2)), shape)

    samples_of = jnp.broadcast_to(by_seed[:, None], shape)
    worker, weight = repeated(batch.worker), repeated(batch.weight)
    found = runs.estimate_runs(problem, points, samples_of, worker, weight)
    used = (weight > 0).astype(found.discounted.dtype)
    numbers = (
        found.gradient,
        (used * found.discounted).sum(axis=-1),
        (used * found.undiscounted).sum(axis=-1),
        used.sum(axis=-1).astype(sums.used.dtype),
    )
    gradient, discounted, undiscounted, count = jax.tree.map(
        lambda total, x: total.at[batch.profile].add(x, mode="drop"), tuple(sums[:4]), numbers
    )
    merged = _merge(problem, batch, sums.observed, found.observed)
    return Sums(gradient, discounted, undiscounted, count, merged)


def _merge(problem: Problem, batch: Batches, known: Any, observed: Any) -> Any:
    """What rounds have observed, lane by lane, as a profile may have several."""
    if observed is None:
        return None

    def both(old: Any, new: Any) -> Any:
        return problem.merge_observed(jax.tree.map(lambda *x: jnp.stack(x), old, new))

    def one_lane(lane: Array, known: Any) -> Any:
        profile = batch.profile[lane]
        new = jax.tree.map(lambda x: x[lane], observed)
        old = jax.tree.map(lambda x: x.at[profile].get(mode="clip"), known)
        begins = batch.first[lane] == 0
        merged = new if keeps_whole(problem) else jax.vmap(jax.vmap(both))(old, new)
        kept = jax.tree.map(lambda x, y: jnp.where(begins, x, y), new, merged)
        return jax.tree.map(lambda x, y: x.at[profile].set(y, mode="drop"), known, kept)

    return jax.lax.fori_loop(0, len(batch.profile), one_lane, known)


def _step(
    problem: Problem,
    rule: UpdateRule,
    leaves: Leaves,
    batch: Batches,
    state: RunState,
    sums: Sums,
    record: Record,
) -> _Carry:
    """A step of every profile whose round is over, and what is recorded of it."""

    def one_run(leaf: Leaves, run: RunState, own: Sums) -> tuple[RunState, Record]:
        means = own.discounted / own.used, own.undiscounted / own.used
        estimate = Estimate(own.gradient, means[0][None], means[1][None], own.observed)
        return runs.step(problem, rule.at(leaf), run, estimate, means)

    def chosen(new: Array, old: Array) -> Array:
        over = batch.over.reshape(-1, *[1] * (new.ndim - 1))
        return jnp.where(over, new, old)

    each = jax.vmap(jax.vmap(jax.vmap(one_run, (None, 0, 0)), (0, 0, 0)), (None, 0, 0))
    after, happened = each(leaves, state, sums)
    state = jax.tree.map(chosen, after, state)
    # What profiles record that are not at a round's end goes to a row that there is not.
    rows = jnp.where(batch.over, batch.row, len(record.gradient_norm))
    profiles = jnp.arange(len(rows))
    record = jax.tree.map(lambda x, y: x.at[rows, profiles].set(y, mode="drop"), record, happened)
    sums = jax.tree.map(lambda x: chosen(jnp.zeros_like(x), x), sums)
    return state, sums, record


def _vmap3(function: Any) -> Any:
    return jax.vmap(jax.vmap(jax.vmap(function)))
