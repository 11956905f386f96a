"""What the scripts share: the results that they read, panels of returns, words for captions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

import jaxnigt as jn
from jaxnigt.checks import InputError
from jaxnigt.figures import BAND, Curve, curves, returns, title
from jaxnigt.sweep import panels

SIZES = ("small", "paper")
_APART = 4.0
"""How many times as long one method takes as another where time is on a log axis."""
RETURN = r"$J(\theta_t)$, mean discounted return"


class MissingResultsError(Exception):
    """Results that are not there."""


@dataclasses.dataclass(frozen=True)
class Results:
    """Results of sweeps at one size.

    Attributes:
        folder: that holds NAME-SIZE.
        size: "small" or "paper".
    """

    folder: Path = Path("results")
    size: str = "small"

    def load(self, name: str) -> xr.DataTree:
        """The data set of a sweep.

        Raises:
            MissingResultsError: naming the command that makes it.
        """
        path = self.folder / f"{name}-{self.size}"
        try:
            return jn.load(path)
        except InputError:
            raise MissingResultsError(
                f"{path} has no results, `make sweep SWEEP={name}-{self.size}` makes them"
            ) from None

    def panel(self, name: str, index: int = 0) -> xr.DataTree:
        """One problem of a sweep, by its place in the definition."""
        return list(panels(self.load(name)).values())[index]


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What a script makes.

    Attributes:
        figure: None for tables.
        caption: what is seen, in Markdown.
        texts: other files, by suffix.
    """

    figure: Figure | None
    caption: str
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Panel:
    """Returns of some methods under one profile.

    Attributes:
        title: above it.
        lines: what is drawn.
        level: of J that times are taken to, if it is to be marked.
    """

    title: str
    lines: dict[str, Curve]
    level: float | None


def level(tree: xr.DataTree) -> float:
    """The J that times are taken to, the first threshold of a panel."""
    return float(np.ravel(tree.attrs["thresholds"])[0])


def quantiles(values: np.ndarray) -> np.ndarray:
    """Low end of the band over seeds, median and high end, inf from where runs never arrive.

    Args:
        values: f64[seed], NaN where there is no run.
    """
    there = np.sort(values[~np.isnan(values)])
    if not there.size:
        return np.full(3, np.nan)
    # Unlike np.quantile, np.interp makes no NaN of neighbours that are inf.
    places = np.array([BAND[0], 0.5, BAND[1]]) * (there.size - 1)
    return np.interp(places, np.arange(there.size), there)


def compared(tree: xr.DataTree, profile: str, heading: str | None = None) -> Panel:
    """All methods under AllReduce; AFedPG over one link too, where it was trained so and it matters."""
    lines = {
        label: line._replace(title=line.title.replace("batch=", "M = "))
        for label, line in curves(tree, profile, "allreduce").items()
    }
    data = tree["methods/afedpg"].to_dataset()
    if (
        "serial" in data["comm_model"]
        and tree["profiles"].to_dataset()["comm"].sel(profile=profile).any()
    ):
        one_link = curves(tree, profile, "serial")["afedpg"]
        lines["afedpg one link"] = one_link._replace(title="AFedPG, one link", line=(0, (4, 1, 1, 1)))
    return Panel(heading or title(tree, profile), lines, level(tree))


def each_worker(panel: Panel, heading: str, worker: int) -> Panel:
    """The same lines, with J_i of one worker's own problem in place of J.

    Args:
        panel: of methods on a problem whose workers differ.
        heading: of the new panel.
        worker: which, from 0.
    """
    lines = {
        label: line._replace(
            data=line.data.assign(objective=line.data["worker_objective"].isel(problem=worker))
        )
        for label, line in panel.lines.items()
    }
    return Panel(heading, lines, None)


def draw_returns(shown: Sequence[Panel], columns: int = 3, *, log: bool = False) -> Figure:
    """Panels of returns against virtual time under one legend.

    Args:
        shown: the panels.
        columns: in a row at most.
        log: time on a log axis in all panels; otherwise in those whose methods are far apart.
    """
    columns = min(columns, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(max(5.5, 3.2 * columns + 0.4), 2.8 * lines + 0.7), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    names: dict[str, object] = {}
    for axes, panel in zip(grid, shown, strict=False):
        returns(axes, panel.lines, panel.level)
        if log or _far_apart(panel):
            _log_time(axes, panel)
        axes.set_title(panel.title)
        handles, labels = axes.get_legend_handles_labels()
        names |= dict(zip(labels, handles, strict=True))
    for axes in grid[::columns]:
        axes.set_ylabel(RETURN)
    figure.legend(
        list(names.values()),
        list(names),
        loc="outside upper center",
        ncols=min(len(names), 4),
        frameon=False,
    )
    return figure


def _far_apart(panel: Panel) -> bool:
    """Whether the slowest method takes so long that the others would be a stroke at the left."""
    ends = [float(line.data["eval_time"][-1]) for line in panel.lines.values()]
    return max(ends) > _APART * min(ends)


def _log_time(axes: Axes, panel: Panel) -> None:
    """Time on a log axis, from the first evaluation after the start; not where that is all there is."""
    right = axes.get_xlim()[1]
    left = min(float(line.data["eval_time"][1]) for line in panel.lines.values())
    if not 0 < left < right:
        return
    axes.set_xscale("log", nonpositive="mask")
    axes.set_xlim(left, right)
    plain_log(axes.xaxis, (1, 2, 5) if right < 30 * left else (1, 3) if right < 300 * left else (1,))


def plain_log(axis: Axis, multiples: Sequence[float]) -> None:
    """Plain numbers on a log axis, at these multiples of the powers of ten."""
    axis.set_major_locator(LogLocator(subs=multiples))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())


