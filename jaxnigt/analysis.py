"""What is read off trained methods: which stepsize is best, how much was learnt, what to reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

LEAF = ("stepsize", "momentum")


def _tenth(length: int) -> int:
    return max(1, length // 10)


def final(dataset: xr.Dataset) -> xr.DataArray:
    """J(theta_t) averaged over seeds and the last tenth of the evaluations.

    It is -inf where a run stopped being finite.

    Args:
        dataset: of a method, with dimensions stepsize, momentum, seed and evaluation at least.
    """
    end = dataset["objective"].isel(evaluation=slice(-_tenth(dataset.sizes["evaluation"]), None))
    mean = end.mean(("seed", "evaluation"), skipna=False)
    return mean.where(np.isfinite(mean), -np.inf)


def best_indices(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Where the highest `final` stands: indices of stepsize and momentum.

    The rule knows nothing of any profile, but where a method was trained along profiles each has its
    own.
    """
    flat = final(dataset).stack(leaf=LEAF).argmax("leaf")
    momenta = dataset.sizes["momentum"]
    return {"stepsize": flat // momenta, "momentum": flat % momenta}


def best(dataset: xr.Dataset) -> xr.Dataset:
    """A method at its best hyperparameters, by `best_indices` or as the data set says."""
    names = {name: f"best_{name}_index" for name in LEAF}
    found = best_indices(dataset)
    if all(name in dataset for name in names.values()):
        found = {name: dataset[variable] for name, variable in names.items()}
    return dataset.isel({name: index.astype(int) for name, index in found.items()})


def improvement(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean undiscounted return of the first and of the last tenth of rounds, for every run."""
    returns, tenth = dataset["batch_undiscounted"], _tenth(dataset.sizes["round"])
    ends = returns.isel(round=slice(None, tenth)), returns.isel(round=slice(-tenth, None))
    first, last = (part.mean("round", skipna=False) for part in ends)
    return first, last


def objective_at(dataset: xr.Dataset, seconds: float) -> xr.DataArray:
    """J(theta_t) at the last evaluation whose point exists by a time.

    Args:
        dataset: of a method under one profile, with `objective` and `eval_time`, both along
            evaluation.
        seconds: of virtual time, not before the first evaluation.
    """
    last = int(np.searchsorted(dataset["eval_time"].values, seconds, side="right")) - 1
    return dataset["objective"].isel(evaluation=max(last, 0), drop=True)


def threshold(datasets: Sequence[xr.Dataset], shares: Sequence[float]) -> tuple[float, np.ndarray]:
    """J at the start, and J that lies some shares of the way to the end that all methods reach.

    From J(theta_0), averaged over methods and runs, to the lowest final J of the methods, each at
    its best hyperparameters and, where it was trained along profiles, averaged over them.
    """
    start = float(np.mean([dataset["objective"].isel(evaluation=0).mean() for dataset in datasets]))
    ends = [float(final(dataset).max(LEAF).mean()) for dataset in datasets]
    lowest = min((end for end in ends if np.isfinite(end)), default=start)
    return start, start + np.asarray(shares) * (lowest - start)
