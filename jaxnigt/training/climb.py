"""Runs methods for millions of rounds on hard instances in seconds, at one random draw a round.

The mean of a batch of zero-chain gradients at one point is the gradient with one coordinate multiplied
by a binomial draw, so that a round costs the same for every batch. The update rule is the method's own,
in float64, because a prescribed step can be as small as 1e-6 of the way that a coordinate has to go.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float64, Int32, Int64, Key

from jaxnigt import methods
from jaxnigt.bounds import prescribe
from jaxnigt.bounds.analysis import KINDS
from jaxnigt.checks import InputError, as_key, choice, whole
from jaxnigt.clock.batching import make_room
from jaxnigt.methods import Asynchronous, Collection, Method
from jaxnigt.problems.chains.chain import Chain, Function, ZeroChain
from jaxnigt.problems.chains.draws import BinomialTable, mean_factor
from jaxnigt.profiles import Profile
from jaxnigt.training.runs import Leaves, UpdateRule


@dataclasses.dataclass(frozen=True)
class Case:
    """One method on one hard instance.

    Attributes:
        problem: the instance.
        method: collection and update rule, with single hyperparameters.
        counts: gradients of each worker in a round, where workers have objectives of their own and the
            clock decides the counts (Malenia). By default the collection rule tells them.
        init_counts: likewise in the first round; by default `counts`.
        rounds: T, after which the parameters are certified to have reached the accuracy, if they are.
    """

    problem: Chain
    method: Method
    counts: Sequence[int] | None = None
    init_counts: Sequence[int] | None = None
    rounds: int | None = None

    def sizes(self) -> tuple[list[int], list[int]]:
        """The gradients of each worker in the first round, and in every other round.

        Raises:
            InputError: workers with objectives of their own, and a method that does not tell the counts.
        """
        if self.counts is not None:
            return list(self.init_counts or self.counts), list(self.counts)
        rule, workers = self.method.collection, self.problem.workers or 1
        sizes = self.method.init_batch or 0, rule.batch or 0
        if workers == 1:
            return [sizes[0]], [sizes[1]]
        if isinstance(rule, Collection) and rule.replayable(heterogeneous=True):
            first, others = (np.bincount(rule.slots(size, True)[0]).tolist() for size in sizes)
            if len(first) == len(others) == workers:
                return first, others
        raise InputError(
            f"counts: {self.method.name} needs the gradients of each of the {workers} workers here."
        )


class Climb(NamedTuple):
    """How far methods got. The axes are E cases, S seeds and C chunks.

    Attributes:
        to_accuracy: f64[E, S], the first t with |grad J(theta_t)| <= epsilon of the instance, inf if
            there is none. theta_t exists once t rounds are over.
        to_levels: f64[E, S], the first t at which every coordinate of theta_t is discovered.
        rounds: i64[C], the rounds done at the end of each chunk.
        norm: f64[E, S, C], the mean of |grad J(theta_t)| over the t of each chunk.
    """

    to_accuracy: Float64[np.ndarray, "E S"]
    to_levels: Float64[np.ndarray, "E S"]
    rounds: Int64[np.ndarray, " C"]
    norm: Float64[np.ndarray, "E S C"]


class _Run(NamedTuple):
    """One run: its point, the state of its update rule, and what it has reached."""

    x: Float64[Array, "*runs C T"]
    optimiser: Any
    to_accuracy: Float64[Array, "*runs"]
    to_levels: Float64[Array, "*runs"]
    norm: Float64[Array, "*runs"]


class _Task(NamedTuple):
    """A case as arrays. Stacked cases have an axis E in front."""

    function: Function
    leaf: Leaves
    epsilon: Float64[Array, "*E"]
    levels: Int32[Array, "*E C"]


_Draws = list[list[tuple[BinomialTable, Any]]]
"""For the first round and for the others: each worker's distribution of its M_i draws, and M_i p_i."""


