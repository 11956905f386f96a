"""The figure of a sweep: returns against virtual seconds, and speed-ups over the grid of profiles.

Figures of your own are made of `drawing`, `curves`, `returns` and `save`, which read data sets and
nothing else. A method's colour, of Okabe and Ito's, and its line style, for readers in grey, stand where
it is registered.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from jaxtyping import Float, Float64
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from jaxnigt.checks import InputError
from jaxnigt.files import put
from jaxnigt.registry import entries
from jaxnigt.sweep.plan import short
from jaxnigt.sweep.selection import best, runs_in_words
from jaxnigt.sweep.store import panels

_OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ((0, (6, 2)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2, 1, 2, 1, 2)))
BAND = (0.2, 0.8)
"""Quantiles over seeds, and over draws of the clock, between which bands lie."""
_TIMES = ("time", "low", "high")
_COLUMNS, _MOST = 4, 12
"""Panels of returns in a row, and in all."""


class Style(NamedTuple):
    """How a method is drawn: colour and line style of its curves, and its title for legends."""

    colour: str
    line: str | tuple
    title: str


class Curve(NamedTuple):
    """One line of a panel, in the style of its method.

    Attributes:
        data: of a method at its best hyperparameters under one profile, with `objective` [seed,
            evaluation] and `eval_time` [evaluation] in seconds, and maybe an axis of draws in front.
    """

    data: xr.Dataset
    colour: str
    line: str | tuple
    title: str


def style(method: str) -> Style | None:
    """The look that a method was registered with, None where it has none."""
    for name, entry in entries("method").items():
        facts = entry.facts
        if method in (name, *facts.get("variants", ())) and "colour" in facts:
            return Style(facts["colour"], facts.get("line", "-"), facts.get("title", name))
    return None


def styles(methods: dict[str, str]) -> dict[str, Style]:
    """The look of every label's method, the same in every figure; variants differ in their lines."""
    found, seen = {}, dict.fromkeys(methods.values(), 0)
    others = [name for name in seen if style(name) is None]
    for label, method in methods.items():
        known = style(method)
        colour = known.colour if known else _OTHERS[others.index(method) % len(_OTHERS)]
        lines = [known.line if known else "-", *_LINES]
        title = label
        if known and label.startswith(method):
            title = known.title + label.removeprefix(method).replace(",", ", ")
        found[label] = Style(colour, lines[seen[method] % len(lines)], title)
        seen[method] += 1
    return found


def _styles(tree: xr.DataTree) -> dict[str, Style]:
    """Styles of the methods of a panel."""
    return styles({str(k): str(group.attrs["method"]) for k, group in tree["methods"].children.items()})


def draw(tree: xr.DataTree, folder: Path) -> list[Path]:
    """Draw the figure of a sweep into a folder as PNG and PDF, one for each of its panels.

    Args:
        tree: what `jaxnigt.load` gives.
        folder: where the files go, whose paths are returned.
    """
    # Names are made such that no file of somebody's leads elsewhere.
    name = short(str(json.loads(tree.attrs["definition"])["name"]))
    paths = []
    for label, panel in panels(tree).items():
        path = folder / (f"{name}-{short(label)}" if label else name)
        drawn = _draw_complexity if "complexity" in panel.children else _draw
        paths += drawn(panel, path)
    return paths


