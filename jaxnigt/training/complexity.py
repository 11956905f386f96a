"""Tuned complexity: how long each method takes to each of many accuracies, tuned by that very time.

Tuning by one number and reporting another favours whoever the numbers agree for. Here the stepsize,
the momentum and the batch of a method are those with which it comes to an accuracy soonest, chosen anew
for every accuracy and profile, on one half of the seeds, and what is reported is the other half's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array, Float64
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, TrainingDiverged, as_numbers, as_seeds, choice, instance, whole
from jaxnigt.clock.communication import Model
from jaxnigt.methods.collection import Collection
from jaxnigt.methods.method import Method
from jaxnigt.problems.base import Problem
from jaxnigt.problems.measured import by_gradient
from jaxnigt.profiles import Profile
from jaxnigt.training import tuning
from jaxnigt.training.loop import train
from jaxnigt.training.passages import band
from jaxnigt.training.times import eval_times
from jaxnigt.training.trace import Trace, replay
from jaxnigt.training.tuning import Passages

ACCURACIES = ("objective", "gradient")
Progress = Callable[[str], None]


def complexity(
    problem: Problem,
    methods: Mapping[str, Method | Sequence[Method]],
    profile: Profile,
    levels: ArrayLike,
    *,
    gradients: int,
    accuracy: str = "objective",
    seeds: int | Sequence[int] = 10,
    key: int | Array = 0,
    draws: int | None = None,
    comm_model: Mapping[str, Model] | None = None,
    evaluations: int = 200,
    eval_batch: int = 64,
    extend: int = 4,
    progress: Progress | bool | None = None,
) -> xr.Dataset:
    """The least time in which each method comes to each level, over its own hyperparameters.

    Every candidate of every method gets the same number of gradients. Methods whose iterates are the
    same share one training and differ in its replay alone. A candidate is judged by the median over
    runs of the time at which it first comes to the level, interpolated between two evaluations. Where
    the best stepsize is at an end of those that were tried, the grid grows there by its own ratio.

    Args:
        problem: what to maximise.
        methods: candidates by label: a method with arrays of hyperparameters, or several of them, for
            instance of different batches.
        profile: times of n workers; it has at most one leading axis.
        levels: f[L], values of J, or accuracies epsilon on ||grad J(theta_t)||.
        gradients: of each run. A method of rounds makes gradients / M rounds, Malenia likewise.
        accuracy: "objective", or "gradient" for problems whose gradient is known exactly.
        seeds: S, or their numbers; the first half tunes, the other reports.
        key: a JAX key or an integer; consumed.
        draws: independent realisations of random times.
        comm_model: models of the network by label; by default as in `jaxnigt.train`.
        evaluations: of each run, evenly spaced.
        eval_batch: trajectories of one evaluation.
        extend: how many times the grid of stepsizes may grow.
        progress: called with a line for every training; True prints it.

    Returns:
        A data set with axes label, profile and level. `time` is the median in seconds over the runs
        that report, `low` and `high` are the order statistics around it that hold the median with the
        chance `coverage`, and `tuning_time` is what the choice was made by; inf where half of the runs
        never come to a level, NaN where none was found in tuning. `gradients` and `rounds` are those
        spent by then, `missed` counts runs that never come there. `stepsize`, `momentum` and `batch` are
        the choice, NaN where a method has none. `inside` says whether the stepsize is no end of its
        grid, and `resolved` whether the level is crossed after the second evaluation and not before.

    Raises:
        InputError: an argument out of range, a method without `stepsize`, or a single seed.

    Example:
        >>> import jaxnigt as jn
        >>> found = complexity(
        ...     jn.problems.chain(delta=24.0),
        ...     {"Rennala NIGT": [jn.methods.rennala_nigt(M, stepsize=[0.05, 0.1]) for M in (2, 4)]},
        ...     jn.profiles.power_law(4, 0.5),
        ...     levels=[1.0, 0.9],
        ...     gradients=400,
        ...     accuracy="gradient",
        ...     seeds=4,
        ... )
        >>> found["time"].dims
        ('label', 'profile', 'level')

    Source: derived; arXiv 2509.24305 tunes by curves that are looked at.
    """
    instance("problem", problem, Problem, "jn.problems.tabular()")
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise InputError(f"progress: got {progress!r}, a function of a line, True or False is allowed.")
    say = print if progress is True else progress or (lambda words: None)
    choice("accuracy", accuracy, ACCURACIES)
    if len(profile.shape) > 1:
        raise InputError(f"profile: got leading axes {profile.shape}, one at most is allowed.")
    seeds = as_seeds(seeds)
    if len(seeds) < 2:
        raise InputError(f"seeds: got {len(seeds)}, at least 2 are needed, half of them for tuning.")
    goals = as_numbers("levels", levels)
    if goals.ndim != 1 or not goals.size or not np.isfinite(goals).all():
        raise InputError(f"levels: got shape {goals.shape}, one or more finite numbers are allowed.")
    by_norm = accuracy == "gradient"
    study = _Study(
        problem=by_gradient(problem) if by_norm else problem,
        profile=profile if profile.shape else profile.reshape(1),
        thresholds=-goals if by_norm else goals,
        gradients=whole("gradients", gradients),
        seeds=seeds,
        options={"key": key, "eval_batch": whole("eval_batch", eval_batch), "draws": draws},
        evaluations=whole("evaluations", evaluations, 2),
        progress=say,
    )
    models = _models(methods, comm_model)
    grown = whole("extend", extend, 0)
    parts = [
        study.tuned(label, _candidates(label, given), models.get(label), grown)
        for label, given in methods.items()
    ]
    found = xr.concat(parts, "label")  # `sel` has an argument "method" of its own
    units = {"units": "1"}
    about = {"long_name": "||grad J||" if by_norm else "J"} | units
    found = found.assign_coords(label=list(methods), level=("level", goals, about))
    return found.assign_attrs(
        methods=[_candidates(label, given)[0].name for label, given in methods.items()],
        accuracy=accuracy,
        gradients=gradients,
        tuned_on=list(seeds[: len(seeds) // 2]),
        reported_on=list(seeds[len(seeds) // 2 :]),
        draws=draws or 1,
        coverage=band(len(seeds) - len(seeds) // 2)[1],
    )


def _models(
    methods: Mapping[str, Method | Sequence[Method]], given: Mapping[str, Model] | None
) -> dict[str, Model]:
    if not isinstance(methods, Mapping) or not methods:
        raise InputError("methods: a dictionary of methods by label is allowed, with one at least.")
    given = {} if given is None else given
    if not isinstance(given, Mapping) or given.keys() - methods.keys():
        raise InputError(
            f"comm_model: got {given!r}, a dictionary with labels of methods is allowed: "
            f"{', '.join(map(str, methods))}."
        )
    return dict(given)


def _candidates(label: str, given: Method | Sequence[Method]) -> list[Method]:
    """The methods of a label, checked to have a stepsize."""
    found = [given] if isinstance(given, Method) else list(given)
    if not found or not all(isinstance(method, Method) for method in found):
        raise InputError(f"methods.{label}: got {given!r}, a Method or a list of them is allowed.")
    for method in found:
        if "stepsize" not in method.hyperparameters:
            raise InputError(f"methods.{label}: {method.name} has no stepsize to tune.")
    return found


@dataclasses.dataclass(eq=False)
class _Study:
    """What all methods are compared on, and the trainings that they share."""

    problem: Problem
    profile: Profile
    thresholds: Float64[np.ndarray, " L"]
    gradients: int
    seeds: tuple[int, ...]
    options: dict[str, Any]
    evaluations: int
    progress: Progress
    trained: dict[Any, Trace] = dataclasses.field(default_factory=dict)

    def tuned(self, label: str, methods: list[Method], model: Model | None, grown: int) -> xr.Dataset:
        """The report of one label, its grid of stepsizes grown where that may help."""
        parts = [self._passages(label, method, model, i) for i, method in enumerate(methods)]
        for _ in range(grown):
            more = list(self._longer(methods, parts))
            if not more:
                break
            parts += [self._passages(label, method, model, i) for i, method in more]
        return tuning.report(parts, len(self.seeds))

    def _longer(self, methods: list[Method], parts: list[Passages]) -> Iterator[tuple[int, Method]]:
        """Methods at stepsizes beyond the ends of a grid, where some level is reached best at an end."""
        for grid, method in enumerate(methods):
            own = [part for part in parts if part.grid == grid]
            time, which = tuning.choice(own, len(self.seeds) // 2)
            # What holds at the start holds at any stepsize.
            best = tuning.table(own)["stepsize"][which[np.isfinite(time) & (time > 0)]]
            least, most, ratio = tuning.ends(own)
            for end, beyond in ((least, least / ratio), (most, most * ratio)):
                if end in best:
                    yield grid, _with_stepsize(method, beyond)

    def _passages(self, label: str, method: Method, model: Model | None, grid: int) -> Passages:
        leaves = {name: x.astype(float) for name, x in method.leaves().items()}
        batch = float(method.collection.batch or 0)
        try:
            trace, end = self._trained(label, method, model)
        except TrainingDiverged:  # all runs of this method, which so come to no level
            count = len(leaves["stepsize"]), self.options["draws"] or 1, len(self.seeds)
            never = np.full((*self.profile.shape, *count, len(self.thresholds)), np.inf)
            return Passages(never, never, never, np.zeros(never.shape, bool), leaves, batch, grid)
        # Seconds, gradients and rounds at the evaluations, [P, D, E].
        samples = trace.samples
        if trace.times is not None and trace.draws is None:
            samples = samples[:, None]
        samples = np.broadcast_to(samples, end.shape)
        spent = np.cumsum(samples, axis=-1, dtype=np.float64)
        count = np.broadcast_to(np.arange(1.0, trace.rounds + 1), spent.shape)
        clocks = np.stack([eval_times(x, trace.eval_rounds) for x in (end, spent, count)])
        values = np.asarray(trace.objective, np.float64)
        runs = (*values.shape[: -2 - len(method.leaf_shape)], -1, *values.shape[-2:])
        values = values.reshape(runs)
        if trace.times is None:
            values = values[None, None]
        elif trace.draws is None:
            values = values[:, None]
        values = np.moveaxis(values, 2, 1)  # [P, C, D, S, E]
        return tuning.passages(values, clocks, self.thresholds, leaves, batch, grid)

    def _trained(self, label: str, method: Method, model: Model | None) -> tuple[Trace, np.ndarray]:
        """The trace of a method, and the ends of its rounds f64[P, D, K]."""
        heterogeneous = self.problem.workers is not None
        collection = method.collection
        rounds = max(1, self.gradients // max(1, collection.batch or 1))
        every = max(1, rounds // self.evaluations)
        given: dict[str, Any] = {"iterations": rounds, "seeds": self.seeds, "eval_every": every}
        draws = self.options["draws"]
        if not isinstance(collection, Collection) or not collection.replayable(heterogeneous):
            self.progress(f"{label}: {method.leaf_shape} x {rounds:,} rounds along the clock")
            own = {"profile": self.profile, "comm_model": model}
            trace = train(self.problem, method, keep_diverged=True, **given, **self.options, **own)
            assert trace.times is not None
            return trace, trace.times if draws is not None else trace.times[:, None]
        shared = (
            method.update,
            method.eval_params,
            tuple(method.sizes(rounds)[:2]),
            tuple((k, v.tobytes(), method.leaf_shape) for k, v in method.leaves().items()),
            heterogeneous and collection.slots(collection.batch or 1, True)[0].tobytes(),
            rounds,
        )
        trace = self.trained.get(shared)
        if trace is None:
            self.progress(f"{label}: {method.leaf_shape} x {rounds:,} rounds")
            options: dict[str, Any] = {**self.options, "draws": None}
            trace = train(self.problem, method, keep_diverged=True, **given, **options)
            self.trained[shared] = trace
        trace = dataclasses.replace(trace, method=method)
        clock = {} if model is None else {"comm_model": model}
        key = self.options["key"] if self.profile.noise is not None else None
        end = replay(trace, self.profile, key=key, draws=draws, **clock)
        return trace, end if draws is not None else end[:, None]


def _with_stepsize(method: Method, stepsize: float) -> Method:
    """A method at one stepsize and its other hyperparameters."""
    return dataclasses.replace(method, hyperparameters={**method.hyperparameters, "stepsize": stepsize})
