"""Rules for collecting gradients under random and time-varying computation times."""

from __future__ import annotations

import numpy as np
import xarray as xr

from figures.comm_models import words
from figures.common import Drawn, Panel, Results, draw_returns, level, quantiles, scale
from figures.restart import CANCEL, heading
from jaxnigt.figures import Curve, curves, style

SWEEPS = ("timing",)

PROFILES = ("fixed,exponent=0.5", "exponential", "lognormal", "pareto", "outages", "decreasing")
METHODS = {
    CANCEL: "rennala_nigt",
    "synchronous_nigt": "synchronous_nigt",
    "m_synchronous_nigt": "m_synchronous_nigt",
}
"""Labels of the methods that are compared."""


def lines(tree: xr.DataTree, profile: str) -> dict[str, Curve]:
    """The methods to compare under a profile, in the order of the legend."""
    found = curves(tree, profile)
    return {
        label: found[label]._replace(line=style(name).line, title=style(name).title)
        for label, name in METHODS.items()
    }


def draw(results: Results) -> Drawn:
    """The figure and its caption."""
    tree = results.panel("timing")
    shown = [Panel(heading(tree, one), lines(tree, one), level(tree)) for one in PROFILES]
    figure = draw_returns(shown, log=True)
    return Drawn(figure, f"{_words(shown)}{scale(results, 'timing', tree)}")


def _words(shown: list[Panel]) -> str:
    """The caption but for the scale."""
    named = [f"{line.title}, {_size(line)}" for line in shown[0].lines.values()]
    return (
        "Rules that wait for different workers, where times are random or vary, κ = 0: "
        f"{'; '.join(named)}. Rennala NIGT drops unfinished gradients at the end of a round. The "
        "trainings are the same in all panels, only the clock differs, and random times are drawn once "
        "for all seeds. Time to the threshold, "
        "median over seeds (20 to 80 per cent quantile), and its ratio to that of Rennala NIGT:\n\n"
        f"{_table(shown)}\n\n"
    )


def _size(line: Curve) -> str:
    """Gradients of a round."""
    letter = "M" if line.data.attrs["method"] == "rennala_nigt" else "m"
    return f"{letter} = {int(line.data['samples'][-1])}"


def _table(shown: list[Panel]) -> str:
    """Times and ratios as a Markdown table."""
    names = [line.title for line in shown[0].lines.values()]
    rows = [["times", *(f"{name} [s]" for name in names), *(f"{name}, ratio" for name in names[1:])]]
    rows.append(["---"] * len(rows[0]))
    for panel in shown:
        bands = [
            quantiles(line.data["time_to_threshold"].isel(threshold=0).values)
            for line in panel.lines.values()
        ]
        ratios = [_ratio(band[1], bands[0][1]) for band in bands[1:]]
        rows.append([panel.title, *map(words, bands), *ratios])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def _ratio(time: float, reference: float) -> str:
    known = np.isfinite(time) and np.isfinite(reference) and reference > 0
    return f"{time / reference:.2f}" if known else "-"