def drawing() -> contextlib.AbstractContextManager[None]:
    """What matplotlib is told for every figure, in a with statement."""
    return mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "pdf.fonttype": 42})


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure, drawn under `drawing`, as PATH.png and PATH.pdf; return both paths.

    The same figure makes the same bytes.
    """
    paths = [path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "pdf")]
    options: tuple[dict[str, Any], ...] = ({"dpi": 160}, {"metadata": {"CreationDate": None}})
    try:
        for file, given in zip(paths, options, strict=True):
            content = io.BytesIO()
            figure.savefig(content, format=file.suffix[1:], **given)
            put(content.getbuffer(), file)
    except OSError as error:
        raise InputError(
            f"folder: {error.filename or path} cannot be written ({error.strerror}), a writable folder "
            "is needed."
        ) from None
    return paths


def _draw(tree: xr.DataTree, path: Path) -> list[Path]:
    """One panel, under its first communication model; of many profiles some, evenly picked."""
    labels = [str(label) for label in tree["profiles"].to_dataset()["profile"].values]
    count = len(labels)
    if count > _MOST:
        labels = [labels[i] for i in np.linspace(0, count - 1, _MOST).round().astype(int)]
    columns = min(len(labels), _COLUMNS)
    lines, maps = -(-len(labels) // columns), _maps(tree)
    heights = [3.0 * lines + 0.4, *([3.0] if maps else [])]
    with drawing():
        figure = Figure(figsize=(max(6.0, 3.2 * columns + 0.6), sum(heights)), layout="constrained")
        above, *below = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        grid = above.subplots(lines, columns, sharey=True, squeeze=False)
        for axes in grid.ravel()[len(labels) :]:
            axes.set_visible(False)
        for axes, label in zip(grid.ravel(), labels, strict=False):
            shown = curves(tree, label)
            returns(axes, shown, float(np.ravel(tree.attrs["thresholds"])[0]))
            axes.set_title("\n".join([title(tree, label), *stuck(shown)]))
        words = [f"lines: medians over {runs_in_words(_first(tree))}, bands: 20% to 80% quantiles"]
        if count > _MOST:
            words.append(f"{_MOST} of {count:,} profiles, evenly picked in their order")
        above.supxlabel("; ".join(words), fontsize=9)
        for axes in grid[:, 0]:
            axes.set_ylabel(r"$J(\theta_t)$, mean discounted return")
        handles, names = grid[0, 0].get_legend_handles_labels()
        where = {"loc": "outside upper center", "ncols": min(len(names), 4), "frameon": False}
        above.legend(handles, names, **where)
        for row in below:
            for axes, label in zip(row.subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
                _speedup(axes, tree, label)
        return save(figure, path)


def _first(tree: xr.DataTree) -> xr.Dataset:
    """The first method of a panel."""
    return next(iter(tree["methods"].children.values())).to_dataset()


def _maps(tree: xr.DataTree) -> list[str]:
    """Methods that have a speed-up to show."""
    if "grid" not in tree.children:
        return []
    grid = tree["grid"].to_dataset().isel(threshold=0, comm_model=0)
    shown = [str(label) for label in grid["method"].values if label != grid.attrs["baseline"]]
    return [label for label in shown if np.isfinite(grid["speedup"].sel({"method": label})).any()]


def title(tree: xr.DataTree, profile: str) -> str:
    """How a panel of a profile is headed."""
    return str(tree["profiles"].to_dataset()["title"].sel(profile=profile).values)


def curves(tree: xr.DataTree, profile: str, comm_model: str | None = None) -> dict[str, Curve]:
    """Every method of a panel at its best hyperparameters under a profile, by its label.

    Args:
        tree: a panel of a data set, as `jaxnigt.sweep.panels` gives it.
        profile: its label.
        comm_model: by default the first of the data set.
    """
    looks, found = _styles(tree), {}
    for label, group in tree["methods"].children.items():
        dataset = group.to_dataset()
        model = dataset["comm_model"].values[0] if comm_model is None else comm_model
        data = best(dataset.sel(comm_model=model, profile=profile))
        found[str(label)] = Curve(data, *looks[str(label)])
    return found


def stuck(lines: Mapping[str, Curve]) -> list[str]:
    """Words on methods that never finish a round, as where they wait for a dead worker."""
    later = ((curve.title, curve.data["eval_time"].values[1:]) for curve in lines.values())
    return [f"{title}: no round ends" for title, times in later if times.size and np.isinf(times).all()]


def returns(axes: Axes, lines: Mapping[str, Curve], level: float | None = None) -> None:
    """Median and band over seeds, and draws of the clock, of J(theta_t) against virtual time.

    A level is a J that is marked. With one the axis ends where all methods have come, or later if one of
    them comes to the level only then; otherwise it holds everything.
    """
    ends, reached = [], [0.0]
    for data, colour, line, name in lines.values():
        times, values = runs(data)
        low, middle, high = np.nanquantile(values, [BAND[0], 0.5, BAND[1]], axis=0)
        axes.plot(times, middle, linestyle=line, color=colour, label=name)
        axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
        ends += [times[-1]] if np.isfinite(times[-1]) else []
        if level is not None and (middle >= level).any():
            reached.append(times[np.argmax(middle >= level)])
    if ends:
        shortest = max(min(ends), 1.1 * max(reached)) if level is not None else np.inf
        axes.set_xlim(0, min(max(ends), shortest))
    if level is not None:
        axes.axhline(level, color="0.4", linewidth=0.8, linestyle=":")
    # Six digits at a tick leave room for five.
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("virtual time [s]")


def _draw_complexity(tree: xr.DataTree, path: Path) -> list[Path]:
    """Least times of one panel, and beneath them those times over the first method's, by network."""
    found = tree["complexity"].to_dataset()
    models, count = found["comm_model"].values, min(found.sizes["profile"], _COLUMNS)
    first = str(found["label"].values[0])
    with drawing():
        figure = Figure(figsize=(max(6.0, 3.2 * count + 0.6), 5.2 * len(models)), layout="constrained")
        grid = figure.subplots(2 * len(models), count, sharex=True, sharey="row", squeeze=False)
        for k, model in enumerate(models):
            for p in range(count):
                for axes, over in zip(grid[2 * k : 2 * k + 2, p], (None, first), strict=True):
                    complexity(axes, found.sel(comm_model=model), p, over)
                    axes.label_outer()
                words = title(tree, str(found["profile"].values[p]))
                grid[2 * k, p].set_title(f"{words}\n{model}")
        chance = 100 * found.attrs["coverage"]
        words = f"medians; bands hold them with a chance of {chance:.0f}%; open: less may be possible"
        if found.sizes["profile"] > count:
            words += f"; the first {count} of {found.sizes['profile']} profiles"
        figure.supxlabel(words, fontsize=9)
        handles, names = grid[0, 0].get_legend_handles_labels()
        where = {"loc": "outside upper center", "ncols": min(len(names), 4), "frameon": False}
        figure.legend(handles, names, **where)
        return save(figure, path)


