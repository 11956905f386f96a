"""What differs from worker to worker: what they see, their physics, what they are paid for."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnigt.checks import InputError

if TYPE_CHECKING:
    from brax.envs import Env

PHYSICS = ("gravity", "mass", "friction", "strength")


@runtime_checkable
class Heterogeneity(Protocol):
    """What `policy_gradient` asks of a heterogeneity; a class of your own with these will do."""

    @property
    def workers(self) -> int | None:
        """n, how many different workers there are; None where all are alike."""
        ...

    def environment(self, env: Env, worker: Int[Array, ""]) -> Env:
        """The environment of a worker, whose index is only known when the program runs."""
        ...

    def observation(
        self, observation: Float[Array, " o"], worker: Int[Array, ""]
    ) -> Float[Array, "..."]:
        """What a worker's policy sees."""
        ...


@dataclasses.dataclass(frozen=True)
class Alike:
    """No difference."""

    workers: int | None = dataclasses.field(default=None, init=False)

    def environment(self, env: Env, worker: Int[Array, ""]) -> Env:
        """The environment itself."""
        del worker
        return env

    def observation(self, observation: Float[Array, " o"], worker: Int[Array, ""]) -> Float[Array, " o"]:
        """The observation itself."""
        del worker
        return observation


@dataclasses.dataclass(frozen=True)
class Flipped:
    """Some workers see their observations negated; see `flipped`.

    Attributes:
        signs: +1 or -1 for each worker.
        indicator: whether an entry that tells 0 from 1 is appended.
    """

    signs: tuple[float, ...]
    indicator: bool

    @property
    def workers(self) -> int:
        """n."""
        return len(self.signs)

    def environment(self, env: Env, worker: Int[Array, ""]) -> Env:
        """The environment itself."""
        del worker
        return env

    def observation(
        self, observation: Float[Array, " o"], worker: Int[Array, ""]
    ) -> Float[Array, "..."]:
        """(s, 0) or (-s, 1), without the second entry where there is no indicator."""
        sign = jnp.asarray(self.signs, observation.dtype)[worker]
        seen = sign * observation
        if not self.indicator:
            return seen
        return jnp.append(seen, jnp.where(sign < 0, 1.0, 0.0).astype(seen.dtype))


def flipped(signs: Sequence[float] = (1, -1), *, indicator: bool = True) -> Flipped:
    """The heterogeneous task of arXiv 2509.24305: worker 1 sees (s, 0), worker 2 sees (-s, 1).

    With the indicator one policy can tell the workers apart, so that the task is one environment
    with a flag; without it one policy has to serve contradicting workers.

    Args:
        signs: +1 or -1 for each worker.
        indicator: whether to append the entry that tells them apart.
    """
    if not signs or any(sign not in (1, -1) for sign in signs):
        raise InputError(f"signs: got {signs!r}, 1 or -1 for each worker is allowed.")
    return Flipped(tuple(float(sign) for sign in signs), indicator)


class Physical:
    """Physics and pay of a Brax environment that differ from worker to worker.

    Every argument holds one factor for each worker, 1 leaving things as they are.

    Args:
        gravity: factors of gravity.
        mass: factors of all masses and inertias, those of motors (armature) included.
        friction: factors of the friction of all shapes.
        strength: factors of what actuators do with an action.
        attributes: values for each worker of numeric attributes of the environment, such as
            {"_forward_reward_weight": [1.0, -1.0]} for hoppers that are paid for opposite ways.

    Raises:
        InputError: different numbers of workers, or numbers out of range.

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
        self.workers: int = next(iter(counts.values()))[0]

    @classmethod
    def drawn(cls, workers: int, *, seed: int = 0, **sigma: float) -> Physical:
        """Factors exp(sigma z) with z normal, drawn for each worker.

        Args:
            workers: n.
            seed: of NumPy's generator.
            **sigma: of gravity, mass, friction or strength.
        """
        unknown = set(sigma) - set(PHYSICS)
        if unknown:
            raise InputError(f"{unknown.pop()}: unknown, allowed are {', '.join(PHYSICS)}.")
        rng = np.random.default_rng(seed)
        normal = rng.normal(size=(len(PHYSICS), workers))
        return cls(
            **{name: np.exp(s * normal[PHYSICS.index(name)]).tolist() for name, s in sigma.items()}
        )

    def environment(self, env: Env, worker: Int[Array, ""]) -> Env:
        """A copy with the worker's physics; the compiled program holds a table over workers."""
        changed: Any = copy.copy(env)
        if env.unwrapped is not env:
            changed.env = self.environment(changed.env, worker)
            return changed
        if self.factors:
            if not hasattr(env, "sys"):
                raise InputError(
                    f"heterogeneity: {type(env).__name__} has no `sys`, so only attributes may differ."
                )
            factor = {name: jnp.asarray(values)[worker] for name, values in self.factors.items()}
            changed.sys = _scaled(changed.sys, env.backend, factor)
        for name, values in self.attributes.items():
            if not hasattr(env, name):
                raise InputError(f"attributes: {type(env).__name__} has no attribute {name!r}.")
            setattr(changed, name, jnp.asarray(values)[worker])
        return changed

    def observation(self, observation: Float[Array, " o"], worker: Int[Array, ""]) -> Float[Array, " o"]:
        """The observation itself."""
        del worker
        return observation


def _scaled(system: Any, backend: str, factor: dict[str, Array]) -> Any:
    """A Brax system with scaled physics, in the fields of its own engines and of MJX."""
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
    """Fields of a system whose masses and inertias, those of its motors included, are scaled."""
    masses = ("body_mass", "body_subtreemass", "body_inertia", "dof_armature")
    changes = {name: getattr(system, name) * by for name in masses}
    changes |= {name: getattr(system, name) / by for name in ("body_invweight0", "dof_invweight0")}
    changes["dof.armature"] = system.dof.armature * by
    mass, inertia = system.link.inertia.mass, system.link.inertia.i
    if backend in ("spring", "positional"):
        # These engines move mass^(1 - scale), which does not feel the mass where the scale is 1.
        mass, inertia = (
            mass ** (1 - system.spring_mass_scale),
            inertia ** (1 - system.spring_inertia_scale),
        )
        changes |= {"spring_mass_scale": jnp.zeros(()), "spring_inertia_scale": jnp.zeros(())}
    changes |= {"link.inertia.mass": mass * by, "link.inertia.i": inertia * by}
    return changes
