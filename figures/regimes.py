"""Which rule for collecting gradients is fastest, over heterogeneity and communication."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int64
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from scipy import ndimage

import jaxnigt as jn
from figures.common import Drawn, Results, level, scale
from jaxnigt.figures import style
from jaxnigt.profiles import Profile
from jaxnigt.sweep.selection import best

SWEEPS = ("regimes",)

RULES = ("synchronous_nigt", "m_synchronous_nigt", "rennala_nigt")
"""The simplest first, which takes ties."""
LETTERS = ("S", "m", "N")
HATCHES = ("....", "////", "")
NONE = -1
"""Where no rule reaches the threshold."""
VARIANCE, ROUNDS = 20.0, 1000.0
"""sigma^2 / epsilon^2 and both terms of rounds of the theory alone."""
MODEL = "allreduce"
"""Whose round the bounds are for."""

_TICKS = (
    (1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2),
    (1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000),
)
"""Gains to label, where the largest is at most 2 and where it is more."""


class Grid(NamedTuple):
    """A grid of profiles.

    Attributes:
        p: f64[p], h_i = i^p seconds.
        c: f64[c], kappa_i = c i^power seconds.
        profile: of shape [p, c].
        power: of kappa_i.
    """

    p: Float64[np.ndarray, " p"]
    c: Float64[np.ndarray, " c"]
    profile: Profile
    power: float

    @property
    def kappa(self) -> Float64[np.ndarray, "p c"]:
        """Seconds of the longest communication in each profile."""
        return self.profile.comm.max(axis=-1)


def grid_of(tree: xr.DataTree) -> Grid:
    """The profiles of the grid of a panel."""
    data = tree["grid"].to_dataset()
    p, c, power = data["exponent"].values, data["comm_scale"].values, data.attrs["comm_exponent"]
    return Grid(p, c, jn.profiles.power_law(int(tree.attrs["workers"]), p[:, None], power, c), power)


def variants(tree: xr.DataTree, rule: str) -> dict[str, xr.Dataset]:
    """Every M or m of a rule at its best hyperparameters, by its label."""
    groups = tree["methods"].children.items()
    return {str(k): best(g.to_dataset()) for k, g in groups if g.attrs["method"] == rule}


def measured(tree: xr.DataTree) -> dict[str, Float64[np.ndarray, "rule p c"]]:
    """Median seconds to the threshold of each rule at its fastest M or m, by communication model."""
    data = tree["grid"].to_dataset()["time_to_threshold"].isel(threshold=0)
    found = {}
    for model in data["comm_model"].values:
        times = []
        for rule in RULES:
            # A dictionary, as `method` is also an argument of xarray's.
            each = data.sel({"comm_model": model, "method": list(variants(tree, rule))})
            times.append(each.transpose("method", "exponent", "comm_scale").values.min(axis=0))
        # A rule whose runs all failed has no time, and is not first anywhere.
        found[str(model)] = np.where(np.isnan(times), np.inf, times)
    return found


def theory_alone(grid: Grid) -> Float64[np.ndarray, "rule p c"]:
    """Order of the seconds that upper bounds give each rule, with nothing measured."""
    constants = jn.Constants(L_g=ROUNDS, L_h=ROUNDS**2, sigma=float(np.sqrt(VARIANCE)), delta=1.0)
    bounds = [jn.bounds.upper(rule, grid.profile, constants, 1.0, kappa=grid.kappa) for rule in RULES]
    return np.stack([bound.time for bound in bounds])


def rounds_and_bounds(tree: xr.DataTree, grid: Grid) -> Float64[np.ndarray, "rule p c"]:
    """Rounds as measured times the longest that one can take, for each rule at its fastest M or m."""
    times = []
    for rule in RULES:
        each = [
            rounds_to(data, level(tree)) * longest_round(rule, grid, int(data["samples"][-1]))
            for data in variants(tree, rule).values()
        ]
        times.append(np.min(each, axis=0))
    return np.stack(times)


def rounds_to(data: xr.Dataset, threshold: float) -> float:
    """Median over seeds of the rounds before the evaluation that is the first at the threshold."""
    values = data["objective"].transpose("seed", "evaluation").values
    return float(np.median(jn.time_to(values, data["eval_round"].values, threshold)))


def longest_round(rule: str, grid: Grid, batch: int) -> Float64[np.ndarray, "p c"]:
    """Seconds of a round of `batch` gradients at the latest, communication included."""
    if rule == "rennala_nigt":
        return jn.bounds.rennala_round(grid.profile, batch) + grid.kappa
    # A synchronous round of m gradients waits for the m-th fastest worker, for all n where m = n.
    return np.sort(grid.profile.compute, axis=-1)[..., batch - 1] + grid.kappa


def winners(times: Float64[np.ndarray, "rule p c"]) -> Int64[np.ndarray, "p c"]:
    """Index of the fastest rule; of equal times that of the simplest, NONE where all are inf."""
    least = times.min(axis=0)
    found = (times <= least * (1 + 1e-9)).argmax(axis=0)
    return np.where(np.isfinite(least), found, NONE)


def _ties(times: Float64[np.ndarray, "rule p c"]) -> str:
    """Where the simplest rule is first only because it takes ties, in words."""
    own = winners(times) == 0
    level = own & (times[1:].min(axis=0) <= times[0] * (1 + 1e-9))
    if not own.any():
        return "S is first nowhere."
    return (
        f"In {100 * level.sum() / own.sum():.0f} per cent of what is marked S another rule ties with it."
    )


def gain(times: Float64[np.ndarray, "rule p c"]) -> Float64[np.ndarray, "p c"]:
    """Time of Synchronized NIGT over that of the fastest rule, NaN where there is none."""
    return _over(times[RULES.index("synchronous_nigt")], times.min(axis=0))


def _over(time: np.ndarray, least: np.ndarray) -> np.ndarray:
    there = np.isfinite(least) & (least > 0)
    return np.where(there, time, np.nan) / np.where(there, least, 1.0)


def draw(results: Results) -> Drawn:
    """The figure and its caption."""
    tree = results.panel("regimes")
    grid, times = grid_of(tree), measured(tree)
    said = {"theory alone": theory_alone(grid), "rounds and bounds": rounds_and_bounds(tree, grid)}
    caption = f"{_words(grid, times, said)}{scale(results, 'regimes', tree, lines=False)}"
    return Drawn(_figure(grid, times, said), caption)


def _figure(grid: Grid, times: dict[str, np.ndarray], said: dict[str, np.ndarray]) -> Figure:
    first = {f"measured, {model}": winners(found) for model, found in times.items()}
    real = winners(times[MODEL])
    second = {}
    for name, found in said.items():
        guess = winners(found)
        second[f"{name}: {_same(guess, real):.1f}% agree"] = guess
    gains = {model: gain(times[model]) for model in (MODEL, "serial") if model in times}
    columns = max(len(first), len(second) + len(gains))
    figure = Figure(figsize=(2.75 * columns + 0.6, 6.4), layout="constrained")
    grids = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, found) in zip(grids[0], first.items(), strict=False):
        classes(axes, grid, found)
        axes.set_title(name)
    for axes, (name, found) in zip(grids[1], second.items(), strict=False):
        classes(axes, grid, found)
        axes.set_title(name)
    _gains(figure, grids[1, len(second) : len(second) + len(gains)], grid, gains)
    for axes in (*grids[0, len(first) :], *grids[1, len(second) + len(gains) :]):
        axes.set_visible(False)
    for axes in grids[:, 0]:
        axes.set_ylabel(rf"communication $c$, $\kappa_i = c\, i^{{{grid.power:g}}}$ s")
    for axes in grids[1]:
        axes.set_xlabel(r"heterogeneity $p$, $h_i = i^p$ s")
    _legend(figure, any((found == NONE).any() for found in first.values()))
    return figure


def classes(axes: Axes, grid: Grid, found: Int64[np.ndarray, "p c"]) -> None:
    """A map of rules, told apart by colour, hatch and, where there is room, a letter."""
    cmap = ListedColormap(["white", *(style(rule).colour for rule in RULES)])
    axes.pcolormesh(grid.p, grid.c, found.T, cmap=cmap, vmin=-1.5, vmax=2.5, rasterized=True)
    for k, (letter, hatch) in enumerate(zip(LETTERS, HATCHES, strict=True)):
        inside = found == k
        if inside.any() and not inside.all():
            axes.contour(grid.p, grid.c, inside.T.astype(float), [0.5], colors="black", linewidths=0.7)
        if inside.any() and hatch:
            filled = axes.contourf(
                grid.p, grid.c, inside.T.astype(float), [0.5, 1.5], colors="none", hatches=[hatch]
            )
            filled.set_hatch_linewidth(0.3)
        _letter(axes, grid, inside, letter)
    axes.set_yscale("log")
    axes.grid(False)


def _letter(axes: Axes, grid: Grid, inside: np.ndarray, letter: str) -> None:
    """A letter in the widest place of each piece that has room for one."""
    pieces, count = ndimage.label(inside)
    for piece in range(1, count + 1):
        depth = ndimage.distance_transform_edt(np.pad(pieces == piece, 1))[1:-1, 1:-1]
        if depth.max() < 3:
            continue
        i, j = np.unravel_index(depth.argmax(), depth.shape)
        text = axes.text(grid.p[i], grid.c[j], letter, ha="center", va="center", weight="bold")
        text.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])


def _gains(
    figure: Figure | SubFigure, panels: np.ndarray, grid: Grid, gains: dict[str, np.ndarray]
) -> None:
    """Maps of log2 of the gain on one scale."""
    logs = {model: np.log2(found) for model, found in gains.items()}
    finite = [found[np.isfinite(found)] for found in logs.values()]
    most = max(0.1, *(float(found.max(initial=0.0)) for found in finite))
    for axes, (model, found) in zip(panels, logs.items(), strict=True):
        # Endless gains, where Synchronized NIGT misses the threshold, have the last colour.
        image = axes.pcolormesh(
            grid.p,
            grid.c,
            np.minimum(found, most).T,
            cmap="cividis",
            norm=Normalize(0, most),
            rasterized=True,
        )
        axes.set_title(f"gain, {model}: at most {_number(np.nanmax, gains[model])}")
        axes.grid(False)
    bar = figure.colorbar(image, ax=list(panels), pad=0.02)
    ticks = [x for x in _TICKS[int(most > 1)] if x <= 2**most]
    bar.set_ticks(np.log2(ticks), labels=[f"{x:g}" for x in ticks])
    bar.set_label("time of Synchronized NIGT / fastest")


def _legend(figure: Figure, missed: bool) -> None:
    patches = []
    for rule, letter, hatch in zip(RULES, LETTERS, HATCHES, strict=True):
        patch = Patch(facecolor=style(rule).colour, edgecolor="black", hatch=hatch)
        patch.set_hatch_linewidth(0.3)
        patch.set_label(f"{letter}  {style(rule).title}")
        patches.append(patch)
    if missed:
        patches.append(Patch(facecolor="white", edgecolor="black", label="none reaches the threshold"))
    figure.legend(handles=patches, loc="outside upper center", ncols=4, frameon=False)


def _same(guess: np.ndarray, real: np.ndarray) -> float:
    """Per cent of the profiles that have a measured winner in which a prediction names it."""
    there = real != NONE
    return 100 * float((guess == real)[there].mean()) if there.any() else np.nan


def _words(grid: Grid, times: dict[str, np.ndarray], said: dict[str, np.ndarray]) -> str:
    """The caption but for the scale."""
    count = times[MODEL][0].size
    alone, both = (_judged(found, times[MODEL]) for found in said.values())
    names = ", ".join(
        f"{letter} {style(rule).title}" for letter, rule in zip(LETTERS, RULES, strict=True)
    )
    return (
        f"Which rule is first to the threshold, under each of {count:,} profiles: h_i = i^p seconds "
        f"with p from {grid.p[0]:g} to {grid.p[-1]:g}, kappa_i = c i^{grid.power:g} seconds with c "
        f"from {grid.c[0]:g} to {grid.c[-1]:g}. {names}. A rule's time is the median over seeds at the "
        "M or m that is fastest there; of equal times the rule named first has it. "
        f"{_ties(times[MODEL])} "
        "AFedPG and Malenia NIGT are not in it, since they have to be trained for each profile.\n\n"
        f"Top: measured, by replay, under {len(times)} communication models. Bottom, for {MODEL}: "
        "*theory alone* is the order of the upper bounds (leading constants 1, any M and m, the largest "
        f"kappa_i) at epsilon = 1, sigma^2/epsilon^2 = {VARIANCE:g} and L_g delta/epsilon^2 = "
        f"sqrt(L_h) delta/epsilon^1.5 = {ROUNDS:g}: {alone} *Rounds and bounds* is, for each M or m, "
        "the median of the measured rounds to the threshold times the longest that a round can take "
        "(`jaxnigt.bounds.rennala_round`, the m-th smallest h_i) plus the largest kappa_i: "
        f"{both} Right: the gain, the time of Synchronized NIGT over that of the fastest rule.\n\n"
        f"{_table(times)}\n\n"
    )


def _judged(said: np.ndarray, real: np.ndarray) -> str:
    """How far a prediction can be trusted."""
    guess, least = winners(said), real.min(axis=0)
    followed = np.take_along_axis(real, np.maximum(guess, 0)[None], axis=0)[0]
    loss = _over(np.where(guess == NONE, np.inf, followed), least)
    shares = ", ".join(_shares(guess)[: len(RULES)])
    return (
        f"it puts {', '.join(LETTERS)} first in {shares} per cent of the profiles and names the "
        f"measured winner in {_same(guess, winners(real)):.1f} per cent; who follows it takes "
        f"{_number(np.nanmedian, loss)} times as long as the fastest in the median, "
        f"{_number(np.nanmax, loss)} times at most."
    )


def _shares(found: Int64[np.ndarray, "p c"]) -> list[str]:
    """Per cent of the profiles in which each rule is first, and in which none is."""
    return [f"{100 * (found == k).mean():.1f}" for k in (*range(len(RULES)), NONE)]


def _table(times: dict[str, np.ndarray]) -> str:
    """Who wins how often, and what there is to be gained, as a Markdown table."""
    head = ["communication", *(f"{style(rule).title} first [%]" for rule in RULES), "none [%]"]
    head += ["median gain", "largest gain"]
    lines = [head, ["---"] * len(head)]
    for model, found in times.items():
        gained = [_number(reduce, gain(found)) for reduce in (np.nanmedian, np.nanmax)]
        lines.append([model, *_shares(winners(found)), *gained])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _number(reduce: Callable[[np.ndarray], float], values: np.ndarray) -> str:
    """A number for people, a dash where there is nothing to reduce."""
    if np.isnan(values).all():
        return "-"
    found = reduce(values)
    return f"{found:.2f}" if found < 10 else f"{found:.3g}"
