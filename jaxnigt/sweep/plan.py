"""From a definition to what has to be computed, each piece with a key of its content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

from jaxnigt import methods, problems, profiles
from jaxnigt.clock.communication import ROUND_MODELS, check_model
from jaxnigt.errors import InputError
from jaxnigt.methods import Method
from jaxnigt.problems import PolicyGradient
from jaxnigt.profiles import Profile
from jaxnigt.sweep.spec import Definition, DimensionPower, MethodTable, ProfileTable, Range

UNIT_VERSION = 2
"""Raised whenever the same definition would give other numbers; it is part of every key."""


@dataclasses.dataclass(frozen=True)
class TrainingUnit:
    """One method trained with all its seeds and hyperparameters.

    Attributes:
        label: of the method in the definition.
        key: of everything that decides the numbers.
        method: what to train.
        iterations: rounds.
    """

    label: str
    key: str
    method: Method
    iterations: int

    @property
    def filename(self) -> str:
        """Name of the unit's file."""
        return f"{self.label}-{self.key}.nc"


def training_units(definition: Definition) -> list[TrainingUnit]:
    """One unit a method; raises InputError for a method that cannot be built."""
    units = []
    for index, table in enumerate(definition.methods):
        try:
            method = _method(table, definition.workers)
        except InputError as error:
            raise InputError(f"methods.{index}.{error}") from None
        if definition.training.eval_every > table.iterations:
            raise InputError(
                f"training.eval_every: got {definition.training.eval_every}, at most the iterations = "
                f"{table.iterations} of {table.title} are allowed."
            )
        content = {
            "version": UNIT_VERSION,
            "problem": definition.problem.model_dump(),
            "training": definition.training.model_dump(),
            "method": table.model_dump(exclude={"label"}),
            "batch": method.collection.batch,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        units.append(TrainingUnit(table.title, digest, method, table.iterations))
    return units


def _method(table: MethodTable, workers: int) -> Method:
    given: dict[str, Any] = {
        "init_batch": table.init_batch,
        "batch": table.batch,
        "restart": table.restart,
    }
    given = {key: value for key, value in given.items() if value is not None}
    if table.name == "synchronous_nigt":
        if "restart" in given:
            raise InputError("restart: synchronous_nigt has none, only rennala_nigt takes it.")
        if given.setdefault("batch", workers) != workers:
            raise InputError(
                f"batch: got {given['batch']!r}, synchronous_nigt takes one gradient from each of the "
                f"workers = {workers}."
            )
    given["stepsize"] = np.asarray(table.stepsize)[:, None]
    given["momentum"] = np.asarray(table.momentum)[None, :]
    return getattr(methods, table.name)(**given)


def problem(definition: Definition) -> PolicyGradient:
    """Build the problem; raises InputError for an environment or a number that is not allowed."""
    table = definition.problem
    try:
        return problems.policy_gradient(
            table.environment,
            backend=table.backend,
            horizon=table.horizon,
            discount=table.discount,
            discounting=table.discounting,
        )
    except InputError as error:
        raise InputError(f"problem.{error}") from None


def named_profiles(definition: Definition, dimension: int) -> Profile:
    """The definition's named profiles as one batch, in their order."""
    built = [_profile(i, table, definition, dimension) for i, table in enumerate(definition.profiles)]
    return Profile(np.stack([p.compute for p in built]), np.stack([p.comm for p in built]))


_ARGUMENTS = {
    "equal": ("compute", "comm"),
    "power_law": ("exponent", "comm_exponent", "comm_scale"),
    "stragglers": ("count", "slowdown", "compute", "comm"),
    "from_csv": ("path",),
}
_NEEDED = {"power_law": "exponent", "from_csv": "path"}


def _profile(index: int, table: ProfileTable, definition: Definition, dimension: int) -> Profile:
    where = f"profiles.{index}"
    given = table.model_dump(exclude_none=True, exclude={"label", "title", "family"})
    for key in given:
        if key not in _ARGUMENTS[table.family]:
            allowed = ", ".join(_ARGUMENTS[table.family])
            raise InputError(f"{where}.{key}: family {table.family!r} allows {allowed}.")
    needed = _NEEDED.get(table.family)
    if needed and needed not in given:
        raise InputError(f"{where}.{needed}: this key is missing, family {table.family!r} needs it.")
    if isinstance(table.comm_scale, DimensionPower):
        given["comm_scale"] = float(dimension) ** table.comm_scale.dimension_power
    try:
        if table.family == "from_csv":
            profile = profiles.from_csv(given["path"])
        else:
            profile = getattr(profiles, table.family)(definition.workers, **given)
    except InputError as error:
        raise InputError(f"{where}.{error}") from None
    if profile.shape or profile.n != definition.workers:
        raise InputError(
            f"{where}.path: got {max(1, profile.compute.size // profile.n)} profile(s) of {profile.n} "
            f"workers, one profile of workers = {definition.workers} is allowed."
        )
    return profile


def grid_axes(definition: Definition) -> dict[str, np.ndarray]:
    """The axes of the grid of profiles, empty where the definition has none."""
    if definition.grid is None:
        return {}
    grid = definition.grid
    return {name: _numbers(name, getattr(grid, name)) for name in ("exponent", "comm_scale")}


def grid_profiles(definition: Definition) -> Profile | None:
    """Profiles of the grid with axes [exponent, comm_scale], None where there is no grid."""
    if definition.grid is None:
        return None
    axes = grid_axes(definition)
    try:
        return profiles.power_law(
            definition.workers,
            axes["exponent"][:, None],
            definition.grid.comm_exponent,
            axes["comm_scale"][None, :],
        )
    except InputError as error:
        raise InputError(f"grid: {error}") from None


def _numbers(name: str, axis: Range) -> np.ndarray:
    if axis.spacing == "linear":
        return np.linspace(axis.start, axis.stop, axis.num)
    if axis.start <= 0 or axis.stop <= 0:
        raise InputError(f"grid.{name}: spacing 'log' allows start and stop above 0 only.")
    return np.geomspace(axis.start, axis.stop, axis.num)


def check(definition: Definition) -> list[TrainingUnit]:
    """Build everything of a definition that costs nothing, so that a mistake is found first."""
    check_model(definition.comm_model, ROUND_MODELS)
    units = training_units(definition)
    named_profiles(definition, dimension=1)
    grid_profiles(definition)
    return units
