"""A trace: what a training left behind, and what any clock makes of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Float64, Int, Key

from jaxnigt.checks import InputError, as_key, as_path, instance, whole
from jaxnigt.clock import verify
from jaxnigt.clock.communication import Model
from jaxnigt.files import Damaged, check_netcdf, of_json
from jaxnigt.methods.collection import Asynchronous, Collection, mean, worker_mean
from jaxnigt.methods.method import Method
from jaxnigt.profiles import Profile
from jaxnigt.registry import entries, make
from jaxnigt.training.runs import draw_keys
from jaxnigt.training.times import SECONDS, eval_times, first_reached

_PARAMS = "theta."
_SERIES = {
    "objective": ("evaluation", "mean discounted return J(theta_t)"),
    "undiscounted": ("evaluation", "mean undiscounted return at theta_t"),
    "batch_discounted": ("round", "mean discounted return of the round's trajectories"),
    "batch_undiscounted": ("round", "mean undiscounted return of the round's trajectories"),
    "gradient_norm": ("round", "norm of the aggregate"),
    "direction_norm": ("round", "norm of the momentum d_k"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """What happened in K rounds of S seeds, for every entry of the hyperparameters.

    Leading axes `...` are the shape of the profiles and the draws of the clock, where the schedule was
    part of the training, and then that of the method's hyperparameters. Rounds count from 0: round k
    moves theta_k to theta_{k+1}. For asynchronous methods every update is a round.

    Attributes:
        method: the method, which also knows the clock's rule.
        seeds: numbers of the S seeds.
        eval_rounds: i[E], the rounds t at whose start theta_t was evaluated; 0 is the initial point.
        objective: f[..., S, E], clean evaluation of J(theta_t), the mean discounted return.
        undiscounted: f[..., S, E], mean undiscounted return of the same trajectories.
        worker_objective: f[..., S, E, W], J_i(theta_t) of each worker's problem, whose mean is J; W = 1
            where all workers share one problem.
        batch_discounted: f[..., S, K], mean discounted return of the round's own trajectories, which are
            sampled at the method's evaluation point.
        batch_undiscounted: f[..., S, K], likewise undiscounted.
        gradient_norm: f[..., S, K], norm of the aggregate.
        direction_norm: f[..., S, K], norm of the momentum d_k (of the update, for rules without one).
        samples: i[K], or i[profiles, draws, K] along schedules: trajectories used in round k.
        params: final theta_K, a pytree with leading axes [..., S].
        replayable: whether the iterates are the same under every profile.
        draws: D, realisations of random times along which it was trained; None without such an axis.
        times: f64[profiles, draws, K] seconds at which rounds are over, where the schedule was part of
            the training; else None, and `replay` gives them for any profile.
        seconds: wall-clock time of the training, since it was last resumed.
        compiled_seconds: how much of it compiled programs ran, compilation not included.

    Example:
        >>> import jaxnigt as jn
        >>> method = jn.methods.rennala_nigt(4)
        >>> trace = jn.train(jn.problems.tabular(), method, iterations=4, eval_every=2)
        >>> trace.objective.shape, trace.to_xarray()["objective"].dims
        ((1, 2), ('seed', 'evaluation'))
    """

    method: Method
    seeds: tuple[int, ...]
    eval_rounds: Int[np.ndarray, " E"]
    objective: Float[np.ndarray, "*leaf S E"]
    undiscounted: Float[np.ndarray, "*leaf S E"]
    worker_objective: Float[np.ndarray, "*leaf S E W"]
    batch_discounted: Float[np.ndarray, "*leaf S K"]
    batch_undiscounted: Float[np.ndarray, "*leaf S K"]
    gradient_norm: Float[np.ndarray, "*leaf S K"]
    direction_norm: Float[np.ndarray, "*leaf S K"]
    samples: Int[np.ndarray, "*profiles K"]
    params: Any
    replayable: bool
    draws: int | None = None
    times: Float[np.ndarray, "*profiles K"] | None = None
    seconds: float = 0.0
    compiled_seconds: float = 0.0

    def __repr__(self) -> str:
        profiles = self.samples.shape[: -1 if self.draws is None else -2]
        leading = f"profiles{list(profiles)}, " if profiles else ""
        draws = "" if self.draws is None else f"draws={self.draws}, "
        return (
            f"Trace({self.method.name}, {leading}{draws}hyperparameters{list(self.method.leaf_shape)}, "
            f"seeds={len(self.seeds)}, rounds={self.rounds}, evaluations={len(self.eval_rounds)}, "
            f"replayable={self.replayable})"
        )

    @property
    def rounds(self) -> int:
        """K."""
        return self.samples.shape[-1]

    def to_xarray(self, profiles: Sequence[str] | None = None) -> xr.Dataset:
        """The trace with labelled axes: profile, draw, hyperparameters, seed, and evaluation or round.

        Final params are variables `theta.<path>`, one for each array of the pytree.

        Args:
            profiles: labels of the profiles that it was trained along; by default their numbers.

        """
        along = _clock_axes(self.samples.ndim - 1, self.draws)
        leaves, coordinates = _leaf_axes(self.method)
        runs = (*along, *leaves, "seed")
        variables: dict[str, Any] = {}
        for name, (axis, meaning) in _SERIES.items():
            variables[name] = ((*runs, axis), getattr(self, name), {"long_name": meaning, "units": "1"})
        attrs = {"long_name": "J_i(theta_t) of each worker's problem", "units": "1"}
        variables["worker_objective"] = ((*runs, "evaluation", "problem"), self.worker_objective, attrs)
        attrs = {"long_name": "trajectories used in the round", "units": "1"}
        variables["samples"] = ((*along, "round"), self.samples, attrs)
        if self.times is not None:
            attrs = {"long_name": "end of the round", **SECONDS}
            variables["time"] = ((*along, "round"), self.times, attrs)
        for path, value in jax.tree_util.tree_flatten_with_path(self.params)[0]:
            name = _PARAMS + jax.tree_util.keystr(path, simple=True, separator=".")
            axes = tuple(f"{name}_{i}" for i in range(value.ndim - len(runs)))
            variables[name] = ((*runs, *axes), value, {"units": "1"})
        coordinates |= {
            "seed": np.asarray(self.seeds),
            "round": np.arange(self.rounds),
            "eval_round": ("evaluation", self.eval_rounds),
        }
        if along:
            sizes = zip(along, self.samples.shape, strict=False)
            coordinates |= {name: np.arange(size) for name, size in sizes}
        if profiles is not None:
            coordinates["profile"] = list(profiles)
        attrs = {
            "method": self.method.name,
            "hyperparameters": list(leaves),
            "replayable": int(self.replayable),
            "training_seconds": self.seconds,
            "compiled_seconds": self.compiled_seconds,
        }
        # The order of numbers in memory is that of a file, so that sums over them are the same as well.
        stored = {k: (dims, np.ascontiguousarray(x), about) for k, (dims, x, about) in variables.items()}
        return xr.Dataset(stored, coordinates, attrs)

    @classmethod
    def from_xarray(cls, dataset: xr.Dataset, method: Method) -> Trace:
        """The trace of a method that `to_xarray` made a data set of; params are nested dictionaries."""
        params: dict[str, Any] = {}
        for name in dataset.data_vars:
            if str(name).startswith(_PARAMS):
                *path, last = str(name).removeprefix(_PARAMS).split(".")
                inner = params
                for part in path:
                    inner = inner.setdefault(part, {})
                inner[last] = dataset[name].values
        replayable = bool(dataset.attrs["replayable"])
        return cls(
            method=method,
            seeds=tuple(dataset["seed"].values.tolist()),
            eval_rounds=dataset["eval_round"].values,
            samples=dataset["samples"].values,
            params=params,
            replayable=replayable,
            # What a sweep has replayed is no part of the trace.
            draws=None if replayable else dataset.sizes.get("draw"),
            times=None if replayable else dataset["time"].values,
            seconds=float(dataset.attrs["training_seconds"]),
            compiled_seconds=float(dataset.attrs["compiled_seconds"]),
            worker_objective=dataset["worker_objective"].values,
            **{name: dataset[name].values for name in _SERIES},
        )

    def save(self, path: str | Path) -> Path:
        """Write the trace to a NetCDF file, from which `load` makes it again, and return its path."""
        path = Path(path)
        described = {"method_collection": json.dumps(_described(self.method))}
        self.to_xarray().assign_attrs(described).to_netcdf(path, engine="h5netcdf")
        return path

    @classmethod
    def load(cls, path: str | Path, method: Method | None = None) -> Trace:
        """The trace of a file that `save` wrote. It can be replayed at once.

        Args:
            path: of the file.
            method: that was trained. Without it the trace knows its collection, but not its update rule;
                a rule of your own must have been registered.

        Raises:
            InputError: a file that holds no trace, or a rule that is not known here.
        """
        try:
            check_netcdf(as_path("path", path))
            dataset = xr.load_dataset(path, engine="h5netcdf")
            described = of_json(dataset.attrs["method_collection"])
            return cls.from_xarray(dataset, method or _rebuilt(described))
        except InputError:
            raise
        except Exception as error:  # libraries raise anything for what they do not expect in a file
            reason = error if isinstance(error, Damaged) else type(error).__name__
            raise InputError(
                f"path: {path} cannot be read ({reason}), one of `Trace.save` is allowed."
            ) from None

    def time_to(
        self,
        threshold: float,
        profile: Profile | None = None,
        *,
        key: int | Key[Array, ""] | None = None,
        draws: int | None = None,
        comm_model: Model = "allreduce",
    ) -> xr.DataArray:
        """Seconds at which J first reaches a threshold, with labelled axes; inf where it never does.

        Args:
            threshold: a value of J.
            profile: times of the workers, for traces that can be replayed; leading axes are profiles.
            key: for random times; consumed.
            draws: independent realisations of random times, as in `replay`.
            comm_model: model of the network, as in `jaxnigt.clock`.

        Returns:
            f64 with the axes of profiles, draws, hyperparameters and seeds.

        Raises:
            InputError: a missing profile, or one for a trace that has its own.
        """
        if self.times is not None and profile is not None:
            raise InputError(f"profile: {self.method.name} was trained along its own, leave it out.")
        if self.times is None and profile is None:
            raise InputError("profile: a trace that can be replayed needs one, a Profile is allowed.")
        end = self.times
        if end is None:
            assert profile is not None
            end = replay(self, profile, key=key, draws=draws, comm_model=comm_model)
        axes = _clock_axes(end.ndim - 1, draws if self.times is None else self.draws)
        times = xr.DataArray(eval_times(end, self.eval_rounds), dims=(*axes, "evaluation"))
        return first_reached(self.to_xarray()["objective"], times, threshold)


def _clock_axes(count: int, draws: int | None) -> tuple[str, ...]:
    """Names of the axes of profiles, and of draws where there are any."""
    if draws is not None:
        return *_clock_axes(count - 1, None), "draw"
    return ("profile",) if count == 1 else tuple(f"profile_{i}" for i in range(count))


def _leaf_axes(method: Method) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Names of the axes of hyperparameters, and the coordinates along them.

    An axis along which one hyperparameter varies has its name. Where several vary together the axis is
    called after all of them, and each is a coordinate along it.
    """
    shape, given = method.leaf_shape, {k: np.asarray(v) for k, v in method.hyperparameters.items()}
    full = {k: v.reshape((1,) * (len(shape) - v.ndim) + v.shape) for k, v in given.items()}
    varying = [[k for k, v in full.items() if v.shape[i] == size > 1] for i, size in enumerate(shape)]
    # An axis of one entry belongs to an array that varies along no other.
    still = [k for k, v in given.items() if v.ndim and v.size == 1]
    names, coordinates = [], {}
    for axis, keys in enumerate(varying):
        keys = keys or still[:1]
        still = [k for k in still if k not in keys]
        names.append("-".join(keys) or f"hyperparameter_{axis}")
        for key in keys:
            if full[key].size == shape[axis]:
                coordinates[key] = (names[-1], full[key].reshape(-1).astype(float))
    rest = {k: v for k, v in given.items() if k not in coordinates and v.size == 1}
    return tuple(names), coordinates | {k: float(v.reshape(())) for k, v in rest.items()}