def draw_three_times(results: Results, *, name: str, what: str) -> Drawn:
    """The paper's three profiles side by side.

    Args:
        results: where they are.
        name: of the sweep.
        what: environment and n, for the caption.
    """
    tree = results.panel(name)
    shown = [compared(tree, profile) for profile in ("equal", "heterogeneous", "communication")]
    heading = f"{what}, under equal times, heterogeneous times and increased communication."
    return Drawn(draw_returns(shown), f"{heading} {scale(results, name, tree)}")


def draw_flipped(results: Results, *, index: int, words: str) -> Drawn:
    """J on the flipped task, and the return J_i of each worker's own.

    Args:
        results: where they are.
        index: which task of the sweep "malenia".
        words: about it, for the caption.
    """
    tree = results.panel("malenia", index)
    whole = compared(tree, "slow", "J, mean of both workers")
    names = (r"$J_1$ of worker 1, which sees s", r"$J_2$ of worker 2, which sees -s")
    shown = [whole, *(each_worker(whole, name, i) for i, name in enumerate(names))]
    caption = f"Flipped Humanoid, n = 2, h = (1, 10), κ = 0, {words}"
    return Drawn(draw_returns(shown), f"{caption} {scale(results, 'malenia', tree)}")


def scale(results: Results, name: str, tree: xr.DataTree, *, lines: bool = True) -> str:
    """What was run, in Markdown: problem, methods, grids, seeds, and from which data.

    Args:
        results: where they are.
        name: of the sweep.
        tree: a panel of its data set, whose root has the definition.
        lines: whether lines and bands are what is drawn, which is then said.
    """
    root = tree.root.attrs
    definition = json.loads(root["definition"])
    problem = definition["problem"]
    what = ", ".join(problem.get("environment") or [problem["kind"]])
    what += f" on {problem['backend'][0]}" if problem.get("backend") else ""
    trained = [_trained(str(k), group.to_dataset()) for k, group in tree["methods"].children.items()]
    commit, made = root["git_commit"][:12], root["created"]
    drawn = (
        "Lines are medians over seeds, bands their 20 and 80 per cent quantiles; a log axis of time "
        "begins at the first evaluation after the start. "
    )
    return (
        f"Scale {results.size!r}: {what}, horizon {_given(problem, 'horizon')}, discount "
        f"{_given(problem, 'discount')}, n = {tree.attrs['workers']}, d = {tree.attrs['parameters']:,}. "
        f"{'; '.join(trained)}. {drawn if lines else ''}"
        "Each method has the stepsize and momentum with the highest J averaged over seeds and the last "
        "tenth of its evaluations, those that train along the clock for each profile. Thresholds lie "
        f"80 per cent of the way from J(theta_0) to the lowest final J: {level(tree):.4g}. "
        f"Data: {results.folder / f'{name}-{results.size}' / 'results.nc'} (commit {commit}, {made})."
    )


def _given(problem: dict[str, list], key: str) -> str:
    return f"{problem[key][0]:g}" if problem.get(key) else "by default"


def _trained(label: str, data: xr.Dataset) -> str:
    """How a method was trained and which hyperparameters it has."""
    index = [data[f"best_{leaf}_index"].astype(int) for leaf in ("stepsize", "momentum")]
    alphas = data["stepsize"].values[np.unique(index[0].values)]
    etas = data["momentum"].values[np.unique(index[1].values)]
    return (
        f"{label}: {data.sizes['round']:,} updates, {data.sizes['seed']} seeds, stepsize "
        f"{_words(alphas)} of {_words(data['stepsize'].values)}, momentum {_words(etas)} of "
        f"{_words(data['momentum'].values)}"
    )


def _words(values: np.ndarray) -> str:
    """Numbers for people, powers of two as such."""
    logs = np.log2(values)
    if (values > 0).all() and np.allclose(logs, np.round(logs)):
        return "{" + ", ".join(f"2^{round(x)}" for x in logs) + "}"
    return "{" + ", ".join(f"{x:g}" for x in values) + "}"
