"""How a clock runs: in double precision, in blocks of profiles."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64
from numpy.typing import ArrayLike

from jaxnigt import checks
from jaxnigt.checks import MOST, InputError, answer, as_key, as_numbers, room, whole
from jaxnigt.clock.pace import Pace
from jaxnigt.profiles import Profile
from jaxnigt.registry import kind_of

# Bytes that the results of one block of profiles take; what a block works with is of the same order.
_BLOCK_BYTES = 64 * 2**20
# Numbers (profiles x workers x pieces of time) of one block, so that they stay in a CPU's cache.
_BLOCK_NUMBERS = 2**17
# Bytes of results from which it pays to run two blocks at a time.
_WORTH_TWO = 2**20

_MAPS, _MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")

Kernel = Callable[..., Any]
"""(pace, comm f64[n], key, *shared) -> arrays, for one profile; hashable."""


def make_room() -> None:
    """Forget all compiled programs where this process can hold few more.

    On Linux a program for a CPU takes many maps of memory, and a process may have so many and no more.
    XLA dies of a segmentation fault when none is left. Programs that are still needed are compiled
    again, or read from the compilation cache.
    """
    if _MAPS.exists() and _MOST_MAPS.exists():
        with _MAPS.open("rb") as maps:
            held = sum(1 for _ in maps)
        if held > int(_MOST_MAPS.read_text()) // 2:
            jax.clear_caches()
            _plan.cache_clear()  # so that this is asked again for shapes that come again


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Compute in float64 inside this context only, on hardware that has it."""
    # TPUs emulate float64 and lose the exact order of events, so the clock runs on the host there.
    device = jax.devices("cpu")[0] if jax.default_backend() == "tpu" else None
    with jax.enable_x64(True), jax.default_device(device):
        yield


def asked(question: Any, shape: tuple[int, ...], kinds: str, *arguments: Any) -> Any:
    """What a method of the user's rule or model answers, by JAX's usual promotion of types and ranks.

    Raises:
        InputError: a method that raises something, or an answer of another shape or kind of number.
    """
    kind = kind_of(type(question.__self__))
    argument = "comm_model" if kind == "communication" else "rule"
    where = f"{argument}: {type(question.__self__).__name__}.{question.__name__}"
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return answer(where, checks.asked(where, lambda: question(*arguments)), shape, kinds)


def paused(pause: Any, comm: Array, alive: Array, counts: Array) -> Float64[Array, ""]:
    """What a model of the network answers; NaN, which no check lets pass, where it is negative."""
    # The selection also keeps a compiler from fusing a product of the model's with the sum that follows.
    found = asked(pause, comm.shape[:-1], "iuf", comm, alive, counts)
    seconds = jnp.asarray(found).astype(jnp.float64)
    return jnp.where(seconds < 0, jnp.nan, seconds)


def over_profiles(
    kernel: Kernel, profile: Profile, key: int | np.integer | Array | None, *shared: np.ndarray
) -> Any:
    """Call a kernel for every profile, in blocks of one shape; NumPy with the leading axes.

    Raises:
        InputError: random times without a key.
    """
    if profile.noise is not None and key is None:
        raise InputError("key: random times need a JAX key or an integer, got None.")
    key = as_key("key", 0 if key is None else key)
    count = int(np.prod(profile.shape, dtype=int))
    h, comm = (x.reshape(count, profile.n) for x in (profile.compute, profile.comm))
    breaks, power = profile.power or (np.zeros(0), np.ones((1, profile.n)))
    power = np.broadcast_to(power, (*profile.shape, *power.shape[-2:])).reshape(count, *power.shape[-2:])
    with double_precision():

        def block(which: np.ndarray) -> tuple[Any, ...]:
            return (h[which], comm[which], power[which], which), (breaks, key, *shared)

        arguments, structure = jax.tree.flatten(block(np.zeros(1, int)))
        size, result = _plan(kernel, tuple(map(jax.typeof, arguments)), structure, count)
    shapes, structure = jax.tree.flatten(result)
    out = [np.empty((count, *x.shape[1:]), x.dtype) for x in shapes]

    def run(first: int) -> None:
        # The last block is filled up with its last profile, so that one program serves all.
        which = np.minimum(np.arange(first, first + size), count - 1)
        with double_precision():  # which is a setting of the thread
            results = jax.tree.leaves(_vmapped(kernel, *block(which)))
        for place, part in zip(out, results, strict=True):
            place[first : first + size] = np.asarray(part)[: count - first]

    # Two blocks at a time: many small operations leave cores idle, and devices between transfers.
    with contextlib.ExitStack() as stack:
        many = size < count
        over = stack.enter_context(ThreadPoolExecutor(2)).map if many else map
        list(over(run, range(0, count, size)))
    return jax.tree.unflatten(structure, [x.reshape(*profile.shape, *x.shape[1:]) for x in out])


@functools.lru_cache(1024)
def _plan(kernel: Kernel, arguments: tuple[Any, ...], structure: Any, count: int) -> tuple[int, Any]:
    """Profiles of a block, and the result's types for a block of one. A new shape is a new program."""
    make_room()
    one = jax.tree.unflatten(structure, arguments)
    result = jax.eval_shape(functools.partial(_vmapped, kernel), *one)
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(result))
    power = one[0][2]
    half = -(-count // 2) if count * size >= _WORTH_TWO else count
    return max(1, min(half, _BLOCK_BYTES // max(1, size), _BLOCK_NUMBERS // power.size)), result


@functools.partial(jax.jit, static_argnums=0)
def _vmapped(kernel: Kernel, each: tuple[Array, ...], common: tuple[Any, ...]) -> Any:
    """A kernel over h, comm, power and index of each profile; breaks, key and the rest are shared."""
    breaks, key, *shared = common

    def one(h: Array, comm: Array, power: Array, index: Array) -> Any:
        comm = jnp.where(jnp.isfinite(h), comm, 0.0)  # what a dead worker has there may be anything
        return kernel(Pace(h, breaks, power), comm, jax.random.fold_in(key, index), *shared)

    return jax.vmap(one)(*each)


def per_round(name: str, value: ArrayLike, rounds: int) -> np.ndarray:
    """Check a whole number, or one for each of K rounds, and return i64[K]."""
    room("rounds", rounds)
    if not isinstance(value, np.ndarray | list | tuple | range | jax.Array) or value is np.ma.masked:
        return np.full(rounds, whole(name, value))
    values = as_numbers(name, value, "whole numbers")
    if not values.ndim:
        return np.full(rounds, whole(name, np.asarray(value)[()]))
    good = (values >= 1) & (values <= MOST) & (values == np.floor(values))
    if values.shape != (rounds,) or not good.all():
        raise InputError(f"{name}: one whole number of at least 1, or one for each of {rounds} rounds.")
    return values.astype(np.int64)