def complexity(axes: Axes, found: xr.Dataset, profile: int = 0, over: str | None = None) -> None:
    """The least seconds of each method to each level, as `jaxnigt.complexity` found them, with bands.

    With `over` they are divided by the median of the method of that label. An open marker stands where
    the stepsize is the first or the last of its grid, or where the level is crossed before the second
    evaluation, so that less time may be possible.
    """
    own = found.isel(profile=profile).sortby("level")
    if over is not None:
        one = own["time"].sel(label=over)
        own = own.assign({name: own[name] / one.where(one > 0) for name in _TIMES})
    levels, by_norm = own["level"].values, found.attrs["accuracy"] == "gradient"
    names = zip(own["label"].values, found.attrs["methods"], strict=True)
    looks = styles({str(label): str(name) for label, name in names})
    for label, look in looks.items():
        data = own.sel(label=label)
        time, low, high = (np.where(np.isfinite(data[x]), data[x], np.nan) for x in _TIMES)
        axes.plot(levels, time, linestyle=look.line, color=look.colour, label=look.title)
        axes.fill_between(levels, low, high, color=look.colour, alpha=0.2, linewidth=0)
        sure = (data["inside"] & data["resolved"]).values
        for which, face in ((sure, look.colour), (~sure, "white")):
            axes.plot(
                levels[which], time[which], "o", markersize=4, color=look.colour, markerfacecolor=face
            )
    axes.set_yscale("log")
    if by_norm:
        axes.set_xscale("log")
        axes.set_xlim(levels.max() * 1.03, levels.min() / 1.03)
        axes.set_xticks(levels[:: 1 + len(levels) // 6], minor=False)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
    axes.set_xlabel(r"accuracy $\varepsilon$ on $\|\nabla J\|$" if by_norm else "level of J")
    axes.set_ylabel("least virtual time [s]")
    if over is not None:
        axes.set_ylabel(f"time / time of {looks[over].title}")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def runs(data: xr.Dataset) -> tuple[Float64[np.ndarray, " T"], Float[np.ndarray, "R T"]]:
    """Virtual times, and J of every run at them: one run for each seed and draw of the clock.

    Draws have times of their own. So with draws J is taken at the times of all of them until the first
    of them ends, and is that of the last point that exists by then.
    """
    times, values = data["eval_time"], data["objective"]
    if "draw" not in times.dims:
        return times.values, values.transpose("seed", "evaluation").values
    least = times.max("evaluation").min().item()
    every = np.unique(times.values[np.isfinite(times.values) & (times.values <= least)])
    values = values.broadcast_like(times).transpose("draw", "seed", "evaluation").values
    found = []
    for own, each in zip(times.transpose("draw", "evaluation").values, values, strict=True):
        found.append(each[:, np.searchsorted(own, every, side="right") - 1])
    return every, np.concatenate(found)


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
    looks = _styles(tree)
    bar.set_label(f"time of {looks[grid.attrs['baseline']].title} / time")
    axes.set_title(f"Speed-up of {looks[label].title} to the threshold")
    axes.set_xlabel(r"heterogeneity $p$, $h_i = i^p$ s")
    power = float(grid.attrs["comm_exponent"])
    axes.set_ylabel(rf"communication $c$, $\kappa_i = c\, i^{{{power:g}}}$ s")
