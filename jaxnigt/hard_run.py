"""Millions of rounds on a hard instance in seconds: one draw a round, and no trace of every round.

The mean of a batch of zero-chain gradients at one point is the gradient with one coordinate multiplied
by a Binomial draw, so that a round costs the same whatever its batch. The update rule is the method's
own, in float64: prescribed steps can be as small as 1e-6 of what a coordinate has to travel.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float64, Int32, Int64, Key

from jaxnigt.checks import InputError, whole
from jaxnigt.methods.collection import Synchronous
from jaxnigt.methods.method import Method
from jaxnigt.problems.chain import Chain
from jaxnigt.problems.hard_chains import QuadraticChain, ZeroChain
from jaxnigt.problems.hard_draws import BinomialTable, mean_factor
from jaxnigt.runs import Leaves, Rule, transformation


@dataclasses.dataclass(frozen=True)
class Case:
    """One method on one hard instance.

    Attributes:
        problem: the instance.
        method: collection and update rule with single hyperparameters.
        counts: gradients of each worker in a round, where workers have objectives of their own and the
            clock decides them (Malenia); by default what the collection rule says.
        init_counts: likewise in the first round; by default `counts`, where those are given.
    """

    problem: Chain
    method: Method
    counts: Sequence[int] | None = None
    init_counts: Sequence[int] | None = None

    def sizes(self) -> tuple[list[int], list[int]]:
        """Gradients of each worker in the first round and in the others."""
        if self.counts is not None:
            first = self.counts if self.init_counts is None else self.init_counts
            return list(first), list(self.counts)
        rule, workers = self.method.collection, self.problem.workers or 1
        sizes = self.method.init_batch, rule.batch
        if workers == 1:
            return [sizes[0]], [sizes[1]]
        if not isinstance(rule, Synchronous) or rule.workers != workers:
            raise InputError(
                f"counts: {self.method.name} needs the gradients of each of the {workers} workers here."
            )
        return [sizes[0] // workers] * workers, [1] * workers


class Climb(NamedTuple):
    """How far methods got; axes E cases, S seeds, C chunks.

    Attributes:
        to_accuracy: f64[E, S], the first t at which |grad J(theta_t)| <= epsilon of the instance; inf if
            never. Round t ends after theta_t has been used, so theta_t exists once t rounds are over.
        to_levels: f64[E, S], the first t at which every coordinate of theta_t is discovered.
        rounds: i64[C], rounds done at the end of each chunk.
        norm: f64[E, S, C], mean of |grad J(theta_t)| over the t of each chunk.
    """

    to_accuracy: Float64[np.ndarray, "E S"]
    to_levels: Float64[np.ndarray, "E S"]
    rounds: Int64[np.ndarray, " C"]
    norm: Float64[np.ndarray, "E S C"]


class _Run(NamedTuple):
    """One run: where it stands and what it has reached."""

    x: Float64[Array, "*runs C T"]
    optimiser: Any
    to_accuracy: Float64[Array, "*runs"]
    to_levels: Float64[Array, "*runs"]
    norm: Float64[Array, "*runs"]


class _Task(NamedTuple):
    """What a case is, as arrays; with an axis E in front where cases are stacked."""

    function: ZeroChain | QuadraticChain
    leaf: Leaves
    epsilon: Float64[Array, "*E"]
    levels: Int32[Array, "*E C"]


class _Draws(NamedTuple):
    """Tables of the draws of one case, for each worker: of its first round and of the others."""

    first: list[BinomialTable]
    others: list[BinomialTable]
    expected: Float64[Array, "2 W"]


def climb(
    cases: Sequence[Case],
    *,
    rounds: int,
    seeds: int = 1,
    key: int | Key[Array, ""] = 0,
    chunk: int = 4096,
    check_every: int = 1,
    stop: bool = True,
) -> Climb:
    """Run methods on hard instances until each has reached its accuracy.

    Args:
        cases: E methods with the same update rule on instances with the same numbers of workers and
            chains. Lengths, scales, accuracies, batches and hyperparameters may differ: all run in one
            program.
        rounds: rounds at most, rounded up to whole chunks.
        seeds: S, independent runs of each case.
        key: a JAX key or an integer; consumed. Runs of a seed do not depend on how many there are.
        chunk: rounds of one compiled call and of one entry of `Climb.norm`.
        check_every: theta_t is looked at for multiples of it alone; a divisor of `chunk`.
        stop: whether to stop after the chunk in which the last run has reached its accuracy.

    Raises:
        InputError: cases that cannot run together, or a number out of range.
    """
    rounds, seeds, chunk = whole("rounds", rounds), whole("seeds", seeds), whole("chunk", chunk)
    if chunk % whole("check_every", check_every):
        raise InputError(f"check_every: got {check_every}, divisors of chunk = {chunk} are allowed.")
    key = jax.random.key(key) if isinstance(key, int) else key
    rule = _rule(cases)
    norms = []
    with jax.enable_x64(True):
        task, draws = _stack(cases), [_draws(case) for case in cases]
        runs = _initial(rule, task, seeds)
        for done in range(0, rounds, chunk):
            runs = _advance(rule, chunk, check_every, task, draws, runs, key, done)
            norms.append(np.asarray(runs.norm))
            if stop and np.isfinite(runs.to_accuracy).all():
                break
    ends = chunk * np.arange(1, len(norms) + 1)
    reached = np.asarray(runs.to_accuracy), np.asarray(runs.to_levels)
    return Climb(*reached, ends, np.stack(norms, axis=-1))


def _rule(cases: Sequence[Case]) -> Rule:
    """The update rule that all cases share."""
    methods = [case.method for case in cases]
    if not methods or len({(method.update, method.eval_params) for method in methods}) > 1:
        raise InputError("cases: at least one is needed, and one update rule for all of them.")
    if any(method.leaf_shape for method in methods):
        raise InputError("cases: hyperparameters must be single numbers, give one case for each.")
    return methods[0].update, methods[0].eval_params


def _stack(cases: Sequence[Case]) -> _Task:
    """All cases as arrays with an axis E in front, shorter chains padded with nothing."""
    problems = [case.problem for case in cases]
    if len({(type(p.function), len(p.probability), p.shape[0]) for p in problems}) > 1:
        raise InputError("cases: instances must be of one kind, with as many workers and chains.")
    longest = max(p.shape[1] for p in problems)

    def padded(problem: Chain) -> ZeroChain | QuadraticChain:
        links, *others = problem.function
        widths = [(0, 0)] * (links.ndim - 1) + [(0, longest - links.shape[-1])]
        return type(problem.function)(np.pad(links, widths), *others)  # pyright: ignore[reportArgumentType]

    tasks = [
        _Task(
            padded(case.problem),
            {name: np.asarray(value, float) for name, value in case.method.hyperparameters.items()},
            np.asarray(case.problem.epsilon, float),  # pyright: ignore[reportArgumentType]
            case.problem.levels,  # pyright: ignore[reportArgumentType]
        )
        for case in cases
    ]
    return jax.tree.map(lambda *each: jnp.stack([jnp.asarray(x) for x in each]), *tasks)


def _draws(case: Case) -> _Draws:
    """What the rounds of a case draw from."""
    sizes = np.asarray(case.sizes())
    first, others = (case.problem.tables(size.tolist()) for size in sizes)
    return _Draws(first, others, jnp.asarray(sizes * case.problem.probability))


def _initial(rule: Rule, task: _Task, seeds: int) -> _Run:
    """Runs at the origin, axes [E, S]."""
    cases = len(task.epsilon)
    links = task.function[0]
    x = jnp.zeros((cases, seeds, task.levels.shape[-1], links.shape[-1]))
    per_seed = jax.vmap(lambda leaf, x: transformation(rule, leaf).init({"x": x}), (None, 0))
    never = jnp.full((cases, seeds), jnp.inf)
    return _Run(x, jax.vmap(per_seed)(task.leaf, x), never, never, jnp.zeros((cases, seeds)))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _advance(
    rule: Rule,
    chunk: int,
    check_every: int,
    task: _Task,
    draws: list[_Draws],
    runs: _Run,
    key: Key[Array, ""],
    done: Int64[Array, ""],
) -> _Run:
    """All runs after `chunk` more rounds; the mean norm is that of these rounds."""
    seeds = runs.norm.shape[1]
    factors = jnp.stack(
        [_factors(each, jax.random.fold_in(key, e), seeds, chunk, done) for e, each in enumerate(draws)],
        axis=1,
    )
    by_check = factors.reshape(chunk // check_every, check_every, *factors.shape[1:])
    over_seeds = jax.vmap(functools.partial(_look, rule), (None, 0, None))
    look = jax.vmap(over_seeds, (0, 0, None))
    over_seeds = jax.vmap(functools.partial(_round, rule), (None, 0, 0))
    advance = jax.vmap(over_seeds)

    def one_round(runs: _Run, factors: Float64[Array, "E S W"]) -> tuple[_Run, None]:
        return advance(task, runs, factors), None

    def one_check(runs: _Run, now: tuple[Array, Array]) -> tuple[_Run, None]:
        t, factors = now
        return jax.lax.scan(one_round, look(task, runs, t), factors)

    checks = (done + check_every * jnp.arange(len(by_check))).astype(float)
    runs = runs._replace(norm=jnp.zeros_like(runs.norm))
    runs, _ = jax.lax.scan(one_check, runs, (checks, by_check))
    return runs._replace(norm=runs.norm / len(by_check))


def _factors(
    draws: _Draws, key: Key[Array, ""], seeds: int, chunk: int, done: Int64[Array, ""]
) -> Float64[Array, "K S W"]:
    """Means of what each worker draws in each round."""

    def of_seed(seed: Int64[Array, ""]) -> Float64[Array, "K W"]:
        bits = jax.random.bits(
            jax.random.fold_in(jax.random.fold_in(key, seed), done),
            (chunk, len(draws.first)),
            jnp.uint32,
        )
        columns = []
        for w, (first, others) in enumerate(zip(draws.first, draws.others, strict=True)):
            column = mean_factor(others, draws.expected[1, w], bits[:, w])
            begin = mean_factor(first, draws.expected[0, w], bits[0, w])
            columns.append(column.at[0].set(jnp.where(done == 0, begin, column[0])))
        return jnp.stack(columns, axis=-1)

    return jax.vmap(of_seed, out_axes=1)(jnp.arange(seeds))


def _look(rule: Rule, task: _Task, run: _Run, t: Float64[Array, ""]) -> _Run:
    """Note what theta_t has reached."""
    del rule
    workers = task.function.terms.shape[0] if isinstance(task.function, ZeroChain) else 1
    share = jnp.full(workers, 1 / workers)
    norm = jnp.linalg.norm(task.function.combine(run.x, share, share))
    climbed = (task.function.progress(run.x) >= task.levels).all()
    return run._replace(
        to_accuracy=jnp.minimum(run.to_accuracy, jnp.where(norm <= task.epsilon, t, jnp.inf)),
        to_levels=jnp.minimum(run.to_levels, jnp.where(climbed, t, jnp.inf)),
        norm=run.norm + norm,
    )


def _round(rule: Rule, task: _Task, run: _Run, factor: Float64[Array, " W"]) -> _Run:
    """One aggregation and one step."""
    params = {"x": run.x}
    share = jnp.full_like(factor, 1 / len(factor))
    at = rule[1](run.optimiser, params)["x"]
    descent = {"x": -task.function.combine(at, share, share * factor)}
    updates, optimiser = transformation(rule, task.leaf).update(descent, run.optimiser, params)
    moved: Any = optax.apply_updates(params, updates)
    return run._replace(x=moved["x"], optimiser=optimiser)