_WEIGHTS = {"mean": mean, "worker_mean": worker_mean}


def _described(method: Method) -> dict[str, Any]:
    """What replay needs of a method, in words."""
    collection = method.collection
    described: dict[str, Any] = {
        "name": method.name,
        "init_batch": method.init_batch,
        "hyperparameters": {k: np.asarray(v, float).tolist() for k, v in method.hyperparameters.items()},
    }
    if isinstance(collection, Asynchronous):
        return described | {"asynchronous": True}
    names = {entry.maker: name for name, entry in entries("rule").items()}
    rule = {"name": names.get(type(collection.rule)), **dataclasses.asdict(collection.rule)}
    weights = next((name for name, f in _WEIGHTS.items() if f is collection.weights), None)
    return described | {"rule": rule, "weights": weights, "restart": collection.restart}


def _rebuilt(described: dict[str, Any]) -> Method:
    """A method that can be replayed and not trained, as nothing that a file names is ever run."""

    def unknown(**hyperparameters: Any) -> Any:
        raise InputError("method: a trace from a file has no update rule, build the method to train it.")

    if "asynchronous" in described:
        collection: Any = Asynchronous()
    else:
        weights = _WEIGHTS.get(described["weights"])
        if weights is None or described["rule"]["name"] is None:
            raise InputError(
                "method: its rule or its weights have no registered name, give `Trace.load` the method."
            )
        collection = Collection(make("rule", described["rule"]), weights, described["restart"])
    leaves = described["hyperparameters"]
    return Method(
        described["name"], collection, unknown, described["init_batch"], hyperparameters=leaves
    )


