"""Models of what communication costs, and kappa from a message, a latency and a bandwidth.

A model of your own is a frozen dataclass with `pause`:

    >>> @dataclasses.dataclass(frozen=True)
    ... class Tree(Communication):
    ...     def pause(self, comm, alive, counts):
    ...         senders = (counts > 0).sum(axis=-1)
    ...         return jnp.ceil(jnp.log2(senders + 1.0)) * comm.max(axis=-1)
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float64, Num
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, in_range, whole
from jaxnigt.registry import declare, entries, make, named, register


@dataclasses.dataclass(frozen=True)
class Communication(abc.ABC):
    """How the messages of a round, or of single gradients, share the network.

    Attributes:
        rounds: whether the model is defined for rounds.
        arrivals: whether the model is defined for gradients that update the server one by one.
        early: a worker that knows its share sends it as soon as it is computed, not at the end.
        travels: a gradient counts kappa_i seconds after it is computed, and nothing is added at the end.
        one_link: single gradients go one after another over one link, not side by side.
    """

    rounds: ClassVar[bool] = True
    arrivals: ClassVar[bool] = False
    early: ClassVar[bool] = False
    travels: ClassVar[bool] = False
    one_link: ClassVar[bool] = False

    @abc.abstractmethod
    def pause(
        self, comm: Float64[Any, "... n"], alive: Bool[Any, "... n"], counts: Num[Any, "... n"]
    ) -> Float64[Any, "..."]:
        """Seconds between the end of a round's collection and the end of the round.

        It may use jax.numpy, methods of arrays or the array API, as it is called with NumPy and with JAX
        arrays: kappa_i in seconds, 0 for dead workers; who is alive; and the counts of the round.
        """

    def __str__(self) -> str:
        return named(self)


declare("communication", Communication)


def _where(chosen: Any, comm: Any) -> Any:
    """The times of some workers, 0 for the others."""
    return comm.__array_namespace__().where(chosen, comm, 0.0)


@register("allreduce")
@dataclasses.dataclass(frozen=True)
class AllReduce(Communication):
    """All live workers take part, so the slowest live link decides: max_i kappa_i."""

    def pause(self, comm: Any, alive: Any, counts: Any) -> Any:
        """The largest kappa_i of live workers."""
        return _where(alive, comm).max(axis=-1)


@register("server")
@dataclasses.dataclass(frozen=True)
class Server(Communication):
    """Contributors send to a server side by side: max of kappa_i over those with counts > 0."""

    early: ClassVar[bool] = True

    def pause(self, comm: Any, alive: Any, counts: Any) -> Any:
        """The largest kappa_i of contributors."""
        return _where(counts > 0, comm).max(axis=-1)


@register("serial")
@dataclasses.dataclass(frozen=True)
class Serial(Communication):
    """The server's link carries one message at a time: the sum of kappa_i over contributors."""

    arrivals: ClassVar[bool] = True
    one_link: ClassVar[bool] = True

    def pause(self, comm: Any, alive: Any, counts: Any) -> Any:
        """The sum of kappa_i of contributors."""
        return _where(counts > 0, comm).sum(axis=-1)


@register("gather")
@dataclasses.dataclass(frozen=True)
class Gather(Communication):
    """Each gradient is under way for kappa_i seconds while others compute."""

    travels: ClassVar[bool] = True

    def pause(self, comm: Any, alive: Any, counts: Any) -> Any:
        """Nothing."""
        return _where(counts < 0, comm).sum(axis=-1)


@register("parallel")
@dataclasses.dataclass(frozen=True)
class Parallel(Communication):
    """Single gradients go side by side: a worker's cycle is its gradient and kappa_i."""

    rounds: ClassVar[bool] = False
    arrivals: ClassVar[bool] = True

    def pause(self, comm: Any, alive: Any, counts: Any) -> Any:
        """There are no rounds."""
        raise InputError("comm_model: 'parallel' is for asynchronous methods, rounds need another one.")


Model = Communication | str
"""What every `comm_model` argument takes: a model or its name."""


def model(given: Model, use: str) -> Communication:
    """A communication model from what the user gave, checked to be for "rounds" or for "arrivals"."""
    allowed = [
        name for name, entry in entries("communication").items() if getattr(entry.maker, use, True)
    ]
    if isinstance(given, str) and given not in allowed:
        raise InputError(f"comm_model: got {given!r}, allowed are {', '.join(allowed)}.")
    found = make("communication", given, "comm_model")
    if not getattr(found, use):
        raise InputError(f"comm_model: got {str(found)!r}, allowed are {', '.join(allowed)}.")
    return found


def _link(message: ArrayLike, latency: ArrayLike, bandwidth: ArrayLike) -> list[np.ndarray]:
    """What describes a link, checked and broadcast together."""
    given = {"message": message, "latency": latency, "bandwidth": bandwidth}
    found = [in_range(name, value, above=name == "bandwidth") for name, value in given.items()]
    try:
        return list(np.broadcast_arrays(*found))
    except ValueError:
        shapes = ", ".join(str(x.shape) for x in found)
        raise InputError(f"message: shapes {shapes} do not broadcast together.") from None


def ring_allreduce(
    n: int, message: ArrayLike, latency: ArrayLike, bandwidth: ArrayLike
) -> Float64[np.ndarray, "..."]:
    """kappa of a ring AllReduce: 2 (n - 1) latency + 2 message (n - 1) / (n bandwidth), in seconds.

    Args:
        n: workers in the ring.
        message: bytes of a gradient, 4 d for d float32 parameters.
        latency: seconds of one hop.
        bandwidth: bytes per second of one link.

    Example:
        >>> float(ring_allreduce(4, message=4e6, latency=1e-3, bandwidth=1e9))
        0.012
    """
    n = whole("n", n)
    message, latency, bandwidth = _link(message, latency, bandwidth)
    return np.asarray(2 * (n - 1) * latency + 2 * message * (n - 1) / n / bandwidth)


def parameter_server(
    message: ArrayLike, latency: ArrayLike, bandwidth: ArrayLike
) -> Float64[np.ndarray, "..."]:
    """kappa of a gradient sent up and a model sent down: 2 (latency + message / bandwidth), in seconds.

    Units are those of `ring_allreduce`; the link is the worker's.

    Example:
        >>> float(parameter_server(message=4e6, latency=1e-3, bandwidth=1e9))
        0.01
    """
    message, latency, bandwidth = _link(message, latency, bandwidth)
    return np.asarray(2 * (latency + message / bandwidth))
