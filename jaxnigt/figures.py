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
_BAND = (0.2, 0.8)


def style(method: str, label: str, position: int) -> tuple[str, str, str]:
    """Colour, line style and title of a method, the same in every figure."""
    if label in STYLE:
        return STYLE[label]
    return _OTHERS[position % len(_OTHERS)], STYLE.get(method, ("", "-", ""))[1], label


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
    """One panel, under its first communication model."""
    labels = [str(label) for label in tree["profiles"].to_dataset()["profile"].values]
    maps = _maps(tree)
    with mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "pdf.fonttype": 42}):
        figure = Figure(figsize=(3.2 * len(labels) + 0.6, 6.4 if maps else 3.4), layout="constrained")
        rows = figure.subfigures(2 if maps else 1, 1, squeeze=False)[:, 0]
        curves = rows[0].subplots(1, len(labels), sharey=True, squeeze=False)[0]
        for axes, label in zip(curves, labels, strict=True):
            _returns(axes, tree, label)
        curves[0].set_ylabel(r"$J(\theta_t)$, mean discounted return")
        handles, names = curves[0].get_legend_handles_labels()
        rows[0].legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
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


def _title(tree: xr.DataTree, label: str) -> str:
    position = list(tree["methods"].children).index(label)
    return style(tree["methods"][label].attrs["method"], label, position)[2]


def _returns(axes: Axes, tree: xr.DataTree, profile: str) -> None:
    """Median and band over seeds of J(theta_t), up to the time that all methods reach."""
    until = np.inf
    for position, (label, group) in enumerate(tree["methods"].children.items()):
        dataset = best(group.to_dataset().isel(comm_model=0).sel(profile=profile))
        colour, line, title = style(group.attrs["method"], label, position)
        times = dataset["eval_time"].values
        low, middle, high = np.quantile(
            dataset["objective"].transpose("seed", "evaluation").values,
            [_BAND[0], 0.5, _BAND[1]],
            axis=0,
        )
        axes.plot(times, middle, line, color=colour, label=title)
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
    bar.set_label(f"time of {_title(tree, grid.attrs['baseline'])} / time")
    axes.set_title(f"Speed-up of {_title(tree, label)} to the threshold")
    axes.set_xlabel(r"heterogeneity $p$, $h_i = i^p$ s")
    power = float(grid.attrs["comm_exponent"])
    axes.set_ylabel(rf"communication $c$, $\kappa_i = c\, i^{{{power:g}}}$ s")
