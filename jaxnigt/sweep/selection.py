"""Which hyperparameters a method is reported at, and how far their choice can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr


def over_runs(values: xr.DataArray) -> xr.DataArray:
    """Values with one axis, "run", in place of those of seeds and, if there are any, draws."""
    axes = [axis for axis in ("seed", "draw") if axis in values.dims]
    return values.stack(run=axes, create_index=False)


def leaf_axes(dataset: xr.Dataset) -> list[str]:
    """The dimensions of a method's data set that are hyperparameters."""
    return [str(name) for name in np.atleast_1d(dataset.attrs["hyperparameters"])]


def tenth(length: int) -> int:
    """A tenth of a length, and 1 at least."""
    return max(1, length // 10)


def final(dataset: xr.Dataset) -> xr.DataArray:
    """J(theta_t) of a method, averaged over seeds, draws and the last tenth of the evaluations.

    It is -inf where a run stopped being finite.
    """
    end = dataset["objective"].isel(evaluation=slice(-tenth(dataset.sizes["evaluation"]), None))
    mean = over_runs(end).mean(("run", "evaluation"), skipna=False)
    return mean.where(np.isfinite(mean), -np.inf)


def best_indices(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Where the highest `final` stands: an index for each hyperparameter.

    Where a method was trained along profiles each of them has its own.
    """
    names = leaf_axes(dataset)
    found = final(dataset).argmax(names)
    assert isinstance(found, dict)
    return {str(name): found[name] for name in names}


def best(dataset: xr.Dataset) -> xr.Dataset:
    """A method at its best hyperparameters, by `best_indices` or as the data set says."""
    indices = best_indices(dataset)
    found = {name: dataset.get(f"best_{name}_index", index) for name, index in indices.items()}
    return dataset.isel({name: index.astype(int) for name, index in found.items()})


def final_elsewhere(dataset: xr.Dataset) -> xr.DataArray:
    """`final` where each seed is judged at the hyperparameters that the other seeds choose.

    Choosing and reporting on the same seeds flatters a method, and the difference to `final` at its best
    hyperparameters says by how much. It is NaN where there is one seed.
    """
    count, names = dataset.sizes["seed"], leaf_axes(dataset)
    end = dataset["objective"].isel(evaluation=slice(-tenth(dataset.sizes["evaluation"]), None))
    each = end.mean([d for d in ("draw", "evaluation") if d in end.dims], skipna=False)
    each = each.where(np.isfinite(each), -np.inf)
    each = each.stack(choice=names, create_index=False) if names else each.expand_dims("choice")
    if count == 1:
        return each.isel(seed=0, choice=0, drop=True) * np.nan
    parts: list[xr.DataArray] = []
    for seed in range(count):
        others = each.isel(seed=[i for i in range(count) if i != seed]).mean("seed")
        choice = others.fillna(-np.inf).argmax("choice")
        parts.append(each.isel(seed=seed, choice=choice, drop=True))
    return xr.concat(parts, "seed").mean("seed")


def at_edge(dataset: xr.Dataset) -> dict[str, list[float]]:
    """The best values that are the least or the largest of those tried, by hyperparameter."""
    found = {}
    for name, index in best_indices(dataset).items():
        last = dataset.sizes[name] - 1
        ends = sorted({0, last} & set(np.unique(index.values).tolist()))
        if last and ends:
            found[name] = dataset[name].values[ends].tolist()
    return found


def runs_in_words(dataset: xr.Dataset) -> str:
    """What medians and bands are over, such as "3 seeds x 5 draws of the clock"."""
    words = f"{dataset.sizes['seed']} seeds"
    return f"{words} x {dataset.sizes['draw']} draws of the clock" if "draw" in dataset.dims else words


def missed(dataset: xr.Dataset) -> tuple[int, int]:
    """How many runs at the best hyperparameters never come to the first threshold, and of how many."""
    never = ~np.isfinite(best(dataset)["time_to_threshold"].isel(threshold=0))
    return int(never.sum()), int(never.size)


def threshold(
    datasets: Sequence[xr.Dataset], shares: Sequence[float], *, highest: bool = False
) -> tuple[float, np.ndarray]:
    """J at the start, and J that lies some shares of the way to the end that all methods reach.

    From J(theta_0), averaged over methods and runs, to the lowest final J of the methods, or to the
    highest, each at its best hyperparameters and, where it was trained along profiles, averaged over
    them.
    """
    start = float(np.mean([dataset["objective"].isel(evaluation=0).mean() for dataset in datasets]))
    ends = [float(final(dataset).max(leaf_axes(dataset)).mean()) for dataset in datasets]
    finite = [end for end in ends if np.isfinite(end)] or [start]
    return start, start + np.asarray(shares) * ((max if highest else min)(finite) - start)
