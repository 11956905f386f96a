"""The figure of a sweep: returns against virtual seconds, and speed-ups over the grid of profiles.

Reads a data set and nothing else. Colours are Okabe and Ito's, which colour-blind readers can tell
apart, and each method has a line style of its own for readers in grey.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from jaxnigt.analysis import best
from jaxnigt.sweep.plan import short
from jaxnigt.sweep.store import panels

STYLE = {
    "rennala_nigt": ("#0072B2", "-", "Rennala NIGT"),
    "rennala_pg": ("#56B4E9", "-", "Rennala PG"),
    "synchronous_nigt": ("#D55E00", "--", "Synchronized NIGT"),
    "synchronous_pg": ("#E69F00", "--", "Synchronized PG"),
    "m_synchronous_nigt": ("#009E73", "-.", "m-Synchronous NIGT"),
    "afedpg": ("#CC79A7", ":", "AFedPG"),
    "malenia_nigt": ("#000000", "-", "Malenia NIGT"),
    "malenia_pg": ("#7F7F7F", "-", "Malenia PG"),
}
_OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ((0, (6, 2)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2, 1, 2, 1, 2)))
_BAND = (0.2, 0.8)
_COLUMNS, _MOST = 4, 12
"""Panels of returns in a row, and in all."""


def styles(methods: dict[str, str]) -> dict[str, tuple[str, str, str]]:
    """Colour, line style and title of every method, the same in every figure.

    Variants of a method have its colour and lines of their own.

    Args:
        methods: names of the methods by their labels.
    """
    found, seen = {}, dict.fromkeys(methods.values(), 0)
    for label, method in methods.items():
        known = STYLE.get(method)
        others = [name for name in seen if name not in STYLE]
        colour = known[0] if known else _OTHERS[others.index(method) % len(_OTHERS)]
        lines = [known[1] if known else "-", *_LINES]
        line = lines[seen[method] % len(lines)]
        title = (
            known[2] + label.removeprefix(method).replace(",", ", ")
            if known and label.startswith(method)
            else label
        )
        found[label] = colour, line, title
        seen[method] += 1
    return found


def _methods(tree: xr.DataTree) -> dict[str, tuple[str, str, str]]:
    """Styles of the methods of a panel."""
    return styles({str(k): str(group.attrs["method"]) for k, group in tree["methods"].children.items()})


def draw(tree: xr.DataTree, folder: Path) -> list[Path]:
    """Draw the figure of a sweep as PNG and PDF, one for each of its panels.

    Args:
        tree: what `jaxnigt.load` gives.
        folder: where the files go.

    Returns:
        Paths of the files.
    """
    name = json.loads(tree.attrs["definition"])["name"]
    paths = []
    for label, panel in panels(tree).items():
        paths += _draw(panel, folder / (f"{name}-{short(label)}" if label else name))
    return paths


def _draw(tree: xr.DataTree, path: Path) -> list[Path]:
    """One panel, under its first communication model; of many profiles some, evenly picked."""
    labels = [str(label) for label in tree["profiles"].to_dataset()["profile"].values]
    if len(labels) > _MOST:
        labels = [labels[i] for i in np.linspace(0, len(labels) - 1, _MOST).round().astype(int)]
    columns = min(len(labels), _COLUMNS)
    lines, maps = -(-len(labels) // columns), _maps(tree)
    heights = [3.0 * lines + 0.4, *([3.0] if maps else [])]
    with mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "pdf.fonttype": 42}):
        figure = Figure(figsize=(max(6.0, 3.2 * columns + 0.6), sum(heights)), layout="constrained")
        rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        curves = rows[0].subplots(lines, columns, sharey=True, squeeze=False)
        for axes in curves.ravel()[len(labels) :]:
            axes.set_visible(False)
        for axes, label in zip(curves.ravel(), labels, strict=False):
            _returns(axes, tree, label)
        for axes in curves[:, 0]:
            axes.set_ylabel(r"$J(\theta_t)$, mean discounted return")
        handles, names = curves[0, 0].get_legend_handles_labels()
        rows[0].legend(
            handles, names, loc="outside upper center", ncols=min(len(names), 4), frameon=False
        )
        if maps:
            for axes, label in zip(rows[1].subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
                _speedup(axes, tree, label)
        paths = [path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "pdf")]
        figure.savefig(paths[0], dpi=160)
        figure.savefig(paths[1], metadata={"CreationDate": None})
    return paths


def _maps(tree: xr.DataTree) -> list[str]:
    """Methods that have a speed-up to show."""
    if "grid" not in tree.children:
        return []
    grid = tree["grid"].to_dataset().isel(threshold=0, comm_model=0)
    shown = [str(label) for label in grid["method"].values if label != grid.attrs["baseline"]]
    return [label for label in shown if np.isfinite(grid["speedup"].sel({"method": label})).any()]


def _returns(axes: Axes, tree: xr.DataTree, profile: str) -> None:
    """Median and band over seeds of J(theta_t), up to the time that all methods reach."""
    until, looks = np.inf, _methods(tree)
    for label, group in tree["methods"].children.items():
        dataset = best(group.to_dataset().isel(comm_model=0).sel(profile=profile))
        colour, line, title = looks[str(label)]
        times = dataset["eval_time"].values
        low, middle, high = np.quantile(
            dataset["objective"].transpose("seed", "evaluation").values,
            [_BAND[0], 0.5, _BAND[1]],
            axis=0,
        )
        axes.plot(times, middle, linestyle=line, color=colour, label=title)
        axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
        if np.isfinite(times[-1]):
            until = min(until, times[-1])
    if np.isfinite(until):
        axes.set_xlim(0, until)
    axes.axhline(np.ravel(tree.attrs["thresholds"])[0], color="0.4", linewidth=0.8, linestyle=":")
    axes.set_title(str(tree["profiles"].to_dataset()["title"].sel(profile=profile).values))
    axes.set_xlabel("virtual time [s]")


def _speedup(axes: Axes, tree: xr.DataTree, label: str) -> None:
    """log2 of the speed-up over heterogeneity and communication, with the line of equal speed."""
    grid = tree["grid"].to_dataset().isel(threshold=0, comm_model=0)
    values = np.log2(grid["speedup"].sel({"method": label}).values.T)
    exponent, scale = grid["exponent"].values, grid["comm_scale"].values
    reach = max(0.1, float(np.nanmax(np.abs(values))))
    image = axes.pcolormesh(
        exponent, scale, values, cmap="PuOr", norm=TwoSlopeNorm(0, -reach, reach), rasterized=True
    )
    if min(values.shape) > 1 and np.nanmin(values) < 0 < np.nanmax(values):
        axes.contour(exponent, scale, values, levels=[0.0], colors="black", linewidths=0.8)
    if scale.min() > 0 and scale.max() / scale.min() > 100:
        axes.set_yscale("log")
    axes.grid(False)
    bar = axes.figure.colorbar(image, ax=axes)
    ticks = [t for t in bar.get_ticks() if abs(t) <= reach]
    bar.set_ticks(ticks, labels=[f"{2**t:.3g}" for t in ticks])
    bar.set_label(f"time of {_methods(tree)[grid.attrs['baseline']][2]} / time")
    axes.set_title(f"Speed-up of {_methods(tree)[label][2]} to the threshold")
    axes.set_xlabel(r"heterogeneity $p$, $h_i = i^p$ s")
    power = float(grid.attrs["comm_exponent"])
    axes.set_ylabel(rf"communication $c$, $\kappa_i = c\, i^{{{power:g}}}$ s")
