"""The choice of hyperparameters by the time that is reported, on one half of the seeds for the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int, Shaped

from jaxnigt.training.passages import around, first_passages
from jaxnigt.training.times import SECONDS


class Passages(NamedTuple):
    """When the C candidates of one method first come to L levels.

    Attributes:
        time: f64[P, C, D, S, L], seconds, inf if never.
        gradients: f64[P, C, D, S, L], spent by then.
        rounds: f64[P, C, D, S, L], or updates.
        resolved: bool[P, C, D, S, L], whether the crossing is after the second evaluation.
        leaves: f64[C] of each hyperparameter.
        batch: of the method, 0 where it has none.
        grid: which of the given methods it belongs to, whose grid of stepsizes has grown since.
    """

    time: np.ndarray
    gradients: np.ndarray
    rounds: np.ndarray
    resolved: np.ndarray
    leaves: dict[str, np.ndarray]
    batch: float
    grid: int


def passages(
    values: Float64[np.ndarray, "#P C #D S E"],
    clocks: Float64[np.ndarray, "3 P D E"],
    thresholds: Float64[np.ndarray, " L"],
    leaves: dict[str, np.ndarray],
    batch: float,
    grid: int,
) -> Passages:
    """When values first come to thresholds, in the seconds, gradients and rounds of the clocks."""
    found = [first_passages(values, clocks[:, :, None, :, None], level) for level in thresholds]
    passed, resolved = (np.stack(x, axis=-1) for x in zip(*found, strict=True))
    time, gradients, rounds = passed
    return Passages(time, gradients, rounds, resolved, leaves, batch, grid)


def choice(parts: list[Passages], half: int) -> tuple[np.ndarray, np.ndarray]:
    """The least median over the seeds that tune, f64[P, L], and whose it is, i[P, L]."""
    medians = np.concatenate(
        [np.median(_runs(part.time[..., :half, :]), axis=2) for part in parts], axis=1
    )
    return medians.min(axis=1), medians.argmin(axis=1)


def report(parts: list[Passages], seeds: int) -> xr.Dataset:
    """What `jaxnigt.complexity` returns of one label, of the seeds that do not tune."""
    half = seeds // 2
    tuning, which = choice(parts, half)
    columns, never = table(parts), ~np.isfinite(tuning)

    def chosen(name: str) -> np.ndarray:
        """[P, R, L] of the candidates that were chosen."""
        all_ = np.concatenate([_runs(getattr(x, name)[..., half:, :]) for x in parts], axis=1)
        return np.take_along_axis(all_, which[:, None, None, :], axis=1)[:, 0]

    time = np.where(never[:, None], np.nan, chosen("time"))
    low, high = around(np.sort(time, axis=1), seeds - half, time.shape[1])
    grids = _grids(parts)
    spans = [[part for part in parts if part.grid == grid] for grid in range(grids.max() + 1)]
    least, most = np.array([ends(own)[:2] for own in spans])[grids].T
    inside = (least < columns["stepsize"]) & (columns["stepsize"] < most)
    axes = ("profile", "level")
    seconds = {"time": np.median(time, axis=1), "low": low, "high": high, "tuning_time": tuning}
    values = {name: (axes, x, SECONDS) for name, x in seconds.items()}
    for name in ("gradients", "rounds"):
        values[name] = (
            axes,
            np.where(never, np.nan, np.median(chosen(name), axis=1)),
            {"units": "1"},
        )
    for name, column in columns.items():
        known = ~never & (column[which] > 0)
        values[name] = (axes, np.where(known, column[which], np.nan), {"units": "1"})
    counts = {
        "missed": np.isinf(time).sum(axis=1),
        "inside": inside[which] & ~never,
        "resolved": chosen("resolved").mean(axis=1) >= 0.5,
    }
    values |= {name: (axes, x, {"units": "1"}) for name, x in counts.items()}
    return xr.Dataset(values)


def slopes(found: xr.Dataset, of: str = "time") -> xr.Dataset:
    """Exponents a of epsilon^-a, by least squares through the logarithms of what levels take.

    Args:
        found: of `jaxnigt.complexity` by the gradient, with three levels or more.
        of: "time", "gradients" or "rounds".

    Returns:
        `slope` and `error`, its standard error, for each label and profile, over the levels that are
        reached and resolved; NaN where these are fewer than three. `levels` counts them.
    """
    x = -np.log(found["level"].values)

    def fit(y: np.ndarray, sure: np.ndarray) -> tuple[float, float, int]:
        sure = sure & np.isfinite(y) & (y > 0)
        if sure.sum() < 3:
            return np.nan, np.nan, int(sure.sum())
        (slope, _), covariance = np.polyfit(x[sure], np.log(y[sure]), 1, cov=True)
        return slope, covariance[0, 0] ** 0.5, int(sure.sum())

    slope, error, levels = xr.apply_ufunc(
        fit,
        *(found[of], found["resolved"]),
        input_core_dims=[["level"], ["level"]],
        output_core_dims=[[], [], []],
        vectorize=True,
    )
    return xr.Dataset({"slope": slope, "error": error, "levels": levels})


def leaders(found: xr.Dataset) -> xr.Dataset:
    """Who comes first to each level, by how much, and with whom it is a tie.

    Args:
        found: of `jaxnigt.complexity`, with two labels or more.

    Returns:
        `first`, the label of the least time, "" where nobody comes there; `margin`, the second-least
        time over the least; and `ties`, which of the labels have a band that meets that of the first.
    """
    time = found["time"].fillna(np.inf).transpose("label", ...)
    order = np.sort(time.values, axis=0)
    least, second = (time[0].copy(data=order[k]) for k in (0, 1))
    with np.errstate(invalid="ignore"):
        margin = (second / least.where(np.isfinite(least) & (least > 0))).drop_vars("label")
    which = time.argmin("label")
    first = found["label"][which].drop_vars("label").where(np.isfinite(least), "")
    high = found["high"].isel(label=which).drop_vars("label")
    ties = (found["low"] <= high) & np.isfinite(time) & (found["label"] != first)
    return xr.Dataset(
        {"first": first.drop_vars("label", errors="ignore"), "margin": margin, "ties": ties}
    )


def table(parts: list[Passages]) -> dict[str, np.ndarray]:
    """Hyperparameters and batch of all candidates, f64[C] each, NaN for what one does not have."""
    names = dict.fromkeys(name for part in parts for name in part.leaves)
    sizes = [len(part.leaves["stepsize"]) for part in parts]
    table = {
        name: np.concatenate(
            [p.leaves.get(name, np.full(size, np.nan)) for p, size in zip(parts, sizes, strict=True)]
        )
        for name in names
    }
    return table | {
        "batch": np.concatenate([np.full(s, p.batch) for p, s in zip(parts, sizes, strict=True)])
    }


def _grids(parts: list[Passages]) -> Int[np.ndarray, " C"]:
    """The grid that each candidate belongs to."""
    return np.concatenate([np.full(len(part.leaves["stepsize"]), part.grid) for part in parts])


def ends(grid: list[Passages]) -> tuple[float, float, float]:
    """The least and the largest stepsize of the parts of a grid, and its ratio."""
    steps = np.unique(np.concatenate([part.leaves["stepsize"] for part in grid]))
    ratio = float(np.median(steps[1:] / steps[:-1])) if len(steps) > 1 else 2.0
    return float(steps[0]), float(steps[-1]), ratio


def _runs(values: Shaped[np.ndarray, "P C D S L"]) -> Shaped[np.ndarray, "P C R L"]:
    """Draws and seeds as one axis of runs."""
    return values.reshape(*values.shape[:2], -1, values.shape[-1])
