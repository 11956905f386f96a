"""The same runs under four models of communication."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.common import Drawn, Results, level, plain_log, quantiles, scale
from figures.regimes import variants
from jaxnigt.figures import style, title

SWEEPS = ("regimes",)

RULES = {"rennala_nigt": "o", "synchronous_nigt": "s", "m_synchronous_nigt": "^"}
"""Markers of the methods."""
_APART = 0.22
_MODELS = {
    "allreduce": "the largest kappa_i of all workers",
    "server": "the largest kappa_i of those whose gradients are used",
    "serial": "the sum of kappa_i over those whose gradients are used",
    "gather": "each gradient travels for kappa_i while others compute",
}


class Time(NamedTuple):
    """Seconds to the threshold of a rule at its fastest M or m.

    Attributes:
        band: f64[3], low end of the band over seeds, median, high end, inf where it is missed.
        batch: M or m.
    """

    band: Float64[np.ndarray, "3"]
    batch: int


def times(tree: xr.DataTree, rule: str, profile: str, comm_model: str) -> Time:
    """How fast a rule is under one profile and communication model."""
    found = []
    for data in variants(tree, rule).values():
        one = data["time_to_threshold"].isel(threshold=0).sel(profile=profile, comm_model=comm_model)
        found.append(Time(quantiles(one.values), int(data["samples"][-1])))
    return min(found, key=lambda time: np.nan_to_num(time.band[1], nan=np.inf, posinf=np.inf))


def draw(results: Results) -> Drawn:
    """The figure and its caption."""
    tree = results.panel("regimes")
    profiles = [str(label) for label in tree["profiles"].to_dataset()["profile"].values]
    figure = Figure(figsize=(3.1 * len(profiles) + 0.5, 3.5), layout="constrained")
    for axes, profile in zip(figure.subplots(1, len(profiles), squeeze=False)[0], profiles, strict=True):
        _panel(axes, tree, profile)
        axes.set_title(title(tree, profile))
    figure.axes[0].set_ylabel(f"virtual time to J = {level(tree):.4g} [s]")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return Drawn(figure, f"{_words(tree, profiles)}{scale(results, 'regimes', tree, lines=False)}")


def models(tree: xr.DataTree) -> list[str]:
    """Communication models of a panel."""
    data = next(iter(tree["methods"].children.values())).to_dataset()
    return [str(model) for model in data["comm_model"].values]


def _panel(axes: Axes, tree: xr.DataTree, profile: str) -> None:
    """Medians with bands, a group for each communication model."""
    names, finite = models(tree), []
    for k, (rule, marker) in enumerate(RULES.items()):
        bands = np.stack([times(tree, rule, profile, model).band for model in names])
        places = np.arange(len(names)) + _APART * (k - (len(RULES) - 1) / 2)
        bars = np.where(np.isfinite(bands), bands, np.nan)
        # A band without an upper end is drawn from the median on, with no bar above it.
        spread = np.nan_to_num(np.abs(bars[:, [0, 2]] - bars[:, [1]])).T
        colour, _, name = style(rule)
        axes.errorbar(
            places, bars[:, 1], spread, fmt=marker, color=colour, label=name, capsize=3, markersize=6
        )
        for place, median in zip(places, bands[:, 1], strict=True):
            if not np.isfinite(median):
                _missed(axes, place, colour)
        finite.append(bars[np.isfinite(bars)])
    _frame(axes, names, np.concatenate(finite))


def _missed(axes: Axes, place: float, colour: str) -> None:
    axes.text(
        place,
        0.97,
        "never",
        rotation="vertical",
        color=colour,
        ha="center",
        va="top",
        transform=axes.get_xaxis_transform(),
    )


def _frame(axes: Axes, names: list[str], values: np.ndarray) -> None:
    """Groups between lines, and a log axis with numbers that can be read."""
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    for k in range(1, len(names)):
        axes.axvline(k - 0.5, color="0.8", linewidth=0.8)
    axes.grid(visible=False, axis="x")
    seconds(axes, values)


def seconds(axes: Axes, values: np.ndarray) -> None:
    """A vertical log axis with room around positive values and plain numbers at 1, 2 and 5."""
    values = values[values > 0]
    if not values.size:
        axes.set_yticks([])
        return
    axes.set_yscale("log")
    axes.set_ylim(values.min() / 1.5, values.max() * 1.5)
    plain_log(axes.yaxis, (1, 2, 5))


def _words(tree: xr.DataTree, profiles: list[str]) -> str:
    """The caption but for the scale."""
    named = [f"{model} ({_MODELS[model]})" for model in models(tree)]
    return (
        "Virtual time to the threshold of the same trainings when rounds communicate in different ways: "
        f"{'; '.join(named)}. Each method is shown at the M or m whose median is least for that profile "
        "and model. Points are medians over seeds, bars run from their 20 to their 80 per cent "
        "quantile.\n\n"
        f"{_table(tree, profiles)}\n\n"
    )


def _table(tree: xr.DataTree, profiles: list[str]) -> str:
    """Medians, bands and M or m as a Markdown table."""
    head = ["times", "communication", *(f"{style(rule).title} [s]" for rule in RULES)]
    lines = [head, ["---"] * len(head)]
    for profile in profiles:
        for model in models(tree):
            cells = [_cell(rule, times(tree, rule, profile, model)) for rule in RULES]
            lines.append([title(tree, profile), model, *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _cell(rule: str, time: Time) -> str:
    letter = "M" if rule == "rennala_nigt" else "m"
    return f"{words(time.band)}, {letter} = {time.batch}"


def words(band: Float64[np.ndarray, "3"]) -> str:
    """A median and its band, for people."""
    if not np.isfinite(band[0]):
        return "never"
    low, middle, high = (_seconds(x) if np.isfinite(x) else "never" for x in band)
    return f"{middle} ({low} to {high})"


def _seconds(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"
