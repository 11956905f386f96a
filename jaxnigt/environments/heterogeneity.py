"""Differences between workers: what they observe, how they move and what they are paid for."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnigt.checks import InputError, whole
from jaxnigt.environments.brax import Environment
from jaxnigt.registry import declare, register


class Heterogeneity:
    """What differs between workers. This base class says that nothing does.

    Subclass it for a difference of your own. Its methods run inside compiled programs, in which the
    index of a worker i32[] is not known beforehand.
    """

    @property
    def workers(self) -> int | None:
        """n, the number of different workers, or None where all are alike."""
        return None

    def environment(self, env: Environment, worker: Int[Array, ""]) -> Environment:
        """The environment of a worker, by default the common one."""
        del worker
        return env

    def observation(
        self, observation: Float[Array, " o"], worker: Int[Array, ""]
    ) -> Float[Array, "..."]:
        """What the policy of a worker sees f32[o'], by default the observation itself."""
        del worker
        return observation


declare("heterogeneity", Heterogeneity)


@register("flipped")
@dataclasses.dataclass(frozen=True)
class Flipped(Heterogeneity):
    """The heterogeneous task of arXiv 2509.24305: worker 1 sees (s, 0) and worker 2 sees (-s, 1).

    With the indicator one policy can tell the workers apart, so that the task is one environment with a
    flag. Without it the policy has to serve workers that contradict each other.

    Attributes:
        signs: +1 or -1 for each worker.
        indicator: whether to append the entry that tells the workers apart.

    Raises:
        InputError: no signs, or other numbers.

    Example:
        >>> print(flipped().observation(jnp.array([0.5, 2.0]), jnp.array(1)))
        [-0.5 -2.   1. ]
    """

    signs: Sequence[float] = (1, -1)
    indicator: bool = dataclasses.field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if not self.signs or any(sign not in (1, -1) for sign in self.signs):
            raise InputError(f"signs: got {self.signs!r}, 1 or -1 for each worker is allowed.")
        object.__setattr__(self, "signs", tuple(float(sign) for sign in self.signs))

    @property
    def workers(self) -> int:
        """n."""
        return len(self.signs)

    def observation(
        self, observation: Float[Array, " o"], worker: Int[Array, ""]
    ) -> Float[Array, "..."]:
        """(s, 0) for sign +1 and (-s, 1) for sign -1, or s and -s without the indicator."""
        sign = jnp.asarray(self.signs, observation.dtype)[worker]
        seen = sign * observation
        if not self.indicator:
            return seen
        return jnp.append(seen, jnp.where(sign < 0, 1.0, 0.0).astype(seen.dtype))


flipped = Flipped


@register("physical")
class Physical(Heterogeneity):
    """Workers whose Brax environments differ in their physics or in what they pay.

    Each argument holds one factor for each of n workers; 1 changes nothing.

    Args:
        gravity: factors of gravity.
        mass: factors of all masses and inertias, including those of the motors (armature).
        friction: factors of the friction of all shapes.
        strength: factors of the force that an action exerts through its actuator.
        attributes: values for each worker of numeric attributes of the environment. For example,
            {"_forward_reward_weight": [1.0, -1.0]} pays two hoppers for opposite directions.

    Raises:
        InputError: lists of different lengths, no list at all, or a factor that is not above 0.

    Example:
        >>> Physical(gravity=[0.5, 1.0, 2.0]).workers
        3
    """

    def __init__(
        self,
        *,
        gravity: Sequence[float] | None = None,
        mass: Sequence[float] | None = None,
        friction: Sequence[float] | None = None,
        strength: Sequence[float] | None = None,
        attributes: Mapping[str, Sequence[float]] | None = None,
    ):
        given = {"gravity": gravity, "mass": mass, "friction": friction, "strength": strength}
        self.factors = {k: np.asarray(v, np.float32) for k, v in given.items() if v is not None}
        self.attributes = {k: np.asarray(v, np.float32) for k, v in (attributes or {}).items()}
        counts = {k: v.shape for k, v in {**self.factors, **self.attributes}.items()}
        if len(set(counts.values())) != 1 or len(next(iter(counts.values()))) != 1:
            raise InputError(
                f"heterogeneity: shapes {counts or 'of nothing'}, one number a worker is allowed."
            )
        for name, values in self.factors.items():
            if not (np.isfinite(values) & (values > 0)).all():
                raise InputError(f"{name}: got {values.tolist()}, factors above 0 are allowed.")
        self._workers: int = next(iter(counts.values()))[0]

    @property
    def workers(self) -> int:
        """n."""
        return self._workers

    @classmethod
    def drawn(
        cls,
        workers: int = 4,
        *,
        seed: int = 0,
        gravity: float | None = None,
        mass: float | None = None,
        friction: float | None = None,
        strength: float | None = None,
    ) -> Physical:
        """Random factors exp(sigma z), with a standard normal z for each worker and each quantity.

        Args:
            workers: n.
            seed: of NumPy's generator. The factors of one quantity do not depend on the others.
            gravity: sigma of the factors of gravity; None leaves gravity alone.
            mass: sigma of the factors of masses and inertias, likewise.
            friction: sigma of the factors of friction, likewise.
            strength: sigma of the factors of the actuators' force, likewise.

        Raises:
            InputError: no sigma at all, or a number out of range.

        Example:
            >>> Physical.drawn(3, gravity=0.2).factors["gravity"].round(2)
            array([1.03, 0.97, 1.14], dtype=float32)
        """
        sigmas = {"gravity": gravity, "mass": mass, "friction": friction, "strength": strength}
        normal = np.random.default_rng(seed).normal(size=(len(sigmas), whole("workers", workers)))
        rows = zip(sigmas.items(), normal, strict=True)
        return cls(**{name: np.exp(s * z).tolist() for (name, s), z in rows if s is not None})

    def environment(self, env: Environment, worker: Int[Array, ""]) -> Environment:
        """A copy of the environment with the physics of a worker. Wrappers around it are kept.

        Raises:
            InputError: an environment without the Brax system or the attribute that is to differ.
        """
        changed: Any = copy.copy(env)
        if getattr(env, "unwrapped", env) is not env:
            changed.env = self.environment(changed.env, worker)
            return changed
        if self.factors:
            if not hasattr(env, "sys"):
                raise InputError(
                    f"heterogeneity: {type(env).__name__} has no `sys`, so only attributes may differ."
                )
            factor = {name: jnp.asarray(values)[worker] for name, values in self.factors.items()}
            changed.sys = _scaled(changed.sys, changed.backend, factor)
        for name, values in self.attributes.items():
            if not hasattr(env, name):
                raise InputError(f"attributes: {type(env).__name__} has no attribute {name!r}.")
            setattr(changed, name, jnp.asarray(values)[worker])
        return changed


register("drawn", "heterogeneity")(Physical.drawn)


def _scaled(system: Any, backend: str, factor: dict[str, Array]) -> Any:
    """A Brax system with scaled physics, in the fields of Brax's own engines and in those of MJX."""
    changes: dict[str, Any] = {}
    if "gravity" in factor:
        changes["gravity"] = system.gravity * factor["gravity"]
        changes["opt.gravity"] = system.opt.gravity * factor["gravity"]
    if "mass" in factor:
        changes |= _heavier(system, backend, factor["mass"])
    if "friction" in factor:
        changes["geom_friction"] = system.geom_friction * factor["friction"]
    if "strength" in factor:
        changes["actuator_gear"] = system.actuator_gear * factor["strength"]
        changes["actuator.gear"] = system.actuator.gear * factor["strength"]
    return system.tree_replace(changes)


def _heavier(system: Any, backend: str, by: Array) -> dict[str, Any]:
    """The fields of a system that change when all masses and inertias are multiplied by a factor."""
    masses = ("body_mass", "body_subtreemass", "body_inertia", "dof_armature")
    changes = {name: getattr(system, name) * by for name in masses}
    changes |= {name: getattr(system, name) / by for name in ("body_invweight0", "dof_invweight0")}
    changes["dof.armature"] = system.dof.armature * by
    mass, inertia = system.link.inertia.mass, system.link.inertia.i
    if backend in ("spring", "positional"):
        # These engines use mass^(1 - scale), which is 1 for a scale of 1 whatever the mass is.
        mass = mass ** (1 - system.spring_mass_scale)
        inertia = inertia ** (1 - system.spring_inertia_scale)
        changes |= {"spring_mass_scale": jnp.zeros(()), "spring_inertia_scale": jnp.zeros(())}
    return changes | {"link.inertia.mass": mass * by, "link.inertia.i": inertia * by}
