"""Normalisation of observations, fixed or running."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Params = Any
_LEAST_STD = 1e-4


Moments = dict[str, Array]
"""count f32[], mean f32[o] and deviation f32[o], the sum of (x - mean)^2, of some observations."""


@dataclasses.dataclass(frozen=True)
class FixedNormalisation:
    """(x - mean) / std with numbers given beforehand.

    Attributes:
        mean: one number for each entry of an observation, or one for all.
        std: likewise, positive.
    """

    mean: tuple[float, ...] | float = 0.0
    std: tuple[float, ...] | float = 1.0

    def init(self, size: int) -> dict[str, Any]:
        """Nothing is kept in params."""
        return {}

    def apply(self, params: Params, observation: Float[Array, "*batch o"]) -> Float[Array, "*batch o"]:
        """The normalised observation."""
        mean, std = jnp.asarray(self.mean), jnp.asarray(self.std)
        return (observation - jnp.broadcast_to(mean, observation.shape)) / jnp.broadcast_to(
            std, observation.shape
        )

    def observed(self, observation: Float[Array, "B H o"], alive: Bool[Array, "B H"]) -> None:
        """Nothing is learnt."""

    def merged(self, observed: None) -> None:
        """Of nothing."""

    def update(self, params: Params, observed: None) -> Params:
        """Params unchanged."""
        return params


@dataclasses.dataclass(frozen=True)
class RunningNormalisation:
    """(x - mean) / std over all observations of earlier rounds.

    The statistics live in params under "normaliser". Their gradient is zero, so update rules leave
    them alone and the norm of a direction does not feel them.
    """

    def init(self, size: int) -> dict[str, Any]:
        """Statistics of nothing, which leave observations as they are."""
        zero = jnp.zeros(size)
        return {"normaliser": {"count": jnp.zeros(()), "mean": zero, "deviation": zero}}

    def apply(self, params: Params, observation: Float[Array, "*batch o"]) -> Float[Array, "*batch o"]:
        """The normalised observation."""
        seen = jax.lax.stop_gradient(params["normaliser"])
        count, mean = seen["count"], seen["mean"]
        std = jnp.sqrt(seen["deviation"] / jnp.maximum(count, 1.0))
        std = jnp.where(count > 1, jnp.maximum(std, _LEAST_STD), 1.0)
        return (observation - jnp.broadcast_to(mean, observation.shape)) / jnp.broadcast_to(
            std, observation.shape
        )

    def observed(self, observation: Float[Array, "B H o"], alive: Bool[Array, "B H"]) -> Moments:
        """Moments of the observations before termination."""
        weight = alive.astype(observation.dtype)[..., None]
        count = weight.sum()
        mean = (weight * observation).sum(axis=(0, 1)) / jnp.maximum(count, 1.0)
        deviation = (weight * (observation - mean[None, None]) ** 2).sum(axis=(0, 1))
        return {"count": count, "mean": mean, "deviation": deviation}

    def merged(self, observed: Moments) -> Moments:
        """Moments of all parts together; every entry has an axis of parts in front."""
        first = jax.tree.map(lambda x: x[0], observed)
        rest = jax.tree.map(lambda x: x[1:], observed)
        return jax.lax.scan(lambda seen, more: (_both(seen, more), None), first, rest)[0]

    def update(self, params: Params, observed: Moments) -> Params:
        """Params whose statistics include `observed`."""
        return {**params, "normaliser": _both(params["normaliser"], observed)}


def _both(old: Moments, new: Moments) -> Moments:
    """Moments of two sets of observations (the parallel form of Welford's sums)."""
    count = old["count"] + new["count"]
    step = new["mean"] - old["mean"]
    share = new["count"] / jnp.maximum(count, 1.0)
    deviation = old["deviation"] + new["deviation"] + step**2 * old["count"] * share
    return {"count": count, "mean": old["mean"] + step * share, "deviation": deviation}
