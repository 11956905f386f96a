"""Rounds on several devices: each sums its own slots, and one AllReduce adds up the sums.

Every aggregate of arXiv 2509.24305 is one weighted sum of trajectory gradients. So one `psum` is enough,
whatever the collection rule. It works for the devices of one process and for those of many under
`jax.distributed`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from jaxnigt.problems.base import Estimate, Evaluation, Params, Problem, Wrapped, estimated

AXIS = "slots"
_EVERYWHERE = PartitionSpec()


def mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of one axis, "slots", over devices; by default all of them, in every process."""
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (AXIS,))


def everywhere(over: Mesh) -> NamedSharding:
    """How an array lies that every device of a mesh has whole."""
    return NamedSharding(over, _EVERYWHERE)


def aggregate(
    problem: Problem,
    params: Params,
    keys: Key[Array, " B"],
    workers: Int[Array | np.ndarray, " B"],
    weights: Float[Array | np.ndarray, " B"],
    *,
    mesh: Mesh | None = None,
) -> Estimate:
    """One round: `problem.estimate` with its slots shared out over a mesh and summed by one psum.

    Under `jax.distributed` every process calls it with the same arguments and gets the same result.

    Args:
        problem: whose stochastic gradients they are.
        params: the point.
        keys: one a slot; consumed.
        workers: whose problem each slot samples.
        weights: of each slot: 1/M for Rennala, 1/(n M_i) for Malenia; 0 pads.
        mesh: of `jaxnigt.parallel.mesh`; by default all devices of all processes.

    Returns:
        What `problem.estimate` returns for all slots, on every device, up to rounding.

    Example:
        >>> from jaxnigt.problems import tabular
        >>> problem = tabular()
        >>> keys = jax.random.split(jax.random.key(0), 6)
        >>> theta = problem.init(jax.random.key(1))
        >>> slots = jnp.zeros(6, jnp.int32), jnp.full(6, 1 / 6)
        >>> one = problem.estimate(theta, keys, *slots).gradient["logits"]
        >>> bool(jnp.allclose(aggregate(problem, theta, keys, *slots).gradient["logits"], one))
        True
    """
    over = globals()["mesh"]() if mesh is None else mesh
    copies = everywhere(over)

    def shared(x: Any) -> Array:
        """The same array on all devices of all processes."""
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, copies, lambda index: x[index])

    data, kind = jax.random.key_data(keys), str(jax.random.key_impl(keys))
    arrays = jax.tree.map(shared, (params, data, workers, weights))
    return _aggregate(problem, over, kind, *arrays)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _aggregate(
    problem: Problem, over: Mesh, kind: str, params: Params, data: Array, workers: Array, weights: Array
) -> Estimate:
    keys = jax.random.wrap_key_data(data, impl=kind)
    one_run = jax.tree.map(lambda x: x[None], (params, keys, workers, weights))
    return jax.tree.map(lambda x: x[0], _estimates(problem, over, *one_run))


def _estimates(
    problem: Problem, over: Mesh, params: Params, keys: Array, workers: Array, weights: Array
) -> Estimate:
    """`problem.estimates` of slots [R, B] with B shared out, or with R where B is too small for that."""
    if keys.shape[1] < over.size and len(keys) > 1:
        return _by_runs(problem.estimates, over, params, keys, workers, weights)
    slots = keys.shape[1]
    padding = -slots % over.size

    def padded(x: Array) -> Array:
        return jnp.concatenate([x, jnp.repeat(x[:, :1], padding, axis=1)], axis=1)

    weights = jnp.concatenate([weights, jnp.zeros((len(weights), padding), weights.dtype)], axis=1)

    def local(params: Params, keys: Array, workers: Array, weights: Array) -> Estimate:
        own = estimated(problem, params, keys, workers, weights)
        discounted, undiscounted = jax.lax.all_gather(
            (own.discounted, own.undiscounted), AXIS, axis=1, tiled=True
        )
        observed = own.observed
        if observed is not None:
            observed = jax.vmap(problem.merge_observed)(jax.lax.all_gather(observed, AXIS, axis=1))
        return Estimate(jax.lax.psum(own.gradient, AXIS), discounted, undiscounted, observed)

    cut = PartitionSpec(None, AXIS)
    found = _mapped(local, over, (_EVERYWHERE, cut, cut, cut))(
        params, padded(keys), padded(workers), weights
    )
    return found._replace(
        discounted=found.discounted[:, :slots], undiscounted=found.undiscounted[:, :slots]
    )


def _by_runs(program: Callable[..., Any], over: Mesh, *arguments: Any) -> Any:
    """A program of arguments whose leaves have axis R in front, with R shared out and padded."""
    runs = len(jax.tree.leaves(arguments)[0])
    padding = -runs % over.size

    def padded(x: Array) -> Array:
        return jnp.concatenate([x, jnp.repeat(x[:1], padding, axis=0)])

    def local(*arguments: Any) -> Any:
        return jax.lax.all_gather(program(*arguments), AXIS, axis=0, tiled=True)

    cut = (PartitionSpec(AXIS),) * len(arguments)
    found = _mapped(local, over, cut)(*jax.tree.map(padded, arguments))
    return jax.tree.map(lambda x: x[:runs], found)


def _mapped(program: Callable[..., Any], over: Mesh, inputs: tuple[PartitionSpec, ...]) -> Any:
    """A program of parts whose results are the same on every device."""
    # Physics makes arrays of its own, whose replication shard_map cannot know.
    return jax.shard_map(program, mesh=over, in_specs=inputs, out_specs=_EVERYWHERE, check_vma=False)


class OverSlots(Wrapped):
    """A problem whose estimates share their slots, or runs, out over a mesh; see `over_slots`."""

    def __init__(self, problem: Problem, over: Mesh):
        super().__init__(problem)
        self.over = over

    def estimate(
        self,
        params: Params,
        keys: Key[Array, " B"],
        workers: Int[Array, " B"],
        weights: Float[Array, " B"],
    ) -> Estimate:
        """The problem's estimate with its slots shared out."""
        one_run = jax.tree.map(lambda x: x[None], (params, keys, workers, weights))
        return jax.tree.map(lambda x: x[0], self.estimates(*one_run))

    def estimates(
        self,
        params: Params,
        keys: Key[Array, "R B"],
        workers: Int[Array, "R B"],
        weights: Float[Array, "R B"],
    ) -> Estimate:
        """The problem's estimates of R runs with their slots shared out."""
        return _estimates(self.problem, self.over, params, keys, workers, weights)

    def evaluations(self, params: Params, keys: Key[Array, "R B"]) -> Evaluation:
        """The problem's evaluations with their runs shared out."""
        return _by_runs(self.problem.evaluations, self.over, params, keys)


@functools.lru_cache(maxsize=64)
def over_slots(problem: Problem, over: Mesh) -> Problem:
    """A problem for `jaxnigt.train` whose every round runs on all devices of a mesh.

    The same arguments give the same object, so that programs compiled for it are found again.
    """
    return OverSlots(problem, over)