def climb(
    cases: Sequence[Case],
    *,
    rounds: int,
    seeds: int = 1,
    key: int | np.integer | Array = 0,
    chunk: int = 4096,
    check_every: int = 1,
    stop: bool = True,
) -> Climb:
    """Run methods on hard instances until each has reached the accuracy of its instance.

    Args:
        cases: E methods with the same update rule, on instances with equally many workers and chains.
            Lengths, scales, accuracies, batches and hyperparameters may differ. All run in one program.
        rounds: the rounds at most, rounded up to whole chunks.
        seeds: S, independent runs of each case.
        key: a JAX key or an integer; consumed. The runs of a seed do not depend on the number of seeds.
        chunk: the rounds of one compiled call and of one entry of `Climb.norm`.
        check_every: only multiples of it are looked at as t. It divides `chunk`.
        stop: whether to stop after the chunk in which the last run reaches its accuracy.

    Raises:
        InputError: cases that cannot run together, or a number out of range.

    Example:
        >>> from jaxnigt.problems import chain
        >>> case = Case(chain(sigma=0.0, delta=24.0), methods.rennala_nigt(1, stepsize=0.2))
        >>> print(climb([case], rounds=64, chunk=64).to_levels)
        [[2.]]
    """
    rounds, seeds, chunk = whole("rounds", rounds), whole("seeds", seeds), whole("chunk", chunk)
    if chunk % whole("check_every", check_every):
        raise InputError(f"check_every: got {check_every}, divisors of chunk = {chunk} are allowed.")
    key = as_key("key", key)
    make_room()
    rule, norms = _rule(cases), []
    with jax.enable_x64(True):
        task, draws = _stack(cases), [_draws(case) for case in cases]
        runs = _initial(rule, task, seeds)
        for done in range(0, rounds, chunk):
            runs = _advance(rule, chunk, check_every, task, draws, runs, key, done)
            norms.append(np.asarray(runs.norm))
            if stop and np.isfinite(runs.to_accuracy).all():
                break
    accuracy, levels = np.asarray(runs.to_accuracy), np.asarray(runs.to_levels)
    return Climb(accuracy, levels, chunk * np.arange(1, len(norms) + 1), np.stack(norms, axis=-1))


def _rule(cases: Sequence[Case]) -> UpdateRule:
    """The update rule that all cases share."""
    members = [case.method for case in cases]
    if not members or len({(method.update, method.eval_params) for method in members}) > 1:
        raise InputError("cases: at least one is needed, and one update rule for all of them.")
    if any(method.leaf_shape for method in members):
        raise InputError("cases: hyperparameters must be single numbers, give one case for each.")
    return UpdateRule(members[0].update, members[0].eval_params)


def _stack(cases: Sequence[Case]) -> _Task:
    """All cases as arrays with an axis E in front. Shorter chains are padded with zero terms."""
    problems = [case.problem for case in cases]
    if len({(type(p.function), len(p.probability), p.shape[0]) for p in problems}) > 1:
        raise InputError("cases: instances must be of one kind, with as many workers and chains.")
    longest = max(p.shape[1] for p in problems)

    def arrays(case: Case) -> tuple[Any, ...]:
        kind: Any = type(case.problem.function)
        links, *others = case.problem.function
        padded = np.pad(links, [(0, 0)] * (links.ndim - 1) + [(0, longest - links.shape[-1])])
        leaf = {name: np.asarray(value, float) for name, value in case.method.hyperparameters.items()}
        return kind(padded, *others), leaf, np.asarray(case.problem.epsilon), case.problem.levels

    every = map(arrays, cases)
    return _Task(*jax.tree.map(lambda *each: jnp.stack([jnp.asarray(x) for x in each]), *every))


def _draws(case: Case) -> _Draws:
    """The distributions that the rounds of a case draw from."""
    problem, sizes = case.problem, case.sizes()
    return [list(zip(problem.tables(m), m * problem.probability, strict=True)) for m in sizes]