def replay(
    trace: Trace,
    profile: Profile,
    *,
    key: int | Key[Array, ""] | None = None,
    draws: int | None = None,
    comm_model: Model = "allreduce",
) -> Float64[np.ndarray, "*profiles K"]:
    """Seconds at which each round of a trace is over under each profile. Nothing is trained.

    Args:
        trace: of a method whose iterates do not depend on the clock.
        profile: times of n workers; leading axes are profiles.
        key: for random times; consumed.
        draws: D, independent realisations of random times, which make an axis behind the profiles. The
            first is that of a replay without draws.
        comm_model: model of the network, as in `jaxnigt.clock`.

    Returns:
        f64[..., K] with the profile's leading axes, or f64[..., D, K] with draws.

    Raises:
        InputError: a trace whose schedule was part of its training, a profile with the wrong number of
            workers, an unknown communication model, or random times without a key.
        InvariantError: the clock contradicts itself; every result is verified.

    Example:
        >>> import jaxnigt as jn
        >>> trace = jn.train(jn.problems.tabular(), jn.methods.rennala_nigt(4), iterations=3)
        >>> replay(trace, jn.profiles.equal(2))
        array([2., 4., 6.])
    """
    instance("trace", trace, Trace, "what jn.train gives")
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    collection = trace.method.collection
    if not trace.replayable or not isinstance(collection, Collection):
        raise InputError(
            f"trace: {trace.method.name} was trained with one schedule and cannot be replayed under "
            "another, only traces with replayable = True can."
        )
    sizes = trace.method.sizes(trace.rounds)
    keys = [key]
    if draws is not None:
        whole("draws", draws)
        if profile.noise is not None and key is not None:
            keys = draw_keys(as_key("key", key), draws)
    ends = []
    for own in keys:
        rounds = collection.rounds(profile, sizes, key=own, comm_model=comm_model)
        verify(rounds, profile)
        ends.append(rounds.end)
    return ends[0] if draws is None else np.stack([*ends, *ends[:1] * (draws - len(ends))], axis=-2)
