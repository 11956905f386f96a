"""Restarting workers at the end of each round against letting them finish."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.common import RETURN, Drawn, Results, level, quantiles, scale
from jaxnigt.figures import BAND, curves, returns, style, title
from jaxnigt.sweep.selection import best

SWEEPS = ("timing",)

CANCEL, FINISH = (f"rennala_nigt,restart={rule}" for rule in ("cancel", "finish"))
SHOWN = "fixed,exponent=1"
"""Profile whose returns are drawn."""
_TICKS = (
    (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 2.5, 3, 4),
    (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
"""Ratios to label, where the largest is at most 4 times the smallest and where it is more."""


class Ratio(NamedTuple):
    """Time with "finish" over time with "cancel" under one profile.

    Attributes:
        band: f64[3], to the threshold, seed by seed: low end of the band over seeds, median, high end;
            NaN where no seed reaches it.
        round: of the end of the last round, that is of the mean time of one.
    """

    band: Float64[np.ndarray, "3"]
    round: float


def heading(tree: xr.DataTree, profile: str) -> str:
    """The title of a profile, that of power laws by their exponent."""
    name, _, exponent = profile.partition(",exponent=")
    if not exponent:
        return title(tree, profile)
    power = {"0.5": "√i", "1": "i"}.get(exponent, f"$i^{{{exponent}}}$")
    return f"{name}: h = {power}"


def ratio(tree: xr.DataTree, profile: str) -> Ratio:
    """How much longer rounds take where workers finish what they compute."""
    cancel, finish = (
        best(tree[f"methods/{label}"].to_dataset()).sel(profile=profile).isel(comm_model=0)
        for label in (CANCEL, FINISH)
    )
    # The iterates are the same, so a seed arrives in the same round or not at all.
    to = [data["time_to_threshold"].isel(threshold=0).values for data in (finish, cancel)]
    there = np.isfinite(to[0]) & np.isfinite(to[1]) & (to[1] > 0)
    end = [float(data["time"][-1]) for data in (finish, cancel)]
    return Ratio(quantiles(to[0][there] / to[1][there]), end[0] / end[1])


def draw(results: Results) -> Drawn:
    """The figure and its caption."""
    tree = results.panel("timing")
    profiles = [str(label) for label in tree["profiles"].to_dataset()["profile"].values]
    found = {profile: ratio(tree, profile) for profile in profiles}
    names = {profile: heading(tree, profile) for profile in profiles}
    figure = Figure(figsize=(10.0, 0.34 * len(profiles) + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
    _returns(left, tree)
    _ratios(right, {names[profile]: found[profile] for profile in profiles})
    caption = f"{_words(names, found)}{scale(results, 'timing', tree)}"
    return Drawn(figure, caption)


def _returns(axes: Axes, tree: xr.DataTree) -> None:
    lines = curves(tree, SHOWN)
    shown = {
        label: lines[label]._replace(line=line, title=label.rpartition("=")[2])
        for label, line in {CANCEL: "-", FINISH: (0, (5, 2))}.items()
    }
    returns(axes, shown, level(tree))
    axes.set_ylabel(RETURN)
    _head(axes, f"Rennala NIGT, {heading(tree, SHOWN)}")


def _head(axes: Axes, words: str) -> None:
    """A title and under it the legend, above the data."""
    axes.set_title(words, pad=20)
    handles, names = axes.get_legend_handles_labels()
    where = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.985), "ncols": len(names)}
    axes.legend(handles, names, frameon=False, **where)


def _ratios(axes: Axes, found: dict[str, Ratio]) -> None:
    """A line a profile, the first on top: the threshold with its band, and the round."""
    places = np.arange(len(found))
    bands = np.stack([one.band for one in found.values()])
    rounds = np.array([one.round for one in found.values()])
    colour, spread = style("rennala_nigt").colour, np.abs(bands[:, [0, 2]] - bands[:, [1]]).T
    axes.errorbar(
        bands[:, 1],
        places - 0.14,
        xerr=spread,
        fmt="o",
        color=colour,
        capsize=3,
        markersize=6,
        label="to the threshold",
    )
    axes.errorbar(
        rounds, places + 0.14, fmt="D", color=colour, markerfacecolor="white", label="of a round"
    )
    axes.axvline(1, color="0.4", linewidth=0.8)
    axes.set_yticks(places, list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    _scale(axes, np.concatenate([bands.ravel(), rounds]))
    axes.set_xlabel("time with finish / time with cancel")
    _head(axes, "What finish takes, cancel = 1")


def _scale(axes: Axes, values: np.ndarray) -> None:
    """A log axis around 1 and all ratios, with few plain numbers."""
    values = np.append(values[np.isfinite(values)], 1.0)
    low, high = values.min() / 1.1, values.max() * 1.1
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [x for x in _TICKS[int(high > 4 * low)] if low <= x <= high]
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.set_xticks([], minor=True)


def _words(names: dict[str, str], found: dict[str, Ratio]) -> str:
    """The caption but for the scale."""
    return (
        "Rennala NIGT where at the end of a round all workers drop what they compute and start anew "
        "(*cancel*), and where they first finish it, only to discard it (*finish*); the trainings are "
        f"the same, only the clock differs. Left: returns under {names[SHOWN]}. Right: time with finish "
        "over time with cancel, to the threshold (median and band over the seeds that reach it, from "
        f"their {100 * BAND[0]:g} to their {100 * BAND[1]:g} per cent quantile) and of a round (mean "
        "over all rounds). In per cent, what finish takes longer than cancel:\n\n"
        f"{_table(names, found)}\n\n"
    )


def _table(names: dict[str, str], found: dict[str, Ratio]) -> str:
    """The ratios as a Markdown table."""
    head = ["times", "to the threshold [%]", "of a round [%]"]
    lines = [head, ["---"] * len(head)]
    for profile, one in found.items():
        low, middle, high = (_percent(x) for x in one.band)
        lines.append([names[profile], f"{middle} ({low} to {high})", _percent(one.round)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _percent(of: float) -> str:
    return f"{100 * (of - 1):+.1f}" if np.isfinite(of) else "-"
