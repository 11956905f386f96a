"""What is trained in one go, with a key of all that decides its numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import NamedTuple

import numpy as np

from jaxnigt.profiles import Profile
from jaxnigt.sweep import build, modules
from jaxnigt.sweep.build import Plain
from jaxnigt.sweep.version import code_version

_LONGEST = 100


class Batch(NamedTuple):
    """Profiles that one call of the clock serves.

    Attributes:
        labels: of the profiles.
        profile: their times, with one leading axis.
        grid: whether they are those of the definition's grid.
    """

    labels: tuple[str, ...]
    profile: Profile
    grid: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Unit:
    """What is trained in one go and stored in one file. Everything in it can be pickled.

    Attributes:
        label: of the method, with what varies between panels in front.
        problem: its table.
        method: its table, with the stepsizes and momenta of this unit.
        workers: n.
        seeds: indices of the seeds.
        training: key, eval_every and eval_batch.
        batch: the profiles along which it trains, None where one trace serves all.
        comm_model: of the definition, along a schedule.
        clock_model: what the clock calls it for this method.
        bytes: memory that training is estimated to take.
    """

    label: str
    problem: Plain
    method: Plain
    workers: int
    seeds: tuple[int, ...]
    training: Plain
    batch: Batch | None = None
    comm_model: str | None = None
    clock_model: str | None = None
    bytes: int = 0

    @property
    def key(self) -> str:
        """A digest of everything that decides the numbers."""
        content: Plain = {
            "code": code_version(),
            "problem": self._problem_content,
            "problem_workers": build.problem_workers(self.problem, self.workers),
            "method": {k: v for k, v in self.method.items() if k not in self._no_matter},
            "training": self.training,
            "seeds": self.seeds,
        }
        if self.method["name"].startswith("synchronous"):
            content["workers"] = self.workers
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        if self.batch is not None:
            digest.update(f"{self.clock_model} {self.batch.profile.noise}".encode())
            power = self.batch.profile.power or ()
            for array in (self.batch.profile.compute, self.batch.profile.comm, *power):
                digest.update(str(array.shape).encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @property
    def _problem_content(self) -> Plain:
        """The problem's table, with the code of an environment of one's own in place of where it is."""
        content = {key: value for key, value in self.problem.items() if key != "module"}
        code = modules.code(content["environment"]) if "environment" in content else None
        return content if code is None else content | {"environment_code": code}

    @property
    def _no_matter(self) -> tuple[str, ...]:
        """Keys of the method's table that change no number of this unit."""
        # When workers restart is a matter of the clock alone where one training serves all profiles.
        return ("lanes", "eval_every", *(("restart",) if self.batch is None else ()))

    @property
    def filename(self) -> str:
        """Name of the unit's file."""
        return f"{short(self.label)}-{self.key}.nc"

    @property
    def iterations(self) -> int:
        """Rounds, or updates of an asynchronous method."""
        return self.method["iterations"]

    @property
    def runs(self) -> int:
        """How many runs are trained at once."""
        schedules = len(self.batch.labels) if self.batch else 1
        return (
            schedules * len(self.method["stepsize"]) * len(build.momenta(self.method)) * len(self.seeds)
        )


def short(label: str) -> str:
    """A label for the name of a file, which must not be too long."""
    name = label.replace("/", "_")
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
