"""What the figures of arXiv 2509.24305 claim beside what was measured here, as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from figures.common import Drawn, Panel, Results, compared, level, quantiles
from jaxnigt.figures import Curve
from jaxnigt.sweep.dataset import objective_at

SWEEPS = (
    "humanoid",
    "reacher",
    "walker2d",
    "hopper",
    "humanoid100",
    "reacher100",
    "decreasing",
    "malenia",
)
_ALIKE, _APART, _SMALL = 1.25, 1.1, 1.5
_RULES = f"""A method's time is the median over seeds of the virtual seconds to the stated J, with the
band over seeds (20 to 80 per cent) in brackets; its ratio is that time over the time of the method that
the claim puts first. Where a method was run with several M, the fastest stands for it. The words are by
rule:

* *first*: agrees if all ratios are at least {_APART} and no band of times meets that of the first;
  partly if all ratios are above 1; else it does not;
* *first, by little*: agrees if all ratios are between 1 and {_SMALL}; partly if all are above 1, or all
  within a factor {_ALIKE} of 1; else it does not;
* *equal*: agrees if all ratios are within a factor {_ALIKE} of 1, partly if within 2; else it does not;
* *far above*: of the J at the time that all methods reach, agrees if the other gained at most half of
  what the first gained and their bands do not meet; partly if the first is higher; else it does not."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A panel of the paper and what it is there for.

    Attributes:
        sweep: that was run for it.
        profile: of the sweep.
        figure: script that draws it.
        says: what the paper finds, a key of `_JUDGES`.
        first: method that it puts first.
    """

    sweep: str
    profile: str
    figure: str
    says: str
    first: str = "rennala_nigt"


_THREE = {"equal": "equal", "heterogeneous": "first", "communication": "first"}
CLAIMS = (
    *(Claim("humanoid", profile, "humanoid", says) for profile, says in _THREE.items()),
    Claim("reacher", "communication", "environments", "first"),
    Claim("walker2d", "communication", "environments", "first, by little"),
    Claim("hopper", "communication", "environments", "first, by little"),
    *(Claim("humanoid100", profile, "humanoid100", says) for profile, says in _THREE.items()),
    *(Claim("reacher100", profile, "reacher100", says) for profile, says in _THREE.items()),
    Claim("decreasing", "decreasing", "decreasing", "first"),
    Claim("malenia", "slow", "malenia", "far above", "malenia_nigt"),
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """Three numbers each: low end of the band over seeds, median, high end.

    Attributes:
        time: seconds to the panel's level, inf where it was not reached.
        end: J at the time that all methods reach.
        gain: `end` less J(theta_0).
    """

    time: np.ndarray
    end: np.ndarray
    gain: float


def measure(panel: Panel) -> dict[str, Measured]:
    """What is read off the lines of a panel, by their labels."""
    until = min(float(line.data["eval_time"].values[-1]) for line in panel.lines.values())
    return {label: _measured(line, until) for label, line in panel.lines.items()}


def _measured(line: Curve, until: float) -> Measured:
    ends, start = objective_at(line.data, until), line.data["objective"].isel(evaluation=0)
    return Measured(_times(line), quantiles(ends.values), float((ends - start).median()))


def _times(line: Curve) -> np.ndarray:
    return quantiles(line.data["time_to_threshold"].isel(threshold=0).values)


def _meet(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(one[0] <= other[2] and other[0] <= one[2])


def _ratios(first: Measured, others: list[Measured]) -> np.ndarray:
    return np.array([other.time[1] / first.time[1] for other in others])


def _is_first(first: Measured, others: list[Measured]) -> str:
    ratios = _ratios(first, others)
    if (ratios >= _APART).all() and not any(_meet(first.time, other.time) for other in others):
        return "agrees"
    return "partly" if (ratios > 1).all() else "does not"


def _by_little(first: Measured, others: list[Measured]) -> str:
    ratios = _ratios(first, others)
    if ((ratios >= 1) & (ratios <= _SMALL)).all():
        return "agrees"
    near = ((ratios >= 1 / _ALIKE) & (ratios <= _ALIKE)).all()
    return "partly" if (ratios > 1).all() or near else "does not"


def _equal(first: Measured, others: list[Measured]) -> str:
    apart = np.exp(np.abs(np.log(_ratios(first, others)))).max()
    return "agrees" if apart <= _ALIKE else "partly" if apart <= 2 else "does not"


def _far_above(first: Measured, others: list[Measured]) -> str:
    half = all(other.gain <= first.gain / 2 and not _meet(first.end, other.end) for other in others)
    if half and first.gain > 0:
        return "agrees"
    return "partly" if all(first.end[1] > other.end[1] for other in others) else "does not"


_JUDGES: dict[str, Callable[[Measured, list[Measured]], str]] = {
    "first": _is_first,
    "first, by little": _by_little,
    "equal": _equal,
    "far above": _far_above,
}


def judge(claim: Claim, panel: Panel) -> tuple[str, dict[str, Measured]]:
    """Whether it "agrees", agrees "partly" or "does not", and the numbers that say so, first come first.

    A method that does not come to its level in half of the seeds is not first.
    """
    found = measure(panel)
    first = found[claim.first]
    others = [measured for label, measured in found.items() if label != claim.first]
    if claim.says != "far above" and not np.isfinite(first.time[1]):
        return "does not", found
    return _JUDGES[claim.says](first, others), found


def fastest(lines: Mapping[str, Curve]) -> dict[str, Curve]:
    """One line a method, that of its variants which comes first to its level."""
    found: dict[str, Curve] = {}
    for line in sorted(lines.values(), key=lambda line: _times(line)[1]):
        found.setdefault(str(line.data.attrs["method"]), line)
    return found


def rows(results: Results) -> list[dict[str, str]]:
    """The table, a row for each claim and way in which AFedPG communicates."""
    table = []
    for claim in CLAIMS:
        tree = results.panel(claim.sweep)
        whole = compared(tree, claim.profile)
        for words, lines in _ways(whole).items():
            panel = Panel(whole.title, fastest(lines), whole.level)
            verdict, found = judge(claim, panel)
            first = panel.lines[claim.first].title
            table.append(
                {
                    "figure": f"[{claim.figure}]({claim.figure}.py)",
                    "problem": f"{_problem(claim.sweep)}, n = {tree.attrs['workers']}",
                    "times": whole.title,
                    "claim": "all equal" if claim.says == "equal" else f"{first} {claim.says}",
                    "communication": words,
                    "J": f"{level(tree):.4g}",
                    "time to J [s], ratio": _cell(panel, claim, found),
                    "verdict": verdict,
                    "command": f"`make sweep SWEEP={claim.sweep}-{results.size}`",
                }
            )
    return table


def _problem(sweep: str) -> str:
    return {"decreasing": "Humanoid", "malenia": "flipped Humanoid"}.get(
        sweep, sweep.removesuffix("100").capitalize()
    )


def _cell(panel: Panel, claim: Claim, found: dict[str, Measured]) -> str:
    """What was measured of each method, a line each."""
    reference = found[claim.first].time[1]
    lines = [f"{line.title}: {_time(found[label], reference)}" for label, line in panel.lines.items()]
    if claim.says == "far above":
        words = [f"{line.title} {_end(found[label])}" for label, line in panel.lines.items()]
        lines.append(f"J at the time that both reach: {', '.join(words)}")
    return "<br>".join(lines)


def _ways(panel: Panel) -> dict[str, dict[str, Curve]]:
    """Lines to compare for each way in which AFedPG communicates, the rounds by AllReduce."""
    one_link = panel.lines.get("afedpg one link")
    parallel = {label: line for label, line in panel.lines.items() if label != "afedpg one link"}
    if one_link is None:
        return {"AllReduce; AFedPG parallel": parallel}
    serial = {label: line for label, line in panel.lines.items() if label != "afedpg"}
    return {"AllReduce; AFedPG parallel": parallel, "AllReduce; AFedPG one link": serial}


def _time(found: Measured, reference: float) -> str:
    low, middle, high = (f"{x:,.0f}" if np.isfinite(x) else "never" for x in found.time)
    known = np.isfinite(found.time[1]) and np.isfinite(reference)
    return f"{middle} ({low} to {high}), {f'{found.time[1] / reference:.2f}' if known else '-'}"


def _end(found: Measured) -> str:
    low, middle, high = (f"{x:.4g}" for x in found.end)
    return f"{middle} ({low} to {high})"


def table(results: Results) -> str:
    """The rows as a Markdown table."""
    found = rows(results)
    names = list(found[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in found)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def draw(results: Results) -> Drawn:
    """The table with its rules."""
    return Drawn(None, f"{_RULES}\n\n{table(results)}")