def _initial(rule: UpdateRule, task: _Task, seeds: int) -> _Run:
    """Runs at the origin, with axes [E, S]."""
    cases = len(task.epsilon)
    x = jnp.zeros((cases, seeds, task.levels.shape[-1], task.function[0].shape[-1]))
    per_seed = jax.vmap(lambda leaf, x: rule.at(leaf).init({"x": x}), (None, 0))
    never = jnp.full((cases, seeds), jnp.inf)
    return _Run(x, jax.vmap(per_seed)(task.leaf, x), never, never, jnp.zeros((cases, seeds)))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _advance(
    rule: UpdateRule,
    chunk: int,
    check_every: int,
    task: _Task,
    draws: list[_Draws],
    runs: _Run,
    key: Key[Array, ""],
    done: Int64[Array, ""],
) -> _Run:
    """All runs after `chunk` more rounds, with the mean norm of these rounds."""
    seeds, keys = runs.norm.shape[1], [jax.random.fold_in(key, e) for e in range(len(draws))]
    each = [_factors(own, k, seeds, chunk, done) for own, k in zip(draws, keys, strict=True)]
    factors = jnp.stack(each, axis=1)
    by_check = factors.reshape(chunk // check_every, check_every, *factors.shape[1:])
    look = jax.vmap(jax.vmap(_look, (None, 0, None)), (0, 0, None))
    advance = jax.vmap(jax.vmap(functools.partial(_round, rule), (None, 0, 0)))

    def one_round(runs: _Run, factors: Float64[Array, "E S W"]) -> tuple[_Run, None]:
        return advance(task, runs, factors), None

    def one_check(runs: _Run, now: tuple[Array, Array]) -> tuple[_Run, None]:
        return jax.lax.scan(one_round, look(task, runs, now[0]), now[1])

    checks = (done + check_every * jnp.arange(len(by_check))).astype(float)
    begin = runs._replace(norm=jnp.zeros_like(runs.norm))
    runs, _ = jax.lax.scan(one_check, begin, (checks, by_check))
    return runs._replace(norm=runs.norm / len(by_check))


def _factors(
    draws: _Draws, key: Key[Array, ""], seeds: int, chunk: int, done: Int64[Array, ""]
) -> Float64[Array, "K S W"]:
    """The factor of the undiscovered coordinate, for each round, seed and worker."""

    def of_seed(seed: Int64[Array, ""]) -> Float64[Array, "K W"]:
        own = jax.random.fold_in(jax.random.fold_in(key, seed), done)
        bits = jax.random.bits(own, (chunk, len(draws[0])), jnp.uint32)
        columns = []
        for w, (first, others) in enumerate(zip(*draws, strict=True)):
            column = mean_factor(others[0], others[1], bits[:, w])
            begin = mean_factor(first[0], first[1], bits[0, w])
            columns.append(column.at[0].set(jnp.where(done == 0, begin, column[0])))
        return jnp.stack(columns, axis=-1)

    return jax.vmap(of_seed, out_axes=1)(jnp.arange(seeds))


def _look(task: _Task, run: _Run, t: Float64[Array, ""]) -> _Run:
    """Note what theta_t has reached."""
    workers = len(task.function.terms) if isinstance(task.function, ZeroChain) else 1
    share = jnp.full(workers, 1 / workers)
    norm = jnp.linalg.norm(task.function.combine(run.x, share, share))
    climbed = (task.function.progress(run.x) >= task.levels).all()
    return run._replace(
        to_accuracy=jnp.minimum(run.to_accuracy, jnp.where(norm <= task.epsilon, t, jnp.inf)),
        to_levels=jnp.minimum(run.to_levels, jnp.where(climbed, t, jnp.inf)),
        norm=run.norm + norm,
    )


def _round(rule: UpdateRule, task: _Task, run: _Run, factor: Float64[Array, " W"]) -> _Run:
    """One aggregation and one step."""
    params = {"x": run.x}
    share = jnp.full_like(factor, 1 / len(factor))
    at = rule.eval_params(run.optimiser, params)["x"]
    descent = {"x": -task.function.combine(at, share, share * factor)}
    updates, optimiser = rule.at(task.leaf).update(descent, run.optimiser, params)
    moved: Any = optax.apply_updates(params, updates)
    return run._replace(x=moved["x"], optimiser=optimiser)


def prescribed_case(
    name: str, problem: Chain, workers: int | None = None, *, profile: Profile | None = None
) -> Case:
    """A method on a hard instance, with the parameters that are certified to reach its accuracy.

    Args:
        name: a Rennala, synchronous or m-synchronous method of `jaxnigt.methods`.
        problem: the instance, with its constants and its accuracy.
        workers: n for synchronous methods, m for m-synchronous ones; not needed with a profile.
        profile: a single one, for which the batches are the best that are certified.

    Raises:
        InputError: another method, missing workers, or workers beside a profile.

    Example:
        >>> from jaxnigt.problems import chain
        >>> prescribed_case("rennala_pg", chain()).method.init_batch
        8818
    """
    fixed = ("rennala_", "synchronous_", "m_synchronous_")  # The clock does not decide their batches.
    choice("name", name, [each for each in methods.__all__ if each.startswith(fixed) and each in KINDS])
    batch = None if name.startswith("rennala") else workers
    found = prescribe(name, problem.constants, problem.epsilon, batch=batch, profile=profile)
    make = getattr(methods, name)
    known = inspect.signature(make).parameters.keys() & found
    return Case(problem, make(**{key: found[key] for key in known}), rounds=int(found["rounds"]))


def virtual_seconds(
    case: Case, rounds: Float[np.ndarray, " S"], profile: Profile, *, comm_model: str = "allreduce"
) -> Float64[np.ndarray, "*profiles S"]:
    """The time at which a number of rounds is over. All rounds but the first take equally long.

    Args:
        case: the case whose rounds they are.
        rounds: how many, such as one case of `Climb.to_accuracy`; inf for never.
        profile: fixed times; leading axes are profiles.
        comm_model: as in `jaxnigt.clock`.

    Returns:
        Seconds for each profile and each number of rounds.

    Raises:
        InputError: random or varying times, or a method that has no rounds.

    Example:
        >>> import jaxnigt as jn
        >>> case = Case(jn.problems.chain(), jn.methods.rennala_pg(3))
        >>> print(virtual_seconds(case, np.array([0.0, 2.0, np.inf]), jn.Profile([1.0, 1.0])))
        [ 0.  4. inf]
    """
    collection = case.method.collection
    if isinstance(collection, Asynchronous):
        raise InputError(f"name: {case.method.name} has no rounds.")
    if not profile.fixed:
        raise InputError("profile: rounds are alike under fixed times only.")
    sizes = np.array([case.method.init_batch, collection.batch])
    end = collection.rounds(profile, sizes, comm_model=comm_model).end
    first, later = end[..., :1], np.diff(end, axis=-1)
    return np.where(rounds > 0, first + np.maximum(rounds - 1, 0) * later, 0.0)
