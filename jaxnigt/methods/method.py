"""A method is a collection times an update rule."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optax
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, as_numbers, whole
from jaxnigt.clock.rules import sizes
from jaxnigt.methods.collection import Asynchronous, Collection
from jaxnigt.registry import declare, named

Params = Any


def at_params(state: Any, params: Params) -> Params:
    """The evaluation point of update rules that take gradients at the params themselves."""
    return params


@dataclasses.dataclass(frozen=True)
class Method:
    """Which gradients enter a round, and what is done with their weighted sum.

    Attributes:
        name: how results are labelled.
        collection: `Collection(rule, weights)` or `Asynchronous(rule)`; static.
        update: makes an optax transformation from the hyperparameters; static. It is handed gradients of
            -J, because optax minimises.
        init_batch: gradients of the first round, M_init; the batch of the collection by default; static.
        eval_params: (state, params) -> the point at which gradients are taken; static.
        hyperparameters: the arguments of `update`, numbers or arrays. Arrays are broadcast together, and
            training runs all their entries at once.

    Raises:
        InputError: an argument of the wrong kind, or hyperparameters that `update` does not take.

    Example:
        >>> from jaxnigt.clock import Rennala
        >>> from jaxnigt.methods import Collection
        >>> adam = Method("rennala_adam", Collection(Rennala(20)), optax.adam,
        ...               hyperparameters={"learning_rate": [1e-3, 1e-2]})
        >>> adam.leaf_shape
        (2,)
    """

    name: str
    collection: Collection | Asynchronous
    update: Callable[..., optax.GradientTransformation]
    init_batch: int | None = None
    eval_params: Callable[[Any, Params], Params] = at_params
    hyperparameters: Mapping[str, ArrayLike] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.collection, Collection | Asynchronous):
            raise InputError(
                f"collection: got {self.collection!r}, a Collection or an Asynchronous is allowed."
            )
        self._check_update()
        batch = self.collection.batch
        if self.init_batch is None:
            object.__setattr__(self, "init_batch", batch)
            return
        whole("init_batch", self.init_batch)
        if not isinstance(self.collection, Asynchronous):
            sizes(self.collection.rule, 1, self.init_batch)  # refuses what is no batch of the rule

    def __repr__(self) -> str:
        rule = named(self.collection.rule) if self.collection.rule is not None else "all gradients"
        given = ", ".join(f"{k}={np.asarray(v).tolist()}" for k, v in self.hyperparameters.items())
        return f"Method({self.name}: {type(self.collection).__name__} of {rule}; {given})"

    def _check_update(self) -> None:
        if not callable(self.update):
            raise InputError(
                "update: got a finished transformation, a function that makes one from the "
                "hyperparameters is allowed, such as optax.adam without its arguments."
            )
        if not isinstance(self.hyperparameters, Mapping) or not self.hyperparameters:
            raise InputError("hyperparameters: got none, at least one argument of `update` is needed.")
        try:
            inspect.signature(self.update).bind(**self.hyperparameters)
        except TypeError as error:
            raise InputError(f"hyperparameters: `update` does not take them: {error}.") from None

    @property
    def leaf_shape(self) -> tuple[int, ...]:
        """Shape of the hyperparameters, broadcast together."""
        try:
            return np.broadcast_shapes(*(np.shape(value) for value in self.hyperparameters.values()))
        except ValueError:
            shapes = ", ".join(f"{k} {np.shape(v)}" for k, v in self.hyperparameters.items())
            raise InputError(f"hyperparameters: shapes {shapes} do not broadcast together.") from None

    def leaves(self) -> dict[str, np.ndarray]:
        """Hyperparameters as f32[A], A runs in the order of `leaf_shape`."""
        shape = self.leaf_shape
        return {
            name: np.broadcast_to(np.asarray(value, np.float32), shape).ravel()
            for name, value in self.hyperparameters.items()
        }

    def sizes(self, rounds: int) -> np.ndarray:
        """What each of K rounds asks for, i[K]; 0 where the rule names no batch."""
        if isinstance(self.collection, Asynchronous):
            return np.ones(rounds, np.int64)
        return sizes(self.collection.rule, rounds, self.init_batch)


declare("method", Method)


def above_zero(name: str, value: ArrayLike, most: float = math.inf) -> ArrayLike:
    """Raise InputError unless every value is a finite number above 0 and of at most `most`."""
    allowed = "finite numbers above 0" if most == math.inf else f"numbers in (0, {most:g}]"
    values = as_numbers(name, value, allowed)
    if not ((values > 0) & (values <= most) & np.isfinite(values)).all():
        given = np.ravel(value).tolist()
        raise InputError(
            f"{name}: got {given[0] if len(given) == 1 else given!r}, {allowed} are allowed."
        )
    return value
